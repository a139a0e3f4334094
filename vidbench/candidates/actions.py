"""The list of actions: one a line, with the words that are searched for where they are others."""

import re
from dataclasses import dataclass
from pathlib import Path

from vidbench.candidates.pictures import NONE
from vidbench.utils import UserError, canonical_label

MOST_QUERY = 200  # characters, of which Openverse reads no more
MOST_NAME_BYTES = 200  # of a folder's name


@dataclass(frozen=True)
class Action:
    """A class: its name, which is its folder's, and the words that are searched for."""

    name: str
    query: str


def read_actions(path: Path) -> list[Action]:
    """The actions of a file: a line is `name` or `name: search words`; empty lines and those with # first are none.

    A list of Kinetics' classes is such a file: of "petting animal (not cat)" the words outside the brackets are
    searched for. Raises UserError: no such file, no text, a name that stands twice or can be no folder's.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no list of actions: it is no UTF-8 text") from None
    found: dict[str, Action] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            action = _action(line)
        except UserError as problem:
            raise UserError(f"{path}, line {number}: {problem}") from None
        if (key := canonical_label(action.name)) in found:
            raise UserError(f"{path}, line {number}: {action.name!r} stands twice")
        found[key] = action
    if not found:
        raise UserError(f"{path} names no action: one a line is wanted")
    return list(found.values())


def _action(line: str) -> Action:
    if len(line) > 1 and line[0] == line[-1] == '"':
        line = line[1:-1]
    name, colon, query = (part.strip() for part in line.partition(":"))
    if colon and not query:
        raise UserError(f"no search words behind the colon of {line!r}")
    query = query or " ".join(re.sub(r"\(.*?\)", " ", name).replace("_", " ").split()) or name
    if len(query) > MOST_QUERY:
        raise UserError(f"search words of {len(query)} characters, more than {MOST_QUERY}")
    return Action(folder_name(name), query)


def folder_name(name: str) -> str:
    """A class's name if a folder can have it; "none_of_these" and the like become `NONE`. Raises UserError."""
    good = (
        name and name == name.strip() and name.isprintable() and not name.startswith(".") and not set(name) & {*"/\\"}
    )
    if not good or len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES:
        raise UserError(f"{name[:80]!r} can be no folder's name, and the folder of a class has the class's name")
    return NONE if canonical_label(name) == NONE else name
