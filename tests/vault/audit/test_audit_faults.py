"""No fault, kill or second process breaks the audit log."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_tools
import pytest
from audit_tools import KEY, Log, restarted

from facesdk.vault import files
from facesdk.vault.audit.entry import AuditEvent, open_head, seal_head
from facesdk.vault.audit.verify import ProblemKind as Kind

make = audit_tools.make

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
                    log.log.append(AuditEvent.VERIFIED, head=log.head)
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
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.audit.entry import AuditEvent, open_head, seal_head
key, folder = bytes(range(32)), os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
log = AuditLog(folder, "alice", max_segment=1200, keep=4)
for i in range(30):
    with files.locked(folder):
        head = open_head(key, files.read_guarded(folder, "alice.head", limit=1000), user="alice")
        log.check(head)
        if i % 5 == 4:
            log.append(AuditEvent.PASSPHRASE_REFUSED, head=None)
        else:
            head = log.append(AuditEvent.VERIFIED, head=head)
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
