"""Pictures of actions: out of a search, against a server that answers as Openverse does, and out of clips."""

import csv
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from conftest import drawn_scene, moving_square, solid, write_video
from image_server import File, encoded, picture, serving
from PIL import Image

from vidbench.arguments.candidates_images import ImagesSettings
from vidbench.candidates import openverse
from vidbench.candidates.actions import Action, read_actions
from vidbench.candidates.from_clips import Taking, background_clips, clip_names, labelled_clips
from vidbench.candidates.images import ImageSearch, images_from_clips, kept_in, search_images
from vidbench.candidates.openverse import Openverse
from vidbench.candidates.stills import Refused, checked_still
from vidbench.commands import parse_settings
from vidbench.data.classes import kinetics_classes
from vidbench.data.datasets import load_dataset
from vidbench.data.fetch import http
from vidbench.data.records import Video
from vidbench.data.splitting import split_folder
from vidbench.data.staging import staging
from vidbench.utils import UserError, seeded_place

ROOT = Path(__file__).parents[1]
WAVING = [Action("waving", "waving")]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(openverse, "BETWEEN_SECONDS", 0.0)
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)
    with serving() as found:
        yield found


def searched(server, folder, number=100, actions=WAVING, **options):
    settings = {"num_workers": 4, "timeout": 20.0} | options
    search = ImageSearch(server.base, **settings)
    return search_images(folder, actions, number, search, say=lambda line: None, wait=lambda seconds: None)


