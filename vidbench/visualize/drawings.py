"""The pictures in images/, which explain: what the task is, which frames are taken, how a number comes about.

Each is drawn from what the kit does: the demo's clips, its own sampling, its models' contracts.
`python -m vidbench.visualize --figures images/` draws them all anew, the same bytes every time with one Matplotlib.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vidbench.data.demo import PARTNER, demo_specs, render
from vidbench.data.protocol import Protocol
from vidbench.data.sampling import resample_indices
from vidbench.visualize.moving import save_apng, tile
from vidbench.visualize.style import PLAIN, WRONG, new_figure, save_figure

SCENES = {  # of the moving picture, action → where: every background twice
    "picking up a box": "room",
    "putting down a box": "street",
    "running": "park",
    "sitting down": "gym",
    "standing up": "park",
    "star jumps": "street",
    "walking": "gym",
    "waving": "room",
}
RATES = ("r2plus1d_18", "slowfast_r50_8x8", "x3d_m", "demo")  # models that look at time in four ways
INK, FAINT, LINE, PAPER = "#24292f", "#6e7781", "#d0d7de", "#ffffff"  # a white card: readable on light and dark pages
WIDTH = 9.0  # inches


def demo_clip(action: str, background: str, num_frames: int, size: tuple[int, int]) -> np.ndarray:
    """(num_frames, H, W, 3) uint8: frames, evenly chosen, of the demo's easiest clip of an action; size: (W, H)."""
    specs = [spec for spec in demo_specs("val") if (spec.action, spec.background) == (action, background)]
    frames = render(min(specs, key=lambda spec: spec.level)).frames
    picked = frames[np.linspace(0, len(frames) - 1, num_frames).astype(int)]
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in picked])


def demo_actions() -> np.ndarray:
    """(16, 288, 768, 3) uint8: the demo's eight actions side by side, moving."""
    clips = [demo_clip(action, background, 16, (192, 144)) for action, background in SCENES.items()]
    return tile(np.stack(clips), columns=4)


def task():
    """What is asked: the same frames in either order, and the two actions that they are."""
    action, height = "sitting down", 3.0
    figure, axis = _card(WIDTH, height)
    clip = demo_clip(action, "park", 9, (240, 180))[4:, 30:, 20:220]  # where, and while, something moves
    frames = [_few_colors(frame) for frame in clip]
    for row, (shown, name) in enumerate(((frames, action), (frames[::-1], PARTNER[action]))):
        top = 0.3 + 1.3 * row
        for column, frame in enumerate(shown):
            left = 0.25 + 1.32 * column
            axis.imshow(frame, extent=(left, left + 1.24, top + 0.93, top), aspect="auto", interpolation="none")
        _arrow(axis, (0.25, top + 1.05), (6.4, top + 1.05), FAINT)
        _write(axis, 6.45, top + 1.05, "time", 9, FAINT, ha="left")
        _arrow(axis, (6.95, top + 0.46), (7.3, top + 0.46), INK)
        _write(axis, 7.4, top + 0.46, name, 13, (PLAIN, WRONG)[row], ha="left", weight="bold")
    return _fitted(figure, axis, height)


def resampling(down: tuple[int, int] = (10, 4), up: tuple[int, int] = (5, 10)):
    """Which frames are taken where a video has more of them than a model wants, and where it has fewer.

    down, up: (frames of the video, frames wanted); the rule is `resample_indices`.
    """
    height = 2.55
    figure, axis = _card(WIDTH, height)
    for left, (have, want), name in ((0.3, down, "Downsampling"), (4.75, up, "Upsampling")):
        picked = resample_indices(have, want)
        taken = np.bincount(picked, minlength=have)
        count, fate = ((taken == 0).sum(), "left out") if want < have else ((taken > 1).sum(), "taken more than once")
        _write(axis, left, 0.35, f"{name}: {have} frames, {want} wanted", 11, INK, ha="left", weight="bold")
        _write(axis, left, 2.3, f"{count} of the video's frames are {fate}", 9, FAINT, ha="left")
        above, below = _places(left, have), _places(left, want)
        for index, place in enumerate(above):
            _frame(axis, place, 0.85, str(index), PAPER if not taken[index] else WRONG if taken[index] > 1 else PLAIN)
        for position, index in enumerate(picked):
            color = WRONG if taken[index] > 1 else PLAIN
            axis.plot([above[index], below[position]], [1.05, 1.65], color=color, linewidth=1.2)
            _frame(axis, below[position], 1.85, str(index), color)
    return _fitted(figure, axis, height)


