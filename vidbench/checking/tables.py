"""A check as files and as a text."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from vidbench.checking.findings import ALONE, DOUBLES, Check, Checked
from vidbench.data.doubles import Double
from vidbench.utils import UserError, printable, written_whole

COLUMNS = (
    "video_id", "split", "label", "path", "status", "reason", "frames", "fps", "width", "height", "seconds", "findings",
)  # fmt: skip
PAIR_COLUMNS = ("a", "b", "split_a", "split_b", "label_a", "label_b", "kind", "overlap")


def refuse_others(folder: Path) -> None:
    """Raise UserError where the folder holds something that is no check."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: choose another --out-dir")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and not _is_ours(folder / "check.csv"):
        raise UserError(f"{folder} holds no check of vidbench but {there[0]!r}: choose another --out-dir")


def _is_ours(table: Path) -> bool:
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n") == ",".join(COLUMNS)


def write_check(check: Check, folder: Path) -> None:
    """Write `check.csv`, a row a video, `pairs.csv`, a row a double, `classes.csv` and `summary.txt`, each whole."""
    splits = check.splits
    counts = {split: _class_sizes(check, split) for split in splits}
    labels = sorted({label for sizes in counts.values() for label in sizes})
    _write_table(folder / "check.csv", COLUMNS, map(_row, check.videos))
    _write_table(folder / "pairs.csv", PAIR_COLUMNS, (_pair_row(check, pair) for pair in check.doubles))
    _write_table(
        folder / "classes.csv", ("label", *splits), ([name, *(counts[s][name] for s in splits)] for name in labels)
    )
    with written_whole(folder / "summary.txt") as file:
        file.write(summary(check) + "\n")


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[Sequence]) -> None:
    with written_whole(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def _row(one: Checked) -> list:
    video, info = one.video, one.looks and one.looks.info
    facts = [info.num_frames, f"{info.fps:.6g}", info.width, info.height, f"{info.seconds:.6g}"] if info else [""] * 5
    path, reason = printable(str(video.path or "")), printable(one.failure.reason) if one.failure else ""
    findings = "; ".join(printable(words) for _, words in one.findings)
    return [video.video_id, video.split, video.label or "", path, one.status, reason, *facts, findings]


def _pair_row(check: Check, pair: Double) -> list:
    a, b = check.videos[pair.first].video, check.videos[pair.second].video
    names = [a.video_id, b.video_id, a.split, b.split, a.label or "", b.label or ""]
    return [*names, pair.kind, f"{pair.overlap:.2f}"]


def _class_sizes(check: Check, split: str) -> Counter:
    return Counter(one.video.label for one in check.videos if one.video.split == split and one.video.label)


def summary(check: Check, named: int = 8) -> str:
    """What each split holds, what is usual, and how many videos have each finding, the first `named` by name."""
    lines = [f"{'split':8}{'videos':>8} {'classes':>8}  videos a class"]
    known = {split: _class_sizes(check, split) for split in check.splits}
    labels = {label for sizes in known.values() for label in sizes}
    for split, sizes in known.items():
        number = sum(one.video.split == split for one in check.videos)
        span = f"{min(sizes.values()):,} to {max(sizes.values()):,}" if sizes else ""
        lines.append(f"{split:8}{number:8,} {len(sizes):8,}  {span}")
    for split, sizes in known.items():
        if sizes and (lacking := sorted(labels - sizes.keys())):
            lines.append(f"classes that {split} lacks: {_first(lacking, named)}")
    if unlabelled := sum(one.video.label is None for one in check.videos):
        lines.append(f"without a label: {unlabelled:,}")
    lines += _usual(check)
    for kind in ALONE:
        found = check.of_kind(kind)
        words = [f"{one.name}  {next(text for k, text in one.findings if k == kind)}" for one in found]
        lines += _listed(kind, words, named)
    for kind in DOUBLES:
        words = [f"{pair.kind}, {pair.overlap:.0%}: {a.name} = {b.name}" for a, b, pair in check.pairs_of_kind(kind)]
        lines += _listed(kind.replace("double", "doubles", 1), words, named)
    shared = {name: {check.videos[place].name for place in places} for name, places in check.shared.items()}
    words = [f"{name}: {_first(sorted(names), named)}" for name, names in shared.items()]
    lines += _listed("groups in two splits", words, named)
    if check.crowded:
        lines.append(f"parts of pictures that more than a hundred videos share, so not compared: {check.crowded:,}")
    if not any(one.findings for one in check.videos):
        lines.append("nothing was found")
    return "\n".join([*lines, *(f"note: {note}" for note in check.notes)])


def _usual(check: Check) -> list[str]:
    infos = [one.looks.info for one in check.videos if one.looks]
    if not infos:
        return ["no video can be read"]
    measures = {
        "rate": ([info.fps for info in infos], "frames a second"),
        "shorter side": ([min(info.width, info.height) for info in infos], "pixels"),
        "length": ([info.seconds for info in infos], "seconds"),
        "frames": ([info.num_frames for info in infos], ""),
    }
    told = (
        f"{name:13} {median(values):.4g} ({min(values):.4g} to {max(values):.4g}) {unit}"
        for name, (values, unit) in measures.items()
    )
    return ["median (range)", *(f"  {line}".rstrip() for line in told)]


def _listed(title: str, words: Sequence[str], named: int) -> list[str]:
    """A title with how many there are, and the first `named` of them; nothing where there are none."""
    if not words:
        return []
    more = [f"  … and {len(words) - named:,} more"] if len(words) > named else []
    return [f"{title}: {len(words):,}", *(f"  {printable(line)}" for line in words[:named]), *more]


def _first(names: Sequence[str], named: int) -> str:
    return printable(", ".join(names[:named])) + (f" … and {len(names) - named:,} more" if len(names) > named else "")
