"""PyTorch files: real ones of every kind (make_torch_files.py), hostile ones and damaged ones."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vidbench.models import torchpickle
from vidbench.models.torchfile import MAGIC, is_torch_file, read_torch
from vidbench.utils import UserError

FILES = Path(__file__).with_name("files")
NAMES = ("every_kind", "every_kind_before_1.6", "slowfast", "torchvision", "parallel")
OLD_HEAD = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True}))


def every_kind():
    """What make_torch_files.py put into every_kind.pth, in its order; bfloat16 as float32."""
    return {
        "stem.conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 1, 2, 2) / 8,
        "stem.bn.num_batches_tracked": np.array(70_000_000_000),
        "half": np.array([0, 0.25, 0.5, 0.75, 1], np.float16),
        "brain": np.array([1.5, -2, 3.140625, 2.0**100], np.float32),
        "double": np.arange(3) / 3,
        "mask": np.array([[True, False], [False, True]]),
        "bytes": np.arange(250, 256, dtype=np.uint8),
        "turned": np.array([[0, 3], [1, 4], [2, 5]], np.int32),
        "shared.first": np.arange(4, dtype=np.float32),
        "shared.last": np.array([[5, 6, 7], [9, 10, 11]], np.float32),
        "scalar": np.array(0.25, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "head.bias": np.array([0, -1, -2], np.float32),
    }


def same(got, wanted):
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        assert type(got[name]) is np.ndarray and got[name].dtype == value.dtype, name
        np.testing.assert_array_equal(got[name], value, err_msg=name, strict=True)


def refused(path):
    """The one line that says why a file is not read; it begins with the file, however it was called."""
    with pytest.raises(UserError) as problem:
        read_torch(path)
    line = str(problem.value)
    assert line.isprintable() and str(path) in line
    return line.removeprefix(f"{path} ")


# Pickles by hand: `said` makes a plain value, the others put instructions together; `zipped` and `old` make files.


def said(value):
    return pickle.dumps(value, 2)[2:-1]


def called(name, *arguments):
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def storage(count=4, key="0", kind="FloatStorage", view=b""):
    return b"(" + said("storage") + f"ctorch\n{kind}\n".encode() + said(key) + said("cpu") + said(count) + view + b"tQ"


def tensor(shape=(4,), strides=(1,), offset=0, stored=None):
    return called("torch._utils._rebuild_tensor_v2", stored or storage(), said(offset), said(shape), said(strides))


def named(entries):
    return b"}(" + b"".join(said(name) + value for name, value in entries.items()) + b"u"


def zipped(path, contents, members=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + contents + b".")
        for name, data in ({"data/0": FOUR} if members is None else members).items():
            archive.writestr(f"archive/{name}", data)
    return path


def old(path, contents, keys=("0",), data=None):
    data = struct.pack("<q", 4) + FOUR if data is None else data
    path.write_bytes(OLD_HEAD + b"\x80\x02" + contents + b"." + pickle.dumps(list(keys), 2) + data)
    return path


FOUR = np.arange(4, dtype="<f4").tobytes()
both = pytest.mark.parametrize("write", [zipped, old])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("name", ["every_kind", "every_kind_before_1.6"])
def test_every_kind_of_tensor_comes_out_as_it_went_in(name):
    got = read_torch(FILES / f"{name}.pth")
    same(got, every_kind())
    assert all(value.flags.owndata and value.flags.writeable and value.flags.c_contiguous for value in got.values())
    assert not np.shares_memory(got["shared.first"], got["shared.last"])


@pytest.mark.parametrize("name", ["slowfast", "torchvision", "parallel"])
def test_the_weights_are_found_in_what_training_wrote(name):
    """Optimizer, schedule and arguments stay out, and so does `module.model.` of every name in parallel.pth."""
    wanted = {"weight": np.array([[1, 2]], np.float32), "bias": np.array([3], np.float32)}
    same(read_torch(str(FILES / f"{name}.pth")), wanted)


@both
def test_files_made_by_hand_are_read(write, path):
    same(read_torch(write(path, named({"x": tensor()}))), {"x": np.arange(4, dtype=np.float32)})


@both
def test_only_the_first_known_place_with_tensors_counts(write, path):
    inner = named({"model.a": tensor(), "model.b": said(7), "module.model.c": said([1])})
    contents = named({"loss": tensor((), ()), "model": named({"x": said(1)}), "model_state_dict": inner})
    assert list(read_torch(write(path, contents))) == ["a"]
    assert list(read_torch(write(path, named({"model.a": tensor(), "head": tensor()})))) == ["model.a", "head"]


def test_what_python_2_wrote_is_read(path):
    """Its strings are bytes, its big integers text, and an OrderedDict is made of a list of its entries."""
    entry = b"](" + b"U\x01x" + tensor() + b"e"
    metadata = b"}" + b"U\x09_metadata" + b"I140000000000000\n" + b"sb"
    contents = called("collections.OrderedDict", b"](" + entry + b"e") + metadata
    same(read_torch(old(path, contents)), {"x": np.arange(4, dtype=np.float32)})


def test_a_truth_value_is_any_byte_but_zero(path):
    stored = storage(4, kind="BoolStorage")
    got = read_torch(zipped(path, named({"x": tensor(stored=stored)}), {"data/0": b"\x00\x01\x02\xff"}))["x"]
    assert got.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_torch_s_files_are_told_by_their_contents(path, tmp_path):
    assert all(is_torch_file(FILES / f"{name}.pth") for name in NAMES)
    assert not is_torch_file(tmp_path) and not is_torch_file(path)
    for begin in (b"", b"PK", b"PK\x03\x04", b"\x80\x02", b"\x80\x02K\x07.", b"<!DOCTYPE html>", b"\x89HDF\r\n\x1a\n"):
        path.write_bytes(begin)
        assert not is_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", "{}" * 200)
        assert not is_torch_file(path)
        archive.writestr("anything/data.pkl", b"\x80\x02}.")
    assert is_torch_file(path)
    path.write_bytes((FILES / "slowfast.pth").read_bytes()[:500])  # a download that broke off
    assert is_torch_file(path)


class Code:
    """Pickled, a call of a function: what a hostile file does, and what a careless one does with its own classes."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Settings:
    def __setstate__(self, state):
        raise AssertionError("code of a file was run")

    def __getstate__(self):
        return {"anything": 1}


