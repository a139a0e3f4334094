"""Ray: nodes that are simulated on this machine, and what is left when they, their workers or the driver die."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import COLORS, solid, write_video

from vidbench.arguments import EvaluateSettings
from vidbench.cluster import ClusterScorer, driver
from vidbench.cluster.session import Room, room
from vidbench.cluster.workers import Loaded, Told
from vidbench.commands import parse_settings
from vidbench.data.load import Failure
from vidbench.data.records import Video
from vidbench.models import load_model, save_model
from vidbench.report import table, verify
from vidbench.results import RunFolder, run_table
from vidbench.run import evaluate_run
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]
NODE = {"num_cpus": 2, "object_store_memory": 80 << 20}
KILLER = """
import os, signal, sys

def die(event, arguments):  # whoever opens such a file, as a decoder that it crashes
    if event == "open" and "killer" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGSEGV)

sys.addaudithook(die)
"""


def started(make):
    """What `make` starts; a node of Ray's that takes over 15 s, on a busy machine, is started again."""
    for _ in range(5):
        with contextlib.suppress(Exception):  # a plain one
            return make()
    return make()


@pytest.fixture(scope="module")
def ray_folder():
    """A short path: those of Ray's sockets must not be longer than 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(ray_folder):
    """Two nodes of two processors; a file named killer… takes the process along that opens it there."""
    (ray_folder / "site").mkdir()
    (ray_folder / "site" / "sitecustomize.py").write_text(KILLER)
    paths = [str(ray_folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback alone
        patch.setenv("RAY_raylet_start_wait_time_s", "40")
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        from ray.cluster_utils import Cluster

        Path("/tmp/ray").mkdir(exist_ok=True)  # where Ray notes the address, and does not make the folder
        head = NODE | {"temp_dir": str(ray_folder), "_system_config": {"health_check_period_ms": 500}}
        nodes = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        started(lambda: nodes.add_node(**NODE))
        yield nodes
        nodes.shutdown()


@pytest.fixture
def on_ray(settings, cluster):
    """Nine videos of three colours on that cluster, nothing cached."""
    return replace(settings, name="ray", engine="ray", ray_address=cluster.address, cache=False)


def more_videos(settings, number: int) -> None:
    for name, color in COLORS.items():
        for index in range(3, 3 + number // 3):
            write_video(settings.data_dir / "val" / name / f"{index}.mkv", solid(color, 12, 240, 320))


def local(settings) -> Path:
    """The folder of the same run on the local engine."""
    here = replace(settings, name="local", engine="local", ray_address=None, model_workers=None, cpus_per_worker=None)
    evaluate_run(here)
    return settings.results_dir / "local"


def assert_same(folder: Path, other: Path) -> None:
    """The same rows in the same order, each video once; scores within 1e-5; the same failures."""
    rows, others = (run_table(place / "predictions.csv") for place in (folder, other))
    assert rows["video_id"].tolist() == others["video_id"].tolist() and rows["video_id"].is_unique
    scores = [name for name in rows if name.startswith("score_")]
    assert np.allclose(rows[scores].astype(float), others[scores].astype(float), rtol=0, atol=1e-5)
    assert rows.drop(columns=scores).equals(others.drop(columns=scores))
    for name in ("failures.csv", "videos.csv", "listed.txt"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def processes_of(node, title: str) -> list[int]:
    """The ids of a node's processes whose title begins so, as Ray names them: `ray::ModelWorker.score`."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"^PPid:\s*(\d+)", (place / "status").read_text(), flags=re.M)[1])
            if parent == raylet and (place / "cmdline").read_text().startswith(title):
                found.append(int(place.name))
        except (OSError, TypeError):
            continue
    return found


def at_outcome(monkeypatch, number: int, action) -> None:
    """Call `action` beside the run once its folder has so many rows."""
    write, seen = RunFolder.__call__, []

    def counted(run, outcome):
        write(run, outcome)
        seen.append(outcome)
        if len(seen) == number:
            threading.Thread(target=action).start()

    monkeypatch.setattr(RunFolder, "__call__", counted)


