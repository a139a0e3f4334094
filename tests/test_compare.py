import csv
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from vidbench.arguments import CompareSettings
from vidbench.commands import parse_settings
from vidbench.compare import compare_runs, run_names
from vidbench.compare_tables import comparison_latex, comparison_markdown, comparison_table, write_comparison
from vidbench.data.decode import Decoded, VideoInfo
from vidbench.data.load import Sample
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.metrics import holm, mcnemar_p
from vidbench.predict import Prediction
from vidbench.results import RunFolder, run_table
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]
LABELS = ["a", "a", "a", "a", "b", "b", "b", "b"]
FIRST = ["a", "a", "a", "a", "b", "b", "a", "a"]  # right about v0 … v5
SECOND = ["a", "a", "a", "a", "a", "a", "b", "a"]  # right about v0 … v3 and v6


def prediction(key: str, label: str | None, probabilities, group: str | None = None) -> Prediction:
    decoded = Decoded(
        np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), np.zeros((1, 1), np.int64), VideoInfo(9, 25.0, 4, 2, 0.36), False
    )
    return Prediction(
        Sample(Video(key, Path("x"), label, group=group), decoded, Protocol()), np.array([probabilities], np.float32)
    )


def write_run(folder: Path, rows, classes=("a", "b"), finish=True, order=None, **facts) -> Path:
    """A run's folder of rows (id, label, probabilities, group); `facts` go into identity, data set or report."""
    identity = {"fold": 1, "model": folder.name, "protocol": {"clips": 1, "crops": 1}} | facts.pop("identity", {})
    dataset = {"name": "folder", "title": "folder val", "notes": ["two colours"]} | facts.pop("dataset", {})
    record = {"protocol": {"clips": 1, "crops": 1}, "dataset": dataset, "split": "val"} | facts
    with RunFolder(folder, identity, classes, 2, order or [row[0] for row in rows], record) as run:
        for row in rows:
            run(prediction(*row))
        if finish:
            run.finish(lambda *tables: record)
    return folder


def says(guesses, labels=LABELS, sure=0.75, groups=None) -> list[tuple]:
    """Rows of a run of two classes that answers so."""
    groups = groups or [None] * len(labels)
    return [
        (f"v{place}", label, (sure, 1 - sure) if guess == "a" else (1 - sure, sure), group)
        for place, (guess, label, group) in enumerate(zip(guesses, labels, groups, strict=True))
    ]


@pytest.fixture
def two(tmp_path) -> list[Path]:
    """Two runs: 4 videos both right, 2 the first alone, 1 the second alone, 1 neither."""
    first = write_run(tmp_path / "first", says(FIRST), timing={"clips_per_second": 4.0})
    return [first, write_run(tmp_path / "second", says(SECOND), identity={"protocol": {"clips": 3, "crops": 1}})]


# ------------------------------------------------------------------ numbers


def test_two_runs_by_hand(two):
    result = compare_runs(two)
    first, second = result["runs"]
    assert (result["title"], result["videos"], result["groups"]) == ("folder val", 8, 8)
    assert (first["top1"]["value"], second["top1"]["value"]) == (0.75, 0.625)
    assert first["mean_class_accuracy"]["value"] == 0.75  # a: 4 of 4, b: 2 of 4
    assert (first["seconds_per_clip"], second["seconds_per_clip"]) == (0.25, None)
    (pair,) = result["pairs"]
    assert [pair[name] for name in ("a", "b", "difference")] == ["first", "second", 0.125]
    assert [pair[name] for name in ("both", "only_a", "only_b", "neither")] == [4, 2, 1, 1]
    # Agresti & Min: 2.5 and 1.5 of 10 pairs, so 0.1 ± 1.96 sqrt(4 - 1 / 10) / 10
    assert pair["ci95"] == pytest.approx([-0.287061, 0.487061], abs=1e-5)
    assert pair["mcnemar_p"] == pair["holm_p"] == 1.0  # 2 (1 + 3) / 8
    assert pair["flipped_to_a"] == ["v4", "v5"] and pair["flipped_to_b"] == ["v6"]
    assert pair["differs"] == [
        'model is "first" in first and "second" in second',
        "protocol clips is 1 in first and 3 in second",
    ]


