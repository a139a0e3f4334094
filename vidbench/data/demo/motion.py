"""How the figure moves: an action at a moment → the places of the joints.

Lengths are in statures (the figure is about 1 tall), x points where the figure looks, y up, the ground is y = 0.
A limb at angle 0 hangs down; positive angles (radians) lift it forward, in the front view outward.
"""

from dataclasses import dataclass

import numpy as np

TORSO, NECK, HEAD = 0.29, 0.055, 0.062
UPPER_ARM, FOREARM, THIGH, SHIN, ANKLE = 0.165, 0.15, 0.24, 0.235, 0.035
HIP_HEIGHT = THIGH + SHIN + ANKLE
SEAT = 0.265  # height of the chair's seat
BOX = 0.13  # side of the box
BOX_PLACE = 0.26  # how far in front of the ankles the box stands


@dataclass(frozen=True, eq=False)
class Pose:
    """The figure at one moment. Limbs are (2, 3, 2): far and near (front view: left and right), joints, xy."""

    view: str  # "side" or "front"
    hip: np.ndarray  # (2,)
    neck: np.ndarray  # (2,)
    head: np.ndarray  # (2,) its middle
    arms: np.ndarray  # shoulder, elbow, wrist
    legs: np.ndarray  # hip, knee, ankle
    feet: np.ndarray  # (2,) pitch in radians, 0 is flat
    box: np.ndarray | None = None  # (2,) middle of the box, where the action has one
    ball: np.ndarray | None = None  # (2,) middle of the ball


def down(angle: float) -> np.ndarray:
    """(2,) unit vector of a limb at `angle`."""
    return np.array([np.sin(angle), -np.cos(angle)])


def smooth(value: float) -> float:
    """0 up to 0, 1 from 1, with a soft start and a soft stop between."""
    value = min(max(value, 0.0), 1.0)
    return value * value * (3 - 2 * value)


def between(frames: list[tuple[float, ...]], phase: float) -> np.ndarray:
    """Soft interpolation of equally spaced key frames at `phase` in 0…1."""
    place = min(max(phase, 0.0), 1.0) * (len(frames) - 1)
    index = min(int(place), len(frames) - 2)
    part = smooth(place - index)
    return (1 - part) * np.array(frames[index]) + part * np.array(frames[index + 1])


def bent(start: np.ndarray, end: np.ndarray, first: float, second: float, side: float) -> np.ndarray:
    """(3, 2) two bones from `start` towards `end`; `side` +1 or -1 says where the joint between them points."""
    span = end - start
    reach = min(max(float(np.hypot(*span)), 1e-6), (first + second) * 0.999)
    along = span / max(float(np.hypot(*span)), 1e-6)
    bow = (first**2 - second**2 + reach**2) / (2 * reach)
    height = np.sqrt(max(first**2 - bow**2, 0.0))
    joint = start + along * bow + side * height * np.array([-along[1], along[0]])
    return np.stack([start, joint, start + along * reach])


