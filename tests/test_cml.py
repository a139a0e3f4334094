"""The scripts as Cloudera AI runs them: their source in an IPython kernel, from the project's root, no `__file__`."""

import datetime
import os
import re
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from jupyter_client.manager import KernelManager

from vidbench.arguments import EvaluateSettings
from vidbench.commands import command_line, parse_settings
from vidbench.results import read_report
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]
COMMANDS = ("check", "compare", "evaluate", "predict", "split", "train")

TEXT, NUMBER, WHOLE, MAP = str, (int, float), int, dict
TASKS = {  # type → documented fields and what they hold; those in REQUIRED must be there
    "run_session": dict.fromkeys(("name", "script", "kernel", "short_summary", "long_summary"), TEXT)
    | {"cpu": NUMBER, "memory": NUMBER, "gpu": WHOLE},
    "create_job": dict.fromkeys(
        ("name", "entity_label", "script", "kernel", "arguments", "short_summary", "long_summary"), TEXT
    )
    | {"cpu": NUMBER, "memory": NUMBER, "gpu": WHOLE, "environment": MAP},
    "run_job": dict.fromkeys(("entity_label", "short_summary", "long_summary"), TEXT),
    "start_application": dict.fromkeys(("name", "subdomain", "script", "kernel", "short_summary", "long_summary"), TEXT)
    | {"cpu": NUMBER, "memory": NUMBER, "bypass_authentication": bool, "static_subdomain": bool}
    | {"environment_variables": MAP},
}
REQUIRED = {
    "run_session": {"name", "script", "cpu", "memory"},
    "create_job": {"name", "entity_label", "script", "cpu", "memory"},
    "run_job": {"entity_label"},
    "start_application": {"name", "subdomain", "script", "cpu", "memory"},
}
LENGTHS = {"name": 200, "description": 2048, "author": 64}


