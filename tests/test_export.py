"""Exported files give the logits of the Keras network, wrong ones are not kept, and they are evaluated like others."""

import importlib
import json
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from test_zoo import OPTIONS, smallest

from vidbench import __version__, export
from vidbench.data.protocol import Protocol
from vidbench.export import export_model
from vidbench.models import build_model, load_model, network_classifier, save_model
from vidbench.models.registry import ARCHITECTURES
from vidbench.models.spec import Spec, weights_digest
from vidbench.results import run_table
from vidbench.run import evaluate_run
from vidbench.runtimes import on_jax
from vidbench.runtimes.openvino import openvino
from vidbench.utils import UserError

if on_jax():
    pytest.skip("exporting runs on TensorFlow", allow_module_level=True)

FORMATS = ("onnx", "saved_model", "openvino")
JSONS = {"onnx": "model.json", "saved_model": "saved_model/spec.json", "openvino": "openvino/model.json"}
RUNTIMES = {"onnx": "onnxruntime", "saved_model": "tensorflow", "openvino": "openvino"}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
SPEC = Spec(
    "small", ("jump", "run", "sit"), Protocol(num_frames=4, resize="exact", resize_to=(16, 12), crop=None),
    domain="noise", mean=MEAN, std=STD, provenance={"made by": "the test"},
)  # fmt: skip
THIN = {  # tables that make the same networks of the same layers, but narrow and shallow: converting takes its time
    "resnet3d": {"STAGES": (64, 72, 80, 88)},  # the stem has 64
    "slowfast": {"CHANNELS": (8, 8, 16, 16), "DEPTHS": {18: (1, 1, 1, 1), 50: (1, 1, 1, 1)}},
    "x3d": {"STAGES": ((8, 1), (16, 2)), "HEAD_CHANNELS": 32},
}
SAME = ("slowfast_r50_4x16", "x3d_s", "x3d_m")  # as others but for a number
SMALL_FSTCN = {"size": (48, 48), "hidden": (24, 16), "features": 16}


def small_network():
    keras.utils.set_random_seed(0)
    x = frames = layers.Input((None, None, None, 3), name="frames")
    x = layers.Conv3D(8, 3, 2, padding="same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling3D(name="mean")(x)
    network = keras.Model(frames, layers.Dense(3, name="logits_dense")(x), name="small")
    network.get_layer("norm").set_weights([np.full(8, v, np.float32) for v in (1.2, 0.3, 0.1, 1.5)])
    return network


@pytest.fixture(scope="module")
def classifier():
    return network_classifier(small_network(), SPEC, weights_sha256="ab" * 32)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 16, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["uint8", "float32"])
def exported(request, classifier, clips, tmp_path_factory):
    """(folder, what export_model said) of all formats."""
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_model(classifier, folder, FORMATS, request.param, clips=clips, licence="CC0")