def test_the_text_says_what_was_compared(two):
    lines = comparison_table(compare_runs(two)).splitlines()
    assert lines[0] == "folder val: 8 labelled videos that every run scored" and "  note: two colours" in lines
    cells = [" ".join(line.split()) for line in lines]
    assert "first 8 0 75.00% 40.9% to 92.9% 75.00% 0.250" in cells  # Wilson: 6 of 8
    assert "second 8 0 62.50% 30.6% to 86.3% 62.50% –" in cells  # 5 of 8; classes 4/4 and 1/4
    assert "first vs second +12.50 -28.71 to +48.71 4 2 1 1 1 1" in cells
    assert "protocol clips is 1 in first and 3 in second" in cells
    assert "only first right: 2 (v4, v5)" in cells and "only second right: 1 (v6)" in cells
    assert not any("McNemar's p takes" in line for line in lines)


def test_the_same_answers_are_exactly_no_difference(tmp_path):
    folders = [write_run(tmp_path / name, says(FIRST)) for name in ("run", "again")]
    (pair,) = compare_runs(folders)["pairs"]
    assert (pair["difference"], pair["ci95"], pair["mcnemar_p"], pair["holm_p"]) == (0, [0, 0], 1, 1)
    other = write_run(tmp_path / "other", says(FIRST, sure=0.9))  # right about the same videos, but another model
    (pair,) = compare_runs([folders[0], other])["pairs"]
    assert pair["difference"] == 0 and pair["ci95"][0] < 0 < pair["ci95"][1]


def test_only_labelled_videos_that_all_runs_scored_count(tmp_path, two):
    more = [*says(FIRST), ("v8", "b", (0, 1)), ("v9", "b", (0, 1)), ("free", None, (0, 1))]
    longer = write_run(tmp_path / "longer", more)
    fewer = write_run(tmp_path / "fewer", says(SECOND)[:0:-1])  # without v0, and in another order
    result = compare_runs([longer, fewer])
    assert result["videos"] == 7 and [(run["videos"], run["left_out"]) for run in result["runs"]] == [(10, 3), (7, 0)]
    assert [run["top1"]["value"] for run in result["runs"]] == [5 / 7, 4 / 7]
    assert [row[0] for row in result["flips"]] == ["v4", "v5", "v6"]


