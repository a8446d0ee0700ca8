"""Several processes at one vault and clocks that jump: no count of failures is lost, and no rule is outlived."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import places_tools
import pytest
from faults.places import HOUR_NS, USER, Place, make_record
from places_tools import needs_keyring

from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, Reason
from facesdk.types import Decision
from facesdk.vault import KeyFileKey, KeyringOpenKeys, Vault, VaultFolder
from facesdk.vault import userfiles as userfile
from facesdk.vault.attempts import PassphraseRequired
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.rules import AttemptRules

root, place = places_tools.root, places_tools.place
RACER = Path(__file__).resolve().parent / "faults" / "racer.py"
PROCESSES = 8
TIMEOUT_S = 120  # for a few hundred operations that take some milliseconds each
YEAR_S = 365 * 86400

# --- processes


def race(root: Path, *, operations: int, what: str) -> list[list[str]]:
    """What each of the processes said it did, all started at once."""
    racers = [
        subprocess.Popen(
            [sys.executable, str(RACER), str(root), str(seed), str(operations), what],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        for seed in range(PROCESSES)
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=TIMEOUT_S) for racer in racers]
    finally:
        for racer in racers:
            if racer.poll() is None:
                racer.kill()
                racer.communicate()
    assert [racer.returncode for racer in racers] == [0] * PROCESSES, said[0][1]
    return [out.split("\n")[:-1] for out, _ in said]


@contextlib.contextmanager
def raced(root: Path, *, rules: AttemptRules) -> Iterator[Vault]:
    """A vault with one user whose key is open, for all processes."""
    open_keys = KeyringOpenKeys(root / "vault")
    vault = Vault(VaultFolder(root / "vault"), open_keys)
    KeyFileKey.create(root / "b")
    vault.enroll(make_record(), KeyFileKey.create(root / "a"), replace=False, rules=rules)
    try:
        yield vault
    finally:
        open_keys.forget(USER, Reason.REMOVED)


FREE = AttemptRules(passphrase_every_s=3600, idle_s=None, free_attempts=20, first_delay_s=1, passphrase_after=20)


@needs_keyring
@pytest.mark.parametrize(("each", "compared"), [(2, 16), (5, 20)])
def test_no_failure_is_lost_among_processes(root: Path, each: int, compared: int) -> None:
    with raced(root, rules=FREE) as vault:
        said = Counter(word for words in race(root, operations=each, what="fail") for word in words)
        refused = each * PROCESSES - compared
        assert said == Counter({"non_match": compared, "PassphraseRequiredError": refused})
        state, held = vault.state(USER)
        if refused:
            assert state == PassphraseRequired(Reason.FAILURES)
        else:
            assert held is not None
            assert held.state.failures == compared
        report, entries, _ = vault.audit(USER, KeyFileKey(root / "a"))
    assert report.problem is None
    counted = Counter(entry.event for entry in entries)
    assert counted[AuditEvent.VERIFIED] == compared
    assert counted[AuditEvent.LOCKED_OUT] == bool(refused)


EVENTS = {
    "unlock": AuditEvent.UNLOCKED, "rekey": AuditEvent.REKEYED, "renew": AuditEvent.RENEWED,
    "enroll": AuditEvent.REPLACED,
}  # fmt: skip


@needs_keyring
def test_everything_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raced(root, rules=FREE) as vault:
        said = [word for words in race(root, operations=50, what="all") for word in words]
        assert len(said) == 50 * PROCESSES
        monkeypatch.setattr(userfile, "FREE_REFUSALS", 1_000_000)
        key, refused = working_key(root, vault)
        report, entries, sealed = vault.audit(USER, key)
        # A refused key is an entry that nobody has sealed yet.
        assert (report.problem, report.unsealed, sealed) == (None, refused, True)
        _, held = vault.state(USER)
        check_log(said, entries, failures=held.state.failures if held else None)
        assert not [name for name in os.listdir(root / "vault") if name.startswith(".facesdk-tmp-")]
        assert len([name for name in os.listdir(root / "vault") if ".head-" in name]) == 1
        vault.unlock(USER, key, rules=FREE)
        held = vault.state(USER)[1]
        assert held is not None
        assert vault.attempt(USER, lambda _: True, generation=held.generation, camera="files", label="")


def working_key(root: Path, vault: Vault) -> tuple[KeyFileKey, int]:
    """The one that opens the file, and how many were refused before it, each of which is an entry more."""
    for refused, name in enumerate("ab"):
        with contextlib.suppress(KeyUnavailableError):
            vault.audit(USER, KeyFileKey(root / name))
            return KeyFileKey(root / name), refused
    raise AssertionError("neither key opens the file")


def check_log(said: list[str], entries: list[Any], *, failures: int | None) -> None:
    """The log has what the processes said, no more and no less, and its order gives the failures of the session."""
    outcomes: Counter[Decision] = Counter()
    for entry in entries:
        if entry.event is AuditEvent.VERIFIED:
            outcomes[entry.outcome] += entry.count
    assert outcomes[Decision.MATCH] == said.count("match")
    assert outcomes[Decision.NON_MATCH] == said.count("non_match")
    events = Counter(entry.event for entry in entries)
    for word, event in EVENTS.items():
        assert events[event] == sum(line.startswith(word) for line in said), word
    assert min(outcomes.values()) > 5
    assert min(events[event] for event in EVENTS.values()) > 0
    counted = 0
    for entry in entries:
        counted += entry.outcome is Decision.NON_MATCH
        if entry.outcome is Decision.MATCH or entry.event in (*EVENTS.values(), AuditEvent.ENROLLED):
            counted = 0
    assert failures in (None, counted)


# --- clocks


@pytest.mark.parametrize("years", [-60, -20, 20, 200])
def test_the_wall_clock_changes_nothing(place: Place, years: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    shown = time.time() + years * YEAR_S
    monkeypatch.setattr(time, "time", lambda: shown)
    monkeypatch.setitem(AuditLog.__init__.__kwdefaults__, "wall", lambda: shown)  # type: ignore[index]
    for path in place.path.iterdir():
        os.utime(path, (max(0, shown), max(0, shown)))
    place.fail(1)
    assert place.failures() == 3
    assert place.attempt()
    assert place.is_well()
    assert place.vault.audit(USER)[1][-1].time_unix_s == max(0, int(shown))


@pytest.mark.parametrize(("hours", "reason"), [(80, Reason.EXPIRED), (72, Reason.EXPIRED), (-1, Reason.NOT_UNLOCKED)])
def test_suspended_time_counts(place: Place, hours: int, reason: Reason) -> None:
    assert place.attempt()
    start = place.now_ns
    place.now_ns += 71 * HOUR_NS
    assert place.attempt()
    place.now_ns = start + hours * HOUR_NS
    with pytest.raises(PassphraseRequiredError, match=reason.value):
        place.attempt()
    place.now_ns = start
    with pytest.raises(PassphraseRequiredError):
        place.attempt()
    assert place.held() is None
    assert place.is_well()


@needs_keyring
def test_a_key_of_another_boot_is_of_no_use(root: Path) -> None:
    place = Place(root, keyring=True)
    place.now_ns = HOUR_NS
    with pytest.raises(PassphraseRequiredError, match="not unlocked"):
        place.attempt()
    assert place.vault.state(USER) == (PassphraseRequired(Reason.NOT_UNLOCKED), None)
    place.vault.remove(USER)
