"""Weights that others published: by file and by name, under their own protocol, and what is refused."""

import functools
import hashlib
import http.server
import json
import multiprocessing
import re
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import moving_square, write_video
from test_torchfile import called, named, said, storage, tensor, zipped
from test_weights import deepmind_name

from vidbench import models
from vidbench.arguments import EvaluateSettings
from vidbench.data import process
from vidbench.data.classes import kinetics_classes
from vidbench.models import build_model, load_model
from vidbench.models.published import converted, read_tensors
from vidbench.models.registry import ARCHITECTURES
from vidbench.run import evaluate_run
from vidbench.utils import UserError

LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
LEAVES |= {"moving_variance": "running_var"}


def torchvision_name(path: str, factorised: bool) -> str:
    """Our variable's name in torchvision's file, spelt out by hand rather than by the table under test."""
    layer, leaf = path.split("/")
    leaf = LEAVES.get(leaf, leaf)
    if layer == "logits":
        return f"fc.{leaf}"
    place, kind = layer.rsplit("_", 1)
    number = {"conv": 0, "bn": 1}[kind]
    if place.startswith("stem"):
        return f"stem.{number + 3 if factorised and place == 'stem' else number}.{leaf}"
    stage, block, rest = place.split("_", 2)
    if rest == "shortcut":
        return f"{stage}.{block}.downsample.{number}.{leaf}"
    convolution = rest.removesuffix("_space")
    if rest.endswith("_space"):
        return f"{stage}.{block}.{convolution}.0.{number}.{leaf}"
    inner = "0.3" if factorised and kind == "conv" else number
    return f"{stage}.{block}.{convolution}.{inner}.{leaf}"


