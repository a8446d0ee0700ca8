"""An opened key and its attempt state are one piece and go together, in this process and in the kernel's keyring."""

from __future__ import annotations

import threading
import time
from dataclasses import FrozenInstanceError
from typing import Any

import open_keys_tools
import pytest
from fork_tools import in_child
from open_keys_tools import KEK, assert_same, make_held, save_new

from facesdk.errors import KeyUnavailableError, Reason
from facesdk.vault import ProcessOpenKeys
from facesdk.vault import keyring as keyring_module
from facesdk.vault import open_keys as open_keys_module
from facesdk.vault.attempts import NS, PassphraseRequired, Ready
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import PRESETS, AttemptRules

keyring = open_keys_tools.keyring
open_keys = open_keys_tools.open_keys


# --- both kinds


def test_load_save_forget(open_keys: Any) -> None:
    assert open_keys.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    for held in (make_held(), make_held(rules=PRESETS["phone"]), make_held(generation=2**63 - 1)):
        assert save_new(open_keys, "alice", held)
        assert_same(open_keys.load("alice"), held)
    assert open_keys.load("bob") == PassphraseRequired(Reason.NOT_UNLOCKED)
    for reason in Reason:
        open_keys.forget("alice", reason)
        assert open_keys.load("alice") == PassphraseRequired(reason)
        open_keys.forget("alice", reason)
    assert save_new(open_keys, "alice", make_held())
    assert_same(open_keys.load("alice"), make_held())


def test_what_is_loaded_is_a_copy(open_keys: Any) -> None:
    assert save_new(open_keys, "alice", make_held())
    first = open_keys.load("alice")
    first.kek.close()
    assert_same(open_keys.load("alice"), make_held())
    kept = open_keys.load("alice")
    open_keys.forget("alice", Reason.PANIC)
    assert bytes(memoryview(kept.kek)) == KEK  # who holds a copy wipes it; the vault's end with their Secret


def test_no_repr_shows_the_key(open_keys: Any) -> None:
    assert save_new(open_keys, "alice", make_held())
    for text in (repr(make_held()), str(make_held()), repr(open_keys.load("alice")), repr(make_held().kek)):
        assert KEK.hex() not in text
        assert repr(KEK)[2:20] not in text


def test_process_sessions_wipe_what_they_drop() -> None:
    open_keys = ProcessOpenKeys()
    assert save_new(open_keys, "alice", make_held())
    _, first = open_keys._held["alice"]
    assert save_new(open_keys, "alice", make_held(generation=6))
    _, second = open_keys._held["alice"]
    assert first.closed
    open_keys.forget("alice", Reason.LOCKED)
    assert second.closed


