"""The files of one user's audit log: the current segment and full ones behind it, each opened guarded."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator, Iterator, Sequence

from facesdk.digest import sha256
from facesdk.errors import VaultError, VaultIntegrityError
from facesdk.vault import files
from facesdk.vault.audit.entry import HINT, MAX_LINE, Entry
from facesdk.vault.audit.verify import Line

MAX_SEGMENT = 256 * 1024  # bytes; about 1,200 entries
MAX_SEGMENTS = 64  # entries made without the key cannot drop old segments: here they end

_APPENDING = os.O_RDWR | os.O_APPEND
_WINDOW = 4096


class Segments:
    """The segments of the log `base` in the folder of this descriptor: 0 is the current one, 1 the newest full one.

    They are opened by the rules of files.read_guarded: VaultIntegrityError, VaultError; what the system refuses is its
    OSError.
    """

    def __init__(self, folder: int, base: str, *, max_segment: int) -> None:
        self._folder, self.base, self._max_segment = folder, base, max_segment

    def name(self, segment: int) -> str:
        return f"{self.base}.{segment}" if segment else self.base

    def numbers(self) -> list[int]:
        """The numbers of the segments there are, the current one (0) first."""
        pattern = re.compile(re.escape(self.base) + r"(?:\.([1-9][0-9]{0,2}))?")
        return sorted(int(m[1] or 0) for m in map(pattern.fullmatch, os.listdir(self._folder)) if m)

    def open(self, name: str, flags: int) -> int:
        """A descriptor of this segment, by the rules of files.open_guarded."""
        try:
            return files.open_guarded(self._folder, name, flags, limit=MAX_SEGMENT + MAX_LINE)
        except VaultIntegrityError as error:
            raise self.broken(error.message) from error

    def backwards(self, *, torn_allowed: bool) -> Generator[bytes, None, None]:
        """The lines, the newest first, read as far as asked for; a torn end of the current segment left out."""
        for segment in self.numbers():
            descriptor = self.open(self.name(segment), os.O_RDONLY)
            try:
                pieces = _pieces_backwards(descriptor)
                if next(pieces) and (segment or not torn_allowed):
                    raise self.broken(f"the last line of {self.name(segment)} is torn")
                yield from pieces
            finally:
                os.close(descriptor)

    def lines(self, segment: int) -> list[Line]:
        """The lines of a segment, a torn one at its end included."""
        descriptor = self.open(self.name(segment), os.O_RDONLY)
        try:
            *lines, torn = files.read_at_most(descriptor, MAX_SEGMENT + MAX_LINE).split(b"\n")
        finally:
            os.close(descriptor)
        found = [Line(segment, i, Entry.parse(line), sha256(line)) for i, line in enumerate(lines, 1)]
        return found + [Line(segment, len(lines) + 1, None, b"", torn=True)] * bool(torn)

    def first_number(self, segment: int) -> int | None:
        """The number of the first entry of a segment, None when there is none to be read."""
        try:
            descriptor = self.open(self.name(segment), os.O_RDONLY)
        except (VaultIntegrityError, VaultError):
            return None
        try:
            size = min(os.fstat(descriptor).st_size, MAX_LINE + 1)
            entry = Entry.parse(files.pread_exactly(descriptor, size, 0).partition(b"\n")[0])
        finally:
            os.close(descriptor)
        return entry.n if entry else None

    def current(self, room: int, *, keyed: bool) -> tuple[int, int]:
        """A descriptor of the segment that takes `room` more bytes, and its size. Call it after `_tail`."""
        segments = self.numbers()
        with contextlib.ExitStack() as stack:
            if 0 in segments:
                descriptor = self.open(self.name(0), _APPENDING)
                stack.callback(os.close, descriptor)
                size = _cut_torn(descriptor)
                if size == 0 or size + room <= self._max_segment:
                    stack.pop_all()
                    return descriptor, size
                self._rotate(segments, keyed=keyed)
            descriptor = self.open(self.name(0), _APPENDING | os.O_CREAT | os.O_EXCL)
            with contextlib.ExitStack() as created:
                created.callback(os.close, descriptor)
                os.fchmod(descriptor, 0o600)
                os.fsync(self._folder)
                created.pop_all()
        return descriptor, 0

    def _rotate(self, segments: Sequence[int], *, keyed: bool) -> None:
        """Makes place for a new current segment. A kill leaves a gap in the names, which the next rotation fills: the
        order of the names stays that of the entries all along."""
        if len(segments) >= MAX_SEGMENTS + keyed:  # with the key old ones are let go, and removed by the next entry
            raise VaultError(f"{self.base} is full of entries made without the key: unlock with the passphrase")
        free = next(i for i in range(1, MAX_SEGMENTS + 2) if i not in segments)
        for i in range(free, 0, -1):
            self.rename(self.name(i - 1), self.name(i))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)

    def broken(self, what: str) -> VaultIntegrityError:
        return VaultIntegrityError(f"the audit log {self.base} is broken: {what}; {HINT}")


def _cut_torn(descriptor: int) -> int:
    """The size of the file's whole lines, a torn one behind them cut away."""
    size = os.fstat(descriptor).st_size
    whole = size - len(next(_pieces_backwards(descriptor)))
    if whole < size:
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    return whole


def _pieces_backwards(descriptor: int) -> Iterator[bytes]:
    """What lies between the newlines of a file, from the end; first what follows the last one. A piece longer than
    MAX_LINE ends it, as it is."""
    position, rest = os.fstat(descriptor).st_size, b""
    while position and len(rest) <= MAX_LINE:
        step = min(position, _WINDOW)
        position -= step
        rest, *pieces = (files.pread_exactly(descriptor, step, position) + rest).split(b"\n")
        yield from reversed(pieces)
    yield rest
