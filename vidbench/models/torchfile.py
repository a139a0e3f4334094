"""PyTorch weight files, read without PyTorch and without running anything that a file says.

PyTorch is a gigabyte that the kit otherwise does not need, and one reader gives the same tensors with and without it.
The idea is that of `torch.load(weights_only=True)`; what keeps a file from doing harm is in `torchpickle`.
"""

import errno
import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.stride_tricks import as_strided

from vidbench.models.torchpickle import DTYPES, Reader, Storage, Tensor, Unreadable, one_line
from vidbench.utils import UserError, printable

STATE_DICTS = ("model_state", "state_dict", "model", "model_state_dict")  # PySlowFast, Lightning, torchvision, others
PREFIXES = ("module.", "model.")  # DataParallel, Lightning
ZIP, MAGIC, PROTOCOL = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001  # how files begin since torch 1.6, and before
MOST_SAID = 32 << 20  # bytes; every byte of a pickle may cost some hundred of memory
STUMBLES = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError)
STUMBLES += (pickle.UnpicklingError, struct.error, zipfile.BadZipFile)  # of zipfile, pickle, NumPy over a damaged file


def read_torch(path: Path | str) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch weight file by name, in the file's order; of torch 1.6 and later, and before.

    The file holds names → tensors, or a dict that has them under one of `STATE_DICTS`; other entries are left out.
    A prefix of `PREFIXES` that all names share is dropped, also several times. Every array has its own memory,
    contiguous; bfloat16 becomes float32, other types stay.

    Raises UserError, in one line, for a file that is missing, damaged, of another kind, without tensors by name, or
    that names code which weights do not need.
    """
    name = printable(str(path))
    try:
        with Path(path).open("rb") as file:
            contents, read = _open_zip(file) if file.peek()[:4] == ZIP else _open_old(file)
            return _arrays(_state_dict(contents), read, file.seek(0, io.SEEK_END))
    except Unreadable as problem:
        raise UserError(f"{name} {problem}") from None
    except OSError as problem:
        if problem.errno == errno.EINVAL:  # zipfile was sent to before the file's beginning
            raise UserError(f"{name} is damaged: its zip archive is not where it says") from None
        raise UserError(f"cannot read {name}: {problem.strerror or problem}") from None
    except MemoryError:
        raise UserError(f"cannot read {name}: it asks for more memory than there is") from None
    except STUMBLES as problem:
        told = f"its contents make no sense ({one_line(str(problem))})" if str(problem) else "it ends too early"
        raise UserError(f"{name} is damaged: {told}") from None


def is_torch_file(path: Path | str) -> bool:
    """Whether the file begins as PyTorch's do, or is a zip archive with a `data.pkl`; it may still be damaged.

    A path that is no file is none of PyTorch's. Raises UserError for a file that cannot be opened.
    """
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            head = file.peek()[:256]
            if head[:4] != ZIP:
                return _begins_old(head)
            # torch writes data.pkl first, so that a file which was cut off can still be told to be torch's
            return b"/data.pkl" in head or bool(_pickles(zipfile.ZipFile(file)))
    except OSError as problem:
        if problem.errno == errno.EINVAL:
            return False
        raise UserError(f"cannot read {printable(str(path))}: {problem.strerror or problem}") from None
    except STUMBLES:
        return False


def _begins_old(head: bytes) -> bool:
    try:
        return Reader(io.BytesIO(head)).load() == MAGIC
    except STUMBLES:
        return False


def _pickles(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]


def _open_zip(file: IO[bytes]) -> tuple[object, Callable[[Storage], bytes]]:
    """(what the file's pickle says, the function that reads a storage), torch 1.6 and later."""
    if not zipfile.is_zipfile(file):
        raise Unreadable("is damaged: the end of the zip archive is missing")
    archive = zipfile.ZipFile(file)
    members, pickles = {member.filename: member for member in archive.infolist()}, _pickles(archive)
    if not pickles:
        raise Unreadable("is not a PyTorch weight file: it is a zip archive without data.pkl")
    if len(pickles) > 1 or len(members) < len(archive.infolist()):
        raise Unreadable("is damaged: its zip archive holds a name twice")
    root = pickles[0].removesuffix("data.pkl")

    def read(name: str, num_bytes: int | None = None) -> bytes:
        """The bytes of `<root>/<name>`, which zipfile holds against their checksum."""
        member = members.get(root + name)
        if member is None:
            raise Unreadable(f"is damaged: {one_line(name)} is missing in its zip archive")
        if num_bytes is None and member.file_size > MOST_SAID:
            raise Unreadable(f"says more beside its tensors ({member.file_size:,} bytes) than weights need")
        if member.compress_type != zipfile.ZIP_STORED:
            raise Unreadable(f"was not packed by torch: {one_line(name)} is compressed in its zip archive")
        wanted = member.compress_size if num_bytes is None else num_bytes
        if not member.file_size == member.compress_size == wanted:
            raise Unreadable(f"is damaged: {one_line(name)} has {member.file_size:,} bytes, not {wanted:,}")
        return archive.read(member)

    if f"{root}byteorder" in members and read("byteorder") != b"little":
        raise Unreadable("was written by a big-endian machine: it is not read")
    contents = Reader(io.BytesIO(read("data.pkl"))).load()
    return contents, lambda storage: read(f"data/{storage.key}", storage.num_bytes)


def _open_old(file: IO[bytes]) -> tuple[object, Callable[[Storage], bytes]]:
    """The same, torch before 1.6: pickles one after the other, then per storage a count and the numbers."""
    head = file.peek()
    if not _begins_old(head[:256]):
        start = f"it begins with {head[:16]}" if head else "it is empty"
        raise Unreadable(f"is not a PyTorch weight file: {start}")
    _, protocol, system = (Reader(file).load() for _ in range(3))
    if protocol != PROTOCOL or not isinstance(system, dict):
        raise Unreadable(f"is damaged: it is not of version {PROTOCOL} of its format")
    if system.get("little_endian") is not True:
        raise Unreadable("was written by a big-endian machine: it is not read")
    reader = Reader(file)
    contents, keys = reader.load(), Reader(file).load()
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(reader.storages):
        raise Unreadable("is damaged: its list of storages is not that of its tensors")
    start, end, starts = file.tell(), file.seek(0, io.SEEK_END), {}
    for storage in map(reader.storages.get, keys):
        file.seek(start)
        if file.read(8) != storage.num_elements.to_bytes(8, "little"):
            raise Unreadable("is damaged: it ends too early, or a storage has another length than its tensors say")
        starts[storage], start = start + 8, start + 8 + storage.num_bytes
    if start != end:
        raise Unreadable(f"is damaged: it has {end:,} bytes, not {start:,}")

    def read(storage: Storage) -> bytes:
        file.seek(starts[storage])
        return file.read(storage.num_bytes)

    return contents, read


def _state_dict(contents: object) -> dict[str, Tensor]:
    """The tensors of the first of `STATE_DICTS` that holds some, else of `contents`, without a common prefix."""
    places = [contents[key] for key in STATE_DICTS if key in contents] if isinstance(contents, dict) else []
    for place in (*places, contents):
        entries = place.items() if isinstance(place, dict) else ()
        if tensors := {name: value for name, value in entries if isinstance(value, Tensor)}:
            break
    else:
        raise Unreadable(f"holds no tensors by name, neither by itself nor under {', '.join(STATE_DICTS)}")
    if not all(name.isprintable() and len(name) < 1000 for name in tensors):
        raise Unreadable("is damaged: the name of a tensor is too long or cannot be printed")
    while common := [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)]:
        tensors = {name.removeprefix(common[0]): tensor for name, tensor in tensors.items()}
    return tensors


