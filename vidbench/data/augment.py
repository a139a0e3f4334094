"""Augmentation of training clips: pure functions of uint8 RGB arrays and a generator that is handed in.

The dice fall once a clip: all its frames get the same crop, mirror, colours, blur and patch of noise, so nothing
moves or flickers that did not before. `augment` works on one clip, `mix` on a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from zlib import crc32

import cv2
import numpy as np

from vidbench.data import process
from vidbench.data.protocol import Protocol
from vidbench.utils import UserError, canonical_label, unknown

Custom = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (T, H, W, 3) uint8, rng → the same shape, uint8

CROPS = ("random", "center")
BLUR_SIGMAS = (0.1, 2.0)  # pixels; SimCLR's (Chen et al. 2020, arXiv:2002.05709, appendix A)
HUE_SHARE = 0.25  # hue turns for a strength of 1, again as SimCLR weighs it against the other three
ERASED_AREAS, ERASED_RATIO, ERASE_TRIES = (0.02, 0.4), 0.3, 10  # Zhong et al.'s s_l, s_h and r_1
# RGB → luma and two axes of colour (NTSC): turning the colours leaves the luma as it is
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


@dataclass(frozen=True)
class Augmentation:
    """What happens to training clips; the defaults are torchvision's recipe for video (crop, mirror, nothing else).

    flip:       probability of mirroring a clip left to right
    no_flip:    classes that are never mirrored ("sit left"); names are compared canonically
    short_side: (least, most) pixels: the shorter side is scaled to a number between them, instead of the
                protocol's resize (SlowFast trains with (256, 320) for a crop of 224); more where an oblong
                crop needs it
    crop:       where the protocol's crop is cut: "random" or "center"
    color:      strength 0…1 of the jitter of brightness, contrast, saturation and hue; 0 is off
    blur:       probability of a Gaussian blur
    erase:      probability of a rectangle of noise
    mixup, cutmix: the alpha of the Beta distribution that shares are drawn from, 0 is off; with both, either is
                taken for half of the batches
    custom:     a function of one's own, called last; in JSON it is its name, and must be handed in again
    """

    flip: float = 0.5
    no_flip: tuple[str, ...] = ()
    short_side: tuple[int, int] | None = None
    crop: str = "random"
    color: float = 0.0
    blur: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    custom: Custom | None = None

    def __post_init__(self):
        for name in ("flip", "color", "blur", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if not (0 <= self.mixup < np.inf and 0 <= self.cutmix < np.inf):
            raise UserError(f"mixup and cutmix must be 0 or more, got {self.mixup} and {self.cutmix}")
        if self.crop not in CROPS:
            raise UserError(f"crop must be one of {', '.join(CROPS)}, got {self.crop!r}")
        if isinstance(self.no_flip, str):
            raise UserError(f"no_flip is a list of class names, got the one string {self.no_flip!r}")
        sides = self.short_side
        if sides is not None and not (np.shape(sides) == (2,) and 0 < sides[0] <= sides[1]):
            raise UserError(f"short_side must be two numbers of pixels, the smaller one first, got {sides}")
        if self.custom is not None and not callable(self.custom):
            raise UserError(f"custom must be a function of (frames, rng), got {self.custom!r}")

    @classmethod
    def from_dict(cls, values: dict, custom: Custom | None = None) -> "Augmentation":
        """The inverse of `to_dict`; a `custom` function that was in use has to be handed in again."""
        if values.get("custom") and custom is None:
            raise UserError(f"these settings go with the function {values['custom']}: hand it in as `custom`")
        pairs = {name: tuple(values[name]) for name in ("no_flip", "short_side") if values.get(name) is not None}
        return cls(**{**values, **pairs, "custom": custom})

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        name = None if self.custom is None else _name(self.custom)
        return {**asdict(replace(self, custom=None)), "custom": name}

    def check(self, protocol: Protocol, classes: Sequence[str] = ()) -> None:
        """Raise UserError where these settings cannot work with a protocol's crop or the data's classes."""
        size = protocol.frame_size
        if self.short_side and self.short_side[0] < min(size):
            raise UserError(f"short_side {self.short_side} leaves frames smaller than the crop {size}")
        known = set(map(canonical_label, classes))
        for name in self.no_flip if known else ():
            if canonical_label(name) not in known:
                raise unknown("class in no_flip", name, classes)


def clip_rng(seed: int, epoch: int, video_id: str, clip_number: int = 0) -> np.random.Generator:
    """The generator of one clip in one epoch: it depends on these four, not on workers, batches or Python's hash.

    >>> clip_rng(0, 3, "abseiling_01").integers(10, size=6).tolist()
    [1, 0, 4, 2, 0, 0]
    """
    return np.random.default_rng([seed, epoch, clip_number, crc32(video_id.encode())])


def augment(
    frames: np.ndarray, protocol: Protocol, settings: Augmentation, rng: np.random.Generator, label: str | None = None
) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB → a new (T, *protocol.frame_size, 3) uint8: the clip as training sees it once.

    In this order: resize, crop, mirror (not where `label` is in `no_flip`), colours, blur, erasing, `custom`. With a
    centred crop and the rest off it is what `process.process_frame` does (three crops count as one). Frames that went
    through the protocol's resize before come out the same, so a cache may hold them. A protocol without a crop leaves
    a random one nothing to choose from, unless `short_side` is set.

    Raises UserError when the settings do not fit the protocol, or `custom` gives another shape or dtype.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be (T, H, W, 3) uint8 RGB, got {frames.shape} {frames.dtype}")
    settings.check(protocol)
    frames = _resized(frames, protocol, settings, rng)
    if settings.crop == "random":
        frames = random_crop(frames, protocol.frame_size, rng)
    else:
        frames = process.center_crop(frames, protocol.frame_size)
    never = label is not None and canonical_label(label) in map(canonical_label, settings.no_flip)
    mirrored = rng.random() < settings.flip and not never  # drawn for every label, so the rest is the same for all
    frames = np.ascontiguousarray(frames)
    if mirrored:
        frames = cv2.flip(frames.reshape(-1, *frames.shape[2:]), 1).reshape(frames.shape)
    if settings.color:
        frames = jitter_colors(frames, settings.color, rng)
    if rng.random() < settings.blur:
        frames = blur(frames, rng.uniform(*BLUR_SIGMAS))
    if rng.random() < settings.erase:
        frames = erase(frames, rng)
    return customize(frames, settings, rng)


def customize(frames: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8 → the same shape: the settings' `custom` function, where there is one.

    Raises UserError when it gives another shape or dtype.
    """
    if settings.custom is None:
        return frames
    shape, result = frames.shape, settings.custom(frames, rng)
    got = f"{result.shape} {result.dtype}" if isinstance(result, np.ndarray) else type(result).__name__
    if got != (wanted := f"{shape} uint8"):
        name = _name(settings.custom)
        raise UserError(f"the custom augmentation {name} must give {wanted} as it got, it gave {got}")
    return result


