"""What this process may use of the machine, what it has used, and what native code says meanwhile."""

import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_most_cpus: int | None = None  # of this process, see `limit_cpus`


def limit_cpus(number: int) -> None:
    """Let `usable_cpus` say at most `number` in this process: others of its kind share the machine."""
    global _most_cpus
    _most_cpus = number


def usable_cpus() -> int:
    """How many processors this process may really use: the affinity mask, cut by the container's quota.

    `os.cpu_count()` is the host's number, which a container of two cores on a host of 64 must not believe.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(allowed, int(quota) if quota else allowed, _most_cpus or allowed))


def cgroup_quota(root: Path) -> float | None:
    """The CPU quota in processors that a cgroup folder (v2, then v1) sets, or None where it sets none."""
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return max(1.0, float(quota) / float(period)) if float(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or the word "max"
        return None


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def peak_memory_mb() -> int:
    """The largest resident size of this process so far, in MB.

    Linux tells it in /proc; `getrusage` would count the process that started this one, too.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
    except (OSError, StopIteration):
        scale = 1024 if sys.platform != "darwin" else 1024**2  # macOS counts in bytes, others in kB
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)


@contextmanager
def stderr_held() -> Iterator[None]:
    """Hold back what native code writes to stderr in the block; it is shown only when the block fails.

    TensorFlow's start-up lines come from C++ before its log level counts, and would bury a one-line error.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
