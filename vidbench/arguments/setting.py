"""One setting: a field of a frozen dataclass, how its text is read, and how its value is checked."""

import csv
import math
import re
from dataclasses import field

from vidbench.utils import UserError

UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def setting(
    default,
    meaning: str,
    parse=None,
    metavar: str | None = None,
    also: tuple[str, ...] = (),
    positional: bool = False,
    several: bool = False,
    alone: str | None = None,
):
    """A field of a settings class, from which its flag derives.

    meaning: the help text. parse: text → value, where the type alone does not say; it raises UserError. also:
    other flags that set it too. positional: its values are the command's own words, not a flag's. several: the
    flag takes one word or more, which `parse` gets with spaces between them. alone: the value of a flag that is given
    without one.
    """
    told = {"help": meaning, "parse": parse, "metavar": metavar, "also": also, "positional": positional}
    return field(default=default, metadata=told | {"several": several, "alone": alone})


def comma_list(text: str) -> tuple[str, ...]:
    """'a,b' → ('a', 'b'); a name with a comma stands in double quotes."""
    return tuple(part.strip() for part in next(csv.reader([text], skipinitialspace=True), ()) if part.strip())


def views(text: str) -> tuple[int, int]:
    """'10x3' → (10, 3): clips, crops."""
    found = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if not found or "0" in found.groups():
        raise UserError(f"--views: wanted CLIPSxCROPS such as 10x3, got {text!r}")
    return int(found[1]), int(found[2])


def shard(text: str) -> tuple[int, int]:
    """'3/8' → (3, 8): every eighth video, from the third."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard: wanted I/N with 1 <= I <= N such as 3/8, got {text!r}")
    return int(found[1]), int(found[2])


def value_range(text: str) -> tuple[float, float]:
    """'-1,1' → (-1.0, 1.0)."""
    try:
        low, high = map(float, text.split(","))
        if low < high:
            return low, high
    except ValueError:
        pass
    raise UserError(f"--value-range: wanted LO,HI such as -1,1, got {text!r}")


def numbers(flag: str, least: int, most: int, kind: type = float):
    """A reader of `least` to `most` numbers, none negative, with spaces or commas between them: '128 171'."""

    def read(text: str) -> tuple:
        try:
            found = tuple(kind(word) for word in text.replace(",", " ").split())
        except ValueError:
            found = ()
        if not least <= len(found) <= most or not all(0 <= number < math.inf for number in found):
            count = f"{least}" if least == most else f"{least} to {most}"
            raise UserError(f"{flag}: wanted {count} numbers, none negative, got {text!r}")
        return found

    return read


def height_and_width(flag: str):
    """A reader of a size in pixels: '128 171' → (128, 171), '112' → (112, 112)."""
    read = numbers(flag, 1, 2, int)

    def size(text: str) -> tuple[int, int]:
        found = read(text)
        if not all(found):
            raise UserError(f"{flag}: a size in pixels is positive, got {text!r}")
        return found[0], found[-1]

    return size


def byte_count(flag: str):
    """A reader of a number of bytes: '1.5G' → 1500000000; units K, M, G, T of 1,000, with or without a B."""

    def read(text: str) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
        number = round(float(found[1]) * UNITS[found[2]]) if found else 0
        if not number:
            raise UserError(f"{flag}: wanted a number such as 500M or 2G, got {text!r}")
        return number

    return read


def ratios(text: str) -> tuple[float, ...]:
    """'80 10 10' → (80, 10, 10): train, val and, where there are three, test."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number < math.inf for number in numbers) or not any(numbers):
        raise UserError(f"--ratios: wanted two or three numbers such as 80 10 10, none negative, got {text!r}")
    return tuple(int(number) if number.is_integer() else number for number in numbers)


def one_of(settings, name: str, choices: tuple[str, ...]) -> None:
    """Raise UserError unless a setting, where it is set, is one of the choices."""
    value = getattr(settings, name)
    if value is not None and value not in choices:
        raise UserError(f"--{name.replace('_', '-')} must be {' or '.join(choices)}, got {value!r}")


def above(settings, name: str, bound: float) -> None:
    """Raise UserError unless a number, where it is set, is greater than the bound."""
    value = getattr(settings, name)
    if value is not None and not value > bound:
        least = "must be positive" if bound == 0 else "must not be negative"
        raise UserError(f"--{name.replace('_', '-')} {least}, got {value:g}")
