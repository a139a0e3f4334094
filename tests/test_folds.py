"""UCF-101 and HMDB51 out of small archives of real videos, written here."""

import csv
import functools
import http.server
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
import rarfile
from conftest import moving_square, write_video

from vidbench.data.datasets import load_dataset
from vidbench.data.decode import probe
from vidbench.data.fetch import folds, status_of
from vidbench.data.fetch.folds import fetch_folds
from vidbench.data.fetch.manifest import Manifest
from vidbench.utils import UserError

NOWHERE = {"archive": "http://127.0.0.1:9/clips.zip", "splits": "http://127.0.0.1:9/lists.zip"}
UCF = {f"v_{label}_g{group}_c01": label for label in ("Archery", "HandStandPushups") for group in ("01", "02")}
HMDB = {
    "April_09_brush_hair_u_nm_np1_ba_goo_0": "brush_hair",
    "(HQ)_#1_&_co_brush_hair_h_cm_np1_fr_med_1": "brush_hair",
    "TrumanShow_wave_f_nm_np1_fr_med_26": "wave",
    "RATRACE_wave_f_nm_np1_fr_goo_37": "wave",
}
LINK = 0o120777


def ucf_lists() -> dict[str, bytes]:
    """Folds 1 and 3 test group 1, fold 2 tests group 2; the authors' folder names differ in one letter's case."""
    texts = {"ucfTrainTestlist/classInd.txt": "1 Archery\r\n2 HandstandPushups\r\n"}
    for fold in "123":
        tested = "02" if fold == "2" else "01"
        rows = {"train": "", "test": ""}
        for number, (stem, label) in enumerate(UCF.items()):
            half = "test" if f"_g{tested}_" in stem else "train"
            path = f"{label.replace('HandStand', 'Handstand')}/{stem}.avi"
            rows[half] += f"{path}\r\n" if half == "test" else f"{path} {1 + number // 2}\r\n"
        texts |= {f"ucfTrainTestlist/{half}list0{fold}.txt": text for half, text in rows.items()}
    return {path: text.encode() for path, text in texts.items()}


def hmdb_lists() -> dict[str, bytes]:
    """The first of each class trains, the second tests; in fold 3 the second is unused."""
    texts: dict[str, bytes] = {}
    for fold in "123":
        for label in ("brush_hair", "wave"):
            first, second = (stem for stem in HMDB if HMDB[stem] == label)
            text = f"{first}.avi 1 \n{second}.avi {0 if fold == '3' else 2} \n"
            texts[f"testTrainMulti_7030_splits/{label}_test_split{fold}.txt"] = text.encode()
    return texts


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[bytes]:
    """Four videos of 5, 6, 7 and 8 frames."""
    place = tmp_path_factory.mktemp("clips")
    return [
        write_video(place / f"{count}.avi", moving_square(count), fps=25, codec="mpeg4").read_bytes()
        for count in (5, 6, 7, 8)
    ]


@pytest.fixture
def ucf_files(clips) -> dict[str, bytes]:
    return {f"UCF-101/{label}/{stem}.avi": data for (stem, label), data in zip(UCF.items(), clips, strict=True)}


@pytest.fixture
def hmdb_files(clips) -> dict[str, bytes]:
    """One .rar a class."""
    files = {f"{label}/{stem}.avi": data for (stem, label), data in zip(HMDB.items(), clips, strict=True)}
    return {
        f"{label}.rar": rar_bytes({path: data for path, data in files.items() if path.startswith(label)})
        for label in ("brush_hair", "wave")
    }


def rar_bytes(files: dict[str, bytes], mode: int = 0o100644, method: int = 0x30) -> bytes:
    """A RAR 3 archive whose files are stored as they are: method 0x30; any other claims to be packed."""

    def header(kind: int, flags: int, body: bytes) -> bytes:
        rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest

    data = b"Rar!\x1a\x07\x00" + header(0x73, 0, bytes(6))
    for path, content in files.items():
        name, size = path.encode(), len(content)
        facts = (size, size, 3, zlib.crc32(content), 0x21 << 16, 20, method, len(name), mode)  # 3: Unix; 1 January 1980
        data += header(0x74, 0x8000, struct.pack("<LLBLLBBHL", *facts) + name) + content
    return data + header(0x7B, 0x4000, b"")


