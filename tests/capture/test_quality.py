"""What a sample is refused for, at each limit, just beyond it, and where there is no number at all."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from conftest import portrait

from facesdk import Engine
from facesdk.capture import crop_measures, quality
from facesdk.capture.quality import QualityLimits, Refusal, assess
from facesdk.types import Decision, Face, Guidance, Pose, Quality, Sample

GOOD = Quality(
    eye_distance_px=60.0, brightness=120.0, contrast=40.0, overexposed=0.0, sharpness=100.0, presence=1.0,
    signal_to_noise=10.0,
)  # fmt: skip
NO_PARTS = np.zeros((64, 64, 3), np.uint8)
BOTH = pytest.mark.parametrize("enrolling", [False, True])
UP, DOWN = math.inf, -math.inf


def sample(
    *, pose: tuple[float, float, float] = (0.0, 0.0, 0.0), runner_up: float = 0.0, turned: bool = False,
    crop: np.ndarray = NO_PARTS, **measured: float,
) -> Sample:  # fmt: skip
    face = Face(np.zeros(4, np.float32), np.zeros((6, 2), np.float32), 1.0, Pose(*pose))
    return Sample(face, replace(GOOD, **measured), runner_up, crop, turned)


def hint(given: Sample | None, *, enrolling: bool, faces: int = 1, **limits: float) -> Guidance | None:
    refused = assess(given, faces, QualityLimits(**limits), enrolling=enrolling)
    return None if refused is None else refused.guidance


# What is measured, the last value that is good, the way out, and what the person is told.
LIMITS: list[tuple[str, float, float, Guidance]] = [
    ("presence", 0.5, DOWN, Guidance.UNCOVER_FACE),
    ("brightness", 4.0, DOWN, Guidance.MORE_LIGHT),
    ("signal_to_noise", 3.8, DOWN, Guidance.MORE_LIGHT),
    ("overexposed", 0.45, UP, Guidance.LESS_LIGHT),
    ("sharpness", 20.0, DOWN, Guidance.HOLD_STILL),
    ("yaw", 35.0, UP, Guidance.LOOK_STRAIGHT),
    ("yaw", -35.0, DOWN, Guidance.LOOK_STRAIGHT),
    ("pitch", 35.0, UP, Guidance.LOOK_STRAIGHT),
    ("pitch", -35.0, DOWN, Guidance.LOOK_STRAIGHT),
    ("roll", 45.0, UP, Guidance.HOLD_UPRIGHT),
    ("roll", -45.0, DOWN, Guidance.HOLD_UPRIGHT),
]


def measuring(name: str, value: float) -> Sample:
    if name in ("yaw", "pitch", "roll"):
        angles = {**dict.fromkeys(("yaw", "pitch", "roll"), 0.0), name: value}
        return sample(pose=(angles["yaw"], angles["pitch"], angles["roll"]))
    return sample(**{name: value})


@BOTH
@pytest.mark.parametrize(("name", "last", "out", "told"), LIMITS)
def test_each_limit(name: str, last: float, out: float, told: Guidance, enrolling: bool) -> None:
    assert hint(measuring(name, last), enrolling=enrolling) is None
    assert hint(measuring(name, math.nextafter(last, out)), enrolling=enrolling) is told
    assert hint(measuring(name, math.nan), enrolling=enrolling) is told


@pytest.mark.parametrize(("enrolling", "smallest"), [(True, 32.0), (False, 24.0)])
def test_a_verification_takes_faces_of_three_quarters_the_size(enrolling: bool, smallest: float) -> None:
    assert hint(sample(eye_distance_px=smallest), enrolling=enrolling) is None
    smaller = math.nextafter(smallest, 0.0)
    assert hint(sample(eye_distance_px=smaller), enrolling=enrolling) is Guidance.COME_CLOSER
    assert hint(sample(eye_distance_px=math.nan), enrolling=enrolling) is Guidance.COME_CLOSER


def test_a_verification_bears_a_bystander_and_an_enrollment_nobody() -> None:
    assert hint(sample(runner_up=0.25), enrolling=False) is None
    assert hint(sample(runner_up=math.nextafter(0.25, 1.0)), enrolling=False) is Guidance.BE_ALONE
    assert hint(sample(runner_up=1e-6), enrolling=True) is Guidance.BE_ALONE
    refused = assess(sample(runner_up=1.0), 2, QualityLimits(), enrolling=False)
    assert refused is not None
    assert refused.decision is Decision.SEVERAL_FACES


@pytest.mark.parametrize(("contrast", "sharpest"), [(40.0, 20.0), (20.0, 5.0), (10.0, 1.25), (80.0, 20.0)])
def test_the_limit_for_sharpness_falls_with_the_square_of_contrast(contrast: float, sharpest: float) -> None:
    assert hint(sample(contrast=contrast, sharpness=sharpest), enrolling=False) is None
    blurred = sample(contrast=contrast, sharpness=math.nextafter(sharpest, 0.0))
    assert hint(blurred, enrolling=False) is Guidance.HOLD_STILL


@BOTH
def test_what_cannot_be_made_out(enrolling: bool) -> None:
    assert hint(sample(), enrolling=enrolling) is None
    nobody = assess(None, 0, QualityLimits(), enrolling=enrolling)
    assert nobody == Refusal(Decision.NO_FACE, Guidance.SHOW_FACE, "no face was found")
    covered = assess(None, 1, QualityLimits(), enrolling=enrolling)
    assert covered is not None
    assert (covered.decision, covered.guidance) == (Decision.POOR_QUALITY, Guidance.UNCOVER_FACE)
    assert hint(sample(turned=True), enrolling=enrolling) is Guidance.HOLD_UPRIGHT


@pytest.fixture(scope="module")
def seen(sface: Engine) -> Sample:
    """A face that shows eyes, mouth and chin."""
    found = sface.sample(portrait("obama_2012"))
    assert found is not None
    return found


# The measure, the constant that it is held to at an enrollment alone, the way out, and what is told.
PARTS = [
    (crop_measures.eye_brightness, "MIN_EYE_BRIGHTNESS", UP, Guidance.TAKE_OFF_GLASSES),
    (crop_measures.chin_colour, "MAX_CHIN_COLOUR", DOWN, Guidance.TAKE_OFF_MASK),
    (crop_measures.mouth_detail, "MIN_MOUTH_DETAIL", UP, Guidance.TAKE_OFF_MASK),
    (crop_measures.fine_detail, "MIN_FINE_DETAIL", UP, Guidance.HOLD_STILL),
]


@pytest.mark.parametrize(("measure", "name", "out", "told"), PARTS)
def test_parts_of_a_face_to_their_limit(
    seen: Sample, monkeypatch: pytest.MonkeyPatch, measure: Any, name: str, out: float, told: Guidance
) -> None:
    assert hint(seen, enrolling=True) is None
    value = measure(seen.crop)
    monkeypatch.setattr(quality, name, value)
    assert hint(seen, enrolling=True) is None
    monkeypatch.setattr(quality, name, math.nextafter(value, out))
    assert hint(seen, enrolling=True) is told
    assert hint(seen, enrolling=False) is None  # of a comparison nothing of this is asked
    cut = replace(seen, crop=np.ascontiguousarray(seen.crop[1:]))
    assert hint(cut, enrolling=True) is None  # nor of a crop whose parts are elsewhere
    turned = replace(seen, turned=True)
    assert hint(turned, enrolling=True) is Guidance.HOLD_UPRIGHT


def test_a_mask_is_told_before_what_it_spoils_and_not_of_a_blurred_face(
    seen: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MIN_MOUTH_DETAIL", 1e9)
    covered = replace(seen, quality=replace(seen.quality, presence=0.0))
    assert hint(covered, enrolling=True) is Guidance.TAKE_OFF_MASK
    assert hint(covered, enrolling=False) is Guidance.UNCOVER_FACE
    monkeypatch.setattr(quality, "MIN_FINE_DETAIL", crop_measures.fine_detail(seen.crop))
    assert hint(seen, enrolling=True) is Guidance.TAKE_OFF_MASK
    monkeypatch.setattr(quality, "MIN_FINE_DETAIL", 1e9)
    assert hint(seen, enrolling=True) is Guidance.HOLD_STILL


def test_the_limits_are_those_that_were_measured() -> None:
    """benchmarks/quality.py and benchmarks/enrollment_checks.py say what each of them refuses."""
    measured = {"MIN_EYE_BRIGHTNESS": 0.38, "MIN_MOUTH_DETAIL": 0.035, "MAX_CHIN_COLOUR": 0.2,
                "MIN_FINE_DETAIL": -0.5, "USUAL_CONTRAST": 40.0}  # fmt: skip
    assert {name: getattr(quality, name) for name in measured} == measured


def test_a_refusal_stays_as_it_was_made() -> None:
    refused = assess(None, 0, QualityLimits(), enrolling=False)
    with pytest.raises(FrozenInstanceError):
        refused.guidance = Guidance.NONE  # type: ignore[misc,union-attr]
