"""Frames → the pixels a model sees: resize, crop, pad; normalising is arithmetic on a spec's numbers.

Everything here keeps uint8 RGB; the scale to floats happens inside the model's traced function.
Scaling is bilinear without antialiasing (`cv2.INTER_LINEAR`), as in the references (torchvision's presets
with `antialias=False`, the original prototype).
"""

from collections.abc import Callable

import cv2
import numpy as np

from vidbench.data.protocol import Protocol

Step = Callable[[np.ndarray], np.ndarray]


def resize_exact(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 → (height, width, 3), whatever that does to the aspect ratio."""
    if frame.shape[:2] == tuple(size):
        return frame
    return cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resize_short_side(frame: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) uint8 → the shorter side becomes `side`, the longer one keeps the ratio, rounded down."""
    height, width = frame.shape[:2]
    if height <= width:
        return resize_exact(frame, (side, max(side, width * side // height)))
    return resize_exact(frame, (max(side, height * side // width), side))


def center_square(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) → (S, S, 3) with S the shorter side: the middle is kept, both ends are cut."""
    side = min(frame.shape[:2])
    return center_crop(frame, (side, side))


def pad_square(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) → (L, L, 3) with L the longer side: nothing is cut, black fills the rest on both sides."""
    height, width = frame.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(frame, ((top, side - height - top), (left, side - width - left), (0, 0)))


def center_crop(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., H, W, 3) → (..., height, width, 3) from the middle; H and W are at least `size`.

    Odd margins are rounded as torchvision rounds them (half to even).
    """
    height, width = frames.shape[-3:-1]
    if height < size[0] or width < size[1]:
        raise ValueError(f"cannot crop {size[0]}x{size[1]} from frames of {height}x{width}")
    top, left = round((height - size[0]) / 2), round((width - size[1]) / 2)
    return frames[..., top : top + size[0], left : left + size[1], :]


def three_crops(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(T, H, W, 3) → (3, T, height, width, 3): left, middle, right; top, middle, bottom of an upright video.

    The crops of SlowFast's 10 × 3 protocol.
    """
    height, width = frames.shape[-3:-1]
    if height < size[0] or width < size[1]:
        raise ValueError(f"cannot crop {size[0]}x{size[1]} from frames of {height}x{width}")
    crops = []
    for part in range(3):
        top = -(-(height - size[0]) // 2) if width >= height else (height - size[0]) * part // 2
        left = (width - size[1]) * part // 2 if width >= height else -(-(width - size[1]) // 2)
        crops.append(frames[..., top : top + size[0], left : left + size[1], :])
    return np.stack(crops)


def coarsen(frames: np.ndarray, factor: int) -> np.ndarray:
    """(T, H, W, 3) uint8 → the same shape with the detail of a picture `factor` times smaller each way.

    Shrunk by the mean of each area, then scaled up again: what a small or distant camera would have left. A factor of 1
    changes nothing. Raises ValueError where nothing would be left.
    """
    height, width = frames.shape[1:3]
    if not 1 <= factor <= min(height, width):
        raise ValueError(f"factor must be 1 to {min(height, width)}, got {factor}")
    small = [cv2.resize(frame, (width // factor, height // factor), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([resize_exact(frame, (height, width)) for frame in small])


def frame_steps(protocol: Protocol) -> list[tuple[str, Step]]:
    """The steps that a protocol takes every (H, W, 3) uint8 frame through, each with its name.

    With three crops the cut is left to `assemble_views`, so the frames keep their resized shape.
    """
    steps: list[tuple[str, Step]] = []
    if protocol.resize in ("square_crop", "square_pad"):
        square = center_square if protocol.resize == "square_crop" else pad_square
        steps.append((square.__name__, square))
    if protocol.resize == "short_side":
        side = protocol.resize_to[0]
        steps.append((f"resize_short_side({side})", lambda frame: resize_short_side(frame, side)))
    else:
        size = protocol.resize_to
        steps.append((f"resize_exact{size}", lambda frame: resize_exact(frame, size)))
    if protocol.crop is not None and protocol.crops == 1:
        crop = protocol.crop
        steps.append((f"center_crop{crop}", lambda frame: center_crop(frame, crop)))
    return steps


def process_frame(frame: np.ndarray, protocol: Protocol) -> np.ndarray:
    """One (H, W, 3) uint8 RGB frame through all steps of `frame_steps`."""
    for _, step in frame_steps(protocol):
        frame = step(frame)
    return frame


def assemble_views(frames: np.ndarray, indices: np.ndarray, protocol: Protocol) -> np.ndarray:
    """The views that the model is given: (clips * crops, T, H, W, 3) uint8.

    frames: (U, H', W', 3) processed frames; indices: (clips, T) positions in `frames`.
    """
    clips = frames[indices]
    if protocol.crops == 1:
        return clips
    return np.concatenate([three_crops(clip, protocol.crop) for clip in clips])


def normalize(frames: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """uint8 pixels → float32, pixel * scale + shift a channel: what the traced model does, for a look at it."""
    return frames.astype(np.float32) * scale + shift


def seen_boxes(height: int, width: int, protocol: Protocol) -> list[tuple[float, float, float, float]]:
    """Which parts of a `height` × `width` frame a protocol's crops show: (left, top, right, bottom), fractions of it.

    A frame of coordinates is taken through the very steps that frames of pixels take, so the two cannot disagree.
    """
    rows, columns = np.mgrid[0.5:height, 0.5:width]
    frame = np.stack([columns / width, rows / height, np.ones_like(rows)], axis=-1).astype(np.float32)
    crops = assemble_views(process_frame(frame, protocol)[None], np.zeros((1, 1), int), protocol)[:, 0]
    boxes = []
    for crop in crops[: protocol.crops]:
        inside = crop[..., 2] > 0.99  # the rest is padding
        low, high = crop[inside][:, :2].min(axis=0), crop[inside][:, :2].max(axis=0)
        pixels = np.array([inside.any(axis=0).sum(), inside.any(axis=1).sum()])
        half = (high - low) / np.maximum(1, pixels - 1) / 2  # from a pixel's middle to its edge
        boxes.append(tuple(np.clip([*(low - half), *(high + half)], 0, 1).tolist()))
    return boxes
