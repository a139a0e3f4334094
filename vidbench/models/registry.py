"""The registry of architectures: name → function that builds the network."""

from collections.abc import Callable

from vidbench.data.protocol import Protocol
from vidbench.utils import unknown

ARCHITECTURES: dict[str, Callable] = {}
PROTOCOLS: dict[str, Protocol] = {}


def architecture(protocol: Protocol):
    """Register `build(num_classes, **options) -> keras.Model` under its own name, with its usual protocol."""

    def register(build: Callable) -> Callable:
        if build.__name__ in ARCHITECTURES:
            raise ValueError(f"architecture {build.__name__!r} is already registered")
        ARCHITECTURES[build.__name__] = build
        PROTOCOLS[build.__name__] = protocol
        return build

    return register


def find_architecture(name: str) -> Callable:
    """The builder that is registered under `name`; a miss lists the names."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]
