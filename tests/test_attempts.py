"""The attempt rules: every cell of the table, each preset's sequence, and an independent model explored at random."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from facesdk.errors import InputError, LockedOutError, PassphraseRequiredError, exit_code
from facesdk.policy import ATTEMPT_BOUNDS, MAX_DELAY_S, PRESETS, AttemptRules, Policy
from facesdk.vault import attempts
from facesdk.vault.attempts import TABLE, Charged, Event, Kind, Ready, Reason, Required, charge, kind, step

S = 1_000_000_000
H = 3600 * S
PHONE, STRICT, CONVENIENCE = (AttemptRules.preset(name) for name in ("phone", "strict", "convenience"))
DOCS = Path(__file__).resolve().parent.parent / "docs" / "attempts.md"

# One state of each kind, at one moment of the phone preset, and what each event must make of it.
NOW = 10 * H
STATES = {
    Kind.PASSPHRASE_REQUIRED: Required(Reason.EXPIRED),
    Kind.READY: Ready(opened_ns=1 * H, active_ns=2 * H, failures=4, not_before_ns=0),
    Kind.DELAYED: Ready(opened_ns=1 * H, active_ns=2 * H, failures=6, not_before_ns=NOW + 59 * S + 1),
}
OPENED = Ready(opened_ns=NOW, active_ns=NOW, failures=0, not_before_ns=0)
RESET = Ready(opened_ns=1 * H, active_ns=NOW, failures=0, not_before_ns=0)
PAID = Ready(opened_ns=1 * H, active_ns=2 * H, failures=5, not_before_ns=NOW + 30 * S)
SAME = "same"
EXPECTED = {
    Event.PASSPHRASE_OK: (OPENED, OPENED, OPENED),
    Event.PASSPHRASE_WRONG: (SAME, SAME, SAME),
    Event.ATTEMPT: (PassphraseRequiredError("it was last given too long ago"), PAID, LockedOutError(60)),
    Event.MATCH: (SAME, RESET, RESET),
    Event.MISMATCH: (SAME, SAME, SAME),
    Event.POOR_SAMPLE: (SAME, SAME, SAME),
    Event.TIME: (SAME, SAME, SAME),
    Event.LOCK: (Required(Reason.LOCKED),) * 3,
    Event.PANIC: (Required(Reason.PANIC),) * 3,
    Event.REMOVE: (Required(Reason.REMOVED),) * 3,
    Event.RESTART: (Required(Reason.NOT_UNLOCKED),) * 3,
}
CELLS = {(k, event): row[i] for event, row in EXPECTED.items() for i, k in enumerate(STATES)}


def test_every_cell_of_the_table_has_a_case() -> None:
    assert set(CELLS) == set(TABLE) == set(product(Kind, Event))
    assert len(TABLE) == 33
    for k, state in STATES.items():
        assert kind(state, now_ns=NOW, rules=PHONE) is k


@pytest.mark.parametrize("cell", TABLE, ids=lambda cell: f"{cell[0].name}-{cell[1].name}")
def test_cell(cell: tuple[Kind, Event]) -> None:
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
LETS_STAND = {Event.PASSPHRASE_WRONG, Event.MATCH, Event.MISMATCH, Event.POOR_SAMPLE, Event.TIME}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("case", PASSED)
def test_time_comes_before_every_event(case: str, event: Event) -> None:
    state, now_ns, rules, reason = PASSED[case]
    if event is Event.ATTEMPT:
        with pytest.raises(PassphraseRequiredError) as caught:
            step(state, event, now_ns=now_ns, rules=rules)
        assert caught.value.reason == reason.value
    elif event in LETS_STAND:
        assert step(state, event, now_ns=now_ns, rules=rules) == Required(reason)
    else:
        fresh = step(Required(Reason.IDLE), event, now_ns=now_ns, rules=rules)
        assert step(state, event, now_ns=now_ns, rules=rules) == fresh


@pytest.mark.parametrize(
    ("name", "idle_h", "every_h"), [("phone", None, 72), ("strict", 4, 24), ("convenience", 48, 156)]
)
def test_limits_hold_to_the_nanosecond(name: str, idle_h: int | None, every_h: int) -> None:
    rules = AttemptRules.preset(name)
    state = step(Required(Reason.LOCKED), Event.PASSPHRASE_OK, now_ns=5, rules=rules)
    idle_end = 5 + (idle_h or every_h) * H
    assert step(state, Event.TIME, now_ns=idle_end - 1, rules=rules) == state
    ended = Required(Reason.IDLE if idle_h else Reason.EXPIRED)
    assert step(state, Event.TIME, now_ns=idle_end, rules=rules) == ended
    now_ns = 5
    while now_ns + H < 5 + every_h * H:  # a match every hour restarts the idle clock and extends nothing else
        now_ns += H
        state = matched(state, now_ns=now_ns, rules=rules)
        assert state == Ready(opened_ns=5, active_ns=now_ns, failures=0, not_before_ns=0)
    assert step(state, Event.TIME, now_ns=5 + every_h * H - 1, rules=rules) == state
    assert step(state, Event.TIME, now_ns=5 + every_h * H, rules=rules) == Required(Reason.EXPIRED)


def matched(state: Ready | Required, *, now_ns: int, rules: AttemptRules) -> Ready | Required:
    """The state after an attempt that was a match."""
    paid = charge(state, now_ns=now_ns, rules=rules)
    return paid.match(paid.after, now_ns=now_ns, rules=rules)


def outcome(call: Callable[..., Any], *arguments: Any, now_ns: int, rules: AttemptRules) -> Any:
    """What the call returns, or the error of the two an attempt may raise."""
    try:
        return call(*arguments, now_ns=now_ns, rules=rules)
    except (PassphraseRequiredError, LockedOutError) as error:
        return error


def failed(state: Ready | Required, *, now_ns: int, rules: AttemptRules) -> Ready | Required:
    """The state after an attempt that was no match."""
    paid = charge(state, now_ns=now_ns, rules=rules)
    return paid.mismatch(paid.after, now_ns=now_ns, rules=rules)


@pytest.mark.parametrize(
    ("name", "waits"),
    [("phone", [0, 0, 0, 0, 30, 60, 120, 240, 480]), ("strict", [0, 0]), ("convenience", [0, 0, 0, 0])],
)
def test_sequence_of_failures(name: str, waits: list[int]) -> None:
    rules, now_ns = AttemptRules.preset(name), 7 * S
    state: Ready | Required = Ready(opened_ns=0, active_ns=0, failures=0, not_before_ns=0)
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
        assert kind(state, now_ns=now_ns, rules=rules) is Kind.READY
    last = charge(state, now_ns=now_ns, rules=rules)
    assert last.after == Required(Reason.FAILURES)  # what is saved before the comparison is made
    again = Ready(opened_ns=0, active_ns=now_ns + 1, failures=0, not_before_ns=0)
    assert last.match(last.after, now_ns=now_ns + 1, rules=rules) == again
    assert last.mismatch(last.after, now_ns=now_ns + 1, rules=rules) == Required(Reason.FAILURES)
    with pytest.raises(PassphraseRequiredError, match="too many attempts did not match"):
        charge(last.after, now_ns=now_ns + 1, rules=rules)


def test_poor_samples_cost_nothing() -> None:
    state = STATES[Kind.READY]
    for _ in range(1000):
        state = step(state, Event.POOR_SAMPLE, now_ns=NOW, rules=PHONE)
    assert state == STATES[Kind.READY]


@pytest.mark.parametrize("event", [Event.LOCK, Event.PANIC, Event.REMOVE, Event.RESTART])
@pytest.mark.parametrize("failures", [0, 9])
def test_a_match_gives_back_only_what_it_paid(event: Event, failures: int) -> None:
    """What happened between charge and match holds, also over the last attempt."""
    paid = charge(dataclasses.replace(STATES[Kind.READY], failures=failures), now_ns=NOW, rules=PHONE)
    assert paid.match(paid.after, now_ns=NOW, rules=PHONE) == RESET
    meanwhile = step(paid.after, event, now_ns=NOW, rules=PHONE)
    assert isinstance(meanwhile, Required)
    assert paid.match(meanwhile, now_ns=NOW, rules=PHONE) == meanwhile


def test_a_match_does_not_undo_another_process_s_last_attempt() -> None:
    ours = charge(dataclasses.replace(STATES[Kind.READY], failures=1), now_ns=NOW, rules=STRICT_WITHOUT_IDLE)
    assert ours.match(ours.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE) == RESET
    theirs = charge(ours.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE)
    assert ours.match(theirs.after, now_ns=NOW, rules=STRICT_WITHOUT_IDLE) == Required(Reason.FAILURES)


STRICT_WITHOUT_IDLE = dataclasses.replace(STRICT, idle_s=None)


def test_a_match_does_not_outlive_an_expiry() -> None:
    opened = Ready(opened_ns=0, active_ns=0, failures=0, not_before_ns=0)
    paid = charge(opened, now_ns=72 * H - 2, rules=PHONE)
    assert isinstance(paid.match(paid.after, now_ns=72 * H - 1, rules=PHONE), Ready)
    assert paid.match(paid.after, now_ns=72 * H, rules=PHONE) == Required(Reason.EXPIRED)
    assert paid.match(paid.after, now_ns=72 * H - 2, rules=PHONE) != paid.after
    later = Ready(opened_ns=9, active_ns=9, failures=0, not_before_ns=0)
    paid = charge(later, now_ns=9, rules=PHONE)
    assert paid.match(paid.after, now_ns=8, rules=PHONE) == Required(Reason.NOT_UNLOCKED)


def test_documentation_has_the_table() -> None:
    text = DOCS.read_text()
    table = text.split("<!-- table -->\n")[1].split("<!-- end of table -->")[0]
    assert table == attempts.markdown_table()
    assert table.count("\n") == len(Event) + 2


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
        "__future__", "collections.abc", "dataclasses", "enum", "types", "typing", "facesdk.errors", "facesdk.policy",
    }  # fmt: skip
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_reasons_read_as_the_end_of_a_sentence() -> None:
    for reason in Reason:
        assert str(PassphraseRequiredError(reason.value)) == f"the passphrase is required: {reason.value}"
        assert reason.value[0].islower()
        assert not reason.value.endswith(".")


# --- what is refused ---

WRONG_NUMBERS = [True, False, 1.0, float("nan"), float("inf"), "5", None, -1, 0, 10**9, -(10**30)]


@pytest.mark.parametrize("name", ATTEMPT_BOUNDS)
def test_rules_are_checked(name: str) -> None:
    good = dataclasses.replace(PHONE, free_attempts=1, passphrase_after=20)
    for value in ATTEMPT_BOUNDS[name]:
        if name != "passphrase_after" or value > 1:
            assert getattr(dataclasses.replace(good, **{name: value}), name) == value
    for value in [*WRONG_NUMBERS, ATTEMPT_BOUNDS[name][0] - 1, ATTEMPT_BOUNDS[name][1] + 1]:
        if name == "idle_s" and value is None:
            continue
        with pytest.raises(InputError, match=f"{name} must be a whole number between"):
            dataclasses.replace(good, **{name: value})


def test_rules_fit_together() -> None:
    assert dataclasses.replace(PHONE, free_attempts=10).delay_s(9) == 0
    with pytest.raises(InputError, match="free_attempts must not be above passphrase_after"):
        dataclasses.replace(PHONE, free_attempts=11)
    with pytest.raises(TypeError):
        AttemptRules(1, None, 1, 1, 1)  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PHONE.free_attempts = 20  # type: ignore[misc]


def test_presets() -> None:
    assert set(PRESETS) == {"phone", "strict", "convenience"}
    assert AttemptRules.preset("strict") is PRESETS["strict"]
    for name in ("Phone", "", None, 3, ["phone"]):
        with pytest.raises(InputError, match="one of phone, strict, convenience"):
            AttemptRules.preset(name)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PRESETS["phone"] = STRICT  # type: ignore[index]


def test_policy_carries_the_rules() -> None:
    assert Policy().attempts == PHONE
    assert Policy(attempts=STRICT, max_yaw_deg=30).attempts == STRICT
    for value in ("strict", None, {"idle_s": 3}):
        with pytest.raises(InputError, match="attempts must be AttemptRules"):
            Policy(attempts=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["opened_ns", "active_ns", "failures", "not_before_ns"])
def test_states_are_checked(name: str) -> None:
    good = Ready(opened_ns=5, active_ns=5, failures=0, not_before_ns=0)
    for value in (True, 1.0, float("nan"), None, "1", -1, 1 << 63):
        with pytest.raises(InputError, match=f"{name} must be a whole number"):
            dataclasses.replace(good, **{name: value})
    with pytest.raises(InputError, match="active_ns must not be before opened_ns"):
        dataclasses.replace(good, active_ns=4)
    with pytest.raises(InputError, match="reason must be a Reason"):
        Required("locked on request")  # type: ignore[arg-type]


def test_step_is_checked() -> None:
    good = STATES[Kind.READY]
    for now_ns in (True, 1.5, float("nan"), None, -1, attempts.TIME_BOUND_NS):
        with pytest.raises(InputError, match="now_ns must be a whole number"):
            step(good, Event.TIME, now_ns=now_ns, rules=PHONE)  # type: ignore[arg-type]
    for state, event in ((None, Event.TIME), (good, "TIME"), (Reason.IDLE, Event.MATCH)):
        with pytest.raises(InputError, match="step needs"):
            step(state, event, now_ns=NOW, rules=PHONE)  # type: ignore[arg-type]


# --- properties ---


@st.composite
def any_rules(draw: st.DrawFn) -> AttemptRules:
    """Presets half of the time, any within the bounds else."""
    if draw(st.booleans()):
        return draw(st.sampled_from([PHONE, STRICT, CONVENIENCE]))
    after = draw(st.integers(1, 20))
    return AttemptRules(
        passphrase_every_s=draw(st.integers(1, 156 * 3600)),
        idle_s=draw(st.none() | st.integers(1, 156 * 3600)),
        free_attempts=draw(st.integers(1, after)),
        first_delay_s=draw(st.integers(1, MAX_DELAY_S)),
        passphrase_after=after,
    )


TIMES = st.integers(0, 160 * H) | st.integers(0, attempts.TIME_BOUND_NS - 1)


@st.composite
def any_state(draw: st.DrawFn) -> Ready | Required:
    """Any state that can be made, also ones no rules lead to."""
    if draw(st.booleans()):
        return Required(draw(st.sampled_from(Reason)))
    opened = draw(TIMES)
    return Ready(
        opened_ns=opened,
        active_ns=opened + draw(st.integers(0, 160 * H)),
        failures=draw(st.integers(0, 25) | st.integers(0, 2**63 - 1)),
        not_before_ns=draw(st.just(0) | TIMES),
    )


@settings(max_examples=1000)
@given(any_state(), st.sampled_from(Event), TIMES, any_rules())
def test_any_state_and_event(state: Ready | Required, event: Event, now_ns: int, rules: AttemptRules) -> None:
    """Only the passphrase opens, only a match or the passphrase lowers a count, only an attempt raises an error."""
    aged = step(state, Event.TIME, now_ns=now_ns, rules=rules)
    assert isinstance(aged, Required) or aged == state
    assert step(aged, Event.TIME, now_ns=now_ns, rules=rules) == aged
    after = outcome(step, state, event, now_ns=now_ns, rules=rules)
    if isinstance(after, Exception):
        assert event is Event.ATTEMPT
        assert isinstance(after, PassphraseRequiredError) == isinstance(aged, Required)
        return
    assert after == step(aged, event, now_ns=now_ns, rules=rules)
    if isinstance(after, Ready) and event is not Event.PASSPHRASE_OK:
        assert isinstance(state, Ready)
        assert after.opened_ns == state.opened_ns <= now_ns
        assert now_ns - state.opened_ns < rules.passphrase_every_s * S
        assert after.failures < rules.passphrase_after
        assert event is Event.MATCH or after.failures == state.failures + (event is Event.ATTEMPT)
        assert event is Event.MATCH or after.active_ns == state.active_ns


@settings(max_examples=500)
@given(st.integers(0, 19), st.integers(0, H), st.integers(0, H), any_rules())
def test_any_charge(failures: int, age_ns: int, took_ns: int, rules: AttemptRules) -> None:
    state = Ready(opened_ns=3, active_ns=3, failures=failures, not_before_ns=0)
    now_ns = 3 + age_ns
    if isinstance(step(state, Event.TIME, now_ns=now_ns + took_ns, rules=rules), Required):
        return
    paid = charge(state, now_ns=now_ns, rules=rules)
    assert paid == Charged(before=state, after=step(state, Event.ATTEMPT, now_ns=now_ns, rules=rules))
    now_ns += took_ns
    given_back = Ready(opened_ns=3, active_ns=now_ns, failures=0, not_before_ns=0)
    assert paid.match(paid.after, now_ns=now_ns, rules=rules) == given_back
    if isinstance(paid.after, Required):
        assert failures + 1 == rules.passphrase_after
        assert paid.mismatch(paid.after, now_ns=now_ns, rules=rules) == paid.after
        return
    assert paid.after.failures == failures + 1 < rules.passphrase_after
    rules_without_limits = dataclasses.replace(rules, idle_s=None, passphrase_every_s=156 * 3600)
    error = outcome(charge, paid.after, now_ns=now_ns, rules=rules_without_limits)
    assert isinstance(error, LockedOutError) == (took_ns < rules.delay_s(failures + 1) * S)
    if isinstance(error, LockedOutError):
        assert 0 < error.retry_after_s <= MAX_DELAY_S
        assert type(error.retry_after_s) is int
        charge(paid.after, now_ns=now_ns + error.retry_after_s * S, rules=rules_without_limits)
        with pytest.raises(LockedOutError):
            charge(paid.after, now_ns=now_ns + error.retry_after_s * S - S, rules=rules_without_limits)


@given(any_rules(), st.integers(0, 10**6))
def test_delays_double_up_to_the_bound(rules: AttemptRules, failures: int) -> None:
    here, following = rules.delay_s(failures), rules.delay_s(failures + 1)
    assert (here == 0) == (failures < rules.free_attempts)
    assert 0 <= here <= MAX_DELAY_S
    assert not here or following == min(2 * here, MAX_DELAY_S)
    assert rules.delay_s(rules.free_attempts) == rules.first_delay_s


# --- the state machine against a model that keeps a history instead of counters ---


class Model:
    """The rules once more, from lists of what happened; times in nanoseconds."""

    def __init__(self, rules: AttemptRules) -> None:
        self.rules, self.why, self.paid, self.seen, self.ours = rules, Reason.NOT_UNLOCKED, [], [], False

    def wait(self, now: int) -> int | Reason:
        """Why the passphrase is required, or how long the next attempt must wait."""
        r, n = self.rules, len(self.paid)
        end = self.paid[-1] + S * min(3600, r.first_delay_s * 2 ** (n - r.free_attempts)) if n >= r.free_attempts else 0
        if self.why is None and (now < max(self.seen) or end - now > 3600 * S):
            self.why = Reason.NOT_UNLOCKED
        if self.why is None and now not in range(self.seen[0], self.seen[0] + r.passphrase_every_s * S):
            self.why = Reason.EXPIRED
        if self.why is None and r.idle_s and now >= max(self.seen) + r.idle_s * S:
            self.why = Reason.IDLE
        return max(0, end - now) if self.why is None else self.why

    def passphrase(self, now: int) -> None:
        self.why, self.paid, self.seen, self.ours = None, [], [now], False

    def pay(self, now: int) -> None:
        self.paid.append(now)
        self.ours = len(self.paid) == self.rules.passphrase_after
        self.why = Reason.FAILURES if self.ours else None

    def match(self, now: int) -> None:
        self.paid, self.why = (self.paid[:-1], None) if self.ours else (self.paid, self.why)
        if not isinstance(self.wait(now), Reason):
            self.paid, self.seen = [], [self.seen[0], now]
        self.ours = False


class Machine(RuleBasedStateMachine):
    """Several programs at one saved state: at most one has an attempt under way, others come and go in between."""

    @initialize(rules=any_rules(), now=st.integers(0, 100 * H))
    def begin(self, rules: AttemptRules, now: int) -> None:
        self.rules, self.now, self.model = rules, now, Model(rules)
        self.saved: Ready | Required = Required(Reason.NOT_UNLOCKED)
        self.paid: Charged | None = None

    @rule()
    def passphrase_ok(self) -> None:
        self.saved = step(self.saved, Event.PASSPHRASE_OK, now_ns=self.now, rules=self.rules)
        self.model.passphrase(self.now)
        self.paid = None

    @rule(event=st.sampled_from([Event.PASSPHRASE_WRONG, Event.POOR_SAMPLE, Event.TIME]))
    def nothing(self, event: Event) -> None:
        self.saved = step(self.saved, event, now_ns=self.now, rules=self.rules)

    @rule(event=st.sampled_from([Event.LOCK, Event.PANIC, Event.REMOVE, Event.RESTART]))
    def forget(self, event: Event) -> None:
        self.saved = step(self.saved, event, now_ns=self.now, rules=self.rules)
        names = {"LOCK": "LOCKED", "PANIC": "PANIC", "REMOVE": "REMOVED", "RESTART": "NOT_UNLOCKED"}
        self.model.why, self.model.ours = Reason[names[event.name]], False

    @rule(times=st.integers(1, 12), wait=st.booleans(), killed=st.booleans())
    def fail(self, times: int, wait: bool, killed: bool) -> None:
        """Failures of this program or another, which may be killed before it says so."""
        for _ in range(times):
            if not self.charged():
                return
            if not killed:
                self.saved = self.paid.mismatch(self.saved, now_ns=self.now, rules=self.rules)
            if wait and not isinstance(self.saved, Required):
                self.now += self.model.wait(self.now)

    @rule()
    def attempt(self) -> None:
        self.charged()

    def charged(self) -> bool:
        """Whether an attempt could be paid for; the model must say the same, or refuse it for the same reason."""
        expected = self.model.wait(self.now)
        paid = outcome(charge, self.saved, now_ns=self.now, rules=self.rules)
        if isinstance(paid, PassphraseRequiredError):
            assert isinstance(expected, Reason)
            assert paid.reason == expected.value
            return False
        if isinstance(paid, LockedOutError):
            assert -(-expected // S) == paid.retry_after_s > 0
            return False
        assert expected == 0
        self.paid, self.saved = paid, paid.after
        self.model.pay(self.now)
        return True

    @precondition(lambda self: self.paid is not None)
    @rule()
    def match(self) -> None:
        self.saved = self.paid.match(self.saved, now_ns=self.now, rules=self.rules)
        self.model.match(self.now)
        self.paid = None

    @rule(seconds=st.sampled_from([0, 1, 30, 60, 480, 3600, 4 * 3600, 24 * 3600]), more=st.sampled_from([-1, 0, 1]))
    def wait(self, seconds: int, more: int) -> None:
        self.now = max(0, self.now + seconds * S + more)

    @rule(which=st.sampled_from(["idle_s", "passphrase_every_s"]), more=st.sampled_from([-1, 0]))
    def wait_for_a_limit(self, which: str, more: int) -> None:
        if isinstance(self.saved, Ready):
            since = self.saved.active_ns if which == "idle_s" else self.saved.opened_ns
            self.now = max(self.now, since + (getattr(self.rules, which) or 0) * S + more)

    @rule(back=st.sampled_from([1, S, H, 100 * H]))
    def clock_goes_back(self, back: int) -> None:
        self.now = max(0, self.now - back)

    @invariant()
    def agrees(self) -> None:
        aged = step(self.saved, Event.TIME, now_ns=self.now, rules=self.rules)
        expected = self.model.wait(self.now)
        if isinstance(expected, Reason):
            assert aged == Required(expected)
        else:
            assert isinstance(aged, Ready)
            assert max(0, aged.not_before_ns - self.now) == expected
            assert aged.failures == len(self.model.paid)
            assert (aged.opened_ns, aged.active_ns) == (self.model.seen[0], max(self.model.seen))
        if isinstance(aged, Required):
            self.saved = aged  # what a program does that finds an expired state: it forgets the key, and saves that


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
