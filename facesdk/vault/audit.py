"""The audit log of a user: what happened, when, with which outcome; hash-chained, its head sealed by the user's key."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import struct
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from facesdk.digest import sha256
from facesdk.errors import InputError, StoreError, StoreIntegrityError
from facesdk.types import Decision
from facesdk.vault import crypto, files
from facesdk.vault.record import MAX_INTEGER, check_user

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_SEGMENT = 256 * 1024  # bytes; about 1,200 entries
KEEP = 4  # full segments kept behind the current one
MAX_SEGMENTS = 64  # entries made without the key cannot drop old segments: here they end
MAX_LINE = 512
HINT = "`facesdk audit --verify` shows where; `facesdk audit --restart` with the passphrase begins a new log"

_GUARDED = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # as in files.py
_APPENDING = os.O_RDWR | os.O_APPEND
_WINDOW = 4096
_NO_DIGEST = bytes(32)
_CAMERA = re.compile(r"[ !#-\[\]-~]{1,64}")  # printable ASCII that JSON does not escape
_POLICY = re.compile(r"[ !#-\[\]-~]{0,48}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_HEAD_MAGIC = b"facehead" + struct.pack("<H", 1)
_HEAD = struct.Struct("<QQ32s")
_NONCE_SIZE = 12
HEAD_SIZE = len(_HEAD_MAGIC) + _NONCE_SIZE + _HEAD.size + 16


class Event(Enum):
    """What an entry is about."""

    ENROLLED = "enrolled"
    REPLACED = "replaced"
    UPDATED = "updated"
    RENEWED = "renewed"
    REMOVED = "removed"
    UNLOCKED = "unlocked"
    PASSPHRASE_REFUSED = "passphrase_refused"
    LOCKED = "locked"
    PANIC = "panic"
    VERIFIED = "verified"
    LOCKED_OUT = "locked_out"
    REKEYED = "rekeyed"
    EXPORTED = "exported"
    IMPORTED = "imported"
    ROLLED_BACK = "rolled_back"
    LOG_RESTARTED = "log_restarted"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log, checked when made (InputError). There is no field for a score, an image or features.

    n: its number, from 0. time_unix_s: wall clock, for people; boot_ns: CLOCK_BOOTTIME. outcome: None where nothing was
    decided. prev: SHA-256 in hex of the line before, without its newline; zeros for the first.
    """

    n: int
    time_unix_s: int
    boot_ns: int
    event: Event
    outcome: Decision | None
    camera: str
    policy: str
    prev: str

    def __post_init__(self) -> None:
        for name in ("n", "time_unix_s", "boot_ns"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise InputError(f"{name} must be an int within 0 and 2**63 - 1, not {value!r:.80}")
        if not isinstance(self.event, Event) or not isinstance(self.outcome, Decision | None):
            raise InputError(
                f"an Event and a Decision or None were expected, not {self.event!r:.80}, {self.outcome!r:.80}"
            )
        for name, pattern in (("camera", _CAMERA), ("policy", _POLICY), ("prev", _SHA256_HEX)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise InputError(f"{name} must match {pattern.pattern}, not {value!r:.80}")

    def line(self) -> bytes:
        """The one encoding of this entry, without the newline; at most MAX_LINE bytes."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")).encode("ascii")

    def as_dict(self) -> dict[str, int | str]:
        """The fields as they stand in the log."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "event": self.event.value, "outcome": self.outcome.value if self.outcome else ""}

    def as_text(self) -> str:
        """One line for a person, in local time."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time_unix_s))
        outcome = f" {self.outcome.value}" if self.outcome else ""
        return f"{self.n:6} {when} {self.event.value}{outcome} ({self.camera}{self.policy and ', '}{self.policy})"

    @staticmethod
    def parse(line: bytes) -> Entry | None:
        """The entry of a line; None when the line is not exactly what `line()` writes."""
        if len(line) > MAX_LINE:
            return None
        try:
            fields = json.loads(line)
            event, outcome = Event(fields.pop("event")), fields.pop("outcome")
            entry = Entry(event=event, outcome=None if outcome == "" else Decision(outcome), **fields)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None
        return entry if entry.line() == line else None


@dataclass(frozen=True)
class Head:
    """What is sealed of a log: first, the number of the oldest entry kept; count, of entries ever written; digest, the
    SHA-256 of the last line. Checked when made (InputError)."""

    first: int
    count: int
    digest: bytes

    def __post_init__(self) -> None:
        if type(self.first) is not int or type(self.count) is not int or not 0 <= self.first < self.count <= 2**63:
            raise InputError(f"a head needs 0 <= first < count, not {self.first!r:.80} and {self.count!r:.80}")
        if type(self.digest) is not bytes or len(self.digest) != 32:
            raise InputError("a head's digest must have 32 bytes")


def seal_head(key: Buffer, head: Head, *, user: str, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """HEAD_SIZE bytes: magic, version, random nonce, AES-256-GCM of the head; magic, version and user are the AAD.

    A key may seal 2**32 heads before two random nonces are likely enough to meet (NIST SP 800-38D, 8.3).
    """
    nonce = entropy(_NONCE_SIZE)
    plaintext = _HEAD.pack(head.first, head.count, head.digest)
    return _HEAD_MAGIC + nonce + crypto.seal(key, plaintext, nonce=nonce, aad=_head_aad(user))


def open_head(key: Buffer, data: bytes, *, user: str) -> Head:
    """The head sealed under this key for this user; StoreIntegrityError for anything else."""
    if len(data) != HEAD_SIZE or data[: len(_HEAD_MAGIC)] != _HEAD_MAGIC:
        raise StoreIntegrityError(f"the sealed head of the audit log is not one: {HINT}")
    nonce, sealed = data[len(_HEAD_MAGIC) :][:_NONCE_SIZE], data[len(_HEAD_MAGIC) + _NONCE_SIZE :]
    try:
        plaintext = crypto.unseal(key, sealed, nonce=nonce, aad=_head_aad(user))
        return Head(*_HEAD.unpack(plaintext))
    except (crypto.TagMismatchError, InputError) as error:
        raise StoreIntegrityError(
            f"the head of the audit log of {user!r} was altered or sealed by another key: {HINT}"
        ) from error


def _head_aad(user: str) -> bytes:
    return _HEAD_MAGIC + check_user(user).encode("ascii")


class ProblemKind(Enum):
    """What is wrong with a log."""

    EDITED = "edited"
    REMOVED = "removed"
    CUT = "cut"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TORN = "torn"
    NOT_CANONICAL = "not_canonical"
    FOREIGN_FILE = "foreign_file"
    MISSING_SEGMENT = "missing_segment"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The newest place where a log is not what was written. line: from 1, 0 for the whole file. entry: the number
    expected there, None where it cannot be known. sealed: whether the sealed head vouched for what was there."""

    kind: ProblemKind
    file: str
    line: int
    entry: int | None
    sealed: bool
    message: str


@dataclass(frozen=True)
class Report:
    """entries: how many the log holds from number `first` on; unsealed: how many of them no head vouches for."""

    entries: int
    first: int
    unsealed: int
    problem: Problem | None


@dataclass(frozen=True)
class _Line:
    """A line as it was found; a torn one has neither entry nor digest."""

    segment: int
    number: int
    entry: Entry | None
    digest: bytes
    torn: bool = False


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class AuditLog:
    """The log of a user in the folder of this descriptor. The caller holds the vault's lock: a shared one for check,
    verify and read, else an exclusive one.

    `<user>.audit` is the current segment, `<user>.audit.1` the newest full one. Segments are opened by the rules of
    files.read_guarded: StoreIntegrityError, StoreError; what the system refuses is its OSError.
    """

    def __init__(
        self, folder: int, user: str, *, max_segment: int = MAX_SEGMENT, keep: int = KEEP,
        wall: Callable[[], float] = time.time, boot_ns: Callable[[], int] = _boot_ns,
    ) -> None:  # fmt: skip
        if not 1 <= keep < MAX_SEGMENTS or not 1 <= max_segment <= MAX_SEGMENT:
            raise InputError(f"keep must be within 1 and {MAX_SEGMENTS - 1}, max_segment within 1 and {MAX_SEGMENT}")
        self._folder = folder
        self._base = check_user(user) + ".audit"
        self._max_segment, self._keep = max_segment, keep
        self._wall, self._boot_ns = wall, boot_ns

    def append(
        self,
        event: Event,
        *,
        head: Head | None,
        outcome: Decision | None = None,
        camera: str = "files",
        policy: str = "",
    ) -> Head:
        """The head with one durable entry more, to be sealed before the next one; StoreIntegrityError when the log does
        not end in `head`, the one sealed on disk, or in entries whose chain continues from it.

        After a failure or a kill the log still fits the old head, with the whole entry behind it or without it.
        Without a head (no key at hand) only the last line is checked, a torn line is refused instead of cut away, and
        nothing old is dropped.
        """
        number, prev = self._tail(head)
        entry = self._entry(number, prev, event=event, outcome=outcome, camera=camera, policy=policy)
        if head is not None:
            self._drop(head)
        return self._write(entry, head)

    def check(self, head: Head) -> None:
        """Nothing; StoreIntegrityError unless the log ends in the sealed head, or in entries whose chain continues from
        it. Reads the end only: what lies before the head is for `verify`."""
        self._tail(head)

    def verify(self, head: Head | None) -> Report:
        """What the log holds and the newest problem in it. Every change from head.first to the head is found; behind
        the head, and everywhere without one, only what breaks the chain."""
        lines: list[_Line] = []
        problem = None
        for segment in reversed(self._segments()):
            try:
                lines += self._lines(segment)
            except (StoreIntegrityError, StoreError) as error:
                place = segment, 0
                problem = self._problem(
                    ProblemKind.FOREIGN_FILE, place, entry=None, message=str(error), sealed=head is not None
                )
        problem = problem or _Judge(lines, head, self).judge()
        numbers = [line.entry.n for line in lines if line.entry]
        first = max(min(numbers, default=0), head.first if head else 0)
        unsealed = sum(n >= (head.count if head else 0) for n in numbers)
        return Report(sum(n >= first for n in numbers), first, unsealed, problem)

    def read(self) -> list[Entry]:
        """The entries, oldest first, without a torn one at the end; StoreIntegrityError for any other broken line. The
        chain is not checked."""
        entries = []
        for segment in reversed(self._segments()):
            for line in self._lines(segment):
                if line.entry:
                    entries.append(line.entry)
                elif not line.torn or segment:
                    raise self._broken(f"line {line.number} of {self._name(segment)} is not an entry")
        return entries

    def restart(self, head: Head | None) -> Head:
        """The head of a new log, to be sealed: its one entry has the number and the `prev` that follow `head`. What was
        there is kept as `<user>.audit.broken-<n>`; a kill in between leaves a log to restart again."""
        pattern = re.compile(re.escape(self._base) + r"\.broken-([1-9][0-9]{0,8})")
        taken = max((int(m[1]) for m in map(pattern.fullmatch, os.listdir(self._folder)) if m), default=0)
        for index, segment in enumerate(self._segments(), taken + 1):
            self._rename(self._name(segment), f"{self._base}.broken-{index}")
        number, prev = (head.count, head.digest) if head else (0, _NO_DIGEST)
        entry = self._entry(number, prev, event=Event.LOG_RESTARTED, outcome=None, camera="files", policy="")
        return self._write(entry, None)

    # --- writing

    def _entry(self, n: int, prev: bytes, *, event: Event, outcome: Decision | None, camera: str, policy: str) -> Entry:
        return Entry(
            n=n, time_unix_s=max(0, int(self._wall())), boot_ns=self._boot_ns(), event=event, outcome=outcome,
            camera=camera, policy=policy, prev=prev.hex(),
        )  # fmt: skip

    def _write(self, entry: Entry, head: Head | None) -> Head:
        line = entry.line()
        descriptor, size = self._current(len(line) + 1)
        try:
            result = Head(self._first(entry, head), entry.n + 1, sha256(line))
            try:
                rest = memoryview(line + b"\n")
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            except BaseException:
                with contextlib.suppress(OSError):  # the first error is the one to report; a torn line is found later
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        return result

    def _current(self, room: int) -> tuple[int, int]:
        """A descriptor of the segment that takes `room` more bytes, and its size. Call it after `_tail`."""
        segments = self._segments()
        with contextlib.ExitStack() as stack:
            if 0 in segments:
                descriptor = self._open(self._name(0), _APPENDING)
                stack.callback(os.close, descriptor)
                size = _cut_torn(descriptor)
                if size == 0 or size + room <= self._max_segment:
                    stack.pop_all()
                    return descriptor, size
                self._rotate(segments)
            descriptor = self._open(self._name(0), _APPENDING | os.O_CREAT | os.O_EXCL)
            with contextlib.ExitStack() as created:
                created.callback(os.close, descriptor)
                os.fchmod(descriptor, 0o600)
                os.fsync(self._folder)
                created.pop_all()
        return descriptor, 0

    def _rotate(self, segments: Sequence[int]) -> None:
        """Makes place for a new current segment. A kill leaves a gap in the names, which the next rotation fills: the
        order of the names stays that of the entries all along."""
        if len(segments) >= MAX_SEGMENTS:
            raise StoreError(f"{self._base} is full of entries made without the key: unlock with the passphrase")
        free = next(i for i in range(1, MAX_SEGMENTS + 1) if i not in segments)
        for i in range(free, 0, -1):
            self._rename(self._name(i - 1), self._name(i))

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)

    def _drop(self, head: Head) -> None:
        """Removes segments that the sealed head has let go already, the oldest first."""
        for segment in reversed(self._segments()[self._keep + 1 :]):
            number = self._first_number(segment)
            if number is not None and number < head.first:
                os.unlink(self._name(segment), dir_fd=self._folder)
                os.fsync(self._folder)

    def _first(self, entry: Entry, head: Head | None) -> int:
        """The oldest entry the new head vouches for. Segments beyond KEEP are let go here and removed by `_drop` once
        this head is sealed, so that no head ever asks for what is gone; one that cannot be read is never let go."""
        segments = self._segments()
        if head is not None and len(segments) <= self._keep + 1:
            return head.first
        number = self._first_number(segments[: self._keep + 1][-1])
        if number is None:
            number = head.first if head else entry.n if len(segments) == 1 else 0
        return max(number, head.first if head else 0)

    # --- reading

    def _name(self, segment: int) -> str:
        return f"{self._base}.{segment}" if segment else self._base

    def _segments(self) -> list[int]:
        """The numbers of the segments there are, the current one (0) first."""
        pattern = re.compile(re.escape(self._base) + r"(?:\.([1-9][0-9]{0,2}))?")
        return sorted(int(m[1] or 0) for m in map(pattern.fullmatch, os.listdir(self._folder)) if m)

    def _open(self, name: str, flags: int) -> int:
        try:
            descriptor = os.open(name, flags | _GUARDED, 0o600, dir_fd=self._folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                raise self._broken(f"{name} is not a regular file") from error
            raise
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or not files.is_ours(status):
                raise self._broken(f"{name} is not a regular file of this user with one name")
            if status.st_size > MAX_SEGMENT + MAX_LINE:
                raise self._broken(f"{name} has {status.st_size} bytes, at most {MAX_SEGMENT} were expected")
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o077:
                raise StoreError(
                    f"others can use {name} (mode {mode:04o}): run `chmod 600 {name}` in the vault's folder"
                )
            stack.pop_all()
        return descriptor

    def _tail(self, head: Head | None) -> tuple[int, bytes]:
        """Number and `prev` of the entry that comes next, the chain walked back to the head's entry."""
        following: tuple[int, bytes] | None = None
        number, wanted = 0, _NO_DIGEST
        with contextlib.closing(self._backwards(torn_allowed=head is not None)) as lines:
            for line in lines:
                entry, digest = Entry.parse(line), sha256(line)
                if entry is None:
                    raise self._broken("its last lines are not entries")
                if following is None:
                    following = entry.n + 1, digest
                elif (entry.n, digest) != (number, wanted):
                    raise self._broken(f"entry {number} is not what the one after it says")
                if head is None or (entry.n, digest) == (head.count - 1, head.digest):
                    return following
                if entry.n < head.count:
                    break
                number, wanted = entry.n - 1, bytes.fromhex(entry.prev)
        if head is not None:
            raise self._broken(f"it does not end in the sealed entry {head.count - 1}")
        return 0, _NO_DIGEST

    def _backwards(self, *, torn_allowed: bool) -> Generator[bytes, None, None]:
        """The lines, the newest first, read as far as asked for; a torn end of the current segment left out."""
        for segment in self._segments():
            descriptor = self._open(self._name(segment), os.O_RDONLY)
            try:
                pieces = _pieces_backwards(descriptor)
                if next(pieces) and (segment or not torn_allowed):
                    raise self._broken(f"the last line of {self._name(segment)} is torn")
                yield from pieces
            finally:
                os.close(descriptor)

    def _lines(self, segment: int) -> list[_Line]:
        """The lines of a segment, a torn one at its end included."""
        descriptor = self._open(self._name(segment), os.O_RDONLY)
        try:
            *lines, torn = files.read_at_most(descriptor, MAX_SEGMENT + MAX_LINE).split(b"\n")
        finally:
            os.close(descriptor)
        found = [_Line(segment, i, Entry.parse(line), sha256(line)) for i, line in enumerate(lines, 1)]
        return found + [_Line(segment, len(lines) + 1, None, b"", torn=True)] * bool(torn)

    def _first_number(self, segment: int) -> int | None:
        """The number of the first entry of a segment, None when there is none to be read."""
        try:
            descriptor = self._open(self._name(segment), os.O_RDONLY)
        except (StoreIntegrityError, StoreError):
            return None
        try:
            entry = Entry.parse(os.pread(descriptor, MAX_LINE + 1, 0).partition(b"\n")[0])
        finally:
            os.close(descriptor)
        return entry.n if entry else None

    def _broken(self, what: str) -> StoreIntegrityError:
        return StoreIntegrityError(f"the audit log {self._base} is broken: {what}; {HINT}")

    def _problem(
        self, kind: ProblemKind, place: tuple[int, int], *, entry: int | None, message: str, sealed: bool
    ) -> Problem:
        name = self._name(place[0])
        return Problem(kind=kind, file=name, line=place[1], entry=entry, sealed=sealed, message=message)


class _Judge:
    """Finds the newest problem in the lines of a log. Going back from the line the head names, each line that is as its
    follower says is genuine, so the first one that is not is where something was done."""

    def __init__(self, lines: list[_Line], head: Head | None, log: AuditLog) -> None:
        self._lines, self._head = lines, head
        self._problem, self._max_segment = log._problem, log._max_segment

    def judge(self) -> Problem | None:
        if self._head is None:
            return self._walk_on(0)
        places = [i for i, line in enumerate(self._lines) if line.digest == self._head.digest]
        if not places:
            return self._lost(self._head)
        return self._walk_back(places[-1], self._head) or self._walk_on(places[-1] + 1)

    def _at(self, i: int, kind: ProblemKind, *, entry: int, message: str, sealed: bool = True) -> Problem:
        place = self._lines[i].segment, self._lines[i].number
        return self._problem(kind, place, entry=entry if entry >= 0 else None, message=message, sealed=sealed)

    def _walk_back(self, place: int, head: Head) -> Problem | None:
        n, wanted = head.count - 1, head.digest
        for i in range(place, -1, -1):
            line = self._lines[i]
            if line.digest != wanted:
                return self._differs(i, n, wanted)
            if line.entry is None or line.entry.n != n:
                return self._at(i, ProblemKind.NOT_CANONICAL, entry=n, message=f"this was never entry {n} of a log")
            n, wanted = n - 1, bytes.fromhex(line.entry.prev)
        if n < head.first:
            return None
        if any(line.digest == wanted for line in self._lines):
            return self._at(
                0, ProblemKind.REORDERED, entry=n, message=f"entry {n} is elsewhere, it should be before this line"
            )
        # Fewer lines than any full segment has can only have been taken out of the file.
        few = (n - head.first + 2) * MAX_LINE < self._max_segment
        kind = ProblemKind.REMOVED if few else ProblemKind.MISSING_SEGMENT
        return self._at(
            0,
            kind,
            entry=head.first,
            message=f"entries {head.first} to {n} are gone: lines before this one, or a segment",
        )

    def _differs(self, i: int, n: int, wanted: bytes) -> Problem:
        """What was done where entry n, of digest `wanted`, should be and line i is; all after it is genuine."""
        line = self._lines[i]
        if any(other.digest == wanted for other in self._lines):
            alike = sum(other.digest == line.digest for other in self._lines)
            if line.entry and line.entry.n < n and alike == 1:
                return self._at(
                    i, ProblemKind.REORDERED, entry=n, message=f"entry {line.entry.n} is in the place of entry {n}"
                )
            return self._at(
                i, ProblemKind.INSERTED, entry=n, message=f"this line does not belong here: entry {n} is elsewhere"
            )
        if line.torn:
            return self._at(i, ProblemKind.TORN, entry=n, message=f"entry {n} has lost its end")
        if line.entry is None:
            return self._at(i, ProblemKind.NOT_CANONICAL, entry=n, message=f"this is not an entry; entry {n} was here")
        before = self._lines[i - 1].entry if i else None
        in_place = before.n == n - 1 if before else self._head is not None and n == self._head.first
        if line.entry.n == n or in_place:
            return self._at(i, ProblemKind.EDITED, entry=n, message=f"entry {n} is not what was written")
        if line.entry.n > n:
            return self._at(i, ProblemKind.INSERTED, entry=n, message="this line does not belong here")
        return self._gone(i, line.entry.n + 1, n)

    def _gone(self, i: int, first: int, last: int) -> Problem:
        """Entries `first` to `last` are missing after line i."""
        line, after = self._lines[i], self._lines[i + 1 : i + 2]
        message = f"entries {first} to {last} are gone"
        if after and after[0].segment == line.segment:
            return self._at(i + 1, ProblemKind.REMOVED, entry=first, message=message + " from before this line")
        newer = after[0].segment + 1 if after else 0
        if newer < line.segment:
            return self._problem(ProblemKind.MISSING_SEGMENT, (newer, 0), entry=first, message=message, sealed=True)
        place = line.segment, line.number + 1
        return self._problem(
            ProblemKind.CUT, place, entry=first, message=message + " from the end of this file", sealed=True
        )

    def _lost(self, head: Head) -> Problem:
        """What was done to the entry the head names: no line has its digest."""
        n = head.count - 1
        numbers = [line.entry.n if line.entry else None for line in self._lines]
        if n in numbers:
            i = len(numbers) - 1 - numbers[::-1].index(n)
            return self._at(i, ProblemKind.EDITED, entry=n, message=f"entry {n} is not what was sealed")
        before = numbers.index(n - 1) if n - 1 in numbers else None
        if before is None:
            before = max((i for i, found in enumerate(numbers) if found is not None and found < n), default=-1)
        i = before + 1
        if i == len(numbers):
            if i == 0:
                return self._problem(
                    ProblemKind.MISSING_SEGMENT, (0, 0), entry=head.first, message="the log is gone", sealed=True
                )
            return self._gone(before, (numbers[before] or 0) + 1, n)
        line = self._lines[i]
        if line.entry is None:
            kind = ProblemKind.TORN if line.torn else ProblemKind.NOT_CANONICAL
            return self._at(i, kind, entry=n, message=f"this is not an entry; entry {n} was here")
        follows = i > 0 and bytes.fromhex(line.entry.prev) == self._lines[before].digest
        if follows or n == head.first:
            return self._at(i, ProblemKind.EDITED, entry=n, message=f"entry {n} is not what was sealed")
        return self._at(i, ProblemKind.REMOVED, entry=n, message=f"entry {n} is gone from before this line")

    def _walk_on(self, start: int) -> Problem | None:
        """The first break in the chain of the entries no head vouches for."""
        for i in range(start, len(self._lines)):
            line, before = self._lines[i], self._lines[i - 1] if i else None
            n = before.entry.n + 1 if before and before.entry else 0
            if line.torn:
                message = "this line is torn, by a crash or a full disk: the next entry made with the key replaces it"
                return self._at(i, ProblemKind.TORN, entry=n, message=message, sealed=False)
            if line.entry is None:
                return self._at(i, ProblemKind.NOT_CANONICAL, entry=n, message="this is not an entry", sealed=False)
            if before and line.entry.n != n:
                kind = ProblemKind.REMOVED if line.entry.n > n else ProblemKind.INSERTED
                return self._at(
                    i, kind, entry=n, message=f"entry {line.entry.n} is in the place of entry {n}", sealed=False
                )
            expected = before.digest if before else _NO_DIGEST
            if (before or line.entry.n == 0) and bytes.fromhex(line.entry.prev) != expected:
                message = f"entry {n}, or the one before it, is not what was written"
                return self._at(i, ProblemKind.EDITED, entry=n, message=message, sealed=False)
        return None


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
        rest, *pieces = (os.pread(descriptor, step, position) + rest).split(b"\n")
        yield from reversed(pieces)
    yield rest
