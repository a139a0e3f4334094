"""What `compare_runs` gives as tables of text, Markdown and LaTeX, as a figure, and as files."""

import csv
from pathlib import Path

from vidbench.typeset import as_latex, as_markdown, as_text, latex_escaped, markdown_escaped
from vidbench.utils import UserError, printable, written_whole
from vidbench.visualize import comparison, save_figure

SHOWN = 3  # ids of flipped videos that are printed
PAIR_CAPTION = "first minus second, in points of top-1, with the paired 95 % interval; counts of videos right and wrong"


def comparison_table(result: dict) -> str:
    """What `compare_runs` gives as the text that the command prints."""
    lines = [_caption(result), *(f"  note: {note}" for note in result["notes"]), as_text(*_run_cells(result)), ""]
    lines += [as_text(*_pair_cells(result)), f"({PAIR_CAPTION})"]
    for pair in result["pairs"]:
        lines += ["", f"{pair['a']} vs {pair['b']}", *(f"  {line}" for line in pair["differs"])]
        lines += [f"  {_flipped(pair['a'], pair['flipped_to_a'])}", f"  {_flipped(pair['b'], pair['flipped_to_b'])}"]
    return "\n".join(lines)


def comparison_markdown(result: dict) -> str:
    """The tables in Markdown."""
    notes = [f"- {markdown_escaped(note)}" for note in result["notes"]]
    parts = [markdown_escaped(_caption(result)), "\n".join(notes), as_markdown(*_run_cells(result))]
    parts += [as_markdown(*_pair_cells(result)), PAIR_CAPTION[0].upper() + PAIR_CAPTION[1:] + "."]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison_latex(result: dict) -> str:
    """The tables in LaTeX."""
    caption = "; ".join([_caption(result), *result["notes"]])
    parts = [latex_escaped(caption) + ".", as_latex(*_run_cells(result)), as_latex(*_pair_cells(result))]
    return "\n\n".join([*parts, latex_escaped(PAIR_CAPTION[0].upper() + PAIR_CAPTION[1:]) + "."]) + "\n"


def write_comparison(
    result: dict,
    *,
    markdown: Path | None = None,
    latex: Path | None = None,
    figure: Path | None = None,
    flips: Path | None = None,
    fused: Path | None = None,
) -> list[Path]:
    """Write what is asked for of what `compare_runs` gives; returns the paths.

    markdown, latex: the tables. figure: PNG or SVG, by its name's ending. flips, fused: CSV files of these rows.
    """
    for path, words in ((markdown, comparison_markdown), (latex, comparison_latex)):
        if path:
            with written_whole(path) as file:
                file.write(words(result))
    if flips:
        _write_csv(flips, ["video_id", "label", *(run["name"] for run in result["runs"])], result["flips"])
    if fused and not result["fused"]:
        raise UserError("no fused predictions to write: the runs were compared without fusion")
    if fused:
        _write_csv(fused, list(result["fused"][0]), [row.values() for row in result["fused"]])
    if figure:
        runs = [{"name": run["name"], **run["top1"]} for run in result["runs"]]
        save_figure(comparison(runs, [{"name": _title(pair), **pair} for pair in result["pairs"]]), figure)
    return [path for path in (markdown, latex, figure, flips, fused) if path]


def _write_csv(path: Path, header: list[str], rows: list) -> None:
    with written_whole(path) as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _caption(result: dict) -> str:
    return printable(f"{result['title']}: {result['videos']:,} labelled videos that every run scored")


def _run_cells(result: dict) -> tuple[list[str], list[list[str]]]:
    header = ["run", "videos", "left out", "top-1", "95 % interval", "mean class", "seconds a clip"]
    rows = []
    for run in result["runs"]:
        low, high = run["top1"]["ci95"]
        seconds = run["seconds_per_clip"]
        rows.append([
            run["name"] + (" (partial)" if run["partial"] else ""),
            f"{run['videos']:,}",
            f"{run['left_out']:,}",
            f"{run['top1']['value']:.2%}",
            f"{low:.1%} to {high:.1%}",
            f"{run['mean_class_accuracy']['value']:.2%}",
            f"{seconds:.3f}" if seconds else "–",
        ])  # fmt: skip
    return header, rows


def _pair_cells(result: dict) -> tuple[list[str], list[list[str]]]:
    header = ["pair", "points", "95 % interval", "both right", "only first", "only second", "neither"]
    rows = []
    for pair in result["pairs"]:
        low, high = pair["ci95"]
        counts = [f"{pair[name]:,}" for name in ("both", "only_a", "only_b", "neither")]
        p_values = [f"{pair[name]:.2g}" for name in ("mcnemar_p", "holm_p")]
        rows.append(
            [_title(pair), _points(pair["difference"]), f"{_points(low)} to {_points(high)}", *counts, *p_values]
        )
    return [*header, "McNemar p", "Holm p"], rows


def _title(pair: dict) -> str:
    return f"{pair['a']} vs {pair['b']}"


def _points(share: float) -> str:
    """A difference of fractions in points, with its sign.

    >>> _points(0.40625), _points(-0.000001), _points(0)
    ('+40.62', '0.00', '0.00')
    """
    text = f"{100 * share:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _flipped(name: str, ids: list[str]) -> str:
    shown = ", ".join(printable(key) for key in ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
    return f"only {name} right: {len(ids):,}" + (f" ({shown})" if ids else "")