@both
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, f"{os.system.__module__}.system"), (eval, "__builtin__.eval"), (exec, "exec")]
)
def test_code_is_named_and_not_run(write, path, tmp_path, function, name):
    marker = tmp_path / "was_run"
    text = f"mkdir '{marker}'" if function is os.system else f"__import__('os').mkdir({str(marker)!r})"
    for contents in (
        said(Code(function, text)),
        named({"x": tensor(), "y": said(Code(function, text))}),
        named({"model_state": named({"x": tensor()}), "optimizer_state": said({"state": {0: Code(function, text)}})}),
        named({"x": said(Code(function, text)), "y": said(Settings())}),
    ):
        line = refused(write(path, contents))
        assert line.startswith("holds code (") and name in line and line.endswith("not only tensors: it is not read")
        assert not marker.exists()
    pickle.loads(b"\x80\x02" + said(Code(function, text)) + b".")  # the marker does tell
    assert marker.exists()


@both
def test_other_classes_and_names_alone_are_refused(write, path):
    assert "Settings)" in refused(write(path, named({"x": tensor(), "y": said(Settings())})))
    assert "(builtins.getattr)" in refused(write(path, b"cbuiltins\ngetattr\n"))
    assert "(torch.hub.load)" in refused(write(path, b"\x8c\x05torch\x8c\x08hub.load\x93"))
    assert "(torch.nn.modules.conv.Conv3d)" in refused(write(path, b"ctorch.nn.modules.conv\nConv3d\n)\x81"))
    assert "(a [31m b.c)" in refused(write(path, b"\x8c\x08a\x1b[31m\rb\x8c\x01c\x93"))


