"""Post-training quantisation: float32 models of OpenVINO and ONNX to int8, by NNCF."""

import contextlib
import logging
from collections.abc import Iterator

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


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hide NNCF's bars, which would stand in the middle of a report, or of a notebook."""
    import rich

    console = rich.get_console()
    before = console.quiet, console.is_jupyter
    console.quiet, console.is_jupyter = True, False  # in a notebook its bars are widgets, quiet or not
    try:
        yield
    finally:
        console.quiet, console.is_jupyter = before


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
