"""A web server on loopback that holds archives of Kinetics as the CVDF's host does, with all that goes wrong there."""

import gzip
import http.server
import io
import tarfile
import threading
import time
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from conftest import moving_square, write_video

PUBLIC = "https://s3.amazonaws.com/kinetics/"


@dataclass
class Served:
    """One file; ranges: the server knows them; cuts: bytes after which connections drop; answers: statuses first."""

    data: bytes | Callable[[], Iterator[bytes]]
    size: int | None = None
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)  # seconds before the first byte
    etag: str = '"1"'
    always_partial: bool = False  # status 206 for the whole, too

    def pieces(self, start: int) -> Iterator[bytes]:
        if callable(self.data):
            yield from self.data()
        else:
            for place in range(start, len(self.data), 16384):
                yield self.data[place : place + 16384]

    @property
    def length(self) -> int:
        return self.size if self.size is not None else len(self.data)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, server = urllib.parse.unquote(self.path), self.server
        server.asked.append((self.command, self.path, self.headers.get("Range")))
        self.close_connection = True
        served = server.files.get(path)
        status = 404 if served is None else served.answers.pop(0) if served.answers else 200
        if status != 200:
            self.send_error(status)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if served.ranges else 0
        if self.headers.get("If-Range", served.etag) != served.etag:
            start = 0
        if served.stalls and self.command == "GET":
            time.sleep(served.stalls.pop(0))
        with suppress(OSError):  # the reader has left
            self._send(served, start, path)

    def _send(self, served: Served, start: int, path: str) -> None:
        self.send_response(206 if start or served.always_partial else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{served.length - 1}/{served.length}")
        self.send_header("Content-Length", str(served.length - start))
        self.send_header("ETag", served.etag)
        self.end_headers()
        left = served.cuts.pop(0) if served.cuts and self.command == "GET" else served.length
        for piece in served.pieces(start) if self.command == "GET" else ():
            self.server.sent[path] += self.wfile.write(piece[:left])
            left -= len(piece)
            if left <= 0:
                break

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    """`files`: {path: Served}; `asked`: (method, raw path, Range) of every request; `sent`: bytes of each path."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}
        self.asked: list[tuple] = []
        self.sent: Counter = Counter()
        self.base = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        pass  # a reader that left

    def put(self, path: str, data, **how) -> Served:
        data = data.encode() if isinstance(data, str) else data
        self.files[f"/{path}"] = Served(data, **how)
        return self.files[f"/{path}"]

    def archives_asked(self) -> list[str]:
        return [path for method, path, _ in self.asked if method == "GET" and path.endswith("gz")]

    @property
    def sent_bytes(self) -> int:
        return sum(self.sent.values())


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def clip_bytes(path, num_frames: int = 10) -> bytes:
    """A real video, one frame a second: 10 frames are the 10 seconds of a Kinetics clip."""
    return write_video(path, moving_square(num_frames), fps=1, codec="libx264", crf="20").read_bytes()


def key_of(part: int, number: int) -> str:
    """-_aaaaaaa01_000001_000011"""
    return f"-_aaaaa{part:02}{number:02}_000001_000011"


def member(name: str, data: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; fields of its header may claim anything."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field_name, value in fields.items():
        setattr(info, field_name, value)
    return info, data


def tar_of(members, zipped: bool = True, end: bool = True) -> bytes:
    """The bytes of an archive; headers are written as they are."""
    out = io.BytesIO()
    for info, data in members:
        out.write(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
    data = out.getvalue() + bytes(10240 if end else 0)
    return gzip.compress(data, 1) if zipped else data


def gzipped_pieces(members) -> Callable[[], Iterator[bytes]]:
    """An archive that is made while it is sent; nothing in it becomes smaller."""

    def pieces() -> Iterator[bytes]:
        press = zlib.compressobj(0, wbits=31)
        for info, data in members():
            block = press.compress(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
            for place in range(0, len(block), 65536):
                yield block[place : place + 65536]
        yield press.compress(bytes(10240)) + press.flush()

    return pieces


def put_k400(
    server: Server, archives: dict[str, bytes], rows: list[tuple[str, str]], split: str = "val", **how
) -> None:
    """Kinetics-400: archives by name, rows (label, key); the list names the public host, as it does in truth."""
    lines = [f"{PUBLIC}400/{split}/{name}" for name in archives]
    server.put(f"400/{split}/k400_{split}_path.txt", "\n".join(lines) + "\n")
    server.put(f"400/annotations/{split}.csv", table(rows, split))
    for name, data in archives.items():
        server.put(f"400/{split}/{name}", data, **how)


def table(rows: list[tuple[str, str]], split: str = "val") -> str:
    lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
    for label, key in rows:
        lines.append(f'"{label}",{key[:11]},{int(key[12:18])},{int(key[19:25])},{split},0')
    return "\n".join(lines) + "\n"


def padded(clip: bytes, num_bytes: int) -> bytes:
    """The same video with so many more bytes, which its container skips."""
    return clip + (num_bytes + 8).to_bytes(4, "big") + b"free" + bytes(num_bytes)
