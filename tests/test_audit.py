"""The audit log keeps what happened; whatever is done to it is found and located; no fault or kill breaks it."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.errors import InputError, StoreError, StoreIntegrityError
from facesdk.types import Decision
from facesdk.vault import audit, files
from facesdk.vault.audit import AuditLog
from facesdk.vault.audit_entry import HEAD_SIZE, MAX_LINE, Entry, Event, Head, open_head, seal_head
from facesdk.vault.audit_verify import Problem, ProblemKind

SMALL = 1200  # bytes of a segment: five entries
KEY = bytes(range(32))
Kind = ProblemKind


class Log:
    """A log in a folder of its own, with the head that would be sealed."""

    def __init__(self, path: Path, *, head: Head | None = None, **limits: int) -> None:
        self.path, self.head = path, head
        path.mkdir(mode=0o700, exist_ok=True)
        self.folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        limits = {"max_segment": SMALL, "keep": 2, **limits}
        self.log = AuditLog(self.folder, "alice", wall=lambda: 1.7e9, boot_ns=lambda: 42_000_000_000, **limits)

    def append(self, count: int = 1, *, keyed: bool = True) -> None:
        for _ in range(count):
            if keyed:
                self.head = self.log.append(
                    Event.VERIFIED, head=self.head, outcome=Decision.MATCH, policy="phone 2e-05"
                )
            else:
                self.log.append(Event.PASSPHRASE_REFUSED, head=None)

    def problem(self) -> Problem | None:
        return self.log.verify(self.head).problem

    def file(self, segment: int = 0) -> Path:
        return self.path / ("alice.audit" + (f".{segment}" if segment else ""))

    def names(self) -> list[str]:
        return sorted(p.name for p in self.path.iterdir())

    def copy(self, to: Path) -> Log:
        shutil.copytree(self.path, to)
        return Log(to, head=self.head)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    made = []

    def log(entries: int = 0, *, unsealed: int = 0, name: str = "log", **limits: int) -> Log:
        made.append(Log(tmp_path / name, **limits))
        made[-1].append(entries)
        made[-1].append(unsealed, keyed=False)
        assert made[-1].problem() is None
        if entries:
            made[-1].log.check(made[-1].head)
        return made[-1]

    yield log
    for one in made:
        os.close(one.folder)


def refused(log: Log) -> None:
    """check and append refuse the log, and append writes nothing."""
    before = {p.name: p.read_bytes() for p in log.path.iterdir() if p.is_file() and not p.is_symlink()}
    for action in (lambda: log.log.check(log.head), lambda: log.log.append(Event.VERIFIED, head=log.head)):
        with pytest.raises(StoreIntegrityError, match="facesdk audit --restart"):
            action()
    assert before == {p.name: p.read_bytes() for p in log.path.iterdir() if p.is_file() and not p.is_symlink()}


# --- entries


def test_round_trip(make: Callable[..., Log]) -> None:
    log = make()
    assert log.log.read() == []
    assert log.log.verify(None) == audit.Report(0, 0, 0, None)
    log.head = log.log.append(Event.ENROLLED, head=None)
    log.head = log.log.append(
        Event.VERIFIED, head=log.head, outcome=Decision.NON_MATCH, camera="/dev/video0", policy="phone 2e-05"
    )
    first, second = log.log.read()
    assert (first.n, first.event, first.outcome, first.prev) == (0, Event.ENROLLED, None, "0" * 64)
    assert second == Entry(
        n=1, time_unix_s=1_700_000_000, boot_ns=42_000_000_000, event=Event.VERIFIED, outcome=Decision.NON_MATCH,
        camera="/dev/video0", policy="phone 2e-05", prev=audit.sha256(first.line()).hex(),
    )  # fmt: skip
    assert log.head == Head(0, 2, audit.sha256(second.line()))
    assert log.log.verify(log.head) == audit.Report(2, 0, 0, None)
    assert log.file().read_bytes() == first.line() + b"\n" + second.line() + b"\n"
    assert log.file().stat().st_mode & 0o777 == 0o600
    log.log.check(log.head)
    log.log.check(Head(0, 1, audit.sha256(first.line())))


def test_the_encoding_is_fixed(make: Callable[..., Log]) -> None:
    log = make(1)
    assert log.file().read_bytes() == (
        b'{"boot_ns":42000000000,"camera":"files","event":"verified","n":0,"outcome":"match","policy":"phone 2e-05",'
        b'"prev":"' + b"0" * 64 + b'","time_unix_s":1700000000}\n'
    )
    assert len(big_entry().line()) <= MAX_LINE


def big_entry() -> Entry:
    longest = max(Event, key=lambda event: len(event.value))
    outcome = max(Decision, key=lambda decision: len(decision.value))
    top = 2**63 - 1
    return Entry(
        n=top, time_unix_s=top, boot_ns=top, event=longest, outcome=outcome, camera="c" * 64, policy="p" * 48,
        prev="f" * 64,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"n": -1}, {"n": 2**63}, {"n": True}, {"n": 1.0}, {"time_unix_s": -1}, {"boot_ns": "1"},
        {"event": "verified"}, {"outcome": "match"}, {"outcome": 0.93}, {"camera": ""}, {"camera": "c" * 65},
        {"camera": 'a"b'}, {"camera": "a\\b"}, {"camera": "a\nb"}, {"camera": "\x1b[31m"}, {"camera": "ü"},
        {"policy": "p" * 49}, {"policy": b"x"}, {"policy": "\x7f"}, {"prev": "0" * 63}, {"prev": "F" * 64},
    ],
)  # fmt: skip
def test_entries_are_checked_when_made(change: dict[str, Any]) -> None:
    good = dataclasses.asdict(big_entry())
    assert Entry(**good) == Entry.parse(Entry(**good).line())
    with pytest.raises(InputError):
        Entry(**good | change)


def test_only_the_fields_there_are_go_in() -> None:
    assert {f.name for f in dataclasses.fields(Entry)} == {
        "n", "time_unix_s", "boot_ns", "event", "outcome", "camera", "policy", "prev"
    }  # fmt: skip
    with pytest.raises(TypeError):
        Entry(**dataclasses.asdict(big_entry()), score=0.9)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: b"",
        lambda line: b"null",
        lambda line: b"[]",
        lambda line: b"[" * 512,
        lambda line: b'{"a":' * 100,
        lambda line: line + b" ",
        lambda line: line.replace(b'"n":', b'"n": '),
        lambda line: line.replace(b'"n":', b'"n":1,"n":'),
        lambda line: line.replace(b'"n":', b'"score":0.9,"n":'),
        lambda line: line.replace(b"locked_out", b"unlocked_by_magic"),
        lambda line: line.replace(b'"event"', b'"Event"'),
        lambda line: line.replace(b'"outcome":"', b'"outcome":"x'),
        lambda line: line.replace(b"cc", b"\\u0063c", 1),
        lambda line: line.replace(b"cc", b"\xff\xff", 1),
        lambda line: line.decode().encode("utf-16"),
        lambda line: line.replace(b'"c', b'"' + b"c" * 64),
        lambda line: line.replace(b'"c', b'"' + b"c" * 300),
        lambda line: json.dumps(json.loads(line)).encode(),
        lambda line: json.dumps({**json.loads(line), "event": []}).encode(),
    ],
)  # fmt: skip
def test_lines_that_are_no_entries(change: Callable[[bytes], bytes]) -> None:
    entry = dataclasses.replace(big_entry(), event=Event.LOCKED_OUT, camera="cc")
    line = entry.line()
    assert Entry.parse(line) == entry
    assert change(line) != line
    assert Entry.parse(change(line)) is None


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=600))
def test_random_lines_are_no_entries(data: bytes) -> None:
    assert Entry.parse(data) is None


def test_limits_are_checked(make: Callable[..., Log]) -> None:
    for limits in ({"keep": 0}, {"keep": 64}, {"max_segment": 0}, {"max_segment": audit.MAX_SEGMENT + 1}):
        with pytest.raises(InputError):
            AuditLog(0, "alice", **limits)
    with pytest.raises(InputError):
        AuditLog(0, "../alice")


# --- the sealed head


def test_head_every_bit_flipped_and_every_length() -> None:
    head = Head(3, 10, bytes(range(32)))
    sealed = seal_head(KEY, head, user="alice")
    assert open_head(KEY, sealed, user="alice") == head
    assert len(sealed) == HEAD_SIZE == 86
    assert sealed[:10] == b"facehead\1\0"
    for position in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[position] ^= 1 << bit
            with pytest.raises(StoreIntegrityError):
                open_head(KEY, bytes(altered), user="alice")
    for altered_bytes in [sealed[:i] for i in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(StoreIntegrityError):
            open_head(KEY, altered_bytes, user="alice")
    for key, user in ((bytes(32), "alice"), (KEY, "bob")):
        with pytest.raises(StoreIntegrityError, match="altered or sealed by another key"):
            open_head(key, sealed, user=user)


def test_a_sealed_head_that_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_head(KEY, Head(0, 1, bytes(32)), user="alice", entropy=bytes)
    assert open_head(KEY, sealed, user="alice") == Head(0, 1, bytes(32))
    monkeypatch.setattr(Head, "__post_init__", lambda self: None)
    sealed = seal_head(KEY, Head(2, 1, bytes(32)), user="alice")
    monkeypatch.undo()
    with pytest.raises(StoreIntegrityError):
        open_head(KEY, sealed, user="alice")
    for first, count, digest in ((0, 0, bytes(32)), (1, 1, bytes(32)), (-1, 1, bytes(32)), (0, 1, b"")):
        with pytest.raises(InputError):
            Head(first, count, digest)


# --- rotation


def test_rotation_keeps_the_chain_and_moves_the_first(make: Callable[..., Log]) -> None:
    log = make()
    firsts = []
    for i in range(60):
        log.append()
        assert log.problem() is None
        log.log.check(log.head)
        assert log.head is not None
        firsts.append(log.head.first)
        report = log.log.verify(log.head)
        assert (report.first, report.entries, report.unsealed) == (firsts[-1], i + 1 - firsts[-1], 0)
    assert firsts == sorted(firsts)
    assert firsts[-1] >= 40
    assert log.names() == ["alice.audit", "alice.audit.1", "alice.audit.2"]
    numbers = [entry.n for entry in log.log.read()]
    assert numbers == list(range(firsts[-1], 60))
    assert all(log.file(i).stat().st_size <= SMALL for i in range(3))


def test_what_was_let_go_is_removed_after_its_head_was_sealed(make: Callable[..., Log]) -> None:
    log = make(15)
    assert len(log.names()) == 3
    old = log.head
    log.append()
    assert len(log.names()) == 4
    # The new head was never sealed: the old one finds all it asks for, and the next append goes on from it.
    assert log.log.verify(old).problem is None
    assert log.log.verify(log.head).problem is None
    log.file(3).unlink()
    assert log.log.verify(log.head).problem is None
    found = log.log.verify(old).problem
    assert found is not None
    assert found.kind is Kind.MISSING_SEGMENT


def test_without_the_key_nothing_is_dropped_and_there_is_an_end(make: Callable[..., Log]) -> None:
    log = make(3)
    with pytest.raises(StoreError, match="unlock with the passphrase"):
        log.append(1000, keyed=False)
    assert len(log.names()) == audit.MAX_SEGMENTS
    report = log.log.verify(log.head)
    assert (report.first, report.problem) == (0, None)
    assert report.unsealed == report.entries - 3 > 300
    with pytest.raises(StoreError, match="unlock with the passphrase"):
        log.append(keyed=False)


def test_the_unsealed_tail_is_sealed_by_the_next_entry_with_the_key(make: Callable[..., Log]) -> None:
    log = make(3, unsealed=20)
    assert log.log.verify(log.head).unsealed == 20
    log.append()
    assert log.log.verify(log.head) == audit.Report(log.head.count - log.head.first, log.head.first, 0, None)
    assert log.head.count == 24
    log.append()
    assert len(log.names()) == 3
    assert log.problem() is None


# --- attacks on the bytes


def write(log: Log, contents: list[list[bytes]]) -> None:
    """The segments, oldest first, each a list of lines without their newlines."""
    for segment, lines in zip(range(len(contents) - 1, -1, -1), contents, strict=True):
        log.file(segment).write_bytes(b"".join(line + b"\n" for line in lines))


def contents(log: Log) -> list[list[bytes]]:
    count = len(log.names())
    return [log.file(segment).read_bytes().split(b"\n")[:-1] for segment in range(count - 1, -1, -1)]


def test_every_bit_flipped(make: Callable[..., Log]) -> None:
    log = make(8, keep=4)
    assert log.names() == ["alice.audit", "alice.audit.1"]
    for segment in (0, 1):
        data = log.file(segment).read_bytes()
        for position in range(len(data)):
            line = data[:position].count(b"\n") + 1
            for bit in range(8):
                altered = bytearray(data)
                altered[position] ^= 1 << bit
                log.file(segment).write_bytes(altered)
                found = log.problem()
                assert found is not None
                assert found.sealed
                assert found.file == log.file(segment).name
                # A newline made of another byte leaves two broken lines: the later one is named.
                lines = (line, line + 1) if altered[position] == 10 else (line,)
                assert found.line in lines, (found, position, bit)
                assert found.kind in (Kind.EDITED, Kind.NOT_CANONICAL, Kind.TORN)
        log.file(segment).write_bytes(data)
    assert log.problem() is None


def test_the_end_flipped_is_refused_before_a_verification(make: Callable[..., Log]) -> None:
    log = make(3, unsealed=2)
    data = log.file().read_bytes()
    sealed_end = [i for i, byte in enumerate(data) if byte == 10][2]
    last = data[:-1].rindex(b"\n") + 1
    for position in range(data[:sealed_end].rindex(b"\n") + 1, last):
        altered = bytearray(data)
        altered[position] ^= 1
        log.file().write_bytes(altered)
        with pytest.raises(StoreIntegrityError):
            log.log.check(log.head)
    log.file().write_bytes(data)
    log.log.check(log.head)


def test_every_line_removed(make: Callable[..., Log]) -> None:
    log = make(12, keep=4)
    genuine = contents(log)
    for s, lines in enumerate(genuine):
        for i in range(len(lines)):
            write(log, [part if j != s else lines[:i] + lines[i + 1 :] for j, part in enumerate(genuine)])
            found = log.problem()
            assert found is not None
            number = Entry.parse(lines[i]).n
            assert (found.entry, found.sealed) == (number, True)
            assert found.kind in (Kind.REMOVED, Kind.CUT)
            at_edge = i in (0, len(lines) - 1)
            assert at_edge or (found.file, found.line) == (log.file(len(genuine) - 1 - s).name, i + 1)
            if number == 11:
                assert found.kind is Kind.CUT
                refused(log)
    write(log, genuine)
    assert log.problem() is None


def test_every_line_duplicated_and_every_pair_swapped(make: Callable[..., Log]) -> None:
    log = make(12, keep=4)
    genuine = contents(log)
    places = [(s, i) for s, lines in enumerate(genuine) for i in range(len(lines))]
    for s, i in places:
        altered = [list(lines) for lines in genuine]
        altered[s].insert(i, altered[s][i])
        write(log, altered)
        found = log.problem()
        assert found is not None
        assert found.sealed
        assert (found.kind, found.file) == (Kind.INSERTED, log.file(len(genuine) - 1 - s).name)
        assert found.line == i + 1
    for one, (s, i) in enumerate(places):
        for t, j in places[:one]:
            altered = [list(lines) for lines in genuine]
            altered[s][i], altered[t][j] = altered[t][j], altered[s][i]
            write(log, altered)
            found = log.problem()
            assert found is not None
            assert found.sealed
            assert found.kind is Kind.REORDERED
            if (s, i) != places[-1]:  # else the head's own line was moved: what is left around it is named
                assert (found.file, found.line) == (log.file(len(genuine) - 1 - s).name, i + 1)
    write(log, genuine)
    assert log.problem() is None


def test_every_number_edited(make: Callable[..., Log]) -> None:
    log = make(5)
    [genuine] = contents(log)
    for i, line in enumerate(genuine):
        entry = Entry.parse(line)
        assert entry is not None
        for n in range(10):
            forged = dataclasses.replace(entry, n=n).line()
            write(log, [[*genuine[:i], forged, *genuine[i + 1 :]]])
            found = log.problem()
            if n == i:
                assert found is None
                continue
            assert found is not None
            assert (found.kind, found.line, found.entry, found.sealed) == (Kind.EDITED, i + 1, i, True)


def test_forged_lines_with_a_chain_made_to_fit(make: Callable[..., Log]) -> None:
    """Who has no key can compute every hash, but not the head."""
    log = make(5)
    [genuine] = contents(log)
    for i in range(5):
        altered, prev = genuine[:i], genuine[i - 1] if i else None
        for line in genuine[i:]:
            entry = Entry.parse(line)
            assert entry is not None
            outcome = Decision.NON_MATCH if entry.n == i else entry.outcome
            digest = audit.sha256(prev).hex() if prev else "0" * 64
            prev = dataclasses.replace(entry, outcome=outcome, prev=digest).line()
            altered.append(prev)
        write(log, [altered])
        found = log.problem()
        assert found is not None
        assert (found.kind, found.sealed, found.line) == (Kind.EDITED, True, 5)
        refused(log)


def test_every_cut(make: Callable[..., Log]) -> None:
    log = make(7, keep=4)
    for segment in (0, 1):
        data = log.file(segment).read_bytes()
        for length in range(len(data)):
            log.file(segment).write_bytes(data[:length])
            found = log.problem()
            assert found is not None
            assert found.sealed
            kinds = {Kind.TORN} if data[:length][-1:] not in (b"", b"\n") else {Kind.CUT, Kind.MISSING_SEGMENT}
            assert found.kind in kinds
            if segment == 0:
                refused(log)
        log.file(segment).write_bytes(data)
    assert log.problem() is None


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_mixture_of_lines_passes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = Log(tmp_path_factory.mktemp("mixture"), keep=4)
    log.append(7)
    genuine = contents(log)
    lines = [line for part in genuine for line in part]
    picked = st.lists(st.sampled_from([*lines, big_entry().line(), b"", b"{}"]), max_size=7)
    altered = [data.draw(picked), data.draw(picked)]
    write(log, altered)
    joined = [line for part in altered for line in part]
    found = log.problem()
    if joined == lines:
        assert found is None
    elif joined[: len(lines)] == lines:
        assert found is not None
        assert not found.sealed
    else:
        assert found is not None
        assert found.sealed
    os.close(log.folder)


# --- attacks on the files


@pytest.mark.parametrize("segment", [0, 1, 2])
@pytest.mark.parametrize("change", ["removed", "emptied"])
def test_segments_removed_or_emptied(make: Callable[..., Log], segment: int, change: str) -> None:
    log = make(12, keep=4)
    if change == "removed":
        log.file(segment).unlink()
    else:
        log.file(segment).write_bytes(b"")
    found = log.problem()
    assert found is not None
    assert found.sealed
    assert found.kind in ((Kind.CUT, Kind.MISSING_SEGMENT) if change == "emptied" else (Kind.MISSING_SEGMENT,))
    if segment < 2:
        assert found.file == log.file(segment).name
    if segment == 0:
        refused(log)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (0, 2)])
def test_segments_swapped(make: Callable[..., Log], one: int, other: int) -> None:
    log = make(12, keep=4)
    log.file(one).rename(log.path / "aside")
    log.file(other).rename(log.file(one))
    (log.path / "aside").rename(log.file(other))
    found = log.problem()
    assert found is not None
    assert (found.kind, found.sealed) == (Kind.REORDERED, True)


def test_everything_removed(make: Callable[..., Log]) -> None:
    log = make(3)
    log.file().unlink()
    found = log.problem()
    assert found is not None
    assert (found.kind, found.file, found.entry) == (Kind.MISSING_SEGMENT, "alice.audit", 0)
    refused(log)


def test_an_older_log_put_back(make: Callable[..., Log]) -> None:
    log = make(3)
    older = log.file().read_bytes()
    log.append(2)
    log.file().write_bytes(older)
    found = log.problem()
    assert found is not None
    assert (found.kind, found.entry, found.line) == (Kind.CUT, 3, 4)
    refused(log)


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "folder", "too long", "mode"])
def test_something_else_in_place_of_a_segment(
    make: Callable[..., Log], tmp_path: Path, segment: int, kind: str
) -> None:
    log = make(7, keep=4)
    path, aside = log.file(segment), tmp_path / "aside"
    if kind == "mode":
        path.chmod(0o640)
    else:
        path.rename(aside)
    actions: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to(aside),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "hard link": lambda: path.hardlink_to(aside),
        "fifo": lambda: os.mkfifo(path, 0o600),
        "folder": lambda: path.mkdir(0o600),
        "too long": lambda: (path.touch(0o600), os.truncate(path, 2 * audit.MAX_SEGMENT)),
        "mode": lambda: None,
    }
    actions[kind]()
    found = log.problem()
    assert found is not None
    assert (found.kind, found.file, found.line) == (Kind.FOREIGN_FILE, path.name, 0)
    if segment == 0:
        for action in (lambda: log.log.check(log.head), lambda: log.log.append(Event.PANIC, head=None)):
            with pytest.raises((StoreIntegrityError, StoreError), match=r"chmod 600|audit --restart"):
                action()
        assert not (tmp_path / "nowhere").exists()
    if kind == "mode":
        path.chmod(0o600)
        assert log.problem() is None
    else:
        restarted(log)


def test_a_planted_older_segment_is_found(make: Callable[..., Log]) -> None:
    log = make(7, keep=4)
    log.file(2).write_bytes(big_entry().line() + b"\n")
    log.file(2).chmod(0o600)
    found = log.problem()
    assert found is not None
    assert (found.kind, found.file, found.line, found.entry) == (Kind.INSERTED, "alice.audit.2", 1, None)
    log.append(40)
    assert log.file(2).exists()


def test_other_names_are_no_segments(make: Callable[..., Log]) -> None:
    log = make(3)
    for name in (
        "alice.audit.0",
        "alice.audit.01",
        "alice.audit.x",
        "alice.audit.1.audit",
        "bob.audit",
        "xalice.audit",
    ):
        (log.path / name).write_bytes(b"?")
    assert log.problem() is None
    log.append(20)
    assert log.problem() is None


# --- the unsealed tail


def test_what_can_and_cannot_be_found_in_the_unsealed_tail(make: Callable[..., Log]) -> None:
    log = make(2, unsealed=3, max_segment=audit.MAX_SEGMENT)
    [lines] = contents(log)
    for altered, kind in (
        ([*lines[:3], lines[4]], Kind.REMOVED),
        ([*lines[:2], lines[3], lines[4]], Kind.REMOVED),
        ([*lines[:3], lines[2], *lines[3:]], Kind.INSERTED),
        ([*lines[:2], lines[2].replace(b"files", b"filez"), *lines[3:]], Kind.EDITED),
        ([*lines, b"{}"], Kind.NOT_CANONICAL),
    ):
        write(log, [altered])
        found = log.problem()
        assert found is not None
        assert (found.kind, found.sealed) == (kind, False)
        refused(log)
    # Cutting it whole, or writing it anew with hashes that fit, needs no key: docs/audit-log.md says so.
    write(log, [lines[:2]])
    assert log.problem() is None
    write(log, [[*lines[:4], lines[4].replace(b"files", b"filez")]])
    assert log.problem() is None


def test_a_torn_line_behind_the_head_is_reported_and_cut_by_the_next_append(make: Callable[..., Log]) -> None:
    log = make(3)
    whole = log.file().read_bytes()
    extra = make(4, name="other").file().read_bytes()[len(whole) :]
    for torn in [extra[:i] for i in range(1, len(extra))] + [bytes(200), b"\xff"]:
        log.file().write_bytes(whole + torn)
        found = log.problem()
        assert found is not None
        assert (found.kind, found.line, found.entry, found.sealed) == (Kind.TORN, 4, 3, False)
        log.log.check(log.head)
        assert len(log.log.read()) == 3
        with pytest.raises(StoreIntegrityError, match="torn"):
            log.log.append(Event.PANIC, head=None)
        assert log.file().read_bytes() == whole + torn
        new = log.log.append(Event.VERIFIED, head=log.head)
        assert log.log.verify(new) == audit.Report(4, 0, 0, None)


# --- restart


def restarted(log: Log) -> None:
    before = log.head
    log.head = log.log.restart(before)
    assert log.head.count == log.head.first + 1 == before.count + 1
    assert log.log.verify(log.head) == audit.Report(1, before.count, 0, None)
    [entry] = log.log.read()
    assert (entry.event, entry.n, entry.prev) == (Event.LOG_RESTARTED, before.count, before.digest.hex())
    log.append(3)
    assert log.problem() is None


def test_restart_keeps_the_broken_segments(make: Callable[..., Log]) -> None:
    log = make(12, keep=4)
    pieces = {log.file(i).read_bytes() for i in range(3)}
    restarted(log)
    assert {(log.path / f"alice.audit.broken-{i}").read_bytes() for i in (1, 2, 3)} == pieces
    restarted(log)
    assert (log.path / "alice.audit.broken-4").exists()
    log.head = log.log.restart(None)
    assert log.head.first == 0
    assert log.log.read()[0].prev == "0" * 64


def test_read_refuses_a_broken_line(make: Callable[..., Log]) -> None:
    log = make(3)
    log.file().write_bytes(log.file().read_bytes().replace(b"match", b"mate!", 1))
    with pytest.raises(StoreIntegrityError, match=r"line 1 of alice\.audit"):
        log.log.read()


# --- faults

CALLS = ("write", "fsync", "rename", "ftruncate", "unlink", "open", "fchmod")


class Faults:
    """Stands in front of the calls that change files, and lets `act` do something at the k-th one."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, act: Callable[[Callable[[], Any], str, Any], Any]) -> None:
        self.calls: list[str] = []
        for name in CALLS:
            patch.setattr(os, name, self._standing_in(name, getattr(os, name), at, act))

    def _standing_in(self, name: str, real: Callable[..., Any], at: int, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*arguments, **options)
            self.calls.append(name)
            if len(self.calls) - 1 != at:
                return real(*arguments, **options)
            return act(lambda *other: real(*(other or arguments), **options), name, arguments)

        return call


