"""What stands about: chairs, boxes, balls, a passer-by, lamp posts."""

import numpy as np

from vidbench.data.demo import motion
from vidbench.data.demo.brush import Color, disc, fill, limb, shade, tint
from vidbench.data.demo.figure import Place, draw_actor
from vidbench.data.demo.motion import BOX, SEAT
from vidbench.data.demo.plan import FPS, Shot, View
from vidbench.data.demo.specs import ClipSpec

PASSER_BY, LAMP_POST, DECOY = 0.6, 0.4, 1 / 3  # how often: the first two at level 2 only


def draw_chair(image: np.ndarray, place: Place, scale: float, color: Color) -> None:
    """A chair whose seat is in the middle of x = 0, its back on the left; `place` takes statures to pixels."""
    dark = shade(color, 0.7)

    def bar(x0, y0, x1, y1, width, paint):
        limb(image, *place(np.array([[x0, y0], [x1, y1]], float)), width * scale, width * scale, paint)

    bar(-0.075, SEAT, -0.085, 0.0, 0.011, dark)
    bar(0.085, SEAT, 0.095, 0.0, 0.011, dark)
    bar(-0.1, SEAT - 0.012, 0.1, SEAT - 0.012, 0.016, color)
    bar(-0.105, 0.0, -0.1, SEAT, 0.013, color)
    bar(-0.1, SEAT, -0.125, 0.53, 0.013, color)
    bar(0.105, 0.0, 0.1, SEAT - 0.01, 0.013, color)


def draw_box(image: np.ndarray, place: Place, center: np.ndarray, color: Color) -> None:
    """A cardboard box with tape, `center` (2,) in statures."""
    half = BOX / 2
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    fill(image, place(center + corners * 1.08), shade(color, 0.55))
    fill(image, place(center + corners), color)
    fill(image, place(center + corners * (1, 0.24) + (0, half * 0.76)), shade(color, 1.16))
    fill(image, place(center + corners * (0.16, 1)), shade(color, 0.78))


def draw_ball(image: np.ndarray, place: Place, scale: float, center: np.ndarray, color: Color) -> None:
    """A ball, `center` (2,) in statures."""
    disc(image, place(center[None])[0], 0.052 * scale, shade(color, 0.7))
    disc(image, place(center[None] + (-0.006, 0.006))[0], 0.044 * scale, color)


class Things:
    """Chair and box (needed or as a decoy), passer-by and lamp posts of one shot."""

    def __init__(self, spec: ClipSpec, shot: Shot, left: int, right: int):
        rng = np.random.default_rng([spec.seed, 29])
        self.shot, self.spec = shot, spec
        self.sits = spec.action in ("sitting down", "standing up")
        self.wood = tint(rng, (0.3, 0.7), (0.3, 0.7))
        self.card = (rng.uniform(170, 215), rng.uniform(120, 155), rng.uniform(70, 110))
        self.toy = tint(rng, (0.7, 0.95), (0.7, 0.95))
        self.chairs = self._decoys(rng, left, right, not self.sits)
        lifts = spec.action in ("picking up a box", "putting down a box")
        self.boxes = self._decoys(rng, left, right, not lifts)
        hard = spec.level == 2
        self.walker = _Walker(rng, shot) if rng.random() < PASSER_BY and hard else None
        posts = rng.uniform(-190, 190) + np.arange(-8, 9) * rng.uniform(560, 760)
        self.posts = posts if rng.random() < LAMP_POST and hard else np.empty(0)

    def _decoys(self, rng: np.random.Generator, left: int, right: int, wanted: bool) -> np.ndarray:
        """Where a thing stands that nobody uses: beside the figure, and again along a longer way."""
        shift = rng.choice((-1, 1)) * rng.uniform(0.42, 0.75) * self.shot.scale
        shown = rng.random() < DECOY and wanted
        steps = np.arange(-8, 9) * rng.uniform(420, 520)
        places = (shift + steps) if self.spec.action in ("walking", "running") else np.array([shift])
        return places[(places > left) & (places < right)] if shown else np.empty(0)

    def draw_behind(self, canvas: np.ndarray, view: View, index: int) -> None:
        """Passer-by, chairs and the boxes that nobody holds."""
        shot, size = self.shot, view.zoom * self.shot.scale
        if self.walker is not None:
            self.walker.draw(canvas, view, index)
        for x in self.chairs:
            draw_chair(canvas, view.at(x, shot.ground - 14, shot.scale), size, self.wood)
        for x in self.boxes:
            draw_box(canvas, view.at(x, shot.ground - 10, shot.scale), np.array([0, BOX / 2]), self.card)
        if self.sits:
            draw_chair(canvas, view.at(-0.235 * shot.scale, shot.ground, shot.scale), size, self.wood)

    def draw_held(self, canvas: np.ndarray, place: Place, size: float, pose: motion.Pose) -> None:
        """Box or ball that the action is about."""
        if pose.box is not None:
            draw_box(canvas, place, pose.box, self.card)
        if pose.ball is not None:
            draw_ball(canvas, place, size, pose.ball, self.toy)

    def draw_before(self, canvas: np.ndarray, view: View) -> None:
        """Lamp posts stand between the camera and the figure."""
        for x in self.posts:
            place, zoom = view.at(x, 400, 1.0), view.zoom
            limb(canvas, *place(np.array([[0.0, 0.0], [0.0, 420.0]])), 9 * zoom, 7 * zoom, (62, 64, 70))
            limb(canvas, *place(np.array([[0.0, -10.0], [0.0, 26.0]])), 15 * zoom, 13 * zoom, (50, 52, 58))


class _Walker:
    """Somebody who passes behind, drawn without a front: backwards in time they just pass the other way."""

    def __init__(self, rng: np.random.Generator, shot: Shot):
        self.scale = shot.scale * rng.uniform(0.5, 0.8)
        self.ground = shot.ground - rng.uniform(16, 30)
        middle, speed = rng.uniform(-60, 60), rng.choice((-1, 1)) * rng.uniform(0.35, 0.75) * self.scale
        clock = (np.arange(len(shot.poses)) - (len(shot.poses) - 1) / 2) / FPS
        self.x = shot.travel + middle + speed * clock
        self.turn = 2 * np.pi * rng.uniform(0.7, 1.1) * clock + rng.uniform(0, 2 * np.pi)
        self.actor = draw_actor(rng)

    def draw(self, canvas: np.ndarray, view: View, index: int) -> None:
        place, size = view.at(self.x[index], self.ground, self.scale), view.zoom * self.scale
        swing, actor = np.sin(self.turn[index]), self.actor
        hip, neck = np.array([0, 0.5]), np.array([0, 0.77])

        def bar(start, end, wide: float, narrow: float, color: Color) -> None:
            limb(canvas, *place(np.stack([start, end])), wide * size, narrow * size, color)

        bar(neck, neck + 0.33 * motion.down(-0.5 * swing), 0.033, 0.023, shade(actor.shirt, 0.7))
        bar(hip, hip + 0.46 * motion.down(0.45 * swing), 0.048, 0.034, shade(actor.trousers, 0.75))
        bar(hip, hip + 0.46 * motion.down(-0.45 * swing), 0.048, 0.034, actor.trousers)
        bar((0, 0.72), (0, 0.54), 0.068, 0.058, actor.shirt)
        bar(neck, neck + 0.33 * motion.down(0.5 * swing), 0.033, 0.023, shade(actor.shirt, 0.85))
        disc(canvas, place(np.array([[0, 0.9]]))[0], 0.07 * size, actor.hair)
        disc(canvas, place(np.array([[0, 0.875]]))[0], 0.055 * size, actor.skin)
