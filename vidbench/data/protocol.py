"""The protocol: which frames and which pixels of a video a model sees. Plain values, no pixels here."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from vidbench.data import sampling
from vidbench.utils import UserError

SAMPLINGS = ("whole", "clips", "strided")
RESIZES = ("square_crop", "square_pad", "short_side", "exact")
SHORT_VIDEOS = ("fail", "repeat")


@dataclass(frozen=True)
class Protocol:
    """How a video becomes `clips * crops` views of `num_frames` frames each.

    sampling: "whole"   the whole video, resampled to `num_frames` (the original prototype); with several
                        clips, clip v of V starts v/V of a step later
              "clips"   `clips` runs of consecutive frames at `frame_rate` per second (torchvision)
              "strided" `clips` windows of `num_frames * stride` frames at `target_fps` (SlowFast, X3D)
    resize:   "square_crop" / "square_pad"  cut or pad to a square, then scale to `resize_to`
              "short_side"  scale the shorter side to `resize_to[0]`
              "exact"       scale to `resize_to` (height, width), whatever the shape
    crop:     (height, width) cut from the middle after the resize, None for no cut; with 3 crops, from the
              left, middle and right (top, middle, bottom of an upright video)
    short_videos: what happens to a video with fewer frames than asked: "fail" or "repeat" its frames.
    """

    sampling: str = "whole"
    num_frames: int = 16
    frame_rate: float | None = None
    stride: int | None = None
    target_fps: float = 30.0
    clips: int = 1
    crops: int = 1
    resize: str = "short_side"
    resize_to: tuple[int, int] = (256, 256)
    crop: tuple[int, int] | None = (224, 224)
    short_videos: str = "repeat"

    def __post_init__(self):
        for field, choices in (("sampling", SAMPLINGS), ("resize", RESIZES), ("short_videos", SHORT_VIDEOS)):
            if getattr(self, field) not in choices:
                raise UserError(f"{field} must be one of {', '.join(choices)}, got {getattr(self, field)!r}")
        if min(self.num_frames, self.clips) < 1 or self.crops not in (1, 3):
            raise UserError(
                f"a view needs at least 1 frame, 1 clip and 1 or 3 crops, got {self.num_frames} frames, "
                f"{self.clips} clips, {self.crops} crops"
            )
        if self.crops == 3 and self.crop is None:
            raise UserError(
                "this protocol shows the whole frame, there are no three crops to take: use 1 crop, CLIPSx1"
            )
        if self.crop is not None and (self.crop[0] > self.resize_to[0] or self.crop[1] > self.resize_to[1]):
            raise UserError(f"the crop {self.crop} is larger than the resized frame {self.resize_to}")
        if self.sampling == "clips" and not self.frame_rate:
            raise UserError("sampling 'clips' needs a frame_rate")
        if self.sampling == "strided" and not self.stride:
            raise UserError("sampling 'strided' needs a stride")

    @classmethod
    def from_dict(cls, values: dict) -> "Protocol":
        """The inverse of `to_dict`."""
        pairs = {k: tuple(values[k]) for k in ("resize_to", "crop") if values.get(k) is not None}
        return cls(**{**values, **pairs})

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def views(self) -> int:
        """How many times the model looks at one video."""
        return self.clips * self.crops

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of what the model is given."""
        if self.crop is None and self.resize == "short_side":
            raise UserError("resize 'short_side' needs a crop: the views of a batch must have one shape")
        return self.crop or self.resize_to

    @property
    def most_bytes(self) -> int:
        """What the frames of one video take at most: no frame stands in two clips; uncut ones are taken as 16:9."""
        height, width = self.resize_to
        if self.resize == "short_side":
            height, width = height, height * 16 // 9
        if self.crop is not None and self.crops == 1:
            height, width = self.crop
        return self.clips * self.num_frames * height * width * 3

    def indices(self, num_frames: int, fps: float) -> np.ndarray:
        """(clips, num_frames) int64: which of a video's `num_frames` frames each clip takes.

        Raises ValueError when the video is too short and `short_videos` is "fail".
        """
        if self.short_videos == "fail" and num_frames < (needed := self.frames_needed(fps)):
            raise ValueError(f"too short: needs {needed} frames, has {num_frames}")
        if self.sampling == "whole":
            dealt = sampling.resample_indices(num_frames, self.num_frames * self.clips)
            return dealt.reshape(self.num_frames, self.clips).T.copy()
        if self.sampling == "strided":
            return sampling.view_indices(num_frames, fps, self.num_frames, self.stride, self.clips, self.target_fps)
        longer = max(num_frames, self.frames_needed(fps))  # repeat: as if the last frame stood still
        picked = sampling.uniform_clip_indices(longer, fps, self.num_frames, self.frame_rate, self.clips)
        return np.minimum(picked, num_frames - 1)

    def random_indices(
        self, num_frames: int, fps: float, rng: np.random.Generator, short_videos: str = "repeat"
    ) -> np.ndarray:
        """(num_frames,) int64: the frames of one clip at a random place, for training.

        "whole"   one frame from each of `num_frames` equal parts of the video
        "clips"   a run at `frame_rate` that starts anywhere on the grid of `indices`
        "strided" a window that begins anywhere it fits
        A video that is too short repeats its last frame ("whole": each of its frames evenly, as `indices` does),
        whatever the protocol says; with "fail" it raises ValueError.
        """
        if short_videos == "fail" and num_frames < (needed := self.frames_needed(fps)):
            raise ValueError(f"too short: needs {needed} frames, has {num_frames}")
        if self.sampling == "whole":
            return sampling.random_segment_indices(num_frames, self.num_frames, rng)
        if self.sampling == "strided":
            return sampling.random_view_indices(num_frames, fps, self.num_frames, self.stride, rng, self.target_fps)
        longer = max(num_frames, self.frames_needed(fps))
        picked = sampling.random_clip_indices(longer, fps, self.num_frames, self.frame_rate, rng)
        return np.minimum(picked, num_frames - 1)

    def frames_in(self, seconds: float) -> int:
        """How many frames of this protocol last `seconds`: `protocol.override(num_frames=protocol.frames_in(2))`.

        Raises UserError for "whole", which has no rate: its frames are spread over any video.
        """
        if self.sampling == "whole":
            raise UserError("a clip's length in seconds needs a frame rate: this protocol spreads over whole videos")
        rate = self.frame_rate if self.sampling == "clips" else self.target_fps / self.stride
        return sampling.frames_in(seconds, rate)

    def frames_needed(self, fps: float) -> int:
        """The fewest frames of a video at `fps` from which a clip can be taken without repeating one."""
        if self.sampling == "clips":
            return sampling.clip_span(fps, self.num_frames, self.frame_rate)
        if self.sampling == "strided":
            return int(np.ceil(self.stride * self.num_frames / self.target_fps * fps))
        return self.num_frames

    def override(
        self,
        num_frames: int | None = None,
        frame_rate: float | None = None,
        views: tuple[int, int] | None = None,
        resize_type: str | None = None,
        short_videos: str | None = None,
    ) -> "Protocol":
        """The same protocol with a user's wishes in place of the model's own.

        A frame rate turns "whole" into "clips"; `resize_type` "crop" or "pad" is the prototype's: a square of
        the model's own size, cut or padded.
        """
        changes: dict = {}
        if num_frames is not None:
            changes["num_frames"] = num_frames
        if frame_rate is not None and self.sampling == "strided":
            changes["target_fps"] = frame_rate * self.stride
        elif frame_rate is not None:
            changes.update(sampling="clips", frame_rate=frame_rate)
        if views is not None:
            changes.update(clips=views[0], crops=views[1])
        if resize_type is not None:
            changes.update(resize=f"square_{resize_type}", resize_to=self.frame_size, crop=None)
        if short_videos is not None:
            changes["short_videos"] = short_videos
        return replace(self, **changes)


