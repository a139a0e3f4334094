import functools
import http.server
import io
import tarfile
import threading

import pytest
from conftest import moving_square, write_video

from vidbench.data.datasets import load_dataset
from vidbench.data.datasets.tables import read_table
from vidbench.data.decode import probe
from vidbench.data.fetch import fetch_file, fetch_kinetics
from vidbench.utils import UserError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        self.server.asked.append(self.path)


@pytest.fixture
def server(tmp_path):
    """A real server on loopback that holds two archives with the oddities of the published ones."""
    root = tmp_path / "served"
    clip = write_video(tmp_path / "clip.mp4", moving_square(6), codec="libx264", crf="20").read_bytes()
    listed, rows = [], ["label,youtube_id,time_start,time_end,split,is_cc"]
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))
    ) as http_server:
        http_server.asked = []
        base = f"http://127.0.0.1:{http_server.server_port}/"
        for part in (0, 1):
            archive = root / "400" / "val" / f"part {part} (x).tar.gz"
            archive.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive, "w:gz" if part else "w") as box:
                add(box, "./folder/._aaaaaaaaaa0_000001_000011.mp4", b"AppleDouble")
                add(box, f"/data/k400/bbbbbbbbbb{part}_000001_000011.mp4", b"")
                for number in range(4):
                    key = f"-_aaaaaaa{part}{number}"
                    add(box, f"./folder/{key}_000001_000011.mp4", clip)
                    rows.append(f'"air drumming",{key},1,11,val,0')
            listed.append(f"{base}400/val/{archive.name}")
        (root / "400" / "val" / "k400_val_path.txt").write_text("\n".join(listed))
        (root / "400" / "annotations").mkdir()
        (root / "400" / "annotations" / "val.csv").write_text("\n".join(rows))
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield base, http_server.asked
        http_server.shutdown()


def add(box, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    box.addfile(member, io.BytesIO(data))


def test_clips_land_whole_labelled_and_noted(tmp_path, server):
    base, asked = server
    folder = tmp_path / "400" / "val"
    assert fetch_kinetics("400", "val", folder, num_videos=3, base_url=base) == 3
    assert sum(path.endswith(".tar.gz") for path in asked) == 1  # one archive was enough
    found = load_dataset("kinetics", "val", folder)
    assert [video.label for video in found.videos] == ["air drumming"] * 3
    assert found.population["verified"] == 3 and found.population["never fetched"] == 5
    assert all(probe(video.path).num_frames == 6 for video in found.videos)
    assert not list(folder.rglob("*.part"))


def test_a_second_call_goes_on_and_fetches_nothing_twice(tmp_path, server):
    base, asked = server
    fetch_kinetics("400", "val", tmp_path / "v", num_videos=3, base_url=base)
    assert fetch_kinetics("400", "val", tmp_path / "v", num_videos=8, base_url=base) == 8
    rows = read_table(tmp_path / "v" / "manifest.csv", {"key", "status", "bytes", "sha256"})
    assert len(rows) == len({row["key"] for row in rows}) == 8 and len(rows[0]["sha256"]) == 64
    count = len(asked)
    assert fetch_kinetics("400", "val", tmp_path / "v", num_videos=8, base_url=base) == 8
    assert len(asked) == count
    assert fetch_kinetics("400", "val", tmp_path / "v", num_videos=99, base_url=base) == 8  # all there are


def test_clips_that_lie_there_unnoted_are_noted(tmp_path, server):
    write_video(tmp_path / "v" / "ccccccccccc_000001_000011.mp4", moving_square(3), codec="libx264")
    fetch_kinetics("400", "val", tmp_path / "v", num_videos=2, base_url=server[0])
    keys = {row["key"] for row in read_table(tmp_path / "v" / "manifest.csv", {"key"})}
    assert "ccccccccccc_000001_000011" in keys and len(keys) == 2


def test_what_cannot_be_had_is_one_clear_line(tmp_path, server):
    with pytest.raises(UserError, match="unknown Kinetics version '500'"):
        fetch_kinetics("500", "val", tmp_path, num_videos=1)
    with pytest.raises(UserError, match=r"600/annotations/val\.txt cannot be reached"):
        fetch_kinetics("600", "val", tmp_path / "a", num_videos=1, base_url=server[0])
    with pytest.raises(UserError, match=r"cannot be reached: .*refused"):
        fetch_kinetics("400", "val", tmp_path / "b", num_videos=1, base_url="http://127.0.0.1:9/")


def test_an_archive_that_breaks_off_keeps_what_came_before(tmp_path, server):
    served = tmp_path / "served" / "400" / "val"
    for archive in served.glob("*.tar.gz"):
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(UserError, match="what was fetched is kept"):
        fetch_kinetics("400", "val", tmp_path / "v", num_videos=8, base_url=server[0])
    clips = list((tmp_path / "v").glob("*.mp4"))
    assert all(probe(clip).num_frames == 6 for clip in clips)


BYTES = bytes(range(256)) * 4000


class Dropping(http.server.BaseHTTPRequestHandler):
    """Serves BYTES, by range where it is told to, and drops the connection after `server.drops.pop(0)` bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        if self.path != "/file.bin":
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.server.ranges else 0
        if start >= len(BYTES):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(BYTES)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.wrong_part and start:
            start = start // 2
        body = BYTES[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BYTES) - 1}/{len(BYTES)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.drops.pop(0) if self.server.drops else None])
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def dropping():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as http_server:
        http_server.asked, http_server.drops, http_server.ranges, http_server.wrong_part = [], [], True, False
        http_server.url = f"http://127.0.0.1:{http_server.server_port}/file.bin"
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield http_server
        http_server.shutdown()


def test_a_file_comes_whole(tmp_path, dropping):
    fetch_file(dropping.url, tmp_path / "new" / "file.bin")
    assert (tmp_path / "new" / "file.bin").read_bytes() == BYTES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_dropped_connection_goes_on_where_the_server_allows(tmp_path, dropping, ranges):
    dropping.drops, dropping.ranges = [1000, 2000], ranges
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES
    assert dropping.asked[0] is None and dropping.asked[1] == "bytes=1000-" and len(dropping.asked) == 3


def test_what_has_come_is_kept_for_the_next_call(tmp_path, dropping):
    dropping.drops = [1000, 1000, 1000]
    with pytest.raises(UserError, match=r"stopped 3 times before its end; what was fetched is kept"):
        fetch_file(dropping.url, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists() and (tmp_path / "file.bin.part").stat().st_size == 3000
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert dropping.asked[-1] == "bytes=3000-" and (tmp_path / "file.bin").read_bytes() == BYTES


def test_a_server_that_sends_another_part_is_asked_for_all(tmp_path, dropping):
    dropping.drops, dropping.wrong_part = [1000], True
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and dropping.asked[1:] == ["bytes=1000-", None]


def test_a_part_that_lacked_nothing_but_its_name_is_not_fetched_again(tmp_path, dropping):
    (tmp_path / "file.bin.part").write_bytes(BYTES)
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and dropping.asked == [f"bytes={len(BYTES)}-"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path, dropping):
    (tmp_path / "file.bin.part").write_bytes(BYTES + b"more")
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES


def test_an_address_without_a_file_says_so(tmp_path, dropping):
    with pytest.raises(UserError, match=r"file.txt cannot be reached: Not Found"):
        fetch_file(dropping.url.replace(".bin", ".txt"), tmp_path / "file.txt")
    with pytest.raises(UserError, match=r"cannot be reached: .*refused"):
        fetch_file("http://127.0.0.1:9/file.bin", tmp_path / "file.bin")
