"""scripts/fetch.py as a process: killed, interrupted, twice at once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archive_server import clip_bytes, key_of, member, padded, put_k400, serving, tar_of

from vidbench.arguments import EvaluateSettings
from vidbench.data.decode import probe
from vidbench.data.fetch.manifest import Manifest
from vidbench.report import table
from vidbench.run import evaluate_run

ROOT = Path(__file__).parents[1]
KEYS = {key_of(part, number) for part in (0, 1) for number in range(3)}


@pytest.fixture
def server(tmp_path):
    """Two archives of three clips, each clip some 100 kB; the second has a clip more, which is damaged."""
    clip = padded(clip_bytes(tmp_path / "clip.mp4"), 100_000)
    archives = {}
    for part in (0, 1):
        members = [member(f"./{key_of(part, number)}.mp4", clip) for number in range(3)]
        archives[f"part_{part}.tar.gz"] = members
    archives["part_1.tar.gz"].insert(1, member(f"./{key_of(1, 7)}.mp4", clip[:1500]))
    rows = [("zumba", key) for key in sorted({*KEYS, key_of(1, 7), key_of(1, 8)})]
    with serving() as found:
        put_k400(found, {name: tar_of(members, zipped=False) for name, members in archives.items()}, rows)
        yield found


def started(server, folder, *words, killed_at: int = 0) -> subprocess.Popen:
    script = [str(ROOT / "scripts" / "fetch.py")]
    if killed_at:
        script = [str(ROOT / "tests" / "killed_fetch.py"), str(killed_at), str(folder)]
    command = [sys.executable, *script, "kinetics", "--split", "val", "--data-dir", str(folder), *words]
    settings = os.environ | {"VIDBENCH_KINETICS_URL": server.base}
    return subprocess.Popen(
        command,
        cwd=folder.parent,
        env=settings,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )


def run(server, folder, *words, **options) -> tuple[int, str, str]:
    with started(server, folder, *words, **options) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def checked(folder, whole: bool) -> None:
    """No half file under a final name; and, in a `whole` folder, manifest and disk agree."""
    lying = {path.stem: path for path in folder.glob("*.mp4")}
    assert lying.keys() <= KEYS and all(probe(path).num_frames == 10 for path in lying.values())
    if whole:
        rows = Manifest(folder).rows
        assert {key for key, row in rows.items() if row.status == "ok"} == lying.keys() == KEYS
        assert rows[key_of(1, 7)].status == "bad" and (folder / rows[key_of(1, 7)].path).is_file()
        assert all(row.bytes == (folder / row.path).stat().st_size for row in rows.values())
        assert [path.name for path in (folder / ".incoming").iterdir()] == ["all.lock"]


def test_it_says_what_came_and_what_is_missing(tmp_path, server):
    status, out, err = run(server, tmp_path / "v", "--num-videos", "4")
    assert (status, err) == (0, "") and out.count("\n") <= 2 and "4 of 4 clips are here and verified" in out
    status, out, err = run(server, tmp_path / "v")
    lines = out.splitlines()
    assert (status, err) == (0, "") and lines[0].startswith("kinetics-400 val: 6 of 8 clips are here")
    assert f"missing 2, named in missing.csv: {key_of(1, 7)} (bad: " in out and "in none of the archives" in out
    status, out, err = run(server, tmp_path / "v", "--num-videos", "7")
    assert status == 1 and err.startswith("error: 6 of 7 clips could be had") and err.count("\n") == 1
    checked(tmp_path / "v", whole=True)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_moment_the_next_call_completes_the_set(tmp_path, server, seed):
    folder, chance = tmp_path / "v", random.Random(seed)
    folder.mkdir()
    for _ in range(3):
        words = ["--jobs", str(chance.randint(1, 2)), *["--keep-archives"] * chance.randint(0, 1)]
        status, _, err = run(server, folder, *words, killed_at=chance.randint(1, 115))
        assert status in (0, -signal.SIGKILL), err
        checked(folder, whole=False)
    assert run(server, folder)[0] == 0
    checked(folder, whole=True)


def test_killed_while_bytes_come_in_the_next_call_completes_the_set(tmp_path, server):
    folder, chance = tmp_path / "v", random.Random(7)
    sent = type(server.sent).__setitem__

    for _ in range(2):
        limit = server.sent_bytes + chance.randint(1, 500_000)
        process = started(server, folder)

        class Watched(type(server.sent)):
            def __setitem__(self, path, number, process=process, limit=limit):
                sent(self, path, number)
                if sum(self.values()) >= limit:
                    process.kill()

        server.sent = Watched(server.sent)
        process.communicate(timeout=120)
        checked(folder, whole=False)
    assert run(server, folder)[0] == 0
    checked(folder, whole=True)


def test_two_processes_share_a_folder(tmp_path, server):
    both = [started(server, tmp_path / "v") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "") and "6 of 8 clips are here" in out
    checked(tmp_path / "v", whole=True)
    assert sorted(server.archives_asked()) == ["/400/val/part_0.tar.gz", "/400/val/part_1.tar.gz"]


def test_ctrl_c_says_what_is_kept(tmp_path, server):
    server.files["/400/val/part_0.tar.gz"].stalls = [60.0]
    with started(server, tmp_path / "v", "--jobs", "2") as process:
        while not (tmp_path / "v" / ".archives" / "part_1.tar.gz.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"fetch: interrupted; 3 clips are kept in {tmp_path / 'v'}, the same command goes on\n"


def test_other_commands_and_wrong_usage(tmp_path, server):
    def fetch(*words):
        command = [sys.executable, str(ROOT / "scripts" / "fetch.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert fetch("--help").returncode == 0 and fetch("movies").returncode == 2
    found = fetch("kinetics", "--order", "best")
    assert (found.returncode, found.stderr) == (1, "error: --order must be first or random, got 'best'\n")
    run(server, tmp_path / "v")
    found = fetch("verify", str(tmp_path / "v"))
    assert (found.returncode, found.stdout) == (0, f"{tmp_path / 'v'}: 6 clips verified\n")
    (tmp_path / "v" / f"{key_of(0, 0)}.mp4").unlink()
    found = fetch("verify", str(tmp_path / "v"), "--deep")
    assert found.returncode == 1 and f"missing: {key_of(0, 0)}" in found.stdout
    assert found.stderr == f"error: {tmp_path / 'v'}: not what the manifest says\n"
    found = fetch("status", str(tmp_path / "v"), "--by-class")
    assert found.returncode == 0 and found.stdout.splitlines()[2].split() == ["zumba", "8", "5", "5", "2", "1", "0"]


def test_what_arrived_can_be_evaluated_and_the_report_repeats_the_coverage(tmp_path, server, color_model):
    assert run(server, tmp_path / "v", "--num-videos", "4")[0] == 0
    settings = EvaluateSettings(
        model=str(color_model), dataset="kinetics", data_dir=tmp_path / "v", predict_only=True,
        results_dir=tmp_path / "results", name="run", cache_dir=tmp_path / "cache", top_n=1,
    )  # fmt: skip
    report = evaluate_run(settings)
    population = report["counts"]["population"]
    assert report["counts"]["scored"] == report["counts"]["listed"] == population["verified"] == 4
    assert (population["annotations"], population["found"]) == (8, 4)
    assert population.get("bad", 0) + population["never fetched"] == 4
    assert "annotations 8, found 4, verified 4" in table(report)
