"""The attempt rules at random: properties of any rules and state, and an independent model beside the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from attempts_tools import CONVENIENCE, PHONE, STRICT, H, S
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from facesdk.errors import LockedOutError, PassphraseRequiredError, Reason
from facesdk.vault import attempts
from facesdk.vault.attempts import AttemptEvent, Charged, PassphraseRequired, Ready, charge, step
from facesdk.vault.rules import MAX_DELAY_S, AttemptRules

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
def any_state(draw: st.DrawFn) -> Ready | PassphraseRequired:
    """Any state that can be made, also ones no rules lead to."""
    if draw(st.booleans()):
        return PassphraseRequired(draw(st.sampled_from(Reason)))
    opened = draw(TIMES)
    return Ready(
        opened_ns=opened,
        active_ns=opened + draw(st.integers(0, 160 * H)),
        failures=draw(st.integers(0, 25) | st.integers(0, 2**63 - 1)),
        not_before_ns=draw(st.just(0) | TIMES),
    )


def outcome(call: Callable[..., Any], *arguments: Any, now_ns: int, rules: AttemptRules) -> Any:
    """What the call returns, or the error of the two an attempt may raise."""
    try:
        return call(*arguments, now_ns=now_ns, rules=rules)
    except (PassphraseRequiredError, LockedOutError) as error:
        return error


@settings(max_examples=1000)
@given(any_state(), st.sampled_from(AttemptEvent), TIMES, any_rules())
def test_any_state_and_event(
    state: Ready | PassphraseRequired, event: AttemptEvent, now_ns: int, rules: AttemptRules
) -> None:
    """Only the passphrase opens, only a match or the passphrase lowers a count, only an attempt raises an error."""
    aged = step(state, AttemptEvent.TIME, now_ns=now_ns, rules=rules)
    assert isinstance(aged, PassphraseRequired) or aged == state
    assert step(aged, AttemptEvent.TIME, now_ns=now_ns, rules=rules) == aged
    after = outcome(step, state, event, now_ns=now_ns, rules=rules)
    if isinstance(after, Exception):
        assert event is AttemptEvent.ATTEMPT
        assert isinstance(after, PassphraseRequiredError) == isinstance(aged, PassphraseRequired)
        return
    assert after == step(aged, event, now_ns=now_ns, rules=rules)
    if isinstance(after, Ready) and event is not AttemptEvent.PASSPHRASE_OK:
        assert isinstance(state, Ready)
        assert after.opened_ns == state.opened_ns <= now_ns
        assert now_ns - state.opened_ns < rules.passphrase_every_s * S
        assert after.failures < rules.passphrase_after
        assert event is AttemptEvent.MATCH or after.failures == state.failures + (event is AttemptEvent.ATTEMPT)
        assert event is AttemptEvent.MATCH or after.active_ns == state.active_ns


@settings(max_examples=500)
@given(st.integers(0, 19), st.integers(0, H), st.integers(0, H), any_rules())
def test_any_charge(failures: int, age_ns: int, took_ns: int, rules: AttemptRules) -> None:
    state = Ready(opened_ns=3, active_ns=3, failures=failures, not_before_ns=0)
    now_ns = 3 + age_ns
    if isinstance(step(state, AttemptEvent.TIME, now_ns=now_ns + took_ns, rules=rules), PassphraseRequired):
        return
    paid = charge(state, now_ns=now_ns, rules=rules)
    assert paid == Charged(before=state, after=step(state, AttemptEvent.ATTEMPT, now_ns=now_ns, rules=rules))
    now_ns += took_ns
    given_back = Ready(opened_ns=3, active_ns=now_ns, failures=0, not_before_ns=0)
    assert paid.match(paid.after, now_ns=now_ns, rules=rules) == given_back
    if isinstance(paid.after, PassphraseRequired):
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
        self.saved: Ready | PassphraseRequired = PassphraseRequired(Reason.NOT_UNLOCKED)
        self.paid: Charged | None = None

    @rule()
    def passphrase_ok(self) -> None:
        self.saved = step(self.saved, AttemptEvent.PASSPHRASE_OK, now_ns=self.now, rules=self.rules)
        self.model.passphrase(self.now)
        self.paid = None

    @rule(event=st.sampled_from([AttemptEvent.PASSPHRASE_WRONG, AttemptEvent.POOR_SAMPLE, AttemptEvent.TIME]))
    def nothing(self, event: AttemptEvent) -> None:
        self.saved = step(self.saved, event, now_ns=self.now, rules=self.rules)

    @rule(event=st.sampled_from([AttemptEvent.LOCK, AttemptEvent.PANIC, AttemptEvent.REMOVE, AttemptEvent.RESTART]))
    def forget(self, event: AttemptEvent) -> None:
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
            if wait and not isinstance(self.saved, PassphraseRequired):
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
        aged = step(self.saved, AttemptEvent.TIME, now_ns=self.now, rules=self.rules)
        expected = self.model.wait(self.now)
        if isinstance(expected, Reason):
            assert aged == PassphraseRequired(expected)
        else:
            assert isinstance(aged, Ready)
            assert max(0, aged.not_before_ns - self.now) == expected
            assert aged.failures == len(self.model.paid)
            assert (aged.opened_ns, aged.active_ns) == (self.model.seen[0], max(self.model.seen))
        if isinstance(aged, PassphraseRequired):
            self.saved = aged  # what a program does that finds an expired state: it forgets the key, and saves that


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
