"""Which frames of a video to take: pure arithmetic on counts, rates and seeds; no pixels, no files.

The reference implementations compute in float32, and in float64 hundreds of indices come out different
(12.5 fps to 12, 17.5 to 15). So every division that ends in a floor is done in float32 here too.
"""

import numpy as np


def resample_indices(num_frames: int, num_wanted: int) -> np.ndarray:
    """(num_wanted,) int64 into a video of `num_frames`: index i → (num_frames * i) // num_wanted.

    The original prototype's rule: frames are dropped where there are too many, repeated where too few.

    >>> resample_indices(5, 10).tolist()
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    >>> resample_indices(10, 4).tolist()
    [0, 2, 5, 7]
    """
    _positive(num_frames=num_frames, num_wanted=num_wanted)
    return num_frames * np.arange(num_wanted, dtype=np.int64) // num_wanted


def uniform_clip_indices(
    num_frames: int, fps: float, clip_len: int, frame_rate: float, clips_per_video: int
) -> np.ndarray:
    """(clips_per_video, clip_len) int64: evenly spaced clips of consecutive frames at `frame_rate`.

    The video is brought from `fps` to `frame_rate` by choosing frames; of all runs of `clip_len` of those,
    `clips_per_video` are taken at even distances from the first to the last (torchvision's `VideoClips` with
    its `UniformClipSampler`). Raises ValueError when the video is shorter than one clip.

    >>> uniform_clip_indices(300, 30.0, 16, 15, 5)[:, 0].tolist()
    [0, 66, 134, 200, 268]
    """
    _positive(clips_per_video=clips_per_video)
    frames = _clip_grid(num_frames, fps, clip_len, frame_rate)
    starts = np.floor(_linspace(0, len(frames) - clip_len, clips_per_video)).astype(np.int64)
    return frames[starts[:, None] + np.arange(clip_len)]


def random_clip_indices(
    num_frames: int, fps: float, clip_len: int, frame_rate: float, rng: np.random.Generator
) -> np.ndarray:
    """(clip_len,) int64: one clip of consecutive frames at `frame_rate`, its start drawn by `rng`.

    Every clip that `uniform_clip_indices` could give is equally likely. Raises ValueError when the video is
    shorter than one clip.
    """
    frames = _clip_grid(num_frames, fps, clip_len, frame_rate)
    start = rng.integers(len(frames) - clip_len + 1)
    return frames[start : start + clip_len]


def random_segment_indices(num_frames: int, num_wanted: int, rng: np.random.Generator) -> np.ndarray:
    """(num_wanted,) int64: one frame out of each of `num_wanted` equal parts of the video, drawn by `rng`.

    The sparse sampling of temporal segment networks (Wang et al. 2016, arXiv:1608.00859). Part i begins at the frame
    that `resample_indices` takes; of fewer frames than wanted it repeats the same ones.
    """
    first = resample_indices(num_frames, num_wanted)
    last = np.maximum(np.append(first[1:], num_frames), first + 1)
    return rng.integers(first, last)


def view_indices(
    num_frames: int, fps: float, clip_frames: int, stride: int, views: int, target_fps: float = 30
) -> np.ndarray:
    """(views, clip_frames) int64: windows spread evenly over the video (PySlowFast's test views).

    A window lasts `stride * clip_frames / target_fps` seconds, view i begins at the i-th of `views` equal
    parts of what is left, and its frames are evenly spaced, cut to integers. A video shorter than a window
    repeats its last frame.

    >>> view_indices(300, 30.0, 8, 8, 10)[1].tolist()
    [23, 32, 41, 50, 59, 68, 77, 86]
    """
    _positive(num_frames=num_frames, fps=fps, clip_frames=clip_frames, stride=stride, views=views)
    size = stride * clip_frames / target_fps * fps
    spare = max(num_frames - size, 0)
    return np.stack([_window(spare * view / views, size, clip_frames, num_frames) for view in range(views)])


