"""The contract that belongs to a set of weights: what goes in, what comes out, and what was published."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from vidbench.data.protocol import Protocol
from vidbench.utils import UserError, canonical_label, sha256_of, written_whole

SCHEMA = 1


@dataclass(frozen=True)
class Published:
    """One published accuracy, in percent, with the circumstances that make it comparable."""

    top1: float
    top5: float
    dataset: str
    split: str
    level: str  # "clip" or "video"
    views: str  # "1x1" is one clip, one crop
    source: str


@dataclass(frozen=True)
class Spec:
    """What a classifier expects and gives.

    Pixels enter as uint8 and are taken to `value_range` (0 → its first, 255 → its second number), then, where
    `mean` and `std` are set, to (value - mean) / std a channel.

    `overridden` is no part of the contract, and is not saved: what a user put other values in the place of, field →
    the weights' own value.
    """

    name: str
    classes: tuple[str, ...]
    protocol: Protocol
    domain: str = "unknown"  # what the weights have seen, in words
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    min_frames: int = 1  # fewest frames of a view that the network can take
    frames_multiple: int = 1  # of which their number must be a multiple
    published: tuple[Published, ...] = ()
    trained_on: tuple[str, ...] = ()  # the data sets whose train split the weights have seen: "kinetics-400"
    provenance: dict = field(default_factory=dict)
    overridden: dict = field(default_factory=dict, compare=False)

    def __post_init__(self):
        names = [canonical_label(name) for name in self.classes]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise UserError(f"{self.name}: the classes {', '.join(twice[:5])} stand twice")
        if (self.mean is None) != (self.std is None):
            raise UserError(f"{self.name}: mean and std go together")

    @classmethod
    def from_dict(cls, values: dict) -> "Spec":
        """The inverse of `to_dict`."""
        values = dict(values)
        values["protocol"] = Protocol.from_dict(values["protocol"])
        values["published"] = tuple(Published(**row) for row in values.get("published", ()))
        for name in ("classes", "value_range", "mean", "std", "trained_on"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return cls(**values)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        values = asdict(self)
        del values["overridden"]
        return values

    def scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Two (3,) float32 vectors: pixel * scale + shift is what the network sees."""
        low, high = self.value_range
        mean, std = np.array(self.mean or (0.0,) * 3), np.array(self.std or (1.0,) * 3)
        return ((high - low) / 255 / std).astype(np.float32), ((low - mean) / std).astype(np.float32)

    def with_protocol(self, protocol: Protocol) -> "Spec":
        """The same contract under another protocol; refuses views too short for the network."""
        self.check_frames(protocol.num_frames)
        return self._with({"protocol": protocol})

    def check_frames(self, num_frames: int) -> None:
        """Raise UserError unless the network can take views of so many frames."""
        if num_frames < self.min_frames:
            raise UserError(f"{self.name} needs at least {self.min_frames} frames a view, got {num_frames}")
        if num_frames % self.frames_multiple:
            raise UserError(f"{self.name} needs a multiple of {self.frames_multiple} frames a view, got {num_frames}")

    def adapted(self, classes: Sequence[str] | None = None, value_range: tuple | None = None) -> "Spec":
        """The same contract with a user's class names or value range in place of its own, None to keep them."""
        if classes is not None and len(classes) != len(self.classes):
            raise UserError(f"{self.name} has {len(self.classes)} classes, {len(classes)} names were given")
        wishes = {"classes": classes and tuple(classes), "value_range": value_range and tuple(value_range)}
        return self._with({name: value for name, value in wishes.items() if value is not None})

    def _with(self, wishes: dict) -> "Spec":
        own = {name: getattr(self, name) for name, value in wishes.items() if value != getattr(self, name)}
        return replace(self, **wishes, overridden=own | self.overridden)


def weights_digest(weights: Path) -> str:
    """64 hex digits that stand for a weights file, for the graph and the variables of a SavedModel folder, or for an
    OpenVINO `.xml` and the `.bin` beside it.
    """
    weights = Path(weights)
    if weights.is_dir():
        files = [weights / "saved_model.pb", *sorted((weights / "variables").glob("*"))]
        names = [file.relative_to(weights).as_posix() for file in files]
    elif weights.suffix == ".xml":
        names = [".xml", ".bin"]
        files = [weights.with_suffix(suffix) for suffix in names]
    else:
        return sha256_of(weights)
    listed = "".join(f"{sha256_of(file)}  {name}\n" for file, name in zip(files, names, strict=True))
    return hashlib.sha256(listed.encode()).hexdigest()


def write_spec(path: Path, spec: Spec, weights: Path, **told: str) -> None:
    """Write `spec` with the SHA-256 of the weights, a file or a SavedModel folder, that it belongs to.

    told: what else the record says, for its readers: of an exported model, its input ("uint8" or "float32").
    """
    with written_whole(path) as file:
        record = {"schema": SCHEMA, "sha256": weights_digest(weights), **told, "spec": spec.to_dict()}
        json.dump(record, file, indent=1, ensure_ascii=False)


def read_spec(path: Path, weights: Path) -> Spec:
    """Read a spec and check that it belongs to `weights`; a file of another schema or weights is refused."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        schema, digest, spec = record["schema"], record["sha256"], Spec.from_dict(record["spec"])
    except FileNotFoundError:
        raise UserError(f"{weights} has no {path.name} beside it: a model file needs its spec") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{path} is not a spec: {problem}") from None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version of vidbench reads {SCHEMA}")
    if digest != weights_digest(weights):
        raise UserError(f"{weights} is not the file that {path.name} was written for (its sha256 differs)")
    return spec