@both
def test_no_other_instruction_is_known(write, path):
    """Among them those of old pickles that call code: INST, OBJ, EXT1, EXT2, EXT4, NEWOBJ_EX."""
    others = set(range(256)) - {*torchpickle.CODES, *b"Rbsuc\x81"}
    assert others >= {*b"io", 0x82, 0x83, 0x84, 0x92}
    for code in others:
        line = refused(write(path, b"(" + bytes([code]) + b"os\nsystem\n"))
        assert line == "holds a pickle instruction that no weights need: it is not read"


@both
def test_nothing_that_is_known_can_be_altered(write, path):
    """Nothing else is called; BUILD and item assignment leave the functions of the table as they are."""
    for code in (b"R", b"\x81"):
        assert "calls something" in refused(write(path, said("text") + b")" + code))
        assert "calls something" in refused(write(path, b"ctorch\nFloatStorage\n)" + code))
    before = {name: vars(value).copy() for name, value in torchpickle.KNOWN.items() if callable(value)}
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    state = said({"__module__": "x", "mine": 1}) + said({"__defaults__": (1,), "__code__": None, "mine": 1}) + b"\x86b"
    assert refused(write(path, b"(" + tensor() + function + state + b"t")).startswith("holds no tensors")
    assert "no attribute 'update'" in refused(write(path, function + said("mine") + said(1) + b"s"))
    assert "no attribute 'append'" in refused(write(path, function + said("mine") + b"a"))
    assert before == {name: vars(value) for name, value in torchpickle.KNOWN.items() if callable(value)}
    assert torchpickle.KNOWN["torch._utils._rebuild_tensor_v2"].__defaults__ is None
    same(read_torch(write(path, named({"x": tensor()}))), {"x": np.arange(4, dtype=np.float32)})


@both
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2, 2), (4, 1), 0),
        ((4,), (1,), 1),
        ((2,), (-1,), 3),
        ((2,), (1,), -1),
        ((-2, -2), (1, 1), 0),
        ((5,), (0,), 0),
        ((2**40,), (0,), 0),
        ((2**62, 2**62), (0, 0), 0),
        ((2,), (2**70,), 0),
        ((1,), (2**70,), 0),
        ((0, 2**62), (1, 1), 0),
        ((0, 2**70), (1, 1), 0),
        ((1,) * 65, (1,) * 65, 0),
        ((2, 2), (1,), 0),
        ((2.0,), (1,), 0),
        ((True,), (1,), 0),
        ((2,), (1,), None),
        ("22", "11", 0),
        ((((2,),),), (1,), 0),
        (4, 1, 0),
    ],
)
def test_a_tensor_lies_inside_its_storage(write, path, shape, strides, offset):
    assert refused(write(path, named({"x": tensor(shape, strides, offset)}))).startswith("is damaged: ")


@both
@pytest.mark.parametrize(
    "stored",
    [
        said(("storage", "Float", 0, "cpu", 4)) + b"Q",
        said(("storage", "Double64", "0", "cpu", 4)) + b"Q",
        said(("module", "Float", "0", "cpu", 4)) + b"Q",
        said(("storage", [], "0", "cpu", 4)) + b"Q",
        said("storage") + b"Q",
        said(7) + b"Q",
        said(()) + b"Q",
        said(None),
        storage(-1),
        storage(3),
        storage(5),
        storage(2**40),
        storage(2**100),
        storage("4"),
        storage(view=said(("1", 0, 4))),
        storage(key="1"),
        storage(kind="DoubleStorage"),
    ],
)
def test_a_storage_is_what_the_file_holds(write, path, stored):
    assert refused(write(path, named({"x": tensor(stored=stored)}))).startswith("is damaged: ")


@both
def test_a_storage_is_of_one_kind(write, path):
    entries = {"x": tensor(), "y": tensor(stored=storage(kind="IntStorage"))}
    assert "or of two" in refused(write(path, named(entries)))


