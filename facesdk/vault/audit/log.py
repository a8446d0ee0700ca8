"""The audit log of a user: what happened, when, with which outcome; hash-chained, its head sealed by the user's key."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from facesdk.digest import sha256
from facesdk.errors import InputError, VaultError, VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault import files
from facesdk.vault.audit.entry import FILES, NO_DIGEST, AuditEvent, Entry, Head
from facesdk.vault.audit.kept import KeptFailures
from facesdk.vault.audit.segments import MAX_SEGMENT, MAX_SEGMENTS, Segments
from facesdk.vault.audit.verify import Judge, Line, ProblemKind, Report, make_problem
from facesdk.vault.clock import boot_ns
from facesdk.vault.record import check_user

KEEP = 4  # full segments kept behind the current one


class AuditLog:
    """The log of a user in the folder of this descriptor. The caller holds the vault's lock: a shared one for check,
    verify and read, else an exclusive one.

    `<user>.audit` is the current segment, `<user>.audit.1` the newest full one; audit/kept.py keeps the failures of
    those that were let go. Segments are opened by the rules of files.read_guarded: VaultIntegrityError, VaultError;
    what the system refuses is its OSError.
    """

    def __init__(
        self, folder: int, user: str, *, max_segment: int = MAX_SEGMENT, keep: int = KEEP,
        wall: Callable[[], float] = time.time, boot_ns: Callable[[], int] = boot_ns,
    ) -> None:  # fmt: skip
        if not 1 <= keep < MAX_SEGMENTS or not 1 <= max_segment <= MAX_SEGMENT:
            raise InputError(f"keep must be within 1 and {MAX_SEGMENTS - 1}, max_segment within 1 and {MAX_SEGMENT}")
        self._folder = folder
        self._base = check_user(user) + ".audit"
        self._segments = Segments(folder, self._base, max_segment=max_segment)
        self._max_segment, self._keep = max_segment, keep
        self._wall, self._boot_ns = wall, boot_ns
        self._kept = KeptFailures(folder, self._base, room=max_segment)
        self._walked: tuple[object, tuple[int, bytes, list[Entry]]] | None = None

    def append(
        self,
        event: AuditEvent,
        *,
        head: Head | None,
        outcome: Decision | None = None,
        camera: str = FILES,
        policy: str = "",
    ) -> Head:
        """The head with one durable entry more, to be sealed before the next one; VaultIntegrityError when the log does
        not end in `head`, the one sealed on disk, or in entries whose chain continues from it. The head's open entries
        are written before it.

        After a failure or a kill the log still fits the old head, with the whole entry behind it or without it.
        Without a head (no key at hand) only the last line is checked, a torn line is refused instead of cut away, and
        nothing old is dropped.
        """
        return self._append(head, self._entry(event=event, outcome=outcome, camera=camera, policy=policy))

    def note(self, event: AuditEvent, *, waiting: Sequence[Entry], camera: str = FILES, policy: str = "") -> Head:
        """Append without the key, after the open entries of a head that cannot be opened here: the order holds."""
        oldest_ns = min((entry.boot_ns for entry in waiting), default=0)
        newer = itertools.takewhile(lambda entry: entry.boot_ns >= oldest_ns, self.recent()) if waiting else ()
        there = set(map(unplaced, newer))
        entry = self._entry(event=event, outcome=None, camera=camera, policy=policy)
        return self._append(None, *(e for e in waiting if e not in there), entry)

    def attempted(self, head: Head, *, camera: str, policy: str) -> tuple[Head, Entry]:
        """The entry of an attempt that was paid for, to be noted before its comparison, and the head to go on from:
        attempts that were never decided, and open entries that were written without the key, are in the log then."""
        behind = self._tail(head)[2]
        if behind or any(entry.event is AuditEvent.ATTEMPTED for entry in head.open):
            head = self._append(head)
        return head, self._entry(event=AuditEvent.ATTEMPTED, outcome=None, camera=camera, policy=policy)

    def matched(self, head: Head, attempt: Entry) -> Head:
        """The head in which the attempt is a match, one more of its presence where there is one."""
        match = replace(attempt, event=AuditEvent.VERIFIED, outcome=Decision.MATCH)
        joined = head.open[0].also(match) if head.open else None
        if head.open and joined is None:
            head = self._append(head)
        return replace(head, open=(joined or match,))

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever anything is appended to the log; cheaper than looking at its end."""
        return files.stamp(self._base, folder=self._folder)

    def events_since(self, head: Head) -> list[AuditEvent]:
        """What was logged behind this head, by whoever opened the key too or had none. Errors of check."""
        return [entry.event for entry in self._tail(head)[2]]

    def mismatched(self, head: Head, attempt: Entry) -> Head:
        """The head behind the attempt's entry as no match, to be sealed."""
        return self._append(head, mismatch_of(attempt))

    def at_end(self, head: Head) -> Head:
        """This head, moved behind what was logged without the key since. Errors of check."""
        number, prev, _ = self._tail(head)
        return replace(head, count=number, digest=prev, open=())

    def recent(self) -> Generator[Entry, None, None]:
        """The entries from the newest backwards, as far as asked for and as they can be read; no chain is checked."""
        with contextlib.suppress(VaultIntegrityError, VaultError):
            for line in self._segments.backwards(torn_allowed=True):
                entry = Entry.parse(line)
                if entry is None:
                    return
                yield entry

    def _append(self, head: Head | None, *entries: Entry) -> Head:
        number, prev, behind = self._tail(head)
        if head is not None:
            self._drop(head)
            # A kill between the log and its head has left open entries in both.
            there = set(map(unplaced, behind))
            entries = (*(e for e in head.open if not {e, mismatch_of(e)} & there), *entries)
        placed = []
        for entry in entries:
            placed.append(replace(entry, n=number, prev=prev.hex()))
            number, prev = number + 1, sha256(placed[-1].line())
        if not placed:  # all of them were there already
            assert head is not None
            return replace(head, count=number, digest=prev, open=())
        return self._write(placed, head)

    def check(self, head: Head) -> None:
        """Check the end of the log. VaultIntegrityError unless it is the sealed head, or entries whose chain continues
        from it. Reads the end only: what lies before the head is for `verify`."""
        self._tail(head)

    def verify(self, head: Head | None) -> Report:
        """What the log holds and the newest problem in it. Every change from head.first to the head is found; behind
        the head, and everywhere without one, only what breaks the chain."""
        lines: list[Line] = []
        problem = None
        for segment in reversed(self._segments.numbers()):
            try:
                lines += self._segments.lines(segment)
            except (VaultIntegrityError, VaultError) as error:
                place = segment, 0
                problem = make_problem(
                    ProblemKind.FOREIGN_FILE,
                    self._segments.name,
                    place,
                    entry=None,
                    message=str(error),
                    sealed=head is not None,
                )
        problem = problem or Judge(lines, head, name_of=self._segments.name, max_segment=self._max_segment).judge()
        numbers = [line.entry.n for line in lines if line.entry]
        first = max(min(numbers, default=0), head.first if head else 0)
        unsealed = sum(n >= (head.count if head else 0) for n in numbers)
        return Report(sum(n >= first for n in numbers), first, unsealed, problem or self._kept.problem(head))

    def check_files(self) -> None:
        """Check that each segment is a file as we keep it. The errors of files.open_guarded, which say what to do."""
        for segment in self._segments.numbers():
            os.close(self._segments.open(self._segments.name(segment), os.O_RDONLY))

    def read(self, head: Head | None = None) -> list[Entry]:
        """The entries, oldest first, without a torn one at the end; VaultIntegrityError for any other broken line. The
        chain is not checked. Before them the failures that were kept of older ones, with a head only those it names."""
        entries: list[Entry] = []
        for segment in reversed(self._segments.numbers()):
            for line in self._segments.lines(segment):
                if line.entry:
                    entries.append(line.entry)
                elif not line.torn or segment:
                    raise self._segments.broken(f"line {line.number} of {self._segments.name(segment)} is not an entry")
        first = min((entry.n for entry in entries), default=0)
        return [entry for entry in self._kept.read(head) if entry.n < first] + entries

    def restart(self, head: Head | None) -> Head:
        """The head of a new log, to be sealed: its one entry has the number and the `prev` that follow `head`. What was
        there is kept as `<user>.audit.broken-<n>`; a kill in between leaves a log to restart again."""
        pattern = re.compile(re.escape(self._base) + r"\.broken-([1-9][0-9]{0,8})")
        taken = max((int(m[1]) for m in map(pattern.fullmatch, os.listdir(self._folder)) if m), default=0)
        for index, segment in enumerate(self._segments.numbers(), taken + 1):
            self._segments.rename(self._segments.name(segment), f"{self._base}.broken-{index}")
        number, prev = (head.count, head.digest) if head else (0, NO_DIGEST)
        entry = self._entry(event=AuditEvent.LOG_RESTARTED, outcome=None, camera=FILES, policy="")
        return replace(self._write([replace(entry, n=number, prev=prev.hex())], None), open=())

    # --- writing

    def _entry(self, *, event: AuditEvent, outcome: Decision | None, camera: str, policy: str) -> Entry:
        """An entry that has no place in the log yet."""
        return Entry(
            n=0, time_unix_s=max(0, int(self._wall())), boot_ns=self._boot_ns(), event=event, outcome=outcome,
            camera=camera, policy=policy, prev=NO_DIGEST.hex(),
        )  # fmt: skip

    def _write(self, entries: Sequence[Entry], head: Head | None) -> Head:
        lines = [entry.line() for entry in entries]
        text = b"".join(line + b"\n" for line in lines)
        descriptor, size = self._segments.current(len(text), keyed=head is not None)
        try:
            first = self._first(entries[0], head)
            kept = NO_DIGEST if head is None else self._keep_failures(head, first)
            result = Head(first, entries[-1].n + 1, sha256(lines[-1]), kept)
            try:
                rest = memoryview(text)
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

    def _drop(self, head: Head) -> None:
        """Removes segments that the sealed head has let go already, the oldest first."""
        for segment in reversed(self._segments.numbers()[self._keep + 1 :]):
            number = self._segments.first_number(segment)
            if number is not None and number < head.first:
                os.unlink(self._segments.name(segment), dir_fd=self._folder)
                os.fsync(self._folder)
        self._kept.drop(but=head.kept)

    def _keep_failures(self, head: Head, first: int) -> bytes:
        """The digest of the file with the failures before `first`, some of which are let go with their segment now."""
        if first == head.first:
            return head.kept
        problem = self.verify(head).problem  # what is let go now is vouched for by nobody else afterwards
        if problem is not None and problem.sealed:
            raise self._segments.broken(problem.message)
        let_go = [
            line.entry
            for segment in self._segments.numbers()[self._keep + 1 :]
            for line in self._segments.lines(segment)
        ]
        return self._kept.write(head.kept, [entry for entry in let_go if entry and entry.n < first])

    def _first(self, entry: Entry, head: Head | None) -> int:
        """The oldest entry the new head vouches for. Segments beyond KEEP are let go here and removed by `_drop` once
        this head is sealed, so that no head ever asks for what is gone; one that cannot be read is never let go."""
        segments = self._segments.numbers()
        if head is not None and len(segments) <= self._keep + 1:
            return head.first
        number = self._segments.first_number(segments[: self._keep + 1][-1])
        if number is None:
            number = head.first if head else entry.n if len(segments) == 1 else 0
        return max(number, head.first if head else 0)

    def _tail(self, head: Head | None) -> tuple[int, bytes, list[Entry]]:
        """Number and `prev` of the entry that comes next, the chain walked back to the head's entry, and the entries
        behind that. Walked again only where the log has changed since."""
        asked = self.stamp(), head
        if self._walked is None or self._walked[0] != asked:
            self._walked = asked, self._walk_back(head)
        return self._walked[1]

    def _walk_back(self, head: Head | None) -> tuple[int, bytes, list[Entry]]:
        following: tuple[int, bytes] | None = None
        behind: list[Entry] = []
        number, wanted = 0, NO_DIGEST
        with contextlib.closing(self._segments.backwards(torn_allowed=head is not None)) as lines:
            for line in lines:
                digest = sha256(line)
                if head is not None and following is None and digest == head.digest:  # these are the sealed bytes
                    return head.count, digest, []
                entry = Entry.parse(line)
                if entry is None:
                    raise self._segments.broken("its last lines are not entries")
                if following is None:
                    following = entry.n + 1, digest
                elif (entry.n, digest) != (number, wanted):
                    raise self._segments.broken(f"entry {number} is not what the one after it says")
                if head is None or (entry.n, digest) == (head.count - 1, head.digest):
                    return (*following, behind[::-1])
                if entry.n < head.count:
                    break
                behind.append(entry)
                number, wanted = entry.n - 1, bytes.fromhex(entry.prev)
        if head is not None:
            raise self._segments.broken(f"it does not end in the sealed entry {head.count - 1}")
        return 0, NO_DIGEST, []


def mismatch_of(attempt: Entry) -> Entry:
    """What an attempt is in the log when it was no match."""
    return replace(attempt, event=AuditEvent.VERIFIED, outcome=Decision.NON_MATCH)


def unplaced(entry: Entry) -> Entry:
    """The entry as it was before it had a place in the log."""
    return replace(entry, n=0, prev=NO_DIGEST.hex())
