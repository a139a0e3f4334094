"""A report as text: the table that a run prints at its end."""


def table(report: dict) -> str:
    """The report as the lines that a run prints at its end."""
    counts, protocol = report["counts"], report["protocol"]
    lines = [f"{report['model']['name']} on {report['dataset']['title']}"]
    lines += [f"  note: {note}" for note in report["dataset"]["notes"]]
    lines.append(
        f"  protocol   {protocol['sampling']}, {protocol['num_frames']} frames, "
        f"{protocol['clips']}x{protocol['crops']} views (clips x crops), {report['settings']['precision']}"
        + _looks(report["settings"])
    )
    lines.append(
        "  videos     " + ", ".join(f"{name} {number:,}" for name, number in counts.items() if name != "population")
    )
    lines.append("  population " + ", ".join(f"{name} {number:,}" for name, number in counts["population"].items()))
    if missing := counts["listed"] - counts["found"]:
        hint = "; --population found lists those that are" if report["dataset"]["name"] == "kinetics" else ""
        lines.append(f"  note: not on this disk: {missing:,} of the listed, see failures.csv{hint}")
    lines += metric_lines(report["metrics"])
    if not report["metrics"]:
        lines.append(f"  {_why_no_accuracy(report)}: predictions without accuracy")
    timing = report["timing"]
    if timing.get("videos"):
        lines.append(f"  time       {timing['seconds']:.1f} s, {timing['videos_per_second']:.2f} videos/s")
    return "\n".join(lines)


def metric_lines(metrics: dict) -> list[str]:
    """One line an accuracy: its value, interval, level and chance."""
    lines = []
    for name, number in metrics.items():
        low, high = number["ci95"]
        title = name.replace("top", "top-").replace("_", " ")
        lines.append(
            f"  {title:<20} {number['value']:7.2%}   95 % interval {low:.1%} to {high:.1%}   "
            f"({number['level']} level, chance {number['chance']:.1%})"
        )
    return lines


def _why_no_accuracy(report: dict) -> str:
    if report["settings"]["predict_only"]:
        return "--predict-only"
    return "no labels" if report["counts"]["scored"] else "nothing scored"


def _looks(settings: dict) -> str:
    order = settings.get("frame_order", "normal")
    parts = [f"frames {order}"] if order != "normal" else []
    if settings.get("distinct_frames"):
        parts.append(f"{settings['distinct_frames']} distinct frames")
    return "".join(f", {part}" for part in parts)
