"""The attempt rules, states and steps that cannot be are refused when they are made."""

from __future__ import annotations

import dataclasses

import pytest
from attempts_tools import NOW, PHONE, STATES, STRICT

from facesdk.errors import InputError, Reason
from facesdk.policy import Policy
from facesdk.vault import attempts
from facesdk.vault.attempts import AttemptEvent, PassphraseRequired, Phase, Ready, step
from facesdk.vault.rules import ATTEMPT_BOUNDS, PRESETS, AttemptRules

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
    assert Policy(attempts=STRICT, target_fmr=1e-4).attempts == STRICT
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
        PassphraseRequired("locked on request")  # type: ignore[arg-type]


def test_step_is_checked() -> None:
    good = STATES[Phase.READY]
    for now_ns in (True, 1.5, float("nan"), None, -1, attempts.TIME_BOUND_NS):
        with pytest.raises(InputError, match="now_ns must be a whole number"):
            step(good, AttemptEvent.TIME, now_ns=now_ns, rules=PHONE)  # type: ignore[arg-type]
    for state, event in ((None, AttemptEvent.TIME), (good, "TIME"), (Reason.IDLE, AttemptEvent.MATCH)):
        with pytest.raises(InputError, match="step needs"):
            step(state, event, now_ns=NOW, rules=PHONE)  # type: ignore[arg-type]


def test_states_and_times_reach_up_to_their_bounds() -> None:
    top = 2**63 - 1
    assert Ready(opened_ns=top, active_ns=top, failures=top, not_before_ns=top).failures == top
    assert attempts.TIME_BOUND_NS == 2**62
    idle = PassphraseRequired(Reason.IDLE)
    assert step(idle, AttemptEvent.TIME, now_ns=2**62 - 1, rules=PHONE) == idle
    assert step(idle, AttemptEvent.TIME, now_ns=0, rules=PHONE) == idle


def test_states_stay_as_they_were_made_and_are_made_by_name() -> None:
    ready = STATES[Phase.READY]
    paid = attempts.charge(ready, now_ns=NOW, rules=PHONE)
    cell = attempts.TABLE[Phase.READY, AttemptEvent.TIME]
    for made, name in ((ready, "failures"), (PassphraseRequired(Reason.IDLE), "reason"), (paid, "after"), (cell, "to")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, None)
    with pytest.raises(TypeError):
        Ready(0, 0, 0, 0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        attempts.Charged(ready, ready)  # type: ignore[misc,arg-type]
    with pytest.raises(TypeError):
        attempts.TABLE[Phase.READY, AttemptEvent.TIME] = cell  # type: ignore[index]
