"""A run that says something else than its rows is caught; a run that was stopped is reported as it stands."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vidbench.data.datasets import ROOT
from vidbench.report import verify, write_ledger
from vidbench.report.__main__ import main
from vidbench.results import read_run
from vidbench.run import evaluate_run
from vidbench.utils import UserError, sha256_of


@pytest.fixture
def run(settings):
    (settings.data_dir / "val" / "red" / "broken.mkv").write_bytes(b"")
    evaluate_run(settings)
    return settings.results_dir / "run"


def resign(run):
    """Write the files' SHA-256 anew, as somebody would who wants to cover up a change."""
    report = json.loads((run / "report.json").read_text())
    report["files"] = {name: sha256_of(run / name) for name in report["files"]}
    (run / "report.json").write_text(json.dumps(report))


def edit(path, before, after):
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def test_a_run_as_it_was_written_is_verified(run, capsys):
    number, problems = verify(run)
    assert problems == [] and number > 9
    main(["verify", str(run)])
    assert "verified" in capsys.readouterr().out


def test_a_tampered_prediction_is_caught_even_with_its_digest_renewed(run, capsys):
    edit(run / "predictions.csv", ",blue,blue,", ",blue,red,")
    assert any("predictions.csv is not the file" in problem for problem in verify(run)[1])
    resign(run)
    problems = verify(run)[1]
    assert any("predictions.csv does not say what scores.npz says, in 1 rows" in problem for problem in problems)
    assert any("report.json, metrics" in problem for problem in problems)
    assert any("confusion.csv is not what the rows give" in problem for problem in problems)
    with pytest.raises(SystemExit) as caught:
        main(["verify", str(run)])
    assert caught.value.code == 1 and capsys.readouterr().err == "error: 1 of 1 runs are not what they say\n"


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("predictions.csv", ",blue,blue,", ",red,blue,", "report.json, metrics"),
        ("report.json", '"value": 1.0', '"value": 0.9', "report.json, metrics"),
        ("report.json", '"scored": 9', '"scored": 10', "report.json, counts"),
        ("report.json", '"q50": 16.0', '"q50": 256.0', "report.json, dataset sources"),
        ("report.json", '"comparable": false', '"comparable": true', "report.json, comparable"),
        ("failures.csv", "red/broken.mkv", "red/brokem.mkv", "has a row, but was not listed"),
        ("listed.txt", "red/broken.mkv\n", "", "has a row, but was not listed"),
        ("per_class.csv", "blue,3,3", "blue,4,4", "per_class.csv is not what the rows give"),
        ("report.md", "100.00%", "101.00%", "report.md is not what the rows give"),
        ("report.json", '"num_frames": 4', '"num_frames": 9', "says two things: protocol num_frames"),
        ("predictions.csv", "\nblue/0.mkv", "\nblue/0.mkv,blue,blue,0.5,red,0.1\nblue/0.mkv", "stands twice"),
        ("videos.csv", ",16,16,", ",160,160,", "report.json, dataset sources"),
    ],
)
def test_each_kind_of_change_is_caught(run, name, before, after, words):
    edit(run / name, before, after)
    resign(run)
    assert any(words in problem for problem in verify(run)[1])


def test_scores_of_another_run_are_caught(run):
    with np.load(run / "scores.npz") as scores:
        arrays = dict(scores)
    np.savez(run / "scores.npz", **arrays | {"probabilities": arrays["probabilities"][::-1]})
    resign(run)
    assert any("scores.npz says" in problem for problem in verify(run)[1])