def _arrays(tensors: dict[str, Tensor], read: Callable[[Storage], bytes], file_bytes: int) -> dict[str, np.ndarray]:
    """Every tensor as an array of its own; each storage is read once and not kept."""
    wanted = sum(tensor.num_bytes() for tensor in tensors.values())
    stored = sum(storage.num_bytes for storage in {tensor.storage for tensor in tensors.values()})
    if stored > file_bytes or wanted > 8 * file_bytes:  # storages may be shared, but no small file fills the memory
        raise Unreadable(f"is damaged: its tensors would take {max(wanted, stored):,} bytes, it has {file_bytes:,}")
    arrays, storage, numbers = dict.fromkeys(tensors), None, None
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].storage.key):
        if tensor.storage != storage:
            storage, numbers = tensor.storage, _numbers(tensor.storage, read(tensor.storage))
        strides = [step * numbers.itemsize for step in tensor.strides]
        arrays[name] = np.array(as_strided(numbers[tensor.offset :], tensor.shape, strides), order="C")
    return arrays


def _numbers(storage: Storage, data: bytes) -> np.ndarray:
    """(N,) the storage's numbers in a type that NumPy has."""
    numbers = np.frombuffer(data, DTYPES[storage.dtype])
    if storage.dtype == "BFloat16":  # the upper half of a float32
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.astype(bool if storage.dtype == "Bool" else numbers.dtype.newbyteorder("="), copy=False)
