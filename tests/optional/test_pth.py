"""The reader of state_dicts: it gives what was written, refuses everything else, and runs nothing."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optional_tools import (
    MAGIC,
    PROTOCOL,
    keys,
    legacy_pth,
    number,
    numbers,
    objects,
    sizes,
    storage,
    tensor,
    text,
    tiny,
)

from facesdk.engine.optional import pth
from facesdk.engine.optional.pth import read_state_dict
from facesdk.errors import InputError

SMALL = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(5, np.int64),
    "ä": np.zeros((1, 4), np.float32),
}
ARRAY = SMALL["a"]


def file_of(items: bytes, names: list[str] = ["0"], stored: bytes = storage(ARRAY)) -> bytes:  # noqa: B006
    return MAGIC + PROTOCOL + sizes() + objects(items) + keys(names) + stored


def test_tensors_come_back_as_they_were_written() -> None:
    for written in (SMALL, tiny(), {}):
        read = read_state_dict(legacy_pth(written))
        assert list(read) == list(written)
        for name, array in written.items():
            assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(read[name], array)
            assert not read[name].flags.writeable


def test_two_tensors_may_share_a_storage() -> None:
    half = np.zeros(3, np.float32)
    items = text("x") + tensor("0", half, count=6) + text("y") + tensor("0", half, offset=3, count=6)
    read = read_state_dict(file_of(items))
    assert [list(read["x"]), list(read["y"])] == [[0, 1, 2], [3, 4, 5]]


GOOD = text("x") + tensor("0", ARRAY)
HOSTILE = {
    "os.system": file_of(text("x") + b"cos\nsystem\n" + text("touch x") + b"\x85R"),
    "builtins.eval": file_of(b"cbuiltins\neval\n" + GOOD),
    "a name that never ends": file_of(b"c" + b"torch._utils" * 40 + GOOD),
    "a name one level deeper": file_of(b"ccollections.OrderedDict\nfromkeys\n" + GOOD),
    "calling a storage class": file_of(text("x") + b"ctorch\nFloatStorage\n)R"),
    "OrderedDict with contents": file_of(text("x") + b"ccollections\nOrderedDict\n]\x85R"),
    "INST": file_of(text("x") + b"(ios\nsystem\n"),
    "OBJ": file_of(text("x") + b"(ccollections\nOrderedDict\no"),
    "NEWOBJ": file_of(text("x") + b"ccollections\nOrderedDict\n)\x81"),
    "STACK_GLOBAL": file_of(text("os") + text("system") + b"\x93"),
    "EXT1": file_of(text("x") + b"\x82\x01"),
    "protocol 4": b"\x80\x04" + legacy_pth(SMALL)[2:],
    "another magic number": b"\x80\x02M\xe9\x03." + legacy_pth(SMALL)[len(MAGIC) :],
    "another protocol": MAGIC + b"\x80\x02M\xea\x03." + sizes(),
    "big-endian": MAGIC + PROTOCOL + sizes(b"\x89") + objects(GOOD) + keys(["0"]) + storage(ARRAY),
    "1 for True": MAGIC + PROTOCOL + sizes(b"K\x01") + objects(GOOD) + keys(["0"]) + storage(ARRAY),
    "a number among the tensors": file_of(GOOD + text("n") + number(1)),
    "a name twice": file_of(GOOD + GOOD),
    "a name that is a number": file_of(number(1) + tensor("0", ARRAY)),
    "a name without a tensor": file_of(GOOD + text("y")),
    "not contiguous": file_of(text("x") + tensor("0", ARRAY, strides=(1, 2))),
    "a stride too many": file_of(text("x") + tensor("0", ARRAY, strides=(3, 1, 1))),
    "strides of 0": file_of(text("x") + tensor("0", ARRAY, strides=(0, 0))),
    "over the storage's end": file_of(text("x") + tensor("0", ARRAY, offset=1)),
    "a negative offset": file_of(text("x") + tensor("0", ARRAY, offset=-1)),
    "a negative count": file_of(text("x") + tensor("0", ARRAY, count=-6), stored=struct.pack("<q", -6)),
    "fewer than announced": file_of(text("x") + tensor("0", ARRAY, count=7)),
    "a count that is not there": file_of(GOOD, stored=struct.pack("<q", 1 << 40)),
    "a count beyond the file": file_of(
        text("x") + tensor("0", ARRAY, count=1 << 20), stored=struct.pack("<q", 1 << 20)
    ),
    "bytes after the end": legacy_pth(SMALL) + b"\0",
    "a storage that nothing uses": file_of(GOOD, names=["0", "1"], stored=storage(ARRAY) * 2),
    "a storage twice": file_of(GOOD, names=["0", "0"], stored=storage(ARRAY) * 2),
    "a storage without its key": file_of(GOOD, names=[]),
    "keys that are no texts": MAGIC + PROTOCOL + sizes() + objects(GOOD) + b"\x80\x02](K\x00e." + storage(ARRAY),
    "a list in place of the tensors": MAGIC + PROTOCOL + sizes() + keys(["0"]) + keys(["0"]) + storage(ARRAY),
    "what it does not hold": file_of(text("x") + b"h\x09"),
    "more than one object": MAGIC[:-1] + b"K\x01." + legacy_pth(SMALL)[len(MAGIC) :],
    "a mark and no object": b"\x80\x02(.",
    "an empty stack": b"\x80\x02R.",
    "a mark that is kept": file_of(b"(q\x01" + GOOD),
    "a dict that holds itself": file_of(text("x") + b"}q\x05" + text("x") + b"h\x05s"),
    "nine dimensions": file_of(text("x") + tensor("0", np.zeros((1,) * 9, np.float32), count=6)),
    "a size of True": file_of(text("x") + tensor("0", ARRAY).replace(numbers((2, 3)), b"\x88\x85")),
    "no bytes": b"",
    "text": b"not a pickle",
    "a zip archive": b"PK\x03\x04" + bytes(60),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused(name: str) -> None:
    assert list(read_state_dict(file_of(GOOD))) == ["x"], "the file that the others differ from is read"
    with pytest.raises(InputError, match="not a state_dict"):
        read_state_dict(HOSTILE[name])


def test_what_is_cut_short_anywhere_is_refused() -> None:
    data = legacy_pth(SMALL)
    assert len(read_state_dict(data)) == 3
    for end in range(len(data)):
        with pytest.raises(InputError):
            read_state_dict(data[:end])


def test_length_tensors_and_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at most"):
        read_state_dict(bytes(pth.MAX_FILE + 1))
    with pytest.raises(InputError, match="steps"):
        read_state_dict(b"\x80\x02" + b")" * (pth.MAX_OPCODES + 1))
    monkeypatch.setattr(pth, "MAX_TENSORS", 2)
    with pytest.raises(InputError, match="at most 2"):
        read_state_dict(legacy_pth(SMALL))


def test_tuples_in_tuples_cost_nothing() -> None:
    """Each holds the one before twice: written out, 2^2000 elements."""
    doubling = b")" + b"q\x00h\x00\x86" * 2000
    with pytest.raises(InputError):
        read_state_dict(file_of(text("x") + doubling))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_files_give_tensors_or_are_refused(data: st.DataObject) -> None:
    content = bytearray(legacy_pth(SMALL))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "copy"]))
        if change == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del content[at : at + data.draw(st.integers(1, 8))]
        else:
            content[at:at] = content[at : at + data.draw(st.integers(1, 40))]
        if not content:
            break
    try:
        read = read_state_dict(bytes(content))
    except InputError:
        return
    assert all(array.dtype in (np.float32, np.int64) for array in read.values())
    assert sum(array.nbytes for array in read.values()) <= 4 * len(content)
