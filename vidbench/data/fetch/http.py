"""Requests over HTTP, and streams that go on after a dropped connection.

TLS certificates are always verified, and a redirect leads to https or http alone, never from https to http.
"""

import functools
import http.client
import io
import logging
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from vidbench.utils import UserError, written_whole

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
PIECE_BYTES = 1 << 16  # of a stream: small, since what is read behind the last wanted byte is paid for nothing
WINDOW_BYTES = 2 << 20  # what a server may send ahead of a stream's reader
TEXT_BYTES = 1 << 28  # the longest list or table that is believed
TRIES = 4  # of a busy server, and of a stream that does not come any further
PAUSE_SECONDS = 1.0  # before the second try; twice as long before each further one
BUSY = (429, 500, 502, 503, 504)
DROPPED = (OSError, http.client.HTTPException)


class Meter:
    """Asked before every read and told after it, by several threads; it may raise, which ends a stream.

    This one lets everything in.
    """

    def allow(self, most: int) -> int:
        """How many bytes, 1 to `most`, may be asked for now."""
        return most

    def count(self, allowed: int, number: int) -> None:
        """So many came of those that were allowed."""


class Unreachable(UserError):
    """A server did not give what was asked of it.

    status: of its HTTP answer; 0 where what came was broken; None where nothing answered at all.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class NoAddress(Unreachable):
    """Words that are no address of anything."""


class Changed(Unreachable):
    """What lies at an address is not what lay there before."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        before, after = (urllib.parse.urlsplit(address).scheme for address in (req.full_url, newurl))
        if after not in ("https", "http") or (before, after) == ("https", "http"):
            raise urllib.error.HTTPError(req.full_url, code, f"it leads from {before} to {after}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req):
        return self.do_open(functools.partial(_clamped, http.client.HTTPConnection), req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req):
        return self.do_open(functools.partial(_clamped, http.client.HTTPSConnection), req, context=self._context)


def _clamped(kind: type[http.client.HTTPConnection], *words, **options) -> http.client.HTTPConnection:
    """A connection that lets the server send no more than WINDOW_BYTES ahead, where the system can say so."""
    connection = kind(*words, **options)
    connect = connection.connect

    def connect_clamped() -> None:
        connect()
        if hasattr(socket, "TCP_WINDOW_CLAMP"):
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, WINDOW_BYTES)

    connection.connect = connect_clamped  # type: ignore[method-assign]
    return connection


