"""The owner's policy is sealed at enrollment: who verifies may tighten it, never loosen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import portrait
from policy_tools import with_fields
from vault_tools import CHEAP, make_record

from facesdk import Engine, FaceVerifier, Policy
from facesdk.errors import PolicyFloorError, VaultIntegrityError
from facesdk.policy import FLOOR
from facesdk.types import Decision
from facesdk.vault import PassphraseKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.rules import AttemptRules

OWNERS = with_fields(Policy(target_fmr=1e-5), max_yaw_deg=30.0, max_overexposed=0.3, min_sharpness=25.0)
LOOSER: dict[str, Any] = {
    "target_fmr": 1e-3, "max_yaw_deg": 90.0, "max_pitch_deg": 90.0, "min_sharpness": 0.0, "min_brightness": 0.0,
    "max_overexposed": 1.0, "min_eye_distance_px": 8.0, "min_signal_to_noise": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Engine:
    return Engine("sface")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small: Engine) -> Path:
    folder = tmp_path_factory.mktemp("floor") / "vault"
    owner = FaceVerifier(folder, key=PassphraseKey("right", **CHEAP), policy=OWNERS, engine=small)
    owner.enroll("owner", [portrait("obama_2009"), portrait("obama_2012")], allow_few_samples=True)
    return folder


def verifier(place: Path, small: Engine, policy: Policy | None) -> FaceVerifier:
    return FaceVerifier(place, key=PassphraseKey("right", **CHEAP), policy=policy, engine=small)


def test_every_field_of_a_policy_is_sealed() -> None:
    assert set(LOOSER) == set(FLOOR)


def test_the_owners_own_policy_and_a_tighter_one_verify(place: Path, small: Engine) -> None:
    frame = portrait("obama_2012")
    assert verifier(place, small, OWNERS).verify("owner", frame)
    assert verifier(place, small, with_fields(OWNERS, min_sharpness=26.0)).verify("owner", frame)


@pytest.mark.parametrize("name", LOOSER)
def test_one_field_looser_is_refused_by_name(place: Path, small: Engine, name: str) -> None:
    assert verifier(place, small, OWNERS).verify("owner", portrait("obama_2012"))
    looser = verifier(place, small, with_fields(OWNERS, **{name: LOOSER[name]}))
    with pytest.raises(PolicyFloorError, match=name):
        looser.verify("owner", portrait("obama_2012"))
    assert looser.vault.state("owner")[0].failures == 0  # type: ignore[union-attr]


def test_without_a_policy_the_owners_holds(place: Path, small: Engine) -> None:
    program = verifier(place, small, None)
    assert program.policy == Policy()
    assert program.verify("owner", portrait("obama_2012"))
    assert program.vault.audit("owner")[1][-1].policy == "phone 1e-05"


def test_without_a_policy_the_sealed_quality_decides(tmp_path: Path, small: Engine) -> None:
    frame = portrait("obama_2009")
    sample = small.sample(frame)
    assert sample is not None
    strict = with_fields(Policy(), min_sharpness=sample.quality.sharpness + 1)
    sharper = portrait("obama_2012")
    other = small.sample(sharper)
    assert other is not None
    assert other.quality.sharpness > strict.quality.min_sharpness, (
        "the portrait that is enrolled must be the sharper one"
    )
    owner = FaceVerifier(tmp_path / "v", key=PassphraseKey("x", **CHEAP), policy=strict, engine=small)
    owner.enroll("owner", sharper, allow_few_samples=True)
    program = FaceVerifier(tmp_path / "v", key=PassphraseKey("x", **CHEAP), engine=small)
    assert program.verify("owner", frame).decision is Decision.POOR_QUALITY


def test_attempt_rules_are_for_who_unlocks(place: Path, small: Engine) -> None:
    policy = with_fields(OWNERS, attempts=AttemptRules.preset("strict"))
    assert verifier(place, small, policy).verify("owner", portrait("obama_2012"))


def test_the_floor_goes_along_when_the_template_is_sealed_anew(place: Path, small: Engine, tmp_path: Path) -> None:
    from facesdk.vault import KeyKind
    from facesdk.vault.rules import PRESETS

    vault = Vault(VaultFolder(place), ProcessOpenKeys())
    key, recovery = PassphraseKey("right", **CHEAP), PassphraseKey("r", kind=KeyKind.RECOVERY, **CHEAP)
    vault.renew("owner", key, rules=PRESETS["phone"])
    vault.rekey("owner", key, key, rules=PRESETS["phone"])
    there = Vault(VaultFolder(tmp_path / "there"), ProcessOpenKeys())
    there.import_(vault.export("owner", key, recovery), recovery, key, replace=False, rules=PRESETS["phone"])
    for each in (vault, there):
        with each.opened("owner") as template:
            assert template.policy == OWNERS.sealed()


def test_a_template_from_before_has_no_floor(tmp_path: Path, small: Engine) -> None:
    assert Policy(target_fmr=1e-3).tightened("") == Policy(target_fmr=1e-3)
    Policy(target_fmr=1e-3).check_not_looser("")
    assert make_record().policy == ""


@pytest.mark.parametrize(
    "sealed",
    ["x", "[]", "{}", "null", '{"target_fmr":1e-5}', OWNERS.sealed().replace("1e-05", "2"),
     OWNERS.sealed().replace("1e-05", '"1e-05"'), OWNERS.sealed()[:-1] + ',"more":1}', "[" * 1900],
)  # fmt: skip
def test_what_is_no_floor_is_refused(sealed: str) -> None:
    with_fields(Policy(target_fmr=1e-5), max_yaw_deg=30.0, max_overexposed=0.3, min_sharpness=25.0).check_not_looser(
        OWNERS.sealed()
    )
    with pytest.raises(VaultIntegrityError):
        Policy().check_not_looser(sealed)
    with pytest.raises(VaultIntegrityError):
        Policy().tightened(sealed)


def test_a_target_of_another_release_becomes_the_next_stricter_one() -> None:
    sealed = OWNERS.sealed().replace("1e-05", "1.5e-05")
    assert Policy(target_fmr=1e-4).tightened(sealed).target_fmr == 1e-5


def test_light_limits_that_were_replaced_do_not_bind_old_templates() -> None:
    """A floor from before there was min_signal_to_noise has its old defaults; what an owner chose stricter stays."""
    floor = json.loads(Policy().sealed())
    del floor["min_signal_to_noise"]
    before = json.dumps({**floor, "min_brightness": 35.0, "max_overexposed": 0.35})
    Policy().check_not_looser(before)
    assert Policy().tightened(before) == Policy()
    chosen = json.dumps({**floor, "min_brightness": 60.0, "max_overexposed": 0.2})
    assert (Policy().tightened(chosen).quality.min_brightness, Policy().tightened(chosen).quality.max_overexposed) == (
        60.0,
        0.2,
    )
    with pytest.raises(PolicyFloorError):
        Policy().check_not_looser(chosen)
    now = json.dumps({**floor, "min_signal_to_noise": 3.8, "min_brightness": 35.0})
    assert Policy().tightened(now).quality.min_brightness == 35.0