def random_view_indices(
    num_frames: int, fps: float, clip_frames: int, stride: int, rng: np.random.Generator, target_fps: float = 30
) -> np.ndarray:
    """(clip_frames,) int64: a window as in `view_indices` that begins anywhere it fits (PySlowFast's training).

    A video shorter than a window repeats its last frame.
    """
    _positive(num_frames=num_frames, fps=fps, clip_frames=clip_frames, stride=stride)
    size = stride * clip_frames / target_fps * fps
    return _window(rng.uniform(0, max(num_frames - size, 0)), size, clip_frames, num_frames)


def frames_in(seconds: float, rate: float) -> int:
    """How many frames at `rate` a second a clip of `seconds` has, rounded to the nearest; at least one.

    >>> frames_in(2, 15), frames_in(2.5, 29.97), frames_in(0.01, 10)
    (30, 75, 1)
    """
    _positive(seconds=seconds, rate=rate)
    return max(1, int(seconds * rate + 0.5))


def clip_span(fps: float, clip_len: int, frame_rate: float) -> int:
    """The fewest frames at `fps` that hold one clip of `clip_len` frames at `frame_rate`.

    >>> clip_span(30.0, 5, 15)
    9
    """
    _positive(fps=fps, clip_len=clip_len, frame_rate=frame_rate)
    count = max(1, int((clip_len - 1) * fps / frame_rate))
    while len(_resampled(count, fps, frame_rate)) < clip_len:
        count += 1
    return count


def reorder(num_frames: int, order: str, rng: np.random.Generator) -> np.ndarray:
    """(num_frames,) int64: the positions of a clip in another order, to ask what a model makes of time.

    "normal"; "reversed"; "shuffled" (a permutation drawn by `rng`); "frozen" (the middle frame, repeated: the
    single-frame baseline).
    """
    positions = np.arange(num_frames)
    if order == "normal":
        return positions
    if order == "reversed":
        return positions[::-1].copy()
    if order == "shuffled":
        return rng.permutation(num_frames)
    if order == "frozen":
        return np.full(num_frames, num_frames // 2)
    raise ValueError(f"order must be normal, reversed, shuffled or frozen, got {order!r}")


def thin_out(num_frames: int, distinct: int) -> np.ndarray:
    """(num_frames,) int64: positions of a clip of which only `distinct` differ, each held for a while.

    >>> thin_out(8, 2).tolist()
    [0, 0, 0, 0, 4, 4, 4, 4]
    """
    _positive(num_frames=num_frames, distinct=distinct)
    kept = resample_indices(num_frames, min(distinct, num_frames))
    return kept[resample_indices(len(kept), num_frames)]


def _clip_grid(num_frames: int, fps: float, clip_len: int, frame_rate: float) -> np.ndarray:
    """The frames of a video at `frame_rate`, checked to hold at least one clip."""
    _positive(num_frames=num_frames, fps=fps, clip_len=clip_len, frame_rate=frame_rate)
    frames = _resampled(num_frames, fps, frame_rate)
    if len(frames) < clip_len:
        needed = clip_span(fps, clip_len, frame_rate)
        raise ValueError(f"too short: needs {needed} frames, has {num_frames}")
    return frames


def _resampled(num_frames: int, fps: float, frame_rate: float) -> np.ndarray:
    step = fps / frame_rate
    if float(step).is_integer():
        return np.arange(0, num_frames, int(step))
    count = int(np.floor(num_frames * frame_rate / fps))
    return np.floor(np.arange(count, dtype=np.float32) * np.float32(step)).astype(np.int64)


def _window(start: float, size: float, count: int, num_frames: int) -> np.ndarray:
    """(count,) int64: frames evenly spaced from `start` over `size` frames, cut to integers, inside the video."""
    last = start + max(size - 1, 0)  # a window of less than a frame does not run backwards
    return np.clip(_linspace(start, last, count), 0, num_frames - 1).astype(np.int64)


def _linspace(first: float, last: float, count: int) -> np.ndarray:
    """(count,) float32, evenly spaced; computed from both ends to the middle, as torch.linspace does."""
    first, last = np.float32(first), np.float32(last)
    if count == 1:
        return np.array([first])
    step = (last - first) / np.float32(count - 1)
    place = np.arange(count, dtype=np.float32)
    return np.where(place < count // 2, first + step * place, last - step * (np.float32(count - 1) - place))


def _positive(**counts: float) -> None:
    for name, value in counts.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
