"""The bytes of a flatbuffer, written from its end to its beginning, as the library `flatbuffers` lays them out.

Source of the format: https://flatbuffers.dev/internals/. The same calls give that library's bytes (25.12), which the
hashes of the shipped models rest on; a test compares the two.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple


class Field(NamedTuple):
    """One field of a table: its slot, how struct writes it ("o": the offset of something written before), its value.

    A field that has its default is left out; so is an offset of 0.
    """

    slot: int
    kind: str
    value: float
    default: float = 0


class Builder:
    """Collects what is written; an offset is the distance of something's first byte from the end."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the last in the file first
        self._size = 0
        self._alignment = 1
        self._vtables: dict[bytes, int] = {}

    def vector(self, data: bytes, *, count: int, alignment: int = 4) -> int:
        """A vector of `count` scalars whose little-endian bytes are `data`."""
        self._prepare(4, len(data))
        self._prepare(alignment, len(data))
        self._put(data)
        return self._put(struct.pack("<I", count))

    def text(self, text: str) -> int:
        """A string."""
        data = text.encode()
        self._prepare(4, len(data) + 1)
        self._put(data + b"\0")
        return self._put(struct.pack("<I", len(data)))

    def offsets(self, targets: Sequence[int]) -> int:
        """A vector of what was written before."""
        self._prepare(4, 4 * len(targets))
        for target in reversed(targets):
            self._reference(target)
        return self._put(struct.pack("<I", len(targets)))

    def table(self, fields: Sequence[Field]) -> int:
        """A table, its fields in the order of their slots; shares the vtable of an earlier one of the same layout."""
        end = self._size
        places: dict[int, int] = {}
        for field in fields:
            if field.value == field.default:
                continue
            if field.kind == "o":
                self._prepare(4, 0)
                self._reference(int(field.value))
            else:
                data = struct.pack("<" + field.kind, field.value)
                self._prepare(len(data), 0)
                self._put(data)
            places[field.slot] = self._size
        self._prepare(4, 0)
        start = self._size + 4
        slots = range(max(places, default=-1) + 1)
        entries = [start - places[slot] if slot in places else 0 for slot in slots]
        vtable = struct.pack(f"<{2 + len(entries)}H", 4 + 2 * len(entries), start - end, *entries)
        known = self._vtables.get(vtable)
        if known is not None:
            return self._put(struct.pack("<i", known - start))
        self._vtables[vtable] = start + len(vtable)
        self._put(struct.pack("<i", len(vtable)))
        self._put(vtable)
        return start

    def finish(self, root: int, identifier: bytes) -> bytes:
        """The whole file."""
        self._prepare(self._alignment, 4 + len(identifier))
        self._put(identifier)
        self._reference(root)
        return b"".join(reversed(self._parts))

    def _prepare(self, alignment: int, following: int) -> None:
        """Pads so that what comes after `following` bytes more is aligned."""
        self._alignment = max(self._alignment, alignment)
        self._put(b"\0" * (-(self._size + following) % alignment))

    def _reference(self, target: int) -> None:
        self._put(struct.pack("<I", self._size + 4 - target))

    def _put(self, data: bytes) -> int:
        if data:
            self._parts.append(data)
            self._size += len(data)
        return self._size
