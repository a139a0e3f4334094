"""The hand-over: a script that says what the kit says, with neither TensorFlow nor the kit, and a card that is true."""

import ast
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import keras
import numpy as np
import pytest
from conftest import moving_square, write_video
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from vidbench import handover
from vidbench.arguments import PredictSettings
from vidbench.data.process import assemble_views, process_frame
from vidbench.data.protocol import Protocol, protocol_in_words
from vidbench.data.video_file import to_rgb
from vidbench.export import export_model
from vidbench.handover import SCRIPT, finish_swap, write_handover
from vidbench.handover.card import model_card
from vidbench.handover.classify import crops, indices
from vidbench.models import Published, load_model, network_classifier
from vidbench.models.spec import Spec
from vidbench.run import predict_files
from vidbench.runtimes import on_jax
from vidbench.utils import UserError

if on_jax():
    pytest.skip("exporting runs on TensorFlow", allow_module_level=True)

PROTOCOL = Protocol(num_frames=4, resize="exact", resize_to=(16, 16), crop=None)
CLASSES = ("jump", "run", "sit", "stand", "wave", "yawn | sleep")
PROTOCOLS = {
    "whole": PROTOCOL,
    "whole, two clips, short side": replace(PROTOCOL, clips=2, resize="short_side", resize_to=(18, 18), crop=(16, 16)),
    "clips": replace(PROTOCOL, sampling="clips", frame_rate=4.0, clips=3, resize="square_crop"),
    "clips at an even rate": replace(PROTOCOL, sampling="clips", frame_rate=5.0, clips=2, resize="square_pad"),
    "strided, three crops": replace(
        PROTOCOL, sampling="strided", stride=2, clips=2, crops=3, resize="short_side", resize_to=(17, 17), crop=(16, 16)
    ),
    "a square, then a crop": replace(PROTOCOL, resize="square_crop", resize_to=(21, 21), crop=(16, 16)),
}  # fmt: skip


def spec_of(protocol):
    return Spec("flat", CLASSES, protocol, domain="squares", value_range=(-1.0, 1.0))


