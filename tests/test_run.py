import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COLORS, solid, write_video
from PIL import Image

from vidbench.arguments import EvaluateSettings, PredictSettings
from vidbench.report import merge, table
from vidbench.results import read_report, run_table
from vidbench.run import evaluate_run, predict_files
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]


def predictions(settings) -> bytes:
    return (settings.results_dir / settings.name / "predictions.csv").read_bytes()


def test_a_run_writes_what_the_contract_says(settings):
    (settings.data_dir / "val" / "red" / "broken.mkv").write_bytes(b"")
    report = evaluate_run(settings)
    folder = settings.results_dir / "run"
    assert {path.name for path in folder.iterdir()} >= {
        "predictions.csv", "scores.npz", "failures.csv", "videos.csv", "listed.txt", "report.json", "config.txt",
    }  # fmt: skip
    counts = report["counts"]
    assert counts["population"] == {"found": 10}
    assert (counts["listed"], counts["found"], counts["scored"], counts["failed"]) == (10, 10, 9, 1)
    assert report["metrics"]["top1"]["value"] == 1.0 and report["metrics"]["top1"]["level"] == "video"
    assert report["metrics"]["top1"]["ci95"] == pytest.approx([0.7009, 1.0], abs=1e-4)  # Wilson: 9 of 9
    assert set(report["metrics"]) == {"top1", "top2", "mean_class_accuracy"}
    rows = run_table(folder / "predictions.csv")
    assert (rows["pred_1"] == rows["label"]).all() and len(rows) == 9
    assert run_table(folder / "failures.csv")["reason"].tolist() == ["empty file"]
    assert json.loads((folder / "report.json").read_text())["status"] == "done"
    assert "listed 10, found 10, decoded 9, scored 9, failed 1" in table(report)
    assert report["environment"]["tensorflow"] and report["model"]["weights_sha256"]


def test_its_config_repeats_it(settings):
    from vidbench.commands import parse_settings

    evaluate_run(settings)
    again = parse_settings(EvaluateSettings, [f"@{settings.results_dir / 'run' / 'config.txt'}"])
    assert replace(again, data_dir=settings.data_dir) == settings
    before = predictions(settings)
    evaluate_run(replace(again, name="again"))
    assert predictions(replace(settings, name="again")) == before


def test_a_larger_number_of_videos_extends_a_run_and_a_smaller_one_is_refused(settings):
    evaluate_run(replace(settings, name="whole"))
    evaluate_run(replace(settings, num_videos=4))
    assert len(run_table(settings.results_dir / "run" / "predictions.csv")) == 4
    evaluate_run(settings)
    assert predictions(settings) == predictions(replace(settings, name="whole"))
    with pytest.raises(UserError, match="5 of them outside these 4"):
        evaluate_run(replace(settings, num_videos=4))


def test_speed_settings_may_change_between_starts_and_others_may_not(settings):
    evaluate_run(settings)
    before = predictions(settings)
    evaluate_run(replace(settings, batch_size=5, workers=1, cache=False, decode_timeout=9.0))
    assert predictions(settings) == before
    for change, name in (
        ({"seed": 1}, "seed"),
        ({"num_frames": 2}, "protocol"),
        ({"frame_order": "frozen"}, "frame_order"),
        ({"top_n": 3}, "top_n"),
    ):
        with pytest.raises(UserError, match=f"holds another run: {name} "):
            evaluate_run(replace(settings, **change))
    evaluate_run(replace(settings, seed=1, overwrite=True))


