"""`results/README.md`: every published accuracy that the kit knows, and the run that reproduced it, if there is one."""

import json
from pathlib import Path

from vidbench.report.verdict import row_in_words
from vidbench.utils import UserError, written_whole

COLUMNS = ("model", "published", "reproduced by", "videos", "scored set", "commit", "report")
NO_RUN = ("no run yet", "", "", "", "")
HEAD = """# Ledger

Accuracies that were published of models of this kit, in percent, and what a run of the kit gave under the same
circumstances: a row stays empty until there is such a run, comparable by its own verdict. `scored set` is how the
fingerprint of the scored videos begins; a report lies here once its command has run on this machine.
`python -m vidbench.report ledger` writes this page anew from the runs beside it.
"""


def ledger(results: Path) -> str:
    """The page as Markdown: a row for each published accuracy, with the largest comparable run below `results`."""
    from vidbench.models import available_models, spec_of  # TensorFlow takes seconds to import

    runs = [report for path in sorted(Path(results).glob("*/report.json")) if (report := _report(path))]
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name in available_models():
        for published in spec_of(name).to_dict()["published"]:
            same = [run for run in runs if run["published"] == published and run["model"].startswith(name)]
            cells = max(same, key=lambda run: run["scored"])["cells"] if same else NO_RUN
            rows.append((name, f"{row_in_words(published)}, {published['source']}", *cells))
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"{HEAD}\n{table}\n"


def write_ledger(results: Path) -> Path:
    """Write `results/README.md`; returns its path. Rows that a run filled before are kept where it is not there now.

    Raises UserError where there is no such folder.
    """
    if not Path(results).is_dir():
        raise UserError(f"no such folder: {results}")
    path = Path(results) / "README.md"
    before = _rows(path.read_text(encoding="utf-8")) if path.is_file() else {}
    lines = []
    for line in ledger(results).splitlines():
        key = _key(line)
        lines.append(before[key] if NO_RUN[0] in line and key in before else line)
    with written_whole(path) as file:
        file.write("\n".join(lines) + "\n")
    return path


def _report(path: Path) -> dict | None:
    """What the ledger says of a finished, comparable run; None for anything else."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["status"] != "done" or not report["comparable"]:
            return None
        return {
            "model": report["model"]["name"],
            "published": report["published"],
            "scored": report["counts"]["scored"],
            "cells": _cells(report, path.parent.name),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cells(report: dict, folder: str) -> tuple[str, ...]:
    number, counts = report["metrics"]["top1"], report["counts"]
    low, high = (100 * bound for bound in number["ci95"])
    return (
        f"{100 * number['value']:.2f} [{low:.1f}, {high:.1f}]",
        f"{counts['scored']:,} of {counts['listed']:,}",
        report["dataset"]["fingerprint"][:12],
        report["environment"]["commit"] or "",
        f"[{folder}]({folder}/report.md)",
    )


def _rows(page: str) -> dict[tuple[str, ...], str]:
    """{model and published: line} of the rows of a page that a run fills."""
    return {_key(line): line for line in page.splitlines() if line.startswith("| ") and NO_RUN[0] not in line}


def _key(line: str) -> tuple[str, ...]:
    return tuple(line.split(" | ")[:2])