def torchvision_tensors(network, factorised: bool) -> dict[str, np.ndarray]:
    """A network's variables as torchvision would have them, batch counters among them."""
    tensors = {}
    for variable in network.variables:
        if "seed" not in variable.path:
            value = np.asarray(variable)
            value = np.moveaxis(value, (-2, -1), (1, 0)) if value.ndim > 1 else value
            tensors[torchvision_name(variable.path, factorised)] = np.ascontiguousarray(value)
    for name in [name for name in tensors if name.endswith("running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = np.array(7)
    return tensors


def write_torch(path, tensors, under=None):
    """Names → arrays as torch.save writes them, under a key if there is one."""
    entries, members = {}, {}
    for number, (name, value) in enumerate(tensors.items()):
        strides = tuple(step // value.itemsize for step in value.strides)
        kind = {"f": "FloatStorage", "i": "LongStorage"}[value.dtype.kind]
        stored = storage(value.size, str(number), kind)
        entries[name] = tensor(value.shape, strides, stored=stored)
        members[f"data/{number}"] = value.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    return zipped(path, named({under: named(entries)} if under else entries), members)


@pytest.fixture(scope="module")
def networks():
    """mc3_18 with random weights, for 400 classes and for 3."""
    keras.utils.set_random_seed(0)
    return {number: build_model("mc3_18", number) for number in (400, 3)}


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    """The same as torchvision would have saved them."""
    folder = tmp_path_factory.mktemp("torch")
    return {
        number: write_torch(folder / f"mc3_18-{number}.pth", torchvision_tensors(network, False))
        for number, network in networks.items()
    }


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).integers(0, 256, (1, 4, 32, 32, 3), dtype=np.uint8)


def logits(network, clip, architecture="mc3_18"):
    scale, shift = ARCHITECTURES[architecture].spec().scale_and_shift()
    return np.asarray(network(clip.astype(np.float32) * scale + shift, training=False))


def test_a_file_of_one_s_own_is_loaded_with_the_classes_of_as_many_outputs(networks, files, clip):
    classifier = load_model("mc3_18", weights=files[400])
    spec = classifier.spec
    np.testing.assert_allclose(classifier(clip), logits(networks[400], clip), rtol=1e-3, atol=1e-5)
    assert (spec.name, spec.classes, spec.protocol) == (
        "mc3_18-400",
        kinetics_classes("400"),
        ARCHITECTURES["mc3_18"].protocol,
    )
    assert (spec.mean, spec.std) == ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    digest = hashlib.sha256(files[400].read_bytes()).hexdigest()
    assert spec.provenance == {"file": "mc3_18-400.pth", "sha256": digest} and classifier.weights_sha256 == digest
    assert spec.published == ()  # nobody has published what this file scores


def test_other_classes_must_be_named(networks, files, clip):
    with pytest.raises(UserError, match=r"mc3_18-3.pth tells 3 classes apart and does not name them .*--model-classes"):
        load_model("mc3_18", weights=files[3])
    with pytest.raises(UserError, match=r"tells 3 classes apart, 2 names were given"):
        load_model("mc3_18", weights=files[3], classes=["a", "b"])
    classifier = load_model("mc3_18", weights=files[3], classes=["a", "b", "c"])
    np.testing.assert_allclose(classifier(clip), logits(networks[3], clip), rtol=1e-3, atol=1e-5)


@pytest.fixture
def server(files, tmp_path):
    """A real server on loopback with the 400-class file, and what it was asked for."""
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

    handler = functools.partial(Quiet, directory=str(files[400].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}/mc3_18-400.pth", asked
        http_server.shutdown()


def published(monkeypatch, address, sha256):
    """Have mc3_18's published weights lie elsewhere."""
    known = ARCHITECTURES["mc3_18"]
    weights = replace(known.weights["kinetics400"], address=address, sha256=sha256)
    changed = replace(known, weights={"kinetics400": weights})
    monkeypatch.setitem(ARCHITECTURES, "mc3_18", changed)
    return changed


def test_published_weights_are_fetched_checked_and_converted_once(networks, files, clip, server, tmp_path, monkeypatch):
    address, asked = server
    digest = hashlib.sha256(files[400].read_bytes()).hexdigest()
    published(monkeypatch, address, digest[:8])
    monkeypatch.setattr(models, "ROOT", tmp_path)
    classifier = load_model("mc3_18", weights="kinetics400")
    np.testing.assert_allclose(classifier(clip), logits(networks[400], clip), rtol=1e-3, atol=1e-5)
    spec = classifier.spec
    assert spec.name == "mc3_18-kinetics400" and [row.top1 for row in spec.published] == [63.96, 53.90]
    assert spec.provenance == {"address": address, "file": "mc3_18-400.pth", "sha256": digest}
    folder = tmp_path / "data" / "models" / "mc3_18"
    assert {path.name for path in folder.iterdir()} == {
        "mc3_18-400.pth",
        "kinetics400.keras",
        "kinetics400.json",
        ".lock",
    }
    assert classifier.weights_sha256 == digest  # not the converted file's, which holds the time of day
    whole = (folder / "kinetics400.keras").read_bytes()
    (folder / "kinetics400.keras").write_bytes(whole[:1000])
    (folder / ".saving-killed").mkdir()
    load_model("mc3_18", weights="kinetics400")  # made anew from the file beside it
    assert not (folder / ".saving-killed").exists()
    (folder / "mc3_18-400.pth").unlink()
    again = load_model("mc3_18", weights="kinetics400")  # from the converted file
    np.testing.assert_array_equal(again(clip), classifier(clip))
    assert len(asked) == 1


def test_a_page_in_place_of_the_file_is_not_kept(tmp_path, server, monkeypatch):
    """A server that answers with a page, status 200, as a portal or an expired link does."""
    address, _ = server
    folder = tmp_path / "data" / "models" / "mc3_18"
    changed = published(monkeypatch, address.rpartition("/")[0] + "/?page=mc3_18.pth", "")
    with pytest.raises(UserError, match=r"answered with another file than the published one"):
        converted(changed, "kinetics400", tmp_path)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_weights_are_converted_in_float32_whatever_the_process_trains_in(files, tmp_path, monkeypatch):
    changed = published(monkeypatch, "http://127.0.0.1:9/mc3_18-400.pth", "")
    place = tmp_path / "data" / "models" / "mc3_18" / "mc3_18-400.pth"
    place.parent.mkdir(parents=True)
    place.symlink_to(files[400])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        path = converted(changed, "kinetics400", tmp_path)
        mixed = build_model("mc3_18", 3)
    finally:
        keras.config.set_dtype_policy("float32")
    stored = keras.models.load_model(path, compile=False)
    assert {layer.compute_dtype for layer in stored.layers} == {"float32"}
    models.save_model(mixed, tmp_path / "mixed.keras", ARCHITECTURES["mc3_18"].spec(classes=("a", "b", "c")))
    assert {layer.compute_dtype for layer in load_model(tmp_path / "mixed.keras").network.layers} == {"float32"}


def convert(root):
    """In a process of its own: convert what lies there."""
    from vidbench.models.published import converted
    from vidbench.models.registry import ARCHITECTURES

    known = ARCHITECTURES["mc3_18"]
    weights = replace(known.weights["kinetics400"], address="http://127.0.0.1:9/mc3_18-400.pth", sha256="")
    return str(converted(replace(known, weights={"kinetics400": weights}), "kinetics400", root))


def test_two_processes_convert_once(files, tmp_path):
    place = tmp_path / "data" / "models" / "mc3_18" / "mc3_18-400.pth"
    place.parent.mkdir(parents=True)
    place.symlink_to(files[400])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(convert, [tmp_path, tmp_path])
    assert first == second and load_model(first).spec.name == "mc3_18-kinetics400"


def test_a_file_that_is_not_the_published_one_is_refused(files, tmp_path, monkeypatch):
    changed = published(monkeypatch, "http://127.0.0.1:9/mc3_18-400.pth", "00000000")
    path = tmp_path / "data" / "models" / "mc3_18" / "mc3_18-400.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(files[400].read_bytes())
    with pytest.raises(UserError, match=r"its sha256 begins with .{8}, not with 00000000; remove it"):
        converted(changed, "kinetics400", tmp_path)
    assert path.is_file()


def test_without_a_network_the_message_says_what_to_place_where(files, tmp_path, monkeypatch):
    changed = published(monkeypatch, "http://127.0.0.1:9/mc3_18-400.pth", "")
    place = tmp_path / "data" / "models" / "mc3_18" / "mc3_18-400.pth"
    told = rf"cannot be reached: .*download http://127.0.0.1:9/mc3_18-400.pth .* put it at {re.escape(str(place))}"
    with pytest.raises(UserError, match=told) as problem:
        converted(changed, "kinetics400", tmp_path)
    assert "\n" not in str(problem.value)
    place.write_bytes(files[400].read_bytes())
    assert converted(changed, "kinetics400", tmp_path).is_file()


def test_published_accuracies_belong_to_the_published_file(files, monkeypatch):
    digest = hashlib.sha256(files[400].read_bytes()).hexdigest()
    published(monkeypatch, "http://127.0.0.1:9/x.pth", digest[:8])
    assert load_model("mc3_18", weights=files[400]).spec.published
    published(monkeypatch, "http://127.0.0.1:9/mc3_18-400.pth", "")  # by name, where nobody gives a hash
    assert load_model("mc3_18", weights=files[400]).spec.published
    published(monkeypatch, "http://127.0.0.1:9/x.pth", "")
    assert not load_model("mc3_18", weights=files[400]).spec.published


def test_what_is_no_weight_file_is_refused_in_one_line(files, tmp_path):
    whole, marker = files[3].read_bytes(), tmp_path / "marker"
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    shell = called("posix.system", said(f"touch {marker}"))
    zipped(tmp_path / "evil.pth", named({"fc.bias": tensor(), "more": shell}))
    write_torch(tmp_path / "other.pth", {"encoder.weight": np.zeros((2, 2), np.float32)})
    for name, told in {
        "cut.pth": "is damaged",
        "page.pth": "is not a PyTorch weight file",
        "evil.pth": r"holds code \(posix.system\), not only tensors",
        "other.pth": "these weights hold no last layer that mc3_18 knows: is it another model's file",
        "gone.pth": "there is no weight file .*gone.pth",
        "": "is a folder without saved_model.pb: name a weight file",
    }.items():
        with pytest.raises(UserError, match=told) as problem:
            load_model("mc3_18", weights=tmp_path / name, classes=["a", "b", "c"])
        assert "\n" not in str(problem.value)
    assert not marker.exists()
    with pytest.raises(UserError, match=r"these weights do not fit r3d_18: \d+ shapes differ"):
        load_model("r3d_18", weights=files[3], classes=["a", "b", "c"])
    with pytest.raises(UserError, match=r"mc3_18-3.pth is a weight file: give --model ARCHITECTURE --weights"):
        load_model(files[3])


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    """(folder, network): a TF-Hub module's folder with I3D's variables under DeepMind's names."""
    folder, network = tmp_path_factory.mktemp("hub") / "module", build_model("i3d", 400)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    tensors = {f"RGB/inception_i3d/{deepmind_name(v.path)}": v.value for v in network.variables if "seed" not in v.path}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "variables" / "variables"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return folder, network


def test_i3d_takes_the_variables_of_its_hub_module(module_folder, tmp_path):
    folder, network = module_folder
    assert len(read_tensors(folder)[0]) == 230
    placed = tmp_path / "data" / "models" / "i3d-kinetics-400"
    placed.parent.mkdir(parents=True)
    placed.symlink_to(folder)
    path = converted(ARCHITECTURES["i3d"], "kinetics400", tmp_path)
    classifier = load_model(path)
    assert (classifier.spec.value_range, classifier.spec.protocol.num_frames) == ((0, 1), 250)  # the module's own
    assert classifier.spec.published
    for got, wanted in zip(classifier.network.get_weights(), network.get_weights(), strict=True):
        if got.dtype == np.float32:
            np.testing.assert_array_equal(got, wanted)
    by_folder = load_model("i3d", weights=folder)
    assert by_folder.spec.value_range == (0, 1) and by_folder.spec.published == ()


@pytest.fixture(scope="module")
def r2plus1d(tmp_path_factory):
    """(file, network): r2plus1d_18 for the 400 classes, as torchvision saves it."""
    keras.utils.set_random_seed(1)
    network = build_model("r2plus1d_18", 400)
    path = tmp_path_factory.mktemp("torch") / "r2plus1d_18.pth"
    return write_torch(path, torchvision_tensors(network, True)), network


def test_evaluate_applies_the_model_s_own_protocol_without_being_told(r2plus1d, tmp_path):
    """The run's probabilities are those of frames picked, resized, cropped and normalised by hand."""
    path, network = r2plus1d
    frames = moving_square(40, 60, 90)
    write_video(tmp_path / "data" / "val" / "archery" / "a.mkv", frames, fps=30)
    write_video(tmp_path / "data" / "val" / "bowling" / "b.mkv", frames[:20], fps=30)
    settings = EvaluateSettings(
        model="r2plus1d_18", weights=str(path), dataset="folder", data_dir=tmp_path / "data",
        results_dir=tmp_path / "results", name="run", cache_dir=tmp_path / "cache", top_n=400,
    )  # fmt: skip
    evaluate_run(settings)
    report = json.loads((tmp_path / "results" / "run" / "report.json").read_text())
    assert report["protocol"] == {
        "sampling": "clips", "num_frames": 16, "frame_rate": 15, "stride": None, "target_fps": 30.0,
        "clips": 5, "crops": 1, "resize": "exact", "resize_to": [128, 171], "crop": [112, 112], "short_videos": "fail",
    }  # fmt: skip
    failures = pd.read_csv(tmp_path / "results" / "run" / "failures.csv")
    assert failures.reason.tolist() == ["too short: needs 31 frames, has 20"]
    starts = [0, 2, 4, 6, 8]  # 40 frames at 30 a second are 20 at 15, in which 5 windows of 16 stand
    clips = np.stack([frames[start : start + 31 : 2] for start in starts])
    resized = np.stack([[cv2.resize(frame, (171, 128)) for frame in clip] for clip in clips])
    cropped = resized[:, :, 8:120, 30:142]  # round((128 - 112) / 2), round((171 - 112) / 2) to even
    mean, std = np.array([0.43216, 0.394666, 0.37645]), np.array([0.22803, 0.22145, 0.216989])
    scores = np.asarray(network(((cropped / 255 - mean) / std).astype(np.float32), training=False), np.float64)
    odds = np.exp(scores - scores.max(1, keepdims=True))
    wanted = (odds / odds.sum(1, keepdims=True)).mean(0)
    row = pd.read_csv(tmp_path / "results" / "run" / "predictions.csv").iloc[0]
    got = {row[f"pred_{n}"]: row[f"score_{n}"] for n in range(1, 401)}
    classes = kinetics_classes("400")
    np.testing.assert_allclose([got[name] for name in classes], wanted, rtol=1e-3)


@pytest.mark.assets
@pytest.mark.parametrize("name", ["x3d_xs", "s3d"])
def test_a_file_with_the_reference_s_names_gives_the_reference_s_logits(name, assets, tmp_path, monkeypatch):
    """As pytorchvideo saves it, under `model_state`, read as a user's file."""
    parity = assets.parent / "parity"
    monkeypatch.syspath_prepend(parity)
    import recipe

    golden = json.loads((parity / "golden" / f"{name}.json").read_text())
    tensors = {key: recipe.tensor(key, shape, golden["seed"]) for key, shape in golden["tensors"].items()}
    classifier = load_model(name, weights=write_torch(tmp_path / "weights.pyth", tensors, under="model_state"))
    clip = recipe.video(golden["input_shape_bcthw"], golden["seed"]).transpose(0, 2, 3, 4, 1)
    got, wanted = np.asarray(classifier.network(clip, training=False))[0], np.array(golden["logits"])
    assert np.abs(got - wanted).max() / wanted.std() < 1e-4


@pytest.mark.assets
def test_the_loaded_model_s_protocol_is_torchvision_s(r2plus1d, assets):
    """Frame indices and pixels, as the reference's own code gave them."""
    spec = load_model("r2plus1d_18", weights=r2plus1d[0]).spec
    golden = json.loads((assets.parent / "parity" / "golden" / "protocol.json").read_text())
    usual = {"clip_len": 16, "frame_rate": 15, "clips_per_video": 5}
    cases = [case for case in golden["torchvision_clips"] if usual.items() <= case.items()]
    assert len(cases) > 3
    for case in cases:
        if case["indices"] is None:
            with pytest.raises(ValueError, match="too short"):
                spec.protocol.indices(case["num_frames"], case["fps"])
        else:
            assert spec.protocol.indices(case["num_frames"], case["fps"]).tolist() == case["indices"]
    cases = [case for case in golden["torchvision_preset"] if case["resize"] == [128, 171]]
    assert cases
    for case in cases:
        source = np.random.default_rng(case["seed"]).integers(0, 256, case["source_shape_thwc"], dtype=np.uint8)
        frames = np.stack([process.process_frame(frame, spec.protocol) for frame in source])
        ours = process.normalize(frames, *spec.scale_and_shift())
        for t, y, x, channel, value in case["points"]:
            assert abs(ours[t, y, x, channel] - value) <= 2 / 255 / spec.std[channel]