def test_shards_merge_into_the_same_predictions(settings):
    (settings.data_dir / "val" / "red" / "broken.mkv").write_bytes(b"")
    evaluate_run(replace(settings, name="whole"))
    shards = [replace(settings, name=f"s{i}", shard=(i, 3)) for i in (1, 2, 3)]
    for shard in shards:
        evaluate_run(shard)
    folders = [settings.results_dir / shard.name for shard in shards]
    with pytest.raises(UserError, match="shard 2/3 is missing"):
        merge([folders[0], folders[2]], settings.results_dir / "part")
    merged = merge(folders[::-1], settings.results_dir / "merged")
    whole = settings.results_dir / "whole"
    assert predictions(replace(settings, name="merged")) == predictions(replace(settings, name="whole"))
    for name in ("failures.csv", "listed.txt", "videos.csv"):
        assert (settings.results_dir / "merged" / name).read_bytes() == (whole / name).read_bytes()
    assert merged["metrics"] == read_report(whole)["metrics"] and merged["counts"] == read_report(whole)["counts"]
    scores = [np.load(settings.results_dir / name / "scores.npz") for name in ("merged", "whole")]
    assert (scores[0]["probabilities"] == scores[1]["probabilities"]).all()


def test_an_unlabelled_split_gives_predictions_without_accuracy(settings, tmp_path):
    for name, color in COLORS.items():
        write_video(tmp_path / "loose" / f"{name}.mkv", solid(color))
    report = evaluate_run(replace(settings, data_dir=tmp_path / "loose"))
    assert report["metrics"] == {} and report["counts"]["unlabelled"] == 3
    assert "no labels" in table(report)
    assert evaluate_run(replace(settings, predict_only=True, name="other"))["metrics"] == {}


def test_classes_are_matched_by_name(settings, caplog):
    val = settings.data_dir / "val"
    (val / "blue").rename(val / "BLUE")
    shutil.copytree(val / "green", val / "mauve")
    report = evaluate_run(settings)
    assert report["counts"]["population"]["outside the model's classes"] == 3
    assert report["counts"]["listed"] == 9 and report["metrics"]["top1"]["value"] == 1.0
    assert "does not know their class: 3 (mauve)" in caplog.text
    with pytest.raises(UserError, match="the model knows none of the data's classes"):
        evaluate_run(replace(settings, classes=("mauve",), name="other"))


def test_a_list_scores_exactly_its_keys(settings, tmp_path):
    (tmp_path / "list.txt").write_text("# published\nred/1.mkv\ngreen/0.mkv\n")
    evaluate_run(replace(settings, list=tmp_path / "list.txt"))
    rows = run_table(settings.results_dir / "run" / "predictions.csv")
    assert set(rows["video_id"]) == {"red/1.mkv", "green/0.mkv"}
    evaluate_run(replace(settings, list=settings.results_dir / "run" / "predictions.csv", name="again"))
    assert predictions(replace(settings, name="again")) == predictions(settings)


def test_ones_own_videos(settings, tmp_path):
    write_video(tmp_path / "mine" / "a.mkv", solid(COLORS["green"]))
    (tmp_path / "mine" / "b.mp4").write_bytes(b"")
    good, bad = predict_files(PredictSettings(model=settings.model, videos=(str(tmp_path / "mine"),), top_n=2))
    assert good["predictions"][0]["class"] == "green" and bad["error"] == "empty file"
    assert good["domain"] == "solid colours"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="no videos in"):
        predict_files(PredictSettings(model=settings.model, videos=(str(tmp_path / "nothing"),)))


def command(settings, *extra) -> list[str]:
    return [
        sys.executable, "scripts/evaluate.py", "--model", settings.model, "--dataset", "folder",
        "--data_dir", str(settings.data_dir), "--results-dir", str(settings.results_dir), "--no-cache",
        "--name", settings.name, "--top-n", "2", "--batch-size", "1", *extra,
    ]  # fmt: skip


