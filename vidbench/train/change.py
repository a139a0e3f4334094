"""What training has changed: two networks of the same layers, compared."""

import keras
import numpy as np
import pandas as pd


def weight_change(before: keras.Model, after: keras.Model) -> pd.DataFrame:
    """How far each layer's weights have moved, as a fraction of their length before.

    One row a layer with a kernel, in the order of `after`: `layer`; `parameters`, of its kernel and bias; `change`,
    the length of their difference over their length before (all of them as one vector, Euclidean), nan where `before`
    has no such layer or one of another shape, as a last layer for other classes. Batch norms are not among them.
    """
    rows = []
    for layer in after.layers:
        if getattr(layer, "kernel", None) is None:
            continue
        now = layer.get_weights()
        names = [other.name for other in before.layers]
        was = before.get_layer(layer.name).get_weights() if layer.name in names else []
        same = [array.shape for array in was] == [array.shape for array in now]
        moved = _length([a - b for a, b in zip(now, was, strict=True)]) / _length(was) if same else np.nan
        rows.append({"layer": layer.name, "parameters": sum(array.size for array in now), "change": moved})
    return pd.DataFrame(rows, columns=["layer", "parameters", "change"])


def _length(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in arrays)))
