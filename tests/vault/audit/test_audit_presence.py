"""The log says what happened: charges before comparisons, matches of a presence in one entry."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audit_tools import KEY, entries, told
from vault_tools import RULES, Bench, enrolled_bench

from facesdk.errors import (
    InputError,
    KeyUnavailableError,
    PassphraseRequiredError,
    Reason,
    VaultError,
    VaultIntegrityError,
)
from facesdk.types import Decision
from facesdk.vault import KeyFileKey
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.audit.entry import PRESENCE_GAP_NS, PRESENCE_NS, AuditEvent, Entry, Head, open_head, seal_head
from facesdk.vault.audit.log import AuditLog

SECOND_NS = 10**9


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return enrolled_bench(tmp_path)


# --- matches of one presence


def test_matches_of_one_presence_are_one_entry(bench: Bench) -> None:
    for _ in range(50):
        assert bench.attempt(True)
        bench.clock.turn(1)
    (entry,) = entries(bench)[1:]
    assert (entry.event, entry.outcome, entry.count) == (AuditEvent.VERIFIED, Decision.MATCH, 50)
    assert entry.until_boot_ns - entry.boot_ns == 49 * SECOND_NS
    assert "50 times within 49 s" in entry.as_text()
    assert (bench.folder / "alice.audit").read_bytes().count(b"\n") == 1  # only the enrollment so far


@pytest.mark.parametrize(
    ("gap_ns", "one"), [(0, True), (PRESENCE_GAP_NS, True), (PRESENCE_GAP_NS + 1, False), (-SECOND_NS, False)]
)
def test_a_presence_ends(bench: Bench, gap_ns: int, one: bool) -> None:
    entry = entries(bench)[0]
    match = replace(entry, event=AuditEvent.VERIFIED, outcome=Decision.MATCH, boot_ns=100 * SECOND_NS)
    joined = match.also(replace(match, boot_ns=match.boot_ns + gap_ns))
    assert (joined is not None) is one


def test_a_presence_is_no_longer_than_its_bound(bench: Bench) -> None:
    for _ in range(2 * PRESENCE_NS // (50 * SECOND_NS)):
        assert bench.attempt(True)
        bench.clock.turn(50)
    found = entries(bench)[1:]
    assert len(found) == 2
    assert all(entry.until_boot_ns - entry.boot_ns <= PRESENCE_NS for entry in found)


def test_another_camera_or_event_ends_it(bench: Bench) -> None:
    for camera in ("door", "door", "desk"):
        assert bench.vault.attempt("alice", lambda _: True, generation=1, camera=camera, label="")
    assert not bench.attempt(False)
    assert bench.attempt(True)
    bench.vault.lock("alice")
    assert told(bench) == [
        ("verified", "match", 2), ("verified", "match", 1), ("verified", "non_match", 1), ("verified", "match", 1),
        ("locked", "", 1),
    ]  # fmt: skip
    assert [e.camera for e in entries(bench)[1:3]] == ["door", "desk"]


def test_an_entry_without_the_key_stands_behind_what_waits(bench: Bench, tmp_path: Path) -> None:
    assert bench.attempt(True)
    bench.clock.turn(1)
    with pytest.raises(Exception, match="wrong key"):
        bench.unlock(key=KeyFileKey.create(tmp_path / "other"))
    assert told(bench) == [("verified", "match", 1), ("passphrase_refused", "", 1)]
    bench.clock.turn(1)
    assert bench.attempt(True)  # counted on its own: the first is in the log already
    assert told(bench) == [("verified", "match", 1), ("passphrase_refused", "", 1), ("verified", "match", 1)]
    bench.unlock()
    assert [word for word, _, _ in told(bench)] == ["verified", "passphrase_refused", "verified", "unlocked"]


def test_what_waits_is_shown_without_the_key_too(bench: Bench) -> None:
    assert bench.attempt(True)
    other = Bench(bench.folder, bench.key)  # whose open_keys have no key
    assert told(other, key=False) == [("verified", "match", 1)]


def test_what_waits_is_numbered_behind_the_rest(bench: Bench) -> None:
    for camera in ("door", "desk", "gate"):
        assert bench.vault.attempt("alice", lambda _: True, generation=1, camera=camera, label="")
    with pytest.raises(ZeroDivisionError):
        bench.attempt(lambda _: 1 // 0)
    for vault, key in ((bench.vault, bench.key), (Bench(bench.folder, bench.key).vault, None)):
        found = vault.audit("alice", key)[1]
        assert [entry.n for entry in found] == [0, 1, 2, 3, 4]
        assert [entry.camera for entry in found][1:] == ["door", "desk", "gate", "test"]
    (bench.folder / "alice.audit").unlink()  # without the key nobody knows what was in it
    assert [entry.n for entry in Bench(bench.folder, bench.key).vault.audit("alice")[1]] == [0, 1]


def test_what_waits_is_not_told_twice_where_it_is_the_first_entry_of_a_log(bench: Bench) -> None:
    assert bench.attempt(True)
    (bench.folder / "alice.audit").unlink()
    other = Bench(bench.folder, bench.key)
    other.vault.lock("alice")  # without the key: writes down what waits, and itself
    found = other.vault.audit("alice")[1]
    assert [(entry.n, entry.event) for entry in found] == [(0, AuditEvent.VERIFIED), (1, AuditEvent.LOCKED)]


# --- paid and logged before it is compared


def test_a_charge_is_logged_before_the_comparison(bench: Bench) -> None:
    seen: list[Any] = []

    def compare(_: Any) -> bool:
        note = next(bench.folder.glob("alice.attempt-*")).read_bytes()
        seen.append(b'"event":"attempted"' in note)
        return True

    assert bench.vault.attempt("alice", compare, generation=1, camera="c", label="")
    assert seen == [True]
    assert told(bench) == [("verified", "match", 1)]


def test_a_comparison_that_was_killed_stays_in_the_log(bench: Bench, tmp_path: Path) -> None:
    from fork_tools import in_child

    def die(_: Any) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    def child() -> bool:
        own = Bench(bench.folder, KeyFileKey(tmp_path / "key"))  # the parent's is not in a child
        own.unlock()
        own.vault.attempt("alice", die, generation=1, camera="c", label="")
        return False

    assert in_child(child) == -signal.SIGKILL
    bench.unlock()
    assert [word for word, _, _ in told(bench)] == ["unlocked", "attempted", "unlocked"]


def test_an_error_in_the_comparison_stays_in_the_log(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError):
        bench.vault.attempt("alice", lambda _: 1 // 0, generation=1, camera="c", label="")  # type: ignore[arg-type,return-value]
    assert told(bench) == [("attempted", "", 1)]
    assert not bench.attempt(False)
    assert told(bench) == [("attempted", "", 1), ("verified", "non_match", 1)]
    assert bench.failures() == 2


@pytest.mark.parametrize("closes", ["lock", "panic"])
def test_a_match_that_was_overtaken_is_not_logged_as_one(bench: Bench, closes: str) -> None:
    def compare(_: Any) -> bool:
        if closes == "lock":
            bench.open_keys.forget("alice", Reason.LOCKED)
        else:
            bench.open_keys.forget_all(Reason.PANIC)
        return True

    with pytest.raises(PassphraseRequiredError):
        bench.vault.attempt("alice", compare, generation=1, camera="c", label="")
    assert told(bench) == [("attempted", "", 1)]


@pytest.mark.parametrize("overtaken_at", [1, 2])
def test_a_match_that_is_overtaken_at_the_last_moment(bench: Bench, monkeypatch: Any, overtaken_at: int) -> None:
    assert bench.attempt(True)  # a presence that would go on
    save, calls = bench.open_keys.save, []

    def saving(user: str, held: Any, **options: Any) -> bool:
        calls.append(held)
        if len(calls) == overtaken_at:
            bench.open_keys.forget(user, Reason.LOCKED)
        return bool(save(user, held, **options))

    monkeypatch.setattr(bench.open_keys, "save", saving)
    with pytest.raises(PassphraseRequiredError, match="on request"):
        bench.attempt(True)
    expected = [("verified", "match", 1)] + [("attempted", "", 1)] * (overtaken_at == 2)
    assert told(bench) == expected


@pytest.mark.parametrize("when", ["compare", "load", "save"])
def test_a_mismatch_that_was_overtaken_is_one(bench: Bench, monkeypatch: Any, when: str) -> None:
    """Whenever the lock comes, what was compared and logged as no match is told as that."""

    def closing(name: str, call: Any) -> Any:
        def closed(*arguments: Any, **options: Any) -> Any:
            if when == name and compared:
                bench.open_keys.forget("alice", Reason.LOCKED)
            return call(*arguments, **options)

        return closed

    compared: list[bool] = []

    def compare(_: Any) -> bool:
        compared.append(True)
        return bool(closing("compare", lambda: False)())

    monkeypatch.setattr(bench.open_keys, "load", closing("load", bench.open_keys.load))
    monkeypatch.setattr(bench.open_keys, "save", closing("save", bench.open_keys.save))
    assert bench.vault.attempt("alice", compare, generation=1, camera="c", label="") is False
    assert told(bench) == [("verified", "non_match", 1)]
    assert bench.vault.state("alice") == (PassphraseRequired(Reason.LOCKED), None)


@pytest.mark.parametrize("closes", ["lock", "panic"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_last_attempt_does_not_outlive_a_lock(bench: Bench, monkeypatch: Any, closes: str, when: str) -> None:
    """The last attempt forgets the key itself; what was locked before or since is not given back by a match."""
    for failures in range(9):
        bench.clock.turn(3600)
        assert not bench.attempt(False), failures
    bench.clock.turn(3600)
    spend = bench.open_keys.spend

    def close() -> None:
        if closes == "lock":
            bench.open_keys.forget("alice", Reason.LOCKED)
        else:
            bench.open_keys.forget_all(Reason.PANIC)

    def spending(user: str, reason: Reason) -> int:
        if when == "before":
            close()
        mark = spend(user, reason)
        if when == "after":
            close()
        return mark

    monkeypatch.setattr(bench.open_keys, "spend", spending)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True if when == "after" else lambda _: pytest.fail("compared"))
    assert ("attempted", "", 1) not in told(bench) or when == "after"
    assert not isinstance(bench.vault.state("alice")[0], Ready)


def test_a_panic_that_cannot_wait_for_the_log_closes_a_process_too(bench: Bench, monkeypatch: Any) -> None:
    from facesdk.errors import NotLoggedError
    from facesdk.vault import files

    other = Bench(bench.folder, bench.key)
    with bench.vault.folder.locked("hold it", user="alice"):
        monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.05)
        with pytest.raises(NotLoggedError):
            other.vault.panic()
    with pytest.raises(PassphraseRequiredError) as caught:
        bench.attempt(True)
    assert caught.value.reason is Reason.PANIC


def test_a_panic_leaves_its_mark_whatever_is_swept(bench: Bench) -> None:
    opening = bench.vault.begin("alice")
    bench.vault.panic()
    with bench.vault.folder.locked("sweep", user="alice") as folder:
        folder.sweep()
    assert opening is not None
    with pytest.raises(PassphraseRequiredError):
        bench.vault.unlock("alice", bench.key, rules=RULES, opening=opening)


def test_a_match_whose_state_cannot_be_saved_is_not_logged_as_one(bench: Bench, monkeypatch: Any) -> None:
    save, calls = bench.open_keys.save, []

    def saving(user: str, held: Any, **options: Any) -> bool:
        calls.append(held)
        if len(calls) == 2:
            raise KeyUnavailableError("the keyring is full")
        return bool(save(user, held, **options))

    monkeypatch.setattr(bench.open_keys, "save", saving)
    with pytest.raises(KeyUnavailableError, match="full"):
        bench.attempt(True)
    assert told(bench) == [("attempted", "", 1)]


@pytest.mark.parametrize("then", ["saved", "not to be read"])
def test_a_match_whose_failures_may_be_given_back_stays_one(bench: Bench, monkeypatch: Any, then: str) -> None:
    """An error of saving that came too late, or after which nobody can tell: the log says what may hold."""
    assert not bench.attempt(False)
    save, calls = bench.open_keys.save, []

    def refused(*_: Any) -> Any:
        raise KeyUnavailableError("the keyring cannot be used")

    def saving(user: str, held: Any, **options: Any) -> bool:
        calls.append(held)
        if len(calls) == 2 and then == "saved":
            save(user, held, **options)
            raise KeyboardInterrupt
        if len(calls) == 2:
            monkeypatch.setattr(bench.open_keys, "load", refused)
            raise KeyUnavailableError("the keyring is full")
        return bool(save(user, held, **options))

    monkeypatch.setattr(bench.open_keys, "save", saving)
    with pytest.raises((KeyUnavailableError, KeyboardInterrupt)):
        bench.attempt(True)
    monkeypatch.undo()
    assert told(bench) == [("verified", "non_match", 1), ("verified", "match", 1)]
    assert bench.failures() == (0 if then == "saved" else 2)


def test_a_comparison_that_forks_decides_nothing_in_the_child(bench: Bench) -> None:
    parent = os.getpid()

    def compare(_: Any) -> bool:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return False

    try:
        assert bench.vault.attempt("alice", compare, generation=1, camera="c", label="") is False
        assert os.getpid() == parent
    except PassphraseRequiredError as error:
        os._exit(0 if error.reason is Reason.FORKED and os.getpid() != parent else 1)
    except BaseException:
        if os.getpid() != parent:
            os._exit(2)
        raise
    assert told(bench) == [("verified", "non_match", 1)]


@pytest.mark.parametrize("camera", ["cam\u00e9ra", "", "x" * 65, 'a"b', "a\nb", None, 3])
def test_a_camera_that_no_entry_can_have_costs_nothing(bench: Bench, camera: Any) -> None:
    assert not bench.vault.attempt("alice", lambda _: False, generation=1, camera="door", label="")
    with pytest.raises(InputError, match="camera"):
        bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=1, camera=camera, label="")
    assert bench.failures() == 1


def test_an_unlock_is_logged_once_it_holds(bench: Bench, monkeypatch: Any) -> None:
    bench.vault.lock("alice")
    monkeypatch.setattr(bench.open_keys, "save", lambda *_, **__: False)
    with pytest.raises(PassphraseRequiredError):
        bench.unlock()
    assert told(bench) == [("locked", "", 1)]


def test_an_unlock_that_cannot_be_logged_does_not_hold(bench: Bench, monkeypatch: Any) -> None:
    bench.vault.lock("alice")
    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", lambda *_, **__: (_ for _ in ()).throw(VaultError("the disk is full")))
        with pytest.raises(VaultError):
            bench.unlock()
    assert not isinstance(bench.vault.state("alice")[0], Ready)


# --- the sealed head


def waiting(**changes: Any) -> Entry:
    fields = {"n": 0, "time_unix_s": 1, "boot_ns": 2, "event": AuditEvent.VERIFIED, "outcome": Decision.MATCH,
              "camera": "c", "policy": "p", "prev": "0" * 64}  # fmt: skip
    return Entry(**{**fields, **changes})


def test_a_head_vouches_for_what_waits() -> None:
    head = Head(3, 9, bytes(range(32)), b"k" * 32, (waiting(), waiting(event=AuditEvent.ATTEMPTED, outcome=None)))
    sealed = seal_head(KEY, head, user="alice")
    assert open_head(KEY, sealed, user="alice") == head
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(VaultIntegrityError):
            open_head(KEY, bytes(altered), user="alice")
    for cut in (sealed[: sealed.index(b"{")], sealed[: sealed.rindex(b"{")], sealed + waiting().line() + b"\n"):
        with pytest.raises(VaultIntegrityError):
            open_head(KEY, cut, user="alice")


def test_an_older_head_put_back_is_noticed_while_the_key_is_open(bench: Bench) -> None:
    assert not bench.attempt(False)
    (head,) = bench.folder.glob("alice.head-*")
    older = head.read_bytes()
    assert not bench.attempt(False)
    head.write_bytes(older)
    with pytest.raises(VaultIntegrityError, match="older head"):
        bench.attempt(True)


@pytest.mark.parametrize(
    "change", [{"count": 0}, {"count": 2}, {"until_boot_ns": 5}, {"count": 2, "until_boot_ns": 1}, {"count": True}]
)
def test_counts_are_checked(change: dict[str, Any]) -> None:
    assert waiting(count=2, until_boot_ns=2).line()
    with pytest.raises(InputError):
        waiting(**change)


def test_an_open_entry_is_copied_once_however_much_is_logged_without_the_key(bench: Bench) -> None:
    for _ in range(2):
        assert bench.attempt(True)
    bench.clock.turn(1)
    other = Bench(bench.folder, bench.key)
    other.clock.now_ns = bench.clock.now_ns
    for _ in range(300):
        other.clock.turn(1)
        other.vault.lock("alice")
    assert [count for word, outcome, count in told(bench) if outcome == "match"] == [2]