def zip_bytes(files: dict[str, bytes], mode: int = 0o100644) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as box:
        for path, content in files.items():
            info = zipfile.ZipInfo(path)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            box.writestr(info, content)
    return data.getvalue()


def tar_bytes(files: dict[str, bytes], mode: str = "w", kind: bytes = tarfile.REGTYPE) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as box:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            box.addfile(member, io.BytesIO(content))
    return data.getvalue()


PACKED = {
    "x.rar": rar_bytes,
    "x.zip": zip_bytes,
    "x.tar": tar_bytes,
    "x.tar.gz": functools.partial(tar_bytes, mode="w:gz"),
}


def placed(path: Path, data: bytes | dict[str, bytes]) -> Path:
    """A file, or a folder of files."""
    for below, content in data.items() if isinstance(data, dict) else [("", data)]:
        target = path / below if below else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def visible(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)}


def listed(name: str, folder: Path, fold: int, split: str) -> dict[str, str]:
    """{file: label} of a split; all of them lie there."""
    videos = load_dataset(name, split, folder, fold=fold).videos
    assert all(video.path and probe(video.path).num_frames >= 5 for video in videos)
    return {video.path.stem: video.label for video in videos}


ALL = {"expected": 4, "found": 4, "verified": 4, "bad": 0, "missing": 0, "refused": 0}


@pytest.mark.parametrize("kind", [*PACKED, "folder"])
def test_ucf101_comes_out_of_any_archive(tmp_path, ucf_files, kind):
    files = ucf_files | {"UCF-101/readme.txt": b"hello", "UCF-101/Archery/v_Archery_g99_c01.avi": b"on no list"}
    archive = placed(tmp_path / kind, PACKED[kind](files) if kind in PACKED else files)
    lists = placed(tmp_path / "lists.zip", zip_bytes(ucf_lists()))
    folder = tmp_path / "raw" / "ucf101"
    assert fetch_folds("ucf101", folder, archive=archive, splits=lists, addresses=NOWHERE) == ALL
    assert visible(folder) == {f"{label}/{stem}.avi" for stem, label in UCF.items()} | {*ucf_lists(), "manifest.csv"}
    for fold in (1, 2, 3):
        tested = {stem: label for stem, label in UCF.items() if ("_g02_" in stem) == (fold == 2)}
        assert listed("ucf101", folder, fold, "test") == tested
        assert listed("ucf101", folder, fold, "train") == {stem: UCF[stem] for stem in UCF.keys() - tested.keys()}
    rows = Manifest(folder).rows
    assert [rows[stem].frames for stem in UCF] == [5, 6, 7, 8]
    assert {(row.status, row.source) for row in rows.values()} == {("ok", kind)}
    assert {key: row.label for key, row in rows.items()} == UCF
    if kind == "folder":
        assert visible(archive) == set(files)  # copied, not moved


@pytest.mark.parametrize("kind", ["x.rar", "x.zip", "folder"])
def test_hmdb51_is_an_archive_of_archives(tmp_path, hmdb_files, kind):
    archive = placed(tmp_path / kind, PACKED[kind](hmdb_files) if kind in PACKED else hmdb_files)
    lists = placed(tmp_path / "test_train_splits.rar", rar_bytes(hmdb_lists()))
    folder = tmp_path / "hmdb51"
    counts = fetch_folds("hmdb51", folder, archive=archive, splits=lists, jobs=2, addresses=NOWHERE)
    assert counts == ALL and visible(folder) == {f"{HMDB[stem]}/{stem}.avi" for stem in HMDB} | {
        *hmdb_lists(), "manifest.csv",
    }  # fmt: skip
    names = list(HMDB)
    for fold in (1, 2, 3):
        assert set(listed("hmdb51", folder, fold, "train")) == {names[0], names[2]}
        if fold < 3:
            assert set(listed("hmdb51", folder, fold, "test")) == {names[1], names[3]}
    assert [Manifest(folder).rows[stem].frames for stem in HMDB] == [5, 6, 7, 8]
    assert not [path for path in (folder / ".incoming").iterdir() if path.is_dir()]


