"""Widgets of the notebooks and of the application. Every page without a kernel shows a picture in their place.

All their controls are the standard ones, with labels, and go by the keyboard; nothing needs a network.
"""

import io
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vidbench.data.load import Failure, Sample
from vidbench.data.process import assemble_views, process_frame, seen_boxes
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.predict import Prediction, score
from vidbench.utils import UserError, printable
from vidbench.visualize import pictures
from vidbench.visualize.reviewing import CandidateReview
from vidbench.visualize.studio import studio
from vidbench.visualize.widget_parts import (
    LABELS,
    Shown,
    answer_picture,
    domain_line,
    image,
    in_words,
    ipywidgets,
    line,
    load,
    message,
    status,
)

__all__ = [
    "UPLOAD_MB",
    "CandidateReview",
    "classify_your_own",
    "clip_explorer",
    "find_file",
    "prediction_view",
    "studio",
]

UPLOAD_MB = 10  # tornado's limit of a WebSocket message; JupyterLab drops the connection over a larger one, silently
EXPLORED = Protocol(num_frames=240, resize="short_side", resize_to=(pictures.HEIGHT, pictures.HEIGHT), crop=None)
SAME_WISH = 0.5  # seconds: a click on the button also leaves the box, and is one wish, not two


def clip_explorer(videos: Sequence[Video], protocol: Protocol) -> Shown:
    """A class, a clip of it, and a slider over its frames: which of them, and what of each, `protocol` takes.

    The frames that are taken stand on a time line, the crop is drawn on the frame (scaled to 240 pixels), beside it
    what a model gets. Of a longer video 240 frames can be looked at. Raises UserError where there are no videos.
    """
    if not videos:
        raise UserError("there are no videos to explore")
    return _Explorer(videos, protocol)


