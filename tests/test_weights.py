"""Reference weights: names, layouts, batch-norm scales, left-overs, and checkpoint files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from vidbench.models import build_model, load_reference_weights
from vidbench.models.registry import ARCHITECTURES, architecture
from vidbench.models.weights import (
    checkpoint_digest,
    count_classes,
    fold_scales,
    our_layout,
    read_checkpoint,
)
from vidbench.utils import UserError

PAIRS = {"_b0": "Branch_0/Conv3d_0a_1x1", "_b1a": "Branch_1/Conv3d_0a_1x1", "_b1b": "Branch_1/Conv3d_0b_3x3"}
PAIRS |= {"_b2a": "Branch_2/Conv3d_0a_1x1", "_b2b": "Branch_2/Conv3d_0b_3x3", "_b3b": "Branch_3/Conv3d_0b_1x1"}


@pytest.fixture(scope="module")
def network():
    return build_model("i3d", 3)


@pytest.fixture(scope="module")
def deepmind(network):
    """Random tensors for `network` under DeepMind's names, as in the 400-class checkpoint."""
    rng = np.random.default_rng(0)
    return {
        f"RGB/inception_i3d/{deepmind_name(path)}": draw(rng, path, shape) for path, shape in shapes(network).items()
    }


def shapes(network):
    return {v.path: tuple(v.shape) for v in network.variables if "seed_generator" not in v.path}


def draw(rng, path, shape):
    low, high = (0.5, 1.5) if path.endswith("variance") else (-0.1, 0.1)
    return rng.uniform(low, high, shape).astype(np.float32)


def deepmind_name(path):
    """Our variable's name in a checkpoint, spelt out by hand rather than by the table under test."""
    unit, leaf = path.split("/")
    unit = unit.rsplit("_", 1)[0]
    leaf = {"kernel": "conv_3d/w", "bias": "conv_3d/b"}.get(leaf, f"batch_norm/{leaf}")
    if unit == "logits":
        return f"Logits/Conv3d_0c_1x1/{leaf}"
    for ours, theirs in PAIRS.items():
        if unit.endswith(ours):
            unit = f"{unit.removesuffix(ours)}/{theirs}"
    return f"{unit.replace('Mixed_5b/Branch_2/Conv3d_0b', 'Mixed_5b/Branch_2/Conv3d_0a')}/{leaf}"