def read_metadata() -> dict:
    return yaml.safe_load((ROOT / ".project-metadata.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Ran:
    """What a script left in its kernel: "ok" or "error", the error's type, what it wrote."""

    status: str
    error: str
    stdout: str
    stderr: str


@contextmanager
def kernel(**environment: str | None):
    """A function that runs source in a kernel of its own, which lives in the project's root with these variables."""
    manager, folder = KernelManager(), tempfile.mkdtemp()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    variables = {name: value for name, value in (os.environ | environment).items() if value is not None}
    manager.start_kernel(cwd=str(ROOT), env=variables | {"IPYTHONDIR": folder})
    client = manager.client()
    client.start_channels()

    def run(source: str) -> Ran:
        written = {"stdout": [], "stderr": []}

        def keep(message: dict) -> None:
            if message["msg_type"] == "stream":
                written[message["content"]["name"]].append(message["content"]["text"])

        reply = client.execute_interactive(source, output_hook=keep, timeout=240, allow_stdin=False)["content"]
        return Ran(reply["status"], reply.get("ename", ""), "".join(written["stdout"]), "".join(written["stderr"]))

    try:
        client.wait_for_ready(timeout=60)
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        shutil.rmtree(folder)


def run_script(path: str, before: str = "", **environment: str | None) -> Ran:
    """Run a script's source in a new kernel; `before` runs first."""
    with kernel(**environment) as run:
        start = run("import sys; assert '__file__' not in globals(); assert sys.argv[1] == '-f', sys.argv\n" + before)
        assert start.status == "ok", start
        return run((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shared_kernel():
    """A function that runs a script's source with job arguments, one after another in one kernel."""
    with kernel() as run:

        def run_with(path: str, arguments: str) -> Ran:
            assert run(f"import os; os.environ['JOB_ARGUMENTS'] = {arguments!r}").status == "ok"
            return run((ROOT / path).read_text(encoding="utf-8"))

        yield run_with


def test_evaluation_as_a_job_takes_its_arguments_from_the_environment(tmp_path):
    results = tmp_path / "my results"
    arguments = f"@scripts/config.txt --num-videos 4 --no-cache --results-dir {shlex.quote(str(results))}"
    ran = run_script("scripts/evaluate.py", JOB_ARGUMENTS=arguments)
    assert ran.status == "ok" and "listed 4, found 4, decoded 4, scored 4" in ran.stdout, ran
    assert "Traceback" not in ran.stderr and read_report(results / "demo")["counts"]["scored"] == 4


def test_training_as_a_job(tmp_path, color_folder):
    shutil.copytree(color_folder / "val", color_folder / "train")
    arguments = (
        f"--model tiny2plus1d --dataset folder --data-dir {color_folder} --runs-dir {tmp_path / 'runs'} --name run "
        f"--cache-dir {tmp_path / 'cache'} --clip-len 4 --train-resize-size 16 16 --val-resize-size 16 16 "
        "--batch-size 4 --top-n 2 --export none --fast-dev-run"
    )
    ran = run_script("scripts/train.py", JOB_ARGUMENTS=arguments)
    assert ran.status == "ok" and (tmp_path / "runs" / "run-fast-dev" / "best.keras").is_file(), ran


def test_a_split_as_a_job(shared_kernel, tmp_path, color_folder):
    arguments = f"--root {color_folder / 'val'} --ratios 34 33 33 --out {tmp_path}"
    assert shared_kernel("scripts/split.py", arguments).status == "ok"
    assert (tmp_path / "annotations.json").is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_has_nothing_to_do_ends_a_job_well(shared_kernel, name):
    ran = shared_kernel(f"scripts/{name}.py", "--help")
    assert (ran.status, ran.stderr) == ("ok", "") and ran.stdout.startswith(f"usage: {name}.py")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_argument_fails_a_job_in_one_line(shared_kernel, name):
    ran = shared_kernel(f"scripts/{name}.py", "x y --nonsense")
    assert (ran.status, ran.error) == ("error", "SystemExit")
    assert ran.stderr.startswith(f"{name}.py: ") and ran.stderr.count("\n") == 1, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--num-videos -4", "error: --num-videos must not be negative, got -4\n"),
        ("--name 'a b", 'error: unreadable JOB_ARGUMENTS "--name \'a b": No closing quotation\n'),
    ],
)
def test_a_bad_value_fails_a_job_in_one_line(shared_kernel, arguments, line):
    ran = shared_kernel("scripts/evaluate.py", arguments)
    assert (ran.status, ran.error, ran.stderr) == ("error", "SystemExit", line)


@pytest.mark.parametrize("nothing", [None, "", " ", "None", "none"])
@pytest.mark.parametrize("words", [[], ["-f", "/run/kernel-1.json"], ["--debug", "-f", "kernel.json"]])
def test_no_arguments(words, nothing):
    assert command_line(words, nothing) == []


def test_arguments_of_a_job_are_quoted_as_in_a_shell_and_those_of_a_terminal_win():
    kernels = ["-f", "kernel.json"]
    assert command_line(kernels, "@a.txt --name 'my run'") == ["@a.txt", "--name", "my run"]
    assert command_line([], "--name x") == ["--name", "x"]
    assert command_line(["--name", "y"], "--name x") == ["--name", "y"]
    assert command_line(["-f", "config.txt"], None) == ["-f", "config.txt"]  # a mistake, which the parser names
    with pytest.raises(UserError, match="unreadable JOB_ARGUMENTS"):
        command_line(kernels, "'")


def test_dependencies_are_installed_by_the_kernels_own_python():
    shown = "import subprocess; subprocess.run = lambda *words, **options: print(words, options)"
    ran = run_script("cml/install_dependencies.py", shown)
    command = [sys.executable, "-m", "pip", "install", "-r", "requirements.txt"]
    assert ran.status == "ok" and ran.stdout.startswith(f"({command!r},) {{'check': True}}\n"), ran


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("import subprocess; subprocess.run = lambda command, check: int('no network')", "ValueError"),
        ("import sys; sys.version_info = (3, 10, 4)", "SystemExit"),
    ],
)
def test_an_installation_that_fails_fails_its_task(before, error):
    ran = run_script("cml/install_dependencies.py", before)
    assert (ran.status, ran.error) == ("error", error) and "installed" not in ran.stdout


NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


def test_without_a_network_there_is_no_sample_and_no_failure(tmp_path):
    elsewhere = f"import pathlib, vidbench.data.datasets as d; d.ROOT = pathlib.Path({str(tmp_path)!r})"
    ran = run_script("cml/download_data.py", elsewhere, **NO_NETWORK, no_proxy=None, NO_PROXY=None)
    assert ran.status == "ok" and "Traceback" not in ran.stderr, ran
    assert ran.stdout.startswith("no Kinetics clips, and none are needed") and ran.stdout.count("\n") == 1, ran
    assert not list(tmp_path.rglob("*.mp4"))


