"""The class lists of Kinetics, in the order of the published models' outputs."""

import json
from functools import cache
from importlib import resources

from vidbench.utils import unknown


@cache
def kinetics_classes(version: str) -> tuple[str, ...]:
    """The label names of Kinetics "400", "600" or "700", sorted as their data sets sort them.

    >>> len(kinetics_classes("400")), kinetics_classes("400")[0]
    (400, 'abseiling')
    """
    text = resources.files("vidbench.data").joinpath("kinetics_classes.json").read_text(encoding="utf-8")
    lists = json.loads(text)
    if str(version) not in lists:
        raise unknown("version of Kinetics", str(version), lists)
    return tuple(lists[str(version)])
