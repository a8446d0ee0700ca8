"""What the audit log holds: its entries, the sealed head, rotation, and the restart that keeps what was broken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import audit_tools
import pytest
from audit_tools import KEY, SMALL, Log, big_entry, restarted
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.errors import InputError, VaultError, VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault.audit import log as audit
from facesdk.vault.audit.entry import MAX_HEAD_SIZE, MAX_LINE, AuditEvent, Entry, Head, open_head, seal_head
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.audit.verify import ProblemKind as Kind

make = audit_tools.make


# --- entries


def test_round_trip(make: Callable[..., Log]) -> None:
    log = make()
    assert log.log.read() == []
    assert log.log.verify(None) == audit.Report(0, 0, 0, None)
    log.head = log.log.append(AuditEvent.ENROLLED, head=None)
    log.head = log.log.append(
        AuditEvent.VERIFIED, head=log.head, outcome=Decision.NON_MATCH, camera="/dev/video0", policy="phone 2e-05"
    )
    first, second = log.log.read()
    assert (first.n, first.event, first.outcome, first.prev) == (0, AuditEvent.ENROLLED, None, "0" * 64)
    assert second == Entry(
        n=1, time_unix_s=1_700_000_000, boot_ns=42_000_000_000, event=AuditEvent.VERIFIED, outcome=Decision.NON_MATCH,
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
        "n", "time_unix_s", "boot_ns", "event", "outcome", "camera", "policy", "prev", "count", "until_boot_ns"
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
        lambda line: line.replace(b'"event"', b'"AuditEvent"'),
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
    entry = dataclasses.replace(big_entry(), event=AuditEvent.LOCKED_OUT, camera="cc")
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
    assert len(sealed) == 118 <= MAX_HEAD_SIZE
    assert sealed[:10] == b"facehead\2\0"
    for position in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[position] ^= 1 << bit
            with pytest.raises(VaultIntegrityError):
                open_head(KEY, bytes(altered), user="alice")
    for altered_bytes in [sealed[:i] for i in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(VaultIntegrityError):
            open_head(KEY, altered_bytes, user="alice")
    for key, user in ((bytes(32), "alice"), (KEY, "bob")):
        with pytest.raises(VaultIntegrityError, match="altered or sealed by another key"):
            open_head(key, sealed, user=user)


def test_a_sealed_head_that_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_head(KEY, Head(0, 1, bytes(32)), user="alice", entropy=bytes)
    assert open_head(KEY, sealed, user="alice") == Head(0, 1, bytes(32))
    monkeypatch.setattr(Head, "__post_init__", lambda self: None)
    sealed = seal_head(KEY, Head(2, 1, bytes(32)), user="alice")
    monkeypatch.undo()
    with pytest.raises(VaultIntegrityError):
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
    with pytest.raises(VaultError, match="unlock with the passphrase"):
        log.append(1000, keyed=False)
    assert len(log.names()) == audit.MAX_SEGMENTS
    report = log.log.verify(log.head)
    assert (report.first, report.problem) == (0, None)
    assert report.unsealed == report.entries - 3 > 300
    with pytest.raises(VaultError, match="unlock with the passphrase"):
        log.append(keyed=False)


def test_the_unsealed_tail_is_sealed_by_the_next_entry_with_the_key(make: Callable[..., Log]) -> None:
    log = make(3, unsealed=20)
    assert log.log.verify(log.head).unsealed == 20
    log.append()
    assert log.log.verify(log.head) == audit.Report(log.head.count - log.head.first, log.head.first, 0, None)
    assert log.head.count == 24
    log.append()
    assert len([name for name in log.names() if "kept" not in name]) == 3
    assert log.problem() is None


# --- restart


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
