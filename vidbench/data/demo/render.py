"""From the description of a clip to its frames."""

from functools import partial

import cv2
import numpy as np

from vidbench.data.demo import scene
from vidbench.data.demo.figure import draw_person
from vidbench.data.demo.plan import CENTER, FPS, HEIGHT, REVERSED, WIDTH, Shot, View, actor_of, plan
from vidbench.data.demo.sheet import TOP, Sheet
from vidbench.data.demo.specs import ClipSpec
from vidbench.data.demo.things import Things
from vidbench.data.records import Clip, Video


def render(spec: ClipSpec) -> Clip:
    """Draw a clip: frames (T, 192, 256, 3) uint8 RGB at 24 a second, 2.4 to 3.6 seconds.

    Equal specs give equal frames, and a spec with its partner action (`PARTNER`) gives them in reverse.
    """
    shot = plan(spec)
    backwards = spec.action in REVERSED
    frames = draw(shot, spec)
    frames = frames[::-1] if backwards else frames
    frames = frames[:, :, ::-1] if spec.mirrored else frames
    name = f"{spec.action}, seed {spec.seed}, group {spec.group}"
    video = Video(name, None, spec.action, group=str(spec.group))
    return Clip(np.ascontiguousarray(frames), np.arange(len(frames)) / FPS, video)


def draw(shot: Shot, spec: ClipSpec) -> np.ndarray:
    """The frames (T, 192, 256, 3) uint8 of a planned shot, forwards and not mirrored."""
    actor = actor_of(spec)
    reach = WIDTH / shot.camera[:, 2].min() + 16
    left, right = int(shot.camera[:, 0].min() - reach), int(shot.camera[:, 0].max() + reach)
    sheet = scene.panorama(spec.background, spec.group, left, right)
    things = Things(spec, shot, left, right)
    frames = np.empty((len(shot.poses), HEIGHT, WIDTH, 3), np.uint8)
    for index, pose in enumerate(shot.poses):
        view = View(*shot.camera[index])
        canvas = look(sheet, view)
        things.draw_behind(canvas, view, index)
        place, size = view.at(shot.travel[index], shot.ground, shot.scale), view.zoom * shot.scale
        draw_person(canvas, pose, place, size, actor, partial(things.draw_held, canvas, place, size, pose))
        things.draw_before(canvas, view)
        small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        frames[index] = cv2.convertScaleAbs(small, alpha=float(shot.gain[index]))
    return frames


def look(sheet: Sheet, view: View) -> np.ndarray:
    """The part of the scene that the camera sees, (384, 512, 3) uint8; the sheet must cover it."""
    shift = view.zoom * (np.array([sheet.left, TOP]) - (view.x, view.y)) + CENTER
    matrix = np.array([[view.zoom, 0, shift[0]], [0, view.zoom, shift[1]]])
    return cv2.warpAffine(sheet.image, matrix, (2 * WIDTH, 2 * HEIGHT), borderMode=cv2.BORDER_REPLICATE)