def test_two_nodes_give_what_the_local_engine_gives(on_ray, tmp_path):
    asked = replace(
        on_ray,
        model="demo",
        dataset="demo",
        data_dir=None,
        num_videos=14,
        top_n=5,
        views=(2, 1),
        frame_order="shuffled",
    )
    report = evaluate_run(asked)
    assert_same(tmp_path / "results" / "ray", local(asked))
    assert report["settings"]["engine"] == "ray" and report["counts"]["scored"] == 14
    assert report["timing"]["cluster"]["nodes"] == report["timing"]["cluster"]["model_workers"] == 2
    assert "2 model workers on 2 nodes of Ray" in table(report)
    assert verify(tmp_path / "results" / "ray")[1] == []


def test_failures_are_rows_and_the_run_goes_on_with_either_engine(on_ray, tmp_path):
    red = on_ray.data_dir / "val" / "red"
    (red / "empty.mkv").touch()
    (red / "noise.mkv").write_bytes(bytes(range(256)) * 9)
    names = ("0.mkv", "empty.mkv", "noise.mkv", "gone.mkv", "killer.mkv")
    (tmp_path / "table.csv").write_text("path,label\n" + "".join(f"colors/val/red/{name},red\n" for name in names))
    asked = replace(on_ray, dataset="csv", csv=tmp_path / "table.csv", data_dir=None)
    counts = evaluate_run(asked)["counts"]
    assert (counts["listed"], counts["found"], counts["scored"], counts["failed"]) == (5, 3, 1, 4)
    assert_same(tmp_path / "results" / "ray", local(asked))
    write_video(red / "gone.mkv", solid(COLORS["red"]))
    report = evaluate_run(replace(asked, engine="local", ray_address=None))  # the same run, whatever runs it
    assert (report["counts"]["scored"], report["settings"]["engine"]) == (2, "local")
    write_video(red / "killer.mkv", solid(COLORS["red"]))
    report = evaluate_run(asked)
    assert (report["counts"]["scored"], report["settings"]["engine"]) == (2, "ray")
    failures = run_table(tmp_path / "results" / "ray" / "failures.csv").set_index("video_id")
    assert len(failures) == 3
    (killer,) = (row for key, row in failures.iterrows() if "killer" in key)  # once, and not for ever
    assert (killer["stage"], killer["reason"]) == ("decode", "the decoder crashed (exit code -11)")


@pytest.fixture
def model_of_four(color_model, tmp_path):
    """The same model, which takes four clips at once, as one on a GPU does."""
    import keras

    known = load_model(color_model)
    frames = keras.Input(batch_shape=(4, None, None, None, 3), name="frames")
    save_model(keras.Model(frames, known.network(frames), name="four"), tmp_path / "four.keras", known.spec)
    return str(tmp_path / "four.keras")


def test_killed_workers_are_replaced_and_their_videos_handed_out_again(
    on_ray, cluster, model_of_four, monkeypatch, caplog
):
    on_ray = replace(on_ray, model=model_of_four)
    assert load_model(model_of_four).clips_at_once == 4
    more_videos(on_ray, 60)
    killed = []

    def kill():
        for node in (cluster.head_node, *cluster.worker_nodes):
            for title in ("ray::ModelWorker", "ray::decode_video"):
                for process in processes_of(node, title):
                    os.kill(process, signal.SIGKILL)
                    killed.append(title)

    at_outcome(monkeypatch, 5, kill)
    with caplog.at_level("INFO", logger="vidbench"):
        evaluate_run(on_ray)
    assert killed.count("ray::ModelWorker") == 2 and "is handed out again (ActorDiedError)" in caplog.text
    assert_same(on_ray.results_dir / "ray", local(on_ray))


def test_the_driver_is_killed_and_started_again(on_ray, tmp_path):
    more_videos(on_ray, 90)
    process = subprocess.Popen(command(on_ray), cwd=ROOT)
    table_file = on_ray.results_dir / "ray" / "predictions.csv"
    while process.poll() is None and (not table_file.exists() or table_file.read_bytes().count(b"\n") < 5):
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = run_table(table_file)["video_id"].tolist()
    assert 3 <= len(done) < 99
    monkey = []
    with pytest.MonkeyPatch.context() as patch:
        write = RunFolder.__call__
        patch.setattr(RunFolder, "__call__", lambda run, outcome: (monkey.append(outcome), write(run, outcome)))
        evaluate_run(on_ray)
    assert {item.video.video_id for item in monkey}.isdisjoint(done) and len(monkey) == 99 - len(done)
    assert_same(on_ray.results_dir / "ray", local(on_ray))


