"""With a counter outside the file, an older file is refused by name, whatever was killed when it was written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from vault_tools import CHEAP, RULES, Bench, CountingKey, assert_holds, failing_with, make_record

from facesdk.errors import KeyUnavailableError, RollbackError, VaultError, VaultIntegrityError
from facesdk.vault import KeyKind, PassphraseKey, Record


def holds(bench: Bench, record: Record) -> None:
    with bench.vault.opened("alice") as template:
        assert_holds(template, record)


# An enrollment in place of another takes a counter of its own: that of the file before is gone.
REFUSED = (RollbackError, KeyUnavailableError)


@pytest.fixture
def counting(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault", CountingKey())


def test_an_old_file_put_back_is_a_rollback(counting: Bench) -> None:
    counting.enroll()
    files = [counting.path().read_bytes()]
    for change in (
        lambda: counting.vault.rekey("alice", counting.key, counting.key, rules=RULES),
        lambda: counting.vault.renew("alice", counting.key, rules=RULES),
        lambda: counting.enroll(make_record(seed=1), replace=True),
    ):
        change()
        counting.unlock()
        assert counting.attempt()
        newest = counting.path().read_bytes()
        for old in files:
            counting.path().write_bytes(old)
            head = next(counting.folder.glob("alice.head-*"))
            with pytest.raises(REFUSED, match=r"older file|counter is gone"):
                counting.unlock()
            with pytest.raises(REFUSED):
                counting.vault.rekey("alice", counting.key, counting.key, rules=RULES)
            assert head.exists()
        counting.path().write_bytes(newest)
        counting.unlock()
        files.append(newest)
    assert "rolled_back" in counting.events()


def test_killed_between_file_and_counter(counting: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    counting.enroll()
    old = counting.path().read_bytes()
    key = counting.key
    assert isinstance(key, CountingKey)
    key.broken = True
    with pytest.raises(KeyUnavailableError):
        counting.vault.renew("alice", key, rules=RULES)
    assert counting.path().read_bytes() != old
    key.broken = False
    counting.unlock()
    assert counting.attempt()
    counting.path().write_bytes(old)
    with pytest.raises(RollbackError):
        counting.unlock()


def test_killed_before_the_file_leaves_the_counter(counting: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    counting.enroll()
    key = counting.key
    assert isinstance(key, CountingKey)
    before = dict(key.counters)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing_with(errno.ENOSPC))
        with pytest.raises(VaultError):
            counting.vault.renew("alice", key, rules=RULES)
    assert key.counters == before
    counting.unlock()
    assert counting.attempt()


def test_a_counter_that_cannot_be_read_never_unlocks(counting: Bench) -> None:
    counting.enroll()
    key = counting.key
    assert isinstance(key, CountingKey)
    key.counters = {name: value + 5 for name, value in key.counters.items()}
    with pytest.raises(RollbackError):
        counting.unlock()
    key.counters = {name: value - 10 for name, value in key.counters.items()}
    with pytest.raises(VaultIntegrityError, match="not that of the file"):
        counting.unlock()


def test_what_lies_outside_the_file_goes_with_it(counting: Bench, tmp_path: Path) -> None:
    key = counting.key
    assert isinstance(key, CountingKey)
    other = PassphraseKey("other", **CHEAP)
    counting.enroll()
    assert len(key.counters) == 1
    counting.vault.rekey("alice", key, other, rules=RULES)
    assert key.counters == {}
    counting.vault.rekey("alice", other, key, rules=RULES)
    assert len(key.counters) == 1
    counting.vault.remove("alice", key)
    assert key.counters == {}


@pytest.mark.parametrize("there", ["passphrase", "damaged"])
def test_a_file_of_another_kind_or_a_damaged_one_is_removed_not_replaced(counting: Bench, there: str) -> None:
    if there == "passphrase":
        counting.enroll(key=PassphraseKey("x", **CHEAP))
    else:
        counting.enroll()
        counting.path().write_bytes(b"junk")
    with pytest.raises((KeyUnavailableError, VaultIntegrityError)):
        counting.enroll(make_record(seed=1), replace=True)
    counting.vault.remove("alice", counting.key)
    counting.enroll(make_record(seed=1))
    counting.unlock()
    holds(counting, make_record(seed=1))


def test_what_a_kill_left_is_a_rollback_once_another_was_enrolled(counting: Bench, tmp_path: Path) -> None:
    counting.enroll()
    key = counting.key
    assert isinstance(key, CountingKey)
    key.broken = True
    with pytest.raises(KeyUnavailableError):
        counting.enroll(make_record(seed=1), replace=True)  # its file is in place, its counter is not
    shutil.copytree(counting.folder, tmp_path / "copied")
    key.broken = False
    counting.enroll(make_record(seed=2), replace=True)
    counting.unlock()
    holds(counting, make_record(seed=2))
    shutil.rmtree(counting.folder)
    (tmp_path / "copied").rename(counting.folder)
    with pytest.raises(REFUSED):
        counting.unlock()


@pytest.mark.parametrize("how", ["enroll", "import"])
def test_what_was_replaced_does_not_come_back(counting: Bench, tmp_path: Path, how: str) -> None:
    """The counter goes on: nothing is left to be freed, whatever ends the process or ails the TPM then."""
    counting.enroll()
    old = tmp_path / "old"
    shutil.copytree(counting.folder, old)
    recovery = PassphraseKey("recovered", kind=KeyKind.RECOVERY, **CHEAP)
    exported = counting.vault.export("alice", counting.key, recovery)
    if how == "enroll":
        counting.enroll(make_record(seed=1), replace=True)
    else:
        counting.vault.import_(exported, recovery, counting.key, replace=True, rules=RULES)
    assert len(counting.key.counters) == 1  # type: ignore[attr-defined]
    counting.unlock()
    shutil.rmtree(counting.folder)
    shutil.copytree(old, counting.folder)
    with pytest.raises(RollbackError):
        counting.unlock()
