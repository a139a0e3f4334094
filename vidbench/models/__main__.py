"""`python -m vidbench.models`: every model by name, with what it expects and what was published of it."""

import argparse

from vidbench.models import FILES, available_models
from vidbench.models.i3d import deepmind_spec
from vidbench.models.registry import PROTOCOLS
from vidbench.models.spec import Spec, read_spec


def main() -> None:
    """Print one line a model."""
    argparse.ArgumentParser(prog="python -m vidbench.models", description=__doc__).parse_args()
    for name in available_models():
        if name in PROTOCOLS:
            protocol, told = PROTOCOLS[name], "an architecture: --weights FILE"
        else:
            spec = read_spec(FILES[name].with_suffix(".json"), FILES[name]) if name in FILES else _hub_spec(name)
            protocol, told = spec.protocol, spec.domain
            told += "".join(f"; {row.top1} / {row.top5} on {row.dataset} {row.split}" for row in spec.published)
        height, width = protocol.frame_size
        print(f"{name:<18} {protocol.num_frames:>3} frames {height:>3}x{width:<3}  {told}")


def _hub_spec(name: str) -> Spec:
    return deepmind_spec(int(name.rpartition("-")[2]), name=name)


if __name__ == "__main__":
    main()
