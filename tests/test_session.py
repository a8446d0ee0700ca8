"""An opened key and its attempt state are one piece, in this process or in the kernel's keyring, and go together."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vault_tools import Bench

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, Reason, StoreIntegrityError
from facesdk.policy import PRESETS, AttemptRules
from facesdk.vault import KeyFileKey, KeyringSessions, ProcessSessions, session
from facesdk.vault.attempts import Ready, Required
from facesdk.vault.audit_entry import Head
from facesdk.vault.session import Held

KEK = bytes(range(1, 33))
# Offsets of the payload as docs/vault-format.md has them.
LAYOUT_VERSION, OPENED, ACTIVE, FAILURES, NOT_BEFORE, GENERATION, FIRST, COUNT = range(0, 64, 8)
DIGEST, EVERY, IDLE, FREE, DELAY, AFTER, KEY, SIZE = 64, 96, 104, 112, 120, 128, 136, 168


def make_held(**changes: Any) -> Held:
    fields = {
        "kek": Secret.of(KEK),
        "state": Ready(opened_ns=11, active_ns=12, failures=3, not_before_ns=14),
        "generation": 5,
        "head": Head(6, 7, bytes(range(32))),
        "rules": PRESETS["strict"],
    }
    return Held(**{**fields, **changes})


def assert_same(found: Held | Required, held: Held) -> None:
    assert isinstance(found, Held)
    assert bytes(memoryview(found.kek)) == bytes(memoryview(held.kek))
    for name in ("state", "generation", "head", "rules"):
        assert getattr(found, name) == getattr(held, name)


def keyring_or_skip(vault: Path) -> KeyringSessions:
    try:
        _core.keyring_put("facesdk-test", b"x", 1)
    except OSError as error:
        pytest.skip(f"no kernel keyring here: {error}")
    return KeyringSessions(vault)


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[KeyringSessions]:
    sessions = keyring_or_skip(tmp_path / "vault")
    yield sessions
    for user in ("alice", "bob"):
        for what in ("key", "why"):
            _core.keyring_forget(sessions._name(user, what))


@pytest.fixture(params=["process", "keyring"])
def sessions(request: pytest.FixtureRequest) -> Any:
    return ProcessSessions() if request.param == "process" else request.getfixturevalue("keyring")


# --- both kinds


def test_load_save_forget(sessions: Any) -> None:
    assert sessions.load("alice") == Required(Reason.NOT_UNLOCKED)
    for held in (make_held(), make_held(rules=PRESETS["phone"]), make_held(generation=2**63 - 1)):
        sessions.save("alice", held)
        assert_same(sessions.load("alice"), held)
    assert sessions.load("bob") == Required(Reason.NOT_UNLOCKED)
    for reason in Reason:
        sessions.forget("alice", reason)
        assert sessions.load("alice") == Required(reason)
        sessions.forget("alice", reason)
    sessions.save("alice", make_held())
    assert_same(sessions.load("alice"), make_held())


def test_what_is_loaded_is_a_copy(sessions: Any) -> None:
    sessions.save("alice", make_held())
    first = sessions.load("alice")
    first.kek.close()
    assert_same(sessions.load("alice"), make_held())
    kept = sessions.load("alice")
    sessions.forget("alice", Reason.PANIC)
    assert bytes(memoryview(kept.kek)) == KEK  # who holds a copy wipes it; the keeper's end with their Secret


def test_no_repr_shows_the_key(sessions: Any) -> None:
    sessions.save("alice", make_held())
    for text in (repr(make_held()), str(make_held()), repr(sessions.load("alice")), repr(make_held().kek)):
        assert KEK.hex() not in text
        assert repr(KEK)[2:20] not in text


def test_process_sessions_wipe_what_they_drop() -> None:
    sessions = ProcessSessions()
    sessions.save("alice", make_held())
    _, first = sessions._held["alice"]
    sessions.save("alice", make_held(generation=6))
    _, second = sessions._held["alice"]
    assert first.closed
    sessions.forget("alice", Reason.LOCKED)
    assert second.closed


def test_a_key_is_loaded_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panic waits for nobody, so it may come while another thread loads."""
    sessions = ProcessSessions()
    sessions.save("alice", make_held())
    panic = threading.Thread(target=sessions.forget, args=("alice", Reason.PANIC))

    def slowly(**fields: Any) -> AttemptRules:
        panic.start()
        panic.join(0.2)
        return AttemptRules(**fields)

    monkeypatch.setattr(session, "AttemptRules", slowly)
    found = sessions.load("alice")
    panic.join()
    if isinstance(found, Held):
        assert bytes(memoryview(found.kek)) == KEK
    assert sessions.load("alice") == Required(Reason.PANIC)


