"""The attempt rules: every cell of the table, each preset's sequence, and what is documented of them."""

from __future__ import annotations

import ast
import dataclasses
from itertools import product
from pathlib import Path

import pytest
from attempts_tools import NOW, PHONE, STATES, STRICT, H, S

from facesdk.errors import LockedOutError, PassphraseRequiredError, Reason, exit_code
from facesdk.vault import attempts
from facesdk.vault.attempts import TABLE, AttemptEvent, PassphraseRequired, Phase, Ready, charge, kind, step
from facesdk.vault.rules import PRESETS, AttemptRules

DOCS = Path(__file__).resolve().parents[2] / "docs" / "attempts.md"

# What each event must make of the three states, in their order.
OPENED = Ready(opened_ns=NOW, active_ns=NOW, failures=0, not_before_ns=0)
RESET = Ready(opened_ns=1 * H, active_ns=NOW, failures=0, not_before_ns=0)
PAID = Ready(opened_ns=1 * H, active_ns=2 * H, failures=5, not_before_ns=NOW + 30 * S)
SAME = "same"
EXPECTED = {
    AttemptEvent.PASSPHRASE_OK: (OPENED, OPENED, OPENED),
    AttemptEvent.PASSPHRASE_WRONG: (SAME, SAME, SAME),
    AttemptEvent.ATTEMPT: (PassphraseRequiredError("it was last given too long ago"), PAID, LockedOutError(60)),
    AttemptEvent.MATCH: (SAME, RESET, RESET),
    AttemptEvent.MISMATCH: (SAME, SAME, SAME),
    AttemptEvent.POOR_SAMPLE: (SAME, SAME, SAME),
    AttemptEvent.TIME: (SAME, SAME, SAME),
    AttemptEvent.LOCK: (PassphraseRequired(Reason.LOCKED),) * 3,
    AttemptEvent.PANIC: (PassphraseRequired(Reason.PANIC),) * 3,
    AttemptEvent.REMOVE: (PassphraseRequired(Reason.REMOVED),) * 3,
    AttemptEvent.RESTART: (PassphraseRequired(Reason.NOT_UNLOCKED),) * 3,
}
CELLS = {(k, event): row[i] for event, row in EXPECTED.items() for i, k in enumerate(STATES)}


def test_every_cell_of_the_table_has_a_case() -> None:
    assert set(CELLS) == set(TABLE) == set(product(Phase, AttemptEvent))
    assert len(TABLE) == 33
    for k, state in STATES.items():
        assert kind(state, now_ns=NOW, rules=PHONE) is k


@pytest.mark.parametrize("cell", TABLE, ids=lambda cell: f"{cell[0].name}-{cell[1].name}")
def test_cell(cell: tuple[Phase, AttemptEvent]) -> None:
    before, expected = STATES[cell[0]], CELLS[cell]
    if isinstance(expected, Exception):
        with pytest.raises(type(expected)) as caught:
            step(before, cell[1], now_ns=NOW, rules=PHONE)
        assert str(caught.value) == str(expected)
        assert exit_code(caught.value) == 4
    else:
        assert step(before, cell[1], now_ns=NOW, rules=PHONE) == (before if expected is SAME else expected)


# What TIME makes of a state before any event: (state, now, rules) and the reason it must give.
PASSED = {
    "expired": (Ready(opened_ns=0, active_ns=71 * H, failures=0, not_before_ns=0), 72 * H, PHONE, Reason.EXPIRED),
    "idle": (Ready(opened_ns=0, active_ns=2 * H, failures=0, not_before_ns=0), 6 * H, STRICT, Reason.IDLE),
    "expired and idle": (Ready(opened_ns=0, active_ns=0, failures=0, not_before_ns=0), 24 * H, STRICT, Reason.EXPIRED),
    "stricter rules": (Ready(opened_ns=0, active_ns=0, failures=3, not_before_ns=0), 1 * H, STRICT, Reason.FAILURES),
    "clock behind": (Ready(opened_ns=1, active_ns=9, failures=0, not_before_ns=0), 8, PHONE, Reason.NOT_UNLOCKED),
    "no rule's delay": (
        Ready(opened_ns=0, active_ns=0, failures=5, not_before_ns=2 * H + 1), 1 * H, PHONE, Reason.NOT_UNLOCKED,
    ),
}  # fmt: skip
LETS_STAND = {
    AttemptEvent.PASSPHRASE_WRONG,
    AttemptEvent.MATCH,
    AttemptEvent.MISMATCH,
    AttemptEvent.POOR_SAMPLE,
    AttemptEvent.TIME,
}


