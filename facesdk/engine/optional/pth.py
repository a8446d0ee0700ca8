"""The tensors of a PyTorch .pth file, read without torch and without unpickling.

A file as torch.save wrote it before version 1.6: five pickles (magic number, protocol, sizes, the state_dict with its
tensors as references, the keys of the storages), then each storage as a count and its little-endian elements. Source:
torch/serialization.py, _legacy_load. The pickles are read by an interpreter of the few opcodes that a state_dict needs,
which makes numbers, texts, tuples, lists and dicts, and nothing else: it imports nothing and calls nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from facesdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FILE = 16 << 20  # bytes; the networks that are known have 2 MiB
MAX_TENSORS = 4096
MAX_DIMENSIONS = 8
MAX_OPCODES = 200_000  # of one pickle; 14,000 are usual
MAX_NAME = 128  # bytes of a name that a pickle would import
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DICT, _TENSOR = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
# Storage classes: how numpy reads them, bytes of an element.
_STORAGES = {"torch.FloatStorage": ("<f4", 4), "torch.LongStorage": ("<i8", 8)}
_MARK = object()


@dataclass(frozen=True)
class _Global:
    """A name that a pickle would import: one of the four that are known. It is never imported."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]


def read_state_dict(data: bytes) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """The tensors by their names, in the file's order: float32 or int64, C-contiguous, not writable.

    InputError for anything that is not exactly such a file; nothing of it has run then.
    """
    if len(data) > MAX_FILE:
        _refuse(f"it has {len(data)} bytes, at most {MAX_FILE} are read")
    if data[:4] == b"PK\x03\x04":
        _refuse("it is a zip archive as newer versions of PyTorch write it; no network that is known comes as one")
    try:
        return _read(data)
    except (struct.error, UnicodeDecodeError, IndexError):
        _refuse("it is cut short or damaged")


def _refuse(reason: str) -> NoReturn:
    raise InputError(f"not a state_dict as PyTorch's legacy format has it: {reason}")


def _read(data: bytes) -> dict[str, Any]:
    reader = _Pickles(data)
    if reader.load() != MAGIC or reader.load() != PROTOCOL:
        _refuse("its magic number or its protocol is another")
    sizes = reader.load()
    if not isinstance(sizes, dict) or sizes.get("little_endian") is not True:
        _refuse("its storages are not little-endian")
    tensors, keys = reader.load(), reader.load()
    if not isinstance(tensors, dict) or not isinstance(keys, list) or len(tensors) > MAX_TENSORS:
        _refuse(f"at most {MAX_TENSORS} tensors by name and the keys of their storages were expected")
    if not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        _refuse("it holds something that is no tensor")
    storages = _storages(data, reader.at, keys, wanted={t.storage.key: t.storage for t in tensors.values()})
    return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _storages(data: bytes, at: int, keys: list[Any], *, wanted: dict[str, _Storage]) -> dict[str, Any]:
    """The elements of each storage; every one is there once, is used, and ends where the file says."""
    import numpy as np

    if not all(type(key) is str for key in keys) or len(set(keys)) != len(keys) or set(keys) != wanted.keys():
        _refuse("the list of its storages is not that of its tensors")
    found = {}
    for key in keys:
        (count,) = struct.unpack_from("<q", data, at)
        dtype, size = _STORAGES[wanted[key].kind]
        if count != wanted[key].count or at + 8 + count * size > len(data):
            _refuse("a storage has another length than was announced")
        found[key] = np.frombuffer(data, dtype, count, at + 8)
        at += 8 + count * size
    if at != len(data):
        _refuse(f"{len(data) - at} bytes follow its last storage")
    return found


