"""The registry of architectures: name → the function that builds the network, and the contract that goes with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras

from vidbench.data.classes import kinetics_classes
from vidbench.data.protocol import Protocol
from vidbench.models.spec import Published, Spec
from vidbench.utils import unknown


@dataclass(frozen=True)
class Weights:
    """Weights of an architecture that others published.

    address: of the file, or a TF-Hub module's name, see `vidbench.models.hub.HANDLES`
    published: the accuracies that were reported of them
    kinetics: the version of Kinetics whose classes they tell apart, in the order of its list
    sha256: how the SHA-256 of the file begins, "" where the publisher does not say
    protocol: under which the accuracies were reported, None for the architecture's
    known_as: other names of the file, with the folder that it comes in
    """

    address: str
    published: tuple[Published, ...] = ()
    kinetics: str = "400"
    sha256: str = ""
    protocol: Protocol | None = None
    known_as: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the file, or of the module."""
        return self.address.rpartition("/")[2]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the outputs."""
        return kinetics_classes(self.kinetics)

    @property
    def domain(self) -> str:
        """What these weights have seen."""
        return f"YouTube clips, {len(self.classes)} human actions (Kinetics-{self.kinetics})"

    def are(self, path: Path, sha256: str) -> bool:
        """Whether a file is these weights: by its SHA-256, or, where no publisher says that, by its name."""
        if self.sha256:
            return sha256.startswith(self.sha256)
        return path.name == self.file or "/".join(path.parts[-2:]) in self.known_as


@dataclass(frozen=True)
class Architecture:
    """A network that can be built for any number of classes.

    build: `build(num_classes, **options)`, a Keras model of (B, T, H, W, 3) normalised float32 → logits
    protocol: which frames and pixels it is meant for
    contract: further fields of its specs: value range, mean and std, fewest frames
    weights: name → weights that others published for it
    renames: the reference's names → ours, see `vidbench.models.weights`
    gmac: published multiply-adds of one view, in 10⁹; None where nothing was published
    """

    build: Callable[..., keras.Model]
    protocol: Protocol
    contract: Mapping = field(default_factory=dict)
    weights: Mapping[str, Weights] = field(default_factory=dict)
    renames: tuple[tuple[str, str], ...] = ()
    gmac: float | None = None

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self.build.__name__

    def spec(self, weights: Weights | None = None, classes: tuple[str, ...] = ()) -> Spec:
        """The contract of this network with published `weights`, or with weights of one's own and `classes`."""
        if weights is None:
            return Spec(self.name, classes, self.protocol, **self.contract)
        protocol = weights.protocol or self.protocol
        told = {
            "domain": weights.domain,
            "published": weights.published,
            "trained_on": (f"kinetics-{weights.kinetics}",),
        }
        return Spec(self.name, weights.classes, protocol, **told, **self.contract)


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    protocol: Protocol,
    weights: Mapping[str, Weights] | None = None,
    renames: tuple[tuple[str, str], ...] = (),
    gmac: float | None = None,
    **contract,
):
    """Register `build(num_classes, **options) -> keras.Model` under its own name, see `Architecture`."""

    def register(build: Callable) -> Callable:
        if build.__name__ in ARCHITECTURES:
            raise ValueError(f"architecture {build.__name__!r} is already registered")
        ARCHITECTURES[build.__name__] = Architecture(build, protocol, contract, weights or {}, renames, gmac)
        return build

    return register


def find_architecture(name: str) -> Architecture:
    """What is registered under `name`; a miss lists the names."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]
