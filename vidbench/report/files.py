"""What a finished run's folder holds beside its rows: tables and pages for people, made of those rows alone."""

import io
from collections.abc import Mapping

import numpy as np

from vidbench.report.classes import confusion, per_class
from vidbench.report.page import page as as_page
from vidbench.report.text import markdown
from vidbench.results import StoredRun
from vidbench.utils import written_whole


def tables_of(run: StoredRun) -> dict[str, str]:
    """`per_class.csv` and `confusion.csv`, name → text."""
    texts = {}
    for name, table in (("per_class.csv", per_class(run)), ("confusion.csv", confusion(run))):
        text = io.StringIO()
        table.to_csv(text, index=name == "confusion.csv", lineterminator="\n", float_format="%.6g")
        texts[name] = text.getvalue()
    return texts


def write_files(run: StoredRun, clips: Mapping[str, np.ndarray], page: bool = True) -> None:
    """Write `per_class.csv`, `confusion.csv`, `report.md` and `report.html` into the run's folder.

    clips: {video_id: frames (T, h, w, 3) uint8} of the mistakes that the page shows. page: whether it is written.
    """
    texts = tables_of(run) | {"report.md": markdown(run.report)}
    if page:
        texts["report.html"] = as_page(run, clips)
    for name, text in texts.items():
        with written_whole(run.folder / name) as file:
            file.write(text)