@pytest.mark.parametrize("event", AttemptEvent)
@pytest.mark.parametrize("case", PASSED)
def test_time_comes_before_every_event(case: str, event: AttemptEvent) -> None:
    state, now_ns, rules, reason = PASSED[case]
    if event is AttemptEvent.ATTEMPT:
        with pytest.raises(PassphraseRequiredError) as caught:
            step(state, event, now_ns=now_ns, rules=rules)
        assert caught.value.reason == reason.value
    elif event in LETS_STAND:
        assert step(state, event, now_ns=now_ns, rules=rules) == PassphraseRequired(reason)
    else:
        fresh = step(PassphraseRequired(Reason.IDLE), event, now_ns=now_ns, rules=rules)
        assert step(state, event, now_ns=now_ns, rules=rules) == fresh


@pytest.mark.parametrize(
    ("name", "idle_h", "every_h"), [("phone", None, 72), ("strict", 4, 24), ("convenience", 48, 156)]
)
def test_limits_hold_to_the_nanosecond(name: str, idle_h: int | None, every_h: int) -> None:
    rules = AttemptRules.preset(name)
    state = step(PassphraseRequired(Reason.LOCKED), AttemptEvent.PASSPHRASE_OK, now_ns=5, rules=rules)
    idle_end = 5 + (idle_h or every_h) * H
    assert step(state, AttemptEvent.TIME, now_ns=idle_end - 1, rules=rules) == state
    ended = PassphraseRequired(Reason.IDLE if idle_h else Reason.EXPIRED)
    assert step(state, AttemptEvent.TIME, now_ns=idle_end, rules=rules) == ended
    now_ns = 5
    while now_ns + H < 5 + every_h * H:  # a match every hour restarts the idle clock and extends nothing else
        now_ns += H
        state = matched(state, now_ns=now_ns, rules=rules)
        assert state == Ready(opened_ns=5, active_ns=now_ns, failures=0, not_before_ns=0)
    assert step(state, AttemptEvent.TIME, now_ns=5 + every_h * H - 1, rules=rules) == state
    assert step(state, AttemptEvent.TIME, now_ns=5 + every_h * H, rules=rules) == PassphraseRequired(Reason.EXPIRED)


def matched(state: Ready | PassphraseRequired, *, now_ns: int, rules: AttemptRules) -> Ready | PassphraseRequired:
    """The state after an attempt that was a match."""
    paid = charge(state, now_ns=now_ns, rules=rules)
    return paid.match(paid.after, now_ns=now_ns, rules=rules)


def failed(state: Ready | PassphraseRequired, *, now_ns: int, rules: AttemptRules) -> Ready | PassphraseRequired:
    """The state after an attempt that was no match."""
    paid = charge(state, now_ns=now_ns, rules=rules)
    return paid.mismatch(paid.after, now_ns=now_ns, rules=rules)


@pytest.mark.parametrize(
    ("name", "waits"),
    [("phone", [0, 0, 0, 0, 30, 60, 120, 240, 480]), ("strict", [0, 0]), ("convenience", [0, 0, 0, 0])],
)
def test_sequence_of_failures(name: str, waits: list[int]) -> None:
    rules, now_ns = AttemptRules.preset(name), 7 * S
    state: Ready | PassphraseRequired = Ready(opened_ns=0, active_ns=0, failures=0, not_before_ns=0)
    for count, wait in enumerate(waits, 1):
        assert matched(state, now_ns=now_ns, rules=rules) == Ready(
            opened_ns=0, active_ns=now_ns, failures=0, not_before_ns=0
        )
        state = failed(state, now_ns=now_ns, rules=rules)
        assert isinstance(state, Ready)
        assert state.failures == count
        if wait:
            with pytest.raises(LockedOutError, match=f"try again in {wait} s") as caught:
                charge(state, now_ns=now_ns, rules=rules)
            assert caught.value.retry_after_s == wait
            with pytest.raises(LockedOutError, match="try again in 1 s"):
                charge(state, now_ns=now_ns + wait * S - 1, rules=rules)
        now_ns += wait * S
        assert kind(state, now_ns=now_ns, rules=rules) is Phase.READY
    last = charge(state, now_ns=now_ns, rules=rules)
    assert last.after == PassphraseRequired(Reason.FAILURES)  # what is saved before the comparison is made
    again = Ready(opened_ns=0, active_ns=now_ns + 1, failures=0, not_before_ns=0)
    assert last.match(last.after, now_ns=now_ns + 1, rules=rules) == again
    assert last.mismatch(last.after, now_ns=now_ns + 1, rules=rules) == PassphraseRequired(Reason.FAILURES)
    with pytest.raises(PassphraseRequiredError, match="too many attempts did not match"):
        charge(last.after, now_ns=now_ns + 1, rules=rules)