def test_killed_three_times_it_ends_with_the_same_predictions(settings):
    for name, color in COLORS.items():
        for number in range(3, 40):
            write_video(settings.data_dir / "val" / name / f"{number}.mkv", solid(color, 12, 240, 320))
    evaluate_run(replace(settings, name="whole", batch_size=1, cache=False))
    table_file = settings.results_dir / settings.name / "predictions.csv"
    seen = 0
    for moment in (0.0, 0.05, 0.11):
        process = subprocess.Popen(command(settings), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and (not table_file.exists() or table_file.read_bytes().count(b"\n") <= seen + 3):
            time.sleep(0.005)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        rows = table_file.read_bytes().count(b"\n")
        assert seen < rows
        seen = rows
    assert read_report(settings.results_dir / settings.name)["status"] in ("running", "done")
    subprocess.run(command(settings), cwd=ROOT, check=True, capture_output=True)
    assert predictions(settings) == predictions(replace(settings, name="whole"))


def started(settings) -> subprocess.Popen:
    """The command in a group of its own, as a terminal starts it: Ctrl-C reaches its workers too."""
    return subprocess.Popen(
        command(settings),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )


def test_ctrl_c_ends_with_130_and_keeps_the_rows(settings):
    for number in range(3, 60):
        write_video(settings.data_dir / "val" / "red" / f"{number}.mkv", solid((255, 0, 0), 12, 240, 320))
    process = started(settings)
    table_file = settings.results_dir / settings.name / "predictions.csv"
    while process.poll() is None and (not table_file.exists() or table_file.read_bytes().count(b"\n") < 4):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    assert len(run_table(table_file)) >= 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "i3"], "unknown model 'i3'"),
        (["--dataset", "kinetic"], "unknown dataset 'kinetic'"),
        (["--classes", "mauve"], "unknown class 'mauve'"),
        (["--data-dir", "/nowhere"], "no such folder: /nowhere"),
        (["--data-dir", "{empty}"], "no videos in split 'val'"),
        (["@/nowhere.txt"], "no such argfile: /nowhere.txt"),
        (["--num-frames", "-1"], "--num-frames must be positive, got -1"),
        (["--name", "foreign"], "holds no run of vidbench but 'x'"),
    ],
)
def test_bad_input_is_one_line_and_status_1(settings, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    (settings.results_dir / "foreign").mkdir(parents=True)
    (settings.results_dir / "foreign" / "x").touch()
    words = [word.replace("{empty}", str(tmp_path / "empty")) for word in words]
    done = subprocess.run(command(settings, *words), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr


def test_a_run_that_scores_nothing_says_so_and_keeps_its_rows(settings, tmp_path):
    for name in COLORS:
        (tmp_path / "bad" / "val" / name).mkdir(parents=True)
        (tmp_path / "bad" / "val" / name / "x.mp4").touch()
    words = command(settings, "--data-dir", str(tmp_path / "bad"))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "no listed video could be scored" in done.stderr
    assert len(run_table(settings.results_dir / "run" / "failures.csv")) == 3


def test_debug_shows_the_traceback(settings):
    done = subprocess.run(command(settings, "--classes", "x", "--debug"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_shards_of_data_that_the_model_knows_in_part_merge_too(settings):
    val = settings.data_dir / "val"
    shutil.copytree(val / "green", val / "mauve")
    evaluate_run(replace(settings, name="whole"))
    shards = [replace(settings, name=f"s{i}", shard=(i, 12)) for i in range(1, 13)]  # nine videos: three are empty
    counts = [evaluate_run(shard)["counts"] for shard in shards]
    assert [count["listed"] for count in counts] == [1] * 9 + [0] * 3
    merged = merge([settings.results_dir / shard.name for shard in shards], settings.results_dir / "merged")
    whole = read_report(settings.results_dir / "whole")
    assert predictions(replace(settings, name="merged")) == predictions(replace(settings, name="whole"))
    assert merged["counts"] == whole["counts"] and whole["counts"]["population"]["outside the model's classes"] == 3


def test_shards_that_do_not_belong_together_are_refused(settings):
    for name, change in (("a", {"shard": (1, 2)}), ("b", {"shard": (2, 2), "num_videos": 4}), ("c", {"shard": (1, 2)})):
        evaluate_run(replace(settings, name=name, **change))
    a, b, c = (settings.results_dir / name for name in "abc")
    with pytest.raises(UserError, match=r"b is of another run than .*a: num_videos differ"):
        merge([a, b], settings.results_dir / "out")
    with pytest.raises(UserError, match="are both shard 1/2"):
        merge([a, c], settings.results_dir / "out")
    evaluate_run(replace(settings, name="d", shard=(2, 2)))
    with pytest.raises(UserError, match="holds another run: shard is"):
        merge([a, settings.results_dir / "d"], a)
    assert not (settings.results_dir / "out").exists()


def test_a_run_under_other_class_names_is_another_run(settings, tmp_path):
    (tmp_path / "names.txt").write_text("blue\ngreen\nred\n")
    evaluate_run(replace(settings, model_classes=tmp_path / "names.txt"))
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    with pytest.raises(UserError, match="holds another run: model_classes is"):
        evaluate_run(replace(settings, model_classes=tmp_path / "names.txt"))


def test_timing_adds_up_over_starts(settings):
    first = evaluate_run(replace(settings, num_videos=4))["timing"]
    second = evaluate_run(settings)["timing"]
    assert (first["videos"], second["videos"]) == (4, 9) and second["seconds"] > first["seconds"]
    assert evaluate_run(settings)["timing"]["videos"] == 9


def test_names_of_any_bytes_are_scored_and_listed(settings):
    red = settings.data_dir / "val" / "red"
    for name in (b"a\xff.mkv", b"b\r\n.mkv", 'c, "☃".mkv'.encode()):
        (red / os.fsdecode(name)).hardlink_to(red / "0.mkv")
    (red / os.fsdecode(b"d\xfe.mkv")).touch()
    report = evaluate_run(settings)
    assert (report["counts"]["scored"], report["counts"]["failed"]) == (12, 1)
    rows = run_table(settings.results_dir / "run" / "predictions.csv")
    assert {"red/a\\xff.mkv", "red/b\\r\\n.mkv", 'red/c, "☃".mkv'} < set(rows["video_id"])
    before = predictions(settings)
    evaluate_run(replace(settings, list=settings.results_dir / "run" / "listed.txt", name="again"))
    assert predictions(replace(settings, name="again")) == before


def test_a_refused_start_leaves_the_folder_as_it_was(settings):
    evaluate_run(settings)
    folder = settings.results_dir / "run"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}
    for change in ({"num_videos": 2}, {"seed": 3}):
        with pytest.raises(UserError):
            evaluate_run(replace(settings, **change))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"} == before


def test_debug_counts_in_an_argfile_too(settings, tmp_path):
    (tmp_path / "x.txt").write_text("--debug")
    words = command(settings, f"@{tmp_path / 'x.txt'}", "--classes", "mauve")
    assert "Traceback" in subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stderr


def test_folders_of_frames_are_videos_of_their_own(settings, tmp_path):
    for name, color in COLORS.items():
        (tmp_path / "mine" / name).mkdir(parents=True)
        for index in range(4):
            Image.fromarray(solid(color, 1)[0]).save(tmp_path / "mine" / name / f"{index}.png")
    write_video(tmp_path / "mine" / "a.mkv", solid(COLORS["green"]))
    answers = predict_files(PredictSettings(model=settings.model, videos=(str(tmp_path / "mine"),)))
    best = {Path(answer["video"]).name: answer["predictions"][0]["class"] for answer in answers}
    assert best == {"a.mkv": "green", "blue": "blue", "green": "green", "red": "red"}
    with pytest.raises(UserError, match="no such file or folder: /nowhere"):
        predict_files(PredictSettings(model=settings.model, videos=("/nowhere",)))


def test_one_s_own_data_name_their_run(settings):
    assert evaluate_run(replace(settings, name=None))["folder"].endswith("/brightest-folder-colors-val")


def test_clips_that_could_not_be_cached_are_in_the_report(settings, tmp_path):
    (tmp_path / "file").touch()
    report = evaluate_run(replace(settings, cache_dir=tmp_path / "file"))
    assert "clips were not cached" in report["dataset"]["notes"][0] and report["counts"]["scored"] == 9
    assert "clips were not cached" in table(report)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0])
def test_ctrl_c_while_it_starts_shows_no_traceback(settings, seconds):
    process = started(settings)
    while "numpy" not in Path(f"/proc/{process.pid}/maps").read_text():  # the kit is being imported
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
