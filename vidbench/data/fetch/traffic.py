"""The bytes that all threads of a fetch receive: counted, and no more than were allowed."""

import threading
import time
from collections.abc import Callable

from vidbench.data.fetch.http import Meter
from vidbench.utils import readable_bytes


class SpentError(Exception):
    """As many bytes came as may."""


class Traffic(Meter):
    """Counts `received_bytes`; reading raises SpentError where `most_bytes` came, and whatever `heard` raises."""

    def __init__(self, most_bytes: float | None, heard: Callable[[], None] = lambda: None):
        self.most_bytes, self.received_bytes = most_bytes, 0
        self._heard, self._lock = heard, threading.Lock()
        self._asked_bytes = 0  # that threads may receive at this moment
        self.restart()

    def restart(self) -> None:
        """Measure the rate from now on."""
        self._began, self._before = time.monotonic(), self.received_bytes

    def words(self) -> str:
        """How much, and how fast."""
        rate = (self.received_bytes - self._before) / max(time.monotonic() - self._began, 1e-3)
        return f"{readable_bytes(self.received_bytes)}, {readable_bytes(rate)}/s"

    def allow(self, most: int) -> int:
        """How many bytes may be asked for; raises SpentError where that is none."""
        with self._lock:
            if self.most_bytes is not None:
                most = min(most, int(self.most_bytes) - self.received_bytes - self._asked_bytes)
            if most <= 0:
                raise SpentError
            self._asked_bytes += most
            return most

    def count(self, allowed: int, number: int) -> None:
        """So many came of those that were allowed."""
        with self._lock:
            self._asked_bytes -= allowed
            self.received_bytes += number
        self._heard()
