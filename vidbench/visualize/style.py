"""What all figures share: colours, and figures that a notebook shows once."""

from pathlib import Path

from vidbench.utils import written_whole

RIGHT, WRONG, PLAIN = "#2a7f62", "#c8553d", "#5b7db1"  # told apart by people who see red and green alike
UNSURE = "#777777"


def escaped(name: str) -> str:
    """A name as matplotlib shows it unchanged: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def save_figure(figure, path: Path, **options) -> None:
    """Write a figure to a file, whole or not at all, in the format that the file's name ends in: .png, .svg …

    options: further ones of Matplotlib's `savefig`.
    """
    with written_whole(path, "wb") as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120, **options)


def new_figure(rows: int, columns: int, size: tuple[float, float], **options):
    """A figure that pyplot does not hold on to, so that a notebook shows it once, and its axes as a flat list."""
    import matplotlib.pyplot as plt  # half a second that importing the kit must not cost

    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    plt.close(figure)
    return figure, axes.ravel()