def test_a_folder_of_downloads_brings_its_lists(tmp_path, hmdb_files):
    downloads = placed(tmp_path / "downloads", {"hmdb51_org.rar": rar_bytes(hmdb_files)})
    placed(downloads / "test_train_splits.rar", rar_bytes(hmdb_lists()))
    assert fetch_folds("hmdb51", tmp_path / "h", archive=downloads) == ALL
    assert visible(downloads) == {"hmdb51_org.rar", "test_train_splits.rar"}


def test_a_second_call_reads_no_archive(tmp_path, ucf_files):
    folder, archive = tmp_path / "u", placed(tmp_path / "x.zip", zip_bytes(ucf_files | ucf_lists()))
    fetch_folds("ucf101", folder, archive=archive, splits=archive)
    assert fetch_folds("ucf101", folder, addresses=NOWHERE) == ALL
    assert len((folder / "manifest.csv").read_text().splitlines()) == 5
    (folder / "Archery" / "v_Archery_g01_c01.avi").unlink()  # then it is fetched again
    assert fetch_folds("ucf101", folder, archive=archive) == ALL
    rows = (folder / "manifest.csv").read_text().splitlines()[5:]
    assert [row.split(",")[9] for row in rows] == ["gone", "ok"]


def test_clips_that_lie_there_are_verified_where_they_are(tmp_path, ucf_files):
    folder = placed(tmp_path / "u", ucf_files | ucf_lists())
    broken = placed(folder / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi", b"no video")
    with pytest.raises(UserError, match="refused"):
        fetch_folds("ucf101", folder, addresses=NOWHERE)  # three are verified now, the fourth is not to be had
    assert not broken.exists() and (folder / ".rejected" / broken.name).read_bytes() == b"no video"
    placed(broken, b"no video either")
    other = placed(tmp_path / "y.zip", zip_bytes({"y/readme.txt": b"no clips"}))
    assert fetch_folds("ucf101", folder, archive=other) == ALL | {"verified": 3, "bad": 1}
    placed(broken, b"nor this one")
    archive = placed(tmp_path / "x.zip", zip_bytes(ucf_files))
    assert fetch_folds("ucf101", folder, archive=archive) == ALL
    rows = Manifest(folder).rows
    assert rows["v_Archery_g01_c01"].path == "Archery/v_Archery_g01_c01.avi"
    assert rows["v_Archery_g02_c01"].path == "UCF-101/Archery/v_Archery_g02_c01.avi"
    assert sorted(row.source for row in rows.values()) == ["here", "here", "here", "x.zip"]


def test_broken_and_damaged_clips_are_counted_and_put_aside(tmp_path, ucf_files):
    paths = list(ucf_files)
    ucf_files[paths[1]] = ucf_files[paths[1]][:300]  # a whole member that is no whole video
    data = bytearray(rar_bytes({path: ucf_files[path] for path in paths[:3]}))  # the fourth is missing
    data[data.index(ucf_files[paths[2]]) + 400] ^= 255  # the member's checksum fails
    archive = placed(tmp_path / "x.rar", bytes(data))
    lists = placed(tmp_path / "lists", ucf_lists())
    counts = fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists)
    assert counts == {"expected": 4, "found": 3, "verified": 1, "bad": 2, "missing": 1, "refused": 0}
    rows = Manifest(tmp_path / "u").rows
    stems = [Path(path).stem for path in paths]
    assert [rows[stem].status for stem in stems[:3]] == ["ok", "bad", "failed"] and stems[3] not in rows
    assert "damaged there: " in rows[stems[2]].reason and "CRC" in rows[stems[2]].reason
    assert (tmp_path / "u" / ".rejected" / f"{stems[1]}.avi").stat().st_size == 300
    with (tmp_path / "u" / "missing.csv").open() as file:
        missing = {row["key"]: row for row in csv.DictReader(file)}
    assert list(missing) == sorted(stems[1:]) and missing[stems[3]]["label"] == "HandStandPushups"
    assert missing[stems[1]]["reason"].startswith("bad: ") and "CRC" in missing[stems[2]]["reason"]
    assert missing[stems[3]]["reason"] == "not in what was given or fetched"
    lines = status_of(tmp_path / "u", by_class=True).splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["Archery", "2", "1", "1", "0", "1", "0"], ["HandStandPushups", "2", "0", "0", "1", "0", "1"],
    ]  # fmt: skip
    assert load_dataset("ucf101", "test", tmp_path / "u", fold=1).population == {"annotations": 2, "found": 1}