def scenario(name: str, log: Log) -> None:
    """Brings a log to where the next append does what the name says."""
    count = {"first": 0, "plain": 3, "rotate": 5, "shift": 10, "let go": 15, "drop": 16, "torn": 3, "torn rotate": 5}[
        name
    ]
    log.append(count)
    if name.startswith("torn"):
        log.file().write_bytes(log.file().read_bytes() + b'{"boot_ns":4')


SCENARIOS = ["first", "plain", "rotate", "shift", "let go", "drop", "torn", "torn rotate"]


def recovered(log: Log) -> None:
    """The old head still fits, with at most one entry more behind it; the next append makes all whole again."""
    report = log.log.verify(log.head)
    assert report.unsealed <= 1
    assert report.problem is None or (report.problem.kind, report.problem.sealed) == (Kind.TORN, False)
    if log.head:
        log.log.check(log.head)
    elif report.problem:  # a torn first entry, before any head was sealed
        log.head = log.log.restart(None)
    for _ in range(7):
        log.append()
        report = log.log.verify(log.head)
        assert (report.problem, report.unsealed) == (None, 0)


def run_child(action: Callable[[], None]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests' threads; the child only does system calls
        child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_call(make: Callable[..., Log], tmp_path: Path, name: str) -> None:
    base = make()
    scenario(name, base)
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, -1, lambda *_: None)
        good = base.copy(tmp_path / "good")
        good.append()
    assert good.problem() is None
    assert len(faults.calls) >= 3
    modes: dict[str, Callable[..., Any]] = {
        "before": lambda real, name, arguments: os._exit(9),
        "after": lambda real, name, arguments: (real(), os._exit(9)),
        "half": lambda real, name, arguments: (real(arguments[0], bytes(arguments[1])[:20]), os._exit(9)),
    }
    for at, call in enumerate(faults.calls):
        for mode, act in modes.items():
            if mode == "half" and call != "write":
                continue
            log = base.copy(tmp_path / f"{at} {mode}")

            def victim(log: Log = log, at: int = at, act: Callable[..., Any] = act) -> None:
                with pytest.MonkeyPatch.context() as patch:
                    Faults(patch, at, act)
                    log.append()

            assert run_child(victim) == 9
            recovered(log)
            os.close(log.folder)
    os.close(good.folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_failing_at_every_call(make: Callable[..., Log], tmp_path: Path, name: str, lasting: bool, code: int) -> None:
    """Each call fails once, or it and all later ones; a write also after half of the line."""
    base = make()
    scenario(name, base)
    with pytest.MonkeyPatch.context() as patch:
        calls = Faults(patch, -1, lambda *_: None).calls
        good = base.copy(tmp_path / "good")
        good.append()
    assert good.problem() is None

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    for at, call in enumerate(calls):
        for half in (False, True) if call == "write" else (False,):
            log = base.copy(tmp_path / f"{at} {half}")
            with pytest.MonkeyPatch.context() as patch:

                def act(
                    real: Callable[..., Any], name: str, arguments: Any,
                    half: bool = half, patch: pytest.MonkeyPatch = patch,
                ) -> Any:  # fmt: skip
                    for other in CALLS if lasting else ("write",) if half else ():
                        patch.setattr(os, other, fail if not half or other != "open" else getattr(os, other))
                    return real(arguments[0], bytes(arguments[1])[:20]) if half else fail()

                Faults(patch, at, act)
                with pytest.raises(OSError, match=os.strerror(code)):
                    log.log.append(Event.VERIFIED, head=log.head)
            if not lasting and call == "write" and not name.startswith("torn"):
                assert log.log.verify(log.head).problem is None
            recovered(log)
            os.close(log.folder)
    os.close(good.folder)


def test_short_writes_are_completed(make: Callable[..., Log], monkeypatch: pytest.MonkeyPatch) -> None:
    log, real = make(1), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, bytes(content[:7])))
    log.append(8)
    assert log.problem() is None


