"""What is in the demo set: the actions, the description of one clip, and which clips make a split."""

from dataclasses import dataclass

import numpy as np

from vidbench.utils import UserError, unknown

ACTIONS = (
    "picking up a box",
    "putting down a box",
    "running",
    "sitting down",
    "standing up",
    "star jumps",
    "walking",
    "waving",
)
EXTRA_ACTIONS = ("catching a ball", "clapping hands", "throwing a ball")  # kept back for fine-tuning

# What it takes to tell the classes of a kind apart: the order of the frames, their tempo, or one pose.
KINDS = {
    "order": ("picking up a box", "putting down a box", "sitting down", "standing up"),
    "tempo": ("running", "walking"),
    "pose": ("star jumps", "waving"),
}
PARTNER = {  # a clip of the one, played backwards, is a clip of the other
    "picking up a box": "putting down a box",
    "putting down a box": "picking up a box",
    "sitting down": "standing up",
    "standing up": "sitting down",
}

BACKGROUNDS = ("gym", "park", "room", "street")
CAMERAS = ("fixed", "pan", "zoom")
SPEEDS = (0.75, 1.35)
LIGHT_RANGES = (0.05, 0.20, 0.45)  # by level: how far the light may be from 1
VAL_CLIPS, TRAIN_CLIPS = 160, 2400
CLIPS_PER_GROUP = {"train": 3, "val": 1}


@dataclass(frozen=True)
class ClipSpec:
    """Everything that decides the frames of one demo clip; equal specs give equal frames.

    action      one of `ACTIONS` or `EXTRA_ACTIONS`
    speed       how fast the action is done, 1 is usual, `SPEEDS` its range in the demo set
    camera      "fixed", "pan" or "zoom"
    light       brightness, 1 is usual (0.55 to 1.45 in the demo set)
    background  one of `BACKGROUNDS`
    level       0, 1 or 2: how much else makes it hard (shake, flicker, small figure, passer-by, lamp post)
    mirrored    the whole clip is flipped left to right
    seed        the chances of this clip: duration, idle times, place, camera path, things that stand about
    group       the recording: who acts, and how the scene looks; clips of one group share both
    """

    action: str
    speed: float = 1.0
    camera: str = "fixed"
    light: float = 1.0
    background: str = "room"
    level: int = 0
    mirrored: bool = False
    seed: int = 0
    group: int = 0

    def __post_init__(self):
        choices = (
            ("action", ACTIONS + EXTRA_ACTIONS),
            ("camera", CAMERAS),
            ("background", BACKGROUNDS),
            ("level", (0, 1, 2)),
        )
        for field, allowed in choices:
            if getattr(self, field) not in allowed:
                raise unknown(field, getattr(self, field), map(str, allowed))
        if not 0.25 <= self.speed <= 4 or not 0.1 <= self.light <= 3:
            raise UserError(
                f"speed must be 0.25 to 4 and light 0.1 to 3, got speed {self.speed} and light {self.light}"
            )


def demo_specs(
    split: str = "val",
    count: int | None = None,
    seed: int = 0,
    actions: tuple[str, ...] = ACTIONS,
    tied: float = 0.0,
) -> list[ClipSpec]:
    """The clips of a split, class by class: `count` in all (default 160 for "val", 2,400 for "train").

    Classes, levels and backgrounds are balanced and independent of each other. Clips of "train" come in groups
    of three that share action, actor and scene; no group stands in both splits. `tied` is the share of clips
    whose background is chosen by the class instead: a shortcut for a network to fall for.
    """
    if split not in CLIPS_PER_GROUP:
        raise unknown("split", split, CLIPS_PER_GROUP)
    count = count if count is not None else {"train": TRAIN_CLIPS, "val": VAL_CLIPS}[split]
    specs = []
    for index, action in enumerate(actions):
        share = count * (index + 1) // len(actions) - count * index // len(actions)
        rng = np.random.default_rng([seed, split == "val", *action.encode()])
        places = _dealt(rng, BACKGROUNDS, share)
        for number in range(share):
            group, member = divmod(number, CLIPS_PER_GROUP[split])
            place = BACKGROUNDS[index % len(BACKGROUNDS)] if rng.random() < tied else places[group]
            name = (seed % 97 * 100 + (ACTIONS + EXTRA_ACTIONS).index(action)) * 10000 + group
            specs.append(_spec(action, place, (group + index) % 3, member, name * 2 + (split == "val"), rng))
    return specs


def _dealt(rng: np.random.Generator, choices: tuple[str, ...], count: int) -> list[str]:
    """`count` of the choices in random order, each as often as the others."""
    repeated = (choices * (count // len(choices) + 1))[:count]
    return [str(choice) for choice in rng.permutation(repeated)]


def _spec(action: str, place: str, level: int, member: int, group: int, rng: np.random.Generator) -> ClipSpec:
    """One clip with the chances of its level; numbers are rounded so that a CSV file holds them exactly."""
    camera = ("fixed", "pan", "zoom" if rng.random() < 0.7 else "pan")[level]
    width = LIGHT_RANGES[level]
    return ClipSpec(
        action=action,
        speed=round(float(rng.uniform(*SPEEDS)), 3),
        camera=camera,
        light=round(float(rng.uniform(1 - width, 1 + width)), 3),
        background=place,
        level=level,
        mirrored=bool(rng.random() < 0.5),
        seed=int(rng.integers(1_000_000)) * 10 + member,
        group=group,
    )
