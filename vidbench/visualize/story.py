"""Figures that tell what a video is to a model: its array, frames, pixels and bytes, the way into a network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vidbench.data.process import center_square, pad_square, resize_exact
from vidbench.utils import canonical_label, readable_bytes
from vidbench.visualize.figures import draw_time_line
from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, new_figure

if TYPE_CHECKING:  # TensorFlow takes seconds to import
    from vidbench.models.spec import Spec

GREY = "#bbbbbb"


def stills(frames: Sequence[np.ndarray], titles: Sequence[str], colors: Sequence[str] | None = None, columns: int = 4):
    """Pictures (H, W, 3) in rows of `columns`, each under its title; `colors` are those of titles and frames."""
    rows = -(-len(frames) // columns)
    figure, axes = new_figure(rows, columns, (2.4 * columns, 2.1 * rows))
    for axis in axes:
        axis.set_axis_off()
    for axis, frame, title, color in zip(axes, frames, titles, colors or ["#222222"] * len(frames), strict=False):
        axis.imshow(frame)
        axis.set_title(title, fontsize=9, color=color)
        if colors:
            edge = {"fill": False, "edgecolor": color, "linewidth": 4, "transform": axis.transAxes}
            axis.add_patch(_rectangle((0, 0), 1, 1, **edge))
    return figure


def judged_stills(frames: Sequence[np.ndarray], rows: Sequence[dict], columns: int = 4):
    """Pictures with what a model said: ✓ and green where it is right, ✗ and red, with the truth, where it is not.

    rows: `label`, `pred_1` and `score_1` of each picture, as `evaluate` returns them.
    """
    titles, colors = [], []
    for row in rows:
        right = canonical_label(row["label"]) == canonical_label(row["pred_1"])
        share = f"{float(row['score_1']):.0%}"
        titles.append(f"✓ {row['label']}, {share}" if right else f"✗ {row['pred_1']}, {share}\nit is {row['label']}")
        colors.append(RIGHT if right else WRONG)
    return stills(frames, titles, colors, columns)


def histograms(values: dict[str, Sequence[float]], others: dict[str, Sequence[float]], name: str, other_name: str):
    """One histogram a quantity: `values` in colour, `others` in grey beside them, as shares of their own number."""
    figure, axes = new_figure(1, len(values), (3.4 * len(values), 2.7))
    for axis, (quantity, numbers) in zip(axes, values.items(), strict=True):
        both = np.concatenate([numbers, others[quantity]])
        edges = np.histogram_bin_edges(both, bins=12)
        sets = [others[quantity], numbers]
        shares = [np.full(len(data), 100 / len(data)) for data in sets]
        labels = [f"{label} ({len(data)})" for label, data in zip((other_name, name), sets, strict=True)]
        axis.hist(sets, edges, weights=shares, color=[GREY, PLAIN], label=labels, rwidth=0.95)
        axis.set_xlabel(quantity)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("% of the clips")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def film_and_array(frames: np.ndarray, times: np.ndarray, columns: int = 6):
    """What people see above, (T, H, W, 3) uint8 frames with their times; below what a model gets: the array's axes, the
    three planes of one frame, and the numbers of a few pixels.
    """
    picked = np.linspace(0, len(frames) - 1, columns).round().astype(int)
    figure = _empty_figure((1.75 * columns, 4.2))
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.6])
    for axis, index in zip(above.subplots(1, columns), picked, strict=True):
        axis.imshow(frames[index])
        axis.set_title(f"frame {index}: {times[index]:.2f} s", fontsize=9)
        axis.set_axis_off()
    axes = below.subplots(1, 5, width_ratios=[1.5, 1, 1, 1, 1.2])
    _draw_stack(axes[0], frames[picked], frames.shape)
    middle = frames[len(frames) // 2]
    for channel, (axis, name) in enumerate(zip(axes[1:4], ("red", "green", "blue"), strict=True)):
        axis.imshow(middle * (np.arange(3) == channel).astype(np.uint8))
        axis.set_title(f"frame[:, :, {channel}]: {name}", fontsize=9)
        axis.set_axis_off()
    _draw_numbers(axes[4], middle[..., 0])
    return figure


def byte_bars(rows: Sequence[tuple[str, float]]):
    """How many bytes things take, on a logarithmic scale: (name, bytes) from top to bottom, the number at each bar."""
    names, sizes = zip(*rows, strict=True)
    figure, (axis,) = new_figure(1, 1, (8, 0.36 * len(rows) + 0.9))
    axis.barh(range(len(rows)), sizes, color=PLAIN)
    for row, size in enumerate(sizes):
        axis.text(size * 1.25, row, readable_bytes(size), va="center", fontsize=9)
    axis.set_yticks(range(len(rows)), names)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(min(sizes) / 3, max(sizes) * 40)
    axis.set_xlabel("bytes (logarithmic scale)")
    axis.grid(axis="x", color="#dddddd", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def frame_choices(cases: Sequence[tuple[int, np.ndarray]]):
    """Time lines one above the other: (frames a video has, indices taken); taken, left out, taken more than once."""
    figure, axes = new_figure(len(cases), 1, (9, 1.6 * len(cases)))
    for axis, (num_frames, indices) in zip(axes, cases, strict=True):
        draw_time_line(axis, num_frames, indices)
    return figure


def resampled_strip(frames: np.ndarray, indices: np.ndarray):
    """(T, H, W, 3) frames above, those left out pale; below the frames that `indices` take, repeated ones framed."""
    columns = max(len(frames), len(indices))
    width = min(1.15 * columns, 10.0)  # what a page shows without making the numbers smaller
    figure, axes = new_figure(2, columns, (width, 2 * (0.75 * width / columns + 0.4)))
    taken = set(indices.tolist())
    for axis in axes:
        axis.set_axis_off()
    for index, (axis, frame) in enumerate(zip(axes, frames, strict=False)):
        axis.imshow(frame, alpha=1 if index in taken else 0.25)
        axis.set_title(str(index) if index in taken else f"{index} ✗", fontsize=9)
    for place, (axis, index) in enumerate(zip(axes[columns:], indices, strict=False)):
        again = place > 0 and indices[place - 1] == index
        axis.imshow(frames[index])
        axis.set_title(f"{index} again" if again else str(index), fontsize=9, color=WRONG if again else "#222222")
        if again:
            edge = {"fill": False, "edgecolor": WRONG, "linewidth": 4, "transform": axis.transAxes}
            axis.add_patch(_rectangle((0, 0), 1, 1, **edge))
    for axis, name in ((axes[0], "video"), (axes[columns], "taken")):
        axis.text(-0.12, 0.5, name, rotation=90, ha="right", va="center", transform=axis.transAxes)
    return figure


def pixel_choices(frame: np.ndarray):
    """A frame (H, W, 3) with its middle square outlined, and the three ways to make a square of it."""
    height, width = frame.shape[:2]
    side = min(height, width)
    ways = {
        "the frame": frame,
        "crop: the middle square": center_square(frame),
        "pad: black beside it": pad_square(frame),
        "squeeze: another shape": resize_exact(frame, (side, side)),
    }
    figure, axes = new_figure(1, 4, (10, 3))
    for axis, (name, picture) in zip(axes, ways.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(f"{name}\n{picture.shape[0]} × {picture.shape[1]}", fontsize=9)
        axis.set_axis_off()
    corner = ((width - side) / 2 - 0.5, (height - side) / 2 - 0.5)
    axes[0].add_patch(_rectangle(corner, side, side, fill=False, edgecolor=WRONG, linewidth=2.5, linestyle="--"))
    return figure


def pipeline(spec: "Spec"):
    """The way of a video into a model and out of it, drawn from the model's contract: boxes from left to right."""
    protocol = spec.protocol
    low, high = spec.value_range
    pixels = f"pixels 0…255\nto {low:g}…{high:g}"
    if spec.mean:
        pixels += f"\nminus {spec.mean[0]:.3g}, by {spec.std[0]:.3g}"
    steps = {
        "video": "any length,\nany size",
        "frames": f"{protocol.num_frames} frames,\n{_frames_rule(protocol)}",
        "size": _size_rule(protocol),
        "numbers": pixels,
        "network": spec.name.replace("-", "-\n", 1) if len(spec.name) > 12 else spec.name,
        "logits": f"{len(spec.classes)} numbers,\none a class",
        "answer": "softmax:\nprobabilities",
    }
    figure, (axis,) = new_figure(1, 1, (11, 1.5))
    axis.set_xlim(-0.5, len(steps) - 0.5)
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    for place, (name, text) in enumerate(steps.items()):
        ours = name in ("frames", "size", "numbers")
        box = {"boxstyle": "round,pad=0.5", "facecolor": "#e3ebf7" if ours else "white", "edgecolor": PLAIN}
        axis.text(place, 0.36, text, ha="center", va="center", fontsize=9, bbox=box)
        axis.text(place, 0.92, name, ha="center", va="center", fontsize=10, weight="bold")
        if place:
            axis.annotate("", (place - 0.38, 0.92), (place - 0.62, 0.92), arrowprops={"arrowstyle": "->"})
    return figure