@pytest.fixture(scope="module")
def classifier():
    """Every pixel has a weight of its own: another frame, or the frame a pixel further, gives other probabilities."""
    keras.utils.set_random_seed(0)
    frames = layers.Input((4, 16, 16, 3), name="frames")
    x = layers.Flatten(name="flat")(frames)
    start = keras.initializers.RandomNormal(stddev=0.03, seed=0)
    return network_classifier(
        keras.Model(frames, layers.Dense(6, kernel_initializer=start, name="logits")(x), name="flat"), spec_of(PROTOCOL)
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Ordinary H.264, upright and lying, an odd size without loss, and one of three frames."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "wide.mp4", noisy(23, 48, 64), fps=10, codec="libx264", crf="10")
    write_video(folder / "tall.mp4", noisy(37, 64, 48), fps=25, codec="libx264", crf="10")
    write_video(folder / "odd.mkv", noisy(19, 25, 33), fps=12)
    write_video(folder / "short.mkv", noisy(3, 24, 32), fps=10)
    return folder


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    """model.onnx, whose spec the tests change as they please."""
    folder = tmp_path_factory.mktemp("exported")
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
    export_model(classifier, folder, clips=clips)
    return folder / "model.onnx"


def noisy(num_frames, height, width):
    """A moving square over noise: no two frames, and no two places, are alike."""
    noise = np.random.default_rng(height).integers(0, 120, (num_frames, height, width, 3))
    return (moving_square(num_frames, height, width) // 2 + noise).astype(np.uint8)


def with_protocol(exported, folder, protocol):
    """The exported model in `folder` under another protocol, which stands in its metadata alone."""
    import onnx

    model = onnx.load(exported)
    told = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, told | {"spec": json.dumps(spec_of(protocol).to_dict())})
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def run_script(folder, monkeypatch, capsys, *words):
    """What `classify.py` prints; it runs in this process, which spares the imports."""
    monkeypatch.setattr(sys, "argv", [str(folder / "classify.py"), *map(str, words)])
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    capsys.readouterr()
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_script_says_what_the_kit_says(name, exported, videos, tmp_path, monkeypatch, capsys):
    model = with_protocol(exported, tmp_path, PROTOCOLS[name])
    answers = predict_files(PredictSettings(model=str(model), videos=(str(videos),), top_n=6))
    assert len(answers) == 4
    for answer in answers:
        got = json.loads(run_script(tmp_path, monkeypatch, capsys, answer["video"], "--json", "--top", 6))
        assert got["video"] == answer["video"]
        assert [g["class"] for g in got["predictions"]] == [g["class"] for g in answer["predictions"]]
        for ours, theirs in zip(got["predictions"], answer["predictions"], strict=True):
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
        assert sum(guess["probability"] for guess in got["predictions"]) == pytest.approx(1)


def test_videos_that_are_too_short_are_refused_where_the_protocol_says_so(
    exported, videos, tmp_path, monkeypatch, capsys
):
    for protocol in (PROTOCOL, PROTOCOLS["clips"], replace(PROTOCOLS["strided, three crops"], stride=9)):
        model = with_protocol(exported, tmp_path, replace(protocol, short_videos="fail"))
        path = str(videos / "short.mkv")
        (answer,) = predict_files(PredictSettings(model=str(model), videos=(path,)))
        with pytest.raises(ValueError, match=rf"^{answer['error']}$"):
            run_script(tmp_path, monkeypatch, capsys, path)


def test_a_person_gets_a_table(exported, videos, tmp_path, monkeypatch, capsys):
    with_protocol(exported, tmp_path, PROTOCOL)
    printed = run_script(tmp_path, monkeypatch, capsys, videos / "wide.mp4", "--top", 2)
    answer = json.loads(run_script(tmp_path, monkeypatch, capsys, videos / "wide.mp4", "--json"))
    assert len(answer["predictions"]) == 5
    assert printed == "".join(f"{g['probability']:7.2%}  {g['class']}\n" for g in answer["predictions"][:2])


rates = st.sampled_from([7.5, 10.0, 12.5, 15.0, 17.5, 24000 / 1001, 24.0, 25.0, 29.97, 30.0, 30000 / 1001, 60.0])


@given(
    st.integers(1, 400), rates, st.sampled_from(["whole", "clips", "strided"]), st.integers(1, 33), st.integers(1, 10),
    st.integers(1, 12), rates, st.sampled_from(["fail", "repeat"]),
)  # fmt: skip
def test_it_takes_the_same_frames(total, fps, sampling, num_frames, clips, stride, rate, short_videos):
    given = {"sampling": sampling, "num_frames": num_frames, "clips": clips, "short_videos": short_videos}
    protocol = Protocol(**given, stride=stride, frame_rate=rate, target_fps=rate)
    try:
        wanted = protocol.indices(total, fps)
    except ValueError as problem:
        with pytest.raises(ValueError, match=rf"^{problem}$"):
            indices(total, fps, protocol.to_dict())
    else:
        np.testing.assert_array_equal(indices(total, fps, protocol.to_dict()), wanted)


@given(
    st.integers(2, 60), st.integers(2, 60), st.sampled_from(["square_crop", "square_pad", "short_side", "exact"]),
    st.integers(4, 30), st.integers(4, 30), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 1, 3]),
    st.sampled_from(["rgb24", "yuv420p", "yuvj420p"]),
)  # fmt: skip
def test_it_makes_the_same_pixels(height, width, resize, high, wide, less, lesser, number, pixels):
    if resize == "short_side":
        number, wide = number or 1, high
    crop = (high - less, wide - lesser) if number else None
    protocol = Protocol(resize=resize, resize_to=(high, wide), crop=crop, crops=max(number, 1))
    image = np.random.default_rng(0).integers(0, 256, (2 * height, 2 * width, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    wanted = process_frame(np.ascontiguousarray(to_rgb(frame)), protocol)
    wanted = assemble_views(wanted[None], np.array([[0]]), protocol)[:, 0]
    np.testing.assert_array_equal(crops(frame, protocol.to_dict()), wanted)


def test_the_script_is_short_and_needs_four_libraries():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 80
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names}
    assert names - set(sys.stdlib_module_names) == {"av", "cv2", "numpy", "onnxruntime"}


@pytest.fixture
def hand(classifier, videos, tmp_path):
    return write_handover(tmp_path / "hand", classifier, videos / "wide.mp4", {"licence": "CC BY 4.0"})


def bare_environment(folder):
    """The Python of a new virtual environment that has nothing but the four libraries, by links to those here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    place = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    for name in ("av", "cv2", "numpy", "onnxruntime"):
        package = Path(importlib.util.find_spec(name).origin).parent
        libraries = {"cv2": "opencv_python_headless"}.get(name, name)
        for part in (package, *package.parent.glob(f"{libraries}.libs")):
            (place / part.name).symlink_to(part)
    return python


@pytest.mark.skipif(os.name != "posix", reason="links to packages")
def test_it_runs_without_tensorflow_and_without_the_kit(hand, tmp_path):
    python = bare_environment(tmp_path / "bare")

    def run(*words):
        return subprocess.run([python, *words], cwd=hand, env={"PATH": os.defpath}, capture_output=True, text=True)

    for name in ("tensorflow", "keras", "vidbench"):
        done = run("-c", f"import {name}")
        assert done.returncode == 1 and f"No module named '{name}'" in done.stderr
    done = run("classify.py", "example.mp4", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    got, expected = json.loads(done.stdout), json.loads((hand / "expected.json").read_text())
    assert got["video"] == expected["video"] == "example.mp4" and len(got["predictions"]) == 5
    for ours, theirs in zip(got["predictions"], expected["predictions"], strict=True):
        assert ours["class"] == theirs["class"]
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-4)
    (hand / "broken.mp4").write_bytes(b"no video, though long enough for one" * 40)
    with av.open(str(hand / "tone.wav"), "w") as box:
        sound = box.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        tone.sample_rate = 8000
        box.mux(sound.encode(tone))
    for name, told in (
        ("nothing.mp4", "No such file or directory"),
        ("broken.mp4", "Invalid data found when processing input"),
        ("tone.wav", "no video stream"),
    ):
        done = run("classify.py", name)
        assert (done.returncode, done.stderr) == (1, f"error: {told}\n")


def test_the_folder_holds_what_it_should(hand, classifier, videos):
    assert {path.name for path in hand.iterdir()} == {
        "model.onnx", "model.json", "classify.py", "example.mp4", "expected.json", "MODEL_CARD.md",
    }  # fmt: skip
    assert (hand / "example.mp4").read_bytes() == (videos / "wide.mp4").read_bytes()
    assert (hand / "classify.py").read_bytes() == SCRIPT.read_bytes()
    assert json.loads((hand / "model.json").read_text())["licence"] == "CC BY 4.0"
    expected = json.loads((hand / "expected.json").read_text())
    (answer,) = predict_files(PredictSettings(model=str(hand / "model.onnx"), videos=(str(videos / "wide.mp4"),)))
    assert expected["predictions"] == answer["predictions"]
    card = (hand / "MODEL_CARD.md").read_text()
    assert load_model(hand / "model.onnx").weights_sha256 in card and "CC BY 4.0" in card


def test_an_earlier_hand_over_is_replaced_as_a_whole(hand, classifier, videos):
    write_handover(hand, classifier, videos / "odd.mkv", {})
    assert {path.name for path in hand.iterdir() if path.name.startswith("example")} == {"example.mkv"}
    assert json.loads((hand / "expected.json").read_text())["video"] == "example.mkv"
    assert [path.name for path in hand.parent.iterdir()] == ["hand"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_swap_that_was_killed_loses_nothing(tmp_path, swapped):
    """Killed with the old folder put aside, before or after the new one has its place."""
    hand, old = tmp_path / "hand", tmp_path / ".hand-abcdefgh" / "old"
    for kind in ("saved_model", "openvino"):
        (old / kind).mkdir(parents=True)
        (old / kind / "weights").write_text("old")
    (old / "model.onnx").write_text("old")
    if swapped:
        (hand / "openvino").mkdir(parents=True)
        for name in ("model.onnx", "openvino/weights"):
            (hand / name).write_text("new")
    (tmp_path / ".hand-y-abcdefgh").mkdir()  # another folder's
    finish_swap(hand)
    assert {path.name for path in tmp_path.iterdir()} == {"hand", ".hand-y-abcdefgh"}
    found = {str(path.relative_to(hand)): path.read_text() for path in hand.rglob("*") if path.is_file()}
    now = "new" if swapped else "old"
    assert found == {"model.onnx": now, "openvino/weights": now, "saved_model/weights": "old"}


def test_what_cannot_be_handed_over_says_why_and_leaves_nothing(classifier, videos, tmp_path, monkeypatch):
    target = tmp_path / "hand"
    with pytest.raises(UserError, match="there is no example video"):
        write_handover(target, classifier, videos / "gone.mp4", {})
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UserError, match=r"the example .*empty.mp4 cannot be used: empty file"):
        write_handover(target, classifier, tmp_path / "empty.mp4", {})
    with pytest.raises(UserError, match="unknown fact 'license'; did you mean 'licence'"):
        write_handover(target, classifier, videos / "wide.mp4", {"license": "MIT"})
    with pytest.raises(UserError, match="the fact 'counts' of a model card cannot be 5"):
        write_handover(target, classifier, videos / "wide.mp4", {"counts": 5})
    monkeypatch.setattr(handover, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(UserError, match=r"classify.py gives \S+ 0.\d+ for the example example.mp4, vidbench 0.\d+"):
        write_handover(target, classifier, videos / "wide.mp4", {})
    assert not target.exists() and [path.name for path in tmp_path.iterdir()] == ["empty.mp4"]
    target.mkdir()
    (target / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"holds 'thesis\.txt', which is no part of a hand-over"):
        write_handover(target, classifier, videos / "wide.mp4", {})


FACTS = {
    "dataset": "Squares 2",
    "counts": {"train": 2400, "val": 160},
    "metrics": {
        "top1": {"value": 0.925, "ci95": [0.873, 0.957], "level": "video", "chance": 0.125},
        "mean_class_accuracy": {"value": 0.9, "ci95": [0.85, 0.95], "level": "video"},
    },
    "scored_on": "val, 160 videos",
    "per_class": {"run": 0.5, "yawn | sleep": 1.0},
    "limits": ["Only squares of one colour."],
    "licence": "CC BY 4.0",
    "recipe": "24 epochs from scratch",
}


def test_the_card_tells_the_facts():
    published = (Published(71.1, 89.3, "kinetics-400", "val", "video", "10x3", "a paper"),)
    spec = replace(spec_of(PROTOCOL), published=published, provenance={"seed": 3}, mean=(0.5,) * 3, std=(0.25,) * 3)
    card = model_card(spec, FACTS, "example.avi", "ab" * 32, "cd" * 32)
    for line in (
        "# flat", "0. jump", "5. yawn | sleep", "Trained on: Squares 2.", "| train | 2,400 |", "| val | 160 |",
        "Measured on: val, 160 videos.", "| top-1 accuracy | 92.50% | 87.3% to 95.7% | video | 12.5% |",
        "| mean class accuracy | 90.00% | 85.0% to 95.0% | video | not stated |", "| run | 50.0% |",
        "| yawn \\| sleep | 100.0% |", "- It has seen: squares. Of anything else its answers mean little.",
        "- Only squares of one colour.", "CC BY 4.0", "- recipe: 24 epochs from scratch", "- seed: 3",
        f"- sha256 of the weights it was made of: {'cd' * 32}", f"- sha256 of model.onnx: {'ab' * 32}",
        "python classify.py example.avi --json",
    ):  # fmt: skip
        assert line in card.splitlines(), line
    assert "Published of these weights: 71.1 / 89.3 % (top-1 / top-5) on kinetics-400 val, video level, 10x3" in card
    assert "pixels 0 and 255 become -1 and 1, then (value - mean) / std a channel, mean 0.5, 0.5, 0.5, std 0.25" in card


def test_the_card_invents_nothing():
    card = model_card(spec_of(PROTOCOL), {}, "example.mp4", "ab" * 32, None)
    sections = dict(part.split("\n", 1) for part in card.split("\n## ")[1:])
    assert sections["Licence of the weights"].strip() == "not stated"
    assert sections["Data"].count("not stated") == 2 and sections["Accuracy"].count("not stated") == 3
    assert sections["Limits"].count("not stated") == 1 and sections["How it was made"].count("not stated") == 2
    assert "%" not in sections["Accuracy"].replace("95 %", "") and "CC BY" not in card


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (
            PROTOCOL,
            "4 frames, evenly spread over the whole video; the frame is scaled to 16 × 16 (height × width). A video "
            "with too few frames shows some of its frames more than once.",
        ),
        (
            PROTOCOLS["whole, two clips, short side"],
            "8 frames, evenly spread over the whole video, dealt out in turn to 2 clips of 4; the shorter side is "
            "scaled to 18, then 16 × 16 is cut from the middle. A video with too few frames shows some of its frames "
            "more than once. The probabilities of the 2 views are averaged.",
        ),
        (
            replace(PROTOCOLS["clips"], short_videos="fail"),
            "3 runs, at even distances from the beginning to the end, of 4 consecutive frames at 4 frames a second; "
            "the middle square is cut out and scaled to 16 × 16. A video with too few frames is refused. The "
            "probabilities of the 3 views are averaged.",
        ),
        (
            PROTOCOLS["strided, three crops"],
            "2 windows, their beginnings evenly spread over the video, of 4 frames, each 2 apart at 30 a second; the "
            "shorter side is scaled to 17, then 16 × 16 is cut at three places along the longer side. A video with "
            "too few frames shows some of its frames more than once. The probabilities of the 6 views are averaged.",
        ),
    ],
)
def test_a_protocol_in_words(protocol, words):
    assert protocol_in_words(protocol) == words
