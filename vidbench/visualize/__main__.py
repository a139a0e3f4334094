"""`python -m vidbench.visualize --figures images/` draws the pictures of the README and the notebooks anew."""

import argparse
from pathlib import Path

from vidbench.commands import command_errors


def main(arguments: list[str] | None = None) -> None:
    """Draw, and print what was written."""
    parser = argparse.ArgumentParser(prog="python -m vidbench.visualize", description=__doc__)
    parser.add_argument("--figures", type=Path, required=True, metavar="DIR", help="where the pictures go")
    wanted = parser.parse_args(arguments)
    with command_errors("visualize"):
        from vidbench.utils import readable_bytes
        from vidbench.visualize.drawings import draw_all

        for path in draw_all(wanted.figures):
            print(f"{path}: {readable_bytes(path.stat().st_size)}")


if __name__ == "__main__":
    main()