def count_tables(tables: dict[str, np.ndarray], names: Sequence[str]):
    """Tables (C, C) of counts side by side: true class down, predicted class across; darker is more."""
    figure, axes = new_figure(1, len(tables), (4.6 * len(tables), 3.4))
    most = max(table.max() for table in tables.values())
    for number, (axis, (title, table)) in enumerate(zip(axes, tables.items(), strict=True)):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=most)
        for (row, column), count in np.ndenumerate(table):
            color = "white" if count > most / 2 else UNSURE if count == 0 else "#222222"
            axis.text(column, row, str(count), ha="center", va="center", color=color)
        axis.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names], fontsize=8)
        axis.set_yticks(range(len(names)), names if number == 0 else [""] * len(names), fontsize=9)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("the model says")
    axes[0].set_ylabel("it is")
    return figure


def _frames_rule(protocol) -> str:
    rules = {
        "whole": "spread evenly",
        "clips": f"{protocol.frame_rate} a second",
        "strided": f"every {protocol.stride} at {protocol.target_fps:g}/s",
    }
    return rules[protocol.sampling]


def _size_rule(protocol) -> str:
    rules = {
        "square_crop": "middle square\nto {} × {}",
        "square_pad": "padded square\nto {} × {}",
        "short_side": "short side\nto {}",
        "exact": "whole frame\nto {} × {}",
    }
    cut = "\ncut to {} × {}".format(*protocol.crop) if protocol.crop else ""
    return rules[protocol.resize].format(*protocol.resize_to) + cut