def test_only_finished_runs_can_be_verified(run, tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        verify(tmp_path)
    edit(run / "report.json", '"status": "done"', '"status": "running"')
    with pytest.raises(UserError, match="is not finished"):
        verify(run)


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("report.json", '"leaks"', '"leeks"', "report.json lacks dataset leaks: another version of vidbench made it"),
        ("report.json", '"protocol"', '"protokoll"', "another version of vidbench made it"),
        ("predictions.csv", ",blue,0.", ",blue,banana.", "is damaged: could not convert string to float"),
        ("videos.csv", "blue/0.mkv", "blue/9.mkv", "lack their scores, or their row of videos.csv"),
    ],
)
def test_damage_is_one_clear_line(run, capsys, name, before, after, words):
    text = (run / name).read_text(encoding="utf-8")
    (run / name).write_text(text.replace(before, after), encoding="utf-8")
    for command in (["show"], ["verify"]):
        with pytest.raises(SystemExit) as caught:
            main([*command, str(run)])
        told = capsys.readouterr()
        assert caught.value.code == 1 and words in told.out + told.err and told.err.count("\n") == 1


def test_scores_that_are_cut_off_are_damage(run):
    (run / "scores.npz").write_bytes((run / "scores.npz").read_bytes()[:300])
    with pytest.raises(UserError, match="is damaged"):
        verify(run)


def test_every_run_is_verified_whatever_the_others_are(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["verify", str(tmp_path), str(run)])
    told = capsys.readouterr()
    assert "holds no run" in told.out and "verified" in told.out and "1 of 2 runs" in told.err


def test_a_page_whose_clips_are_gone_stays_as_it_was(settings, capsys):
    (settings.data_dir / "val" / "red").rename(settings.data_dir / "val" / "blue-too")
    (settings.data_dir.parent / "names.csv").write_text("from,to\nblue-too,blue\n")
    evaluate_run(replace(settings, label_map=settings.data_dir.parent / "names.csv"))
    run = settings.results_dir / "run"
    before = (run / "report.html").read_bytes()
    assert before.count(b"data:image/png") == 3
    main([str(run)])
    assert capsys.readouterr().out.endswith(f"written to {run}\n")
    settings.data_dir.rename(settings.data_dir.with_name("elsewhere"))
    main([str(run)])
    assert "report.html is as it was" in capsys.readouterr().out and (run / "report.html").read_bytes() == before
    with (run / "config.txt").open("a") as file:
        file.write("--a-flag-of-old 3\n")
    main([str(run)])
    assert "config.txt: " in capsys.readouterr().out


def test_without_labels_there_is_no_accuracy_anywhere(settings):
    report = evaluate_run(replace(settings, predict_only=True))
    run = settings.results_dir / "run"
    assert report["metrics"] == {} and (run / "per_class.csv").read_text().count("\n") == 1
    assert "Classes, best first" not in (run / "report.html").read_text() and verify(run)[1] == []


def test_merging_twice_is_merging_once(settings, capsys):
    for part in (1, 2):
        evaluate_run(replace(settings, shard=(part, 2), name=f"part{part}"))
    parts = [str(settings.results_dir / f"part{part}") for part in (1, 2)]
    whole = settings.results_dir / "whole"
    for _ in range(2):
        main(["merge", *parts, "--out", str(whole)])
        report = json.loads((whole / "report.json").read_text())
        assert report["status"] == "done" and report["counts"]["scored"] == 9 and verify(whole)[1] == []
    assert (whole / "predictions.csv").read_text().count("\n") == 10
    evaluate_run(replace(settings, name="whole"))  # its config.txt is that of one run: it goes on, or is done
    assert "--shard" not in (whole / "config.txt").read_text()


def test_a_stopped_run_is_reported_as_it_stands(settings, capsys):
    class Stop(Exception):
        pass

    from vidbench.results import RunFolder

    number = 0
    write = RunFolder.__call__

    def stopping(self, outcome):
        nonlocal number
        number += 1
        if number == 6:
            raise Stop
        write(self, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "__call__", stopping)
        with pytest.raises(Stop):
            evaluate_run(settings)
    run = settings.results_dir / "run"
    main([str(run)])
    told = capsys.readouterr().out
    assert "listed 9, found 5, decoded 5, scored 5, failed 0" in told and "pending 4" in told
    assert "partial: 4 of the listed are still to be scored" in told and "top-1                100.00%" in told
    assert (run / "report.html").is_file() and json.loads((run / "report.json").read_text())["status"] == "running"
    report = evaluate_run(settings)
    assert report["status"] == "done" and report["counts"]["scored"] == 9 and "pending" not in report["counts"]


