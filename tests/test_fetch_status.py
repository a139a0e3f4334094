import errno
import os

import pytest
from archive_server import clip_bytes, key_of, member, put_k400, serving, table, tar_of

from vidbench import utils
from vidbench.arguments import FetchSettings, VerifySettings
from vidbench.commands import as_argfile, parse_settings
from vidbench.data.fetch import fetch_kinetics, status, status_of, verify_folder
from vidbench.data.fetch.cvdf import Archive, archives_of, check_split
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.staging import staging
from vidbench.utils import UserError

KEYS = [key_of(0, number) for number in range(6)]


@pytest.fixture
def folder(tmp_path):
    """Six annotated clips of two classes: two verified, one bad, one failed, one gone, one never fetched."""
    clip = clip_bytes(tmp_path / "clip.mp4")
    folder = tmp_path / "val"
    folder.mkdir()
    (folder / "val.csv").write_text(table([("zumba" if n < 4 else "yoga", key) for n, key in enumerate(KEYS)]))
    manifest = Manifest(folder)
    with Gate(folder, manifest) as gate:
        for key in (KEYS[0], KEYS[4]):
            (folder / "x.part").write_bytes(clip)
            gate.admit(folder / "x.part", folder / f"{key}.mp4", key=key, seconds=10)
        (folder / "x.part").write_bytes(b"no video")
        gate.admit(folder / "x.part", folder / f"{KEYS[1]}.mp4", key=KEYS[1], seconds=10)
    manifest.add(Row(KEYS[2], status="failed", reason="private: the video is private"))
    manifest.add(Row(KEYS[3], status="gone"))
    return folder


def test_a_folder_is_what_its_manifest_says_or_each_difference_is_named(folder):
    found = verify_folder(folder, progress=False)
    assert (found.verified, found.problems) == (2, [])
    clip = folder / f"{KEYS[0]}.mp4"
    good = clip.read_bytes()
    clip.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    (folder / "archives").mkdir()
    (folder / "archives" / "part_0.tar.gz").write_bytes(b"kept")
    (folder / "zumba").mkdir()
    (folder / "zumba" / f"{KEYS[5]}.mp4").write_bytes(good)
    (folder / f"{KEYS[4]}.mp4").unlink()
    found = verify_folder(folder, progress=False)
    assert found.problems == [
        f"missing: {KEYS[4]}  {KEYS[4]}.mp4",
        f"changed: {KEYS[0]}  other bytes than noted (sha256)",
        f"not in the manifest: zumba/{KEYS[5]}.mp4",
    ]
    clip.write_bytes(good + b"x")
    assert f"{len(good) + 1:,} bytes instead of {len(good):,}" in verify_folder(folder, progress=False).changed[0]


def test_what_cannot_be_read_is_a_row_and_the_rest_is_verified(folder, monkeypatch):
    def sha256_of(path):
        if path.name == f"{KEYS[0]}.mp4":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return utils.sha256_of(path)

    monkeypatch.setattr(status, "sha256_of", sha256_of)
    found = verify_folder(folder, progress=False)
    assert (found.verified, found.problems) == (1, [f"unreadable: {KEYS[0]}  Permission denied"])
    monkeypatch.undo()
    clip = folder / f"{KEYS[0]}.mp4"
    clip.unlink()
    clip.symlink_to(clip.name)  # to itself: whoever opens it, root too, is told so
    found = verify_folder(folder, deep=True, progress=False)
    assert found.verified == 1 and len(found.problems) == 1 and KEYS[0] in found.problems[0]


def test_a_folder_that_must_not_be_read_is_named(folder, monkeypatch):
    locked, scandir = folder / "locked", os.scandir
    locked.mkdir()

    def refused(path):  # as the system does, but for root too
        if str(path) == str(locked):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = verify_folder(folder, progress=False)
    assert (found.verified, found.problems) == (2, [f"unreadable: {locked}  Permission denied"])


