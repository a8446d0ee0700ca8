"""Whether the lines of an audit log are those that were written, and if not, where and what was done to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from facesdk.vault.audit.entry import MAX_LINE, NO_DIGEST, Entry, Head


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
class Line:
    """A line as it was found; a torn one has neither entry nor digest."""

    segment: int
    number: int
    entry: Entry | None
    digest: bytes
    torn: bool = False


def make_problem(
    kind: ProblemKind, name_of: Callable[[int], str], place: tuple[int, int], *, entry: int | None, message: str,
    sealed: bool,
) -> Problem:  # fmt: skip
    """The problem at a place, (segment, line)."""
    return Problem(kind=kind, file=name_of(place[0]), line=place[1], entry=entry, sealed=sealed, message=message)


class Judge:
    """Finds the newest problem in the lines of a log. Going back from the line the head names, each line that is as its
    follower says is genuine, so the first one that is not is where something was done."""

    def __init__(
        self, lines: list[Line], head: Head | None, *, name_of: Callable[[int], str], max_segment: int
    ) -> None:
        self._lines, self._head = lines, head
        self._name_of, self._max_segment = name_of, max_segment

    def judge(self) -> Problem | None:
        if self._head is None:
            return self._walk_on(0)
        places = [i for i, line in enumerate(self._lines) if line.digest == self._head.digest]
        if not places:
            return self._lost(self._head)
        return self._walk_back(places[-1], self._head) or self._walk_on(places[-1] + 1)

    def _made(
        self, kind: ProblemKind, place: tuple[int, int], *, entry: int | None, message: str, sealed: bool
    ) -> Problem:
        return make_problem(kind, self._name_of, place, entry=entry, message=message, sealed=sealed)

    def _at(self, i: int, kind: ProblemKind, *, entry: int, message: str, sealed: bool = True) -> Problem:
        place = self._lines[i].segment, self._lines[i].number
        return self._made(kind, place, entry=entry if entry >= 0 else None, message=message, sealed=sealed)

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
            return self._made(ProblemKind.MISSING_SEGMENT, (newer, 0), entry=first, message=message, sealed=True)
        place = line.segment, line.number + 1
        return self._made(
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
                return self._made(
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
            expected = before.digest if before else NO_DIGEST
            if (before or line.entry.n == 0) and bytes.fromhex(line.entry.prev) != expected:
                message = f"entry {n}, or the one before it, is not what was written"
                return self._at(i, ProblemKind.EDITED, entry=n, message=message, sealed=False)
        return None