class _Explorer(Shown):
    def __init__(self, videos: Sequence[Video], protocol: Protocol):
        self.by_class: dict[str, list[Video]] = {}
        for video in sorted(videos, key=lambda video: (video.label or "", video.video_id)):
            self.by_class.setdefault(video.label or "(no label)", []).append(video)
        self.protocol, self.item, self.indices = protocol, None, None
        self.classes = ipywidgets.Dropdown(options=list(self.by_class), description="Class", style=LABELS)
        self.clips = ipywidgets.Dropdown(description="Clip", style=LABELS)
        self.classes.layout.width = self.clips.layout.width = "min(420px, 100%)"
        self.frames = ipywidgets.IntSlider(description="Frame", readout=False, max=1, style=LABELS)
        self.frames.layout.width = "min(640px, 100%)"
        self.said, self.shown = ipywidgets.HTML(), ipywidgets.HTML()
        self.clips.observe(self._new_clip, "value")
        self.classes.observe(self._new_class, "value")
        self.frames.observe(self._new_frame, "value")
        self._new_class()
        self.frames.value = self.frames.max // 3
        children = [self.classes, self.clips, self.frames, self.said, self.shown]
        super().__init__(children, self._png(), self._words())

    def _new_class(self, _=None) -> None:
        videos = self.by_class[self.classes.value]
        self.clips.options = [(printable(video.video_id), video) for video in videos]  # which selects none
        self.clips.value = videos[0]

    def _new_clip(self, _=None) -> None:
        if self.clips.value is None:  # between two classes
            return
        self.item = load(self.clips.value, EXPLORED)
        if isinstance(self.item, Sample):
            info = self.item.info
            try:
                self.indices = self.protocol.indices(info.num_frames, info.fps)
            except ValueError as problem:
                self.item = Failure(self.clips.value, "sample", str(problem))
        if isinstance(self.item, Sample):
            self.frames.max = len(self.item.decoded.frames) - 1
        self._new_frame()

    def _new_frame(self, _=None) -> None:
        if isinstance(self.item, Failure):
            self.shown.value, self.said.value = "", message(self._words())
            return
        file = io.BytesIO()
        Image.fromarray(self._page()).save(file, "JPEG", quality=90, subsampling=0)  # quicker over the wire than PNG
        self.shown.value = image(file.getvalue(), self._words(), "jpeg")
        self.said.value = line(self._words())

    def _words(self) -> str:
        if isinstance(self.item, Failure):
            return f"{self.clips.value.video_id} cannot be shown: {self.item.reason}"
        info, place = self.item.info, self.frames.value
        index = self._places()[place]
        times = int(pictures.took(info.num_frames, self.indices)[index])
        taken = {0: "left out", 1: "taken"}.get(times, f"taken {times} times")
        return f"Frame {index} of {info.num_frames}, {self.item.decoded.times[place]:.2f} s: {taken}"

    def _places(self) -> np.ndarray:
        return np.unique(EXPLORED.indices(self.item.info.num_frames, self.item.info.fps))

    def _page(self) -> np.ndarray:
        info, frame = self.item.info, self.item.decoded.frames[self.frames.value]
        views = assemble_views(process_frame(frame, self.protocol)[None], np.zeros((1, 1), int), self.protocol)[:, 0]
        boxes = seen_boxes(info.height, info.width, self.protocol)
        index = int(self._places()[self.frames.value])
        view = views[len(views) // 2]
        return pictures.taken_and_seen(frame, boxes, view, self.indices, info.num_frames, index, info.seconds)

    def _png(self) -> bytes:
        file = io.BytesIO()
        page = pictures.card([self._words()]) if isinstance(self.item, Failure) else self._page()
        Image.fromarray(page).save(file, "PNG", optimize=True)
        return file.getvalue()


def prediction_view(model, video: Video | str | Path, reject: float = 0.0):
    """The clip that the model saw, moving, beside its five likeliest classes; above, what the model has ever seen.

    The true class, where the video has a label, is green. video: a record, or a file's path. Returns a picture, an
    `IPython.display.Image`, that every page shows, with or without a kernel. Raises UserError for a video that cannot
    be used.
    """
    from IPython.display import Image as Picture  # only notebooks have IPython

    video = video if isinstance(video, Video) else Video(Path(video).name, Path(video))
    outcome = _answer(model, video)
    if isinstance(outcome, Failure):
        raise UserError(f"{printable(video.video_id)} cannot be used: {outcome.reason}")
    picture, words = _drawn(model, outcome, reject, domain_line(model.spec))
    return Picture(data=picture, format="png", alt=words)


def _answer(model, video: Video) -> Prediction | Failure:
    try:
        return next(score(model, [load(video, model.spec.protocol)]))
    except UserError as problem:
        return Failure(video, "predict", str(problem))


def _drawn(model, outcome: Prediction, reject: float, heading: str = "") -> tuple[bytes, str]:
    """The animated PNG of an answer, and the answer in words."""
    clip, said, truth = outcome.sample.clip(), outcome.probabilities, outcome.video.label
    options = {"truth": truth, "reject": reject}
    picture = answer_picture(clip.frames, clip.times, said, model.spec.classes, heading=heading, **options)
    return picture, in_words(said, model.spec.classes, **options)


def classify_your_own(
    model,
    reject: float = 0.5,
    *,
    example: Video | str | Path | None = None,
    below: Path | None = None,
    upload_mb: int = UPLOAD_MB,
) -> Shown:
    """A box for a file's path, a button for an upload, and the model's answer, or the reason why there is none.

    reject: the probability below which an answer is "not sure enough". example: a video that is answered at once, and
    in the saved page's picture. below: for an application with visitors: only files below this folder may be named.
    upload_mb: what the server lets through (`UPLOAD_MB` in JupyterLab). A file is decoded in a process of its own:
    whatever it holds, the kernel lives on.
    """
    return _Form(model, reject, example, below, upload_mb)


class _Form(Shown):
    def __init__(self, model, reject: float, example, below: Path | None, upload_mb: int):
        self.model, self.below, self.upload_mb, self.outcome, self.ended = model, below, upload_mb, None, 0.0
        options = {"placeholder": "clip.mp4", "continuous_update": False, "style": LABELS}
        self.path = ipywidgets.Text(description="Path", layout=ipywidgets.Layout(width="min(640px, 100%)"), **options)
        wide = ipywidgets.Layout(width="auto")
        text = f"Upload (at most {upload_mb} MB)"
        self.upload = ipywidgets.FileUpload(description=text, tooltip="a video of your own", layout=wide)
        self.button = ipywidgets.Button(description="Classify", button_style="primary")
        options = {"min": 0.0, "max": 1.0, "step": 0.05, "readout_format": ".0%", "style": LABELS}
        self.least = ipywidgets.FloatSlider(reject, description="Sure from", **options)
        self.said, self.shown = ipywidgets.HTML(), ipywidgets.HTML()
        self.path.observe(self._named, "value")
        self.upload.observe(self._uploaded, "value")
        self.button.on_click(self._pressed)
        self.least.observe(self._show, "value")
        self._first(example)
        above = [ipywidgets.HTML(line(text)) for text in (domain_line(model.spec), self._hint())]
        buttons = ipywidgets.HBox([self.upload, self.button], layout=ipywidgets.Layout(flex_flow="row wrap"))
        children = [*above, self.path, buttons, self.least, self.said, self.shown]
        super().__init__(children, *self._picture(reject))

    def _hint(self) -> str:
        if self.below is not None:
            return "Name a file of this project, or upload a video. Where nothing happens then, press Classify."
        text = "Drop a video into JupyterLab's file panel and name it here, or upload a small one."
        return f"{text} Where nothing happens then, press Classify."

    def _first(self, example) -> None:
        if example is not None:
            video = example if isinstance(example, Video) else Video(Path(example).name, Path(example))
            self._classify(video)

    def _picture(self, reject: float) -> tuple[bytes, str]:
        """What a saved page shows: the example's answer, else what would be here."""
        if self.outcome is not None:
            return _drawn(self.model, self.outcome, reject, domain_line(self.model.spec))
        text = f"Here a running notebook has a path box and an upload button (at most {self.upload_mb} MB)."
        sure = f"An answer needs {100 * reject:.0f} %."
        file = io.BytesIO()
        Image.fromarray(pictures.card([domain_line(self.model.spec), text, sure])).save(file, "PNG", optimize=True)
        return file.getvalue(), f"{domain_line(self.model.spec)}. {text} {sure}"

    def _show(self, _=None) -> None:
        if self.outcome is not None:
            picture, words = _drawn(self.model, self.outcome, self.least.value)
            self.shown.value, self.said.value = image(picture, words), status(words)

    def _say(self, text: str) -> None:
        self.outcome, self.shown.value, self.said.value = None, "", message(text)

    def _classify(self, video: Video) -> None:
        self.outcome, self.shown.value, self.said.value = None, "", line(f"Looking at {video.video_id} …")
        outcome = _answer(self.model, video)
        if isinstance(outcome, Failure):
            self._say(f"{video.video_id} cannot be used: {outcome.reason}")
        else:
            self.outcome = outcome
            self._show()
        self.ended = time.monotonic()

    def _named(self, _=None) -> None:
        if not self.path.value.strip():
            return
        try:
            file = find_file(self.path.value, self.below)
        except UserError as problem:
            self._say(str(problem))
            self.ended = time.monotonic()
        else:
            self._classify(Video(file.name, file))

    def _uploaded(self, _=None) -> None:
        if not self.upload.value:
            return
        item, self.path.value = self.upload.value[-1], ""
        with tempfile.TemporaryDirectory() as folder:
            ending = re.sub(r"[^.0-9A-Za-z]", "", Path(item["name"]).suffix)[:12]
            file = Path(folder) / f"upload{ending}"  # what a visitor calls a file names none here
            file.write_bytes(item["content"])
            self._classify(Video(item["name"], file))

    def _pressed(self, _=None) -> None:
        if time.monotonic() - self.ended < SAME_WISH:
            return
        if self.path.value.strip():
            self._named()
        elif self.upload.value:
            self._uploaded()
        else:
            lost = f"an upload of more than {self.upload_mb} MB is lost on the way without a word"
            help = "" if self.below else "; drop such a file into JupyterLab's file panel and name it in the box"
            self._say(f"Nothing has arrived: no path is named, and {lost}{help}.")


def find_file(text: str, below: Path | None = None) -> Path:
    """The file that a person names: seen from here or from a folder above, as JupyterLab's "Copy Path" gives it.

    below: the folder that it must lie in, and is named from. Raises UserError where there is none.
    """
    name = Path(text.strip().strip("\"'")).expanduser()
    starts = [Path.cwd(), *Path.cwd().parents] if below is None else [Path(below)]
    for start in starts:
        file = (start / name).resolve()
        if below is not None and not file.is_relative_to(Path(below).resolve()):
            break
        try:
            if file.is_file():
                return file
        except OSError:  # a name that is too long
            break
    where = "here" if below is None else "in this project"
    raise UserError(f"there is no file {text.strip()[:200]} {where}")
