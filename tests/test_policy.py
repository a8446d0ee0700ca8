"""A policy is checked when made: every bound from both sides, every default and preset as it is documented."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from policy_tools import field_of, with_fields

from facesdk.capture.quality import BOUNDS, QualityLimits
from facesdk.engine.networks import load_manifest
from facesdk.errors import InputError, PolicyFloorError, VaultIntegrityError
from facesdk.policy import Policy
from facesdk.vault.rules import ATTEMPT_BOUNDS, MAX_DELAY_S, PRESETS, AttemptRules

# Written again here, so that a change of a bound or a default is one of this file too: low, default, high.
LIMITS: dict[str, tuple[float, float, float]] = {
    "min_eye_distance_px": (8.0, 32.0, 1000.0), "max_yaw_deg": (1.0, 35.0, 90.0), "max_pitch_deg": (1.0, 35.0, 90.0),
    "min_brightness": (0.0, 4.0, 255.0), "max_overexposed": (0.0, 0.45, 1.0), "min_sharpness": (0.0, 20.0, 10000.0),
    "min_signal_to_noise": (0.0, 3.8, 1000.0), "max_sample_similarity": (0.5, 0.985, 1.0),
}  # fmt: skip
ATTEMPTS = {
    "passphrase_every_s": (1, 561_600), "idle_s": (1, 561_600), "free_attempts": (1, 20), "first_delay_s": (1, 3600),
    "passphrase_after": (1, 20),
}  # fmt: skip
RULES = {"passphrase_every_s": 600, "idle_s": 60, "free_attempts": 1, "first_delay_s": 30, "passphrase_after": 20}


def test_every_limit_is_here() -> None:
    assert set(LIMITS) == set(BOUNDS)
    assert set(ATTEMPTS) == set(ATTEMPT_BOUNDS)
    assert MAX_DELAY_S == 3600


@pytest.mark.parametrize("name", LIMITS)
def test_a_quality_limit_lies_within_its_bounds(name: str) -> None:
    low, default, high = LIMITS[name]
    assert getattr(QualityLimits(), name) == field_of(Policy(), name) == default
    for value in (low, high, int(high)):
        assert getattr(QualityLimits(**{name: value}), name) == value
        assert field_of(with_fields(Policy(), **{name: value}), name) == value
    for wrong in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf), math.nan, None, str(low), [low]):
        with pytest.raises(InputError, match=name):
            QualityLimits(**{name: wrong})


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_rule_is_a_whole_number_within_its_bounds(name: str) -> None:
    low, high = ATTEMPTS[name]
    for value in (low, high):
        rules = {**RULES, name: value}
        rules["free_attempts"] = min(rules["free_attempts"], rules["passphrase_after"])
        rules["passphrase_after"] = max(rules["free_attempts"], rules["passphrase_after"])
        assert getattr(AttemptRules(**rules), name) == value
    for wrong in (low - 1, high + 1, True, float(low), str(low), math.nan):
        with pytest.raises(InputError, match=name):
            AttemptRules(**{**RULES, name: wrong})  # type: ignore[arg-type]
    if name == "idle_s":
        assert AttemptRules(**{**RULES, name: None}).idle_s is None  # type: ignore[arg-type]
    else:
        with pytest.raises(InputError, match=name):
            AttemptRules(**{**RULES, name: None})  # type: ignore[arg-type]


def test_no_more_free_attempts_than_there_are() -> None:
    assert AttemptRules(**{**RULES, "free_attempts": 20}).free_attempts == 20
    with pytest.raises(InputError, match=r"free_attempts must not be above passphrase_after \(4\), not 5"):
        AttemptRules(**{**RULES, "free_attempts": 5, "passphrase_after": 4})


H = 3600
PRESETS_AGAIN = {
    "phone": (72 * H, None, 5, 30, 10), "strict": (24 * H, 4 * H, 3, 30, 3), "convenience": (156 * H, 48 * H, 5, 30, 5),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS_AGAIN)
def test_each_preset(name: str) -> None:
    every_s, idle_s, free, delay_s, after = PRESETS_AGAIN[name]
    rules = AttemptRules.preset(name)
    assert rules == AttemptRules(
        passphrase_every_s=every_s, idle_s=idle_s, free_attempts=free, first_delay_s=delay_s, passphrase_after=after
    )
    assert rules.name == name
    assert replace(rules, first_delay_s=29).name == "custom"
    # Asked for the delay of its last attempt, which only a rule of more attempts would come to, each says the same.
    assert rules.delay_s(free - 1) == 0
    assert rules.delay_s(free) == 30


def test_there_is_no_other_preset_and_the_phone_s_is_taken() -> None:
    assert list(PRESETS) == list(PRESETS_AGAIN)
    assert Policy().attempts == PRESETS["phone"]
    for wrong in ("Phone", "", None, 3, ["phone"]):
        with pytest.raises(InputError, match="attempt rules must be one of phone, strict, convenience"):
            AttemptRules.preset(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="attempts must be AttemptRules"):
        Policy(attempts="phone")  # type: ignore[arg-type]


@pytest.mark.parametrize("first_s", [1, 30, 3599, 3600])
def test_a_delay_doubles_up_to_an_hour(first_s: int) -> None:
    rules = AttemptRules(**{**RULES, "free_attempts": 2, "first_delay_s": first_s})
    assert [rules.delay_s(n) for n in (0, 1, 2)] == [0, 0, first_s]
    assert [rules.delay_s(n) for n in range(2, 40)] == [min(3600, first_s * 2 ** (n - 2)) for n in range(2, 40)]
    assert rules.delay_s(10**9) == 3600


def test_what_is_made_stays_as_it_is_and_is_made_by_name() -> None:
    for made, name in ((QualityLimits(), "min_sharpness"), (Policy(), "target_fmr"), (PRESETS["phone"], "idle_s")):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, 1)
    with pytest.raises(TypeError):
        QualityLimits(32.0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Policy(32.0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        AttemptRules(600, 60, 1, 30, 20)  # type: ignore[misc]


def test_the_target_is_a_measured_point_and_by_default_one_in_fifty_thousand() -> None:
    assert Policy().target_fmr == 2e-5
    offered = {target for entry in load_manifest().embedders.values() for target in entry.targets}
    for target in offered:
        assert Policy(target_fmr=target).target_fmr == target
    for wrong in (0.0, 3e-5, 1.0, math.nan, None):
        with pytest.raises(InputError, match="target_fmr must be a measured operating point"):
            Policy(target_fmr=wrong)  # type: ignore[arg-type]


def floor(**changes: Any) -> str:
    return json.dumps({**json.loads(Policy().sealed()), **changes})


def test_an_enrollment_seals_all_but_what_is_for_itself() -> None:
    assert json.loads(Policy().sealed()) == {
        "target_fmr": 2e-5,
        **{name: limit[1] for name, limit in LIMITS.items() if name != "max_sample_similarity"},
    }
    assert Policy().sealed() == json.dumps(json.loads(Policy().sealed()), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("name", [name for name in LIMITS if name != "max_sample_similarity"])
def test_a_sealed_limit_binds_and_lies_within_its_bounds(name: str) -> None:
    low, default, high = LIMITS[name]
    strictest = high if name.startswith("min_") else low
    loosest = low + high - strictest
    assert field_of(Policy().tightened(floor(**{name: strictest})), name) == strictest
    assert field_of(Policy().tightened(floor(**{name: loosest})), name) == default
    Policy().check_not_looser(floor(**{name: loosest}))
    Policy().check_not_looser(floor(**{name: default}))
    with pytest.raises(PolicyFloorError, match=name):
        Policy().check_not_looser(floor(**{name: strictest}))
    for wrong in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        with pytest.raises(VaultIntegrityError):
            Policy().tightened(floor(**{name: wrong}))


def test_a_sealed_target_lies_between_none_and_all() -> None:
    assert Policy(target_fmr=1e-3).tightened(floor(target_fmr=1.0)).target_fmr == 1e-3
    assert Policy(target_fmr=1e-3).tightened(floor(target_fmr=2e-5)).target_fmr == 2e-5
    for wrong in (math.nextafter(1.0, 2.0), -1e-9):
        with pytest.raises(VaultIntegrityError):
            Policy().tightened(floor(target_fmr=wrong))
    for nothing in (0.0, 1e-12):  # stricter than whatever was measured: nothing can hold it
        with pytest.raises(InputError, match="target_fmr"):
            Policy().tightened(floor(target_fmr=nothing))


def test_a_floor_of_too_few_or_of_other_fields_is_none_that_we_write() -> None:
    whole = json.loads(floor())
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        if name == "min_signal_to_noise":  # sealed before there was such a field
            Policy().check_not_looser(json.dumps(less))
        else:
            with pytest.raises(VaultIntegrityError):
                Policy().check_not_looser(json.dumps(less))
    with pytest.raises(VaultIntegrityError):
        Policy().check_not_looser(floor(max_sample_similarity=0.9))


def test_the_operating_point_is_the_target_s_own() -> None:
    entry = load_manifest().embedder("sface")
    for samples, frames in ((1, 1), (3, 1), (3, 3), (5, 3)):
        own = Policy().operating_point("sface", samples=samples, frames=frames)
        assert own == entry.point(2e-5, samples=samples, frames=frames)
        other = Policy().operating_point("sface", samples=samples, frames=frames, target_fmr=1e-3)
        assert other == entry.point(1e-3, samples=samples, frames=frames)
        assert other.threshold < own.threshold
    points = Policy().points_of_a_verification("sface", samples=3, frames=3)
    assert points == [entry.point(2e-5, samples=3, frames=n) for n in (1, 2, 3)]


def test_the_parts_of_a_policy_are_of_their_kinds() -> None:
    strict = QualityLimits(min_sharpness=30.0)
    assert Policy(quality=strict).quality is strict
    for wrong in (None, 30.0, {"min_sharpness": 30.0}, Policy()):
        with pytest.raises(InputError, match="quality must be QualityLimits"):
            Policy(quality=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Policy(min_sharpness=30.0)  # type: ignore[call-arg]