def test_the_entry_is_durable_before_the_head_is_returned(
    make: Callable[..., Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make(5)
    faults = Faults(monkeypatch, -1, lambda *_: None)
    log.append()
    assert faults.calls == ["open", "rename", "fsync", "open", "fchmod", "fsync", "write", "fsync"]


@pytest.mark.parametrize("at", range(12))
def test_restart_killed_at_every_call_can_be_done_again(make: Callable[..., Log], at: int) -> None:
    log = make(12, keep=4)
    log.file().write_bytes(b"broken\n")

    def victim() -> None:
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, at, lambda *_: os._exit(9))
            log.log.restart(log.head)
        os._exit(0)

    assert run_child(victim) == (9 if at < 11 else 0)
    found = log.problem()
    assert found is not None
    assert found.sealed
    restarted(log)


WRITER = """
import os, sys
from facesdk.vault import files
from facesdk.vault.audit import AuditLog
from facesdk.vault.audit_entry import Event, open_head, seal_head
key, folder = bytes(range(32)), os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
log = AuditLog(folder, "alice", max_segment=1200, keep=4)
for i in range(30):
    with files.locked(folder):
        head = open_head(key, files.read_guarded(folder, "alice.head", limit=1000), user="alice")
        log.check(head)
        if i % 5 == 4:
            log.append(Event.PASSPHRASE_REFUSED, head=None)
        else:
            head = log.append(Event.VERIFIED, head=head)
            files.replace_file(folder, "alice.head", seal_head(key, head, user="alice"))
"""


def test_two_processes_at_once(make: Callable[..., Log]) -> None:
    log = make(1, keep=4)
    files.create_file("alice.head", seal_head(KEY, log.head, user="alice"), folder=log.folder)
    command = [sys.executable, "-c", WRITER, str(log.path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    head = open_head(KEY, (log.path / "alice.head").read_bytes(), user="alice")
    report = log.log.verify(head)
    assert report.problem is None
    assert head.count + report.unsealed == 61
    assert [entry.n for entry in log.log.read()][-report.entries :] == list(range(report.first, 61))
