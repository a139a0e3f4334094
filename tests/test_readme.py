"""The front page keeps its promises."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from vidbench.arguments import (
    CandidateScanSettings,
    CandidateTrainSettings,
    CheckSettings,
    CompareSettings,
    EvaluateSettings,
    FetchSettings,
    FoldsSettings,
    ImagesSettings,
    SplitSettings,
    StatusSettings,
    TrainSettings,
    VerifySettings,
)
from vidbench.commands import parse_settings
from vidbench.train.setup import plan_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def quick_start() -> list[str]:
    section = re.search(r"^## Quick start\n(.*?)^## ", README, flags=re.S | re.M)[1]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, flags=re.S) for line in block.splitlines()]


def test_the_quick_start_is_two_commands_and_the_notebook():
    first, second, notebook = quick_start()
    for command, last in ((first, "scripts/evaluate.py @scripts/config.txt"), (second, "-m pytest")):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ") and command.endswith(last)
    assert (ROOT / shlex.split(notebook)[-1]).is_file() and "jupyter lab" in notebook


def test_the_python_example_runs_and_is_right(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    exec(compile(code, "README.md", "exec"), {})
    percent, clip = capsys.readouterr().out.splitlines()
    assert 75 <= float(percent) <= 100 and clip.startswith("clip 0: ")


def test_every_relative_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)|src=\"(?!https?:)([^\"]+)\"", page.read_text()):
            assert (page.parent / "".join(target)).exists(), (page.name, target)


def test_every_flag_is_in_the_readme_and_in_the_config():
    from dataclasses import fields

    config = (ROOT / "scripts" / "config.txt").read_text()
    prototype = {"model_trained_on"}  # a flag of the original prototype: --model says the same
    for item in fields(EvaluateSettings):
        name = item.name.replace("_", "-")
        for page in (README, config if item.name not in prototype else README):
            assert f"--{name}" in page or f"--no-{name}" in page, name
    training = (ROOT / "scripts" / "train.txt").read_text()
    for item in fields(TrainSettings):
        name = item.name.replace("_", "-")
        for page in (README, training):
            assert f"--{name}" in page or f"--no-{name}" in page, name
    fetching = (FetchSettings, FoldsSettings, VerifySettings, StatusSettings)
    finding = (ImagesSettings, CandidateTrainSettings, CandidateScanSettings)
    for item in (
        field for kind in (SplitSettings, CheckSettings, CompareSettings, *fetching, *finding) for field in fields(kind)
    ):
        assert item.metadata["positional"] or f"--{item.name.replace('_', '-')}" in README, item.name


def test_the_configs_parse():
    config = parse_settings(EvaluateSettings, [f"@{ROOT / 'scripts' / 'config.txt'}"])
    assert (config.model, config.dataset, config.num_videos) == ("demo", "demo", 0)
    kinetics = parse_settings(EvaluateSettings, [f"@{ROOT / 'scripts' / 'kinetics400.txt'}"])
    assert (kinetics.model_name, kinetics.dataset, kinetics.kinetics_version) == ("i3d-kinetics-400", "kinetics", "400")


def test_the_costs_of_fetching_are_what_the_sizes_say():
    from vidbench.data.fetch.cvdf import SIZES, mean_clip_bytes

    section = re.search(r"^### Fetching data\n(.*?)^### ", README, flags=re.S | re.M)[1]
    rate = 50e6 / 8
    few, many = (count * mean_clip_bytes("400", "val") for count in (16, 200))
    assert f"| {few / 1e6:.0f} MB | {few / rate:.0f} seconds |" in section
    assert f"| {many / 1e9:.1f} GB | {many / rate:.0f} seconds |" in section
    assert f"| 30 GB | {30e9 / rate / 3600:.1f} hours |" in section
    assert f"| 370 GB | {370e9 / rate / 3600:.0f} hours |" in section
    assert f"{2 * 43e9 / 600 / 1e9:.2f} GB | {2 * 43e9 / 600 / rate:.0f} seconds" in section
    for version in ("400", "600", "700-2020"):
        size = sum(size for (known, _), (size, _) in SIZES.items() if known == version)
        assert re.search(rf"{size / 1e9:.0f} GB\s\({size / rate / 3600:.0f}", section), version


def test_the_map_names_every_module():
    named = set(re.findall(r"[\w/]+\.py", README))
    for path in (ROOT / "vidbench").glob("*.py"):
        assert path.name == "__init__.py" or path.name in named, path.name


def test_the_table_of_models_is_what_the_command_prints():
    command = [sys.executable, "-m", "vidbench.models"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    shown = re.search(r"^\| model +\| a view .*?\n\n", README, flags=re.S | re.M)[0]

    def cells(table):
        return [[re.sub("-+", "-", cell.strip()) for cell in row.split("|")] for row in table.strip().splitlines()]

    assert cells(shown) == cells(printed)


def test_the_recipes_parse_and_are_what_they_say():
    recipes = {path.stem: parse_settings(TrainSettings, [f"@{path}"]) for path in (ROOT / "scripts").glob("train*.txt")}
    assert set(recipes) == {
        "train", "train_demo", "train_demo_frames", "train_jhmdb8", "train_r2plus1d_kinetics400",
    }  # fmt: skip
    torchvision = recipes["train_r2plus1d_kinetics400"]
    assert (torchvision.epochs, torchvision.batch_size, torchvision.clips_per_video, torchvision.clip_len) == (
        45,
        24,
        5,
        16,
    )
    assert (torchvision.train_resize_size, torchvision.train_crop_size) == ((128, 171), (112, 112))
    assert plan_of(torchvision).learning_rate == 0.01  # 0.64 for 64 times the clips
    assert plan_of(replace(torchvision, batch_size=1536)).learning_rate == 0.64