# --- the kernel's keyring


def payload_of(sessions: KeyringSessions, user: str = "alice") -> bytes:
    with _core.keyring_get(sessions._name(user, "key"), SIZE)[1] as memory:  # type: ignore[index]
        return bytes(memoryview(memory))


def test_counter_and_key_lie_in_one_piece(keyring: KeyringSessions) -> None:
    keyring.save("alice", make_held())
    payload = payload_of(keyring)
    assert len(payload) == SIZE
    assert struct.unpack_from("<QQQQQQQQ", payload) == (1, 11, 12, 3, 14, 5, 6, 7)
    assert payload[DIGEST:EVERY] == bytes(range(32))
    assert struct.unpack_from("<QQQQQ", payload, EVERY) == (24 * 3600, 4 * 3600, 3, 30, 3)
    assert payload[KEY:] == KEK
    # There is no other key to take the one without the other.
    for what in ("key", "why"):
        assert (_core.keyring_get(keyring._name("alice", what), SIZE) is None) is (what == "why")
    _core.keyring_forget(keyring._name("alice", "key"))
    assert isinstance(keyring.load("alice"), Required)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (LAYOUT_VERSION, 0),
        (LAYOUT_VERSION, 2),
        (OPENED, 13),
        (OPENED, 2**64 - 1),
        (ACTIVE, 10),
        (FAILURES, 2**63),
        (NOT_BEFORE, 2**63),
        (FIRST, 7),
        (COUNT, 0),
        (EVERY, 0),
        (EVERY, 156 * 3600 + 1),
        (IDLE, 2**40),
        (FREE, 0),
        (FREE, 4),
        (DELAY, 3601),
        (AFTER, 21),
    ],
)
def test_a_tampered_payload_is_no_session(keyring: KeyringSessions, offset: int, value: int) -> None:
    keyring.save("alice", make_held())
    payload = payload_of(keyring)
    _core.keyring_put(keyring._name("alice", "key"), payload, 60)
    assert_same(keyring.load("alice"), make_held())
    altered = payload[:offset] + struct.pack("<Q", value) + payload[offset + 8 :]
    _core.keyring_put(keyring._name("alice", "key"), altered, 60)
    with pytest.raises(StoreIntegrityError, match="not an opened key of ours"):
        keyring.load("alice")
    keyring.forget("alice", Reason.LOCKED)
    assert keyring.load("alice") == Required(Reason.LOCKED)


@pytest.mark.parametrize("size", [1, SIZE - 32, SIZE - 1, SIZE + 1, 1000])
def test_a_payload_of_another_size_is_no_session(keyring: KeyringSessions, size: int) -> None:
    keyring.save("alice", make_held())
    payload = payload_of(keyring)
    _core.keyring_put(keyring._name("alice", "key"), (payload * 6)[:size], 60)
    with pytest.raises(StoreIntegrityError, match="not an opened key of ours"):
        keyring.load("alice")


@pytest.mark.parametrize("why", [255, len(Reason), 100])
def test_a_reason_that_is_none_means_not_unlocked(keyring: KeyringSessions, why: int) -> None:
    _core.keyring_put(keyring._name("alice", "why"), bytes([why]), 60)
    assert keyring.load("alice") == Required(Reason.NOT_UNLOCKED)


def test_the_kernel_forgets_at_the_expiry(keyring: KeyringSessions) -> None:
    rules = AttemptRules(passphrase_every_s=1, idle_s=None, free_attempts=5, first_delay_s=30, passphrase_after=5)
    keyring.save("alice", make_held(rules=rules))
    assert isinstance(keyring.load("alice"), Held)
    deadline = time.monotonic() + 5
    while isinstance(keyring.load("alice"), Held) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert keyring.load("alice") == Required(Reason.NOT_UNLOCKED)
    keyring.save("alice", make_held())  # an expired key does not stand in the way
    assert_same(keyring.load("alice"), make_held())


