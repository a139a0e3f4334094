import csv
import functools
import http.server
import os
import sys
import tarfile
import threading
import types
from dataclasses import replace

import pytest
from archive_server import (
    PUBLIC,
    Served,
    clip_bytes,
    gzipped_pieces,
    key_of,
    member,
    put_k400,
    serving,
    table,
    tar_of,
)

from vidbench.data.datasets import load_dataset, select
from vidbench.data.decode import probe
from vidbench.data.fetch import (
    KineticsFetch,
    fetch_file,
    fetch_from_archives,
    fetch_from_youtube,
    fetch_kinetics,
    status_of,
)
from vidbench.data.fetch import http as fetching
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.records import Video
from vidbench.utils import UserError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_bytes(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def server(clip, monkeypatch):
    """Two archives of four clips with the oddities of the published ones: one is a plain tar with long paths."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.01)
    archives, rows = {}, []
    for part in (0, 1):
        folder = "./folder" if part else f"home/{'x' * 90}/train"
        members = [member(f"{folder}/._{key_of(part, 0)}.mp4", b"AppleDouble"), member(f"{folder}/", type=b"5")]
        members.append(member(f"{folder}/{key_of(part, 9)}.mp4"))
        for number in range(4):
            members.append(member(f"{folder}/{key_of(part, number)}.mp4", clip))
            rows.append(("air drumming" if number % 2 else "zumba", key_of(part, number)))
        archives[f"part_{part}.tar.gz"] = tar_of(members, zipped=bool(part))
        rows.append(("zumba", key_of(part, 9)))
    with serving() as found:
        put_k400(found, archives, rows)
        yield found


def fetch(server, folder, num_videos=0, **options) -> int:
    return fetch_kinetics("400", "val", folder, num_videos=num_videos, base_url=server.base, progress=False, **options)


def agrees(folder) -> set[str]:
    """The keys of the clips that lie in a folder; each has an "ok" row that is true, and each "ok" row a clip."""
    rows = {key: row for key, row in Manifest(folder).rows.items() if row.status == "ok"}
    lying = {path.stem: path for path in folder.rglob("*.mp4") if ".rejected" not in path.parts}
    assert rows.keys() == lying.keys()
    for key, path in lying.items():
        assert (folder / rows[key].path, rows[key].bytes) == (path, path.stat().st_size)
        assert probe(path).num_frames == rows[key].frames == 10
    return set(lying)


def test_clips_land_whole_labelled_and_noted(tmp_path, server):
    folder = tmp_path / "400" / "val"
    assert fetch(server, folder, 3) == 3
    assert len(server.archives_asked()) == 1  # one archive was enough
    found = load_dataset("kinetics", "val", folder)
    assert {video.label for video in found.videos} <= {"air drumming", "zumba"} and len(found.videos) == 3
    assert found.population == {"annotations": 10, "found": 3, "verified": 3, "never fetched": 7}
    assert len(agrees(folder)) == 3 and not list(folder.rglob("*.part"))
    row = next(iter(Manifest(folder).rows.values()))
    assert row.source.startswith(f"{server.base}400/val/part_") and row.label and len(row.sha256) == 64


def test_a_second_call_goes_on_and_fetches_nothing_twice(tmp_path, server):
    fetch(server, tmp_path / "v", 3)
    assert fetch(server, tmp_path / "v", 8) == 8 == len(agrees(tmp_path / "v"))
    assert (tmp_path / "v" / "manifest.csv").read_text().count("\n") == 11  # a header, 8 clips, 2 empty ones
    count = len(server.asked)
    assert fetch(server, tmp_path / "v", 8) == 8 and len(server.asked) == count
    assert fetch(server, tmp_path / "v", 99) == 8  # all there are
    assert len(server.archives_asked()) <= 4


def test_what_is_missing_is_named_and_a_finished_archive_is_not_touched(tmp_path, server):
    outcome = fetch_from_archives(KineticsFetch("400", "val", tmp_path, base_url=server.base, progress=False))
    assert (outcome.here, outcome.wanted, outcome.got.new) == (8, 10, 8)
    assert outcome.missing == {key_of(part, 9): "bad: empty clip" for part in (0, 1)}
    assert {Manifest(tmp_path).rows[key].bytes for key in outcome.missing} == {0}
    with (tmp_path / "missing.csv").open() as file:
        assert [row["key"] for row in csv.DictReader(file)] == sorted(outcome.missing)
    assert all(line.isascii() for line in outcome.lines())  # some terminals have no more
    assert outcome.got.refused == {"empty clip": 2} and "refused in archives: empty clip 2" in outcome.lines()
    assert "8 of 10 clips are here" in outcome.lines()[0] and "missing 2, named in missing.csv" in outcome.lines()[-1]
    assert len(server.archives_asked()) == 2
    again = fetch_from_archives(replace(outcome.fetch))
    assert again.missing == outcome.missing and len(server.archives_asked()) == 2


def test_only_the_classes_that_are_asked_for(tmp_path, server):
    assert fetch(server, tmp_path, classes=("Zumba",)) == 4
    assert {row.label for row in Manifest(tmp_path).rows.values()} == {"zumba"}
    with pytest.raises(UserError, match=r"unknown class 'zumbaa'; did you mean 'zumba'"):
        fetch(server, tmp_path, classes=("zumbaa",))


def test_the_order_is_seeded_and_random_is_a_sample_with_its_cost(tmp_path, server):
    options = {"num_videos": 4, "base_url": server.base, "order": "random", "progress": False}
    said = []
    for seed in (0, 1, 2):
        for place in ("a", "b"):
            fetch_from_archives(
                KineticsFetch("400", "val", tmp_path / f"{place}{seed}", seed=seed, **options), said.append
            )
        assert agrees(tmp_path / f"a{seed}") == agrees(tmp_path / f"b{seed}")
    assert len({frozenset(agrees(tmp_path / f"a{seed}")) for seed in (0, 1, 2)}) > 1
    size = sum(served.length for path, served in server.files.items() if path.endswith(".gz"))
    assert said[0].startswith("4 clips at random: up to ") and f"{size / 1000:.1f} kB in 2 archives" in said[0]


def test_threads_share_the_archives_out_and_take_no_clip_too_many(tmp_path, server):
    assert fetch(server, tmp_path / "a", 5, jobs=4) == 5 == len(agrees(tmp_path / "a"))
    assert fetch(server, tmp_path / "b", jobs=2) == 8 == len(agrees(tmp_path / "b"))


def test_clips_that_lie_there_unnoted_are_verified_and_noted(tmp_path, server, clip):
    (tmp_path / "part_7").mkdir()
    (tmp_path / "part_7" / f"{key_of(0, 0)}.mp4").write_bytes(clip)
    (tmp_path / f"{key_of(0, 1)}.mp4").write_bytes(clip[:1000])
    assert fetch(server, tmp_path, 2) == 2
    rows = Manifest(tmp_path).rows
    assert (rows[key_of(0, 0)].source, rows[key_of(0, 0)].label) == ("here", "zumba")
    assert rows[key_of(0, 0)].path == f"part_7/{key_of(0, 0)}.mp4"
    assert (tmp_path / ".rejected" / f"{key_of(0, 1)}.mp4").is_file()
    assert fetch(server, tmp_path) == 8 and key_of(0, 1) in agrees(tmp_path)  # the broken one was fetched


def test_a_clip_that_was_removed_or_changed_is_fetched_again(tmp_path, server):
    fetch(server, tmp_path)
    (tmp_path / f"{key_of(0, 0)}.mp4").unlink()
    (tmp_path / f"{key_of(1, 1)}.mp4").write_bytes(b"changed")
    assert fetch(server, tmp_path, 6) == 6
    assert Manifest(tmp_path).rows[key_of(0, 0)].status == "gone" and len(agrees(tmp_path)) == 6
    assert fetch(server, tmp_path) == 8 == len(agrees(tmp_path))


def test_an_older_manifest_is_taken_over(tmp_path, server, clip):
    (tmp_path / f"{key_of(0, 0)}.mp4").write_bytes(clip)
    (tmp_path / "manifest.csv").write_text(f"key,status,bytes,sha256\n{key_of(0, 0)},ok,{len(clip)},ff\n")
    assert fetch(server, tmp_path, 1) == 1
    assert server.archives_asked() == []


def test_what_cannot_be_had_is_one_clear_line(tmp_path, server):
    with pytest.raises(UserError, match="unknown Kinetics version '500'"):
        fetch_kinetics("500", "val", tmp_path, num_videos=1)
    with pytest.raises(UserError, match="unknown split 'validation'"):
        fetch_kinetics("400", "validation", tmp_path, num_videos=1)
    with pytest.raises(UserError, match=r"600/annotations/val\.csv cannot be reached"):
        fetch_kinetics("600", "val", tmp_path / "a", num_videos=1, base_url=server.base)
    with pytest.raises(UserError, match=r"cannot be reached: .*refused"):
        fetch_kinetics("400", "val", tmp_path / "b", num_videos=1, base_url="http://127.0.0.1:9/")
    with pytest.raises(UserError, match="no address that begins with https"):
        fetch_kinetics("400", "val", tmp_path / "c", num_videos=1, base_url="file:///etc/")
    for wrong in ("http://[::1", "http://[nine]/", "http://a..example/", f"http://{'a' * 70}.example/"):
        with pytest.raises(UserError, match=r"is no address: "):
            fetch_kinetics("400", "val", tmp_path / "c", num_videos=1, base_url=wrong)
    with pytest.raises(UserError, match=r"cannot be reached: nonnumeric port"):
        fetch_kinetics("400", "val", tmp_path / "c", num_videos=1, base_url="http://a.example:port/")
    assert list((tmp_path / "c").rglob("*.csv")) == []


def test_one_folder_is_one_split(tmp_path, server):
    fetch(server, tmp_path / "v", 2)
    with pytest.raises(UserError, match="holds clips of kinetics-400 val: one folder is one split"):
        fetch_kinetics("400", "train", tmp_path / "v", num_videos=2, base_url=server.base, progress=False)
    assert fetch(server, tmp_path / "v", 3) == 3


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><p>Please log in</p>", b"", b"label,youtube_id,time_start,time_end,split"]
)
def test_a_page_that_is_no_annotation_table_is_not_kept(tmp_path, server, page):
    (path,) = (path for path in server.files if path.endswith("annotations/val.csv"))
    right, server.files[path] = server.files[path], Served(page)
    with pytest.raises(UserError, match=r"annotations/val.csv answered with something else than an annotation table"):
        fetch(server, tmp_path / "v", 2)
    assert [file.name for file in (tmp_path / "v").iterdir() if not file.name.startswith(".")] == []
    server.files[path] = right
    assert fetch(server, tmp_path / "v", 2) == 2


def test_rows_that_name_no_video_of_youtube_are_left_out(tmp_path, server):
    """Keys become file names: none of them may lead anywhere."""
    right = server.files["/400/annotations/val.csv"].data.decode()
    odd = "zumba,../../../evil,1,11,val,0\nzumba,short,1,11,val,0\nzumba,aaaaaaaaaaa,-5,11,val,0\n"
    server.put("400/annotations/val.csv", right + odd)
    outcome = fetch_from_archives(KineticsFetch("400", "val", tmp_path / "v", base_url=server.base, progress=False))
    assert (outcome.annotated, outcome.here) == (10, 8)
    server.put("400/annotations/val.csv", right + "zumba,aaaaaaaaaaa,inf,11,val,0\n")
    with pytest.raises(UserError, match=r"line 12: no youtube_id, time_start and time_end"):
        fetch(server, tmp_path / "w")
    server.put("400/annotations/val.csv", right + f"{'x' * 200_000},\n")
    with pytest.raises(UserError, match=r"something else than an annotation table: .*field larger than field limit"):
        fetch(server, tmp_path / "w")


def test_a_page_in_an_archives_place_is_called_none(tmp_path, server):
    server.files["/400/val/part_1.tar.gz"] = Served(b"<!DOCTYPE html><title>Please log in</title>" * 100)
    with pytest.raises(UserError, match=r"part_1.tar.gz: what is there is no archive; what was fetched is kept"):
        fetch(server, tmp_path)


def test_a_page_that_is_no_list_of_archives_is_said(tmp_path, server):
    (path,) = (path for path in server.files if path.endswith("k400_val_path.txt"))
    for page in (b"<html>", b"\n"):
        server.files[path] = Served(page)
        with pytest.raises(UserError, match="answered with something else than a list of archives"):
            fetch(server, tmp_path / "v", 2)


def test_a_wrong_checksum_at_the_end_of_an_archive_is_damage(tmp_path, server):
    (path,) = (path for path in server.files if path.endswith("part_1.tar.gz"))
    data = bytearray(server.files[path].data)
    data[-8] ^= 255  # of gzip's CRC-32
    server.files[path] = Served(bytes(data))
    with pytest.raises(UserError, match="CRC check failed"):
        fetch(server, tmp_path / "v", 0)
    assert len(agrees(tmp_path / "v")) == 8  # what could be decoded is kept
    assert not list((tmp_path / "v" / ".archives").glob("part_1*.json"))  # it is read again next time


def test_an_archive_that_breaks_off_keeps_what_came_before(tmp_path, server):
    for name, served in server.files.items():
        if name.endswith(".gz"):
            served.data = served.data[: len(served.data) // 2]
    with pytest.raises(UserError, match="what was fetched is kept"):
        fetch(server, tmp_path, 8)
    assert 0 < len(agrees(tmp_path)) < 8


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_archive_that_is_refused_is_told_and_the_others_are_read(tmp_path, server, status):
    server.files["/400/val/part_1.tar.gz"].answers = [status] * 9
    assert fetch(server, tmp_path / "a", 4) == 4
    with pytest.raises(UserError, match=r"part_1.tar.gz cannot be reached: .*; what was fetched is kept"):
        fetch(server, tmp_path / "b")
    assert len(agrees(tmp_path / "b")) == 4


def test_a_broken_archive_is_told_once(tmp_path, server):
    served = server.files["/400/val/part_1.tar.gz"]
    served.data = served.data[:2000]
    outcome = fetch_from_archives(KineticsFetch("400", "val", tmp_path, base_url=server.base, progress=False))
    assert "part_1.tar.gz: " in str(outcome.error()) and not any("part_1.tar.gz" in line for line in outcome.lines())
    server.files["/400/val/part_0.tar.gz"].data = b"neither"
    outcome = fetch_from_archives(KineticsFetch("400", "val", tmp_path / "b", base_url=server.base, progress=False))
    told = [*outcome.lines(), str(outcome.error())]
    assert [sum(f"part_{part}.tar.gz" in line for line in told) for part in (0, 1)] == [1, 1]


def test_many_refusals_in_a_row_end_it(tmp_path, server, clip):
    archives = {f"part_{part}.tar.gz": b"no archive" * 100 for part in range(9)}
    put_k400(server, archives, [("zumba", key_of(0, 0))])
    with pytest.raises(UserError, match=r"5 archives in a row could not be read, the last: .*part_\d.tar.gz"):
        fetch(server, tmp_path)
    assert len(server.archives_asked()) == 5


def test_a_busy_server_is_asked_again(tmp_path, server):
    server.files["/400/val/part_1.tar.gz"].answers = [503, 500, 429]
    assert fetch(server, tmp_path) == 8


@pytest.mark.parametrize("ranges", [True, False])
def test_a_stream_goes_on_where_it_was_cut(tmp_path, server, ranges):
    for path in ("/400/val/part_0.tar.gz", "/400/val/part_1.tar.gz"):
        served = server.files[path]
        served.ranges, served.cuts = ranges, [100, 2000, 5000, 1]
    assert fetch(server, tmp_path) == 8 == len(agrees(tmp_path))
    froms = [asked for _, path, asked in server.asked if "part_0" in path]
    assert froms[:3] == [None, "bytes=100-", "bytes=2100-" if ranges else "bytes=2000-"]


def test_a_server_that_calls_the_whole_a_part_is_read(tmp_path, server):
    for path in ("/400/val/part_0.tar.gz", "/400/val/part_1.tar.gz"):
        server.files[path].always_partial = True
    assert fetch(server, tmp_path) == 8


def test_a_silent_server_is_left_and_asked_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.2)
    server.files["/400/val/part_0.tar.gz"].stalls = [1.0]
    server.files["/400/annotations/val.csv"].stalls = [1.0]
    assert fetch(server, tmp_path) == 8


def test_an_archive_that_changes_while_it_is_read_is_not_patched_together(tmp_path, server):
    served = server.files["/400/val/part_0.tar.gz"]
    served.cuts = [3000]
    server.files["/400/val/part_1.tar.gz"].answers = [404]

    def after_first(self=served):
        yield served_data[:3000]
        served.etag = '"2"'

    served_data = served.data
    served.size, served.data = len(served_data), after_first
    with pytest.raises(UserError, match="changed while it was read"):
        fetch(server, tmp_path)


def test_kept_archives_go_on_by_range_and_are_read_from_the_disk(tmp_path, server):
    served = server.files["/400/val/part_0.tar.gz"]
    served.cuts = [1000]
    assert fetch(server, tmp_path, keep_archives=True) == 8
    kept = sorted(path.name for path in (tmp_path / "archives").iterdir())
    assert (
        kept == ["part_0.tar.gz", "part_1.tar.gz"] and ("GET", "/400/val/part_0.tar.gz", "bytes=1000-") in server.asked
    )
    for path in tmp_path.glob("*.mp4"):
        path.unlink()
    count = len(server.archives_asked())
    assert fetch(server, tmp_path) == 8 and len(server.archives_asked()) == count


def test_a_page_is_not_kept_for_an_archive(tmp_path, server):
    server.files["/400/val/part_1.tar.gz"] = Served(b"<!DOCTYPE html><title>Please log in</title>" * 100)
    words = r"part_1.tar.gz answered with something else than an archive, which is not kept"
    with pytest.raises(UserError, match=words):
        fetch(server, tmp_path, keep_archives=True)
    assert [path.name for path in (tmp_path / "archives").iterdir()] == ["part_0.tar.gz"]
    assert len(agrees(tmp_path)) == 4


def test_five_clips_of_a_large_archive_cost_a_small_part_of_it(tmp_path, clip):
    junk = os.urandom(1 << 20)

    def members():
        for number in range(5):
            yield member(f"./junk{number}", junk)
            yield member(f"./{key_of(0, number)}.mp4", clip)
        for number in range(195):
            yield member(f"./more{number}", junk)

    rows = [("zumba", key_of(0, number)) for number in range(5)] + [("zumba", key_of(1, 0))]
    pieces = gzipped_pieces(members)
    with serving() as server:
        put_k400(server, {"part_0.tar.gz": pieces}, rows, size=sum(map(len, pieces())))
        assert server.files["/400/val/part_0.tar.gz"].length > 200e6
        assert fetch(server, tmp_path, 5) == 5 == len(agrees(tmp_path))
    assert server.sent_bytes < 15e6


def test_kinetics_600_reads_only_the_archives_of_its_classes(tmp_path, clip):
    name = "mountain climber (exercise)"
    with serving() as server:
        lines = [f"{PUBLIC}600/val/{label}.tar.gz" for label in (name, "zumba")]
        server.put("600/val/k600_val_path.txt", "\n".join(lines))
        server.put("600/annotations/val.csv", table([("zumba", key_of(1, 0))]))  # incomplete, and no .txt
        odd = [member(f"._{name}", b"x"), member(f"{name}/{key_of(0, 0)}.mp4", clip)]
        server.put(f"600/val/{name}.tar.gz", tar_of(odd))
        server.put("600/val/zumba.tar.gz", tar_of([member(f"./{key_of(1, 0)}.mp4", clip)]))
        options = {"num_videos": 0, "base_url": server.base, "progress": False}
        assert fetch_kinetics("600", "val", tmp_path / "a", classes=("zumba",), **options) == 1
        assert server.archives_asked() == ["/600/val/zumba.tar.gz"]
        assert fetch_kinetics("600", "val", tmp_path / "b", **options) == 2
        assert "/600/val/mountain%20climber%20%28exercise%29.tar.gz" in server.archives_asked()
    assert Manifest(tmp_path / "b").rows[key_of(0, 0)].label == name  # its archive told
    labels = {
        video.video_id: video.label for video in load_dataset("kinetics", "val", tmp_path / "b", version="600").videos
    }
    assert labels == {key_of(0, 0): name, key_of(1, 0): "zumba"}


def test_kinetics_600_without_its_complete_list_takes_all_that_the_archives_hold(tmp_path, clip):
    """The .txt cannot be had, and the .csv lacks a class whole and half of another."""
    with serving() as server:
        lines = [f"{PUBLIC}600/val/{label}.tar.gz" for label in ("yoga", "zumba")]
        server.put("600/val/k600_val_path.txt", "\n".join(lines))
        server.put("600/annotations/val.csv", table([("zumba", key_of(1, number)) for number in range(2)]))
        for part, label in enumerate(("yoga", "zumba")):
            inside = [member("./readme", type=tarfile.SYMTYPE, linkname="x"), member(f"./{key_of(part, 8)}.mp4")]
            inside += [member(f"./{key_of(part, number)}.mp4", clip) for number in range(4)]
            server.put(f"600/val/{label}.tar.gz", tar_of(inside))
        options = {"base_url": server.base, "progress": False}
        found = fetch_from_archives(KineticsFetch("600", "val", tmp_path / "a", classes=("yoga",), **options))
        assert (found.here, found.wanted, found.unlisted) == (4, 0, 4)
        with pytest.raises(UserError, match=r"unknown class 'zumbaa'; did you mean 'zumba'"):
            fetch_from_archives(KineticsFetch("600", "val", tmp_path / "a", classes=("zumbaa",), **options))
        assert fetch_kinetics("600", "val", tmp_path / "b", num_videos=2, classes=("zumba",), **options) == 2
        found = fetch_from_archives(
            KineticsFetch("600", "val", tmp_path / "b", **options)
        )  # the two annotated are here
        assert (found.here, found.wanted, found.unlisted, found.missing) == (8, 2, 6, {})
        assert "8 of 8 clips are here and verified (2 annotated; 6 that the annotations lack)" in found.lines()[0]
        count = len(server.archives_asked())
        assert fetch_kinetics("600", "val", tmp_path / "b", num_videos=0, **options) == 8
        assert len(server.archives_asked()) == count
    assert len(agrees(tmp_path / "b")) == 8
    assert Manifest(tmp_path / "b").rows[key_of(0, 8)].reason == "empty clip"
    words = status_of(tmp_path / "b")
    assert words.splitlines()[1].split() == ["all", "2", "8", "8", "0", "2", "0"]
    assert "verified, and not among the expected: 6" in words


def test_more_clips_than_asked_for_are_not_counted_against_the_number(tmp_path, server):
    fetch(server, tmp_path, 5)
    outcome = fetch_from_archives(KineticsFetch("400", "val", tmp_path, 3, base_url=server.base, progress=False))
    assert "5 clips are here and verified, 3 were asked for (10 annotated)" in outcome.lines()[0]


def test_kinetics_700_finds_the_archive_of_a_class_and_keeps_known_class_folders(tmp_path, clip):
    labels = ["abseiling", "air drumming", "zumba"]
    with serving() as server:
        place = "700_2020/val/k700_2020_val_path.txt"
        server.put(place, "\n".join(f"{PUBLIC}700_2020/val/k700_val_{n:03}.tar.gz" for n in (1, 2, 3)))
        rows = [(label, key_of(part, number)) for part, label in enumerate(labels) for number in (0, 1)]
        server.put("700_2020/annotations/val.csv", table(rows))
        for part, label in enumerate(labels):
            inside = [member(f"{label}/{key_of(part, 0)}.mp4", clip), member(f"no class/{key_of(part, 1)}.mp4", clip)]
            server.put(f"700_2020/val/k700_val_{part + 1:03}.tar.gz", tar_of(inside))
        options = {"num_videos": 0, "classes": ("air drumming",), "base_url": server.base, "progress": False}
        assert fetch_kinetics("700-2020", "val", tmp_path, **options) == 2
        assert server.archives_asked() == ["/700_2020/val/k700_val_002.tar.gz"]
    paths = {row.path for row in Manifest(tmp_path).rows.values()}
    assert paths == {f"air drumming/{key_of(1, 0)}.mp4", f"{key_of(1, 1)}.mp4"}


def test_an_unlabelled_test_split(tmp_path, clip):
    with serving() as server:
        server.put("600/test/k600_test_path.txt", f"{PUBLIC}600/test/part_0.tar.gz")
        server.put("600/annotations/test.csv", f"youtube_id,time_start,time_end,split\n{key_of(0, 0)[:11]},1,11,test\n")
        server.put("600/test/part_0.tar.gz", tar_of([member(f"./{key_of(0, 0)}.mp4", clip)]))
        options = {"num_videos": 0, "base_url": server.base, "progress": False}
        assert fetch_kinetics("600", "test", tmp_path, **options) == 1
        with pytest.raises(UserError, match="hold no labels"):
            fetch_kinetics("600", "test", tmp_path, classes=("zumba",), **options)


def test_replacements_stand_in_for_corrupt_clips(tmp_path, clip):
    with serving() as server:
        broken = [member(f"./{key_of(0, 0)}.mp4", clip[:900]), member(f"./{key_of(0, 1)}.mp4", clip)]
        rows = [("zumba", key_of(0, 0)), ("zumba", key_of(0, 1))]
        put_k400(server, {"part_0.tar.gz": tar_of(broken)}, rows, split="train")
        replacement = [member(f"replacement_for_corrupted_k400/{key_of(0, n)}.mp4", clip) for n in (0, 1)]
        server.put("400/replacement_for_corrupted_k400.tgz", tar_of(replacement))
        options = {"num_videos": 0, "base_url": server.base, "progress": False}
        assert fetch_kinetics("400", "train", tmp_path, **options) == 1
        assert Manifest(tmp_path).rows[key_of(0, 0)].status == "bad"
        count = len(server.archives_asked())
        assert fetch_kinetics("400", "train", tmp_path, replacements=True, **options) == 2
        assert server.archives_asked()[count:] == ["/400/replacement_for_corrupted_k400.tgz"]
    assert agrees(tmp_path) == {key_of(0, 0), key_of(0, 1)}
    with pytest.raises(UserError, match="train split"):
        KineticsFetch("400", "val", tmp_path, replacements=True)


def test_youtube_gets_the_wanted_clips_in_their_seeded_order(tmp_path, server, clip, monkeypatch):
    calls = []

    def fetch_youtube(clips, folder, gate, **options):
        calls.append((clips, options))
        (folder / "x.part").write_bytes(clip)
        gate.admit(folder / "x.part", folder / f"{clips[0].key}.mp4", key=clips[0].key, seconds=clips[0].seconds)
        gate.note(Row(clips[1].key, status="failed", reason="private: not for us"))

    youtube = types.SimpleNamespace(fetch_youtube=fetch_youtube)
    monkeypatch.setitem(sys.modules, "vidbench.data.fetch.youtube", youtube)
    fetch = KineticsFetch("400", "val", tmp_path, classes=("zumba",), base_url=server.base, progress=False)
    outcome = fetch_from_youtube(fetch, sleep=(1.0, 2.0))
    ((clips, options),) = calls
    expected = select([Video(clip.key, None) for clip in clips])
    assert [clip.key for clip in clips] == [video.video_id for video in expected] and len(clips) == 6
    assert options == {
        "cookies": None, "sleep": (1.0, 2.0), "retry_failed": False, "num_videos": 0, "progress": False,
    }  # fmt: skip
    assert (outcome.here, outcome.got.new, len(outcome.missing)) == (1, 1, 5)
    assert outcome.missing[clips[1].key] == "private: not for us" and server.archives_asked() == []


@pytest.mark.parametrize("problem", [UserError("the network is down"), OSError(5, "Input/output error")])
def test_what_ends_youtube_leaves_counts_and_names(tmp_path, server, clip, monkeypatch, problem):
    def fetch_youtube(clips, folder, gate, **options):
        (folder / "x.part").write_bytes(clip)
        gate.admit(folder / "x.part", folder / f"{clips[0].key}.mp4", key=clips[0].key, seconds=clips[0].seconds)
        gate.note(Row(clips[1].key, status="failed", reason="network: refused"))
        raise problem

    monkeypatch.setitem(sys.modules, "vidbench.data.fetch.youtube", types.SimpleNamespace(fetch_youtube=fetch_youtube))
    outcome = fetch_from_youtube(KineticsFetch("400", "val", tmp_path, base_url=server.base, progress=False))
    assert outcome.lines()[0].endswith("1 of 10 clips are here and verified (10 annotated); 1 new")
    assert (tmp_path / "missing.csv").read_text().count("\n") == 10 and "network: refused" in outcome.missing.values()
    with pytest.raises(type(problem)) as caught:
        outcome.check()
    assert caught.value is problem


def test_options_that_only_archives_have_are_refused_for_youtube(tmp_path, server):
    for words, options in (
        ("--max-bytes goes", {"max_bytes": 1e6}),
        ("--keep-archives and --jobs go", {"keep_archives": True, "jobs": 2}),
    ):
        with pytest.raises(UserError, match=rf"^{words} with --source archives"):
            fetch_from_youtube(KineticsFetch("400", "val", tmp_path / "v", base_url=server.base, **options))
    assert not (tmp_path / "v").exists() and server.asked == []


def test_the_loader_of_the_prototype_fetches_with_the_same_code(tmp_path, server, monkeypatch):
    from vidbench.data.fetch import kinetics
    from vidbench.data.load import KineticsLoader

    monkeypatch.setattr(kinetics.KineticsFetch, "__post_init__", functools.partialmethod(_set_base, server.base))
    loader = KineticsLoader("400", "val", tmp_path / "v", cache_dir=None)
    assert loader.download_n_videos(2) == 2 and len(loader.videos()) == 2


def _set_base(fetch, base):
    object.__setattr__(fetch, "base_url", base)


BYTES = bytes(range(256)) * 4000


class Dropping(http.server.BaseHTTPRequestHandler):
    """Serves BYTES, by range where it is told to, and drops the connection after `server.drops.pop(0)` bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        self.server.conditions.append(self.headers.get("If-Range"))
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
        if self.server.if_range and self.headers.get("If-Range") not in (None, *self.server.headers.values()):
            start = 0
        if self.server.wrong_part and start:
            start = start // 2
        body = BYTES[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BYTES) - 1}/{len(BYTES)}")
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.server.drops.pop(0) if self.server.drops else None])
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def dropping(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as http_server:
        http_server.asked, http_server.drops, http_server.ranges, http_server.wrong_part = [], [], True, False
        http_server.headers, http_server.if_range, http_server.conditions = {}, True, []
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
    dropping.drops = [1000, 1000, 1000, *[0] * fetching.TRIES]
    with pytest.raises(UserError, match=r"stopped 4 times at byte 3,000: .*; the 3.0 kB that came are kept"):
        fetch_file(dropping.url, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists() and (tmp_path / "file.bin.part").stat().st_size == 3000
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert dropping.asked[-1] == "bytes=3000-" and (tmp_path / "file.bin").read_bytes() == BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_drops_that_brought_something_do_not_count(tmp_path, dropping):
    dropping.drops = [1000] * 3 * fetching.TRIES
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and len(dropping.asked) == 3 * fetching.TRIES + 1


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("knows_if_range", [True, False])
def test_a_file_that_changed_between_two_calls_is_fetched_from_its_beginning(
    tmp_path, dropping, header, knows_if_range
):
    dropping.headers, dropping.if_range = {header: '"first"'}, knows_if_range
    dropping.drops = [1000, *[0] * fetching.TRIES]
    with pytest.raises(UserError, match=r"the 1.0 kB that came are kept"):
        fetch_file(dropping.url, tmp_path / "file.bin")
    (tmp_path / "file.bin.part").write_bytes(b"of the first file".ljust(1000))
    dropping.headers = {header: '"second"'}
    dropping.conditions.clear()
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert dropping.conditions == ['"first"', None]
    assert (tmp_path / "file.bin").read_bytes() == BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_bytes_of_nobody_knows_which_file_are_thrown_away(tmp_path, dropping):
    (tmp_path / "file.bin.part").write_bytes(b"of what?")
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and dropping.asked == [None]


def test_a_file_that_is_not_what_was_wanted_gets_no_name(tmp_path, dropping):
    def check(path):
        assert path.read_bytes() == BYTES
        raise UserError("not that one")

    with pytest.raises(UserError, match="not that one"):
        fetch_file(dropping.url, tmp_path / "file.bin", check=check)
    assert list(tmp_path.iterdir()) == []


def test_of_a_server_that_sends_more_than_was_asked_for_the_new_bytes_are_taken(tmp_path, dropping):
    dropping.drops, dropping.wrong_part = [1000], True
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and dropping.asked[1:] == ["bytes=1000-"]


def test_a_part_that_lacked_nothing_but_its_name_is_not_fetched_again(tmp_path, dropping):
    with pytest.raises(KeyboardInterrupt):
        fetch_file(dropping.url, tmp_path / "file.bin", check=_interrupt)
    assert (tmp_path / "file.bin.part").read_bytes() == BYTES
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES and dropping.asked == [None]


def _interrupt(path):
    raise KeyboardInterrupt


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path, dropping):
    (tmp_path / "file.bin.part").write_bytes(BYTES + b"more")
    fetch_file(dropping.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BYTES


def test_an_address_without_a_file_says_so(tmp_path, dropping):
    with pytest.raises(UserError, match=r"file.txt cannot be reached: Not Found"):
        fetch_file(dropping.url.replace(".bin", ".txt"), tmp_path / "file.txt")
    with pytest.raises(UserError, match=r"cannot be reached: .*refused"):
        fetch_file("http://127.0.0.1:9/file.bin", tmp_path / "file.bin")