@both
def test_a_small_file_does_not_fill_the_memory(write, path):
    whole = storage(1_000_000)
    contents = named({str(n): tensor((1_000_000,), (1,), stored=whole) for n in range(100)})
    assert "would take 400,000,000 bytes" in refused(zipped(path, contents, {"data/0": bytes(4_000_000)}))
    for contents in (
        b"N" + b"r\xff\xff\xff\xff",  # remembered under 4 billion
        b"X\xff\xff\xff\xffshort",  # a string of 4 GB
        b"\x95" + b"\x00" * 7 + b"\x70",  # a frame of exabytes
        b"I" + b"9" * 100_000 + b"\n",
    ):
        refused(write(path, contents))
    pairs = b"](" + b"".join(b"](" + said(str(n)) + b"Ne" for n in range(1000)) + b"eq\x00"
    copies = called("collections.OrderedDict", b"h\x00") * 1000
    read = torchpickle.Reader(io.BytesIO(b"\x80\x02(" + pairs + copies + b"t.")).load()
    assert len(read) == 1001 and sum(map(len, read)) == 1000  # one of them has the entries, not all of them


@both
def test_deep_nesting_ends_in_one_line(write, path):
    """At 150,000 levels the keys end a process whose stack has 8 MB, where pickle's own functions hash them."""
    deep = b")" + b"\x85" * 200_000
    entries = called("collections.OrderedDict", b"](](" + deep + b"Nee")
    for contents in (b"}" + deep + b"Ns", b"}(" + deep + b"Nu", entries, b"]" * 50_000 + b"a" * 49_999):
        refused(write(path, contents))
    refused(write(path, deep + b"Q"))
    refused(write(path, b"}q\x00" + said("model") + b"h\x00s"))  # a dict that holds itself


def test_programs_of_known_instructions_at_random(path):
    """Whatever they do, they end in one line."""
    rng = np.random.default_rng(0)
    pieces = [bytes([code]) for code in (*torchpickle.CODES, *b"Rbsuc\x81") if code not in b".B"]
    pieces += [said("model"), said(("storage", "Float", "0", "cpu", 4)), b"ctorch\nFloatStorage\n", tensor(), b"K\x01"]
    for _ in range(300):
        program = b"".join(pieces[index] for index in rng.integers(len(pieces), size=rng.integers(1, 30)))
        refused(zipped(path, said([1]) * 3 + program))


def test_what_is_no_torch_file_is_told(path, tmp_path):
    assert refused(path) == f"cannot read {path}: No such file or directory"
    assert refused(tmp_path) == f"cannot read {tmp_path}: Is a directory"
    for contents, start in ((b"", "it is empty"), (b"<!DOCTYPE html>\n<html>", r"it begins with b'<!DOCTYPE html>\n'")):
        path.write_bytes(contents)
        assert refused(path) == f"is not a PyTorch weight file: {start}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", "{}")
    assert refused(path) == "is not a PyTorch weight file: it is a zip archive without data.pkl"


@both
def test_without_tensors_by_name(write, path):
    no_storage = {"members": {}} if write is zipped else {"keys": (), "data": b""}
    for contents in (said(None), said({}), said([1]), said({"model": {"epoch": 3}}), said({"state_dict": 1})):
        assert refused(write(path, contents, **no_storage)).startswith("holds no tensors by name, neither")
    for contents in (tensor(), b"](" + tensor() + b"e", b"}(K\x01" + tensor() + b"u"):
        assert refused(write(path, contents)).startswith("holds no tensors by name, neither")


@both
def test_a_name_can_be_printed(write, path):
    for name in ("a\nb", "\x1b[31m", "\ud800", "module." * 200):
        assert "the name of a tensor" in refused(write(path, named({name: tensor()})))


