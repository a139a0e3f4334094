"""May a number stand beside the published one? Every circumstance that a report knows is asked."""

from collections.abc import Iterator

CONSISTENT = "consistent"
SPLITS = {("kinetics-400", "val"): 19_906, ("kinetics-400", "test"): 39_805, ("demo", "val"): 160}  # rows as published
ENOUGH_COVERAGE = 0.95  # of a split's annotations; published numbers lack about as much, videos vanish from YouTube
SQUARE = {"square_crop": "cut to a square, then", "square_pad": "padded to a square, then", "exact": "scaled to"}


def verdict(report: dict) -> dict:
    """`published`, the published accuracy that comes nearest to this run, `comparable`, and `reasons` why not.

    report: with all but these three. `published` is None where nothing was published of the model. Reasons are
    words; there are none where the accuracies may stand side by side.
    """
    rows = report["model"]["published"]
    published = min(rows, key=lambda row: len(list(_row_reasons(report, row))), default=None)
    reasons = [f"nothing was published of {report['model']['name']}"]
    if published:
        reasons = list(_row_reasons(report, published))
    reasons += [*_model_reasons(report), *_video_reasons(report), *_result_reasons(report, published)]
    return {"published": published, "comparable": not reasons, "reasons": reasons}


def verdict_line(report: dict) -> str:
    """The verdict as one line: `published … | here … | consistent`, or `NOT comparable: …`."""
    published = report["published"]
    if published is None:
        return "; ".join(report["reasons"])
    if not report["comparable"]:
        return f"NOT comparable with {row_in_words(published)}: {'; '.join(report['reasons'])}"
    number, counts = report["metrics"]["top1"], report["counts"]
    low, high = (100 * bound for bound in number["ci95"])
    return (
        f"published {row_in_words(published)} | here {100 * number['value']:.2f} [{low:.1f}, {high:.1f}] on "
        f"{_judged(counts):,} of {_annotated(report):,} | {judgement(report)}"
    )


def judgement(report: dict) -> str:
    """Whether the published accuracy lies in the interval of a comparable run."""
    low, high = (100 * bound for bound in report["metrics"]["top1"]["ci95"])
    if low <= report["published"]["top1"] <= high:
        return CONSISTENT
    return "HIGHER than published" if low > report["published"]["top1"] else "LOWER than published: no setting says why"


def level_of(protocol: dict) -> str:
    """ "clip" where one short clip stands for a video, else "video"."""
    return "clip" if protocol["sampling"] != "whole" and protocol["clips"] * protocol["crops"] == 1 else "video"


def row_in_words(row: dict) -> str:
    """A published accuracy with its circumstances: "67.463 (kinetics-400 val, video level, 5 clips)"."""
    return f"{row['top1']:g} ({row['dataset']} {row['split']}, {row['level']} level, {_views_in_words(row['views'])})"


def _views_in_words(views: str) -> str:
    if views == "1x1":
        return "1 view"
    clips, crops = map(int, views.split("x"))
    words = f"{clips} clip{'s' * (clips > 1)}"
    return f"{words} x {crops} crops" if crops > 1 else words


def _row_reasons(report: dict, row: dict) -> Iterator[str]:
    """Where a run and a published accuracy differ."""
    protocol, dataset = report["protocol"], report["dataset"]
    if dataset["id"] != row["dataset"]:
        yield f"data set {dataset['id']} instead of {row['dataset']}"
    elif report["split"] != row["split"]:
        yield f"split {report['split']} instead of {row['split']}"
    if (level := level_of(protocol)) != row["level"]:
        yield f"{level} level instead of {row['level']} level"
    for here, there, what in zip(
        (protocol["clips"], protocol["crops"]), map(int, row["views"].split("x")), ("clip", "crop"), strict=True
    ):
        if here != there:
            yield f"{here} {what}{'s' * (here > 1)} instead of {there}"


def _model_reasons(report: dict) -> Iterator[str]:
    """What the user put in place of the model's own contract."""
    own, protocol, settings = report["model"]["overridden"], report["protocol"], report["settings"]
    if "protocol" in own:
        yield from _protocol_reasons(own["protocol"], protocol)
        repeated = report["counts"]["repeated"]
        if own["protocol"]["short_videos"] == "fail" != protocol["short_videos"] and repeated:
            yield f"{repeated:,} short videos were repeated instead of left out"
    if "value_range" in own:
        here, there = (
            "…".join(f"{bound:g}" for bound in pair) for pair in (report["model"]["value_range"], own["value_range"])
        )
        yield f"pixels in {here} instead of {there}"
    if "classes" in own:
        yield "other class names than the model's own (--model-classes)"
    if settings["precision"] != "float32":
        yield f"{settings['precision']} instead of float32"
    if settings["frame_order"] != "normal":
        yield f"frames {settings['frame_order']}"
    if settings["distinct_frames"]:
        yield f"only {settings['distinct_frames']} distinct frames"


