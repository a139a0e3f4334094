"""Post-training quantisation: float32 models of OpenVINO and ONNX to int8, by NNCF."""

import contextlib
import io
import logging
import sys

import numpy as np

from vidbench.runtimes.openvino import without_telemetry

LAST = "last product"  # the name that the layer of the logits gets


def quantize(model, clips: np.ndarray):
    """A copy of `model` (openvino.Model or onnx.ModelProto, one input (1, T, H, W, 3) uint8) that multiplies in int8.

    clips: (N, T, H, W, 3) uint8, from which the ranges of the activations are taken, all of them

    The last product, of the logits, stays in float32: that costs nothing and cut the error of the demo's time-blind
    twin from 1.6 % of the logits' spread (root mean square) to 0.3 %, the demo model's from 1.2 to 1.1 %. The first
    convolution in float32 changed neither error, and doubled the time.

    Raises UserError where NNCF is missing.
    """
    nncf = without_telemetry("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    is_onnx = hasattr(model, "graph")
    name = model.graph.input[0].name if is_onnx else None
    feeds = [{name: clip[None]} if is_onnx else clip[None] for clip in clips]
    kept = nncf.IgnoredScope(names=[_name_last(model)])
    with _without_bars():
        return nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds), ignored_scope=kept)


def _without_bars():
    """A context in which nothing is printed: NNCF's bars would stand in the middle of a report, or of a notebook."""
    if "IPython" in sys.modules:
        from IPython.utils.capture import capture_output

        return capture_output()
    return contextlib.redirect_stdout(io.StringIO())


def _name_last(model) -> str:
    """Name the last convolution or matrix product, and return the name."""
    if hasattr(model, "graph"):
        last = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][-1]
        last.name = LAST
    else:
        products = ("Convolution", "GroupConvolution", "MatMul")
        last = [operation for operation in model.get_ordered_ops() if operation.get_type_name() in products][-1]
        last.set_friendly_name(LAST)
    return LAST