def test_missing_clips_are_named_also_when_the_archive_breaks_off(tmp_path, ucf_files):
    archive = placed(tmp_path / "x.tar", tar_bytes(ucf_files)[:-14000])
    lists = placed(tmp_path / "lists", ucf_lists())
    with pytest.raises(UserError, match="the archive is damaged"):
        fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists)
    came = {key for key, row in Manifest(tmp_path / "u").rows.items() if row.status == "ok"}
    with (tmp_path / "u" / "missing.csv").open() as file:
        assert came and {row["key"] for row in csv.DictReader(file)} == UCF.keys() - came
    placed(archive, tar_bytes(ucf_files))
    assert fetch_folds("ucf101", tmp_path / "u", archive=archive) == ALL
    assert not (tmp_path / "u" / "missing.csv").exists()


def test_a_zip_that_is_cut_off_is_called_so(tmp_path, ucf_files):
    archive = placed(tmp_path / "x.zip", zip_bytes(ucf_files)[:-300])
    lists = placed(tmp_path / "lists", ucf_lists())
    with pytest.raises(UserError, match=r"x\.zip: it begins as a \.zip does, but is damaged or cut off"):
        fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists)


def test_an_archive_inside_that_is_damaged_costs_its_own_clips(tmp_path, hmdb_files):
    hmdb_files["brush_hair.rar"] = b"Rar!\x1a\x07\x00 and no more"
    archive = placed(tmp_path / "x.zip", zip_bytes(hmdb_files | hmdb_lists()))
    counts = fetch_folds("hmdb51", tmp_path / "h", archive=archive, splits=archive)
    assert (counts["verified"], counts["bad"], counts["missing"]) == (2, 0, 2)


NAME = "v_Archery_g01_c01.avi"
OUT = [f"../{NAME}", f"Archery/../../{NAME}", f"/tmp/{NAME}", f"..\\{NAME}", f"C:\\{NAME}"]


@pytest.mark.parametrize("kind", PACKED)
def test_nothing_is_written_outside_the_folder(tmp_path, ucf_files, clips, kind):
    files = {path: clips[3] for path in OUT} | ucf_files  # theirs come first, and have 8 frames
    archive = placed(tmp_path / "in" / kind, PACKED[kind](files))
    lists = placed(tmp_path / "in" / "lists.zip", zip_bytes(ucf_lists() | {"../testlist01.txt": b"out"}))
    counts = fetch_folds("ucf101", tmp_path / "in" / "u", archive=archive, splits=lists)
    assert counts == ALL | {"refused": len(OUT)}
    assert Manifest(tmp_path / "in" / "u").rows["v_Archery_g01_c01"].frames == 5
    assert visible(tmp_path) == {f"in/u/{label}/{stem}.avi" for stem, label in UCF.items()} | {
        f"in/u/{path}" for path in ucf_lists()
    } | {"in/u/manifest.csv", f"in/{kind}", "in/lists.zip"}  # fmt: skip
    assert b"out" not in (tmp_path / "in" / "u" / "ucfTrainTestlist" / "testlist01.txt").read_bytes()


@pytest.mark.parametrize("kind", ["rar", "zip", "symlink.tar", "hardlink.tar", "device.tar"])
def test_links_are_refused(tmp_path, ucf_files, kind):
    path, *_ = ucf_files
    names = {path: b"/etc/passwd"}
    types = {"symlink.tar": tarfile.SYMTYPE, "hardlink.tar": tarfile.LNKTYPE, "device.tar": tarfile.CHRTYPE}
    data = {"rar": rar_bytes, "zip": zip_bytes}[kind](names, LINK) if kind in ("rar", "zip") else None
    archive = placed(tmp_path / "x", data or tar_bytes(names, kind=types[kind]))
    lists = placed(tmp_path / "lists.zip", zip_bytes(ucf_lists()))
    with pytest.raises(UserError, match="none of the 4 clips"):
        fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists)
    assert visible(tmp_path / "u") == {*ucf_lists(), "manifest.csv", "missing.csv"}
    row = Manifest(tmp_path / "u").rows[Path(path).stem]
    assert (row.status, row.reason) == ("failed", "refused: a link, or a name that points out of the archive")