def _draw_stack(axis, frames: np.ndarray, shape: tuple[int, ...]) -> None:
    """Frames one behind the other, the first in front, with the array's axes named."""
    height, width = frames.shape[1:3]
    step = width * 0.16
    for place in reversed(range(len(frames))):
        left, up = place * step, place * step * 0.55
        axis.imshow(frames[place], extent=(left, left + width, up, up + height), zorder=len(frames) - place)
        edge = {"fill": False, "edgecolor": "white", "linewidth": 1, "zorder": len(frames) - place}
        axis.add_patch(_rectangle((left, up), width, height, **edge))
    reach = (len(frames) - 1) * step
    axis.set_xlim(-0.25 * width, width + reach + 5)
    axis.set_ylim(-0.28 * height, height + reach * 0.55 + 5)
    axis.text(width / 2, -0.06 * height, f"W = {shape[2]}", ha="center", va="top", fontsize=9)
    axis.text(-0.05 * width, height / 2, f"H = {shape[1]}", ha="right", va="center", rotation=90, fontsize=9)
    axis.text(width + reach * 0.5, 0.02 * height, f"T = {shape[0]}", ha="left", va="bottom", rotation=29, fontsize=9)
    axis.set_title(f"array of {shape}", fontsize=9)
    axis.set_axis_off()


def _draw_numbers(axis, plane: np.ndarray, side: int = 5) -> None:
    """The `side` × `side` pixels of a plane (H, W) that differ most, as numbers."""
    patches = np.lib.stride_tricks.sliding_window_view(plane, (side, side))
    top, left = np.unravel_index(patches.std(axis=(2, 3)).argmax(), patches.shape[:2])
    axis.imshow(np.stack([patches[top, left], *2 * [np.zeros((side, side), np.uint8)]], axis=-1))
    for (row, column), value in np.ndenumerate(patches[top, left]):
        axis.text(column, row, str(value), ha="center", va="center", fontsize=8, color="white")
    axis.set_title(f"{side} × {side} pixels: red, 0…255", fontsize=9)
    axis.set_axis_off()


def _empty_figure(size: tuple[float, float]):
    from matplotlib.figure import Figure  # half a second that importing the kit must not cost

    return Figure(size, layout="constrained")


def _rectangle(*place, **looks):
    from matplotlib.patches import Rectangle

    return Rectangle(*place, **looks)
