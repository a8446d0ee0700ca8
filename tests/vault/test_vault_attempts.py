"""An attempt is paid for before its comparison, and nothing but a logged match that nothing overtook unlocks."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_tools import RULES, Bench, failing_with, fork, make_record

from facesdk import _core, matching
from facesdk.errors import (
    LockedOutError,
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
    VaultError,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, KeyringOpenKeys, ProcessOpenKeys, Template
from facesdk.vault.attempts import NS, PassphraseRequired
from facesdk.vault.rules import PRESETS, AttemptRules

QUICK = AttemptRules(passphrase_every_s=3600, idle_s=600, free_attempts=3, first_delay_s=30, passphrase_after=3)


@pytest.fixture(params=["process", "keyring"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A vault with alice in it, her key open under rules of three attempts."""
    open_keys: Any = ProcessOpenKeys()
    if request.param == "keyring":
        try:
            _core.keyring_put("facesdk-test", b"x", 1)
        except OSError as error:
            pytest.skip(f"no kernel keyring here: {error}")
        open_keys = KeyringOpenKeys(tmp_path / "vault")
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"), open_keys=open_keys)
    bench.enroll(rules=QUICK)
    yield bench
    if request.param == "keyring":
        open_keys.forget("alice", Reason.REMOVED)


def outcomes(bench: Bench) -> list[str]:
    """The outcomes in the audit log, and the other events after the first."""
    _, entries, _ = bench.vault.audit("alice", bench.key)
    named = [(entry.outcome.value if entry.outcome else entry.event.value, entry.count) for entry in entries[1:]]
    return [name for name, count in named for _ in range(count)]


# --- paid first


def test_a_match_gives_the_attempt_back(bench: Bench) -> None:
    seen: list[int] = []

    def compare(_: Template) -> bool:
        seen.append(bench.failures())
        return True

    for _ in range(5):
        assert bench.attempt(compare) is True
    assert seen == [1] * 5
    assert bench.failures() == 0
    assert outcomes(bench) == ["match"] * 5


def test_a_mismatch_costs_an_attempt_and_the_last_one_the_key(bench: Bench) -> None:
    assert bench.attempt(False) is False
    assert bench.failures() == 1
    assert bench.attempt(True) is True
    assert bench.failures() == 0
    for _ in range(3):
        assert bench.attempt(False) is False
    assert bench.reason() is Reason.FAILURES
    with pytest.raises(PassphraseRequiredError, match="did not match"):
        bench.attempt(True)
    assert outcomes(bench) == ["non_match", "match", *["non_match"] * 3, "locked_out"]
    bench.unlock(rules=QUICK)
    assert bench.failures() == 0
    assert bench.attempt(True) is True


def test_the_last_attempt_forgets_the_key_before_it_compares(bench: Bench) -> None:
    seen: list[object] = []

    def compare(_: Template) -> bool:
        seen.append(bench.open_keys.load("alice"))
        return True

    bench.attempt(False)
    bench.attempt(False)
    assert bench.attempt(compare) is True
    assert seen == [PassphraseRequired(Reason.FAILURES)]
    assert bench.failures() == 0  # the match gave the key back
    assert bench.attempt(True) is True


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1), MemoryError()])
def test_an_exception_in_the_comparison_costs_an_attempt(bench: Bench, error: BaseException) -> None:
    def compare(_: Template) -> bool:
        raise error

    for expected in (1, 2):
        with pytest.raises(type(error)):
            bench.attempt(compare)
        assert bench.failures() == expected
    with pytest.raises(type(error)):
        bench.attempt(compare)
    assert bench.reason() is Reason.FAILURES
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True)


@pytest.mark.parametrize("answer", [1, "yes", [True], np.True_, None, 0.99, object()])
def test_only_true_is_a_match(bench: Bench, answer: Any) -> None:
    assert bench.attempt(lambda _: answer) is False
    assert bench.failures() == 1


def test_a_killed_program_has_lost_the_attempt(tmp_path: Path, bench: Bench) -> None:
    if isinstance(bench.open_keys, ProcessOpenKeys):
        pytest.skip("the session ends with its process")
    child = fork()
    if child == 0:
        try:
            other = Bench(bench.folder, bench.key, open_keys=KeyringOpenKeys(bench.folder))
            other.attempt(lambda _: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert bench.failures() == 1


def test_the_template_is_wiped_after_the_attempt(bench: Bench) -> None:
    kept: list[np.ndarray] = []

    def compare(template: Template) -> bool:
        kept.append(template.reference)
        assert matching.score(template.reference, template.turned([make_record().reference])[0]) > 0.999
        return True

    assert bench.attempt(compare)
    assert not kept[0].any()


# --- the log


def test_a_log_that_cannot_be_written_never_unlocks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.attempt(True)
    for number, name in enumerate(("write", "fsync"), 1):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing_with(errno.ENOSPC))
            with pytest.raises(VaultError, match="free some space"):
                bench.attempt(True)
        assert bench.failures() == number
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_with(errno.ENOSPC))
        with pytest.raises(VaultError):
            bench.attempt(True)
    assert bench.reason() is Reason.FAILURES
    assert outcomes(bench).count("match") == 1