def test_until_ends_with_a_beginning_of_the_order(on_ray):
    more_videos(on_ray, 60)
    report = evaluate_run(replace(on_ray, until=10.0))
    rows = run_table(on_ray.results_dir / "ray" / "predictions.csv")["video_id"].tolist()
    listed = (on_ray.results_dir / "ray" / "listed.txt").read_text().split("\n")
    assert 10 < len(rows) < 69 and rows == listed[: len(rows)] and report["status"] == "partial"


def test_a_node_that_is_killed_costs_no_video(on_ray, cluster, monkeypatch, caplog):
    more_videos(on_ray, 120)
    (lost,) = cluster.worker_nodes

    def kill():  # all at once, as where the power fails
        for process in (lost.all_processes["raylet"][0].process.pid, *processes_of(lost, "ray::")):
            os.kill(process, signal.SIGKILL)
        cluster.remove_node(lost, allow_graceful=False)

    at_outcome(monkeypatch, 9, kill)
    with caplog.at_level("INFO", logger="vidbench"):
        evaluate_run(on_ray)
    started(lambda: cluster.add_node(**NODE))
    assert "is handed out again" in caplog.text
    assert_same(on_ray.results_dir / "ray", local(on_ray))


def test_what_the_nodes_cannot_do_is_one_line(on_ray):
    with pytest.raises(UserError, match="none of 2 nodes can hold a model worker of 3 processors with one left"):
        evaluate_run(replace(on_ray, cpus_per_worker=3))
    with pytest.raises(UserError, match="none of 2 nodes can hold a model worker of 1 processors and 1 GPU"):
        evaluate_run(replace(on_ray, gpus_per_worker=1, overwrite=True))


# --- what needs no cluster


def test_room():
    def nodes(*sizes):
        return [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}} for cpus, gpus in sizes]

    plain = EvaluateSettings(engine="ray")
    # nodes, cpus and gpus of a worker, workers, decoders
    assert room(nodes((2, 0)), plain) == Room(1, 1, 0, 1, 1)
    assert room(nodes((2, 0), (2, 0)), plain) == Room(2, 1, 0, 2, 2)
    assert room(nodes((64, 0)), plain) == Room(1, 7, 0, 8, 8)
    assert room(nodes((8, 0), (8, 0), (0, 0)), plain) == Room(2, 7, 0, 2, 2)  # a head without processors does no work
    assert room(nodes((16, 8), (16, 0)), plain) == Room(2, 1, 1, 8, 24)  # those with a GPU get all other decoders
    assert room(nodes((16, 8)), replace(plain, cuda=False)) == Room(1, 7, 0, 2, 2)
    assert room(nodes((8, 0)), replace(plain, cpus_per_worker=2, workers=3)) == Room(1, 2, 0, 2, 3)
    assert room(nodes((4, 0)), replace(plain, cpus_per_worker=1, model_workers=3)) == Room(1, 1, 0, 3, 1)
    assert room(nodes((4, 0)), replace(plain, cpus_per_worker=1, model_workers=9)) == Room(1, 1, 0, 3, 1)
    assert room(nodes((1, 0)), plain).workers == 0 and room([], plain).workers == 0
    assert room([{"Alive": False, "Resources": {"CPU": 8}}], plain).nodes == 0


@pytest.fixture
def alone(color_model):
    """A scorer that is connected to nothing."""
    import ray

    scorer = ClusterScorer(EvaluateSettings(engine="ray"), [], load_model(color_model))
    scorer._ray = SimpleNamespace(get=lambda answer: answer, exceptions=ray.exceptions)
    scorer._waiting, scorer._ready, scorer._decoding = driver.deque(), driver.deque(), {}
    return scorer


def test_a_video_that_one_node_does_not_see_says_so(alone, tmp_path):
    (tmp_path / "there.mkv").touch()
    for name, reason in (
        ("there.mkv", "missing file on node seven: all nodes must see the same paths"),
        ("gone.mkv", "missing file"),
    ):
        video = Video(name, tmp_path / name)
        told = Told(Failure(video, "find", "missing file"), "seven", 99, None, {})
        alone._decoding[told] = driver._Job(video)
        alone._take_decoded(told)
        assert alone._ready.pop() == Failure(video, "find", reason)


