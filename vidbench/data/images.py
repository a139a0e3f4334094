"""Videos that lie as folders of JPEG or PNG frames."""

import re
from pathlib import Path

import cv2
import numpy as np

from vidbench.data.integrity import DecodeError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class ImageFolder:
    """A source of frames for `decode`: the images of a folder in their natural order, `fps` of them a second."""

    nothing = "no frames: the folder holds no JPEG or PNG file"

    def __init__(self, path: Path, fps: float):
        self.fps = fps
        self.files = frame_files(path)

    def guess_num_frames(self) -> int:
        return len(self.files)

    def frames(self, wanted: set[int] | None = None):
        for index, file in enumerate(self.files):
            yield index / self.fps, lambda index=index, file=file: self._read(index, file)

    def _read(self, index: int, file: Path) -> np.ndarray:
        image = read_image(file)
        if image is None:
            raise DecodeError(f"corrupt after frame {index}: {file.name} is no readable image")
        return image


def read_image(file: Path) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of a JPEG or PNG file; None for one that cannot be decoded."""
    data = np.fromfile(file, np.uint8)  # OpenCV itself opens no path that is not UTF-8
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def frame_files(folder: Path) -> list[Path]:
    """The visible JPEG and PNG files of a folder in their natural order: frame2 comes before frame10."""
    files = [file for file in folder.iterdir() if is_frame(file)]
    return sorted(files, key=lambda file: [_number(part) for part in re.split(r"(\d+)", file.name)])


def is_frame(path: Path) -> bool:
    """Whether a file's name is that of a frame; hidden files (such as AppleDouble's `._x.jpg`) are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _number(part: str) -> int | str:
    return int(part) if part.isdecimal() else part