def test_other_machines_and_packers(path):
    contents = named({"x": tensor()})
    assert refused(zipped(path, contents, {"data/0": FOUR, "byteorder": b"big"})).startswith("was written by a big-")
    same(read_torch(zipped(path, contents, {"data/0": FOUR, "byteorder": b"little"})), read_torch(old(path, contents)))
    path.write_bytes(path.read_bytes().replace(said(True) + b"s", said(False) + b"s", 1))
    assert refused(path).startswith("was written by a big-")
    path.write_bytes(OLD_HEAD.replace(said(1001), said(1002)))
    assert refused(path) == "is damaged: it is not of version 1001 of its format"
    line = refused(zipped(path, contents, compression=zipfile.ZIP_DEFLATED))
    assert line == "was not packed by torch: data.pkl is compressed in its zip archive"


def test_members_of_the_archive_are_there_once_and_whole(path):
    contents = named({"x": tensor()})
    assert refused(zipped(path, contents, {})) == "is damaged: data/0 is missing in its zip archive"
    assert refused(zipped(path, contents, {"data/0": FOUR[:8]})) == "is damaged: data/0 has 8 bytes, not 16"
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(path, contents)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", FOUR)
    assert refused(path) == "is damaged: its zip archive holds a name twice"
    zipped(path, contents)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"\x80\x02}.")
    assert refused(path) == "is damaged: its zip archive holds a name twice"


def test_an_archive_that_lost_its_middle(path):
    whole = (FILES / "every_kind.pth").read_bytes()
    for start, end in ((1000, 1100), (2000, 2100), (200, len(whole) - 500), (20, len(whole) - 500)):
        path.write_bytes(whole[:start] + whole[end:])
        assert refused(path).startswith("is damaged: ")
        assert is_torch_file(path) == (start > 20)


def test_storages_of_an_old_file_are_there_once_and_whole(path):
    contents = named({"x": tensor()})
    four = struct.pack("<q", 4) + FOUR
    assert "list of storages" in refused(old(path, contents, keys=()))
    assert "list of storages" in refused(old(path, contents, keys=("0", "0"), data=four + four))
    assert "list of storages" in refused(old(path, contents, keys=("0", "1"), data=four + four))
    assert "list of storages" in refused(old(path, contents, keys=(0,)))
    assert "another length" in refused(old(path, contents, data=struct.pack("<q", 3) + FOUR))
    assert refused(old(path, contents, data=four + b"more")).startswith("is damaged: it has ")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_cut_off_is_refused(name, path):
    whole = (FILES / f"{name}.pth").read_bytes()
    for length in [*range(0, len(whole), 11), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert refused(path).startswith(("is damaged: ", "is not a PyTorch weight file"))
        assert is_torch_file(path) in (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_noticed_or_does_no_harm(name, path):
    """In a zip file, which has checksums, nothing can change unnoticed."""
    whole, rng = (FILES / f"{name}.pth").read_bytes(), np.random.default_rng(0)
    wanted = read_torch(FILES / f"{name}.pth")
    for place in rng.integers(len(whole), size=300):
        path.write_bytes(changed(whole, place, rng))
        try:
            got = read_torch(path)
        except UserError as problem:
            assert str(problem).isprintable()
        else:
            if "before" not in name:
                same(got, wanted)


@pytest.mark.parametrize("name", ["every_kind", "torchvision"])
def test_a_changed_pickle_under_a_right_checksum_does_no_harm(name, path):
    with zipfile.ZipFile(FILES / f"{name}.pth") as archive:
        members = {member.partition("/")[2]: archive.read(member) for member in archive.namelist()}
    contents, rng = members.pop("data.pkl"), np.random.default_rng(0)
    for place in rng.integers(2, len(contents) - 1, size=300):
        zipped(path, changed(contents, place, rng)[2:-1], members)
        try:
            assert all(type(value) is np.ndarray for value in read_torch(path).values())
        except UserError as problem:
            assert str(problem).isprintable()


def changed(data, place, rng):
    """The bytes with another one at `place`."""
    return data[:place] + bytes([data[place] ^ rng.integers(1, 256)]) + data[place + 1 :]