def _array(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    end = tensor.offset + math.prod(tensor.shape)
    if end > len(storage):
        _refuse("a tensor reaches over its storage's end")
    return storage[tensor.offset : end].reshape(tensor.shape)


def _whole_numbers(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > MAX_DIMENSIONS:
        _refuse(f"at most {MAX_DIMENSIONS} dimensions were expected")
    if not all(type(n) is int and 0 <= n <= MAX_FILE for n in value):
        _refuse("a tensor's size is no number of elements")
    return value


def _tensor(arguments: Any) -> _Tensor:
    """What _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) would make: contiguous only."""
    if type(arguments) is not tuple or len(arguments) != 6 or not isinstance(arguments[0], _Storage):
        _refuse("a tensor has other parts than storage, offset, size, stride, requires_grad, hooks")
    storage, offset, size, stride = arguments[:4]
    (offset,), shape, steps = _whole_numbers((offset,)), _whole_numbers(size), _whole_numbers(stride)
    contiguous = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if len(steps) != len(shape) or any(s != c for s, c, n in zip(steps, contiguous, shape, strict=True) if n != 1):
        _refuse("a tensor is not contiguous")
    if math.prod(shape) > storage.count:
        _refuse("a tensor reaches over its storage's end")
    return _Tensor(storage, offset, shape)


def _storage(identity: Any) -> _Storage:
    """What the persistent id ("storage", class, key, device, count, view) stands for; the device does not matter."""
    if type(identity) is not tuple or len(identity) != 6 or identity[0] != "storage" or identity[5] is not None:
        _refuse("a storage is described in a way that is not known")
    _, kind, key, _, count, _ = identity
    if not isinstance(kind, _Global) or kind.name not in _STORAGES or type(key) is not str:
        _refuse("a storage is of a kind that is not known")
    return _Storage(key, kind.name, *_whole_numbers((count,)))


class _Pickles:
    """Reads one pickle after another. `at`: where the next one begins."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object of the next pickle."""
        self._stack, self._memo = [], {}
        steps = 0
        while (opcode := self._data[self.at]) != ord("."):
            self.at, steps = self.at + 1, steps + 1
            if steps > MAX_OPCODES:
                _refuse(f"a pickle has more than {MAX_OPCODES} steps")
            run = _OPCODES.get(opcode)
            if run is None:
                _refuse(f"its pickle has the opcode 0x{opcode:02x}, which no state_dict needs")
            run(self)
        self.at += 1
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            _refuse("a pickle ends with more or less than one object")
        return self._stack[0]

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self._data, self.at)
        self.at += struct.calcsize("<" + kind)
        return int(value)

    def taken(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            _refuse("a text or number reaches over its end")
        self.at += size
        return self._data[self.at - size : self.at]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            _refuse("a mark stands where a value was expected")
        return value

    def since_mark(self) -> list[Any]:
        """What was pushed after the last mark, which goes too."""
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            _refuse(f"a {kind.__name__} was expected")
        return self._stack[-1]

    def protocol(self) -> None:
        if self.number("B") != 2:
            _refuse("its pickles are not of protocol 2")

    def long(self) -> None:
        self.push(int.from_bytes(self.taken(self.number("B")), "little", signed=True))

    def text(self) -> None:
        self.push(self.taken(self.number("I")).decode("utf-8"))

    def known_name(self) -> None:
        module, name = [*self._data[self.at : self.at + MAX_NAME].split(b"\n", 2), b"", b""][:2]
        known = [k for k in (_DICT, _TENSOR, *_STORAGES) if k.encode() == module + b"." + name]
        if not known:
            _refuse("its pickle asks for something to be imported that is no part of a state_dict")
        self.at += len(module) + len(name) + 2
        self.push(_Global(known[0]))

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if called == _Global(_TENSOR):
            self.push(_tensor(arguments))
        elif called == _Global(_DICT) and arguments == ():
            self.push({})
        else:
            _refuse("its pickle calls something in a way that no state_dict needs")

    def build(self) -> None:
        """A state_dict's attributes (its _metadata) are passed over."""
        self.pop()
        self.top(dict)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            _refuse("a name without a value")
        for name, value in zip(items[::2], items[1::2], strict=True):
            if type(name) is not str or name in target:
                _refuse("a name that is no text, or stands there twice")
            target[name] = value

    def append_items(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def put(self, index: int) -> None:
        self._memo[index] = self.pop()
        self.push(self._memo[index])

    def get(self, index: int) -> None:
        if index not in self._memo:
            _refuse("it refers to something that it does not hold")
        self.push(self._memo[index])

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))


_OPCODES: dict[int, Callable[[_Pickles], None]] = {
    0x80: _Pickles.protocol, 0x8A: _Pickles.long, ord("X"): _Pickles.text, ord("c"): _Pickles.known_name,
    ord("R"): _Pickles.reduce, ord("b"): _Pickles.build,
    ord("J"): lambda p: p.push(p.number("i")), ord("M"): lambda p: p.push(p.number("H")),
    ord("K"): lambda p: p.push(p.number("B")), ord("N"): lambda p: p.push(None),
    0x88: lambda p: p.push(True), 0x89: lambda p: p.push(False),
    ord("("): lambda p: p.push(_MARK), ord(")"): lambda p: p.push(()), ord("]"): lambda p: p.push([]),
    ord("}"): lambda p: p.push({}), ord("t"): lambda p: p.push(tuple(p.since_mark())),
    0x85: lambda p: p.tuple_of(1), 0x86: lambda p: p.tuple_of(2), 0x87: lambda p: p.tuple_of(3),
    ord("q"): lambda p: p.put(p.number("B")), ord("r"): lambda p: p.put(p.number("I")),
    ord("h"): lambda p: p.get(p.number("B")), ord("j"): lambda p: p.get(p.number("I")),
    ord("Q"): lambda p: p.push(_storage(p.pop())), ord("s"): lambda p: p.set_items([p.pop(), p.pop()][::-1]),
    ord("u"): lambda p: p.set_items(p.since_mark()), ord("e"): lambda p: p.append_items(p.since_mark()),
}  # fmt: skip
