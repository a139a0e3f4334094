"""What a PyTorch weight file says, read without running anything that it says.

A weight file is a pickle, a list of instructions that may call any Python function by its name. Here few instructions
and few names are known, and what they make is inert: plain values and descriptions of tensors.
"""

import math
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import IO, ClassVar

import numpy as np

DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "<u2", "Bool": "u1"}
DTYPES |= {"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1"}


class Unreadable(ValueError):
    """What is wrong with a file: the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers in a file: a key of `DTYPES`, how many numbers, and the block's name."""

    dtype: str
    num_elements: int
    key: str

    @property
    def itemsize(self) -> int:
        return np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.itemsize


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that is still in a file, as the file describes it; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def num_bytes(self) -> int:
        """What it takes in the storage's type; raises Unreadable unless every element lies inside the storage."""
        numbers, ndim = (self.offset, *self.shape, *self.strides), len(self.shape)
        if any(type(number) is not int or number < 0 for number in numbers) or not ndim == len(self.strides) <= 32:
            raise Unreadable("is damaged: a tensor has an impossible shape")
        count = math.prod(self.shape)
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if count and max(count - 1, last) >= self.storage.num_elements:
            raise Unreadable("is damaged: a tensor claims more than its storage holds")
        return count * self.storage.itemsize


def one_line(text: str) -> str:
    """One line that can be printed, in at most 100 characters."""
    return "".join(char if char.isprintable() else " " for char in text)[:100]


def _mapping(pairs: Iterable) -> dict[str, object]:
    """What is said under names. Other keys are of no use, and hashing a deeply nested one would end the process."""
    return {key: value for key, value in pairs if type(key) is str}


def _ordered_dict(pairs: list | None = None) -> dict[str, object]:
    """Python 2 hands over the entries; the list is emptied, as a file could have it copied any number of times."""
    entries = _mapping(pairs or ())
    if pairs:
        pairs.clear()
    return entries


def _tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage):
        raise Unreadable("is damaged: a tensor has no storage")
    return Tensor(storage, offset, shape, strides)


IGNORED = ("argparse.Namespace", "collections.Counter", "torch.device", "numpy.dtype", "_codecs.encode")
IGNORED += ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # in arguments, schedules and best scores
KNOWN = {
    **{f"torch.{dtype}Storage": dtype for dtype in DTYPES},
    **dict.fromkeys(IGNORED, lambda *_: None),
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": lambda sizes: sizes,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
}
INSTRUCTIONS = """
    PROTO FRAME STOP MARK STACK_GLOBAL BINPERSID APPEND APPENDS NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2
    LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES EMPTY_DICT EMPTY_LIST
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE
"""
CODES = [getattr(pickle, name)[0] for name in INSTRUCTIONS.split()]


def _refuse(reader: pickle._Unpickler) -> None:
    raise Unreadable("holds a pickle instruction that no weights need: it is not read")


class Reader(pickle._Unpickler):
    """pickle's machine with `INSTRUCTIONS` and `KNOWN` alone; it calls nothing else and sets no attribute.

    It is the version in Python: in the one in C the instructions cannot be chosen, and a file that remembers a value
    under a high number makes it fill the memory up to there.
    """

    dispatch: ClassVar = dict.fromkeys(range(256), _refuse)
    dispatch |= {code: pickle._Unpickler.dispatch[code] for code in CODES}

    def __init__(self, file: IO[bytes]):
        super().__init__(file, encoding="utf-8", errors="replace")  # for the strings of Python 2
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Callable | str:
        if f"{module}.{name}" not in KNOWN:
            raise Unreadable(f"holds code ({one_line(f'{module}.{name}')}), not only tensors: it is not read")
        return KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid: object) -> Storage:
        kind, dtype, key, _, num_elements, *view = pid
        if kind != "storage" or [type(part) for part in (dtype, key, num_elements)] != [str, str, int]:
            raise Unreadable("is damaged: it refers to something that is no storage")
        storage = Storage(dtype, num_elements, key)
        known = dtype in DTYPES and 0 <= num_elements < 2**48 and all(part is None for part in view)
        if not known or self.storages.setdefault(key, storage) != storage:
            raise Unreadable("is damaged: a storage is of no kind that there is, or of two")
        return storage

    def load_global(self) -> None:
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError  # half a name is no code
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    def load_call(self) -> None:
        """Call a function of `KNOWN`: all others have been refused by their names."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, FunctionType):
            raise Unreadable("is damaged: it calls something that is no function")
        self.append(function(*arguments))

    def load_build(self) -> None:
        """Pass over an object's attributes: no tensor has any, and setting them is how pickles do harm."""
        self.stack.pop()

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(_mapping(zip(items[::2], items[1::2], strict=True)))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1].update(_mapping([(key, value)]))

    dispatch |= {pickle.REDUCE[0]: load_call, pickle.NEWOBJ[0]: load_call, pickle.BUILD[0]: load_build}
    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.GLOBAL[0]: load_global}
