"""Kinetics in numbers: what its makers and its host say of it, and seven of its clips, measured.

The host is the CVDF (https://github.com/cvdfoundation/kinetics-dataset): clips that lie in its archives, rows of the
published annotations, and gigabytes of the archives.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """One split of Kinetics-400 as the CVDF hosts it: clips in the archives, rows annotated, bytes of the archives."""

    clips: int
    rows: int
    archive_bytes: int


@dataclass(frozen=True)
class Measured:
    """One file: what `decode.probe` says of it, and its size."""

    label: str
    seconds: float
    fps: float
    width: int
    height: int
    file_bytes: int


KINETICS_400 = {
    "train": Split(241_258, 246_534, 370 * 10**9),
    "val": Split(19_881, 19_906, 30 * 10**9),
    "test": Split(38_685, 39_805, 56 * 10**9),
}
ANNOTATED_SECONDS = 10  # each of val's 19,906 rows ends 10 seconds after it begins

# Seven clips of Kinetics-400 that other projects (torchvision, mmaction2) pass around to test on, not drawn at random;
# those of 340 × 256 were made smaller by whoever copied them.
SEVEN_CLIPS = (
    Measured("abseiling", 10.0, 25.0, 454, 256, 800_470),
    Measured("arm wrestling", 10.0, 28.0, 340, 256, 635_539),
    Measured("cleaning pool", 10.0, 30.0, 340, 256, 1_352_828),
    Measured("flipping pancake", 10.33, 30.0, 426, 240, 436_346),
    Measured("using segway", 10.1, 30.0, 340, 256, 863_543),
    Measured("using segway", 11.08, 29.97, 340, 256, 560_305),
    Measured("using segway", 10.91, 29.97, 340, 256, 889_619),
)


def pixel_bytes(num_frames: int, height: int, width: int, bytes_a_number: int = 1) -> int:
    """How many bytes (T, H, W, 3) numbers take: 1 byte each as uint8, 4 as float32.

    >>> pixel_bytes(16, 96, 128), pixel_bytes(16, 96, 128, bytes_a_number=4)
    (589824, 2359296)
    """
    return num_frames * height * width * 3 * bytes_a_number