def _protocol_reasons(own: dict, here: dict) -> Iterator[str]:
    """Which frames and pixels, field by field; the number of views is a matter of the published row."""
    if own["sampling"] != here["sampling"]:
        yield f"{_sampling(here)} instead of {_sampling(own)}"
    elif _rate(own) != _rate(here):
        yield f"{_rate(here):g} frames a second instead of {_rate(own):g}"
    if own["num_frames"] != here["num_frames"]:
        yield f"{here['num_frames']} frames instead of {own['num_frames']}"
    sizes = [(row["resize"], list(row["resize_to"]), row["crop"] and list(row["crop"])) for row in (own, here)]
    if sizes[0] != sizes[1]:
        yield f"frames {_resize(here)} instead of {_resize(own)}"


def _sampling(protocol: dict) -> str:
    rate = _rate(protocol)
    return "frames of the whole video" if rate is None else f"frames at {rate:g} a second"


def _rate(protocol: dict) -> float | None:
    """Frames a second that a protocol takes; None where they are spread over the whole video."""
    if protocol["sampling"] == "strided":
        return protocol["target_fps"] / protocol["stride"]
    return protocol["frame_rate"] if protocol["sampling"] == "clips" else None


def _resize(protocol: dict) -> str:
    high, wide = protocol["resize_to"]
    if protocol["resize"] == "short_side":
        words = f"scaled to a short side of {high}"
    else:
        words = f"{SQUARE[protocol['resize']]} {high}×{wide}"
    return words + (f" and cut to {protocol['crop'][0]}×{protocol['crop'][1]}" if protocol["crop"] else "")


def _video_reasons(report: dict) -> Iterator[str]:
    """Which videos were scored, of which kind, and which of them the model may have seen before."""
    dataset, counts, settings = report["dataset"], report["counts"], report["settings"]
    listed = _annotated(report)
    if not counts["population"].get("annotations") and dataset["name"] == "kinetics":
        yield "no annotations on this disk: nobody knows how much of the split was scored"
    elif _judged(counts) < ENOUGH_COVERAGE * listed:
        yield f"{_judged(counts):,} of {listed:,} videos"
    if excluded := counts["population"].get("excluded"):
        yield f"{excluded:,} videos excluded (--exclude-ids)"
    if settings["label_map"]:
        yield "labels renamed (--label-map)"
    if settings["classes"]:
        yield f"{len(settings['classes'])} of {dataset['classes']} classes"
    elif dataset["classes"] and dataset["classes"] != report["model"]["classes"]:
        yield f"data of {dataset['classes']} classes, a model of {report['model']['classes']}"
    if outside := counts["population"].get("outside the model's classes"):
        yield f"{outside:,} videos left out, because the model does not know their class"
    yield from _source_reasons(report)
    for leak in dataset["leaks"]:
        yield leak_in_words(leak)


def _judged(counts: dict) -> int:
    """How many videos the accuracy is of: the scored ones that have a label."""
    return counts["scored"] - counts["unlabelled"]


def _annotated(report: dict) -> int:
    """How many videos the split has: as it was published, else as far as is known here."""
    population = report["counts"]["population"]
    if known := SPLITS.get((report["dataset"]["id"], report["split"])):
        return known
    return population.get("annotations") or population.get("found") or report["counts"]["listed"]


def _source_reasons(report: dict) -> Iterator[str]:
    """Files that are smaller or slower than what the protocol wants of them."""
    protocol, sources = report["protocol"], report["dataset"]["sources"]
    if not sources:
        return
    side, rate = sources["short_side"]["q50"], sources["fps"]["q50"]
    if side < min(protocol["resize_to"]):
        yield f"sources {side:g} px (median short side), below the model's resize to {min(protocol['resize_to'])}"
    wanted = protocol["target_fps"] if protocol["sampling"] == "strided" else protocol["frame_rate"]
    if protocol["sampling"] != "whole" and rate < 0.9 * wanted:
        yield f"sources of {rate:g} frames a second (median), below the protocol's {wanted:g}"


def leak_in_words(leak: dict) -> str:
    """One of `vidbench.data.leaks.find_leaks`."""
    if leak["videos"] is None:
        return f"it is not known how many videos stand in {leak['seen']}, which the model has seen: {leak['reason']}"
    stand = "video stands" if leak["videos"] == 1 else "videos stand"
    return f"{leak['videos']:,} {stand} in {leak['seen']}, which the model has seen (--exclude-ids leaves them out)"


def _result_reasons(report: dict, published: dict | None) -> Iterator[str]:
    """What the numbers themselves say."""
    if not report["metrics"]:
        yield "no accuracy"
        return
    if pending := report["counts"].get("pending"):
        yield f"partial: {pending:,} videos are still to be scored"
    number = report["metrics"]["top1"]
    low, high = number["ci95"]
    if low <= number["chance"] and (published is None or high < published["top1"] / 100):
        hint = "" if "protocol" in report["model"]["overridden"] else ": are the class names in the outputs' order?"
        yield f"no better than guessing{hint}"