def test_three_runs_are_three_pairs_under_holm(tmp_path):
    labels = ["a"] * 30
    runs = {"good": 0, "fair": 8, "poor": 18}  # wrong about the first so many
    folders = [
        write_run(tmp_path / name, says(["b"] * wrong + ["a"] * (30 - wrong), labels)) for name, wrong in runs.items()
    ]
    pairs = compare_runs(folders)["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    p_values = [2 / 2**8, 2 / 2**18, 2 / 2**10]
    assert [pair["mcnemar_p"] for pair in pairs] == pytest.approx(p_values)
    assert [pair["holm_p"] for pair in pairs] == pytest.approx([2 / 2**8, 3 * 2 / 2**18, 2 * 2 / 2**10])
    assert [mcnemar_p(8, 0), *holm(p_values)] == pytest.approx([p_values[0], *(pair["holm_p"] for pair in pairs)])


def test_groups_widen_the_paired_interval_and_are_spoken_of(tmp_path):
    labels = ["a"] * 60
    better = ["a"] * 60
    worse = ["b"] * 48 + ["a"] * 12  # whole groups of four are wrong
    groups = [f"g{place // 4}" for place in range(60)]
    spans = {}
    for name, named in (("alone", None), ("grouped", groups)):
        folders = [write_run(tmp_path / name / kind, says(guesses, labels, groups=named)) for kind, guesses in
                   (("better", better), ("worse", worse))]  # fmt: skip
        result = compare_runs(folders)
        low, high = result["pairs"][0]["ci95"]
        spans[name] = high - low
        assert low < result["pairs"][0]["difference"] == 0.8 < high
    assert spans["grouped"] > 1.5 * spans["alone"]
    assert result["groups"] == 15
    assert "the 60 videos are of 15 groups: intervals are over groups, McNemar's p takes" in comparison_table(result)
    bare = write_run(tmp_path / "bare", says(better, labels))  # listed without groups: the other run knows them
    assert compare_runs([bare, tmp_path / "grouped" / "worse"])["groups"] == 15


def test_an_unfinished_run_is_partial(tmp_path, two):
    part = write_run(tmp_path / "part", says(SECOND)[:5], finish=False, order=[f"v{place}" for place in range(8)])
    result = compare_runs([two[0], part])
    assert [run["partial"] for run in result["runs"]] == [False, True] and result["videos"] == 5
    assert "part is partial: its run is not finished" in result["notes"]
    assert "part (partial)" in comparison_table(result)


def test_labels_and_answers_are_compared_canonically(tmp_path, two):
    rows = [(key, label.upper(), shares) for key, label, shares, _ in says(FIRST)]
    (pair,) = compare_runs([two[0], write_run(tmp_path / "loud", rows, ("A", "_b "))])["pairs"]
    assert pair["difference"] == 0 and pair["both"] == 6


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"dataset": {"name": "csv"}}, r"different data: the data set's name is \"folder\" in first and \"csv\" in x"),
        ({"identity": {"fold": 2}}, "different data: the data set's fold is 1 in first and 2 in x"),
        ({"identity": {"kinetics_version": "600"}}, 'kinetics_version is null in first and "600" in x'),
        ({"split": "test"}, 'the data set\'s split is "val" in first and "test" in x'),
        ({"dataset": {"title": "y"}}, 'the data set\'s title is "folder val" in first and "y" in x'),
        ({"identity": {"predict_only": True}}, "x was scored with --predict-only: there is no accuracy"),
    ],
)
def test_runs_of_other_data_are_refused(tmp_path, two, facts, message):
    with pytest.raises(UserError, match=message):
        compare_runs([two[0], write_run(tmp_path / "x", says(FIRST), **facts)])


def test_runs_that_cannot_be_compared_are_refused(tmp_path, two):
    with pytest.raises(UserError, match="a comparison needs two runs or more, got 1"):
        compare_runs(two[:1])
    with pytest.raises(UserError, match=r"second/\.\./first is named twice"):
        compare_runs([two[0], two[1] / ".." / "first"])
    other = write_run(tmp_path / "other", says(FIRST, ["a", "b", "b", "a", "b", "b", "b", "b"]))
    with pytest.raises(UserError, match=r"2 of 8 videos have other labels in other than in first.* v1: 'b' and 'a'"):
        compare_runs([two[0], other])
    apart = write_run(tmp_path / "apart", [("w", "a", (1, 0))])
    with pytest.raises(UserError, match="no labelled video was scored by all of first, apart"):
        compare_runs([two[0], apart])
    free = write_run(tmp_path / "free", [("v0", None, (1, 0))])
    with pytest.raises(UserError, match="free has no labelled predictions"):
        compare_runs([two[0], free])
    with pytest.raises(UserError, match=r"holds no run: it has no report\.json"):
        compare_runs([two[0], tmp_path / "nowhere"])
    training = tmp_path / "training"
    write_run(training / "val", says(FIRST))
    (training / "report.json").write_text('{"status": "done", "identity": {}}')
    with pytest.raises(UserError, match=r"training holds no run of scripts/evaluate\.py: .*val is one"):
        compare_runs([two[0], training])


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / "x" / "val" / "run", tmp_path / "y" / "val" / "run", tmp_path / "y" / "val" / "other"]
    assert run_names(folders) == ["x/val/run", "y/val/run", "other"]


