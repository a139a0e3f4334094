"""Long videos of the demo's figures, with idle time between their actions, and frames to learn the actions from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidbench.data.demo import motion
from vidbench.data.demo.dataset import in_parallel, write_video
from vidbench.data.demo.plan import FPS, REVERSED, plan
from vidbench.data.demo.render import draw
from vidbench.data.demo.specs import BACKGROUNDS, SPEEDS, ClipSpec
from vidbench.utils import written_whole

IDLE = "idle"  # stands about, or, one time in three, walks
WALKS = 1 / 3
STILLS = 6  # of a shot that stands for a labelled clip


@dataclass(frozen=True)
class Part:
    """A stretch of a long video: what is done in it (an action, or IDLE), and its whole seconds."""

    action: str
    start: int
    end: int


def plan_parts(
    actions: Sequence[str],
    seconds: int,
    rng: np.random.Generator,
    lasts: tuple[int, int] = (8, 12),
    share: float = 0.4,
) -> list[Part]:
    """Parts that fill `seconds`: actions of `lasts` seconds, in random order and equally often, idle time between.

    share: about how much of the time is action. Before, between and after two actions lie two seconds or more.
    """
    count = max(1, round(seconds * share / np.mean(lasts) / len(actions))) * len(actions)
    lengths = rng.integers(lasts[0], lasts[1] + 1, count)
    gaps = 2 + rng.multinomial(seconds - int(lengths.sum()) - 2 * (count + 1), np.ones(count + 1) / (count + 1))
    parts, clock = [Part(IDLE, 0, int(gaps[0]))], int(gaps[0])
    for place, action in enumerate(rng.permutation(np.repeat(actions, count // len(actions)))):
        middle = clock + int(lengths[place])
        parts += [Part(str(action), clock, middle), Part(IDLE, middle, middle + int(gaps[place + 1]))]
        clock = parts[-1].end
    return parts


def write_long_video(path: Path, parts: Sequence[Part], group: int, rng: np.random.Generator, fps: int = 8) -> None:
    """Draw parts of one recording, `group`, to an MP4 of 256 × 192 pixels; frames are encoded as they are drawn.

    fps: a divisor of 24. A short action, such as sitting down, is done again and again for as long as its part lasts;
    the camera stands elsewhere each time.
    """
    with written_whole(path, "wb") as file, av.open(file, "w", format="mp4") as box:
        stream = box.add_stream("libx264", rate=fps, options={"crf": "24", "preset": "veryfast", "g": str(4 * fps)})
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for part in parts:
            left = (part.end - part.start) * fps
            while left:
                for frame in list(shot_frames(part.action, group, rng, step=FPS // fps))[:left]:
                    box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                    left -= 1
        box.mux(stream.encode())


def draw_recordings(
    folder: Path, actions: Sequence[str], groups: Sequence[int], seconds: int, workers: int = 1, **planned
) -> dict[str, list[Part]]:
    """A long video of each recording in `folder`, and what is done when: {file name: parts}.

    planned: `lasts` and `share`, see `plan_parts`. The same call draws the same; files that are there are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dice = {group: np.random.default_rng([1, group]) for group in groups}
    truth = {f"recording{group}.mp4": plan_parts(actions, seconds, rng, **planned) for group, rng in dice.items()}
    jobs = [
        (folder / name, parts, group, dice[group])
        for (name, parts), group in zip(truth.items(), groups, strict=True)
        if not (folder / name).exists()
    ]
    for _ in in_parallel(_draw_long, jobs, workers):
        pass
    return truth


def draw_shots(folder: Path, actions: Sequence[str], groups: Sequence[int], shots: int, workers: int = 1) -> None:
    """So many short labelled clips of each action in each recording: `folder/<action>/<recording>x<number>.mp4`.

    IDLE is such an action, too. A clip has six frames of its shot, drawn at random: they are for stills. The same call
    draws the same; files that are there are kept.
    """
    jobs = []
    for group in groups:
        for action in actions:
            (folder / action).mkdir(parents=True, exist_ok=True)
            for number in range(shots):
                path = folder / action / f"{action.replace(' ', '-')}-{group}x{number:03d}.mp4"
                if not path.exists():
                    jobs.append((path, action, group, number))
    for _ in in_parallel(_draw_shot, jobs, workers):
        pass


def _draw_long(job: tuple) -> None:
    write_long_video(*job)


def _draw_shot(job: tuple[Path, str, int, int]) -> None:
    path, action, group, number = job
    rng = np.random.default_rng([2, group, number, *action.encode()])
    write_video(path, np.stack(list(shot_frames(action, group, rng, number=STILLS))), crf=20)


def shot_frames(
    action: str, group: int, rng: np.random.Generator, step: int = 1, number: int | None = None
) -> Iterator[np.ndarray]:
    """(192, 256, 3) uint8 frames of one shot of a recording, 2.4 to 3.6 seconds: each `step`-th, or `number` at random.

    The camera is fixed and the figure large (level 0).
    """
    walks = action == IDLE and rng.random() < WALKS
    drawn = "walking" if walks else "waving" if action == IDLE else action
    spec = ClipSpec(
        drawn,
        speed=float(rng.uniform(*SPEEDS)),
        light=float(rng.uniform(0.95, 1.05)),
        background=BACKGROUNDS[group % len(BACKGROUNDS)],
        seed=int(rng.integers(10**6)),
        group=group,
    )
    shot = plan(spec)
    length = len(shot.poses)
    if action == IDLE and not walks:
        still = motion.jump(0, 1, 0) if rng.random() < 0.5 else motion.sit(0)  # from the front, from the side
        shot = replace(shot, poses=[still] * length, travel=np.zeros(length))
    taken = np.arange(0, length, step) if number is None else np.sort(rng.choice(length, number, replace=False))
    if action in REVERSED:  # planned as their partners, forwards
        taken = length - 1 - taken[::-1]
    shot = replace(
        shot,
        poses=[shot.poses[index] for index in taken],
        travel=shot.travel[taken],
        camera=shot.camera[taken],
        gain=shot.gain[taken],
    )
    frames = draw(shot, spec)
    yield from frames[::-1] if action in REVERSED else frames
