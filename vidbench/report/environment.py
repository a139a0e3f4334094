"""What another needs to repeat a run: versions, processor, commit."""

import importlib.metadata
import platform
import subprocess

from vidbench.data.datasets import ROOT
from vidbench.machine import cpu_name, usable_cpus

LIBRARIES = (
    *("tensorflow", "keras", "jax", "onnxruntime", "openvino", "nncf"),
    *("numpy", "opencv-python-headless", "av", "tensorflow-hub", "pandas"),
)


def environment() -> dict:
    """Versions, processor and commit: what another needs to repeat a run."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name.split("-")[0] if name.startswith("opencv") else name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        **versions,
        "cpu": cpu_name(),
        "usable_cpus": usable_cpus(),
        "platform": platform.platform(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the kit's checkout, with "+" where files differ from it; None outside a checkout."""
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **run).stdout
        return commit + ("+" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None