def frame_rates(protocols: Mapping[str, Protocol], num_frames: int = 300, fps: float = 30.0):
    """Which frames of one video models look at: a time line each, its first clip in colour, further ones in grey."""
    height, seconds = 0.85 + 0.62 * (len(protocols) + 1), num_frames / fps
    figure, axis = _card(WIDTH, height)
    left, scale = 2.75, (WIDTH - 3.1) / seconds
    rows = [("the file", f"{fps:g} frames a second", [np.arange(num_frames)], FAINT)]
    for name, protocol in protocols.items():
        clips = list(protocol.indices(num_frames, fps))
        rows.append((name, _frames_in_words(protocol, clips[0], fps), clips, PLAIN))
    for row, (name, words, clips, color) in enumerate(rows):
        middle = 0.45 + 0.62 * row
        _write(axis, 0.3, middle - 0.11, name, 10.5, INK, ha="left", weight="bold")
        _write(axis, 0.3, middle + 0.11, words, 8.5, FAINT, ha="left")
        for number, clip in reversed(list(enumerate(clips))):
            reach, tint = (0.2, color) if not number else (0.11, "#b6bec7")
            axis.vlines(left + clip / fps * scale, middle - reach, middle + reach, color=tint, linewidth=0.9)
    bottom = height - 0.5
    _write(axis, 0.3, bottom + 0.1, "first clip in blue, others grey", 8.5, FAINT, ha="left")
    axis.plot([left, left + seconds * scale], [bottom, bottom], color=INK, linewidth=0.8)
    for second in range(int(seconds) + 1):
        axis.plot([left + second * scale] * 2, [bottom, bottom + 0.05], color=INK, linewidth=0.8)
        _write(axis, left + second * scale, bottom + 0.17, f"{second} s", 8.5, INK)
    return _fitted(figure, axis, height)


def pipeline(spec):
    """From a file to a number, step by step, with what a model's contract (a `Spec`) makes of a video at each."""
    protocol, height = spec.protocol, 3.35
    high, wide = protocol.frame_size
    shape = f"{protocol.num_frames} × {high} × {wide} × 3"
    steps = (
        ("list", "videos, classes", "data/datasets/", "found and missing"),
        ("decode", "a file, frame by frame", "data/decode.py", "uint8, RGB"),
        ("sample", _frames_in_words(protocol), "data/sampling.py", f"{protocol.num_frames} frames a clip"),
        ("resize, crop", f"to {high} × {wide}", "data/process.py", shape),
        ("network", spec.name, "models/", f"{len(spec.classes)} logits a view"),
        ("average", f"clips × crops: {protocol.clips} × {protocol.crops}", "predict.py", "mean probabilities"),
        ("one row a video", "predictions.csv", "results.py", "the likeliest classes"),
        ("report", "accuracy, interval", "report/", "verdict"),
    )
    figure, axis = _card(WIDTH, height)
    for number, step in enumerate(steps):
        row, column = divmod(number, 4)
        left, top = 0.25 + 2.2 * column, 0.3 + 1.65 * row
        _box(axis, left, top, step)
        if column:
            _arrow(axis, (left - 0.28, top + 0.55), (left - 0.03, top + 0.55), INK)
    axis.plot(
        [7.8, 7.8, 1.2, 1.2], [1.42, 1.67, 1.67, 1.75], color=INK, linewidth=1.2
    )  # from the first row to the next
    _arrow(axis, (1.2, 1.72), (1.2, 1.93), INK)
    _arrow(axis, (2.75, 1.41), (2.75, 1.63), WRONG)
    _write(axis, 2.88, 1.54, "what cannot be read: a row of failures.csv, with the reason", 9, WRONG, ha="left")
    return _fitted(figure, axis, height)


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture of images/ into a folder; gives their paths."""
    from vidbench.models import spec_of  # TensorFlow, which a picture of a clip does not need

    folder = Path(folder)
    save_apng(demo_actions(), folder / "demo.png", fps=6, colors=96)
    drawings: dict[str, Callable] = {
        "task": task,
        "resampling": resampling,
        "frame_rates": lambda: frame_rates({name: spec_of(name).protocol for name in RATES}),
        "pipeline": lambda: pipeline(spec_of("r2plus1d_18")),
    }
    for name, draw in drawings.items():
        _save(draw(), folder / f"{name}.svg")
    return [folder / "demo.png", *(folder / f"{name}.svg" for name in drawings)]


def _save(figure, path: Path) -> None:
    """As `save_figure`, without a date and with ids that are the same every time."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "vidbench", "svg.fonttype": "path"}):
        save_figure(figure, path, metadata={"Date": None, "Creator": None})