def test_a_key_is_loaded_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panic waits for nobody, so it may come while another thread loads."""
    open_keys = ProcessOpenKeys()
    assert save_new(open_keys, "alice", make_held())
    panic = threading.Thread(target=open_keys.forget, args=("alice", Reason.PANIC))

    def slowly(**fields: Any) -> AttemptRules:
        panic.start()
        panic.join(0.2)
        return AttemptRules(**fields)

    monkeypatch.setattr(open_keys_module, "AttemptRules", slowly)
    found = open_keys.load("alice")
    panic.join()
    if isinstance(found, OpenKey):
        assert bytes(memoryview(found.kek)) == KEK
    assert open_keys.load("alice") == PassphraseRequired(Reason.PANIC)


def test_forget_says_whether_a_key_was_open(open_keys: Any) -> None:
    assert open_keys.forget("alice", Reason.LOCKED) is False
    assert save_new(open_keys, "alice", make_held())
    assert save_new(open_keys, "bob", make_held())
    assert open_keys.forget("alice", Reason.LOCKED) is True
    assert open_keys.forget("alice", Reason.LOCKED) is False
    assert open_keys.forget_all(Reason.PANIC) == 1
    assert open_keys.forget_all(Reason.PANIC) == 0


@pytest.mark.parametrize("closes", ["forget", "forget_all"])
def test_an_opening_that_began_before_is_not_saved(open_keys: Any, closes: str) -> None:
    def close() -> None:
        if closes == "forget":
            open_keys.forget("alice", Reason.LOCKED)
        else:
            open_keys.forget_all(Reason.PANIC)

    mark = open_keys.begin("alice")
    assert open_keys.save("alice", make_held(), mark=mark) is True
    mark = open_keys.begin("alice")
    close()
    assert open_keys.save("alice", make_held(), mark=mark) is False
    assert isinstance(open_keys.load("alice"), PassphraseRequired)
    mark = open_keys.begin("alice")
    assert open_keys.save("alice", make_held(), mark=mark) is True
    held = open_keys.load("alice")
    close()
    assert open_keys.save("alice", held) is False
    assert isinstance(open_keys.load("alice"), PassphraseRequired)


def test_a_child_has_none_of_the_keys_and_opens_its_own() -> None:
    open_keys = ProcessOpenKeys()
    assert save_new(open_keys, "alice", make_held())

    def child() -> bool:
        lost = open_keys.load("alice") == PassphraseRequired(Reason.FORKED) and open_keys.load(
            "bob"
        ) == PassphraseRequired(Reason.NOT_UNLOCKED)
        saved = save_new(open_keys, "alice", make_held(generation=7))
        found = open_keys.load("alice")
        return lost and saved and isinstance(found, OpenKey) and found.generation == 7

    assert in_child(child) == 0
    assert_same(open_keys.load("alice"), make_held())


def test_a_fork_while_another_thread_holds_the_lock_does_not_hang() -> None:
    open_keys = ProcessOpenKeys()
    assert save_new(open_keys, "alice", make_held())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with open_keys._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        assert in_child(lambda: open_keys.load("alice") == PassphraseRequired(Reason.FORKED)) == 0
    finally:
        done.set()
        thread.join()


# --- what is held to the last bit and second


def test_what_no_opening_began_for_is_not_saved(open_keys: Any) -> None:
    if isinstance(open_keys, ProcessOpenKeys):
        assert open_keys.save("alice", make_held()) is False
    else:  # the kernel is given no ring to put it into
        with pytest.raises(KeyUnavailableError):
            open_keys.save("alice", make_held())
    assert open_keys.load("alice") == PassphraseRequired(Reason.NOT_UNLOCKED)
    assert make_held().ticket == 0


def test_a_key_that_is_spent_comes_back_by_its_mark_alone(open_keys: Any) -> None:
    open_keys.begin("alice")
    assert open_keys.spend("alice", Reason.FAILURES) == 0  # there is none
    assert save_new(open_keys, "alice", make_held())
    mark = open_keys.spend("alice", Reason.FAILURES)
    assert mark > 0
    assert open_keys.load("alice") == PassphraseRequired(Reason.FAILURES)
    assert open_keys.save("alice", make_held(generation=6), mark=mark) is True
    assert_same(open_keys.load("alice"), make_held(generation=6))
    mark = open_keys.spend("alice", Reason.FAILURES)
    assert open_keys.spend("alice", Reason.FAILURES) == 0
    open_keys.forget("alice", Reason.PANIC)
    assert open_keys.save("alice", make_held(), mark=mark) is False
    assert open_keys.load("alice") == PassphraseRequired(Reason.PANIC)


def test_a_copy_of_a_key_is_wiped_at_the_end_of_its_context_and_is_not_changed() -> None:
    with make_held() as held:
        assert not held.kek.closed
        with pytest.raises(FrozenInstanceError):
            held.generation = 7
    assert held.kek.closed


def test_the_kernel_keeps_a_key_no_longer_than_the_rule_and_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    opened_ns, every_s = 10**15, 24 * 3600
    held = make_held(state=Ready(opened_ns=opened_ns, active_ns=opened_ns, failures=0, not_before_ns=0))
    for after_ns, left_s in (
        (0, every_s), (1, every_s), (NS - 1, every_s), (NS, every_s - 1), (NS + 1, every_s - 1), (-NS, every_s),
        ((every_s - 1) * NS, 1), ((every_s - 2) * NS, 2), (every_s * NS, 1), ((every_s + 9) * NS, 1),
    ):  # fmt: skip
        monkeypatch.setattr(time, "clock_gettime_ns", lambda _, now_ns=opened_ns + after_ns: now_ns)
        assert keyring_module._left_s(held) == left_s
