"""A web server on loopback that searches images as Openverse's API does, and serves them, with all that goes wrong."""

import http.server
import io
import json
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from conftest import drawn_scene
from PIL import Image

PAGE_SIZE = 20


def picture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """(H, W, 3) uint8: a patchwork that no other seed has."""
    return drawn_scene(seed, 1, height, width)[0]


def encoded(rgb: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return out.getvalue()


@dataclass
class File:
    """What lies at a path; answers: statuses first; length: what Content-Length claims; pause: before the body."""

    data: bytes
    type: str | None = "image/jpeg"
    answers: list[int] = field(default_factory=list)
    length: int | None = None
    pause: float = 0.0
    location: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        path, _, query = self.path.partition("?")
        server = self.server
        server.asked[urllib.parse.unquote(path)] += 1
        with suppress(OSError):  # the reader has left
            if path == "/v1/images/":
                self._search(dict(urllib.parse.parse_qsl(query)))
            elif file := server.files.get(urllib.parse.unquote(path)):
                self._send(file)
            else:
                self.send_error(404)

    def _search(self, words: dict[str, str]) -> None:
        server = self.server
        server.searched.append(words)
        if server.answers:
            status, headers, body = server.answers.pop(0)
            self._answer(status, body, headers)
            return
        page, size = int(words["page"]), int(words["page_size"])
        if size > PAGE_SIZE or page > server.deepest:
            self._answer(401, json.dumps({"detail": "Authentication credentials were not provided."}))
            return
        found = server.results.get(words["q"], [])
        pages = min(server.claimed or server.deepest, -(-len(found) // size))
        part = found[(page - 1) * size : page * size]
        record = {"result_count": len(found), "page_count": pages, "page_size": size, "page": page, "results": part}
        self._answer(200, json.dumps(record))

    def _answer(self, status: int, body: str, headers: dict | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def _send(self, file: File) -> None:
        status = file.answers.pop(0) if file.answers else 302 if file.location else 200
        if status not in (200, 302):
            self.send_error(status)
            return
        self.send_response(status)
        if file.location:
            self.send_header("Location", file.location)
        if file.type is not None:
            self.send_header("Content-Type", file.type)
        if file.length != -1:
            self.send_header("Content-Length", str(file.length or len(file.data)))
        self.end_headers()
        with self.server.counting:
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
        time.sleep(file.pause)
        with self.server.counting:
            self.server.busy -= 1
        self.wfile.write(file.data)

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    """`results`: query → results; `files`: path → File; `answers`: (status, headers, body) of the next searches.

    `asked`: how often each path was; `searched`: the words of each search; `deepest`: the page after which it refuses;
    `claimed`: how many pages it says there are at most; `busiest`: the most files it was sending at once.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.results: dict[str, list] = {}
        self.files: dict[str, File] = {}
        self.answers: list[tuple[int, dict, str]] = []
        self.asked: Counter = Counter()
        self.searched: list[dict] = []
        self.deepest, self.claimed = 20, 0
        self.busy, self.busiest, self.counting = 0, 0, threading.Lock()
        self.base = f"http://127.0.0.1:{self.server_port}/v1/"

    def handle_error(self, request, client_address):
        pass  # a reader that left

    def put(self, query: str, data: bytes | np.ndarray, **how) -> dict:
        """One more result for a query; words of its record and of its `File` may be other ones."""
        data = encoded(data) if isinstance(data, np.ndarray) else data
        words = {name: how.pop(name) for name in list(how) if name not in File.__dataclass_fields__}
        number = sum(map(len, self.results.values()))
        path = f"/photos/{number}.jpg"
        self.files[path] = File(data, **how)
        result = {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
            "title": f"picture {number}",
            "creator": f"author {number}",
            "license": "by",
            "license_version": "2.0",
            "license_url": "https://creativecommons.org/licenses/by/2.0/",
            "foreign_landing_url": f"https://photos.example/{number}",
            "url": self.base.removesuffix("/v1/") + path,
            "source": "flickr",
            "filetype": "jpg",
            "mature": False,
            "tags": [],
        } | words
        self.results.setdefault(query, []).append(result)
        return result

    def downloads(self) -> Counter:
        """How often each file was asked for."""
        return Counter({path: count for path, count in self.asked.items() if path != "/v1/images/"})


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
