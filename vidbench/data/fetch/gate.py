"""The gate of a folder: a file becomes a clip of it only once it was decoded to its end."""

import threading
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from pebble import ProcessExpired

from vidbench.data.decode import VideoInfo, probe
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.integrity import DecodeError
from vidbench.data.workers import worker_pool
from vidbench.utils import sha256_of

ASIDE = ".rejected"  # where files lie that are no clips: hidden, so that no data set lists them
SHORTEST, LONGEST, SLACK_SECONDS = 0.5, 1.25, 1.0  # of the annotated seconds; copies of a video end early or late


class Gate:
    """Lets files into a folder: verified in processes of their own, moved whole, noted in the manifest.

    Use as a context manager; `admit` may be called from several threads.
    """

    def __init__(self, folder: Path, manifest: Manifest, workers: int = 1, timeout: float = 60.0):
        self.folder, self.manifest, self.timeout = Path(folder), manifest, timeout
        self._workers = workers
        self._noting = threading.Lock()

    def __enter__(self) -> "Gate":
        self._pool = worker_pool(self._workers)
        return self

    def __exit__(self, *problem) -> None:
        self._pool.stop()
        self._pool.join()

    def admit(
        self,
        part: Path,
        target: Path,
        *,
        key: str,
        label: str = "",
        source: str = "",
        seconds: float | None = None,
        aside: bool = True,
    ) -> Row:
        """Verify `part`, a finished file under another name, and move it to `target`, or aside; returns its row.

        seconds: how long the clip should be, None where nobody knows. `part` and `target` lie in the folder, `part`
        may be `target`: then a good file stays where it is. aside: False leaves a bad file where it is.
        """
        info, reason = self._verified(part, seconds)
        facts: dict = {}
        try:
            facts = {"bytes": part.stat().st_size, "sha256": sha256_of(part)}
        except OSError as problem:
            reason = f"unreadable: {problem.strerror}"
        place = target if reason is None or not aside else self.folder / ASIDE / target.name
        if info:
            facts |= {"frames": info.num_frames, "fps": round(info.fps, 3), "width": info.width, "height": info.height}
        place.parent.mkdir(parents=True, exist_ok=True)
        part.replace(place)
        status = "ok" if reason is None else "bad"
        path = place.relative_to(self.folder).as_posix()
        row = Row(key, label, source, **facts, status=status, reason=reason or "", path=path)
        self.note(row)
        return row

    def note(self, row: Row) -> None:
        """Write a row of the manifest."""
        with self._noting:
            self.manifest.add(row)

    def news(self) -> list[Row]:
        """The rows that other processes wrote since the last call; at first all that the manifest has."""
        with self._noting:
            self.manifest.refresh()
            news, self.manifest.news = self.manifest.news, []
            return news

    def _verified(self, part: Path, seconds: float | None) -> tuple[VideoInfo | None, str | None]:
        """What a file holds, None where it cannot be decoded; and why it is no clip, None where it is one."""
        future = self._pool.schedule(probe, args=(part,), timeout=self.timeout)
        try:
            info = future.result()
        except DecodeError as problem:
            return None, str(problem)
        except FutureTimeout:
            return None, f"not decoded within {self.timeout:g} s"
        except ProcessExpired as problem:
            return None, f"the decoder crashed (exit code {problem.exitcode})"
        if seconds and not SHORTEST * seconds <= info.seconds <= LONGEST * seconds + SLACK_SECONDS:
            return info, f"lasts {info.seconds:.1f} s instead of {seconds:g} s"
        return info, None