# ------------------------------------------------------------------ fusion


def three_classes(tmp_path) -> list[Path]:
    """Both runs are wrong about v0 in their own ways; what they agree on is right. The second sorts otherwise."""
    one = write_run(tmp_path / "one", [("v0", "c", (0.5, 0.125, 0.375)), ("v1", "a", (0.75, 0.25, 0))], ("a", "b", "c"))
    rows = [("v0", "c", (0.375, 0.5, 0.125)), ("v1", "a", (0, 0.5, 0.5))]
    return [one, write_run(tmp_path / "two", rows, ("C", "B", "A"))]


def test_fusion_by_hand(tmp_path):
    result = compare_runs(three_classes(tmp_path), fuse=True)
    assert [run["name"] for run in result["runs"]] == ["one", "two", "fused (0.5 one + 0.5 two)"]
    assert [run["top1"]["value"] for run in result["runs"]] == [0.5, 0, 1]
    # v0: a (0.5 + 0.125) / 2, b (0.125 + 0.5) / 2, c 0.375; v1: a (0.75 + 0.5) / 2, b (0.25 + 0.5) / 2
    assert result["fused"] == [
        {"video_id": "v0", "label": "c", "pred_1": "c", "score_1": "0.375", "pred_2": "a", "score_2": "0.3125"},
        {"video_id": "v1", "label": "a", "pred_1": "a", "score_1": "0.625", "pred_2": "b", "score_2": "0.375"},
    ]
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]][1:] == [
        ("one", "fused (0.5 one + 0.5 two)"),
        ("two", "fused (0.5 one + 0.5 two)"),
    ]
    assert result["runs"][2]["seconds_per_clip"] is None


def test_weights_of_a_fusion(tmp_path):
    folders = three_classes(tmp_path)
    result = compare_runs(folders, weights=(7, 3))
    assert result["runs"][2]["name"] == "fused (0.7 one + 0.3 two)"
    assert float(result["fused"][0]["score_1"]) == pytest.approx(0.7 * 0.5 + 0.3 * 0.125)
    alone = compare_runs(folders, weights=(1, 0))["pairs"][1]  # all of the first: nothing differs
    assert (alone["difference"], alone["ci95"]) == (0, [0, 0])


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1,), "wanted one a run, 2 in all, got 1"), ((-1, 2), "not negative and not all 0"), ((0, 0), "not all 0")],
)
def test_weights_of_no_good(tmp_path, weights, message):
    with pytest.raises(UserError, match=f"--weights: .*{message}"):
        compare_runs(three_classes(tmp_path), weights=weights)


def test_only_runs_of_the_same_classes_are_fused(tmp_path, two):
    other = write_run(tmp_path / "other", [("v0", "a", (1, 0, 0))], ("a", "b", "z"))
    assert compare_runs([two[0], other])["videos"] == 1
    with pytest.raises(UserError, match="first and other cannot be fused: only one of them has the class 'z'"):
        compare_runs([two[0], other], fuse=True)
    double = write_run(tmp_path / "double", [("v0", "a", (1, 0, 0))], ("a", "b", "B"))
    with pytest.raises(UserError, match="double cannot be fused: two of its classes have the same name"):
        compare_runs([two[0], double], fuse=True)


# ------------------------------------------------------------------ files


def test_the_flipped_videos_are_written(tmp_path, two):
    write_comparison(compare_runs(two), flips=tmp_path / "flips.csv")
    with (tmp_path / "flips.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["video_id", "label", "first", "second"],
            ["v4", "b", "b", "a"],
            ["v5", "b", "b", "a"],
            ["v6", "b", "a", "b"],
        ]
    with pytest.raises(UserError, match="no fused predictions to write"):
        write_comparison(compare_runs(two), fused=tmp_path / "fused.csv")


