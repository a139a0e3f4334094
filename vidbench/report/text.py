"""A report as text: the table that a run prints at its end, and a paragraph for a paper."""

from vidbench.data.protocol import Protocol, protocol_in_words
from vidbench.report.verdict import row_in_words, verdict_line
from vidbench.utils import readable_bytes

CLUSTER = {"model_workers": "model worker", "nodes": "node"}


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
    if missing := counts["listed"] - counts["found"] - counts.get("pending", 0):
        hint = "; --population found lists those that are" if report["dataset"]["name"] == "kinetics" else ""
        lines.append(f"  note: not on this disk: {missing:,} of the listed, see failures.csv{hint}")
    if pending := counts.get("pending"):
        lines.append(f"  note: partial: {pending:,} of the listed are still to be scored; these are a random sample")
    lines += metric_lines(report["metrics"])
    if not report["metrics"]:
        lines.append(f"  {_why_no_accuracy(report)}: predictions without accuracy")
    timing = report["timing"]
    if timing.get("videos"):
        lines.append(
            f"  time       {timing['seconds']:.1f} s, {timing['videos_per_second']:.2f} videos/s{_from_cache(timing)}"
            f"{_cluster(report)}"
        )
    lines.append(f"  verdict    {verdict_line(report)}")
    return "\n".join(lines)


def _from_cache(timing: dict) -> str:
    """What of the time was saved by the cache, and what the cache lost; nothing where it played no part."""
    counts = timing.get("cache", {})
    hits, gone = counts.get("hits", 0), counts.get("evicted_bytes", 0)
    told = f", {hits:,} of {hits + counts['misses']:,} out of the cache" if hits else ""
    return told + (f", {readable_bytes(gone)} of older clips left it" if gone else "")


def metric_lines(metrics: dict) -> list[str]:
    """One line an accuracy: its value, interval, level and chance."""
    lines = []
    for name, number in metrics.items():
        low, high = number["ci95"]
        lines.append(
            f"  {metric_title(name):<20} {number['value']:7.2%}   95 % interval {low:.1%} to {high:.1%}   "
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


def markdown(report: dict) -> str:
    """`report.md`: what a paper says of such an evaluation, in Markdown."""
    rows = [
        f"| {metric_title(name)} | {number['value']:.2%} | {number['ci95'][0]:.1%} to {number['ci95'][1]:.1%} | "
        f"{number['chance']:.1%} |"
        for name, number in report["metrics"].items()
    ]
    table = ["| | value | 95 % interval | chance |", "|---|---|---|---|", *rows, ""] if rows else []
    lines = [
        f"# {report['model']['name']} on {report['dataset']['title']}",
        "",
        *table,
        f"Verdict: {verdict_line(report)}.",
        "",
        "## Methods",
        "",
        methods(report),
        "",
    ]
    return "\n".join(lines)


def methods(report: dict) -> str:
    """How the numbers of a report came about, as a paragraph for a paper."""
    model, dataset, counts, environment = (report[part] for part in ("model", "dataset", "counts", "environment"))
    settings, population = report["settings"], counts["population"]
    words = [
        f"We evaluated {model['name']} ({model['classes']} classes"
        + (f", weights SHA-256 {model['weights_sha256'][:12]}" if model["weights_sha256"] else "")
        + f") on {dataset['title']}.",
        f"Of {population.get('annotations', population.get('found', counts['listed'])):,} videos of this split, "
        f"{counts['listed']:,} were listed (in an order with seed {settings['seed']}), {counts['scored']:,} scored, "
        f"and {counts['failed']:,} could not be read{_unlabelled(counts)}; the SHA-256 of the sorted ids of the scored "
        f"ones begins with {dataset['fingerprint'][:12]}.",
        protocol_in_words(Protocol.from_dict(report["protocol"])),
        f"Pixels were scaled to {model['value_range'][0]:g} to {model['value_range'][1]:g}"
        + (", then standardised by channel" if model["mean_std"] else "")
        + f"; the network ran in {settings['precision']} ({model['runtime']}{_converted(model)}).",
        *_odd_looks(settings),
        _accuracy_sentence(report),
        f"We used vidbench at commit {environment['commit'] or 'unknown'} with Python {environment['python']}, "
        f"TensorFlow {environment.get('tensorflow', '–')}, Keras {environment.get('keras', '–')}, NumPy "
        f"{environment['numpy']}, OpenCV {environment.get('opencv', '–')} and PyAV {environment.get('av', '–')} on "
        f"{environment['usable_cpus']} processors ({environment['cpu']}){_cluster(report)}.",
        *_published_sentence(report),
    ]
    return " ".join(words)


def _converted(model: dict) -> str:
    """How a converted model agrees with TensorFlow; reports of earlier versions do not say."""
    if not (told := model.get("conversion")):
        return ""
    calibrated = f", calibrated with {told['calibration']}" if told["calibration"] else ""
    return (
        f", converted from TensorFlow{calibrated}; on {told['clips']} clips its logits differ by at most "
        f"{told['largest_error']:.1g} of their spread"
    )


def _cluster(report: dict) -> str:
    """What a run over Ray had beside the machine that it was started on."""
    size = report["timing"].get("cluster")
    if not size:
        return ""
    workers, nodes = (f"{size[name]} {word}{'s' * (size[name] != 1)}" for name, word in CLUSTER.items())
    return f", {workers} on {nodes} of Ray"


def _unlabelled(counts: dict) -> str:
    return f" ({counts['unlabelled']:,} of the scored have no label and no part in the accuracy)" * bool(
        counts["unlabelled"]
    )


def _odd_looks(settings: dict) -> list[str]:
    looks = _looks(settings).removeprefix(", ")
    return [f"The model was shown {looks}."] if looks else []


def _accuracy_sentence(report: dict) -> str:
    if not report["metrics"]:
        return "No accuracy was computed."
    parts = [
        f"{metric_title(name)} {'accuracy ' * name.startswith('top')}is {number['value']:.2%} "
        f"(95 % interval {number['ci95'][0]:.1%} to {number['ci95'][1]:.1%})"
        for name, number in report["metrics"].items()
    ]
    level = report["metrics"]["top1"]["level"]
    return (
        f"At {level} level {', '.join(parts)}; intervals are Wilson's, or a bootstrap over recordings where several "
        "videos are of one; normal within classes for the mean class accuracy."
    )


def _published_sentence(report: dict) -> list[str]:
    if report["published"] is None:
        return []
    told = f"Published is {row_in_words(report['published'])}, by {report['published']['source']}"
    reasons = "; ".join(report["reasons"])
    return [f"{told}; it is not comparable: {reasons}." if reasons else f"{told}."]


def metric_title(name: str) -> str:
    """A metric's name for people: top1 → top-1."""
    return name.replace("top", "top-").replace("_", " ")