def _body(hip: np.ndarray, lean: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neck, head and shoulder above the hip of a figure seen from the side."""
    up = np.array([np.sin(lean), np.cos(lean)])
    nod = np.array([np.sin(lean * 0.6), np.cos(lean * 0.6)])
    neck = hip + up * TORSO
    return neck, neck + nod * (NECK + HEAD) + np.array([0.008, 0]), neck - up * 0.03


def _planted(hip: np.ndarray, lean: float, hands: np.ndarray, spread: float = 0.02, **things) -> Pose:
    """A side view with both feet on the ground at x = 0 and the hands (2, 2) where they are wanted."""
    neck, head, shoulder = _body(hip, lean)
    ankles = np.array([[-spread, ANKLE], [spread, ANKLE]])
    legs = np.stack([bent(hip, ankle, THIGH, SHIN, +1) for ankle in ankles])
    arms = np.stack([bent(shoulder, hand, UPPER_ARM, FOREARM, -1) for hand in hands])
    return Pose("side", hip, neck, head, arms, legs, np.zeros(2), **things)


def sit(phase: float) -> Pose:
    """Phase 0 stands before the chair, phase 1 sits on it."""
    x, y, lean = between([(0.0, HIP_HEIGHT - 0.004, 0.02), (-0.13, 0.41, 0.62), (-0.225, SEAT + 0.035, 0.0)], phase)
    hand = between([(0.015, 0.435), (0.17, 0.44), (-0.01, 0.375)], phase)
    return _planted(np.array([x, y]), lean, hand + np.array([[0.03, 0.01], [0, 0]]))


def lift(phase: float) -> Pose:
    """Phase 0 stands before the box on the ground, phase 1 holds it."""
    ground, held = np.array([BOX_PLACE, BOX / 2]), np.array([0.235, 0.62])
    squat = between([(0.0, HIP_HEIGHT - 0.004, 0.02), (-0.13, 0.25, 0.95), (-0.015, HIP_HEIGHT - 0.006, -0.05)], phase)
    box = ground if phase < 0.5 else between([tuple(ground), tuple(held)], 2 * phase - 1)
    grip = box + np.array([-0.035, 0.01])
    hand = between([(0.015, 0.435), tuple(grip)], 2 * phase) if phase < 0.5 else grip
    return _planted(squat[:2], squat[2], hand + np.array([[0.03, 0.012], [0, 0]]), box=box)


@dataclass(frozen=True)
class Gait:
    """How one figure walks or runs; amplitudes in radians."""

    rate: float  # cycles (two steps) a second
    swing: float
    knee: float
    elbow: float
    lean: float
    bounce: float  # statures
    phase: float

    @property
    def pace(self) -> float:
        """Statures a second."""
        return 4 * (THIGH + SHIN) * np.sin(self.swing) * self.rate * (1 + 6 * self.bounce)


def draw_gait(running: bool, speed: float, rng: np.random.Generator) -> Gait:
    """A walk or a run: the two overlap in every single feature, less so in rate and stride together."""
    low, high = (
        ((1.22, 0.46, 0.95, 0.65, 0.05, 0.025), (1.42, 0.68, 1.50, 1.60, 0.20, 0.05))
        if running
        else ((0.78, 0.36, 0.55, 0.15, 0.00, 0.00), (0.92, 0.54, 1.00, 1.00, 0.10, 0.015))
    )
    rate, swing, knee, elbow, lean, bounce = rng.uniform(low, high)
    return Gait(rate * speed, swing, knee, elbow, lean, bounce, rng.uniform(0, 2 * np.pi))


def stride(gait: Gait, seconds: float) -> Pose:
    """The figure in mid-stride, its hip at x = 0."""
    cycle = 2 * np.pi * gait.rate * seconds + gait.phase
    legs, arms = [], []
    hip = np.zeros(2)
    neck, head, shoulder = _body(hip, gait.lean)
    for offset in (np.pi, 0.0):
        turn = cycle + offset
        thigh = gait.swing * np.sin(turn) + 0.25 * gait.lean + 0.05
        shin = thigh - 0.08 - gait.knee * max(0.0, np.cos(turn - 0.35)) ** 1.5
        knee = hip + THIGH * down(thigh)
        legs.append([hip, knee, knee + SHIN * down(shin)])
        swing = -0.85 * gait.swing * np.sin(turn) - 0.05
        elbow = shoulder + UPPER_ARM * down(swing)
        arms.append([shoulder, elbow, elbow + FOREARM * down(swing + gait.elbow * (0.85 - 0.25 * np.sin(turn)))])
    legs, arms = np.array(legs), np.array(arms)
    shins = np.arctan2(legs[:, 2, 0] - legs[:, 1, 0], legs[:, 1, 1] - legs[:, 2, 1])
    lift_off = gait.bounce * (1 + np.cos(2 * cycle)) / 2
    rise = np.array([0.0, ANKLE - legs[:, 2, 1].min() + lift_off])
    high = (legs[:, 2, 1] - legs[:, 2, 1].min()) / 0.12
    feet = np.clip(shins, -1.3, 0.35) * np.clip(high + 0.15, 0, 1)
    return Pose("side", hip + rise, neck + rise, head + rise, arms + rise, legs + rise, feet)


def _front(hip: np.ndarray, hands: np.ndarray, spread: float, bend: tuple[float, float]) -> Pose:
    """A front view: hands (2, 2) left and right, ankles `spread` from the middle, elbows out (+) or down."""
    neck = hip + np.array([0.0, TORSO])
    shoulders = neck + np.array([[-0.088, -0.03], [0.088, -0.03]])
    hips = hip + np.array([[-0.042, 0.0], [0.042, 0.0]])
    ankles = np.array([[-spread, hip[1] - HIP_HEIGHT + ANKLE + 0.004], [spread, hip[1] - HIP_HEIGHT + ANKLE + 0.004]])
    ankles[:, 1] = np.maximum(ankles[:, 1], ANKLE)
    arms = np.stack([bent(s, h, UPPER_ARM, FOREARM, b) for s, h, b in zip(shoulders, hands, bend, strict=True)])
    legs = np.stack([bent(h, a, THIGH, SHIN, b) for h, a, b in zip(hips, ankles, (-1, 1), strict=True)])
    return Pose("front", hip, neck, neck + np.array([0, NECK + HEAD]), arms, legs, np.zeros(2))


REST = np.array([0.125, 0.475])  # a hand that hangs, from the middle


def wave(seconds: float, rate: float, reach: float, both: bool) -> Pose:
    """Stands and waves the right hand (or both): upper arm out, forearm up and to and fro."""
    hip = np.array([0.0, HIP_HEIGHT - 0.002])
    swing = 0.5 * np.sin(2 * np.pi * rate * seconds)
    elbow = hip + np.array([0.088, TORSO - 0.03]) + UPPER_ARM * down(reach)
    hand = elbow + FOREARM * np.array([np.sin(0.12 + swing), np.cos(0.12 + swing)])
    other = hand if both else REST
    return _front(hip, np.stack([other * (-1, 1), hand]), 0.055, (1 if both else -1, -1))


def jump(seconds: float, rate: float, phase: float) -> Pose:
    """Star jumps: feet apart and arms up, feet together and arms down."""
    cycle = 2 * np.pi * rate * seconds + phase
    spread = (1 - np.cos(cycle)) / 2
    hop = 0.055 * np.sin(cycle) ** 2
    angle = 0.2 + 2.6 * spread
    hip = np.array([0.0, HIP_HEIGHT - 0.003 - 0.033 * spread + hop])
    shoulder = hip + np.array([0.088, TORSO - 0.03])
    hand = shoulder + (UPPER_ARM + FOREARM) * 0.97 * down(angle)
    return _front(hip, np.stack([hand * (-1, 1), hand]), 0.045 + 0.17 * spread, (-1, 1))


def clap(seconds: float, rate: float, phase: float) -> Pose:
    """Claps before the chest."""
    apart = abs(np.sin(np.pi * rate * seconds + phase))
    hip = np.array([0.0, HIP_HEIGHT - 0.002])
    hand = np.array([0.012 + 0.11 * apart, 0.66 + 0.01 * apart])
    return _front(hip, np.stack([hand * (-1, 1), hand]), 0.055, (-1, 1))


def throw(phase: float) -> Pose:
    """Phase 0 holds the ball, phase 1 has thrown it away."""
    angle, elbow, lean = between([(0.5, 1.3, 0.0), (-1.9, 0.9, -0.18), (1.8, 0.3, 0.22), (0.4, 0.2, 0.08)], phase)
    hip = np.array([0.0, HIP_HEIGHT - 0.02])
    _, _, shoulder = _body(hip, lean)
    hand = shoulder + UPPER_ARM * down(angle) + FOREARM * down(angle + elbow)
    flight = max(0.0, phase - 0.6)
    loose = np.array([0.33, 0.93]) + np.array([4.2 * flight, 0.7 * flight - 3.2 * flight**2])
    held = hand + 0.03 * down(angle + elbow)
    hands = np.stack([np.array([0.1, 0.47]), hand])
    return _planted(hip, lean, hands, 0.07, ball=loose if flight else held)


def catch(phase: float) -> Pose:
    """Phase 0 waits, at 0.5 the ball is in the hands, phase 1 holds it to the chest."""
    x, y, lean = between([(0.06, 0.46, 0.0), (0.27, 0.76, 0.12), (0.15, 0.64, 0.0)], phase)
    ahead = max(0.0, 0.5 - phase)
    hand = np.array([x, y])
    comes = np.array([0.31 + 4.2 * ahead, 0.77 + 1.1 * ahead - 3.0 * ahead**2])
    ball = comes if ahead else hand + np.array([0.045, 0.0])
    hip = np.array([0.0, HIP_HEIGHT - 0.02])
    return _planted(hip, lean, hand + np.array([[0.02, 0.012], [0, 0]]), 0.06, ball=ball)
