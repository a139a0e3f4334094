"""The model card: what a model is, in words, from its spec and the facts given; nothing that neither of them says."""

import re

from vidbench import __version__
from vidbench.data.protocol import protocol_in_words
from vidbench.models.spec import Spec
from vidbench.utils import UserError, unknown

FACTS = ("dataset", "counts", "metrics", "scored_on", "per_class", "limits", "licence", "recipe")
NOT_STATED = "not stated"


def check_facts(facts: dict) -> None:
    """Raise UserError for a fact that `model_card` does not know, or of another kind than it wants."""
    kinds = {"counts": dict, "metrics": dict, "per_class": dict, "limits": (list, tuple)}
    for name, value in facts.items():
        if name not in FACTS:
            raise unknown("fact", name, FACTS)
        if not isinstance(value, kinds.get(name, str)):
            raise UserError(f"the fact {name!r} of a model card cannot be {value!r}")


def model_card(spec: Spec, facts: dict, example: str, onnx_sha256: str, weights_sha256: str | None) -> str:
    """`MODEL_CARD.md` as text. Every fact may be missing: the card then says "not stated".

    facts: dataset     what it was trained on, in words
           counts      {split: videos}
           metrics     as report.json has them: {"top1": {"value", "ci95", "level", "chance"}, …}, fractions
           scored_on   which videos the metrics are of, in words
           per_class   {class: accuracy, a fraction}
           limits      sentences
           licence     of the weights
           recipe      how it was made, in words
    example: the name of the example video. The two SHA-256 are of model.onnx and of the weights it was made of.
    """
    sections = {
        "Classes": "\n".join(f"{number}. {name}" for number, name in enumerate(spec.classes)),
        "Data": _data(facts),
        "Accuracy": _accuracy(spec, facts),
        "How it looks at a video": protocol_in_words(spec.protocol),
        "Input and output": _contract(spec),
        "Limits": _list([f"It has seen: {spec.domain}. Of anything else its answers mean little.", *_limits(facts)]),
        "Licence of the weights": facts.get("licence", NOT_STATED),
        "How it was made": _making(spec, facts, onnx_sha256, weights_sha256),
        "Try it": _trial(example),
    }
    title = f"# {spec.name}\n\nA classifier of videos, {len(spec.classes)} classes.\n"
    return title + "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items())


def _data(facts: dict) -> str:
    text = f"Trained on: {facts.get('dataset', NOT_STATED)}.\n\n"
    if not facts.get("counts"):
        return f"{text}Videos a split: {NOT_STATED}."
    return text + _table(("split", "videos"), [(split, f"{count:,}") for split, count in facts["counts"].items()])


def _accuracy(spec: Spec, facts: dict) -> str:
    parts = [f"Measured on: {facts.get('scored_on', NOT_STATED)}."]
    rows = [_metric(name, number) for name, number in facts.get("metrics", {}).items()]
    header = ("measure", "value", "95 % interval", "level", "chance")
    parts.append(_table(header, rows) if rows else f"Accuracy and its 95 % interval: {NOT_STATED}.")
    classes = [(name, f"{value:.1%}") for name, value in facts.get("per_class", {}).items()]
    parts.append(_table(("class", "accuracy"), classes) if classes else f"Accuracy of each class: {NOT_STATED}.")
    parts += [
        f"Published of these weights: {row.top1} / {row.top5} % (top-1 / top-5) on {row.dataset} {row.split}, "
        f"{row.level} level, {row.views} views ({row.source})."
        for row in spec.published
    ]
    return "\n\n".join(parts)


def _metric(name: str, number: dict) -> tuple[str, ...]:
    """One row of the accuracies; `name` is report.json's: top1, mean_class_accuracy."""
    words = re.sub(r"^top(\d+)$", r"top-\1 accuracy", name).replace("_", " ")
    low, high = number["ci95"]
    chance = f"{number['chance']:.1%}" if "chance" in number else NOT_STATED
    return words, f"{number['value']:.2%}", f"{low:.1%} to {high:.1%}", number.get("level", NOT_STATED), chance


def _contract(spec: Spec) -> str:
    view = ", ".join(map(str, (spec.protocol.num_frames, *spec.protocol.frame_size, 3)))
    low, high = spec.value_range
    scaling = f"pixels 0 and 255 become {low:g} and {high:g}"
    if spec.mean is not None:
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
        scaling += f", then (value - mean) / std a channel, mean {mean}, std {std}"
    return _list(
        [
            f"input `frames`: uint8 (batch, {view}), that is batch, frames, height, width, RGB, 0 to 255",
            f"the model scales them itself: {scaling}",
            f"output `logits`: float32 (batch, {len(spec.classes)}); their softmax is the probabilities, in the order "
            "of the classes above",
            "`model.onnx` carries this contract in its metadata (`spec`), and so does `model.json`",
        ]
    )


def _limits(facts: dict) -> list[str]:
    return list(facts.get("limits") or [f"Further limits: {NOT_STATED}."])


def _making(spec: Spec, facts: dict, onnx_sha256: str, weights_sha256: str | None) -> str:
    known = [f"{name}: {value}" for name, value in spec.provenance.items()]
    return _list(
        [
            f"recipe: {facts.get('recipe', NOT_STATED)}",
            *known,
            f"exported by vidbench {__version__} and compared with the Keras network on the example",
            f"sha256 of the weights it was made of: {weights_sha256 or NOT_STATED}",
            f"sha256 of model.onnx: {onnx_sha256}",
        ]
    )


def _trial(example: str) -> str:
    return (
        "```sh\npip install numpy av opencv-python-headless onnxruntime\n"
        f"python classify.py {example} --json\n```\n\n"
        f"prints what `expected.json` holds, to four digits behind the point. TensorFlow is not needed."
    )


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; a bar in a cell would end it."""
    cells = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells)
