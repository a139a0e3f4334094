"""What the widgets share: a picture where there is no kernel, lines of HTML, loading a clip, drawing an answer."""

import base64
import html
from collections.abc import Sequence

import numpy as np

from vidbench.data.load import Failure, Sample, VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.metrics import ranking
from vidbench.models.spec import Spec
from vidbench.utils import extra_module, printable
from vidbench.visualize import pictures
from vidbench.visualize.moving import apng
from vidbench.visualize.style import WRONG

ipywidgets = extra_module("ipywidgets", "notebooks")

MOST_FRAMES = 32  # of a moving picture
RATES = (2.0, 15.0)  # frames a second of one
LABELS = {"description_width": "90px"}
UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"  # but read out


class Shown(ipywidgets.VBox):
    """Controls in a column, and the picture that stands in for them on a page without a kernel.

    The output holds `picture` (PNG bytes, moving or not) as `image/png` beside the widget, and `alt`, the same in
    words. A living notebook takes the widget; GitHub and nbconvert the picture, where no widget state is saved.
    """

    def __init__(self, children: Sequence, picture: bytes, alt: str):
        super().__init__(children, layout=ipywidgets.Layout(max_width="1040px"))
        self.picture, self.alt = picture, alt

    def _repr_mimebundle_(self, **options):
        picture = {"image/png": base64.b64encode(self.picture).decode(), "text/plain": self.alt}
        return super()._repr_mimebundle_(**options) | picture, {"image/png": {"alt": self.alt}}


def line(text: str) -> str:
    """A line of text as HTML; nothing in it is taken for markup."""
    return f'<div style="line-height:1.5">{html.escape(printable(text))}</div>'


def status(text: str) -> str:
    """A line that a screen reader speaks when it changes, for what a picture shows already."""
    return f'<div role="status" style="{UNSEEN}">{html.escape(printable(text))}</div>'


def message(text: str) -> str:
    """A line that says what went wrong."""
    style = f"line-height:1.5;border-left:4px solid {WRONG};padding:4px 10px;margin:4px 0"
    return f'<div role="alert" style="{style}">{html.escape(printable(text))}</div>'


def image(data: bytes, alt: str, kind: str = "png") -> str:
    """A picture as HTML, with its text."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = "max-width:100%;height:auto;border-radius:6px"
    return f'<img src="{source}" alt="{html.escape(printable(alt), quote=True)}" style="{style}">'


def load(video: Video, protocol: Protocol) -> Sample | Failure:
    """One video, decoded in a process of its own: whatever it holds, this one lives on."""
    return next(iter(VideoLoader([video], protocol, workers=1)))


def domain_line(spec: Spec) -> str:
    """What a model has seen, and that nothing else counts."""
    return f"{spec.name} has seen {spec.domain}; of anything else its answers mean little"


def moving_answer(frames: np.ndarray, probabilities: np.ndarray, classes, **options) -> np.ndarray:
    """`pictures.answer` of at most MOST_FRAMES frames: (T, height, width, 3)."""
    kept = np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int)
    return pictures.answer(frames[kept], probabilities, classes, **options)


def real_rate(pages: np.ndarray, times: np.ndarray) -> float:
    """Frames a second at which `pages` last as long as `times` (seconds) do, within RATES."""
    lasts = float(times[-1] - times[0])
    return float(np.clip((len(pages) - 1) / lasts, *RATES)) if lasts > 0 else RATES[0]


def answer_picture(frames: np.ndarray, times: np.ndarray, probabilities: np.ndarray, classes, **options) -> bytes:
    """A clip that moves beside its answer, an animated PNG; options are those of `pictures.answer`."""
    pages = moving_answer(frames, probabilities, classes, **options)
    return apng(pages, real_rate(pages, times), colors=96)


def in_words(probabilities: np.ndarray, classes: Sequence[str], reject: float = 0.0, truth: str | None = None) -> str:
    """An answer as text: the verdict, and the five likeliest classes."""
    best = ranking(probabilities)[:5]
    listed = ", ".join(f"{classes[index]} {100 * probabilities[index]:.1f} %" for index in best)
    return f"{pictures.verdict(probabilities, classes, reject, truth)}. The likeliest: {listed}"
