"""Converted models give TensorFlow's logits, are made once, and are never calibrated with what is scored."""

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import moving_square, solid, write_video
from test_export import SAME, SPEC, small_network, thin_classifier

from vidbench import convert as conversion
from vidbench.arguments import EvaluateSettings, PredictSettings
from vidbench.calibration import find_calibration, on_runtime
from vidbench.convert import Calibration, agreement, convert
from vidbench.data.records import Video
from vidbench.export import export_model
from vidbench.models import load_model, network_classifier
from vidbench.models.registry import ARCHITECTURES
from vidbench.prepare import list_videos, load_classifier
from vidbench.results import read_report
from vidbench.run import evaluate_run, predict_files
from vidbench.runtimes import devices, on_jax
from vidbench.runtimes.openvino import openvino
from vidbench.runtimes.quantization import LAST
from vidbench.utils import UserError

if on_jax():
    pytest.skip("models are converted from TensorFlow", allow_module_level=True)

ROOT = Path(__file__).parents[1]
BOTH = ("openvino", "onnxruntime")
ALLOWED = {"float32": 1e-4, "bfloat16": 0.05}  # of the logits' spread


@pytest.fixture(scope="module")
def classifier():
    return network_classifier(small_network(), SPEC)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 16, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def calibration():
    others = np.random.default_rng(1).integers(0, 256, (6, 4, 16, 12, 3), dtype=np.uint8)
    return Calibration("noise", "noise", lambda: others)


def feeding(operation):
    """What feeds an operation of OpenVINO, transposing aside."""
    node = operation.input_value(0).get_node()
    return feeding(node) if node.get_type_name() == "Transpose" else node.get_type_name()


def never():
    raise AssertionError("this is known already")


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(SAME)))
def test_every_architecture_agrees_on_openvino(name, tmp_path, monkeypatch):
    """As ONNX they are all compared in test_export.py, by the same converter."""
    classifier, clips = thin_classifier(name, monkeypatch)
    for precision in ("float32", "bfloat16"):
        converted = convert(classifier, "openvino", precision, tmp_path, lambda: clips)
        assert (converted.runtime, converted.precision) == ("openvino", precision)
        assert converted.conversion["clips"] == 2
        assert converted.conversion["largest_error"] < ALLOWED[precision]
    keras.utils.clear_session()


@pytest.mark.parametrize("runtime", BOTH)
def test_int8_calculates_in_int8_but_for_the_logits(classifier, clips, calibration, tmp_path, runtime):
    converted = convert(classifier, runtime, "int8", tmp_path, lambda: clips, calibration)
    assert converted.precision == "int8" and converted.conversion["calibration"] == "6 clips of noise"
    assert 0 < converted.conversion["largest_error"] < 0.1
    (place,) = tmp_path.iterdir()
    if runtime == "openvino":
        operations = openvino().Core().read_model(place / "model.xml").get_ordered_ops()
        products = {op.get_friendly_name(): op for op in operations if op.get_type_name() in ("Convolution", "MatMul")}
        fed = {name: feeding(op) for name, op in products.items()}
        assert fed.pop(LAST) != "FakeQuantize" and set(fed.values()) == {"FakeQuantize"}
    else:
        import onnx

        nodes = onnx.load(place / "model.onnx").graph.node
        made_by = {name: node.op_type for node in nodes for name in node.output}
        weights = {
            node.name: made_by.get(node.input[1]) for node in nodes if node.op_type in ("Conv", "MatMul", "Gemm")
        }
        assert weights.pop(LAST) != "DequantizeLinear" and set(weights.values()) == {"DequantizeLinear"}


def test_a_conversion_is_made_and_checked_once(classifier, clips, tmp_path, monkeypatch):
    first = convert(classifier, "openvino", "float32", tmp_path, lambda: clips)
    monkeypatch.setattr(conversion, "_built", lambda *anything: never())
    again = convert(classifier, "openvino", "float32", tmp_path, never)
    assert again.conversion == first.conversion
    np.testing.assert_array_equal(again(clips), first(clips))
    checked = []
    convert(classifier, "openvino", "bfloat16", tmp_path, lambda: checked.append(1) or clips)  # the same file
    monkeypatch.setattr(conversion, "cpu_name", lambda: "another processor")
    convert(classifier, "openvino", "float32", tmp_path, lambda: checked.append(1) or clips)
    assert checked == [1, 1]


