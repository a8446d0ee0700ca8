"""What the audit log's tests share: a log in a folder of its own, and what refused and restarted mean."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vault_tools import Bench

from facesdk.errors import VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault.audit import log as audit
from facesdk.vault.audit.entry import AuditEvent, Entry, Head
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.audit.verify import Problem

SMALL = 1200  # bytes of a segment: five entries
KEY = bytes(range(32))


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
                    AuditEvent.VERIFIED, head=self.head, outcome=Decision.MATCH, policy="phone 2e-05"
                )
            else:
                self.log.append(AuditEvent.PASSPHRASE_REFUSED, head=None)

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
    for action in (lambda: log.log.check(log.head), lambda: log.log.append(AuditEvent.VERIFIED, head=log.head)):
        with pytest.raises(VaultIntegrityError, match="facesdk audit --restart"):
            action()
    assert before == {p.name: p.read_bytes() for p in log.path.iterdir() if p.is_file() and not p.is_symlink()}


def restarted(log: Log) -> None:
    before = log.head
    log.head = log.log.restart(before)
    assert log.head.count == log.head.first + 1 == before.count + 1
    assert log.log.verify(log.head) == audit.Report(1, before.count, 0, None)
    [entry] = log.log.read()
    assert (entry.event, entry.n, entry.prev) == (AuditEvent.LOG_RESTARTED, before.count, before.digest.hex())
    log.append(3)
    assert log.problem() is None


def big_entry() -> Entry:
    longest = max(AuditEvent, key=lambda event: len(event.value))
    outcome = max(Decision, key=lambda decision: len(decision.value))
    top = 2**63 - 1
    return Entry(
        n=top, time_unix_s=top, boot_ns=top, event=longest, outcome=outcome, camera="c" * 64, policy="p" * 48,
        prev="f" * 64, count=top, until_boot_ns=top,
    )  # fmt: skip


def entries(bench: Bench, *, key: bool = True) -> list[Entry]:
    report, found, sealed = bench.vault.audit("alice", bench.key if key else None)
    assert report.problem is None
    assert sealed or not key
    return found


def told(bench: Bench, *, key: bool = True) -> list[tuple[str, str, int]]:
    return [(e.event.value, e.outcome.value if e.outcome else "", e.count) for e in entries(bench, key=key)[1:]]
