"""The parts of one evaluation → one run."""

from dataclasses import replace
from pathlib import Path

from vidbench.arguments import EvaluateSettings
from vidbench.commands import parse_settings
from vidbench.report.files import write_files
from vidbench.report.numbers import record_of, summary, timing_of
from vidbench.results import RunFolder, read_report, read_run, write_argfile
from vidbench.utils import UserError

PLACE = ("shard", "data_dir")  # in which the parts of one run may differ: machines mount data where they like


def merge(folders: list[Path], out: Path) -> dict:
    """Join the shards 1/N … N/N of one evaluation into `out`; returns its report.

    The predictions are those of one run over all. Raises UserError where a shard is missing, named twice,
    unfinished or of another run, and where `out` holds something else.
    """
    shards = _whole_set([(Path(folder), read_report(folder)) for folder in folders])
    total = len(shards)
    listings = [(folder / "listed.txt").read_text(encoding="utf-8").splitlines() for folder, _ in shards]
    order = [listing[row] for row in range(max(map(len, listings))) for listing in listings if row < len(listing)]
    if [order[number::total] for number in range(total)] != listings:
        raise UserError("the shards are not parts of one listing: their lengths do not fit")
    (folder, first), out = shards[0], Path(out)
    classes = read_run(folder).classes
    record = record_of(first)
    record["settings"] = record["settings"] | {"shard": None, "name": out.name, "results_dir": str(out.parent)}
    record["merged_from"] = [str(folder) for folder, _ in shards]
    seconds, videos = (sum(report["timing"][name] for _, report in shards) for name in ("seconds", "videos"))
    views = first["protocol"]["clips"] * first["protocol"]["crops"]
    identity = first["identity"] | {"shard": None}
    ways_out = "another --out"
    with RunFolder(out, identity, classes, record["settings"]["top_n"], order, record, views, ways_out=ways_out) as run:
        for folder, _ in shards:
            run.adopt(folder)
        report = run.finish(lambda stored: summary(record, stored, timing_of(seconds, videos, views)))
        write_argfile(out, _settings(folder, out))
        write_files(read_run(out), {})
    return report | {"folder": str(out)}


def _settings(shard: Path, out: Path) -> EvaluateSettings:
    """What scripts/evaluate.py is told to do the whole run on one machine."""
    settings = parse_settings(EvaluateSettings, [f"@{shard / 'config.txt'}"])
    return replace(settings, shard=None, name=out.name, results_dir=out.parent)


def _whole_set(parts: list[tuple[Path, dict]]) -> list[tuple[Path, dict]]:
    """The shards in their order; UserError unless they are all the parts of one run, finished."""
    shards: dict[tuple[int, int], tuple[Path, dict]] = {}
    for folder, report in parts:
        if not report["identity"].get("shard"):
            raise UserError(f"{folder} is no shard: its run had no --shard I/N")
        if report["status"] != "done":
            raise UserError(f"{folder} is not finished: start its command again")
        number = tuple(report["identity"]["shard"])
        if number in shards:
            raise UserError(f"{folder} and {shards[number][0]} are both shard {number[0]}/{number[1]}")
        shards[number] = folder, report
    total = max(n for _, n in shards)
    if off := sorted({(i, total) for i in range(1, total + 1)} ^ shards.keys()):
        (i, n) = off[0]
        why = (
            f"shard {i}/{n} is missing" if n == total else f"{shards[i, n][0]} is shard {i}/{n}, others are of {total}"
        )
        raise UserError(why)
    ordered = [shards[i, total] for i in range(1, total + 1)]
    same = {**ordered[0][1]["identity"], "num_videos": ordered[0][1]["settings"]["num_videos"]}
    for folder, report in ordered[1:]:
        other = {**report["identity"], "num_videos": report["settings"]["num_videos"]}
        if differing := [key for key in same if key not in PLACE and other.get(key) != same[key]]:
            raise UserError(f"{folder} is of another run than {ordered[0][0]}: {', '.join(differing)} differ")
    return ordered