def test_until_ends_a_run_early_and_a_longer_one_goes_on(settings):
    some = evaluate_run(replace(settings, until=30.0))
    low, high = some["metrics"]["top1"]["ci95"]
    assert some["status"] == "partial" and 0 < some["counts"]["pending"] < 9 and 50 * (high - low) <= 30
    order = read_run(settings.results_dir / "run").order
    scored = read_run(settings.results_dir / "run").predictions["video_id"].tolist()
    assert scored == list(order[: len(scored)])  # the beginning of the seeded order: a random sample
    assert verify(settings.results_dir / "run")[1] == []
    again = evaluate_run(replace(settings, until=30.0))
    assert again["counts"] == some["counts"]  # it was enough
    whole = evaluate_run(settings)
    assert whole["status"] == "done" and whole["counts"]["scored"] == 9


def test_until_goes_without_shards_and_with_labels(settings):
    for changes in ({"shard": (1, 2)}, {"predict_only": True}):
        with pytest.raises(UserError, match="--until needs the accuracy of the whole run"):
            replace(settings, until=1.0, **changes)


def test_ids_that_were_seen_in_training_are_left_out(settings, tmp_path):
    (tmp_path / "seen.txt").write_text("red/0.mkv\nred/1.mkv\n")
    report = evaluate_run(replace(settings, exclude_ids=tmp_path / "seen.txt"))
    assert report["counts"]["scored"] == 7 and report["counts"]["population"]["excluded"] == 2
    with pytest.raises(UserError, match="exclude_ids is"):
        evaluate_run(settings)


def test_views_are_kept_and_read_from_one_run(settings):
    report = evaluate_run(replace(settings, views=(4, 1)))
    run = read_run(settings.results_dir / "run")
    assert run.views.shape == (9, 4, 3)
    assert report["accuracy_by_views"] == [{"views": count, "top1": 1.0} for count in (1, 2, 3, 4)]
    assert verify(run.folder)[1] == []


def test_the_ledger_fills_only_what_a_comparable_run_fills(tmp_path):
    path = write_ledger(tmp_path)
    page = path.read_text()
    assert "| demo | 91.25 (demo val, video level, 1 view), the README of vidbench | no run yet |" in page
    assert "| r2plus1d_18 | 67.463 (kinetics-400 val, video level, 5 clips)" in page
    published = {"top1": 91.25, "top5": 100.0, "dataset": "demo", "split": "val", "level": "video", "views": "1x1",
                 "source": "the README of vidbench"}  # fmt: skip
    report = {
        "status": "done", "comparable": True, "published": published, "model": {"name": "demo"},
        "metrics": {"top1": {"value": 0.9, "ci95": [0.85, 0.94]}}, "counts": {"scored": 160, "listed": 160},
        "dataset": {"fingerprint": "ab" * 32}, "environment": {"commit": "0123456789ab"},
    }  # fmt: skip
    for name, changes in (("demo", {}), ("other", {"comparable": False, "counts": {"scored": 999, "listed": 999}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report | changes))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "report.json").write_text("{")
    filled = "90.00 [85.0, 94.0] | 160 of 160 | abababababab | 0123456789ab | [demo](demo/report.md) |"
    assert filled in write_ledger(tmp_path).read_text()
    (tmp_path / "demo" / "report.json").unlink()
    assert filled in write_ledger(tmp_path).read_text()  # what was reproduced elsewhere stays


def test_a_ledger_of_no_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        write_ledger(tmp_path / "typo")


def test_the_ledger_that_ships_has_every_published_accuracy(tmp_path):
    def published(page):
        return [line.split(" | ")[:2] for line in page.splitlines() if line.startswith("| ")]

    assert published((ROOT / "results" / "README.md").read_text()) == published(write_ledger(tmp_path).read_text())
