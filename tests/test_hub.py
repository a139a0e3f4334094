"""TensorFlow Hub's modules: from the disk, from its cache, and what is said where there is no network."""

import urllib.error

import numpy as np
import pytest
import tensorflow as tf

from vidbench.models import hub, load_model
from vidbench.utils import UserError

HANDLE = "https://tfhub.dev/deepmind/i3d-kinetics-400/1"
CACHED = "092225fb776e28d6d64ac605ab6be03f18dd2027"  # sha1 of the handle


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Empty caches, and a network that refuses at once."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "tfhub"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))

    def refuse(*args, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def save_module(folder, num_classes=400):
    """A TF1-Hub-like module: mean colour times a matrix."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        frames = v1.placeholder(tf.float32, (None, None, None, None, 3), "rgb_input")
        matrix = np.random.default_rng(0).normal(size=(3, num_classes)).astype(np.float32)
        logits = tf.matmul(
            tf.reduce_mean(frames, [1, 2, 3]), v1.get_variable("w", initializer=matrix, use_resource=False)
        )
        info = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"rgb_input": info(frames)}, {"default": info(logits)}, "video"
        )
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    return matrix


def check(classifier, matrix, low=0.0, high=1.0):
    clip = np.full((1, 9, 8, 8, 3), 51, np.uint8)  # a fifth of 255
    pixel = low + (high - low) / 5
    np.testing.assert_allclose(classifier(clip)[0], pixel * matrix.sum(axis=0), rtol=1e-4, atol=1e-4)


def test_without_a_network_the_message_says_where_to_place_the_files(tmp_path):
    with pytest.raises(UserError) as refused:
        hub.find_module("i3d-kinetics-400", tmp_path / "here")
    message = str(refused.value)
    assert "tfhub.dev: <urlopen error no network>" in message
    assert "Kaggle: <urlopen error no network>" in message
    assert "https://www.kaggle.com/models/deepmind/i3d-kinetics/tensorFlow1/400/1" in message
    assert str(tmp_path / "here" / "saved_model.pb") in message
    assert "\n" not in message


def test_a_local_folder_comes_first(tmp_path):
    matrix = save_module(tmp_path / "data" / "models" / "i3d-kinetics-400" / "unpacked")
    classifier = hub.load_module("i3d-kinetics-400", tmp_path)
    spec = classifier.spec
    assert (spec.name, len(spec.classes), spec.value_range, spec.min_frames) == ("i3d-kinetics-400", 400, (0, 1), 9)
    assert spec.published[0].top1 == 71.1
    check(classifier, matrix)


def test_the_value_range_is_the_caller_s_to_set(tmp_path):
    matrix = save_module(tmp_path / "data" / "models" / "i3d-kinetics-600", 600)
    classifier = hub.load_module("i3d-kinetics-600", tmp_path, value_range=(-1.0, 1.0))
    assert classifier.spec.value_range == (-1.0, 1.0)
    check(classifier, matrix, -1.0, 1.0)


@pytest.mark.parametrize("name", ["i3d-kinetics-400", HANDLE])
def test_a_seeded_cache_works_offline(tmp_path, name):
    matrix = save_module(tmp_path / "tfhub" / CACHED)
    classifier = load_model(name)
    assert classifier.spec.name == "i3d-kinetics-400"
    check(classifier, matrix)


def test_kaggle_s_cache_is_the_second_way(tmp_path):
    folder = tmp_path / "kaggle" / "models" / "deepmind" / "i3d-kinetics" / "tensorFlow1" / "400"
    matrix = save_module(folder / "1")
    (folder / "1.complete").touch()
    check(hub.load_module("i3d-kinetics-400", tmp_path), matrix)


def test_another_handle_needs_its_classes(tmp_path, monkeypatch):
    matrix = save_module(tmp_path / "some" / "module", 2)
    monkeypatch.setattr(hub, "fetch_tfhub", lambda handle: tmp_path / "some" / "module")
    check(load_model("https://tfhub.dev/someone/something/1", classes=("a", "b")), matrix)
    with pytest.raises(UserError, match=r"name its classes"):
        load_model("https://tfhub.dev/someone/something/1")


def test_another_handle_without_a_network():
    with pytest.raises(UserError, match=r"tfhub.dev/someone/x/1 could not be fetched \(<urlopen error no network>\)"):
        load_model("https://tfhub.dev/someone/x/1")


def test_a_download_without_a_model_is_told(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(hub, "fetch_tfhub", lambda handle: tmp_path / "empty")
    with pytest.raises(UserError, match=r"tfhub.dev: no saved_model.pb in what came; Kaggle: <urlopen error"):
        hub.find_module("i3d-kinetics-400", tmp_path / "here")


def test_a_refusal_is_an_answer_and_silence_is_not(monkeypatch):
    """HTTP 403 lets the downloader try; no answer stops it before it waits for minutes."""

    def forbidden(request, timeout):
        assert timeout == hub.PROBE_SECONDS
        raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", None, None)

    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    assert hub.probe(HANDLE) is None
    monkeypatch.undo()
    with pytest.raises(OSError, match=r"refused|timed out"):
        hub.probe("http://127.0.0.1:9/nobody")
