import subprocess
import sys
from argparse import ArgumentParser

import numpy as np
import pytest
from conftest import drawn_scene, write_video

from vidbench.benchmark import cache, memory
from vidbench.utils import UserError


def lines_of(part, words, folder) -> str:
    parser = ArgumentParser()
    part.add_arguments(parser)
    wanted = parser.parse_args(words)
    wanted.rounds = 1
    return "\n".join(part.table(wanted, folder))


def cells(text: str, name: str) -> list[str]:
    """The cells of the row whose first cell is `name`."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_cache_in_tables(tmp_path):
    clips = [write_video(tmp_path / f"{n}.mp4", drawn_scene(n, 24), codec="libx264") for n in range(2)]
    text = lines_of(cache, ["--model", "tiny2plus1d", "--num-frames", "8", *map(str, clips)], tmp_path / "benchmark")
    assert cells(text, "without a cache")[2:] == ["–", "–"]
    assert cells(text, "first pass, writing the cache")[2:] == ["0%", "–"]
    assert cells(text, "second pass")[2:] == ["100%", "–"]
    hits = cells(text, "second pass, a limit of half the bytes")[2]
    assert hits in ("0%", "17%")  # each goes before its turn comes, but for one where the workers finish out of turn
    assert cells(text, "a third, in the reverse order")[2] in ("17%", "33%", "50%")  # at most 3 of 6 fit
    assert "6 clips a pass, 295." in text  # kB: 8 frames of 96 × 128 × 3 bytes and a footer
    for precision in ("float32", "bfloat16"):
        _, decoding, cached, _ = cells(text, precision)
        assert float(decoding) >= float(cached) > 0
    assert cells(text, "raw")[:2] == ["294.9 kB", "1.00"]
    assert float(cells(text, "zlib, level 1")[1]) < 1


def test_what_is_packed_comes_back():
    array = drawn_scene(1, 5)
    for name, (pack, unpack) in cache._packers().items():
        assert isinstance(pack(array), bytes) and np.array_equal(unpack(pack(array), array.shape), array), name


def test_clips_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such clip"):
        lines_of(cache, [str(tmp_path / "gone.mp4")], tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UserError, match=r"0-empty\.mp4: empty file"):
        lines_of(cache, [str(tmp_path / "empty.mp4")], tmp_path)


def test_memory_of_a_run_seen_from_outside(tmp_path):
    text = lines_of(memory, ["--videos", "40", "--workers", "1"], tmp_path)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:3].strip("| ").isdigit()]
    assert len(rows) == 3 and [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)
    assert all(int(main) > 100 and int(workers) > 0 for _, main, workers in rows)
    assert "videos scored, batch 8, 1 workers" in text and "no cache" in text


def test_a_run_that_fails_says_why(tmp_path):
    rows = tmp_path / "results" / "run" / "predictions.csv"
    with pytest.raises(UserError, match="the run failed: error: out of luck"):
        list(memory.watch([sys.executable, "-c", "raise SystemExit('error: out of luck')"], rows))


def test_processes_below_a_process_and_their_memory():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        try:
            while not (below := memory.descendants(parent.pid)):
                pass
            assert len(below) == 1 and 1 < memory.memory_mb(parent.pid) < 200
        finally:
            for pid in memory.descendants(parent.pid):
                subprocess.run(["kill", str(pid)], check=True)
    assert memory.memory_mb(parent.pid) == 0


def test_links_to_the_demo_are_as_many_as_asked(tmp_path):
    memory.link_demo(170, tmp_path)
    links = list(tmp_path.rglob("*.mp4"))
    assert len(links) == 170 and len({link.resolve() for link in links}) == 160
    assert len({link.parent.name for link in links}) == 8


def test_rows_below_the_header_are_counted_as_they_come(tmp_path):
    rows = tmp_path / "predictions.csv"
    assert memory.rows_in(rows) == 0
    rows.write_text("video_id,label\n")
    assert memory.rows_in(rows) == 0
    rows.write_text('video_id,label\na,b\n"c\nd",e\n')
    assert memory.rows_in(rows) == 2
