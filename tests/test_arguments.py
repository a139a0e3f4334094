from dataclasses import fields
from pathlib import Path

import pytest

from vidbench.arguments import EvaluateSettings, ModelSettings, PredictSettings, TrainSettings
from vidbench.commands import as_argfile, parse_settings
from vidbench.utils import UserError


def parsed(*words, settings=EvaluateSettings):
    return parse_settings(settings, list(words), prog="test")


def test_defaults_run_the_demo():
    settings = parsed()
    assert (settings.model_name, settings.dataset, settings.split, settings.top_n) == ("demo", "demo", "val", 5)
    assert settings == EvaluateSettings()


def test_the_prototypes_flags_mean_what_they_meant():
    words = (
        "--model_type i3d --model_trained_on kinetics-400 --kinetics_version 400 --kinetics_split val "
        "--results_dir results --batch_size 8 --num_videos 16 --top_n 5 --num_frames 100 --verbose_logging "
        "--no_cuda --overwrite_output_dir --overwrite_cache"
    )
    settings = parsed(*words.split())
    assert (settings.model_name, settings.dataset, settings.split) == ("i3d-kinetics-400", "kinetics", "val")
    assert (settings.results_dir, settings.batch_size, settings.num_videos) == (Path("results"), 8, 16)
    assert (settings.num_frames, settings.verbose, settings.cuda) == (100, True, False)
    assert settings.overwrite and settings.overwrite_cache


def test_argfiles_hold_comments_and_several_words_a_line_and_later_flags_win(tmp_path):
    file = tmp_path / "a b.txt"
    file.write_text("# a comment\n--batch-size 4  --num_frames 8 # both\n--name 'two words'\n\n--views 10x3\n")
    settings = parsed(f"@{file}", "--batch_size=2")
    assert (settings.batch_size, settings.num_frames, settings.name, settings.views) == (2, 8, "two words", (10, 3))


def test_some_flags_imply_their_data_set():
    assert parsed("--annotations", "x.json").dataset == "annotations"
    assert parsed("--kinetics-version", "600").dataset == "kinetics"


def test_values_that_look_like_flags():
    assert parsed("--value-range", "-1,1").value_range == (-1.0, 1.0)
    with pytest.raises(UserError, match="--num-videos must not be negative, got -5"):
        parsed("--num-videos", "-5")


def test_settings_survive_their_own_argfile(tmp_path):
    settings = parsed(
        "--views", "10x3", "--shard", "2/4", "--classes", "a,b c", "--no-cache", "--value-range=-1,1", "--fold", "2",
        "--data-dir", "x y", "--predict-only", "--dataset", "ucf101",
    )  # fmt: skip
    file = tmp_path / "config.txt"
    file.write_text(as_argfile(settings))
    assert parsed(f"@{file}") == settings


def test_names_with_commas_and_quotes_survive_their_argfile(tmp_path):
    settings = TrainSettings(classes=("a, b", "c", 'say "hi", twice', "it's # 1"), no_flip=("left, then right",))
    file = tmp_path / "config.txt"
    file.write_text(as_argfile(settings))
    assert parsed(f"@{file}", settings=TrainSettings) == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch-size 0", "--batch-size must be positive, got 0"),
        ("--num-frames -3", "--num-frames must be positive"),
        ("--workers -1", "--workers must be positive"),
        ("--decode-timeout 0", "--decode-timeout must be positive"),
        ("--precision half", "--precision must be float32 or bfloat16 or int8, got 'half'"),
        ("--frame-order backwards", "--frame-order must be"),
        ("--views 3", "wanted CLIPSxCROPS"),
        ("--shard 4/3", "wanted I/N"),
        ("--value-range 1", "wanted LO,HI"),
        ("--fold 7", "--fold must be 1, 2 or 3"),
        ("--name ../x", "plain folder name"),
        ("--name ..", "plain folder name"),
        ("--seed -1", "--seed must not be negative"),
        ("--fold 2", "--fold goes with --dataset ucf101 or hmdb51, not demo"),
        ("--dataset demo --kinetics-version 400", "--kinetics-version goes with --dataset kinetics, not demo"),
        ("--annotations x --dataset demo", "--annotations goes with --dataset annotations, not demo"),
        ("@nowhere.txt", "no such argfile: nowhere.txt"),
        ("@.", "unreadable argfile"),
    ],
)
def test_values_of_no_good_are_a_user_error(words, message):
    with pytest.raises(UserError, match=message):
        parsed(*words.split())