def test_a_changed_clip_is_put_aside_and_comes_anew(folder):
    clip = folder / f"{KEYS[0]}.mp4"
    good = clip.read_bytes()
    clip.write_bytes(good[:-1] + b"?")
    found = verify_folder(folder, progress=False, put_aside=True)
    assert found.changed == [f"{KEYS[0]}  other bytes than noted (sha256)"] and not clip.exists()
    assert (folder / ".rejected" / clip.name).read_bytes() == good[:-1] + b"?"
    row = Manifest(folder).rows[KEYS[0]]
    assert (row.status, row.reason) == ("gone", "put aside: other bytes than noted (sha256)")
    assert verify_folder(folder, progress=False).problems == []
    with serving() as server:
        put_k400(server, {"part_0.tar.gz": tar_of([member(f"./{KEYS[0]}.mp4", good)])}, [("zumba", KEYS[0])])
        fetch_kinetics("400", "val", folder, num_videos=2, base_url=server.base, progress=False)
    assert clip.read_bytes() == good and Manifest(folder).rows[KEYS[0]].status == "ok"


def test_nothing_outside_of_the_folder_is_put_aside(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{KEYS[0]}.mp4").write_bytes(b"mine")
    (folder / "linked").symlink_to(mine)
    manifest = Manifest(folder)
    manifest.add(Row(KEYS[0], bytes=22, path=f"linked/{KEYS[0]}.mp4"))
    manifest.add(Row(KEYS[4], bytes=22, path="../mine/other.mp4"))
    manifest.add(Row(KEYS[5], bytes=22, path=str(mine / f"{KEYS[0]}.mp4")))
    found = verify_folder(folder, progress=False, put_aside=True)
    assert found.verified == 0 and len(found.problems) >= 3
    assert [(path.name, path.read_bytes()) for path in mine.iterdir()] == [(f"{KEYS[0]}.mp4", b"mine")]


def test_deep_decodes_what_the_bytes_cannot_tell(folder):
    manifest = Manifest(folder)
    clip = folder / f"{KEYS[0]}.mp4"
    clip.write_bytes(b"noted so, and no video")
    manifest.add(Row(KEYS[0], bytes=22, path=clip.name))
    assert verify_folder(folder, progress=False).problems == []
    found = verify_folder(folder, deep=True, progress=False)
    assert found.verified == 1 and "not a readable video" in found.changed[0]


def test_status_counts_by_kind_and_by_class(folder):
    lines = status_of(folder).splitlines()
    assert lines[0].split() == ["expected", "found", "verified", "missing", "bad", "failed"]
    assert lines[1].split() == ["all", "6", "2", "2", "2", "1", "1"]
    assert lines[2:] == [
        "  bad, not a readable video: 1", "  failed, private: 1", "  put aside in .rejected: 1",
    ]  # fmt: skip
    rows = [line.split() for line in status_of(folder, by_class=True).splitlines()[1:3]]
    assert rows == [["yoga", "2", "1", "1", "1", "0", "0"], ["zumba", "4", "1", "1", "1", "1", "1"]]
    (folder / "val.csv").unlink()
    assert status_of(folder).splitlines()[1].split() == ["all", "?", "2", "2", "1", "1", "1"]
    (folder / f"{KEYS[0]}.mp4").unlink()  # nobody has noted it yet
    assert status_of(folder).splitlines()[1].split() == ["all", "?", "1", "1", "2", "1", "1"]
    with pytest.raises(UserError, match=r"has no manifest.csv"):
        status_of(folder / "nowhere")
    with pytest.raises(UserError, match=r"has no manifest.csv"):
        verify_folder(folder / "nowhere")


def test_what_a_killed_process_left_is_swept_and_what_another_works_on_is_not(tmp_path):
    with staging(tmp_path) as first:
        (first / "half.mp4").write_bytes(b"half")
        left = tmp_path / ".incoming" / "0123456789ab"
        left.mkdir()
        (left.with_suffix(".lock")).touch()
        (left / "half.mp4").write_bytes(b"half")
        with staging(tmp_path) as second:
            assert first != second and (first / "half.mp4").exists() and not left.exists()
        assert first.is_dir() and not second.exists()
    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == ["all.lock"]


def test_work_that_one_process_does_alone_is_refused_to_a_second(tmp_path):
    with staging(tmp_path, alone="x"):
        with pytest.raises(UserError, match="another process fetches into"), staging(tmp_path, alone="x"):
            pass
        with staging(tmp_path) as other, staging(tmp_path, alone="y"):
            assert other.is_dir()
    with staging(tmp_path, alone="x") as again:
        assert again.is_dir()


def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"the disk of .* is full"), staging(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="Input"), staging(tmp_path):
        raise OSError(errno.EIO, "Input/output error")
    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == ["all.lock"]


