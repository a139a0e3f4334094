"""A clip that an annotation table names."""

import re
from dataclasses import dataclass

CLIP_KEY = re.compile(r"[A-Za-z0-9_-]{11}_[0-9]{6}_[0-9]{6}")


@dataclass(frozen=True)
class Wanted:
    """Seconds `start` to `end` of a YouTube video; `key` is `{youtube_id}_{start:06d}_{end:06d}`."""

    key: str
    label: str
    youtube_id: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long the clip is."""
        return self.end - self.start

    @classmethod
    def of(cls, key: str, label: str | None) -> "Wanted":
        """From a key and its label.

        >>> Wanted.of("0wR5jVB-WPk_000417_000427", "abseiling").seconds
        10.0
        """
        start, end = (float(part) for part in key[12:].split("_"))
        return cls(key, label or "", key[:11], start, end)