def torch_tensors(network, rng):
    """The same for the PyTorch port, with batch-norm scales and batch counters."""
    tensors = {}
    for path, shape in shapes(network).items():
        unit, leaf = path.split("/")
        unit, kind = unit.rsplit("_", 1)
        unit = unit[:8] + unit[8:].replace("_b", ".b") if unit.startswith("Mixed") else unit
        value = draw(rng, path, shape)
        if kind == "conv":
            name = f"{unit}.conv3d.{'weight' if leaf == 'kernel' else 'bias'}"
            tensors[name] = value.transpose(4, 3, 0, 1, 2) if leaf == "kernel" else value
        else:
            leaf = {"beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}[leaf]
            tensors[f"{unit}.bn.{leaf}"] = value
            tensors[f"{unit}.bn.weight"] = np.ones(shape, np.float32)
            tensors[f"{unit}.bn.num_batches_tracked"] = np.array(7)
    return tensors


def variables(network):
    return {v.path: np.asarray(v) for v in network.variables if "seed_generator" not in v.path}


def test_deepminds_names_reach_every_variable(network, deepmind):
    load_reference_weights(network, deepmind)
    got = variables(network)
    assert len(got) == 230
    for path, value in got.items():
        np.testing.assert_array_equal(value, deepmind[f"RGB/inception_i3d/{deepmind_name(path)}"], err_msg=path)


def test_the_600_class_file_has_no_prefix_and_five_axes(network, deepmind):
    load_reference_weights(network, deepmind)
    before = variables(network)
    five = {
        name.removeprefix("RGB/inception_i3d/"): v.reshape(1, 1, 1, 1, -1) if "batch_norm" in name else v
        for name, v in deepmind.items()
    }
    for variable in network.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    load_reference_weights(network, five)
    for path, value in variables(network).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_both_namings_give_the_same_network(network, deepmind):
    """DeepMind's tensors written under the port's names, scales of one, load to the same values."""
    load_reference_weights(network, deepmind)
    before = variables(network)
    rng = np.random.default_rng(0)  # the draws of `deepmind`, in the same order
    load_reference_weights(network, torch_tensors(network, rng))
    for path, value in variables(network).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_a_scale_is_folded_into_kernel_and_mean():
    """By hand: 3·((2·5) - 4)/σ = ((6·5) - 12)/σ, so kernel 2 → 6 and mean 4 → 12; beta and variance stay."""
    values = {
        "u_conv/kernel": np.full((1, 1, 1, 1, 2), 2.0, np.float32),
        "u_bn/gamma": np.array([3.0, -1.0], np.float32),
        "u_bn/moving_mean": np.array([4.0, 4.0], np.float32),
        "u_bn/beta": np.array([7.0, 7.0], np.float32),
    }
    fold_scales(values, {"u_conv/kernel", "u_bn/moving_mean", "u_bn/beta"})
    assert set(values) == {"u_conv/kernel", "u_bn/moving_mean", "u_bn/beta"}
    assert values["u_conv/kernel"].ravel().tolist() == [6.0, -2.0]
    assert values["u_bn/moving_mean"].tolist() == [12.0, -4.0]
    assert values["u_bn/beta"].tolist() == [7.0, 7.0]


def test_a_scale_that_the_layer_has_stays():
    values = {"u_bn/gamma": np.ones(2), "u_conv/kernel": np.ones((1, 2)), "u_bn/moving_mean": np.ones(2)}
    fold_scales(values, set(values))
    assert set(values) == {"u_bn/gamma", "u_conv/kernel", "u_bn/moving_mean"}


def test_layouts():
    assert our_layout("a.weight", np.zeros((2, 3, 4, 5, 6))).shape == (4, 5, 6, 3, 2)
    assert our_layout("fc.weight", np.zeros((2, 3))).shape == (3, 2)
    assert our_layout("a/w", np.zeros((4, 5, 6, 3, 2))).shape == (4, 5, 6, 3, 2)
    assert our_layout("a.bias", np.zeros(2)).shape == (2,)


def test_left_overs_on_either_side_are_named(network, deepmind):
    before = variables(network)
    extra = {**deepmind, "RGB/inception_i3d/global_step": np.array(1)}
    with pytest.raises(ValueError, match=r"1 tensors are of no use: RGB/inception_i3d/global_step"):
        load_reference_weights(network, extra)
    lacking = dict(deepmind)
    del lacking["RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b"]
    with pytest.raises(ValueError, match="1 variables get no tensor: logits_conv/bias"):
        load_reference_weights(network, lacking)
    for path, value in variables(network).items():  # nothing was assigned half way
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_a_wrong_shape_is_named(network, deepmind):
    wrong = {**deepmind, "RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b": np.zeros(4, np.float32)}
    with pytest.raises(ValueError, match=r"conv_3d/b has shape \(4,\), logits_conv/bias has \(3,\)"):
        load_reference_weights(network, wrong)


def test_one_variable_named_twice_is_refused(network, deepmind):
    twice = {**deepmind, "logits.conv3d.bias": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=r"both stand for logits_conv/bias"):
        load_reference_weights(network, twice)


def test_a_model_without_a_table_is_refused():
    network = keras.Sequential([layers.Input((2,)), layers.Dense(1)], name="other")
    with pytest.raises(ValueError, match=r"no reference names are known for 'other', only for .*i3d"):
        load_reference_weights(network, {})


def test_an_architecture_is_registered_once():
    before = ARCHITECTURES["i3d"]
    with pytest.raises(ValueError, match="'i3d' is already registered"):
        architecture(before.protocol)(before.build)
    assert ARCHITECTURES["i3d"] is before


def test_the_head_can_be_left_as_it_is(network, deepmind):
    """Other classes than the reference's: the last layer stays, everything else is taken over."""
    larger = build_model("i3d", 5)
    head = [np.asarray(v) for v in larger.variables if v.path.startswith("logits")]
    with pytest.raises(ValueError, match=r"2 shapes differ"):
        load_reference_weights(larger, deepmind)
    load_reference_weights(larger, deepmind, skip_head=True)
    load_reference_weights(network, deepmind)
    wanted = variables(network)
    for path, value in variables(larger).items():
        if not path.startswith("logits"):
            np.testing.assert_array_equal(value, wanted[path], err_msg=path)
    for got, kept in zip([v for v in larger.variables if v.path.startswith("logits")], head, strict=True):
        np.testing.assert_array_equal(np.asarray(got), kept)
    without = {name: value for name, value in deepmind.items() if "/Logits/" not in name}
    load_reference_weights(larger, without, skip_head=True)  # a backbone's own file
    with pytest.raises(ValueError, match="1 tensors are of no use: RGB/inception_i3d/more"):
        load_reference_weights(larger, {**without, "RGB/inception_i3d/more": np.zeros(1)}, skip_head=True)


def test_a_hub_module_s_prefix_is_known(network, deepmind):
    load_reference_weights(network, deepmind)
    before = variables(network)
    load_reference_weights(network, {f"module/{name}": value for name, value in deepmind.items()})
    for path, value in variables(network).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_the_class_count_is_the_last_bias(deepmind):
    assert count_classes("i3d", deepmind) == 3
    with pytest.raises(UserError, match="no last layer that i3d knows"):
        count_classes("i3d", {"fc.bias": np.zeros(3)})


@pytest.fixture
def checkpoint(tmp_path):
    """Two variables in TensorFlow's own checkpoint format, with names as they were given."""
    prefix = tmp_path / "model.ckpt"
    names, values = ["a/w", "a/b"], [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=["", ""], tensors=values)
    return prefix


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001"])
def test_a_checkpoint_is_read_by_its_prefix_or_any_of_its_files(checkpoint, suffix):
    tensors = read_checkpoint(f"{checkpoint}{suffix}")
    assert list(tensors) == ["a/b", "a/w"]
    assert tensors["a/w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_checkpoint_that_is_not_there_or_not_whole(checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"there is no checkpoint .*other.ckpt: other.ckpt.index is missing"):
        read_checkpoint(tmp_path / "other.ckpt")
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        read_checkpoint(checkpoint)
    data.unlink()
    with pytest.raises(UserError, match=r"model.ckpt.data-\* is missing"):
        read_checkpoint(checkpoint)


def test_a_damaged_index_is_refused(checkpoint):
    index = checkpoint.with_name("model.ckpt.index")
    index.write_bytes(b"not a table" * 20)
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        read_checkpoint(checkpoint)


def test_a_checkpoint_s_digest_covers_its_data(checkpoint):
    before = checkpoint_digest(checkpoint)
    assert len(before) == 64
    data = checkpoint.with_name("model.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    assert checkpoint_digest(checkpoint) != before
