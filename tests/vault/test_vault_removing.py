"""Locking, panicking, removing and replacing: what is forgotten, freed and said, whatever else fails."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import bench_tools
import pytest
from vault_tools import RULES, Bench, CountingKey, failing_with, make_record

from facesdk.errors import (
    KeyUnavailableError,
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
    VaultError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, PassphraseKey
from facesdk.vault.attempts import PassphraseRequired

key = bench_tools.key
bench = bench_tools.bench
recovery = bench_tools.recovery


# --- locking and removing


def test_lock_and_panic_forget_and_are_logged(bench: Bench) -> None:
    for user in ("alice", "bob"):
        bench.enroll(make_record(user))
    bench.vault.lock("alice")
    assert bench.reason() is Reason.LOCKED
    bench.vault.lock("alice")
    assert bench.attempt(user="bob")
    bench.unlock()
    bench.vault.panic()
    for user in ("alice", "bob"):
        assert bench.reason(user) is Reason.PANIC
        with pytest.raises(PassphraseRequiredError, match="emergency"):
            bench.attempt(user=user)
    bench.unlock()
    assert bench.events() == ["enrolled", "locked", "locked", "unlocked", "panic", "unlocked"]
    assert bench.events("bob") == ["enrolled", "verified", "panic"]


def test_the_key_is_forgotten_before_the_log_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for forget, reason in ((lambda: bench.vault.lock("alice"), Reason.LOCKED), (bench.vault.panic, Reason.PANIC)):
        bench.enroll(replace=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing_with(errno.ENOSPC))
            with pytest.raises(VaultError, match="free some space"):
                forget()
        assert bench.reason() is reason


def test_remove_forgets_the_key(bench: Bench) -> None:
    bench.enroll()
    bench.vault.remove("alice")
    assert bench.reason() is Reason.REMOVED
    bench.enroll()
    assert bench.events() == ["enrolled"]


def spoiled(bench: Bench, how: str) -> None:
    """Makes the vault unusable, as who can write to it can do."""
    if how == "mode":
        bench.folder.chmod(0o770)
    elif how == "lock":
        (bench.folder / ".lock").unlink()
        (bench.folder / ".lock").symlink_to("nowhere")
    elif how == "gone":
        bench.path().rename(bench.folder / "aside")
    else:
        bench.folder.rename(bench.folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("call", "how"),
    [
        ("lock", "mode"),
        ("lock", "lock"),
        ("lock", "gone"),
        ("lock", "folder"),
        ("panic", "mode"),
        ("panic", "lock"),
        ("panic", "gone"),
        ("panic", "folder"),
    ],
)
def test_lock_and_panic_forget_whatever_was_done_to_the_vault(bench: Bench, call: str, how: str) -> None:
    bench.enroll()
    assert bench.attempt()
    spoiled(bench, how)
    with contextlib.suppress(VaultError, NotEnrolledError):
        bench.vault.lock("alice") if call == "lock" else bench.vault.panic()
    assert isinstance(bench.open_keys.load("alice"), PassphraseRequired)


def test_a_removal_that_is_refused_forgets_the_key_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_with(errno.EIO))
        with pytest.raises(VaultError, match="was removed"):
            bench.vault.remove("alice")
    assert isinstance(bench.open_keys.load("alice"), PassphraseRequired)
    assert not list(bench.folder.glob("alice*"))


def test_removing_a_user_whose_file_is_gone_forgets_the_key(bench: Bench) -> None:
    bench.enroll()
    bench.path().unlink()
    with pytest.raises(NotEnrolledError):
        bench.vault.remove("alice")
    assert isinstance(bench.open_keys.load("alice"), PassphraseRequired)


def test_no_key_stays_open_where_it_could_not_be_saved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise KeyUnavailableError("the keyring is full")

    bench.enroll()
    bench.vault.lock("alice")
    monkeypatch.setattr(bench.open_keys, "save", refusing)
    with pytest.raises(KeyUnavailableError, match="full"):
        bench.unlock()
    assert isinstance(bench.open_keys.load("alice"), PassphraseRequired)


def test_a_file_that_is_replaced_hands_its_counter_on(tmp_path: Path, recovery: PassphraseKey) -> None:
    key = CountingKey()
    bench = Bench(tmp_path / "vault", key)
    bench.enroll()
    data = bench.vault.export("alice", key, recovery)
    for change in (
        lambda: bench.enroll(make_record(seed=1), replace=True),
        lambda: bench.vault.import_(data, recovery, key, replace=True, rules=RULES),
    ):
        ((name, before),) = key.counters.items()
        change()
        assert list(key.counters) == [name]
        assert key.counters[name] == before + 1
        bench.unlock()
        assert bench.attempt()


def test_what_cannot_be_freed_elsewhere_is_said_once_all_else_is_gone(tmp_path: Path) -> None:
    class Stuck(CountingKey):
        def destroy(self, section: bytes) -> None:
            raise KeyUnavailableError("the TPM does not answer", hint="try again")

    bench = Bench(tmp_path / "vault", Stuck())
    bench.enroll()
    with pytest.raises(KeyUnavailableError, match="'alice' is removed, but the TPM does not answer") as caught:
        bench.vault.remove("alice", bench.key)
    assert caught.value.hint == "try again"
    assert bench.open_keys.load("alice") == PassphraseRequired(Reason.REMOVED)
    assert not list(bench.folder.glob("alice*"))


def test_a_removal_with_a_key_of_another_kind_frees_nothing_of_it(tmp_path: Path, key: KeyFileKey) -> None:
    bench = Bench(tmp_path / "vault", key)
    bench.enroll()
    counting = CountingKey()
    other = Bench(tmp_path / "other", counting)
    other.enroll()
    bench.vault.remove("alice", counting)
    assert not list(bench.folder.glob("alice*"))
    assert len(counting.counters) == 1
    assert other.attempt()