def random_crop(frames: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) → (T, height, width, 3), a view: one place for all frames, every place equally likely."""
    height, width = frames.shape[1:3]
    if height < size[0] or width < size[1]:
        raise ValueError(f"cannot crop {size[0]}x{size[1]} from frames of {height}x{width}")
    top, left = rng.integers(height - size[0] + 1), rng.integers(width - size[1] + 1)
    return frames[:, top : top + size[0], left : left + size[1]]


def jitter_colors(frames: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8 → the same shape, in other colours.

    Brightness, contrast (about the mean luma of the clip) and saturation get factors from 1 - strength to
    1 + strength; the hue turns by at most strength / 4 of a circle, in YIQ. All four are linear: one 3 × 4 matrix,
    clipped once. (torchvision turns the hue in HSV, clips after each of the four, and shuffles their order.)
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    angle = 2 * np.pi * HUE_SHARE * rng.uniform(-strength, strength)
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.linalg.inv(YIQ) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ YIQ
    tall = frames.reshape(-1, *frames.shape[2:])  # the frames below each other: one picture for OpenCV
    gray = brightness * (YIQ[0] @ cv2.mean(tall)[:3]) * (1 - contrast)
    matrix = np.column_stack([brightness * contrast * turn, np.full(3, gray)])
    return cv2.transform(tall, matrix.astype(np.float32)).reshape(frames.shape)


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """(T, H, W, 3) uint8 → the same shape, each frame under a Gaussian of `sigma` pixels."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def erase(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8 → a copy with one rectangle of noise, the same pixels at the same place in all frames.

    Random erasing (Zhong et al. 2017, arXiv:1708.04896) with the paper's sizes, 2–40 % of the frame at sides from
    0.3 : 1 to 1 : 0.3 (evenly in their logarithm), and its pixels from 0 … 255, not the mean. Where no draw of ten
    fits into the frame, nothing is erased.
    """
    height, width = frames.shape[1:3]
    frames = frames.copy()
    for _ in range(ERASE_TRIES):
        area = rng.uniform(*ERASED_AREAS) * height * width
        ratio = np.exp(rng.uniform(np.log(ERASED_RATIO), -np.log(ERASED_RATIO)))
        rows, columns = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < rows < height and 0 < columns < width:
            top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            noise = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
            frames[:, top : top + rows, left : left + columns] = noise
            break
    return frames


def mix(
    clips: np.ndarray, labels: np.ndarray, settings: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch, each clip mixed with the one before it: (B, T, H, W, 3) pixels and (B, N) float32 labels, in and out.

    Pixels are uint8 or float32 and keep their dtype: uint8 is what the models take, at a quarter of the bytes, and
    rounding a blend to whole levels is less than a camera's noise. Labels are rows that sum to one, before and after.
    One draw a batch, whose order makes the pairs (it is shuffled anyway); with mixup and cutmix both set, either is
    as likely as the other. With neither, the very same arrays come back.
    """
    if clips.ndim != 5 or labels.ndim != 2 or len(clips) != len(labels):
        raise ValueError(f"clips must be (B, T, H, W, 3) and labels (B, N), got {clips.shape} and {labels.shape}")
    if clips.dtype not in (np.uint8, np.float32) or labels.dtype != np.float32:
        raise ValueError(f"clips must be uint8 or float32, labels float32, got {clips.dtype} and {labels.dtype}")
    ways = [(way, alpha) for way, alpha in ((mixup, settings.mixup), (cutmix, settings.cutmix)) if alpha]
    if not ways:
        return clips, labels
    way, alpha = ways[rng.integers(len(ways))]
    return way(clips, labels, alpha, rng)


