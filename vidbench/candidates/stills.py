"""One still picture: bytes that were decoded before they count, and what the picture looks like."""

import contextlib
import hashlib
import io
from dataclasses import dataclass

import cv2
import numpy as np

from vidbench.data.looks import SIDE, frame_hashes, is_black, is_plain

KINDS = {b"\xff\xd8\xff": ("JPEG", ".jpg"), b"\x89PNG\r\n\x1a\n": ("PNG", ".png")}
MOST_PIXELS = 50_000_000  # 150 MB decoded: more is no photograph that a search finds, but may be a bomb
JPEG_QUALITY = 95  # of frames


class Refused(Exception):
    """A picture that is not taken.

    kind: in a word or two, which are counted; words: more of it; again: another time it may come
    """

    def __init__(self, kind: str, words: str = "", again: bool = False):
        super().__init__(f"{kind}: {words}" if words else kind)
        self.kind, self.again = kind, again


@dataclass(frozen=True, eq=False)
class Still:
    """A picture that decodes, as its file's bytes.

    suffix: ".jpg" or ".png"; width, height: in pixels, as it is shown; hashes: (2, 4) uint64, the 256 bits of its
    `phash` and of its mirror image's
    """

    data: bytes
    suffix: str
    width: int
    height: int
    hashes: np.ndarray

    @property
    def sha256(self) -> str:
        """Of the file's bytes, as 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def phash(self) -> str:
        """64 hex digits."""
        return self.hashes[0].tobytes().hex()


def checked_still(data: bytes, min_side: int = 0) -> Still:
    """The picture that the bytes of a JPEG or PNG file are; raises Refused where they are none."""
    kind, suffix = next((known for start, known in KINDS.items() if data.startswith(start)), ("", ""))
    if not kind:
        raise Refused("no image", "neither JPEG nor PNG")
    rgb = _decoded(data, kind, min_side)
    return Still(data, suffix, rgb.shape[1], rgb.shape[0], _hashes(rgb))


def still_of_frame(rgb: np.ndarray) -> Still:
    """An (H, W, 3) uint8 RGB frame as a JPEG file; raises Refused for one of a single colour, or black."""
    hashes = _hashes(rgb)
    fine, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not fine:
        raise Refused("broken image", "the frame cannot be written as JPEG")
    return Still(data.tobytes(), ".jpg", rgb.shape[1], rgb.shape[0], hashes)


def _decoded(data: bytes, kind: str, min_side: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as its EXIF data say; its size is looked at before its pixels are."""
    from PIL import ImageOps, JpegImagePlugin, PngImagePlugin

    reader = JpegImagePlugin.JpegImageFile if kind == "JPEG" else PngImagePlugin.PngImageFile
    try:
        with reader(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise Refused("too large", f"{width}×{height} pixels, more than {MOST_PIXELS / 1e6:.0f} million")
            if min(width, height) < min_side:
                raise Refused("too small", f"{width}×{height} pixels, less than {min_side}")
            image.load()
            with contextlib.suppress(Exception):  # many cameras write EXIF data that are broken
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits, of which Pillow would cut off the upper ones
                return cv2.cvtColor((np.asarray(image) >> 8).astype(np.uint8), cv2.COLOR_GRAY2RGB)
            if image.mode in ("P", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
            return np.asarray(image.convert("RGB"))
    except Refused:
        raise
    except Exception as problem:  # the bytes are a stranger's: Pillow raises a dozen kinds of errors for broken ones
        raise Refused("broken image", str(problem)[:200] or type(problem).__name__) from None


def _hashes(rgb: np.ndarray) -> np.ndarray:
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[None]
    if is_black(gray)[0] or is_plain(gray)[0]:
        raise Refused("one colour")
    both = np.concatenate([gray, gray[:, :, ::-1]])
    return frame_hashes(both).view(np.uint64)