@pytest.fixture
def no_extractor(monkeypatch):
    for tool in ("UNRAR", "UNAR", "BSDTAR", "SEVENZIP", "SEVENZIP2"):
        monkeypatch.setattr(rarfile, f"{tool}_TOOL", "no-such-program")
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)


def test_packed_rar_files_need_an_extractor(tmp_path, ucf_files, hmdb_files, no_extractor):
    lists = placed(tmp_path / "lists.zip", zip_bytes(ucf_lists() | hmdb_lists()))
    archive = placed(tmp_path / "x.rar", rar_bytes(ucf_files, method=0x33))
    with pytest.raises(UserError, match=r"UCF-101/Archery/v_.*install unrar, unar, 7-Zip or bsdtar.*give the folder"):
        fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists)
    archive = placed(tmp_path / "x.rar", rar_bytes(hmdb_files, method=0x33))
    with pytest.raises(UserError, match=r"brush_hair\.rar is packed in a \.rar and no program"):
        fetch_folds("hmdb51", tmp_path / "h", archive=archive, splits=lists)


def test_packed_rar_files_go_through_the_extractor(tmp_path, ucf_files, no_extractor, monkeypatch):
    """A stand-in for `unrar p … -- ARCHIVE MEMBER`: it takes the bytes from elsewhere."""
    bytes_of = placed(tmp_path / "bytes", {Path(path).name: data for path, data in ucf_files.items()})
    tool = tmp_path / "unrar"
    tool.write_text(f'#!/bin/sh\nfor last; do :; done\n[ "$last" = "-?" ] || cat "{bytes_of}/${{last##*/}}"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(rarfile, "UNRAR_TOOL", str(tool))
    monkeypatch.setattr(rarfile, "USE_EXTRACT_HACK", 0)  # it would be handed an archive of one member
    archive = placed(tmp_path / "x.rar", rar_bytes(ucf_files, method=0x33))
    lists = placed(tmp_path / "lists.zip", zip_bytes(ucf_lists()))
    assert fetch_folds("ucf101", tmp_path / "u", archive=archive, splits=lists) == ALL
    assert [Manifest(tmp_path / "u").rows[stem].frames for stem in UCF] == [5, 6, 7, 8]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        self.server.asked.append(self.path)


@pytest.fixture
def server(tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        base = f"http://127.0.0.1:{http_server.server_port}/"
        http_server.asked = []
        http_server.addresses = {"archive": f"{base}UCF101.rar", "splits": f"{base}lists.zip"}
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield http_server
        http_server.shutdown()


def test_the_published_archives_are_fetched_once_and_not_kept(tmp_path, ucf_files, server, monkeypatch):
    monkeypatch.setattr(folds, "has_extractor", lambda: True)  # these are stored, rarfile alone reads them
    placed(tmp_path / "served", {"UCF101.rar": rar_bytes(dict(list(ucf_files.items())[:3]))})
    placed(tmp_path / "served" / "lists.zip", zip_bytes(ucf_lists()))
    folder = tmp_path / "u"
    assert fetch_folds("ucf101", folder, addresses=server.addresses)["missing"] == 1
    assert fetch_folds("ucf101", folder, addresses=server.addresses)["missing"] == 1
    assert server.asked == ["/lists.zip", "/UCF101.rar"]
    archive = placed(tmp_path / "x.zip", zip_bytes(ucf_files))
    assert (folder / ".published").is_dir()
    assert fetch_folds("ucf101", folder, archive=archive) == ALL and not (folder / ".published").exists()


def test_what_to_do_without_the_authors_server_is_one_clear_line(tmp_path, ucf_files, server, no_extractor):
    with pytest.raises(UserError) as caught:
        fetch_folds("ucf101", tmp_path / "u", addresses=NOWHERE)
    line = str(caught.value)
    assert "http://127.0.0.1:9/lists.zip cannot be reached" in line and "\n" not in line
    assert "download http://127.0.0.1:9/clips.zip and http://127.0.0.1:9/lists.zip" in line
    assert line.endswith("scripts/fetch.py ucf101 --archive clips.zip --splits lists.zip")
    placed(tmp_path / "served" / "lists.zip", b"<html>moved</html>")
    with pytest.raises(UserError, match=r"what http.*lists\.zip sends is no archive\. By hand"):
        fetch_folds("ucf101", tmp_path / "u", addresses=server.addresses)
    placed(tmp_path / "served" / "lists.zip", zip_bytes(ucf_lists()))
    server.asked.clear()
    with pytest.raises(UserError, match=r"UCF101\.rar is packed .* install unrar.*By hand: download"):
        fetch_folds("ucf101", tmp_path / "u", addresses=server.addresses)
    assert server.asked == ["/lists.zip"]  # gigabytes that could not be opened were not asked for


def test_what_is_wrong_is_one_clear_line(tmp_path, ucf_files):
    lists = ucf_lists()
    archive = placed(tmp_path / "x.zip", zip_bytes(ucf_files | lists))
    with pytest.raises(UserError, match="unknown data set with folds 'ucf'; did you mean 'ucf101'"):
        fetch_folds("ucf", tmp_path / "u")
    with pytest.raises(UserError, match=r"none\.zip"):
        fetch_folds("ucf101", tmp_path / "u", archive=tmp_path / "none.zip", splits=archive)
    with pytest.raises(UserError, match=r"x\.txt: no archive: \.rar"):
        fetch_folds("ucf101", tmp_path / "u", archive=placed(tmp_path / "x.txt", b"text"), splits=archive)
    del lists["ucfTrainTestlist/testlist02.txt"]
    some = placed(tmp_path / "some.zip", zip_bytes(lists))
    with pytest.raises(UserError, match=r"lacks official lists of ucf101: testlist02\.txt"):
        fetch_folds("ucf101", tmp_path / "v", archive=archive, splits=some)
    lists["ucfTrainTestlist/testlist02.txt"] = b"Archery/v_Archery_g01_c01.avi\nArchery/..avi\n"
    wrong = placed(tmp_path / "wrong.zip", zip_bytes(lists))
    with pytest.raises(UserError, match=r"testlist02\.txt: 'Archery/\.\.avi' names no clip of ucf101"):
        fetch_folds("ucf101", tmp_path / "w", archive=archive, splits=wrong)


KILLED = """
import os, sys
from pathlib import Path
from vidbench.data.fetch import folds, members
whole, count = members.Member.copy_to, [0]
def copy_to(member, target):
    whole(member, target)
    count[0] += member.name.endswith(".avi")
    if count[0] == 4:
        target.write_bytes(target.read_bytes()[:100])
        os.kill(os.getpid(), 9)
members.Member.copy_to = copy_to
folder, archive, lists = map(Path, sys.argv[1:])
folds.fetch_folds("ucf101", folder, archive=archive, splits=lists)
"""


def test_a_killed_call_is_completed_by_the_next(tmp_path, ucf_files):
    folder = tmp_path / "u"
    archive = placed(tmp_path / "x.rar", rar_bytes(ucf_files))
    lists = placed(tmp_path / "lists.zip", zip_bytes(ucf_lists()))
    code = subprocess.run(
        [sys.executable, "-c", KILLED, folder, archive, lists], env=os.environ, check=False
    ).returncode
    assert code == -9 and [path.name for path in (folder / ".incoming").rglob("*.avi")]
    came = {path.name for path in folder.rglob("*.avi") if ".incoming" not in path.parts}
    assert len(came) < 4  # the fourth was half there, under no name that counts
    assert fetch_folds("ucf101", folder, archive=archive, splits=lists) == ALL
    assert not list((folder / ".incoming").rglob("*.avi"))
    assert {stem: Manifest(folder).rows[stem].status for stem in UCF} == dict.fromkeys(UCF, "ok")