def request(
    url: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    tries: int = TRIES,
    timeout: float = TIMEOUT_SECONDS,
):
    """The answer to one request, a busy server being asked again. Raises Unreachable.

    timeout: seconds that the server may be silent
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as problem:  # brackets that hold no IPv6 address
        raise NoAddress(f"{url} is no address: {problem}") from None
    if parts.scheme not in ("http", "https"):
        raise NoAddress(f"{url} is no address that begins with https:// or http://")
    address = parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path))).geturl()
    opener = urllib.request.build_opener(_Redirects, _Plain, _Secure)
    for tried in range(1, tries + 1):
        try:
            asked = urllib.request.Request(address, headers=headers or {}, method=method)
            return opener.open(asked, timeout=timeout)
        except DROPPED as problem:
            if isinstance(problem, urllib.error.HTTPError):
                problem.close()
            late = isinstance(getattr(problem, "reason", problem), TimeoutError)
            if not (late or getattr(problem, "code", None) in BUSY) or tried == tries:
                raise _unreachable(url, problem) from problem
            wait = "" if late else problem.headers.get("Retry-After") or ""
            time.sleep(min(60.0, float(wait)) if wait.isdigit() else PAUSE_SECONDS * 2 ** (tried - 1))
        except UnicodeError:  # a host's name that cannot be one: empty between two dots, or too long
            raise NoAddress(f"{url} is no address: there can be no host of that name") from None
    raise AssertionError("not reached")


def _unreachable(url: str, problem: Exception) -> Unreachable:
    words = getattr(problem, "reason", None) or problem
    return Unreachable(f"{url} cannot be reached: {words}", getattr(problem, "code", None))


def text_of(url: str) -> str:
    """A list or a table, whole. Raises Unreachable, also for one that is cut off."""
    data = bytearray()
    with Stream(url) as stream:
        while piece := stream.read(PIECE_BYTES):
            data += piece
            if len(data) > TEXT_BYTES:
                raise Unreachable(f"{url} is longer than any list or table of Kinetics", 0)
    return data.decode("utf-8-sig", "replace")


def fetch_text(url: str, target: Path) -> None:
    """Fetch a list or a table to `target`, whole or not at all."""
    text = text_of(url)
    with written_whole(target) as file:
        file.write(text)


def size_of(url: str) -> int | None:
    """How many bytes lie at an address, not fetched; None where the server does not say. Raises Unreachable."""
    try:
        response = request(url, method="HEAD")
    except Unreachable as problem:
        if problem.status not in (403, 405, 501):  # some hosts know no HEAD
            raise
        response = request(url)
    with response:
        return _length(response)


def _length(response) -> int | None:
    length = response.headers.get("Content-Length") or ""
    return int(length) if length.isdigit() else None


class Stream(io.RawIOBase):
    """The bytes of an address, read from `position` on, whatever happens to the connection.

    After a dropped or silent connection the reading goes on by range where the server knows ranges, else from the
    beginning, what was read being skipped. Closing it closes the connection: nothing more is sent. `meter` is asked
    and told of every byte that comes over the line. `size` and `version` (ETag or Last-Modified) are the server's words
    on what lies there; who goes on behind bytes of an earlier stream gives that one's.
    Raises Unreachable: nothing there, TRIES connections that brought nothing new; Changed: another file lies there.
    """

    def __init__(
        self, url: str, meter: Meter | None = None, position: int = 0, size: int | None = None, version: str = ""
    ):
        super().__init__()
        self.url, self.meter = url, meter or Meter()
        self.position, self.size, self.version = position, size, version
        self._response = None
        self._waste = 0  # bytes that come again before the first new one
        self._failed = 0  # connections that brought nothing new, one after the other
        self._open()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        super().close()

    def readinto(self, buffer) -> int:
        while True:
            if self.position == self.size:
                return 0
            data, problem = self._piece(min(len(buffer), PIECE_BYTES))
            if data:
                self._failed = 0
                self.position += len(data)
                buffer[: len(data)] = data
                return len(data)
            if problem is None and self.size is None:
                return 0
            self._again(problem or "it stopped")

    def _piece(self, most: int) -> tuple[bytes, Exception | None]:
        """New bytes, none at the end of a connection, and what broke it."""
        try:
            if self._response is None:
                self._reopen()
            while self._waste:
                data = self._received(min(self._waste, PIECE_BYTES))
                if not data:
                    return b"", None
                self._waste -= len(data)
            return self._received(most), None
        except DROPPED as problem:
            return b"", problem

    def _received(self, most: int) -> bytes:
        allowed, data = self.meter.allow(most), b""
        try:
            data = self._response.read1(allowed)
        finally:
            self.meter.count(allowed, len(data))
        return data

    def _again(self, problem: Exception | str) -> None:
        """Drop the connection, so that the next read opens another one; raises Unreachable after TRIES."""
        if self._response is not None:
            self._response.close()
            self._response = None
        self._failed += 1
        if self._failed == TRIES:
            raise Unreachable(f"{self.url} stopped {TRIES} times at byte {self.position:,}: {problem}", 0)
        log.info("%s stopped at byte %d: %s", self.url, self.position, problem)
        time.sleep(PAUSE_SECONDS * 2 ** (self._failed - 1))

    def _reopen(self) -> None:
        try:
            self._open()
        except Unreachable as problem:
            if problem.status is not None:
                raise
            raise OSError(str(problem)) from None  # it was there before: one of the tries

    def _open(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self.position:
            headers["Range"] = f"bytes={self.position}-"
            if self.version and not self.version.startswith("W/"):
                headers["If-Range"] = self.version
        response = request(self.url, headers)
        start, size = 0, _length(response)
        if response.status == 206 and self.position:  # some send 206 for the whole, too
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            start = int(found[1]) if found else -1
            size = int(found[2]) if found and found[2] != "*" else self.size
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if self.position and (size != self.size or version != self.version or not 0 <= start <= self.position):
            response.close()
            raise Changed(f"{self.url} is another file than before: it changed while it was read", 0)
        self._response, self.size, self.version, self._waste = response, size, version, self.position - start
