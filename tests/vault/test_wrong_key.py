"""A wrong passphrase or key costs growing time, in every process and whatever the log holds besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vault_tools import RULES, Bench, enrolled_bench, make_record

from facesdk.errors import (
    KeyUnavailableError,
    LockedOutError,
    VaultError,
)
from facesdk.vault import KeyFileKey
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.store import LockedFolder

SECOND_NS = 10**9


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return enrolled_bench(tmp_path)


def test_wrong_keys_cost_growing_time(bench: Bench, tmp_path: Path) -> None:
    wrong = KeyFileKey.create(tmp_path / "wrong")
    waits = []
    for _ in range(12):
        try:
            bench.unlock(key=wrong)
        except LockedOutError as error:
            waits.append(error.retry_after_s)
            with pytest.raises(LockedOutError):  # the right key waits too
                bench.unlock()
            bench.clock.turn(error.retry_after_s)
            with pytest.raises(Exception, match="wrong key"):
                bench.unlock(key=wrong)
        except KeyUnavailableError:
            continue
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    bench.clock.turn(300)
    bench.unlock()
    with pytest.raises(Exception, match="wrong key"):  # the right key ends it
        bench.unlock(key=wrong)
    bench.unlock()


def test_the_wait_holds_for_other_processes_and_is_not_ended_by_locking(bench: Bench, tmp_path: Path) -> None:
    wrong = KeyFileKey.create(tmp_path / "wrong")
    for _ in range(3):
        with pytest.raises(Exception, match="wrong key"):
            bench.unlock(key=wrong)
        bench.vault.lock("alice")
    other = Bench(bench.folder, bench.key)
    other.clock = bench.clock
    other.vault._now_ns = bench.clock
    for call in (
        other.unlock,
        lambda: other.vault.renew("alice", other.key, rules=RULES),
        lambda: other.vault.rekey("alice", other.key, other.key, rules=RULES),
        lambda: other.vault.restart_log("alice", other.key),
        lambda: other.vault.audit("alice", other.key),
    ):
        with pytest.raises(LockedOutError):
            call()
    bench.clock.turn(1)
    other.unlock()


def test_a_restart_does_not_shorten_the_wait_below_the_time_since(bench: Bench, tmp_path: Path) -> None:
    wrong = KeyFileKey.create(tmp_path / "wrong")
    for _ in range(3):
        with pytest.raises(Exception, match="wrong key"):
            bench.unlock(key=wrong)
    bench.clock.now_ns = SECOND_NS // 2  # the machine was started half a second ago
    with pytest.raises(LockedOutError):
        bench.unlock()
    bench.clock.turn(1)
    bench.unlock()


def test_a_first_enrollment_waits_for_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "new", KeyFileKey.create(tmp_path / "k"))
    bench.enroll(make_record())
    assert bench.attempt(True)


def test_a_full_log_takes_the_right_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LockedFolder, "log", lambda self, user, *, boot_ns: AuditLog(
            self.descriptor, user, boot_ns=boot_ns, max_segment=600, keep=1
        ),
    )  # fmt: skip
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "key"))
    bench.enroll()
    other = Bench(bench.folder, bench.key)

    def lock_often() -> None:
        for _ in range(1000):
            other.vault.lock("alice")

    with pytest.raises(VaultError, match="full"):
        lock_often()
    bench.unlock()
    bench.unlock()
    assert bench.attempt(True)
    assert len(list(bench.folder.glob("alice.audit*"))) < 10


def test_a_wrong_key_that_cannot_be_logged_costs_time_too(bench: Bench, monkeypatch: Any, tmp_path: Path) -> None:
    from facesdk.vault import userfiles as userfile

    slept: list[float] = []
    wrong = KeyFileKey.create(tmp_path / "wrong")
    monkeypatch.setattr(userfile.time, "sleep", slept.append)
    monkeypatch.setattr(AuditLog, "note", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        bench.unlock(key=wrong)
    assert slept == [userfile.UNLOGGED_WAIT_S]


def test_four_thousand_locks_do_not_hide_a_wrong_key(bench: Bench, tmp_path: Path) -> None:
    from facesdk.vault import userfiles as userfile

    assert userfile.LOOK_BACK > 64 * 1200
    wrong = KeyFileKey.create(tmp_path / "wrong")
    for _ in range(3):
        with pytest.raises(KeyUnavailableError):
            bench.unlock(key=wrong)
    for _ in range(500):
        bench.vault.lock("alice")
    with pytest.raises(LockedOutError):
        bench.unlock()