def test_poor_samples_cost_nothing() -> None:
    state = STATES[Phase.READY]
    for _ in range(1000):
        state = step(state, AttemptEvent.POOR_SAMPLE, now_ns=NOW, rules=PHONE)
    assert state == STATES[Phase.READY]


@pytest.mark.parametrize("event", [AttemptEvent.LOCK, AttemptEvent.PANIC, AttemptEvent.REMOVE, AttemptEvent.RESTART])
@pytest.mark.parametrize("failures", [0, 9])
def test_a_match_gives_back_only_what_it_paid(event: AttemptEvent, failures: int) -> None:
    """What happened between charge and match holds, also over the last attempt."""
    paid = charge(dataclasses.replace(STATES[Phase.READY], failures=failures), now_ns=NOW, rules=PHONE)
    assert paid.match(paid.after, now_ns=NOW, rules=PHONE) == RESET
    meanwhile = step(paid.after, event, now_ns=NOW, rules=PHONE)
    assert isinstance(meanwhile, PassphraseRequired)
    assert paid.match(meanwhile, now_ns=NOW, rules=PHONE) == meanwhile


def test_a_match_does_not_undo_another_process_s_last_attempt() -> None:
    ours = charge(dataclasses.replace(STATES[Phase.READY], failures=1), now_ns=NOW, rules=STRICT_WITHOUT_IDLE)
    assert ours.match(ours.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE) == RESET
    theirs = charge(ours.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE)
    assert ours.match(theirs.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE) == PassphraseRequired(Reason.FAILURES)


STRICT_WITHOUT_IDLE = dataclasses.replace(STRICT, idle_s=None)


def test_a_match_does_not_outlive_an_expiry() -> None:
    opened = Ready(opened_ns=0, active_ns=0, failures=0, not_before_ns=0)
    paid = charge(opened, now_ns=72 * H - 2, rules=PHONE)
    assert isinstance(paid.match(paid.after, now_ns=72 * H - 1, rules=PHONE), Ready)
    assert paid.match(paid.after, now_ns=72 * H, rules=PHONE) == PassphraseRequired(Reason.EXPIRED)
    assert paid.match(paid.after, now_ns=72 * H - 2, rules=PHONE) != paid.after
    later = Ready(opened_ns=9, active_ns=9, failures=0, not_before_ns=0)
    paid = charge(later, now_ns=9, rules=PHONE)
    assert paid.match(paid.after, now_ns=8, rules=PHONE) == PassphraseRequired(Reason.NOT_UNLOCKED)


def test_documentation_has_the_table() -> None:
    text = DOCS.read_text()
    table = text.split("<!-- table -->\n")[1].split("<!-- end of table -->")[0]
    assert table == attempts.markdown_table()
    assert table.count("\n") == len(AttemptEvent) + 2


def test_documentation_has_the_presets() -> None:
    for name, rules in PRESETS.items():
        idle = "no limit" if rules.idle_s is None else f"{rules.idle_s // 3600} h"
        waits = [rules.delay_s(n) for n in range(rules.free_attempts, rules.passphrase_after)]
        delays = ", ".join(map(str, waits)) + " s" if waits else "none"
        row = f"| {name} | {rules.passphrase_every_s // 3600} h | {idle} | {rules.free_attempts} | {delays} |"
        assert f"{row} {rules.passphrase_after} failures |" in DOCS.read_text()


def test_module_is_pure() -> None:
    tree = ast.parse(Path(attempts.__file__).read_text())
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert froms <= {
        "__future__", "collections.abc", "dataclasses", "enum", "types", "typing", "facesdk.errors",
        "facesdk.vault.rules",
    }  # fmt: skip
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_reasons_read_as_the_end_of_a_sentence() -> None:
    for reason in Reason:
        assert str(PassphraseRequiredError(reason.value)) == f"the passphrase is required: {reason.value}"
        assert reason.value[0].islower()
        assert not reason.value.endswith(".")