def test_fused_predictions_are_written_as_a_run_writes_them(tmp_path):
    folders = three_classes(tmp_path)
    write_comparison(compare_runs(folders, weights=(1, 0)), fused=tmp_path / "fused.csv")
    assert run_table(tmp_path / "fused.csv").equals(run_table(folders[0] / "predictions.csv"))


def test_names_of_any_kind_stay_themselves_in_markdown_and_latex(tmp_path):
    title = {"title": "R&D <50%> set|one"}
    folders = [write_run(tmp_path / name, says(FIRST), dataset=title) for name in ("a|b_c", "[50%] & $x^2")]
    result = compare_runs(folders)
    markdown = comparison_markdown(result)
    assert "R&amp;D \\<50%\\> set\\|one: 8 labelled videos" in markdown
    assert "| a\\|b\\_c | 8 | 0 | 75.00% |" in markdown and "| \\[50%\\] &amp; \\$x^2 | 8 |" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {8, 10}  # 7 and 9 columns
    latex = comparison_latex(result)
    assert r"R\&D \textless{}50\%\textgreater{} set\textbar{}one: 8 labelled" in latex
    assert "a\\textbar{}b\\_c & 8 & 0 & 75.00\\% &" in latex and r"{[}50\%{]} \& \$x\textasciicircum{}2 & 8" in latex
    assert r"a\textbar{}b\_c vs {[}50\%{]} \& \$x\textasciicircum{}2 & 0.00 & 0.00 to 0.00 & 6 & 0 & 0 & 2" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2


def test_figures_are_written_by_their_ending(tmp_path, two):
    result = compare_runs(two)
    write_comparison(result, figure=tmp_path / "x.png")
    write_comparison(result, figure=tmp_path / "x.svg")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (tmp_path / "x.svg").read_text()


# ------------------------------------------------------------------ the command


def command(*words) -> subprocess.CompletedProcess:
    line = [sys.executable, "scripts/compare.py", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_and_writes(tmp_path, two):
    files = {flag: tmp_path / "out" / f"x.{flag}" for flag in ("markdown", "latex", "flips", "fused")}
    words = [word for flag, path in files.items() for word in (f"--{flag}", path)]
    done = command(*two, *words, "--figure", tmp_path / "out" / "x.png", "--weights", "0.7", "0.3")
    assert done.returncode == 0 and done.stderr == ""
    result = compare_runs(two, weights=(0.7, 0.3))
    assert done.stdout.startswith(comparison_table(result) + "\nwritten: ")
    assert files["markdown"].read_text() == comparison_markdown(result)
    assert files["latex"].read_text() == comparison_latex(result)
    assert len(run_table(files["fused"])) == 8 and (tmp_path / "out" / "x.png").is_file()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("{0}", 1, "error: a comparison needs two runs or more"),
        ("{0} /nowhere/x", 1, "error: /nowhere/x holds no run"),
        ("{0} {1} --figure x.jpg", 1, "error: --figure must end in .png or .svg, got x.jpg"),
        ("{0} {1} --weights 1 x", 1, "error: --weights: wanted 1 to 99 numbers, none negative, got '1 x'"),
        ("{0} {1} --weights 0.7 -0.3", 1, "error: --weights: wanted 1 to 99 numbers, none negative"),
        ("{0} {1} --fused", 2, "expected one argument"),
        ("", 2, "RUN"),
    ],
)
def test_mistakes_are_one_line_and_a_status(two, words, status, message):
    done = command(*words.format(*two).split())
    assert done.returncode == status and message in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_settings_of_a_comparison():
    parsed = parse_settings(CompareSettings, ["x", "y", "--weights", "3", "1"])
    assert (parsed.runs, parsed.weights, parsed.fuses) == (("x", "y"), (3.0, 1.0), True)
    assert not parse_settings(CompareSettings, ["x", "y"]).fuses
    assert parse_settings(CompareSettings, ["x", "y", "--fused", "z"]).fuses
    assert all(item.metadata["help"] for item in fields(CompareSettings))