def table(folder) -> dict[str, dict[str, str]]:
    with (folder / "images.csv").open(newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def files(folder) -> set[str]:
    """The visible files below a folder, the table left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0][0] != "."} - {"images.csv"}


# ------------------------------------------------------------------ the list of actions


def test_actions_are_lines_with_search_words_where_they_are_others(tmp_path):
    file = tmp_path / "actions.txt"
    file.write_text('\ufeff# three\nwaving\n\nsit_down: person sitting down\n"petting animal (not cat)"\n')
    assert read_actions(file) == [
        Action("waving", "waving"),
        Action("sit_down", "person sitting down"),
        Action("petting animal (not cat)", "petting animal"),
    ]


@pytest.mark.parametrize("version", ["400", "600", "700"])
def test_the_classes_of_kinetics_are_such_lists(tmp_path, version):
    names = list(dict.fromkeys(name.casefold() for name in kinetics_classes(version)))  # one stands in two spellings
    (tmp_path / "classes.txt").write_text("\n".join(names))
    actions = read_actions(tmp_path / "classes.txt")
    assert [action.name for action in actions] == names
    assert all(action.query and "(" not in action.query for action in actions)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "names no action"),
        ("# nothing\n", "names no action"),
        ("a\nwaving: \n", "line 2: no search words behind the colon"),
        ("wave\nWave\n", "line 2: 'Wave' stands twice"),
        ("../x\n", "line 1: '../x' can be no folder's name"),
        (".hidden\n", "can be no folder's name"),
        ("/etc: x\n", "can be no folder's name"),
        (": x\n", "can be no folder's name"),
        ("a\x07b\n", "can be no folder's name"),
        ("é" * 101 + ": x\n", "can be no folder's name"),
        (f"a: {'x' * 201}\n", "search words of 201 characters, more than 200"),
    ],
)
def test_a_list_of_actions_that_is_none(tmp_path, text, words):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        read_actions(tmp_path / "a.txt")


# ------------------------------------------------------------------ searching


def test_pages_are_asked_for_one_after_the_other_until_there_is_enough(tmp_path, server):
    for number in range(50):
        server.put("waving", picture(number, 48, 64))
    outcome = searched(server, tmp_path / "a", 30, min_side=40, licenses=("by", "cc0"))
    assert outcome.here == outcome.new == {"waving": 30} and len(files(tmp_path / "a")) == 30
    assert [words["page"] for words in server.searched] == ["1", "2"]
    first = server.searched[0] | {}
    assert first == {
        "q": "waving", "page": "1", "page_size": "20", "extension": "jpg,jpeg,png", "mature": "false",
        "license": "by,cc0",
    }  # fmt: skip
    assert sum(server.downloads().values()) == 30  # no more than wanted
    outcome = searched(server, tmp_path / "b", 100, min_side=40)
    assert outcome.here == {"waving": 50} and [words["page"] for words in server.searched[2:]] == ["1", "2", "3"]
    assert outcome.lines()[0] == "waving  50 of 100 images, 50 new: no more were found"
    assert "license" not in server.searched[-1]


def test_the_end_of_what_is_shown_without_a_key_is_the_end_of_the_search(tmp_path, server):
    for number in range(70):
        server.put("waving", picture(number, 48, 64))
    server.deepest, server.claimed = 2, 20
    assert searched(server, tmp_path, min_side=40).here == {"waving": 40}
    assert [words["page"] for words in server.searched] == ["1", "2", "3"]


def test_no_search_goes_beyond_twenty_pages(tmp_path, server):
    server.results["waving"] = [{"id": "x", "url": "", "license": "by"}] * 500  # never an image
    server.deepest = 99
    with pytest.raises(UserError, match="not one image"):
        searched(server, tmp_path).check()
    assert len(server.searched) == 20


def test_an_empty_result_is_no_error_until_nothing_is_there_at_all(tmp_path, server):
    server.put("waving", picture(1))
    outcome = searched(server, tmp_path / "a", 1, [*WAVING, Action("juggling geese", "juggling geese")])
    outcome.check()
    assert outcome.lines()[1].startswith("juggling geese  0 of 1 images, 0 new: no more were found")
    outcome = searched(server, tmp_path / "b", 1, [Action("juggling geese", "juggling geese")])
    with pytest.raises(UserError, match="not one image could be had"):
        outcome.check()


def test_the_address_of_the_api_may_be_that_of_its_images(tmp_path):
    addresses = [Openverse(tmp_path, f"http://x.example{end}").base_url for end in ("/v1", "/v1/", "/v1/images/")]
    assert {*addresses} == {"http://x.example/v1/"} and Openverse(tmp_path).base_url == openverse.PUBLIC


def asking(server, folder) -> tuple[Openverse, list[float], list[str]]:
    waits, said = [], []
    return Openverse(folder, server.base, say=said.append, wait=waits.append), waits, said


def test_waits_that_the_search_asks_for_are_kept(tmp_path, server):
    server.put("waving", picture(1))
    server.answers = [(429, {"Retry-After": "42"}, "{}"), (503, {}, ""), (429, {"Retry-After": "7"}, "{}")]
    search, waits, said = asking(server, tmp_path)
    assert len(list(search.images("waving"))) == 1
    assert [wait for wait in waits if wait] == [42.0, 2.0, 7.0] and len(said) == 2 and "42 seconds" in said[0]


def test_a_wait_may_be_a_date(tmp_path, server):
    server.put("waving", picture(1))
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    server.answers = [(429, {"Retry-After": soon}, "{}"), (429, {"Retry-After": "soon"}, "{}")]
    search, waits, _ = asking(server, tmp_path)
    assert len(list(search.images("waving"))) == 1
    asked, unreadable = (wait for wait in waits if wait)
    assert 50 < asked <= 60 and unreadable == 2.0


def test_two_searches_begin_a_second_apart(tmp_path, server, monkeypatch):
    monkeypatch.setattr(openverse, "BETWEEN_SECONDS", 1.0)
    server.results["waving"] = [{"id": str(number), "url": "x"} for number in range(60)]
    search, waits, _ = asking(server, tmp_path)
    assert len(list(search.images("waving"))) == 60
    assert len(waits) == 3 and waits[0] == 0 and all(0.5 < wait <= 1 for wait in waits[1:])


@pytest.mark.parametrize(
    "answer, times, words",
    [
        ((429, {"Retry-After": "9000"}, "{}"), 1, "no more searches for now .*Too Many Requests.*again in 2.5 hours"),
        ((503, {}, ""), 5, "gave no answer, 5 times: 503"),
        ((403, {}, ""), 1, "refuses the search: 403 Forbidden"),
        ((400, {}, "{}"), 1, "refuses the search: 400"),
        ((200, {}, "<html>"), 1, "gives no page of results: is it Openverse's API"),
        ((200, {}, '{"results": "none"}'), 1, "gives no page of results"),
    ],
)
def test_a_search_that_does_not_answer_ends_the_call(tmp_path, server, answer, times, words):
    server.put("waving", picture(1))
    server.put("sitting", picture(2))
    searched(server, tmp_path, 1)
    server.answers = [answer] * 9
    with pytest.raises(UserError, match=words + ".*; 1 images are kept in .*, the same command goes on$"):
        searched(server, tmp_path, 1, [*WAVING, Action("sitting", "sitting")])
    assert len(server.answers) == 9 - times
    server.answers = []
    assert searched(server, tmp_path, 1, [*WAVING, Action("sitting", "sitting")]).here == {"waving": 1, "sitting": 1}


def test_what_a_search_gave_before_it_ended_comes_in(tmp_path, server):
    for number in range(30):
        server.put("waving", picture(number, 48, 64), pause=0.05)
    fine = searched(server, tmp_path / "fine", 1, min_side=40)
    assert fine.here == {"waving": 1}
    (tmp_path / "fine").rename(tmp_path / "o")  # its first page is kept
    server.answers = [(429, {"Retry-After": "9000"}, "{}")]
    with pytest.raises(UserError, match="; 20 images are kept in"):
        searched(server, tmp_path / "o", 30, min_side=40, num_workers=8)
    assert len(files(tmp_path / "o")) == kept_in(tmp_path / "o") == 20


def test_where_nothing_listens_the_error_says_so(tmp_path, monkeypatch):
    with serving() as gone:
        base = gone.base
    monkeypatch.setattr(openverse, "BETWEEN_SECONDS", 0.0)
    search = Openverse(tmp_path, base, wait=lambda seconds: None)
    with pytest.raises(UserError, match=r"gave no answer, 2 times: .*refused"):
        next(search.images("waving"))


@pytest.mark.parametrize("address", ["ftp://x", "x", "", "http://", "http://[x", "file:///etc/passwd"])
def test_an_address_that_is_none(tmp_path, address):
    with pytest.raises(UserError, match="a search's address is such as https"):
        Openverse(tmp_path, address)


def test_a_license_that_is_none(tmp_path, server):
    with pytest.raises(UserError, match="unknown license 'by-nx'; did you mean "):
        searched(server, tmp_path, licenses=("by-nx",))


# ------------------------------------------------------------------ pictures


def bomb() -> bytes:
    """A PNG of a few kB that claims 20,000 × 20,000 pixels."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()


def test_whatever_comes_in_place_of_a_picture_is_a_row_with_the_reason(tmp_path, server):
    jpeg = encoded(picture(1))
    wrong = {
        "broken image": [{"data": jpeg[: len(jpeg) // 2]}, {"data": jpeg[:40]}, {"data": b"\x89PNG\r\n\x1a\n" + jpeg}],
        "no image": [
            {"data": jpeg, "type": "text/html; charset=utf-8"},
            {"data": b"<html>not found</html>"},
            {"data": b"GIF89a" + jpeg},
            {"data": b""},
        ],
        "too large": [{"data": jpeg + bytes(300_000)}, {"data": jpeg + bytes(300_000), "length": -1}, {"data": bomb()}],
        "too small": [{"data": encoded(picture(2, 199, 640))}],
        "one colour": [{"data": encoded(solid(color, 1, 240, 320)[0])} for color in ((200, 20, 20), (0, 0, 0))],
        "bad redirect": [
            {"location": "file:///etc/passwd"},
            {"location": "ftp://127.0.0.1/x.jpg"},
            {"location": "/v1/round"},
        ],
        "not there": [{"answers": [404] * 9}, {"answers": [403] * 9}],
        "bad address": [{"url": url} for url in ("file:///etc/passwd", "http://[x", "", f"http://{'a' * 70}.x/")],
        "bad result": [{"id": name} for name in ("../../evil", "a/b", "", "x.jpg")],
        "mature content": [{"mature": True}],
        "other license": [{"license": "all rights reserved"}, {"license": None}],
    }
    passing = {
        "busy": {"data": jpeg, "answers": [500] * 9},
        "too slow": {"data": jpeg, "pause": 4.0},
        "broke off": {"data": jpeg, "length": len(jpeg) + 9},
        "not reached": {"data": jpeg, "url": "http://127.0.0.1:1/x.jpg"},
    }
    expected = {}
    for kind, cases in wrong.items():
        for how in cases:
            result = server.put("waving", **{"data": jpeg} | how)
            expected[f"waving/{result['id']}"] = ("rejected", kind)
    for kind, how in passing.items():
        expected[f"waving/{server.put('waving', **how)['id']}"] = ("failed", kind)
    server.results["waving"] += ["no result", None, 7]
    server.files["/v1/round"] = File(b"", location="/v1/round")
    options = {"timeout": 2.0, "max_image_bytes": 200e3, "licenses": ("by",), "num_workers": 8}
    outcome = searched(server, tmp_path / "inside" / "o", **options)
    rows = table(tmp_path / "inside" / "o")
    got = {key: (row["status"], row["reason"].partition(":")[0]) for key, row in rows.items()}
    assert got == expected
    assert {row["file"] for row in rows.values()} == {""} and outcome.here == {}
    assert not files(tmp_path / "inside" / "o")
    assert [path.name for path in (*tmp_path.iterdir(), *(tmp_path / "inside").iterdir())] == ["inside", "o"]
    lines = outcome.lines()
    assert "broken image 3" in lines[1] and lines[1].startswith("not taken: ") and "bad result 4" in lines[1]
    assert lines[2] == "did not come: busy 1, too slow 1, broke off 1, not reached 1; the same command asks again"
    with pytest.raises(UserError, match=r"not one image could be had; .*images.csv says why"):
        outcome.check()


def test_pictures_are_kept_as_they_came_whatever_they_are_called(tmp_path, server):
    data = [encoded(picture(number)) for number in range(6)] + [encoded(picture(6), "PNG")]
    data[0] = encoded(picture(0), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")  # broken, as many cameras write it
    how: list[dict] = [{} for _ in data]
    how[1] = {"type": "binary/octet-stream", "length": -1}
    how[2] = {"answers": [500]}
    how[3] = {"title": 'half \ud83d a pair,\n"quoted"\x00'}
    how[4] = {"location": "/moved%20%C3%A9.jpg"}
    how[5] = {"type": None}
    server.files["/moved é.jpg"] = File(data[4])
    results = [server.put("waving", content, **more) for content, more in zip(data, how, strict=True)]
    assert searched(server, tmp_path).here == {"waving": 7}
    for number, (result, content) in enumerate(zip(results, data, strict=True)):
        suffix = ".png" if number == 6 else ".jpg"
        assert (tmp_path / "waving" / f"{result['id']}{suffix}").read_bytes() == content
    assert len(files(tmp_path)) == 7
    assert table(tmp_path)[f"waving/{results[3]['id']}"]["title"] == 'half ? a pair,\\n"quoted"\\x00'


def test_the_table_says_author_license_and_source(tmp_path, server):
    other = {
        "creator": "Ängström, Å.",
        "license": "cc0",
        "license_version": "1.0",
        "source": "wikimedia",
        "creator_url": "x",
    }
    results = [server.put("a person who waves", picture(1)), server.put("a person who waves", picture(2), **other)]
    searched(server, tmp_path, actions=[Action("waving", "a person who waves")])
    rows = table(tmp_path)
    for number, result in enumerate(results, start=1):
        row = rows[f"waving/{result['id']}"]
        for name in ("title", "creator", "license", "license_version", "license_url", "source", "url"):
            assert row[name] == result[name]
        assert (
            row["landing_page"] == result["foreign_landing_url"]
            and row["group"] == f"{row['source']}: {row['creator']}"
        )
        assert (row["action"], row["query"], row["file"]) == ("waving", "a person who waves", f"{row['key']}.jpg")
        assert (row["width"], row["height"], row["status"], row["reason"]) == ("320", "240", "ok", "")
        data = (tmp_path / row["file"]).read_bytes()
        assert data == encoded(picture(number)) and row["sha256"] == checked_still(data).sha256
        gray = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)
        own = imagehash.phash(Image.fromarray(cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA)), hash_size=16)
        assert imagehash.hex_to_hash(row["phash"]) - own <= 2  # gray before or after shrinking: rounding


def test_of_pictures_that_show_the_same_the_first_stays_under_whichever_action(tmp_path, server):
    scene, jpeg = picture(1, 300, 400), encoded(picture(2))
    first = server.put("waving", scene)
    small = server.put("waving", encoded(cv2.resize(scene, (320, 240), interpolation=cv2.INTER_AREA), quality=40))
    mirrored = server.put("waving", encoded(scene[:, ::-1].copy(), quality=60))
    server.put("waving", jpeg)
    same = server.put("sitting", jpeg)
    near = server.put("sitting", encoded(scene, "PNG"))
    server.results["sitting"].append(first)
    mine = server.put("sitting", picture(3))
    outcome = searched(server, tmp_path, actions=[*WAVING, Action("sitting", "sitting")])
    assert outcome.here == {"waving": 2, "sitting": 1}
    reasons = {key: row["reason"] for key, row in table(tmp_path).items()}
    at = f"waving/{first['id']}.jpg"
    assert reasons[f"waving/{first['id']}"] == reasons[f"sitting/{mine['id']}"] == ""
    assert reasons[f"waving/{small['id']}"] == f"duplicate: nearly the same as {at}"
    assert reasons[f"waving/{mirrored['id']}"] == f"duplicate: nearly the mirror image of {at}"
    for result in (near, first):
        said = reasons[f"sitting/{result['id']}"]
        assert said.startswith("under another action: ") and said.endswith(f"{at}, of another action")
    assert reasons[f"sitting/{same['id']}"].startswith("under another action: the same bytes as waving/")
    assert outcome.lines()[2] == "not taken: under another action 3, duplicate 2"


def test_a_picture_lies_as_it_is_shown_in_the_table():
    rgb = picture(1, 240, 320)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", exif=exif)
    still = checked_still(out.getvalue())
    assert (still.width, still.height, still.suffix) == (240, 320, ".jpg")
    turned = checked_still(encoded(np.rot90(rgb, 3).copy(), "PNG"))
    assert int(np.bitwise_count(still.hashes ^ turned.hashes).sum(axis=1).max()) <= 8
    deep = io.BytesIO()
    Image.fromarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257).save(deep, "PNG")
    upright = checked_still(encoded(rgb, "PNG"))
    assert int(np.bitwise_count(checked_still(deep.getvalue()).hashes ^ upright.hashes).sum(axis=1).max()) <= 8
    palette = io.BytesIO()
    Image.fromarray(rgb).quantize(32).save(palette, "PNG", transparency=bytes(range(32)))
    assert checked_still(palette.getvalue()).suffix == ".png"
    with pytest.raises(Refused, match="too large: 20000×20000 pixels, more than 50 million"):
        checked_still(bomb())


def test_one_host_is_asked_for_four_pictures_at_once_at_most(tmp_path, server):
    for number in range(16):
        server.put("waving", picture(number, 48, 64), pause=0.1)
    assert searched(server, tmp_path, min_side=40, num_workers=12).here == {"waving": 16}
    assert 2 <= server.busiest <= 4


# ------------------------------------------------------------------ going on


def test_the_next_call_asks_for_nothing_that_was_looked_at(tmp_path, server):
    for number in range(6):
        server.put("waving", picture(number))
    server.put("waving", b"no image")
    server.put("waving", picture(7), answers=[404])
    server.put("waving", picture(8), answers=[503] * 3)
    outcome = searched(server, tmp_path, 3)
    assert outcome.here == {"waving": 3} and sum(server.downloads().values()) == 3
    outcome = searched(server, tmp_path, 9)
    assert outcome.here == {"waving": 6} and outcome.new == {"waving": 3} and outcome.failed == {"busy": 1}
    asked = server.downloads()
    outcome = searched(server, tmp_path, 9)
    assert server.downloads() - asked == {"/photos/8.jpg": 1} and outcome.here == {"waving": 7}
    assert max(server.downloads()[f"/photos/{number}.jpg"] for number in range(8)) == 1
    assert len(server.searched) == 1  # the answers of the search are kept
    asked = server.downloads()
    assert searched(server, tmp_path, 9).new == {} and server.downloads() == asked
    assert searched(server, tmp_path, 9, retry_rejected=True).here == {"waving": 8}  # it is there now
    assert server.downloads() - asked == {"/photos/6.jpg": 1, "/photos/7.jpg": 1}


def test_a_result_that_stands_on_two_pages_is_fetched_once(tmp_path, server):
    server.put("waving", picture(1), pause=0.2)
    server.results["waving"] *= 30
    outcome = searched(server, tmp_path)
    assert outcome.here == {"waving": 1} and server.downloads() == {"/photos/0.jpg": 1} and not outcome.rejected


def test_a_picture_that_somebody_deleted_is_not_fetched_again_but_replaced(tmp_path, server):
    results = [server.put("waving", picture(number)) for number in range(3)]
    searched(server, tmp_path, 2)
    (tmp_path / "waving" / f"{results[0]['id']}.jpg").unlink()
    outcome = searched(server, tmp_path, 2)
    assert outcome.here == {"waving": 2} and outcome.new == {"waving": 1}
    assert (
        server.downloads()["/photos/0.jpg"] == 1 and table(tmp_path)[f"waving/{results[0]['id']}"]["status"] == "gone"
    )


def test_smaller_pictures_than_before_can_be_looked_at_again(tmp_path, server):
    server.put("waving", picture(1, 150, 200))
    assert searched(server, tmp_path).here == {}
    assert searched(server, tmp_path, min_side=100).here == {}
    assert searched(server, tmp_path, min_side=100, retry_rejected=True).here == {"waving": 1}


def test_a_table_that_a_spreadsheet_wrote_is_still_read(tmp_path, server):
    server.put("waving", picture(1))
    server.put("waving", encoded(picture(1), quality=50))
    searched(server, tmp_path, 1)
    text = (tmp_path / "images.csv").read_text()
    phash = next(iter(table(tmp_path).values()))["phash"]
    (tmp_path / "images.csv").write_text(text.replace(phash, "1.23E+63"))
    outcome = searched(server, tmp_path)
    assert outcome.here == {"waving": 1} and outcome.rejected == {"duplicate": 1}


def test_a_folder_with_another_table_of_that_name_is_left_alone(tmp_path, server):
    (tmp_path / "images.csv").write_text("name,price\npear,3\n")
    with pytest.raises(UserError, match="is no manifest"):
        searched(server, tmp_path)
    assert (tmp_path / "images.csv").read_text() == "name,price\npear,3\n"


def test_one_process_at_a_time_fills_a_folder(tmp_path, server):
    with staging(tmp_path, "images"), pytest.raises(UserError, match="another process fetches into"):
        searched(server, tmp_path)


# ------------------------------------------------------------------ the script


def started(server, folder, *words, killed_at: int = 0, actions: str = "waving\nsitting\n") -> subprocess.Popen:
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "actions.txt").write_text(actions)
    script = [str(ROOT / "scripts" / "candidates.py")]
    if killed_at:
        script = [str(ROOT / "tests" / "killed_fetch.py"), str(killed_at), str(folder)]
    words = ("--actions", str(folder.parent / "actions.txt"), "--out-path", str(folder), "--num-workers", "4", *words)
    return subprocess.Popen(
        [sys.executable, *script, "images", *words],
        cwd=folder.parent,
        env=os.environ | {"VIDBENCH_OPENVERSE_URL": server.base, "KILLED_SCRIPT": "candidates.py"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )


def run(server, folder, *words, **options) -> tuple[int, str, str]:
    with started(server, folder, *words, **options) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_the_script_says_what_came_and_what_did_not(tmp_path, server):
    for number in range(4):
        server.put("waving", picture(number))
    server.put("sitting", picture(9))
    server.put("sitting", b"no image")
    status, out, err = run(server, tmp_path / "o", "--images-per-action", "3")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "waving   3 of 3 images, 3 new",
        "sitting  1 of 3 images, 1 new: no more were found",
        "not taken: no image 1",
        f"in {tmp_path / 'o'}; images.csv says where each is from, and why others are not there",
    ]
    status, out, err = run(server, tmp_path / "none", actions="juggling geese\n")
    assert (status, err) == (1, f"error: not one image could be had; {tmp_path / 'none' / 'images.csv'} says why\n")


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_moment_the_next_call_completes_the_folder(tmp_path, server, seed):
    results = {
        name: [server.put(name, picture(10 * at + n)) for n in range(5)]
        for at, name in enumerate(("waving", "sitting"))
    }
    folder, chance = tmp_path / "o", random.Random(seed)
    folder.mkdir()
    kept: set[str] = set()
    for _ in range(3):
        status, _, err = run(server, folder, "--images-per-action", "5", killed_at=chance.randint(20, 130))
        assert status in (0, -signal.SIGKILL), err
        assert all(checked_still((folder / name).read_bytes()) for name in files(folder))  # no half file
        if (folder / "images.csv").exists():
            kept |= {key for key, row in table(folder).items() if row["status"] == "ok"}
    before = server.downloads()
    assert run(server, folder, "--images-per-action", "5")[0] == 0
    rows = table(folder)
    assert {row["file"] for row in rows.values()} == files(folder) and len(rows) == 10
    assert rows.keys() == {f"{name}/{result['id']}" for name, found in results.items() for result in found}
    again = {path for path, count in (server.downloads() - before).items() if count}
    known = {
        result["url"].rpartition("/photos")[2]
        for name, found in results.items()
        for result in found
        if f"{name}/{result['id']}" in kept
    }
    assert not {path.removeprefix("/photos") for path in again} & known
    assert not list(folder.glob(".incoming-*"))


def test_ctrl_c_keeps_what_came(tmp_path, server):
    for number in range(4):
        server.put("waving", picture(number), pause=60.0 if number == 3 else 0.0)
    with started(server, tmp_path / "o", "--images-per-action", "4") as process:
        while kept_in(tmp_path / "o") < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - began < 30  # it waits for no server
    assert err == f"candidates: interrupted; 3 images are kept in {tmp_path / 'o'}, the same command goes on\n"


@pytest.mark.parametrize(
    "words, message",
    [
        (["--out-path", "o"], "--actions FILE is needed, or --from-clips DIR, or --background DIR"),
        (["--actions", "a"], "--out-path DIR is needed: where the images go"),
        (["--num-workers", "0"], "--num-workers must be positive, got 0"),
        (["--images-per-action", "-1"], "--images-per-action must be positive, got -1"),
        (["--max-image-bytes", "many"], "--max-image-bytes: wanted a number such as 500M or 2G, got 'many'"),
        (["--actions", "a", "--out-path", "o", "--dataset", "csv"], "--dataset says what --from-clips is: "),
    ],
)
def test_settings_that_are_wrong(words, message):
    given = (
        words if "path" in " ".join(words) or "--actions" in words else ["--actions", "a", "--out-path", "o", *words]
    )
    with pytest.raises(UserError) as found:
        parse_settings(ImagesSettings, given)
    assert str(found.value).startswith(message)


# ------------------------------------------------------------------ frames of clips


@pytest.fixture
def clips(tmp_path):
    """Class folders: two classes of moving scenes, background, one clip at rest, one broken, one twice."""
    root = tmp_path / "clips"
    for seed, name in enumerate(("wave/a.mkv", "wave/b.mkv", "sit/v_sit_g01_c01.mkv", "none_of_these/street.mkv")):
        scenes = [drawn_scene(10 * seed + part, 5) for part in range(4)]  # four shots, five frames each
        write_video(root / name, np.concatenate(scenes), fps=10)
    write_video(root / "sit" / "rest.mkv", np.repeat(drawn_scene(77, 1), 12, axis=0))
    (root / "wave" / "broken.mkv").write_bytes(b"no video")
    return root


def test_frames_are_spread_over_each_clip_and_lie_in_its_class(tmp_path, clips):
    found = labelled_clips(clips)
    outcome = images_from_clips(tmp_path / "o", found, taking=Taking(workers=2))
    assert outcome.here == {"wave": 8, "sit": 5, "none of these": 4}
    assert {name for name in files(tmp_path / "o") if name.startswith("wave/a")} == {
        f"wave/a_{time}.jpg" for time in (200, 700, 1200, 1700)
    }
    rows = table(tmp_path / "o")
    row = rows["wave/a_700"]
    assert (row["clip"], row["group"], row["seconds"], row["url"]) == ("wave/a.mkv", "wave/a.mkv", "0.7", "")
    assert rows["sit/v_sit_g01_c01_200"]["group"] == "sit_g01" and rows["none of these/street_200"]["status"] == "ok"
    shown = cv2.imread(str(tmp_path / "o" / "wave" / "a_700.jpg"))[..., ::-1].astype(int)
    assert np.abs(shown - drawn_scene(1, 5)[2]).mean() < 4  # the third frame of the second shot
    still = [row for row in rows.values() if row["clip"] == "sit/rest.mkv"]
    assert sorted(row["reason"].partition(":")[0] for row in still) == ["", "duplicate", "duplicate", "duplicate"]
    assert rows["wave/broken"]["reason"].startswith("no clip: not a readable video")
    assert "not taken: duplicate 3, no clip 1" in outcome.lines()


def test_going_on_decodes_only_what_is_left(tmp_path, clips, monkeypatch):
    found = labelled_clips(clips)
    images_from_clips(tmp_path / "o", [video for video in found if video.label == "sit"])
    outcome = images_from_clips(tmp_path / "o", found)
    assert outcome.here == {"wave": 8, "sit": 5, "none of these": 4} and outcome.new == {"wave": 8, "none of these": 4}
    before = table(tmp_path / "o")
    for file in clips.rglob("*.mkv"):
        file.write_bytes(b"whoever reads this fails")
    assert images_from_clips(tmp_path / "o", found).new == {} and table(tmp_path / "o") == before


def test_a_row_that_a_kill_cost_is_written_again(tmp_path, clips):
    found = labelled_clips(clips)
    images_from_clips(tmp_path / "o", found)
    before = table(tmp_path / "o")
    text = (tmp_path / "o" / "images.csv").read_text()
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("wave/a_700,")]
    (tmp_path / "o" / "images.csv").write_text("".join(kept) + "wave/a_7")  # and half a row
    images_from_clips(tmp_path / "o", found)
    assert table(tmp_path / "o") == before