FAKE_FETCH = """
import pathlib, vidbench.data.datasets, vidbench.data.fetch, vidbench.utils
vidbench.data.datasets.ROOT = pathlib.Path({root!r})
def fetch(version, split, folder, *, num_videos, max_bytes):
    assert 0 < max_bytes < 1e9 and (version, split) == ("400", "val")
    folder.mkdir(parents=True)
    for number in range(min(num_videos, 5)):
        (folder / f"abcdefghij{{number}}_000000_000010.mp4").write_bytes(bytes(1000))
    if num_videos > 5:
        raise vidbench.utils.UserError("the line is gone")
    return num_videos
vidbench.data.fetch.fetch_kinetics = fetch
"""


@pytest.mark.parametrize(
    ("clips", "line"),
    [
        ("3", "3 clips of Kinetics-400 val, 3.0 kB, lie in data/raw/kinetics/400/val\n"),
        (
            "9",
            "5 clips of Kinetics-400 val, 5.0 kB, lie in data/raw/kinetics/400/val; no more came: the line is gone\n",
        ),
        ("0", "no clips are wanted (VIDBENCH_SAMPLE_CLIPS is 0); the demo's 160 lie in data/demo\n"),
    ],
)
def test_a_sample_is_as_large_as_the_environment_says(tmp_path, clips, line):
    ran = run_script("cml/download_data.py", FAKE_FETCH.format(root=str(tmp_path)), VIDBENCH_SAMPLE_CLIPS=clips)
    assert (ran.status, ran.stdout) == ("ok", line), ran


def test_a_sample_of_no_number_fails_in_one_line(tmp_path):
    ran = run_script("cml/download_data.py", FAKE_FETCH.format(root=str(tmp_path)), VIDBENCH_SAMPLE_CLIPS="many")
    assert (ran.status, ran.error) == ("error", "SystemExit")
    assert ran.stderr == "error: VIDBENCH_SAMPLE_CLIPS must be a number from 0 to 200, got 'many'\n"


def test_the_metadata_has_the_documented_fields():
    metadata = read_metadata()
    assert set(metadata) == {
        "name", "description", "author", "date", "specification_version", "prototype_version",
        "environment_variables", "runtimes", "tasks",
    }  # fmt: skip
    for field, most in LENGTHS.items():
        assert isinstance(metadata[field], str) and 0 < len(metadata[field]) <= most, field
    assert isinstance(metadata["date"], str) and datetime.date.fromisoformat(metadata["date"])  # quoted: no YAML date
    assert metadata["specification_version"] == 1.0 and isinstance(metadata["prototype_version"], float)
    for name, variable in metadata["environment_variables"].items():
        assert set(variable) == {"default", "description", "required"} and re.fullmatch("[A-Z_]+", name), name
        assert isinstance(variable["default"], str) and isinstance(variable["required"], bool), name
    for runtime in metadata["runtimes"]:
        assert set(runtime) == {"editor", "kernel", "edition"}
        assert runtime["editor"] in ("JupyterLab", "PBJ Workbench") and runtime["edition"] == "Standard"
        assert runtime["kernel"] in ("Python 3.11", "Python 3.12")  # pyproject.toml's requires-python


@pytest.mark.parametrize("task", read_metadata()["tasks"], ids=lambda task: task.get("name", task["type"]))
def test_a_task_has_the_documented_fields(task):
    fields = TASKS[task["type"]]
    assert REQUIRED[task["type"]] <= task.keys() and task.keys() - {"type"} <= fields.keys()
    for name, value in task.items():
        assert name == "type" or isinstance(value, fields[name]), name
    assert task.get("cpu", 1) > 0 and task.get("memory", 1) > 0
    assert "script" not in task or (ROOT / task["script"]).is_file()


def test_the_job_is_created_before_it_runs_and_its_arguments_are_understood():
    tasks = read_metadata()["tasks"]
    assert [task["type"] for task in tasks] == [
        "run_session", "run_session", "create_job", "run_job", "start_application",
    ]  # fmt: skip
    create, run = tasks[2:4]
    assert create["entity_label"] == run["entity_label"] and re.fullmatch("[a-z_]{1,36}", run["entity_label"])
    words = command_line(["-f", "kernel.json"], create["arguments"])
    assert parse_settings(EvaluateSettings, words).name == "demo"


def test_the_readme_names_every_script_and_variable_of_the_platform():
    readme, metadata = (ROOT / "README.md").read_text(encoding="utf-8"), read_metadata()
    names = {task["script"] for task in metadata["tasks"] if "script" in task} | set(metadata["environment_variables"])
    assert {name for name in names if name not in readme} == set()