def test_archives_are_based_on_the_mirror_and_know_their_class(monkeypatch):
    lists = {
        "600/train/k600_train_path.txt": "https://s3.amazonaws.com/kinetics/600/train/a (b).tar.gz\n\n",
        "700_2020/train/k700_2020_train_path.txt": "https://x.example/700_2020/train/k700_train_002.tar.gz\n"
        "https://x.example/700_2020/train/k700_train_001.tar.gz\n",
        "400/test/k400_test_path.txt": "https://x.example/400/test/part_7.tar.gz",
    }
    monkeypatch.setattr("vidbench.data.fetch.cvdf.text_of", lambda url: lists[url.removeprefix("http://m/k/")])
    assert archives_of("600", "train", {"a (b)"}, "http://m/k/") == [
        Archive("http://m/k/600/train/a (b).tar.gz", "a (b)")
    ]
    found = archives_of("700-2020", "train", {"zumba", "abseiling"}, "http://m/k/")
    assert [(archive.name, archive.label) for archive in found] == [
        ("k700_train_002.tar.gz", "zumba"), ("k700_train_001.tar.gz", "abseiling"),
    ]  # fmt: skip
    found = archives_of("700-2020", "train", {"zumba"}, "http://m/k/")  # annotations that lack a class
    assert [archive.label for archive in found] == ["acting in play", "abseiling"]
    assert archives_of("400", "test", set(), "http://m/k/")[0].label is None
    monkeypatch.setattr("vidbench.data.fetch.cvdf.text_of", lambda url: "http://x.example/400/test/part_7.tar.gz")
    assert archives_of("400", "test", set())[0].url == "https://x.example/400/test/part_7.tar.gz"
    with pytest.raises(UserError, match="unknown Kinetics version '700'"):
        check_split("700", "val")


def test_the_settings_parse_and_say_what_is_wrong():
    words = ["--version", "600", "--num-videos", "16", "--classes", "zumba,yoga", "--max-bytes", "1.5G", "--jobs", "2"]
    settings = parse_settings(FetchSettings, words)
    assert (settings.version, settings.classes, settings.max_bytes) == ("600", ("zumba", "yoga"), 1.5e9)
    assert parse_settings(FetchSettings, as_argfile(settings).split()) == settings
    assert parse_settings(FetchSettings, ["--source", "youtube", "--sleep", "1", "2"]).sleep == (1.0, 2.0)
    assert parse_settings(VerifySettings, ["a", "b", "--deep"]).folders == ("a", "b")
    for wrong, words in (
        (["--version", "500"], "--version must be 400 or 600 or 700-2020"),
        (["--max-bytes", "lots"], "--max-bytes: wanted a number such as 500M or 2G, got 'lots'"),
        (["--replacements"], "train split: --version 400 --split train"),
        (["--cookies", "x"], "--cookies goes with --source youtube"),
        (["--sleep", "1", "2"], "--sleep goes with --source youtube"),
        (["--sleep", "9", "2"], "--sleep: wanted two numbers"),
        (["--jobs", "0"], "--jobs must be positive"),
        (["--classes", ""], "--classes: no class is named"),
        (["--classes", " , "], "--classes: no class is named"),
        (["--base-url", ""], "--base-url: an empty address"),
    ):
        with pytest.raises(UserError, match=words):
            parse_settings(FetchSettings, wrong)
