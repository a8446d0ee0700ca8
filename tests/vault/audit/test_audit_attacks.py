"""Whatever is done to the bytes or the files of the audit log is found and located."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import audit_tools
import pytest
from audit_tools import Log, big_entry, refused, restarted
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.errors import VaultError, VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault.audit import log as audit
from facesdk.vault.audit.entry import AuditEvent, Entry
from facesdk.vault.audit.verify import ProblemKind as Kind

make = audit_tools.make


# --- the bytes


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
        with pytest.raises(VaultIntegrityError):
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


def test_read_refuses_a_broken_line(make: Callable[..., Log]) -> None:
    log = make(3)
    log.file().write_bytes(log.file().read_bytes().replace(b"match", b"mate!", 1))
    with pytest.raises(VaultIntegrityError, match=r"line 1 of alice\.audit"):
        log.log.read()


# --- the files


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
        for action in (lambda: log.log.check(log.head), lambda: log.log.append(AuditEvent.PANIC, head=None)):
            with pytest.raises((VaultIntegrityError, VaultError), match=r"chmod 600|audit --restart"):
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
    with pytest.raises(VaultIntegrityError, match="does not belong here"):  # before anything is let go of
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
        with pytest.raises(VaultIntegrityError, match="torn"):
            log.log.append(AuditEvent.PANIC, head=None)
        assert log.file().read_bytes() == whole + torn
        new = log.log.append(AuditEvent.VERIFIED, head=log.head)
        assert log.log.verify(new) == audit.Report(4, 0, 0, None)
