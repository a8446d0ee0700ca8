"""Opened keys in the kernel's keyring: what lies there, for how long, and what happens where the kernel refuses."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import open_keys_tools
import pytest
from open_keys_tools import KEK, assert_same, make_held, make_vault, save_new
from vault_tools import Bench

from facesdk import _core
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, Reason, VaultError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyringOpenKeys
from facesdk.vault import keyring as keyring_module
from facesdk.vault.attempts import PassphraseRequired
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import PRESETS, AttemptRules

keyring = open_keys_tools.keyring
open_keys = open_keys_tools.open_keys


LAYOUT_VERSION, OPENED, ACTIVE, FAILURES, NOT_BEFORE, GENERATION, FIRST, COUNT = range(0, 64, 8)


DIGEST, EVERY, IDLE, FREE, DELAY, AFTER, KEY, SIZE = 64, 96, 104, 112, 120, 128, 136, 168


# --- the kernel's keyring


def ring_of(open_keys: KeyringOpenKeys, user: str = "alice") -> int:
    return _core.keyring_find_ring(keyring_module._ring(open_keys._known(), user))


def why_of(open_keys: KeyringOpenKeys, user: str = "alice") -> str:
    return keyring_module._why(open_keys._known(), user)


def payload_of(open_keys: KeyringOpenKeys, user: str = "alice") -> bytes:
    with _core.keyring_get_in(ring_of(open_keys, user), "key", SIZE)[1] as memory:  # type: ignore[index]
        return bytes(memoryview(memory))


def put(open_keys: KeyringOpenKeys, payload: bytes) -> None:
    """The payload in place of the opened key, as a program of the same user could do it."""
    assert _core.keyring_put_into(ring_of(open_keys), "key", payload, 60)


def test_counter_and_key_lie_in_one_piece(keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    payload = payload_of(keyring)
    assert len(payload) == SIZE
    assert struct.unpack_from("<QQQQQQQQ", payload) == (1, 11, 12, 3, 14, 5, 6, 7)
    assert payload[DIGEST:EVERY] == bytes(range(32))
    assert struct.unpack_from("<QQQQQ", payload, EVERY) == (24 * 3600, 4 * 3600, 3, 30, 3)
    assert payload[KEY:] == KEK
    # There is no other key to take the one without the other.
    assert _core.keyring_get(why_of(keyring), 1) is None
    assert _core.keyring_forget_ring(ring_of(keyring))
    assert isinstance(keyring.load("alice"), PassphraseRequired)


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
def test_a_tampered_payload_is_no_session(keyring: KeyringOpenKeys, offset: int, value: int) -> None:
    assert save_new(keyring, "alice", make_held())
    payload = payload_of(keyring)
    put(keyring, payload)
    assert_same(keyring.load("alice"), make_held())
    altered = payload[:offset] + struct.pack("<Q", value) + payload[offset + 8 :]
    put(keyring, altered)
    with pytest.raises(VaultIntegrityError, match="not an opened key of ours"):
        keyring.load("alice")
    keyring.forget("alice", Reason.LOCKED)
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)


@pytest.mark.parametrize("size", [1, SIZE - 32, SIZE - 1, SIZE + 1, 1000])
def test_a_payload_of_another_size_is_no_session(keyring: KeyringOpenKeys, size: int) -> None:
    assert save_new(keyring, "alice", make_held())
    payload = payload_of(keyring)
    put(keyring, (payload * 6)[:size])
    with pytest.raises(VaultIntegrityError, match="not an opened key of ours"):
        keyring.load("alice")


@pytest.mark.parametrize("why", [255, len(Reason), 100])
def test_a_reason_that_is_none_means_not_unlocked(keyring: KeyringOpenKeys, why: int) -> None:
    _core.keyring_put(why_of(keyring), bytes([why]), 60)
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)


def test_the_kernel_forgets_at_the_expiry(keyring: KeyringOpenKeys) -> None:
    rules = AttemptRules(passphrase_every_s=1, idle_s=None, free_attempts=5, first_delay_s=30, passphrase_after=5)
    assert save_new(keyring, "alice", make_held(rules=rules))
    assert isinstance(keyring.load("alice"), OpenKey)
    deadline = time.monotonic() + 5
    while isinstance(keyring.load("alice"), OpenKey) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    assert save_new(keyring, "alice", make_held())  # an expired key does not stand in the way
    assert_same(keyring.load("alice"), make_held())


def test_an_old_reason_does_not_outlive_an_unlock(keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    keyring.forget("alice", Reason.PANIC)
    assert keyring.load("alice") == PassphraseRequired(Reason.PANIC)
    assert save_new(keyring, "alice", make_held())
    _core.keyring_forget_ring(ring_of(keyring))  # no reason given
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)


def test_names_in_the_keyring_tell_nobody_who_is_enrolled(keyring: KeyringOpenKeys, tmp_path: Path) -> None:
    name = keyring_module._ring(keyring._known(), "alice")
    # Written again here: programs of two releases that run side by side must mean the same key.
    digest = hashlib.sha256(b"alice").hexdigest()[:32]
    assert name == f"facesdk:{keyring._known()}:{digest}"
    assert why_of(keyring) == f"facesdk-why:{keyring._known()}:{digest}"
    assert "alice" not in name
    assert str(tmp_path) not in name
    assert name != keyring_module._ring(keyring._known(), "bob")
    other = KeyringOpenKeys(make_vault(tmp_path / "other"))
    assert name != keyring_module._ring(other._known(), "alice")


def test_a_key_goes_by_the_vault_not_by_its_path(keyring: KeyringOpenKeys, tmp_path: Path) -> None:
    assert save_new(keyring, "alice", make_held())
    moved = (tmp_path / "vault").rename(tmp_path / "b\udcfcro")
    (tmp_path / "x").mkdir()
    for path in (moved, tmp_path / "x" / ".." / moved.name):
        assert_same(KeyringOpenKeys(path).load("alice"), make_held())
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)  # there is no vault under the old path
    assert keyring.forget("alice", Reason.LOCKED) is False
    assert KeyringOpenKeys(moved).forget("alice", Reason.LOCKED) is True
    moved.rename(tmp_path / "vault")
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)


def test_a_reason_lasts_until_the_machine_is_started_again(keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    keyring.forget("alice", Reason.PANIC)
    lines = [line.split() for line in Path("/proc/keys").read_text().splitlines() if why_of(keyring) in line]
    if not lines:
        pytest.skip("/proc/keys does not show this user's keys here")
    assert lines[0][3] == "perm"


def test_the_permissions_leave_out_other_users(keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    try:
        lines = Path("/proc/keys").read_text().splitlines()
    except OSError as error:
        pytest.skip(f"/proc/keys cannot be read: {error}")
    found = [line.split() for line in lines if keyring_module._ring(keyring._known(), "alice") in line]
    if not found:
        pytest.skip("/proc/keys does not show this user's keys here")
    assert found[0][4] == "3f3f0000"


def refusing_keyring(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refusing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    for name in [name for name in vars(_core) if name.startswith("keyring_")]:
        monkeypatch.setattr(_core, name, refusing)


def test_a_keyring_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_keys = KeyringOpenKeys(make_vault(tmp_path / "vault"))
    refusing_keyring(monkeypatch, errno.EDQUOT)
    for call in (
        lambda: open_keys.load("alice"),
        lambda: open_keys.save("alice", make_held()),
        lambda: open_keys.forget("alice", Reason.LOCKED),
    ):
        with pytest.raises(KeyUnavailableError, match="it is full"):
            call()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_there_is_no_keyring_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    open_keys = KeyringOpenKeys(make_vault(tmp_path / "vault"))
    refusing_keyring(monkeypatch, code)
    assert open_keys.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    open_keys.forget("alice", Reason.LOCKED)
    with pytest.raises(KeyUnavailableError, match="containers often forbid it"):
        save_new(open_keys, "alice", make_held())


def failing_once(monkeypatch: pytest.MonkeyPatch, name: str, code: int, *, times: int = 1) -> list[object]:
    """Lets this call of the kernel fail so many times, and after that work; what it was called with."""
    genuine, calls = getattr(_core, name), []

    def call(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) <= times:
            raise OSError(code, os.strerror(code))
        return genuine(*arguments)

    monkeypatch.setattr(_core, name, call)
    return calls


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EPERM, errno.ENOSYS])
def test_where_there_is_no_room_to_say_why_an_older_reason_goes_with_the_key(
    keyring: KeyringOpenKeys, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    keyring.begin("alice")
    keyring.forget("alice", Reason.LOCKED)
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)
    failing_once(monkeypatch, "keyring_put", code, times=9)
    keyring.forget("alice", Reason.PANIC)
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    assert save_new(keyring, "alice", make_held())
    assert keyring.forget("alice", Reason.PANIC) is True
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EIO])
def test_a_key_that_is_there_and_cannot_be_forgotten_is_told(
    keyring: KeyringOpenKeys, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A kernel that forbids its keyring altogether has no ring to be found; here there is one, with an open key."""
    assert save_new(keyring, "alice", make_held())
    failing_once(monkeypatch, "keyring_forget_ring", code)
    with pytest.raises(KeyUnavailableError):
        keyring.forget("alice", Reason.LOCKED)
    assert_same(keyring.load("alice"), make_held())
    assert keyring.forget("alice", Reason.LOCKED) is True


