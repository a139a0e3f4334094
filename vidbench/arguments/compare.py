"""The settings of scripts/compare.py."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import numbers, setting
from vidbench.utils import UserError


@dataclass(frozen=True)
class CompareSettings:
    """The flags of scripts/compare.py."""

    runs: tuple = setting((), "folders of runs that scripts/evaluate.py wrote", metavar="RUN", positional=True)
    fuse: bool = setting(False, "one more line: the mean of the runs' probabilities (late fusion)")
    weights: tuple = setting(
        (), "of the runs in that mean, one a run; implies --fuse (default: equal)", numbers("--weights", 1, 99), "X",
        several=True,
    )  # fmt: skip
    fused: Path | None = setting(None, "write the fused predictions, a CSV; implies --fuse", metavar="FILE")
    flips: Path | None = setting(
        None, "write the videos that some runs got right and others wrong, a CSV", metavar="FILE"
    )
    markdown: Path | None = setting(None, "write the tables as Markdown", metavar="FILE")
    latex: Path | None = setting(None, "write the tables as LaTeX", metavar="FILE")
    figure: Path | None = setting(None, "draw accuracies and differences, a .png or .svg", metavar="FILE")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        if self.figure and self.figure.suffix.lower() not in (".png", ".svg"):
            raise UserError(f"--figure must end in .png or .svg, got {self.figure}")

    @property
    def fuses(self) -> bool:
        """Whether the runs are fused, too."""
        return self.fuse or bool(self.weights) or self.fused is not None
