"""The bytes of a picture from somewhere in the web: politely, no more than wanted, and in time."""

import http.client
import threading
import time
import urllib.parse
from collections import defaultdict

from vidbench.candidates.openverse import AGENT
from vidbench.candidates.stills import Refused
from vidbench.data.fetch.http import BUSY, DROPPED, NoAddress, Unreachable, request
from vidbench.utils import readable_bytes

AT_ONCE = 4  # downloads from one host, whatever the number of threads
TRIES = 3
SILENT_SECONDS = 20.0
PIECE_BYTES = 1 << 16
TYPES = ("image/jpeg", "image/jpg", "image/pjpeg", "image/png")
UNTOLD = ("", "application/octet-stream", "binary/octet-stream")  # what storage says of files: decoding will tell


class Downloads:
    """Downloads by several threads, of which no more than AT_ONCE ask one host.

    most_bytes: of a picture; seconds: that one may take
    """

    def __init__(self, most_bytes: float, seconds: float):
        self.most_bytes, self.seconds = most_bytes, seconds
        self._hosts: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(AT_ONCE))
        self._choosing = threading.Lock()

    def fetch(self, url: str) -> bytes:
        """The bytes at an address; raises Refused with the reason."""
        try:
            parts = urllib.parse.urlsplit(url)
            host = parts.netloc
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
        except ValueError:
            raise Refused("bad address", url[:200]) from None
        address = parts._replace(
            query=urllib.parse.quote(parts.query, safe="%/:;=&?@!$'()*+,[]~"), fragment=""
        ).geturl()
        with self._choosing:
            turn = self._hosts[host]
        with turn:
            return self._fetched(address)

    def _fetched(self, url: str) -> bytes:
        end = time.monotonic() + self.seconds
        silent = min(SILENT_SECONDS, self.seconds)
        try:
            with request(url, AGENT | {"Accept-Encoding": "identity"}, tries=TRIES, timeout=silent) as response:
                return self._read(response, end)
        except NoAddress:
            raise Refused("bad address", url[:200]) from None
        except Unreachable as problem:
            raise _refused(problem) from None
        except DROPPED as problem:
            late = isinstance(problem, TimeoutError)
            raise Refused("too slow" if late else "broke off", str(problem)[:200], again=True) from None

    def _read(self, response, end: float) -> bytes:
        told = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
        if told not in TYPES + UNTOLD:
            raise Refused("no image", f"the server calls it {told[:60]}")
        length = response.headers.get("Content-Length") or ""
        wanted = int(length) if length.isdigit() else None
        most = f"more than {readable_bytes(self.most_bytes)}"
        if wanted is not None and wanted > self.most_bytes:
            raise Refused("too large", f"{readable_bytes(wanted)}, {most}")
        data = bytearray()
        while piece := response.read1(PIECE_BYTES):
            data += piece
            if len(data) > self.most_bytes:
                raise Refused("too large", most)
            if time.monotonic() > end:
                raise Refused("too slow", f"not here after {self.seconds:g} seconds", again=True)
        if wanted is not None and len(data) < wanted:
            raise http.client.IncompleteRead(bytes(data), wanted - len(data))
        return bytes(data)


def _refused(problem: Unreachable) -> Refused:
    """What a request that failed means for its picture."""
    cause, status = problem.__cause__, problem.status
    words = str(getattr(cause, "reason", None) or cause or problem)[:200]
    if status is None:
        late = isinstance(getattr(cause, "reason", cause), TimeoutError)
        return Refused("too slow" if late else "not reached", words, again=True)
    if 300 <= status < 400:
        return Refused("bad redirect", words)
    return Refused("busy" if status in BUSY else "not there", f"status {status}, {words}", again=status in BUSY)