def protocol_in_words(protocol: Protocol) -> str:
    """Which frames and which pixels of a video are looked at, as sentences."""
    count, clips = protocol.num_frames, protocol.clips
    if protocol.sampling == "whole":
        frames = f"{count * clips} frames, evenly spread over the whole video"
        frames += f", dealt out in turn to {clips} clips of {count}" if clips > 1 else ""
    elif protocol.sampling == "clips":
        runs = "run" if clips == 1 else "runs, at even distances from the beginning to the end,"
        frames = f"{clips} {runs} of {count} consecutive frames at {protocol.frame_rate:g} frames a second"
    else:
        windows = "window" if clips == 1 else "windows, their beginnings evenly spread over the video,"
        frames = (
            f"{clips} {windows} of {count} frames, each {protocol.stride} apart at {protocol.target_fps:g} a second"
        )
    high, wide = protocol.resize_to
    size = {
        "square_crop": f"the middle square is cut out and scaled to {high} × {wide}",
        "square_pad": f"the frame is padded with black to a square and scaled to {high} × {wide}",
        "short_side": f"the shorter side is scaled to {high}",
        "exact": f"the frame is scaled to {high} × {wide} (height × width)",
    }[protocol.resize]
    if protocol.crop:
        where = "from the middle" if protocol.crops == 1 else "at three places along the longer side"
        size += f", then {protocol.crop[0]} × {protocol.crop[1]} is cut {where}"
    short = {"fail": "is refused", "repeat": "shows some of its frames more than once"}[protocol.short_videos]
    views = "" if protocol.views == 1 else f" The probabilities of the {protocol.views} views are averaged."
    return f"{frames[0].upper()}{frames[1:]}; {size}. A video with too few frames {short}.{views}"
