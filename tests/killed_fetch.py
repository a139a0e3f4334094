"""Runs scripts/fetch.py and kills it where it deals with files: python killed_fetch.py N FOLDER WORDS…

Right before the N-th time that a file or folder below FOLDER is opened, renamed, made or removed. The environment
variable KILLED_SCRIPT may name another script.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "shutil.rmtree"}


def main() -> None:
    left, folder = int(sys.argv[1]), sys.argv[2]

    def watch(event: str, about: tuple) -> None:
        nonlocal left
        if event in EVENTS and any(folder in str(item) for item in about[:2]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    script = Path(__file__).parents[1] / "scripts" / os.environ.get("KILLED_SCRIPT", "fetch.py")
    sys.argv = [str(script), *sys.argv[3:]]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
