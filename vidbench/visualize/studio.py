"""The studio: change a drawn clip, and see what a model makes of it."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from vidbench.data.demo import ACTIONS, BACKGROUNDS, CAMERAS, FPS, PARTNER, ClipSpec, render
from vidbench.data.process import assemble_views, process_frame
from vidbench.data.protocol import Protocol
from vidbench.metrics import softmax
from vidbench.visualize.moving import apng, tile
from vidbench.visualize.widget_parts import LABELS, Shown, image, in_words, ipywidgets, moving_answer, real_rate, status

LOOKS = 4
PANEL = {"height": 144, "bars": 230, "top": 3}  # of `pictures.answer`: two of them fit beside each other


@dataclass(frozen=True, eq=False)
class Look:
    """One drawn clip and what a model says of it."""

    spec: ClipSpec
    backwards: bool
    pages: np.ndarray  # (T, height, width, 3) uint8: the clip beside its bars
    rate: float  # pages a second
    words: str


def studio(model, action: str = "sitting down") -> Shown:
    """A drawn clip whose action, speed, camera, light and direction can be changed: the last four looks at it.

    It begins with the clip as drawn, done fast, in the dark before a moving camera, and reversed. The true class of a
    reversed clip is that of its partner (`vidbench.data.demo.PARTNER`), where it has one. Raises UserError for an
    unknown action.
    """
    return _Studio(model, action)


def true_action(action: str, backwards: bool) -> str:
    """What is seen of an action: played backwards, sitting down is standing up.

    >>> true_action("sitting down", True), true_action("waving", True)
    ('standing up', 'waving')
    """
    return PARTNER.get(action, action) if backwards else action


def model_views(frames: np.ndarray, fps: float, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """What a model is given of frames (T, H, W, 3) uint8: (views, t, h, w, 3), and the times (t,) of the first clip."""
    indices = protocol.indices(len(frames), fps)
    used, positions = np.unique(indices, return_inverse=True)
    processed = np.stack([process_frame(frames[index], protocol) for index in used])
    return assemble_views(processed, positions.reshape(indices.shape), protocol), indices[0] / fps


def look(model, spec: ClipSpec, backwards: bool = False) -> Look:
    """Draw a clip and ask the model."""
    frames = render(spec).frames
    views, times = model_views(frames[::-1] if backwards else frames, FPS, model.spec.protocol)
    probabilities = softmax(model(views)).mean(axis=0)
    truth, shown = true_action(spec.action, backwards), views[model.spec.protocol.crops // 2]
    parts = [spec.action, f"speed {spec.speed:g}", f"camera {spec.camera}", f"light {spec.light:g}"]
    heading = ", ".join([*parts, "reversed"] if backwards else parts)
    pages = moving_answer(shown, probabilities, model.spec.classes, heading=heading, truth=truth, **PANEL)
    words = f"{heading}: {in_words(probabilities, model.spec.classes, truth=truth)}"
    return Look(spec, backwards, pages, real_rate(pages, times), words)


class _Studio(Shown):
    def __init__(self, model, action: str):
        self.model, self.scene = model, ClipSpec(action, seed=21, group=5)
        self.action = ipywidgets.Dropdown(options=ACTIONS, value=action, description="Action", style=LABELS)
        self.camera = ipywidgets.Dropdown(options=CAMERAS, description="Camera", style=LABELS)
        options = {"step": 0.05, "continuous_update": False, "style": LABELS}
        self.speed = ipywidgets.FloatSlider(1.0, min=0.5, max=2.0, description="Speed", **options)
        self.light = ipywidgets.FloatSlider(1.0, min=0.2, max=2.0, description="Light", **options)
        self.backwards = ipywidgets.Checkbox(description="Reversed", indent=False)
        self.other = ipywidgets.Button(description="Another scene", tooltip="another person in another place")
        for control in (self.action, self.camera, self.speed, self.light, self.backwards):
            control.observe(self._look_again, "value")
        self.other.on_click(self._new_scene)
        self.said = ipywidgets.HTML()
        half = ipywidgets.Layout(width="48%", min_width="360px", margin="0 1% 0 0")
        self.panels = [ipywidgets.HTML(layout=half) for _ in range(LOOKS)]
        self.looks = deque(self._first_looks(), LOOKS)
        self._show()
        super().__init__(self._laid_out(), *self._picture())

    def _first_looks(self) -> list[Look]:
        variants = (({}, False), ({"speed": 1.6}, False), ({"camera": "zoom", "light": 0.4}, False), ({}, True))
        return [look(self.model, replace(self.scene, **changes), backwards) for changes, backwards in variants]

    def _laid_out(self) -> list:
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        rows = ([self.action, self.camera], [self.speed, self.light], [self.backwards, self.other])
        controls = [ipywidgets.HBox(row, layout=wrap) for row in rows]
        return [*controls, self.said, ipywidgets.HBox(self.panels, layout=wrap)]

    def _look_again(self, _=None) -> None:
        """The new look comes first, the oldest goes."""
        changes = {"action": self.action.value, "camera": self.camera.value}
        changes |= {"speed": round(self.speed.value, 2), "light": round(self.light.value, 2)}
        self.looks.appendleft(look(self.model, replace(self.scene, **changes), self.backwards.value))
        self._show()
        self.said.value = status(self.looks[0].words)

    def _new_scene(self, _=None) -> None:
        group = self.scene.group + 1
        place = BACKGROUNDS[group % len(BACKGROUNDS)]
        self.scene = replace(self.scene, group=group, seed=self.scene.seed + 1, background=place)
        self._look_again()

    def _show(self) -> None:
        for panel, seen in zip(self.panels, self.looks, strict=True):
            panel.value = image(apng(seen.pages, seen.rate, colors=96), seen.words)

    def _picture(self) -> tuple[bytes, str]:
        pages = tile(np.stack([seen.pages for seen in self.looks]), columns=2)
        return apng(pages, self.looks[0].rate, colors=96), "; ".join(seen.words for seen in self.looks)
