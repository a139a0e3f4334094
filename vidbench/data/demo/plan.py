"""What moves when, where the camera looks and how light it is: everything that is decided before drawing."""

from dataclasses import dataclass

import numpy as np

from vidbench.data.demo import motion
from vidbench.data.demo.figure import Actor, Place, draw_actor
from vidbench.data.demo.scene import horizon_of
from vidbench.data.demo.specs import PARTNER, ClipSpec

FPS = 24
HEIGHT, WIDTH = 192, 256
CENTER = np.array([WIDTH, HEIGHT], float)  # of the canvas, which has twice the size
SECONDS = (2.4, 3.6)
REVERSED = ("putting down a box", "standing up")  # drawn as their partner, then played backwards
SIZES = ((225, 258), (195, 240), (132, 176))  # by level: canvas pixels a stature
SHAKE = (0.0, 1.6, 4.5)  # by level: canvas pixels
MIDDLE_ROWS = (174, 210)  # where the middle of the frame may be
FLICKER = (0.0, 0.02, 0.09)  # by level: share of the light


@dataclass(frozen=True)
class View:
    """Where the camera looks at one moment: the middle of the frame in canvas pixels, and the zoom."""

    x: float
    y: float
    zoom: float

    def at(self, x: float, row: float, scale: float) -> Place:
        """The function that takes points around (x, row), `scale` pixels a stature, to pixels of the canvas."""
        origin = CENTER + self.zoom * (np.array([x, row]) - (self.x, self.y))
        return lambda points: origin + points * (self.zoom * scale, -self.zoom * scale)


@dataclass(frozen=True, eq=False)
class Shot:
    """One clip, planned: everything per frame that drawing needs."""

    poses: list[motion.Pose]
    travel: np.ndarray  # (T,) where the figure is, canvas pixels
    camera: np.ndarray  # (T, 3) x and y of the middle in canvas pixels, and zoom
    gain: np.ndarray  # (T,) factor on the light
    scale: float  # canvas pixels a stature
    ground: float  # row of the figure's feet, canvas pixels


def plan(spec: ClipSpec) -> Shot:
    """Everything that is decided before drawing.

    The chances are drawn in one fixed order and none depends on which of two partners is asked for. Each is as
    likely as its mirror image in time (idle before and after, pan to and fro, shake and flicker), so that
    nothing but the action itself has a direction.
    """
    rng = np.random.default_rng([spec.seed, 3])
    seconds = rng.uniform(*SECONDS)
    scale = rng.uniform(*SIZES[spec.level]) * actor_of(spec).stature
    ground = rng.uniform(horizon_of(spec.group) + 34, 362)
    offset = rng.uniform(-70, 70)
    clock = np.arange(round(seconds * FPS)) / FPS
    camera = _camera(spec, clock, ground, scale, rng)
    gain = spec.light * (1 + FLICKER[spec.level] * _waves(clock, (2.0, 7.0), rng))
    poses, travel = _performance(spec, clock, rng)
    camera[:, 0] += travel * scale + offset
    return Shot(poses, travel * scale, camera, gain, scale, ground)


def _waves(clock: np.ndarray, rates: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """(T,) a smooth chance path of about -1…1; neither end nor direction of time is special."""
    rate, phase = rng.uniform(*rates, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    return np.sin(2 * np.pi * rate * clock + phase).sum(axis=0) / 2


def _camera(spec: ClipSpec, clock, ground: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """(T, 3) x and y of the middle relative to the figure's place, and zoom."""
    part = np.linspace(-0.5, 0.5, len(clock))
    pan = rng.choice((-1, 1)) * rng.uniform(60, 120) * part * (spec.camera == "pan")
    zoom = rng.choice((-1, 1)) * rng.uniform(0.12, 0.26) * part * (spec.camera == "zoom")
    shake = SHAKE[spec.level] * np.stack([_waves(clock, (0.5, 3.0), rng) for _ in range(2)])
    middle = np.clip(ground - 0.45 * scale, *MIDDLE_ROWS)
    return np.stack([pan + shake[0], np.full(len(clock), middle) + shake[1], np.exp(zoom)], axis=1)


def _performance(spec: ClipSpec, clock, rng: np.random.Generator) -> tuple[list[motion.Pose], np.ndarray]:
    """The pose at each moment and how far the figure has travelled, in statures, from the middle of the clip."""
    action = PARTNER[spec.action] if spec.action in REVERSED else spec.action
    still = np.zeros(len(clock))
    if action in ("walking", "running"):
        gait = motion.draw_gait(action == "running", spec.speed, rng)
        return [motion.stride(gait, t) for t in clock], gait.pace * (clock - clock[-1] / 2)
    if action == "waving":
        rate, reach, both = rng.uniform(1.1, 1.7) * spec.speed, rng.uniform(1.6, 2.2), rng.random() < 0.25
        start = rng.uniform(0, 1)
        return [motion.wave(t + start, rate, reach, both) for t in clock], still
    if action in ("star jumps", "clapping hands"):
        move, rates = (motion.jump, (0.8, 1.05)) if action == "star jumps" else (motion.clap, (1.6, 2.4))
        rate, phase = rng.uniform(*rates) * spec.speed, rng.uniform(0, 2 * np.pi)
        return [move(t, rate, phase) for t in clock], still
    moves = {"sitting down": (motion.sit, 1.05), "picking up a box": (motion.lift, 1.5)}
    moves |= {"throwing a ball": (motion.throw, 1.2), "catching a ball": (motion.catch, 1.1)}
    move, usual = moves[action]
    lasts = min(usual / spec.speed, clock[-1] * 0.85)
    start = rng.uniform(0.06, 0.94) * (clock[-1] - lasts)
    return [move((t - start) / lasts) for t in clock], still


def actor_of(spec: ClipSpec) -> Actor:
    """Who acts in the recording."""
    return draw_actor(np.random.default_rng([spec.group, 5]))