def test_a_number_of_pictures_a_class_is_kept_and_is_a_sample_of_the_clips(tmp_path, clips):
    found = labelled_clips(clips, names=["wave"])
    assert {video.label for video in found} == {"wave", "none of these"}
    outcome = images_from_clips(tmp_path / "a", found, 5)
    assert outcome.here == {"wave": 5, "none of these": 4}
    assert outcome.lines()[0] == "none of these  4 of 5 images, 4 new: no more were found"
    for seed in range(2):
        images_from_clips(tmp_path / str(seed), found, 1, seed=seed)
        (kept,) = (row["clip"] for row in table(tmp_path / str(seed)).values() if row["file"].startswith("wave/"))
        assert kept == min(("wave/a.mkv", "wave/b.mkv"), key=lambda name, seed=seed: seeded_place(name, seed))
    assert images_from_clips(tmp_path / "0", found, 1, seed=0).new == {}


def test_background_comes_from_any_folder_of_videos(tmp_path, clips, server):
    write_video(tmp_path / "street" / "deep" / "x.mkv", drawn_scene(99, 9))
    server.put("waving", picture(1))
    words = ("--images-per-action", "2", "--background", str(tmp_path / "street"), "--frames-per-clip", "1")
    status, out, err = run(server, tmp_path / "o", *words, actions="waving\n")
    assert (status, err) == (0, "") and files(tmp_path / "o") == {
        "none of these/x_400.jpg", *(name for name in files(tmp_path / "o") if name.startswith("waving/"))
    }  # fmt: skip
    assert out.splitlines()[:2] == [
        "waving         1 of 2 images, 1 new: no more were found",
        "none of these  1 of 2 images, 1 new: no more were found",
    ]