def place(folder, kind):
    return folder / {"onnx": "model.onnx"}.get(kind, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_gives_the_logits_of_the_network(exported, classifier, clips, kind):
    folder, report = exported
    model = load_model(place(folder, kind))
    assert (model.runtime, model.precision, model.network) == (RUNTIMES[kind], "float32", None)
    assert model.spec == SPEC
    wanted = classifier(clips)
    for clips_at_once in (1, 2, 3):  # the batch is open
        model.clips_at_once = clips_at_once
        np.testing.assert_allclose(model(clips), wanted, atol=1e-5 * np.ptp(wanted))
    assert 0 <= report[kind]["largest_error"] < 1e-5
    with pytest.raises(UserError, match=r"takes frames × height × width of 4 × 16 × 12, got 3 × 16 × 12"):
        model(clips[:, :3])


@pytest.mark.parametrize("kind", FORMATS)
def test_its_json_says_whose_it_is_and_what_goes_in(exported, kind):
    folder, report = exported
    record = json.loads((folder / JSONS[kind]).read_text())
    assert record["input"] == report[kind]["input"] and record["licence"] == "CC0"
    assert Spec.from_dict(record["spec"]) == SPEC
    assert record["sha256"] == report[kind]["sha256"] == load_model(place(folder, kind)).weights_sha256
    assert report[kind]["path"] == str(place(folder, kind))
    assert len(list(folder.iterdir())) == 4  # model.onnx, model.json, two folders: nothing is left over


def test_other_programs_find_the_promised_input_and_output(exported, classifier, clips):
    import onnxruntime

    folder, report = exported
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (frames,), (logits,) = session.get_inputs(), session.get_outputs()
    kind = report["onnx"]["input"]
    assert (frames.name, frames.shape) == ("frames", ["batch", 4, 16, 12, 3])
    assert frames.type == {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[kind]
    assert (logits.name, logits.shape, logits.type) == ("logits", ["batch", 3], "tensor(float)")
    pixels = clips if kind == "uint8" else ((clips / 255 - MEAN) / STD).astype(np.float32)
    got = session.run(["logits"], {"frames": pixels})[0]
    np.testing.assert_allclose(got, classifier(clips), atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert Spec.from_dict(json.loads(told["spec"])) == SPEC
    assert json.loads(told["classes"]) == ["jump", "run", "sit"]
    assert (told["licence"], told["domain"], told["vidbench"], told["input"]) == ("CC0", "noise", __version__, kind)


def test_an_onnx_file_alone_brings_its_spec(exported, tmp_path):
    folder, _ = exported
    (tmp_path / "alone.onnx").write_bytes((folder / "model.onnx").read_bytes())
    model = load_model(tmp_path / "alone.onnx")
    assert model.spec == SPEC and model.weights_sha256 == weights_digest(folder / "model.onnx")
    renamed = load_model(tmp_path / "alone.onnx", classes=("a", "b", "c"))
    assert renamed.spec.classes == ("a", "b", "c")


def test_a_value_range_is_only_for_models_that_take_floats(exported, clips):
    folder, report = exported
    for kind in ("onnx", "openvino"):
        if report[kind]["input"] == "uint8":
            with pytest.raises(UserError, match="takes uint8 pixels and scales them itself"):
                load_model(place(folder, kind), value_range=(-1.0, 1.0))
        else:
            moved = load_model(place(folder, kind), value_range=(-1.0, 1.0))
            assert np.abs(moved(clips) - load_model(place(folder, kind))(clips)).max() > 0.1


@pytest.mark.parametrize("kind", FORMATS)
def test_a_wrong_export_is_refused_and_the_last_right_one_stays(classifier, clips, tmp_path, monkeypatch, kind):
    def other_mean(network, spec, export_input):
        return serving_function(network, replace(spec, mean=(0.4, 0.5, 0.7)), export_input)

    serving_function = export._serving_function
    monkeypatch.setattr(export, "_serving_function", other_mean)
    with pytest.raises(UserError, match=rf"small as {kind} gives other logits than in Keras: off by \d"):
        export_model(classifier, tmp_path / "out", [kind], clips=clips)
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setattr(export, "_serving_function", serving_function)
    export_model(classifier, tmp_path / "out", [kind], clips=clips)
    before = weights_digest(place(tmp_path / "out", kind) / ("model.xml" if kind == "openvino" else ""))
    monkeypatch.setattr(export, "_serving_function", other_mean)
    with pytest.raises(UserError, match="it was not kept"):
        export_model(classifier, tmp_path / "out", [kind], clips=clips)
    assert load_model(place(tmp_path / "out", kind)).weights_sha256 == before


def test_the_error_is_a_fraction_of_the_spread():
    class Off:
        """Logits of 0, 1 … with one that is wrong, but only in a batch of all."""

        def __call__(self, frames):
            logits = np.arange(len(frames) * 2, dtype=np.float32).reshape(-1, 2)
            logits[0, 0] += 0.5 * (self.clips_at_once == 3)
            return logits

    wanted = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert export.largest_error(Off(), np.zeros((3, 1)), wanted) == 0.1  # half of 1, of a spread of 5
    assert export.largest_error(Off(), np.zeros((1, 1)), np.zeros((1, 2), np.float32)) == float("inf")


def test_a_network_trained_in_mixed_precision_is_exported_in_float32(clips, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = small_network()
    finally:
        keras.config.set_dtype_policy("float32")
    save_model(network, tmp_path / "best.keras", SPEC)
    wanted = load_model(tmp_path / "best.keras")(clips)  # in float32
    export_model(network_classifier(network, SPEC), tmp_path, clips=clips[:1])
    np.testing.assert_allclose(load_model(tmp_path / "model.onnx")(clips), wanted, atol=1e-5)
    assert network.get_layer("conv").compute_dtype == "bfloat16"  # the caller's network is as it was


def thin_classifier(name, monkeypatch):
    """An architecture, narrow and shallow, with random weights, as a classifier of small clips, and two of them."""
    monkeypatch.setenv("TF2ONNX_CATCH_ERRORS", "FALSE")  # fewer copies of the graph, and nothing fails in silence
    module = importlib.import_module(ARCHITECTURES[name].build.__module__)
    for table, thin in THIN.get(module.__name__.rpartition(".")[2], {}).items():
        monkeypatch.setattr(module, table, thin)
    keras.utils.set_random_seed(0)
    network = build_model(name, 3, **({"fstcn": SMALL_FSTCN} | OPTIONS).get(name, {}))
    num_frames, *size = smallest(name)
    protocol = Protocol(num_frames=num_frames, resize="exact", resize_to=tuple(size), crop=None)
    spec = replace(ARCHITECTURES[name].spec(classes=("a", "b", "c")), protocol=protocol)
    for variable in network.variables:
        if variable.path.endswith(("beta", "bias")):  # else the logits of a fresh network are too much alike
            variable.assign(np.random.default_rng(1).normal(0, 0.3, variable.shape))
    clips = np.random.default_rng(0).integers(0, 256, (2, num_frames, *size, 3), dtype=np.uint8)
    clips[1] //= 4
    classifier = network_classifier(network, spec)
    assert np.ptp(classifier(clips)) > 1e-3
    return classifier, clips


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(SAME)))
def test_every_architecture_can_be_exported(name, tmp_path, monkeypatch):
    classifier, clips = thin_classifier(name, monkeypatch)
    error = export_model(classifier, tmp_path, clips=clips)["onnx"]["largest_error"]
    assert error < 1e-4
    keras.utils.clear_session()


def test_what_cannot_be_exported_says_why(classifier, clips, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown format 'onxx'; did you mean 'onnx'"):
        export_model(classifier, tmp_path, ["onxx"], clips=clips)
    with pytest.raises(UserError, match="unknown export input 'int8'"):
        export_model(classifier, tmp_path, export_input="int8", clips=clips)
    for wrong in (clips[0], clips[:0], clips[:, :3]):
        with pytest.raises(UserError, match=r"needs clips \(N, 4, 16, 12, 3\), N at least 1, got"):
            export_model(classifier, tmp_path, clips=wrong)
    export_model(classifier, tmp_path, clips=clips)
    with pytest.raises(UserError, match="small has no Keras network to export"):
        export_model(load_model(tmp_path / "model.onnx"), tmp_path / "again", clips=clips)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "model.keras").touch()
    with pytest.raises(UserError, match=r"holds model.keras, whose model.json is in the way"):
        export_model(classifier, tmp_path / "again", clips=clips)
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "thesis.txt").touch()
    with pytest.raises(UserError, match="holds something else than an earlier export"):
        export_model(classifier, tmp_path, ["openvino"], clips=clips)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="export runs on TensorFlow: start it without KERAS_BACKEND=jax"):
        export_model(classifier, tmp_path, clips=clips)