def test_an_old_reason_does_not_outlive_an_unlock(keyring: KeyringSessions) -> None:
    keyring.forget("alice", Reason.PANIC)
    keyring.save("alice", make_held())
    _core.keyring_forget(keyring._name("alice", "key"))  # as the kernel does when the key expires
    assert keyring.load("alice") == Required(Reason.NOT_UNLOCKED)


def test_names_in_the_keyring_tell_nobody_who_is_enrolled(keyring: KeyringSessions, tmp_path: Path) -> None:
    name = keyring._name("alice", "key")
    assert "alice" not in name
    assert str(tmp_path) not in name
    assert name != keyring._name("bob", "key")
    assert name != KeyringSessions(tmp_path / "other")._name("alice", "key")
    assert name == KeyringSessions(tmp_path / "x" / ".." / "vault")._name("alice", "key")


def test_the_permissions_leave_out_other_users(keyring: KeyringSessions) -> None:
    keyring.save("alice", make_held())
    try:
        lines = Path("/proc/keys").read_text().splitlines()
    except OSError as error:
        pytest.skip(f"/proc/keys cannot be read: {error}")
    found = [line.split() for line in lines if keyring._name("alice", "key") in line]
    if not found:
        pytest.skip("/proc/keys does not show this user's keys here")
    assert found[0][4] == "3f3f0000"


def refusing_keyring(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refusing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    for name in ("keyring_put", "keyring_get", "keyring_forget"):
        monkeypatch.setattr(_core, name, refusing)


def test_a_keyring_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing_keyring(monkeypatch, errno.EDQUOT)
    sessions = KeyringSessions(tmp_path)
    for call in (
        lambda: sessions.load("alice"),
        lambda: sessions.save("alice", make_held()),
        lambda: sessions.forget("alice", Reason.LOCKED),
    ):
        with pytest.raises(KeyUnavailableError, match="it is full"):
            call()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_there_is_no_keyring_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    refusing_keyring(monkeypatch, code)
    sessions = KeyringSessions(tmp_path)
    assert sessions.load("alice") == Required(Reason.NOT_UNLOCKED)
    sessions.forget("alice", Reason.LOCKED)
    with pytest.raises(KeyUnavailableError, match="containers often forbid it"):
        sessions.save("alice", make_held())


# --- several processes


OTHER = """
import sys
from facesdk.errors import PassphraseRequiredError
from facesdk.vault import Keeper, KeyringSessions, Vault

folder, answer, now = sys.argv[1], sys.argv[2] == "match", int(sys.argv[3])
keeper = Keeper(Vault(folder), KeyringSessions(__import__("pathlib").Path(folder)), now_ns=lambda: now)
try:
    with keeper.opened("alice") as template:
        generation = template.generation
    print(keeper.attempt("alice", lambda _: answer, generation=generation, camera="other", label=""))
except PassphraseRequiredError as error:
    print(error.reason)
"""


def other(bench: Bench, answer: str) -> str:
    arguments = [sys.executable, "-c", OTHER, str(bench.folder), answer, str(bench.clock.now_ns)]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


def test_two_processes_share_key_and_counter(tmp_path: Path, keyring: KeyringSessions) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"), sessions=keyring)
    bench.enroll(rules=PRESETS["strict"])
    assert other(bench, "match") == "True"
    assert bench.attempt(True)
    assert other(bench, "mismatch") == "False"
    assert bench.failures() == 1
    assert bench.attempt(False) is False
    assert other(bench, "mismatch") == "False"
    assert bench.reason() is Reason.FAILURES
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True)
    assert other(bench, "match") == Reason.FAILURES.value
    bench.unlock()
    assert other(bench, "match") == "True"
    bench.keeper.panic()
    assert other(bench, "match") == Reason.PANIC.value


def test_a_tampered_session_can_be_locked(tmp_path: Path, keyring: KeyringSessions) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"), sessions=keyring)
    bench.enroll()
    payload = payload_of(keyring)
    _core.keyring_put(keyring._name("alice", "key"), b"\xff" * 8 + payload[8:], 60)
    with pytest.raises(StoreIntegrityError):
        bench.attempt(True)
    with contextlib.suppress(StoreIntegrityError):
        bench.keeper.lock("alice")
    assert keyring.load("alice") == Required(Reason.LOCKED)
