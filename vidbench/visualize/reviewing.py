"""The review of candidate clips: each plays beside its score curve, and a key says what becomes of it."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vidbench.candidates.peaks import Candidate, smooth
from vidbench.candidates.pictures import is_none
from vidbench.candidates.review import (
    ACCEPT,
    REJECT,
    Decision,
    accept,
    candidates_in,
    clip_of,
    keep_decisions,
    read_decisions,
    reject,
    relabel,
)
from vidbench.candidates.scores import read_scores
from vidbench.data.load import Failure
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.utils import canonical_label
from vidbench.visualize import pictures
from vidbench.visualize.moving import apng
from vidbench.visualize.playing import as_pixels
from vidbench.visualize.scanning import candidate_curve
from vidbench.visualize.widget_parts import (
    LABELS,
    MOST_FRAMES,
    Shown,
    image,
    ipywidgets,
    line,
    load,
    message,
    real_rate,
    status,
)

PLAYED = Protocol(num_frames=MOST_FRAMES, resize="short_side", resize_to=(pictures.HEIGHT, pictures.HEIGHT), crop=None)
MOST_DIGITS = 9  # classes that a single key names
DONE = {ACCEPT: "accepted", REJECT: "rejected"}


class CandidateReview(Shown):
    """The candidates of a scan, one by one: the clip plays beside its score curve; accept, reject or relabel it.

    By button, or by a key in the box: `a` accepts, `r` rejects, a digit says which of `classes` it is instead, `n` and
    `b` go on and back. Each decision is in the scan's `review.csv` before the next clip is shown, and a new review of
    the folder begins with the first candidate that has none. classes: what clips can be relabelled as (default: the
    classes of the scan). Raises UserError where the folder holds no candidates.
    """

    def __init__(self, scan_folder: str | Path, classes: Sequence[str] | None = None):
        self.folder = Path(scan_folder)
        self.candidates = candidates_in(self.folder)
        self.decisions = read_decisions(self.folder)
        self._known = _scanned_classes(self.folder)
        labels = [item.label for item in self.candidates]
        wanted = [name for name in self._known or dict.fromkeys(labels) if not is_none(name)]
        self.classes = tuple(classes or wanted)
        self.place = next((place for place in range(len(labels)) if not self._decided(place)), len(labels) - 1)
        self._build()
        self._show()
        picture = apng(self._shown, self._rate, colors=96) if len(self._shown) > 1 else _still(self._shown[0])
        children = [self.heading, self.shown, self.said, self._buttons(), self._keys(), self.told]
        super().__init__(children, picture, self._words)

    # ------------------------------------------------------------------ what a person does

    @property
    def current(self) -> Candidate:
        """The candidate that is shown."""
        return self.candidates[self.place]

    def accept(self) -> None:
        """The clip shows what the scan took it for; the next one without a decision comes."""
        self._decide(accept(self.current))

    def reject(self) -> None:
        """The clip is left out."""
        self._decide(reject(self.current))

    def relabel(self, label: str) -> None:
        """The clip shows another action. Raises UserError for a name that no folder can have."""
        self._decide(relabel(self.current, label))

    def go(self, steps: int) -> None:
        """Look at a later or an earlier candidate, decided or not."""
        self.place = int(np.clip(self.place + steps, 0, len(self.candidates) - 1))
        self._show()

    def press(self, key: str) -> None:
        """What a key does: a, r, n, b, or the number of a class."""
        key = key.lower()
        acts = {"a": self.accept, "r": self.reject, "n": lambda: self.go(1), "b": lambda: self.go(-1)}
        digits = {str(number): name for number, name in enumerate(self.classes[:MOST_DIGITS], start=1)}
        if key in acts:
            acts[key]()
        elif key in digits:
            self.relabel(digits[key])
        else:
            self.told.value = message(f"the key {key!r} does nothing here")

    # ------------------------------------------------------------------ how it comes about

    def _decided(self, place: int) -> Decision | None:
        return self.decisions.get(self.candidates[place].key)

    def _decide(self, decision: Decision) -> None:
        kept = {**self.decisions, decision.key: decision}
        try:
            keep_decisions(self.folder, kept)
        except OSError as problem:
            self.told.value = message(f"the decision could not be written: {problem.strerror}")
            return
        self.decisions = kept
        number = len(self.candidates)
        later = [(self.place + step) % number for step in range(1, number)]
        self.place = next((place for place in later if not self._decided(place)), self.place)
        self._show()
        self.told.value = status(f"{decision.key} {_in_words(decision)}. {self._words}")

    def _build(self) -> None:
        self.heading, self.shown, self.said, self.told = (ipywidgets.HTML() for _ in range(4))
        names = (("Accept", "success"), ("Reject", "danger"), ("Relabel as", ""), ("Back", ""), ("Next", ""))
        self.buttons = {name: ipywidgets.Button(description=name, button_style=style) for name, style in names}
        for name, button in self.buttons.items():
            button.layout.width = "auto"
            button.tooltip = f"key {name[0].lower()}" if name != "Relabel as" else "keys 1, 2, 3 …"
        self.choice = ipywidgets.Dropdown(options=self.classes, description="Class", style=LABELS)
        options = {"continuous_update": True, "placeholder": "a, r, 1 …", "style": LABELS}
        self.key = ipywidgets.Text(description="Key", layout=ipywidgets.Layout(width="200px"), **options)
        self.buttons["Accept"].on_click(lambda _: self.accept())
        self.buttons["Reject"].on_click(lambda _: self.reject())
        self.buttons["Relabel as"].on_click(lambda _: self.relabel(self.choice.value))
        self.buttons["Next"].on_click(lambda _: self.go(1))
        self.buttons["Back"].on_click(lambda _: self.go(-1))
        self.key.observe(self._typed, "value")

    def _buttons(self):
        order = [self.buttons["Accept"], self.buttons["Reject"], self.buttons["Relabel as"], self.choice]
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        return ipywidgets.HBox([*order, self.buttons["Back"], self.buttons["Next"]], layout=wrap)

    def _keys(self):
        digits = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes[:MOST_DIGITS], start=1))
        text = f"Click into the box, then by key: a accept, r reject, n next, b back; it is rather {digits}"
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        return ipywidgets.HBox([self.key, ipywidgets.HTML(line(text))], layout=wrap)

    def _typed(self, change) -> None:
        """Of two keys that arrive together the first has been dealt with: the box was not empty yet."""
        if text := change["new"].strip():
            self.key.value = ""
            self.press(text[-1])

    def _show(self) -> None:
        item, decision = self.current, self._decided(self.place)
        words = f"Candidate {self.place + 1} of {len(self.candidates)}: {item.label}, {100 * item.score:.0f} % likely"
        words += f", seconds {item.start} to {item.end} of {item.youtube_id}"
        self._words = f"{words}: {_in_words(decision)}" if decision else words
        self.heading.value = line(self._words)
        self.choice.value = self._likely_choice(decision)
        clip = load(Video(f"{item.key}.mp4", clip_of(self.folder, item.key)), PLAYED)
        if isinstance(clip, Failure):
            text = f"{clip.video.video_id} cannot be shown: {clip.reason}; reject it, or go on"
            self._shown, self.shown.value = pictures.card([self._words, text])[None], message(text)
        else:
            self._shown = self._pages(clip.decoded.frames)
            self._rate = real_rate(self._shown, clip.decoded.times)
            self.shown.value = image(_webp(self._shown, self._rate), self._words, "webp")
        self.said.value = line(self._counted())
        self.told.value = ""

    def _likely_choice(self, decision: Decision | None) -> str:
        label = canonical_label(decision.label if decision else self.current.label)
        return next((name for name in self.classes if canonical_label(name) == label), self.classes[0])

    def _counted(self) -> str:
        keys = {item.key for item in self.candidates}
        counts = Counter(item.decision for item in self.decisions.values() if item.key in keys)
        left = len(self.candidates) - counts.total()
        parts = [f"{counts[name]} {word}" for name, word in (*DONE.items(), ("relabel", "relabelled"))]
        return f"{', '.join(parts)}; " + (
            f"{left} to go" if left else "all are decided: write_reviewed makes a data set"
        )

    def _pages(self, frames: np.ndarray) -> np.ndarray:
        """(T, H, W, 3) uint8: the clip beside its score curve."""
        curve = self._curve()
        if curve is None:
            return frames
        high = max(frames.shape[1], curve.shape[0])
        frames, curve = (_centred(part, high) for part in (frames, curve[None]))
        return np.concatenate([frames, np.repeat(curve, len(frames), axis=0)], axis=2)

    def _curve(self) -> np.ndarray | None:
        """(H, W, 3) uint8, None where the scan's scores are gone."""
        item, known = self.current, [canonical_label(name) for name in self._known]
        seen = read_scores(self.folder / "scores" / f"{item.youtube_id}.npz")
        if seen is None or canonical_label(item.label) not in known:
            return None
        own = seen.scores[:, known.index(canonical_label(item.label))]
        even = smooth(seen.times, own[:, None], item.end - item.start)[:, 0]
        others = [
            (other.start, other.end)
            for other in self.candidates
            if other != item and (other.youtube_id, other.label) == (item.youtube_id, item.label)
        ]
        return as_pixels(candidate_curve(seen.times, own, even, (item.start, item.end), item.label, others))


def _in_words(decision: Decision) -> str:
    return DONE.get(decision.decision) or f"relabelled as {decision.label}"


def _scanned_classes(folder: Path) -> list[str]:
    """The classes of the scores, in their order; none where the scan's note is gone."""
    try:
        return list(json.loads((folder / "scan.json").read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError):
        return []


def _centred(frames: np.ndarray, high: int) -> np.ndarray:
    """(T, h, W, 3) → (T, high, W, 3), white above and below."""
    above = (high - frames.shape[1]) // 2
    below = high - frames.shape[1] - above
    return np.pad(frames, ((0, 0), (above, below), (0, 0), (0, 0)), constant_values=255)


def _webp(pages: np.ndarray, rate: float) -> bytes:
    """(T, H, W, 3) uint8 as a moving WebP: made in a tenth of an animated PNG's time, and a person waits for it."""
    file = io.BytesIO()
    first, *others = (Image.fromarray(page) for page in pages)
    options = {"append_images": others, "duration": round(1000 / rate), "loop": 0, "quality": 80, "method": 0}
    first.save(file, "WEBP", save_all=True, **options)
    return file.getvalue()


def _still(page: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG", optimize=True)
    return file.getvalue()
