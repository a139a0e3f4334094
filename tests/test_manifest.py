import errno
import threading

import pytest
from conftest import moving_square, write_video

from vidbench.data.fetch import gate as gates
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import COLUMNS, Manifest, Row
from vidbench.utils import UserError

CLIP = Row("a_1", "clap, twice", "http://x", 10, "ab" * 32, 5, 29.97, 4, 3, "ok", "", "a_1.mp4")


def test_rows_come_back_and_the_last_of_a_key_counts(tmp_path):
    manifest = Manifest(tmp_path)
    for row in (
        CLIP,
        Row("b", status="failed", reason='private "video"\n'),
        Row("a_1", status="bad", reason="cut off"),
    ):
        manifest.add(row)
    again = Manifest(tmp_path)
    assert again.rows == manifest.rows | {"b": Row("b", status="failed", reason='private "video"\\n')}
    assert again.rows["a_1"].reason == "cut off" and (tmp_path / "manifest.csv").read_text().count("\n") == 4
    again.compact()
    assert Manifest(tmp_path).rows == again.rows and (tmp_path / "manifest.csv").read_text().count("\n") == 3


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_half_a_row_is_left_out_and_cut_off(tmp_path, cut):
    Manifest(tmp_path).add(CLIP)
    Manifest(tmp_path).add(Row("b", status="failed", reason="gone for ever"))
    path = tmp_path / "manifest.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    manifest = Manifest(tmp_path)
    assert set(manifest.rows) == {"a_1"}
    manifest.add(Row("c"))
    assert set(Manifest(tmp_path).rows) == {"a_1", "c"}


def test_several_writers_lose_nothing(tmp_path):
    def write(number):
        manifest = Manifest(tmp_path)
        for place in range(20):
            manifest.add(Row(f"{number}-{place}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Manifest(tmp_path).rows) == 80
    first = Manifest(tmp_path)
    Manifest(tmp_path).add(Row("later"))
    assert "later" not in first.rows
    first.news.clear()
    first.refresh()
    first.add(Row("own"))
    assert "later" in first.rows and first.news == [Row("later")]  # its own rows are no news


def test_an_older_manifest_gets_the_columns_that_it_lacks(tmp_path):
    (tmp_path / "manifest.csv").write_text("key,status,bytes,sha256\na,ok,12,ff\n")
    manifest = Manifest(tmp_path)
    assert manifest.rows == {"a": Row("a", bytes=12, sha256="ff")}
    manifest.add(Row("b"))
    assert (tmp_path / "manifest.csv").read_text().splitlines()[0].split(",") == COLUMNS
    assert set(Manifest(tmp_path).rows) == {"a", "b"}
    (tmp_path / "manifest.csv").write_text("key,foo\nx,my notes\n")
    with pytest.raises(UserError, match="is no manifest"):
        Manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"a\rb\rc",
        b"key,status\n" + b"x" * 200_000 + b",ok\n",
        bytes(range(256)) * 50,
    ],
)
def test_rubbish_is_one_clear_line(tmp_path, content):
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.csv is no manifest: [^\n]*; set it aside") as caught:
        Manifest(tmp_path)
    assert len(str(caught.value)) < 400 and (tmp_path / "manifest.csv").read_bytes() == content


def test_a_manifest_that_a_spreadsheet_saved_is_read_and_goes_on(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbfkey,status,bytes\r\na,ok,12\r\n")
    manifest = Manifest(tmp_path)
    assert manifest.rows == {"a": Row("a", bytes=12)}
    manifest.add(Row("b"))
    assert set(Manifest(tmp_path).rows) == {"a", "b"}


def test_a_path_out_of_the_folder_is_none(tmp_path):
    rows = "".join(f"{key},ok,{path}\n" for key, path in (("a", "/etc/passwd"), ("b", "x/../../y"), ("c", "x/y.mp4")))
    (tmp_path / "manifest.csv").write_text(f"key,status,path\n{rows}")
    assert {key: row.path for key, row in Manifest(tmp_path).rows.items()} == {"a": "", "b": "", "c": "x/y.mp4"}


def test_a_clip_that_cannot_be_read_is_a_row(tmp_path, monkeypatch):
    def sha256_of(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(gates, "sha256_of", sha256_of)
    clip = write_video(tmp_path / "x.mp4", moving_square(12), codec="libx264")
    with Gate(tmp_path, Manifest(tmp_path)) as gate:
        row = gate.admit(clip, clip, key="x", aside=False)
    assert (row.status, row.reason, row.bytes) == ("bad", "unreadable: Permission denied", None)


def test_a_clip_passes_the_gate_and_anything_else_is_put_aside(tmp_path):
    manifest = Manifest(tmp_path)
    good = write_video(tmp_path / "x.part.mp4", moving_square(12), codec="libx264")
    broken = tmp_path / "y.part.mp4"
    broken.write_bytes(b"no video")
    long = write_video(tmp_path / "z.part.mp4", moving_square(60), codec="libx264")
    with Gate(tmp_path, manifest) as gate:
        row = gate.admit(good, tmp_path / "c" / "x.mp4", key="x", label="c", source="http://a", seconds=1.2)
        assert (row.status, row.frames, row.fps, row.width, row.height) == ("ok", 12, 10.0, 32, 24)
        assert row.path == "c/x.mp4" and (tmp_path / row.path).stat().st_size == row.bytes and len(row.sha256) == 64
        again = gate.admit(tmp_path / "c" / "x.mp4", tmp_path / "c" / "x.mp4", key="x", seconds=None)
        assert again.status == "ok" and again.sha256 == row.sha256
        row = gate.admit(broken, tmp_path / "y.mp4", key="y")
        assert row.status == "bad" and "not a readable video" in row.reason and row.path == ".rejected/y.mp4"
        row = gate.admit(long, tmp_path / "z.mp4", key="z", seconds=2.0)
        assert row.status == "bad" and row.reason == "lasts 6.0 s instead of 2 s" and row.frames == 60
    assert {row.key: row.status for row in Manifest(tmp_path).rows.values()} == {"x": "ok", "y": "bad", "z": "bad"}
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "c", "manifest.csv",
    ]  # fmt: skip