def test_an_argfile_with_an_open_quote_is_a_user_error(tmp_path):
    (tmp_path / "x.txt").write_text("--name 'open\n")
    with pytest.raises(UserError, match="unreadable argfile line"):
        parsed(f"@{tmp_path / 'x.txt'}")


def test_wrong_usage_ends_with_status_2_and_the_nearest_flag(capsys):
    for words, hint in ((["--batchsize", "3"], "did you mean --batch-size?"), (["--batch-size", "x"], "invalid int")):
        with pytest.raises(SystemExit) as caught:
            parsed(*words)
        assert caught.value.code == 2 and hint in capsys.readouterr().err


def test_every_setting_has_a_flag_and_a_meaning(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    text = capsys.readouterr().out
    for item in fields(EvaluateSettings):
        assert f"--{item.name.replace('_', '-')}" in text and item.metadata["help"]


def test_predict_takes_videos():
    settings = parsed("a.mp4", "folder", "--json", settings=PredictSettings)
    assert settings.videos == ("a.mp4", "folder")
    assert isinstance(settings, ModelSettings) and settings.json


def test_training_flags_of_several_words_and_of_none():
    words = "--train-resize-size 128 171 --train-crop-size 112 --lr-milestones 20 30 --short-side 96,112 --mlflow"
    settings = parsed(*words.split(), settings=TrainSettings)
    assert (settings.train_resize_size, settings.train_crop_size) == ((128, 171), (112, 112))
    assert (settings.milestones, settings.short_side, settings.mlflow) == ((20, 30), (96, 112), "local")
    assert parsed("--mlflow", "http://host:5000", settings=TrainSettings).mlflow == "http://host:5000"
    assert parsed(*as_argfile(settings).split(), settings=TrainSettings) == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--short-side 96", "--short-side: wanted 2 numbers, none negative, got '96'"),
        ("--train-crop-size 0", "--train-crop-size: a size in pixels is positive"),
        ("--milestones soon", "--milestones: wanted 1 to 99 numbers"),
        ("--clip-len 8 --clip-seconds 2", "--clip-len and --clip-seconds say the same"),
        ("--auto-scale-lr", "--auto-scale-lr and --base-batch-size N"),
        ("--base-batch-size 8", "--auto-scale-lr and --base-batch-size N"),
        ("--cache-train --no-cache", "contradict each other"),
        ("--export none,onnx", "contradict each other"),
        ("--probe --mlflow", "--probe is done in one go"),
        ("--val-only --probe", "exclude each other"),
        ("--num-processes 2", "--coordinator HOST:PORT, --num-processes N and --process-id I go together"),
        ("--coordinator a:1", "--coordinator HOST:PORT, --num-processes N and --process-id I go together"),
        ("--coordinator a:1 --num-processes 2 --process-id 2", "--process-id must be 0 to 1, got 2"),
        ("--export onyx", "--export must be onnx, saved_model, openvino, none, got 'onyx'"),
        ("--save-minutes -1", "--save-minutes must"),
        ("--gt-csv x", "--gt-csv goes with --dataset frames, not demo"),
    ],
)
def test_training_settings_that_cannot_be(words, message):
    with pytest.raises(UserError, match=message):
        parsed(*words.split(), settings=TrainSettings)


def test_jax_alone_finds_the_other_processes():
    assert parsed("--coordinator", "auto", settings=TrainSettings).coordinator == "auto"