def test_a_node_with_another_model_ends_the_run(alone):
    theirs = alone._contract | {"weights_sha256": "0" * 64}
    worker = driver._Worker(None, Loaded("seven", 1, theirs))
    with pytest.raises(
        UserError, match=r"the nodes have another model: weights_sha256 is .* here and \"000.* on node s"
    ):
        alone._take_loaded(worker)
    worker = driver._Worker(None, Loaded("seven", 8, alone._contract))
    alone._take_loaded(worker)
    assert worker.loading is None and worker.group == 8


def test_a_video_that_loses_its_worker_for_the_third_time_is_a_failure(alone):
    from ray.exceptions import OutOfMemoryError

    job = driver._Job(Video("v", Path("v.mkv")))
    for _ in range(2):
        alone._again(job, "score", OutOfMemoryError("much\nmore"))
        assert alone._waiting.pop() is job and not alone._ready
    alone._again(job, "score", OutOfMemoryError("much\nmore"), blamed=False)  # another's fault
    assert alone._waiting.pop() is job
    alone._again(job, "score", OutOfMemoryError("much\nmore"))
    (failure,) = alone._ready
    assert (failure.stage, failure.reason) == ("score", "its worker was lost 3 times (OutOfMemoryError)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ray-address", "auto"], "--ray-address goes with --engine ray"),
        (["--model-workers", "2"], "--model-workers goes with --engine ray"),
        (["--engine", "dask"], "--engine must be local or ray, got 'dask'"),
        (["--engine", "ray", "--ray-address", "ray://head:10001"], "--ray-address must be auto or HOST:PORT"),
        (["--engine", "ray", "--cpus-per-worker", "0"], "--cpus-per-worker must be positive"),
        (["--engine", "ray", "--gpus-per-worker", "1", "--no-cuda"], "contradict each other"),
    ],
)
def test_flags_that_do_not_go_together(words, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_settings(EvaluateSettings, words)


def test_without_ray_the_error_names_the_extra(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"ray is not here; it comes with: pip install -e .\[ray\]"):
        evaluate_run(replace(settings, engine="ray"))


def command(settings, *extra) -> list[str]:
    address = ["--ray-address", settings.ray_address] if settings.ray_address else []
    return [
        sys.executable, "scripts/evaluate.py", "--model", settings.model, "--dataset", "folder", "--data-dir",
        str(settings.data_dir), "--results-dir", str(settings.results_dir), "--no-cache", "--name", settings.name,
        "--top-n", "2", "--batch-size", "2", "--engine", "ray", *address, *extra,
    ]  # fmt: skip


def test_an_address_without_a_cluster_is_one_line(settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"  # free from here on
    words = command(replace(settings, engine="ray", ray_address=address))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: no Ray cluster at {address}: ")
    assert not (settings.results_dir / "run").exists()


def title_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def session_of(process: int) -> set[int]:
    """All processes that live in a session."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process and fields[0] != "Z":
            found.add(int(place.name))
    return found


def listening(processes: set[int]) -> set[str]:
    """The addresses at which processes listen, in hex as the kernel writes them."""
    sockets = set()
    for process in processes:
        for file in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(str(file.readlink()))
            except OSError:
                continue
    addresses = set()
    for table_file in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table_file}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].partition(":")[0])
    return addresses


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ray_that_was_started_here_listens_on_loopback_and_is_gone_afterwards(settings, ray_folder, how):
    more_videos(settings, 300)
    process = subprocess.Popen(
        command(settings),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"RAY_TMPDIR": str(ray_folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    table_file = settings.results_dir / "run" / "predictions.csv"
    while process.poll() is None and (not table_file.exists() or table_file.read_bytes().count(b"\n") < 4):
        time.sleep(0.005)
    heard = listening(session_of(process.pid))
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert heard and heard <= LOOPBACK
    rows = run_table(table_file)["video_id"]
    assert 3 <= len(rows) < 309 and rows.is_unique
    if how == signal.SIGINT:
        assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
        said = [line for line in re.split(r"[\r\n]", errors) if line.strip() and "%|" not in line]
        assert len(said) == 1, said  # Ray's own talk does not bury ours
    for _ in range(600):
        left = session_of(process.pid)
        agents = {agent for agent in left if "Agent" in title_of(agent)} if how == signal.SIGKILL else set()
        if left == agents:
            break
        time.sleep(0.1)
    assert left == agents
    for agent in agents:  # Ray's own, which look for their head for a minute before they end
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