def test_the_kits_data_sets_are_read(tmp_path, clips):
    (clips / "wave" / "broken.mkv").unlink()
    shutil.copy(clips / "wave" / "a.mkv", clips / "none_of_these" / "other.mkv")
    split_folder(clips, clips, ratios=(50, 50))
    train, val = (labelled_clips(clips, split=split) for split in ("train", "val"))
    assert sorted(video.video_id for video in (*train, *val)) == sorted(
        path.relative_to(clips).as_posix() for path in clips.rglob("*.mkv")
    )
    assert {
        video.video_id for video in load_dataset("annotations", "val", annotations=clips / "annotations.json").videos
    } == {video.video_id for video in val}
    (tmp_path / "t.csv").write_text("path,label,start,end\nclips/wave/a.mkv,wave,0.5,1.0\n")
    part = labelled_clips(tmp_path / "t.csv")
    images_from_clips(tmp_path / "o", part, taking=Taking(frames_per_clip=1))
    assert files(tmp_path / "o") == {"wave/a.mkv_0.5-1.0_200.jpg"}
    key = "-_aaaaaaa01_000001_000011"
    write_video(tmp_path / "k" / f"{key}.mp4", moving_square(), codec="libx264")
    (tmp_path / "k" / "val.csv").write_text(f"label,youtube_id,time_start,time_end,split\nzumba,{key[:11]},1,11,val\n")
    (video,) = labelled_clips(tmp_path / "k", "kinetics", "val")
    assert (video.label, video.group) == ("zumba", key[:11])