def mixup(clips: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator):
    """Each clip and its label blended with the one before it, keeping a share drawn from Beta(alpha, alpha).

    Zhang et al. 2018, arXiv:1710.09412.
    """
    share = rng.beta(alpha, alpha)
    mixed = np.empty_like(clips)
    for index, clip in enumerate(clips):
        flat, other = clip.reshape(len(clip), -1), clips[index - 1].reshape(len(clip), -1)
        mixed[index] = cv2.addWeighted(flat, share, other, 1 - share, 0).reshape(clip.shape)
    return mixed, _blend(labels, share)


def cutmix(clips: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator):
    """Each clip with a box of the one before it, the same box in all frames.

    The box has the frame's proportions and the area 1 - Beta(alpha, alpha), its centre is anywhere; what sticks out
    is cut off, and the label's share is the area that was really kept. Yun et al. 2019, arXiv:1905.04899.
    """
    height, width = clips.shape[2:4]
    half = np.sqrt(1 - rng.beta(alpha, alpha)) / 2
    (top, bottom), (left, right) = (
        np.clip(rng.integers(side) + np.array([-1, 1]) * int(half * side), 0, side) for side in (height, width)
    )
    mixed = clips.copy()
    box = np.s_[:, :, top:bottom, left:right]
    mixed[box] = np.roll(clips[box], 1, axis=0)
    return mixed, _blend(labels, 1 - (bottom - top) * (right - left) / (height * width))


def _blend(labels: np.ndarray, share: float) -> np.ndarray:
    return (share * labels + (1 - share) * np.roll(labels, 1, axis=0)).astype(np.float32)


def _resized(frames: np.ndarray, protocol: Protocol, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A new (T, H', W', 3) uint8: every frame through the protocol's resize, or scaled to a drawn short side."""
    if settings.short_side is None:
        whole = replace(protocol, crop=None, crops=1)
        return np.stack([process.process_frame(frame, whole) for frame in frames])
    side = int(rng.integers(settings.short_side[0], settings.short_side[1] + 1))
    side = max(side, covering_side(frames.shape[1:3], protocol.frame_size))
    return np.stack([process.resize_short_side(frame, side) for frame in frames])


def covering_side(shape: tuple[int, int], size: tuple[int, int]) -> int:
    """The smallest short side to which frames of `shape` can be scaled and still hold a crop of `size`.

    >>> [covering_side((240, 320), (96, 128)), covering_side((320, 240), (96, 128)), covering_side((9, 12), (3, 3))]
    [96, 128, 3]
    """
    short = min(shape)
    return max(-(-wanted * short // side) for wanted, side in zip(size, shape, strict=True))


def _name(function: Callable) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
