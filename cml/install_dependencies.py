"""The AMP's first step: install what requirements.txt names, and the kit itself, into the project.

Run by `python cml/install_dependencies.py` or in a kernel, from the project's root. pip's own lines say what failed.
"""

import subprocess
import sys

PYTHONS = ((3, 11), (3, 12))  # pyproject.toml's requires-python; pip would say it only after a list of versions


def main() -> None:
    if sys.version_info[:2] not in PYTHONS:
        sys.exit(f"error: vidbench needs Python 3.11 or 3.12, this is {sys.version.split()[0]}: choose another runtime")
    subprocess.run([sys.executable, "-m", "pip", "install", "-r", "requirements.txt"], check=True)
    print("installed; sessions, jobs and applications that start from now on have it")


if __name__ == "__main__":
    main()