def test_names_of_files_hold_nothing_odd_and_no_two_clips_share_one():
    ids = ["a/x y.mp4", "b/x_y.mp4", "c/ok.mp4", "d/ok.avi", "..mp4", "e/日本.mp4", f"{'z' * 300}.mp4"]
    names = clip_names([Video(name, Path(name), "run") for name in ids])
    assert len({*names}) == len(ids)
    assert all(name.isascii() and name.isprintable() and len(name) < 140 and not set(name) & {*"/ "} for name in names)
    assert names[0].startswith("x_y-") and names[2].startswith("ok-") and not names[4].startswith(".")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda place: labelled_clips(place / "nowhere"), "no such folder: .*nowhere"),
        (lambda place: labelled_clips(place / "clips", names=["waves"]), "unknown class 'waves'; did you mean 'wave'"),
        (lambda place: labelled_clips(place / "clips" / "wave"), "has no labelled videos"),
        (lambda place: labelled_clips(place / "clips" / "wave" / "a.mkv"), "is neither a folder nor a table of clips"),
        (lambda place: images_from_clips(place / "clips" / "wave" / "a.mkv", []), "is a file, and the images go into"),
        (lambda place: background_clips(place / "nowhere"), "no such folder"),
        (lambda place: background_clips(place / "empty"), "has no videos"),
    ],
)
def test_clips_that_are_not_there(tmp_path, clips, make, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        make(tmp_path)