def _card(width: float, height: float):
    """A white card with round corners on nothing, and axes in inches from its upper left corner."""
    from matplotlib.patches import FancyBboxPatch

    figure, (axis,) = new_figure(1, 1, (width, height))
    figure.set_layout_engine("none")
    figure.patch.set_alpha(0)
    axis.set_position([0, 0, 1, 1])
    axis.set_axis_off()
    shape = "round,pad=0,rounding_size=0.12"
    axis.add_patch(FancyBboxPatch((0.03, 0.03), width - 0.06, height - 0.06, shape, fc=PAPER, ec=LINE, zorder=-1))
    return figure, axis


def _fitted(figure, axis, height: float):
    """The figure with its axes in inches again, which pictures and lines have changed."""
    axis.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")
    return figure


def _write(axis, x: float, y: float, text: str, size: float, color: str, **options) -> None:
    axis.text(x, y, text, fontsize=size, color=color, **({"ha": "center", "va": "center"} | options))


def _arrow(axis, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=end, xytext=start, arrowprops=style)


def _few_colors(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 with at most 96 colours, and so without the noise that a small file has no room for."""
    few = Image.fromarray(cv2.medianBlur(frame, 3)).quantize(96, kmeans=3, dither=Image.Dither.NONE)
    return np.asarray(few.convert("RGB"))


def _places(left: float, count: int, width: float = 3.9) -> np.ndarray:
    """The middles of `count` frames that share out a width from `left` on, in inches."""
    return left + width * (np.arange(count) + 0.5) / count


def _frame(axis, middle: float, y: float, text: str, color: str) -> None:
    """A small square with a number, `color` inside; a white one has a broken edge: it is left out."""
    from matplotlib.patches import Rectangle

    empty = color == PAPER
    edge = {"edgecolor": FAINT if empty else color, "linestyle": "--" if empty else "-"}
    axis.add_patch(Rectangle((middle - 0.16, y - 0.18), 0.32, 0.36, facecolor=color, **edge))
    _write(axis, middle, y, text, 10, FAINT if empty else PAPER, weight="bold")


def _box(axis, left: float, top: float, step: tuple[str, str, str, str]) -> None:
    """A step of the pipeline: its name, what it does, its module, what comes out."""
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.07"
    axis.add_patch(FancyBboxPatch((left, top), 1.9, 1.1, shape, facecolor="#f3f6fa", edgecolor=PLAIN))
    name, action, module, outcome = step
    _write(axis, left + 0.95, top + 0.2, name, 11.5, INK, weight="bold")
    _write(axis, left + 0.95, top + 0.45, action, 9, INK)
    _write(axis, left + 0.95, top + 0.67, outcome, 9, INK)
    _write(axis, left + 0.95, top + 0.92, module, 8, FAINT, family="monospace")


def _frames_in_words(protocol: Protocol, clip: np.ndarray | None = None, fps: float = 30.0) -> str:
    """How a protocol steps through time, and how long a clip of these frame numbers lasts."""
    words = {
        "whole": "evenly over the video",
        "clips": f"{protocol.frame_rate or 0:g} a second",
        "strided": f"one in {protocol.stride}",
    }[protocol.sampling]
    if clip is None:
        return words
    return f"{protocol.num_frames} frames, {words}: {(clip[-1] - clip[0]) / fps:.1f} s"