def test_a_key_that_cannot_be_forgotten_keeps_none_of_the_others(
    keyring: KeyringOpenKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = ("alice", "bob")
    for user in users:
        assert save_new(keyring, user, make_held())
    calls = failing_once(monkeypatch, "keyring_forget_ring", errno.EIO)
    with pytest.raises(KeyUnavailableError):
        keyring.forget_all(Reason.PANIC)
    assert len(calls) == 2
    assert sorted(keyring.load(user) == PassphraseRequired(Reason.PANIC) for user in users) == [False, True]
    assert keyring.forget_all(Reason.PANIC) == 1
    assert all(keyring.load(user) == PassphraseRequired(Reason.PANIC) for user in users)


def test_a_vault_that_is_not_there_has_no_key_to_forget(tmp_path: Path, keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    nothing = KeyringOpenKeys(tmp_path / "nothing")
    assert nothing.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    assert nothing.forget("alice", Reason.LOCKED) is False
    assert nothing.forget_all(Reason.PANIC) == 0
    with pytest.raises(VaultIntegrityError, match="has lost its identity"):
        nothing.begin("alice")
    (tmp_path / "nothing").write_text("a file")  # which is looked at, whatever was there before
    for call in (lambda: nothing.load("alice"), lambda: nothing.forget_all(Reason.PANIC)):
        with pytest.raises(VaultError):
            call()
    assert_same(keyring.load("alice"), make_held())


@pytest.mark.usefixtures("own_names_in_the_keyring")
def test_where_nobody_can_tell_whose_a_key_is_all_go(tmp_path: Path, keyring: KeyringOpenKeys) -> None:
    """The identity of the vault was moved away, and it has users."""
    for user in ("alice", "bob"):
        assert save_new(keyring, user, make_held())
    (tmp_path / "vault" / "alice.face").write_bytes(b"")
    away = (tmp_path / "vault" / ".vault").rename(tmp_path / "identity")
    assert keyring.forget("alice", Reason.LOCKED) is True
    assert keyring.forget("alice", Reason.LOCKED) is False
    away.rename(tmp_path / "vault" / ".vault")
    for user in ("alice", "bob"):
        assert keyring.load(user) == PassphraseRequired(Reason.LOCKED)


@pytest.mark.usefixtures("own_names_in_the_keyring")
def test_an_identity_that_comes_back_as_something_else_is_looked_at_again(
    tmp_path: Path, keyring: KeyringOpenKeys
) -> None:
    """Where there was none a moment ago: what is no identity is not taken for there being no vault."""
    assert save_new(keyring, "alice", make_held())
    away = (tmp_path / "vault" / ".vault").rename(tmp_path / "identity")
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    (tmp_path / "vault" / ".vault").symlink_to("nowhere")
    with pytest.raises((VaultIntegrityError, VaultError)):
        keyring.load("alice")
    assert keyring.forget("alice", Reason.LOCKED) is True
    (tmp_path / "vault" / ".vault").unlink()
    away.rename(tmp_path / "vault" / ".vault")
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)


def test_another_vault_under_the_same_path_has_none_of_the_keys(tmp_path: Path, keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    assert isinstance(keyring.load("alice"), OpenKey)
    (tmp_path / "vault").rename(tmp_path / "first")
    make_vault(tmp_path / "vault")
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    (tmp_path / "vault").rename(tmp_path / "second")
    (tmp_path / "first").rename(tmp_path / "vault")
    assert_same(keyring.load("alice"), make_held())


def test_who_was_never_opened_is_not_said_to_be_locked(keyring: KeyringOpenKeys) -> None:
    keyring.forget("alice", Reason.LOCKED)
    assert keyring.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    keyring.begin("alice")  # somebody is about to
    keyring.forget("alice", Reason.LOCKED)
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)
    keyring.forget("alice", Reason.PANIC)
    assert keyring.load("alice") == PassphraseRequired(Reason.PANIC)


def test_why_somebody_was_removed_is_kept_for_an_hour(keyring: KeyringOpenKeys) -> None:
    assert save_new(keyring, "alice", make_held())
    keyring.forget("alice", Reason.REMOVED)
    lines = [line.split() for line in Path("/proc/keys").read_text().splitlines() if why_of(keyring) in line]
    if not lines:
        pytest.skip("/proc/keys does not show this user's keys here")
    assert lines[0][3] in ("59m", "60m", "1h")


# --- several processes


OTHER = """
import sys
from facesdk.errors import PassphraseRequiredError
from facesdk.vault import Vault, KeyringOpenKeys, VaultFolder

folder, answer, now = sys.argv[1], sys.argv[2] == "match", int(sys.argv[3])
vault = Vault(VaultFolder(folder), KeyringOpenKeys(__import__("pathlib").Path(folder)), now_ns=lambda: now)
try:
    with vault.opened("alice") as template:
        generation = template.generation
    print(vault.attempt("alice", lambda _: answer, generation=generation, camera="other", label=""))
except PassphraseRequiredError as error:
    print(error.reason)
"""


def other(bench: Bench, answer: str) -> str:
    arguments = [sys.executable, "-c", OTHER, str(bench.folder), answer, str(bench.clock.now_ns)]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


def test_two_processes_share_key_and_counter(tmp_path: Path, keyring: KeyringOpenKeys) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"), open_keys=keyring)
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
    bench.vault.panic()
    assert other(bench, "match") == Reason.PANIC.value


def test_a_tampered_session_can_be_locked(tmp_path: Path, keyring: KeyringOpenKeys) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"), open_keys=keyring)
    bench.enroll()
    payload = payload_of(keyring)
    put(keyring, b"\xff" * 8 + payload[8:])
    with pytest.raises(VaultIntegrityError):
        bench.attempt(True)
    with contextlib.suppress(VaultIntegrityError):
        bench.vault.lock("alice")
    assert keyring.load("alice") == PassphraseRequired(Reason.LOCKED)
