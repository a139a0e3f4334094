"""Who acts: a person's looks, and drawing them in a pose."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from vidbench.data.demo.brush import SUBPIXEL, Color, disc, fill, limb, shade, tint
from vidbench.data.demo.motion import HEAD, Pose

Place = Callable[[np.ndarray], np.ndarray]  # (N, 2) statures → (N, 2) pixels

SKINS = (
    (255, 219, 186),
    (241, 194, 155),
    (224, 172, 120),
    (198, 134, 84),
    (156, 100, 62),
    (120, 74, 46),
    (86, 54, 38),
)
HAIRS = (
    (28, 22, 20),
    (60, 38, 24),
    (104, 66, 34),
    (168, 118, 56),
    (214, 178, 104),
    (150, 60, 30),
    (172, 170, 168),
)
HAIRCUTS = ("short", "long", "bun", "cap", "bald")


@dataclass(frozen=True)
class Actor:
    """The looks of one person."""

    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    haircut: str
    long_sleeves: bool
    shorts: bool
    girth: float  # 1 is usual
    stature: float  # 1 is usual


def draw_actor(rng: np.random.Generator) -> Actor:
    """A random person."""
    return Actor(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=tint(rng, (0.35, 0.85), (0.5, 0.95)),
        trousers=tint(rng, (0.1, 0.6), (0.22, 0.6)),
        shoes=tint(rng, (0.0, 0.6), (0.15, 0.9)),
        haircut=HAIRCUTS[rng.integers(len(HAIRCUTS))],
        long_sleeves=bool(rng.random() < 0.45),
        shorts=bool(rng.random() < 0.25),
        girth=float(rng.uniform(0.85, 1.25)),
        stature=float(rng.uniform(0.93, 1.07)),
    )


def draw_shadow(image: np.ndarray, pose: Pose, place: Place, scale: float) -> None:
    """A dark, see-through ellipse on the ground below the feet; smaller when they leave it."""
    low, high = pose.legs[:, 2, 0].min() - 0.05, pose.legs[:, 2, 0].max() + 0.08
    lifted = max(0.0, pose.legs[:, 2, 1].min() - 0.05)
    low, high = min(low, pose.hip[0] - 0.1), max(high, pose.hip[0] + 0.1)
    center = place(np.array([[(low + high) / 2, 0.0]]))[0]
    axes = np.array([(high - low) / 2, 0.03]) * scale * (1 - 2 * min(lifted, 0.15))
    left, top = np.maximum(np.floor(center - axes - 2), 0).astype(int)
    right, bottom = np.maximum(np.ceil(center + axes + 2), 0).astype(int)
    part = image[top:bottom, left:right]
    if part.size:
        mask = np.zeros(part.shape[:2], np.uint8)
        middle = tuple(np.round((center - (left, top)) * 16).astype(int).tolist())
        size = tuple(np.round(axes * 16).astype(int).tolist())
        cv2.ellipse(mask, middle, size, 0, 0, 360, 90, -1, cv2.LINE_AA, SUBPIXEL)
        part[:] = (part * (1 - mask[..., None] / 255.0)).astype(np.uint8)


def draw_leg(
    image: np.ndarray,
    joints: np.ndarray,
    pitch: float,
    place: Place,
    scale: float,
    actor: Actor,
    light: float,
    front: bool,
) -> None:
    """Trousers (or shorts), shin and shoe of one leg; joints (3, 2) statures."""
    hip, knee, ankle = place(joints)
    thick = scale * actor.girth
    cloth, bare = shade(actor.trousers, light), shade(actor.skin, light)
    toe = joints[2] + (
        np.array([0.0, -0.02]) if front else 0.075 * np.array([np.cos(pitch), np.sin(pitch)]) + (0, -0.012)
    )
    heel = joints[2] + (0.0, -0.012)
    shoe = shade(actor.shoes, light)
    limb(image, *place(np.stack([heel, toe])), 0.024 * scale, 0.019 * scale, shoe)
    limb(image, knee, ankle, 0.037 * thick, 0.024 * thick, bare if actor.shorts else cloth)
    limb(image, hip, knee, 0.053 * thick, 0.040 * thick, cloth)


def draw_arm(
    image: np.ndarray,
    joints: np.ndarray,
    place: Place,
    scale: float,
    actor: Actor,
    light: float,
    palm: float = 0.026,
) -> None:
    """Sleeve, forearm and hand; joints (3, 2) and palm (a radius) in statures."""
    shoulder, elbow, wrist = place(joints)
    thick = scale * actor.girth
    cloth, bare = shade(actor.shirt, light), shade(actor.skin, light)
    along = (joints[2] - joints[1]) / max(float(np.hypot(*(joints[2] - joints[1]))), 1e-6)
    hand = place((joints[2] + 0.022 * along)[None])[0]
    limb(image, elbow, wrist, 0.027 * thick, 0.019 * thick, cloth if actor.long_sleeves else bare)
    limb(image, wrist, hand, 0.020 * scale, palm * scale, bare)
    limb(image, shoulder, elbow, 0.037 * thick, 0.029 * thick, cloth)


def draw_torso(image: np.ndarray, pose: Pose, place: Place, scale: float, actor: Actor) -> None:
    """Neck, shirt with a shaded side, and the seat of the trousers."""
    thick = scale * actor.girth
    front = pose.view == "front"
    neck, hip = pose.neck, pose.hip
    along = (neck - hip) / np.hypot(*(neck - hip))
    limb(
        image,
        *place(np.stack([neck - 0.02 * along, pose.head])),
        0.026 * scale,
        0.026 * scale,
        shade(actor.skin, 0.85),
    )
    chest, waist = place(np.stack([neck - 0.055 * along, hip + 0.045 * along]))
    if front:
        wide, low = (0.088 + 0.02 * (actor.girth - 1)) * scale, 0.066 * thick
        across = np.array([1.0, 0.0])
        limb(
            image,
            *place(pose.hip + np.array([[-0.03, 0.0], [0.03, 0.0]])),
            0.05 * thick,
            0.05 * thick,
            actor.trousers,
        )
        top = place((neck - 0.028 * along)[None])[0]
        limb(
            image,
            top - across * wide * 0.85,
            top + across * wide * 0.85,
            0.034 * scale,
            0.034 * scale,
            actor.shirt,
        )
        fill(
            image,
            np.stack([top - across * wide, top + across * wide, waist + across * low, waist - across * low]),
            actor.shirt,
        )
        limb(
            image,
            waist - across * (low - 0.03 * scale),
            waist + across * (low - 0.03 * scale),
            0.03 * scale,
            0.03 * scale,
            actor.shirt,
        )
        return
    disc(image, place(hip[None])[0], 0.062 * thick, actor.trousers)
    limb(image, chest, waist, 0.068 * thick, 0.058 * thick, shade(actor.shirt, 0.88))
    ahead = np.array([along[1], -along[0]]) * 0.012
    chest, waist = place(np.stack([neck - 0.055 * along + ahead, hip + 0.045 * along + ahead]))
    limb(image, chest, waist, 0.055 * thick, 0.046 * thick, actor.shirt)


def draw_head(image: np.ndarray, pose: Pose, place: Place, scale: float, actor: Actor) -> None:
    """Face, hair, eyes; a side view has a nose and an ear, a front view a mouth."""
    size = HEAD * scale
    front = pose.view == "front"

    def at(x: float, y: float) -> np.ndarray:
        return place((pose.head + HEAD * np.array([x, y]))[None])[0]

    hair = actor.shirt if actor.haircut == "cap" else actor.hair
    shift = 0.0 if front else -0.16
    if actor.haircut == "long":
        limb(
            image,
            at(shift * 1.6, 0.2),
            at(shift * 2.2, -1.1),
            1.05 * size,
            (0.95 if front else 0.6) * size,
            hair,
        )
    if actor.haircut == "bun":
        disc(image, at(0.0 if front else -0.85, 0.95 if front else 0.75), 0.45 * size, hair)
    if actor.haircut != "bald":
        disc(image, at(shift, 0.16), 1.08 * size, hair)
    disc(
        image,
        at(0.04 if not front else 0.0, -0.06),
        size * (0.96 if actor.haircut == "bald" else 0.88),
        actor.skin,
    )
    limb(
        image,
        at(0.12 if not front else 0.0, -0.3),
        at(0.2 if not front else 0.0, -0.5),
        0.6 * size,
        0.5 * size,
        actor.skin,
    )
    if actor.haircut != "bald":
        fringe = [
            at(-1.02 + shift, 0.25),
            at(-0.7, 0.95),
            at(0.0, 1.15),
            at(0.7, 0.9),
            at(0.92, 0.42),
            at(0.2, 0.52),
        ]
        fill(image, np.stack(fringe), hair)
    if actor.haircut == "cap" and not front:
        limb(image, at(0.6, 0.45), at(1.5, 0.32), 0.16 * size, 0.1 * size, shade(hair, 0.8))
    dark = (30, 24, 24)
    for x in (-0.36, 0.36) if front else (0.52,):
        disc(image, at(x, 0.02), 0.2 * size, (245, 245, 245))
        disc(image, at(x + (0.0 if front else 0.07), 0.02), 0.13 * size, dark)
    if front:
        limb(image, at(-0.25, -0.52), at(0.25, -0.52), 0.07 * size, 0.07 * size, shade(actor.skin, 0.55))
    else:
        limb(image, at(0.85, -0.02), at(1.02, -0.2), 0.12 * size, 0.14 * size, actor.skin)
        limb(image, at(0.5, -0.55), at(0.8, -0.53), 0.06 * size, 0.06 * size, shade(actor.skin, 0.55))
        disc(image, at(-0.12, -0.05), 0.2 * size, shade(actor.skin, 0.85))


def draw_person(
    image: np.ndarray, pose: Pose, place: Place, scale: float, actor: Actor, prop: Callable[[], None]
) -> None:
    """Draw a person of `scale` pixels a stature; `prop()` draws what they hold, behind the near arm."""
    front = pose.view == "front"
    far = 1.0 if front else 0.72
    draw_shadow(image, pose, place, scale)
    if not front:
        draw_arm(image, pose.arms[0], place, scale, actor, far)
    draw_leg(image, pose.legs[0], pose.feet[0], place, scale, actor, far, front)
    draw_leg(image, pose.legs[1], pose.feet[1], place, scale, actor, 1.0, front)
    draw_torso(image, pose, place, scale, actor)
    draw_head(image, pose, place, scale, actor)
    prop()
    if front:
        draw_arm(image, pose.arms[0], place, scale, actor, 0.88, 0.033)
    draw_arm(image, pose.arms[1], place, scale, actor, 0.88, 0.033 if front else 0.026)