@keras.saving.register_keras_serializable("test_export")
class Digamma(layers.Layer):
    """An operation that ONNX has not."""

    def call(self, x):
        return tf.math.digamma(x + 3)


def test_what_no_converter_knows_is_one_line(clips, tmp_path):
    frames = layers.Input((None, None, None, 3), name="frames")
    x = Digamma()(layers.GlobalAveragePooling3D(name="mean")(frames))
    classifier = network_classifier(keras.Model(frames, x, name="odd"), replace(SPEC, name="odd"))
    with pytest.raises(UserError, match=r"odd cannot be exported as onnx: [^\n]*Digamma[^\n]*$"):
        export_model(classifier, tmp_path, clips=clips)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "kind"), [("tf2onnx", "onnx"), ("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_library_is_named_with_its_extra(classifier, clips, tmp_path, monkeypatch, module, kind):
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"onnx": "export", "openvino": "openvino"}[kind]
    with pytest.raises(UserError, match=rf"{module} is not here; it comes with: pip install -e .\[{extra}\]"):
        export_model(classifier, tmp_path, [kind], clips=clips)


def test_openvino_is_imported_without_its_statistics():
    openvino().Core()
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


def onnx_file(path, inputs, metadata=None, output_rank=2):
    """An ONNX file that gives the mean of its first input over all but the batch and the last axis."""
    import onnx

    kinds, helper = onnx.TensorProto, onnx.helper
    shape = [None] * (output_rank - 1) + [3]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["y"], axes=list(range(1, len(inputs[0][1]) - 1)), keepdims=0),
    ]
    tensors = [helper.make_tensor_value_info("xzw"[number], kind, size) for number, (kind, size) in enumerate(inputs)]
    graph = helper.make_graph(nodes, "mean", tensors, [helper.make_tensor_value_info("y", kinds.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


UINT8, FLOAT, INT32 = 2, 1, 6  # of ONNX's element types


def test_an_onnx_file_of_others_needs_class_names(tmp_path, clips):
    path = onnx_file(tmp_path / "mean.onnx", [(FLOAT, [None, 4, 16, 12, 3])])
    with pytest.raises(UserError, match=r"has no mean.json beside it, which names its classes .*--model-classes FILE"):
        load_model(path)
    model = load_model(path, classes=("r", "g", "b"))
    np.testing.assert_allclose(model(clips), clips.mean(axis=(1, 2, 3)) / 255, rtol=1e-5)
    assert (model.spec.name, model.spec.protocol.num_frames, model.spec.protocol.frame_size) == ("mean", 4, (16, 12))
    with pytest.raises(UserError, match="mean has 2 classes but gives 3 logits"):
        load_model(path, classes=("r", "g"))
    assert np.isnan(model.gflop(4, (16, 12)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([(FLOAT, [None, 4, 16, 12, 3]), (FLOAT, [None])], "must have one input, the video; it has 2"),
        ([(FLOAT, [None, 16, 12, 3])], r"must take \(B, T, H, W, 3\)"),
        ([(INT32, [None, 4, 16, 12, 3])], "must take uint8 pixels or floats"),
    ],
)
def test_an_onnx_file_of_another_kind_is_refused(tmp_path, inputs, message):
    with pytest.raises(UserError, match=message):
        load_model(onnx_file(tmp_path / "other.onnx", inputs), classes=("a", "b", "c"))


def test_damaged_and_missing_files_are_one_clear_line(exported, tmp_path):
    folder, _ = exported
    whole = (folder / "model.onnx").read_bytes()
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model.onnx cannot be read as an ONNX model: [^\n]+$"):
        load_model(damaged)
    damaged.write_bytes(whole[:-9] + b"x" + whole[-8:])
    (tmp_path / "model.json").write_bytes((folder / "model.json").read_bytes())
    with pytest.raises(UserError, match=r"cannot be read as an ONNX model|its sha256 differs"):
        load_model(damaged)
    broken = onnx_file(tmp_path / "told.onnx", [(UINT8, [None, 4, 16, 12, 3])], {"spec": '{"name": "x"}'})
    with pytest.raises(UserError, match=r"the spec in the metadata of .*told.onnx cannot be read"):
        load_model(broken)
    with pytest.raises(UserError, match=r"there is no model file gone.onnx"):
        load_model("gone.onnx")
    (tmp_path / "ov").mkdir()
    xml = (folder / "openvino" / "model.xml").read_text()
    (tmp_path / "ov" / "model.xml").write_text(xml[: len(xml) // 2])
    with pytest.raises(UserError, match=r"there is no model file .*model.bin"):
        load_model(tmp_path / "ov")
    (tmp_path / "ov" / "model.bin").write_bytes((folder / "openvino" / "model.bin").read_bytes())
    with pytest.raises(UserError, match=r"model.xml cannot be read as an OpenVINO model: [^\n]+$"):
        load_model(tmp_path / "ov", classes=("a", "b", "c"))


def test_another_precision_than_float32_is_refused(exported):
    folder, _ = exported
    for kind in ("onnx", "openvino"):
        with pytest.raises(UserError, match=r"runs in float32: a precision is chosen for \.keras files"):
            load_model(place(folder, kind), precision="bfloat16")


def test_an_evaluation_of_an_export_gives_the_same_predictions(settings, tmp_path):
    classifier = load_model(settings.model)
    clips = np.stack([np.full((4, 8, 8, 3), color, np.uint8) for color in ((0, 10, 250), (90, 200, 0))])
    export_model(classifier, tmp_path / "exported", FORMATS, clips=clips)
    evaluate_run(replace(settings, name="keras"))
    wanted = run_table(settings.results_dir / "keras" / "predictions.csv")
    for kind in FORMATS:
        run = replace(settings, name=kind, model=str(place(tmp_path / "exported", kind)))
        report = evaluate_run(run)
        assert report["model"]["runtime"] == RUNTIMES[kind] and report["metrics"]["top1"]["value"] == 1.0
        rows = run_table(settings.results_dir / kind / "predictions.csv")
        for column in ("video_id", "label", "pred_1", "pred_2"):
            assert rows[column].tolist() == wanted[column].tolist()
        for column in ("score_1", "score_2"):
            np.testing.assert_allclose(rows[column].astype(float), wanted[column].astype(float), rtol=1e-4)
    with pytest.raises(UserError, match="holds another run"):  # the weights and the runtime are part of what a run is
        evaluate_run(replace(settings, name="keras", model=str(place(tmp_path / "exported", "onnx"))))
