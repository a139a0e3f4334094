import keras
import numpy as np
import pytest

from vidbench.train.change import weight_change


def two_layers(num_classes: int) -> keras.Model:
    """A network with a convolution (kernel of ones, no bias), a batch norm and a last layer."""
    frames = keras.Input((2, 2, 2, 3))
    x = keras.layers.Conv3D(4, 1, use_bias=False, kernel_initializer="ones", name="stem")(frames)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    return keras.Model(frames, keras.layers.Dense(num_classes, name="logits")(x))


def test_the_change_is_a_share_of_the_length_before():
    before, after = two_layers(2), two_layers(2)
    after.get_layer("stem").set_weights([np.full((1, 1, 1, 3, 4), 1.5)])  # half its length further
    kernel, bias = before.get_layer("logits").get_weights()
    after.get_layer("logits").set_weights([kernel, bias])
    table = weight_change(before, after)
    assert table["layer"].tolist() == ["stem", "logits"] and table["parameters"].tolist() == [12, 10]
    assert table["change"].tolist() == pytest.approx([0.5, 0.0])


def test_a_last_layer_for_other_classes_has_no_change_and_nor_has_a_layer_that_was_not_there():
    changes = weight_change(two_layers(2), two_layers(3)).set_index("layer")["change"]
    assert changes["stem"] == 0 and np.isnan(changes["logits"])
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="new")])
    assert weight_change(two_layers(2), other)["change"].isna().all()