def flipped(place):
    path = place / "model.bin"
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


def truncated(place):
    path = place / "model.bin"
    path.write_bytes(path.read_bytes()[:20])


def without_model(place):
    (place / "model.xml").unlink()


def half_a_record(place):
    path = place / "conversion.json"
    path.write_text(path.read_text()[:30])


def no_record_at_all(place):
    (place / "conversion.json").write_text("[]")


@pytest.mark.parametrize("damage", [flipped, truncated, without_model, half_a_record, no_record_at_all])
def test_a_damaged_conversion_is_made_anew(classifier, clips, tmp_path, damage):
    first = convert(classifier, "openvino", "float32", tmp_path, lambda: clips)
    wanted = first(clips)
    (place,) = tmp_path.iterdir()
    damage(place)
    again = convert(classifier, "openvino", "float32", tmp_path, lambda: clips)
    np.testing.assert_array_equal(again(clips), wanted)
    assert again.conversion == first.conversion
    assert list(tmp_path.iterdir()) == [place]
    convert(classifier, "openvino", "float32", tmp_path, never)  # whole again


def test_where_another_process_was_faster_its_conversion_stays(classifier, clips, tmp_path, monkeypatch):
    built = conversion._built

    def slow(*words):
        monkeypatch.setattr(conversion, "_built", built)
        convert(classifier, "onnxruntime", "float32", tmp_path, lambda: clips)
        return built(*words)

    monkeypatch.setattr(conversion, "_built", slow)
    converted = convert(classifier, "onnxruntime", "float32", tmp_path, never)
    np.testing.assert_allclose(converted(clips), classifier(clips), atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 1 and converted.conversion["not_kept"] is None


@pytest.mark.parametrize("runtime", BOTH)
def test_a_conversion_that_cannot_be_kept_is_used_all_the_same(classifier, clips, tmp_path, runtime, caplog):
    (tmp_path / "file").write_text("no folder")
    converted = convert(classifier, runtime, "float32", tmp_path / "file" / "converted", lambda: clips)
    np.testing.assert_allclose(converted(clips), classifier(clips), atol=1e-5)
    assert "Not a directory" in converted.conversion["not_kept"] and "each start makes it anew" in caplog.text


def test_the_report_notes_a_conversion_that_was_not_kept(settings, two_splits):
    (two_splits / "file").write_text("no folder")
    report = evaluate_run(replace(settings, runtime="openvino", cache_dir=two_splits / "file" / "cache"))
    assert report["metrics"]["top1"]["value"] == 1.0
    assert any(note.startswith("the converted model was not kept (") for note in report["dataset"]["notes"])


def test_another_network_with_the_same_weights_is_another_conversion(clips, tmp_path):
    """Published weights have the checkpoint's digest, whatever our code makes of it."""
    for activation in ("relu", "tanh"):
        network = small_network()
        logits = keras.layers.Activation(activation, name="last")(network.output)
        model = network_classifier(keras.Model(network.input, logits), SPEC, weights_sha256="the same")
        converted = convert(model, "onnxruntime", "float32", tmp_path, lambda: clips)
        np.testing.assert_allclose(converted(clips), model(clips), atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_content_is_another_conversion(classifier, clips, calibration, tmp_path):
    other = small_network()
    other.get_layer("logits_dense").bias.assign([0.0, 0.0, 0.5])
    for model, told in (
        (classifier, calibration),
        (classifier, replace(calibration, key="other clips")),
        (network_classifier(other, SPEC), calibration),
        (network_classifier(small_network(), replace(SPEC, mean=(0.1, 0.2, 0.3))), calibration),
        (network_classifier(small_network(), replace(SPEC, name="renamed")), calibration),
    ):
        converted = convert(model, "openvino", "int8", tmp_path, lambda: clips, told)
        assert agreement(model, converted, clips)["largest_error"] < 0.1
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("runtime", BOTH)
def test_a_conversion_that_does_not_agree_is_refused_every_time(classifier, clips, tmp_path, monkeypatch, runtime):
    wrong = network_classifier(small_network(), replace(SPEC, value_range=(-1.0, 1.0))).traced(4, (16, 12))
    monkeypatch.setattr(classifier, "traced", lambda *view: wrong)
    for _ in range(2):
        with pytest.raises(UserError, match=r"does not agree with TensorFlow: off by [\d.]+ of the logits' spread"):
            convert(classifier, runtime, "float32", tmp_path, lambda: clips)


def test_agreement_by_hand():
    def answers(logits):
        return lambda clips: np.array(logits, np.float32)

    told = agreement(answers([[0, 4], [1, 0]]), answers([[0, 3.5], [1, 1.5]]), np.zeros(2))
    assert told == {"clips": 2, "largest_error": 1.5 / 4, "same_top1": 0.5}


def test_saved_models_are_converted_too(classifier, clips, calibration, tmp_path):
    export_model(classifier, tmp_path, ["saved_model"], "float32", clips=clips)
    model = load_model(tmp_path / "saved_model")
    for runtime in BOTH:
        converted = convert(model, runtime, "float32", tmp_path / "converted", lambda: clips)
        np.testing.assert_allclose(converted(clips), classifier(clips), atol=1e-5)
        assert converted.weights_sha256 == model.weights_sha256


def test_what_cannot_be_had_is_one_line(classifier, clips, tmp_path, monkeypatch, caplog):
    for runtime, precision, message in (
        ("onnxruntime", "bfloat16", "onnxruntime does not run in bfloat16: choose the runtime tensorflow or jax or op"),
        ("openvino", "int8", "int8 needs clips to calibrate with, other ones than are scored: --calibration-dir DIR"),
        ("openvino", "int4", "precision must be one of float32, bfloat16, int8, got 'int4'"),
        ("openvimo", "int8", "unknown runtime to convert to 'openvimo'; did you mean 'openvino'"),
    ):
        with pytest.raises(UserError, match=message):
            convert(classifier, runtime, precision, tmp_path, lambda: clips)
    half = network_classifier(small_network(), SPEC, "bfloat16")
    with pytest.raises(UserError, match="small runs on tensorflow in bfloat16: only TensorFlow"):
        convert(half, "openvino", "float32", tmp_path, lambda: clips)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(devices, "has_arithmetic", lambda precision: False)
    with caplog.at_level(logging.WARNING):
        convert(classifier, "openvino", "bfloat16", tmp_path, lambda: clips)
    assert "this CPU has no bfloat16 arithmetic" in caplog.text


@pytest.mark.parametrize(
    ("module", "wanted", "extra"),
    [
        ("openvino", ("openvino", "float32"), "openvino"),
        ("nncf", ("openvino", "int8"), "openvino"),
        ("onnxruntime", ("onnxruntime", "float32"), "export"),
        ("tf2onnx", ("onnxruntime", "float32"), "export"),
    ],
)
def test_a_missing_library_is_named(classifier, clips, calibration, tmp_path, monkeypatch, module, wanted, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"^{module} is not here; it comes with: pip install -e .\[{extra}\]$"):
        convert(classifier, *wanted, tmp_path, lambda: clips, calibration)


def test_nncf_is_imported_without_its_statistics(classifier, clips, calibration, tmp_path):
    convert(classifier, "openvino", "int8", tmp_path, lambda: clips, calibration)
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


@pytest.fixture
def two_splits(color_folder):
    """The colours with a train split: three videos of its own, one that is a link to a val video."""
    for name, color in (("red", (255, 30, 60)), ("green", (30, 255, 20)), ("blue", (0, 20, 255))):
        (color_folder / "train" / name).mkdir(parents=True)
        write_video(color_folder / "train" / name / f"own-{name}.mkv", solid(color, 7))
    (color_folder / "train" / "red" / "again.mkv").symlink_to(color_folder / "val" / "red" / "0.mkv")
    return color_folder


def test_calibration_takes_another_split_and_nothing_that_is_scored(two_splits, settings, color_model):
    model = load_model(color_model)
    wanted = replace(settings, precision="int8", data_dir=two_splits, cache_dir=two_splits / "cache")
    scored = list_videos(wanted)[1]
    found = find_calibration(wanted, scored, model.spec.protocol)
    assert found.title == "folder train"
    assert sorted(clip[0, 0, 0].tolist() for clip in found.clips()) == [[0, 20, 255], [30, 255, 20], [255, 30, 60]]
    fewer = find_calibration(wanted, scored[:0], model.spec.protocol)  # where nothing of val is scored
    assert len(fewer.clips()) == 4 and fewer.key != found.key
    own = two_splits / "elsewhere"
    own.mkdir()
    write_video(own / "bars.mkv", moving_square(8))
    (own / "note.txt").write_text("no video")
    named = find_calibration(replace(wanted, calibration_dir=own), scored, model.spec.protocol)
    assert named.title == str(own) and len(named.clips()) == 1
    with pytest.raises(UserError, match=r"all 9 of .* are scored, or not here: --calibration-dir DIR"):
        find_calibration(replace(wanted, calibration_dir=two_splits / "val"), scored, model.spec.protocol)


def test_copies_and_other_parts_of_what_is_scored_do_not_calibrate(tmp_path):
    """A name as Kinetics, UCF101 and HMDB51 have them tells the recording, a copy's content what it is."""
    scored, own = [], tmp_path / "own"
    for number, (name, group) in enumerate(
        (("a_bcdefghij_000001_000011", "a_bcdefghij"), ("v_Swing_g01_c01", "Swing_g01"))
    ):
        path = write_video(tmp_path / "val" / f"{name}.mkv", solid((9 * number, 0, 0)))
        scored.append(Video(name, path, group=group))
    for name in ("a_bcdefghij_000050_000060", "v_Swing_g01_c04", "v_Swing_g02_c01", "other"):
        write_video(own / f"{name}.mkv", solid((0, 0, len(name))))
    shutil.copy(scored[0].path, own / "renamed.mkv")
    os.link(scored[1].path, own / "linked.mkv")
    wanted = PredictSettings(precision="int8", calibration_dir=own, cache_dir=tmp_path / "cache")
    protocol = replace(SPEC.protocol, resize="exact", resize_to=(8, 8), crop=None)
    assert sorted(find_calibration(wanted, scored, protocol).clips()[:, 0, 0, 0, 2]) == [5, 15]


def test_a_broken_calibration_video_is_not_counted(settings, two_splits):
    (two_splits / "train" / "red" / "broken.mkv").write_bytes(b"no video")
    report = evaluate_run(replace(settings, data_dir=two_splits, cache_dir=two_splits / "cache", precision="int8"))
    told = read_report(Path(report["folder"]))["model"]["conversion"]
    assert told["calibration"] == "3 clips of folder train"


def test_no_clips_to_calibrate_with(settings, color_folder, tmp_path):
    protocol, scored = SPEC.protocol, list_videos(settings)[1]
    with pytest.raises(UserError, match="no other split of folder is here: --calibration-dir DIR"):
        find_calibration(settings, scored, protocol)
    with pytest.raises(UserError, match="is no folder"):
        find_calibration(replace(settings, calibration_dir=tmp_path / "gone"), scored, protocol)
    with pytest.raises(UserError, match=r"--calibration-dir DIR$"):
        find_calibration(PredictSettings(precision="int8"), [], protocol)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.mp4").write_bytes(b"no video")
    bad = find_calibration(replace(settings, calibration_dir=tmp_path / "bad"), scored, protocol)
    with pytest.raises(UserError, match="none of the videos can be read"):
        bad.clips()


def test_the_demo_is_calibrated_with_drawn_clips_of_its_train_split(tmp_path):
    wanted = EvaluateSettings(precision="int8", calibration_clips=3, cache_dir=tmp_path)
    found = find_calibration(wanted, list_videos(wanted)[1], load_model("demo").spec.protocol)
    assert found.title == "demo train" and found.clips().shape == (3, 16, 96, 128, 3)


@pytest.mark.parametrize(
    ("words", "runtime"),
    [
        ({"runtime": "openvino"}, "openvino"),
        ({"runtime": "onnxruntime"}, "onnxruntime"),
        ({"precision": "int8"}, "openvino"),
    ],
)
def test_a_run_on_another_runtime(settings, two_splits, words, runtime):
    wanted = replace(settings, data_dir=two_splits, cache_dir=two_splits / "cache", **words)
    report = evaluate_run(wanted)
    assert report["metrics"]["top1"]["value"] == 1.0
    told = read_report(Path(report["folder"]))["model"]
    assert told["runtime"] == runtime and told["conversion"]["same_top1"] == 1.0
    assert (two_splits / "cache" / "converted").is_dir()
    assert f"({runtime}, " in (Path(report["folder"]) / "report.md").read_text()
    with pytest.raises(UserError, match="runtime"):
        evaluate_run(replace(wanted, runtime="tensorflow", precision="float32"))


def test_other_calibration_clips_are_another_run(settings, two_splits):
    wanted = replace(settings, data_dir=two_splits, cache_dir=two_splits / "cache", precision="int8")
    evaluate_run(wanted)
    write_video(two_splits / "train" / "red" / "more.mkv", solid((250, 250, 250), 7))
    with pytest.raises(UserError, match="calibration"):
        evaluate_run(wanted)


def test_videos_of_one_s_own_on_another_runtime(color_model, color_folder, tmp_path):
    videos = tuple(sorted((color_folder / "val" / "red").iterdir()))
    words = {"videos": videos, "model": str(color_model), "cache_dir": tmp_path}
    answers = predict_files(PredictSettings(runtime="onnxruntime", **words))
    assert [answer["predictions"][0]["class"] for answer in answers] == ["red"] * 3


def test_a_runtime_that_cannot_run_the_model(color_model, tmp_path):
    model = load_model(color_model)
    path = tmp_path / "model"
    export_model(model, path, ["onnx"], clips=np.zeros((1, 4, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    onnx = load_model(path / "model.onnx")
    for loaded, words, message in (
        (onnx, {"runtime": "openvino"}, "brightest runs on onnxruntime in float32, not on openvino in float32"),
        (onnx, {"precision": "int8"}, "brightest runs on onnxruntime in float32, not on onnxruntime in int8"),
        (model, {"runtime": "tensorflow", "precision": "int8"}, "tensorflow does not run in int8: choose the runtime"),
        (model, {"runtime": "jax"}, "was loaded for TensorFlow: set KERAS_BACKEND=jax"),
    ):
        with pytest.raises(UserError, match=message):
            on_runtime(loaded, EvaluateSettings(**words), [])
    assert on_runtime(onnx, EvaluateSettings(runtime="onnxruntime"), []) is onnx


def test_a_network_on_jax_says_how_it_is_converted(color_model, monkeypatch):
    model = load_model(color_model)
    monkeypatch.setattr(model, "runtime", "jax")
    with pytest.raises(UserError, match=r"not on openvino in float32; without KERAS_BACKEND=jax it can be$"):
        on_runtime(model, EvaluateSettings(runtime="openvino"), [])


def test_a_precision_without_gain_is_warned_of_once(settings, caplog, monkeypatch):
    monkeypatch.setattr(devices, "has_arithmetic", lambda precision: precision == "float32")
    load_classifier(replace(settings, runtime="openvino", precision="bfloat16"), list_videos(settings)[1])
    assert caplog.text.count("this CPU has no bfloat16 arithmetic") == 1


def test_a_refusal_is_one_line():
    words = [sys.executable, "scripts/evaluate.py", "--runtime", "tensorflow", "--precision", "int8"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: tensorflow does not run in int8: choose the runtime openvino or onnxruntime\n"


def test_the_precision_in_which_a_model_is_loaded():
    for words, wanted in (
        ({}, "float32"),
        ({"precision": "bfloat16"}, "bfloat16"),
        ({"precision": "bfloat16", "runtime": "openvino"}, "float32"),
        ({"precision": "int8"}, "float32"),
        ({"precision": "bfloat16", "runtime": "jax"}, "bfloat16"),
    ):
        assert EvaluateSettings(**words).loaded_precision == wanted


def test_the_script_starts_jax_itself(tmp_path):
    words = [sys.executable, "scripts/evaluate.py", "--runtime", "jax", "--num-videos", "2", "--name", "run"]
    words += ["--results-dir", str(tmp_path), "--cache-dir", str(tmp_path / "cache"), "--workers", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_report(tmp_path / "run")["model"]["runtime"] == "jax"
