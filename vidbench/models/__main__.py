"""`python -m vidbench.models`: every model by name, what it expects, what it costs and what was published of it."""

import argparse
import math

from vidbench.machine import stderr_held
from vidbench.models import FILES, available_models, build_model, gflop, hub, load_model, spec_of
from vidbench.models.registry import ARCHITECTURES
from vidbench.models.spec import Spec

FRESH_CLASSES = 400  # for which an architecture without published weights is built here
COLUMNS = ("model", "a view", "views", "M parameters", "GFLOP", "published G-MAC", "top-1 / top-5", "weights")


def main() -> None:
    """Print one line a model, as a Markdown table."""
    argparse.ArgumentParser(prog="python -m vidbench.models", description=__doc__).parse_args()
    with stderr_held():  # TensorFlow talks whenever a graph is counted
        rows = [COLUMNS, ("---",) * len(COLUMNS), *(row_of(name) for name in available_models())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "| "
            + " | ".join(
                cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths, strict=True)
            )
            + " |"
        )


def row_of(name: str) -> tuple[str, ...]:
    """The cells of `COLUMNS` for one model. The arithmetic, 2 × multiply-adds of one view, is counted in its graph."""
    spec, network, gmac, weights = spec_of(name), network_of(name), "", "TF-Hub" if name in hub.HANDLES else "shipped"
    if name in ARCHITECTURES:
        known = ARCHITECTURES[name]
        weights = ", ".join(known.weights) or "your own"
        gmac = "" if known.gmac is None else f"{known.gmac:g}"
        if gmac and known.protocol.num_frames != spec.protocol.num_frames:
            gmac += f" ({known.protocol.num_frames} frames)"
    parameters = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    counted = gflop(network, spec.protocol.num_frames, spec.protocol.frame_size)
    return (
        name,
        view(spec),
        f"{spec.protocol.clips} × {spec.protocol.crops}",
        f"{parameters / 1e6:.1f}",
        f"{counted:.1f}",
        gmac,
        "; ".join(f"{row.top1:g} / {row.top5:g} ({row.split}, {row.level}, {row.views})" for row in spec.published),
        weights,
    )


def view(spec: Spec) -> str:
    """The frames and the size of one view: "16 at 15 fps, 112²"."""
    protocol = spec.protocol
    height, width = protocol.frame_size
    rates = {"clips": f" at {protocol.frame_rate} fps", "strided": f" × {protocol.stride}", "whole": " of all"}
    size = f"{height}²" if height == width else f"{height}×{width}"
    return f"{protocol.num_frames}{rates[protocol.sampling]}, {size}"


def network_of(name: str):
    """The Keras model behind a name, with fresh weights unless they are shipped."""
    if name in FILES:
        return load_model(name).network
    return build_model("i3d" if name in hub.HANDLES else name, len(spec_of(name).classes) or FRESH_CLASSES)


if __name__ == "__main__":
    main()