def test_a_full_disk_never_unlocks(bench: Bench) -> None:
    assert bench.attempt(True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (bench.folder / "alice.audit").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(VaultError) as caught:
            bench.attempt(True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert bench.failures() == 1
    assert bench.attempt(True)


@pytest.mark.parametrize("how", ["edited", "cut", "missing", "symlink", "mode"])
def test_a_broken_log_never_unlocks_and_nothing_is_compared(bench: Bench, tmp_path: Path, how: str) -> None:
    assert not bench.attempt(False)
    assert bench.attempt(True)
    log = bench.folder / "alice.audit"
    content = log.read_bytes()
    actions: dict[str, Callable[[], object]] = {
        "edited": lambda: log.write_bytes(content.replace(b'"non_match"', b'"nun_match"')),
        "cut": lambda: log.write_bytes(content[: content.index(b"\n") + 1]),
        "missing": log.unlink,
        "symlink": lambda: (log.rename(tmp_path / "aside"), log.symlink_to(tmp_path / "aside")),
        "mode": lambda: log.chmod(0o644),
    }
    actions[how]()
    with pytest.raises((VaultIntegrityError, VaultError)):
        bench.attempt(lambda _: pytest.fail("compared"))
    assert bench.failures() == 0


def test_a_log_broken_during_the_comparison_does_not_unlock(bench: Bench) -> None:
    log = bench.folder / "alice.audit"

    def compare(_: Template) -> bool:
        log.write_bytes(b"")
        return True

    with pytest.raises(VaultIntegrityError):
        bench.attempt(compare)
    assert bench.failures() == 1


# --- what overtakes a match


@pytest.mark.parametrize("reason", [Reason.PANIC, Reason.LOCKED, Reason.REMOVED])
@pytest.mark.parametrize("failures", [0, 2])
def test_a_key_forgotten_during_the_comparison_stays_forgotten(bench: Bench, reason: Reason, failures: int) -> None:
    def compare(_: Template) -> bool:
        bench.open_keys.forget("alice", reason)
        return True

    for _ in range(failures):
        bench.attempt(False)
    with pytest.raises(PassphraseRequiredError, match=reason.value):
        bench.attempt(compare)
    assert bench.reason() is reason


def test_panic_of_another_thread_wins_over_the_match(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = threading.Event()
    forget = bench.open_keys.forget_all

    def telling(reason: Reason) -> int:
        count = forget(reason)
        forgotten.set()
        return count

    def compare(_: Template) -> bool:
        thread.start()
        return forgotten.wait(5)

    monkeypatch.setattr(bench.open_keys, "forget_all", telling)
    thread = threading.Thread(target=bench.vault.panic)
    with pytest.raises(PassphraseRequiredError, match="emergency"):
        bench.attempt(compare)
    thread.join()
    assert bench.reason() is Reason.PANIC


def test_lock_waits_for_the_attempt_and_then_holds(bench: Bench) -> None:
    def compare(_: Template) -> bool:
        thread.start()
        return True

    thread = threading.Thread(target=bench.vault.lock, args=("alice",))
    with contextlib.suppress(PassphraseRequiredError):  # lock may come before the comparison
        bench.attempt(compare)
    thread.join()
    assert bench.reason() is Reason.LOCKED
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True)


def test_no_match_outlives_an_expiry(bench: Bench) -> None:
    def compare(_: Template) -> bool:
        bench.clock.turn(3600)
        return True

    with pytest.raises(PassphraseRequiredError, match="too long ago"):
        bench.attempt(compare)
    assert bench.reason() is Reason.EXPIRED


@pytest.mark.parametrize(("seconds", "reason"), [(600, Reason.IDLE), (3600, Reason.EXPIRED)])
def test_a_mismatch_that_ends_after_the_key_s_time_forgets_it_at_once(
    bench: Bench, seconds: int, reason: Reason
) -> None:
    def compare(_: Template) -> bool:
        bench.clock.turn(seconds)
        return False

    assert bench.attempt(compare) is False
    assert bench.reason() is reason
    assert outcomes(bench) == ["non_match"]


def test_a_panic_between_charging_and_saving_wins(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panic does not wait for the vault's lock, so it can come at any moment of an attempt."""
    generation, save = bench.generation(), bench.open_keys.save

    def overtaken(user: str, held: Any) -> None:
        monkeypatch.setattr(bench.open_keys, "save", save)
        bench.open_keys.forget(user, Reason.PANIC)
        save(user, held)

    monkeypatch.setattr(bench.open_keys, "save", overtaken)
    with pytest.raises(PassphraseRequiredError):
        bench.vault.attempt("alice", lambda _: True, generation=generation, camera="c", label="")
    assert bench.reason() is Reason.PANIC


# --- time


def test_the_passphrase_is_needed_every_72_hours_matches_or_not(bench: Bench) -> None:
    bench.unlock(rules=PRESETS["phone"])
    for _ in range(11):
        bench.clock.turn(6 * 3600)
        assert bench.attempt(True)
    bench.clock.turn(6 * 3600 - 1e-9)
    assert bench.attempt(True)
    bench.clock.turn(1e-9)
    with pytest.raises(PassphraseRequiredError, match="too long ago"):
        bench.attempt(True)
    assert bench.reason() is Reason.EXPIRED
    bench.clock.turn(-3600)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True)


def test_idle(bench: Bench) -> None:
    for _ in range(3):
        bench.clock.turn(599)
        assert bench.attempt(True)
    bench.clock.turn(300)
    assert bench.attempt(False) is False  # only a match starts the clock again
    bench.clock.turn(300)
    with pytest.raises(PassphraseRequiredError, match="no match for too long"):
        bench.attempt(True)
    assert bench.reason() is Reason.IDLE


@pytest.mark.parametrize("back_s", [1e-9, 1, 3600, 1_000_000])
def test_a_boot_clock_that_goes_backwards_closes(bench: Bench, back_s: float) -> None:
    assert bench.attempt(True)
    bench.clock.turn(-back_s)
    with pytest.raises(PassphraseRequiredError, match="since the device or program started"):
        bench.attempt(True)
    bench.clock.turn(back_s)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(True)
    assert isinstance(bench.vault.state("alice")[0], PassphraseRequired)


def test_the_wall_clock_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = time.time()
    for shift in (-20 * 365 * 86400, 20 * 365 * 86400):
        monkeypatch.setattr(time, "time", lambda shift=shift: now + shift)
        assert bench.attempt(True)


def test_delays(bench: Bench) -> None:
    rules = dataclasses.replace(PRESETS["phone"], free_attempts=2, passphrase_after=4)
    bench.unlock(rules=rules)
    assert bench.attempt(False) is False
    assert bench.attempt(False) is False
    for delay_s in (30, 60):
        for _ in range(2):
            with pytest.raises(LockedOutError) as caught:
                bench.attempt(lambda _: pytest.fail("compared"))
            assert caught.value.retry_after_s == delay_s
        bench.clock.turn(delay_s - 1)
        with pytest.raises(LockedOutError):
            bench.attempt(True)
        bench.clock.turn(1)
        assert bench.attempt(False) is False
    assert bench.reason() is Reason.FAILURES


def test_state_shows_and_forgets_an_expired_key(bench: Bench) -> None:
    assert bench.vault.state("alice")[1] is not None
    bench.clock.turn(3600)
    assert bench.vault.state("alice") == (PassphraseRequired(Reason.EXPIRED), None)
    assert isinstance(bench.open_keys.load("alice"), PassphraseRequired)


def test_attempts_on_what_is_not_there(bench: Bench) -> None:
    bench.path().unlink()
    for call in (bench.attempt, lambda: bench.vault.attempt(
        "alice", lambda _: True, generation=1, camera="c", label=""
    )):  # fmt: skip
        with pytest.raises(NotEnrolledError):
            call()


def test_poor_samples_cost_nothing(bench: Bench) -> None:
    for _ in range(10):
        with bench.vault.opened("alice"):
            pass  # what the verifier does before it looks at the picture
    assert bench.failures() == 0
    assert outcomes(bench) == []


def test_eight_threads_at_once_lose_no_attempt(bench: Bench) -> None:
    bench.unlock(rules=RULES)
    results: list[object] = []

    def attempts() -> None:
        for _ in range(2):
            try:
                results.append(bench.attempt(False))
            except (PassphraseRequiredError, LockedOutError) as error:
                results.append(type(error).__name__)

    threads = [threading.Thread(target=attempts) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(False) == RULES.free_attempts
    assert bench.failures() == RULES.free_attempts
    assert bench.open_keys.load("alice").state.not_before_ns == bench.clock.now_ns + 30 * NS
