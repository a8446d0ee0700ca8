"""A camera that is mounted upside down or on its side: no face of it is ever compared, and the hint says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from PIL import Image

from facesdk import Decision, Engine, FaceVerifier
from facesdk.capture import probe_samples
from facesdk.engine import TURNED_PIXELS
from facesdk.errors import EnrollmentError, InputError
from facesdk.picture_file import MIN_SIDE
from facesdk.policy import Policy
from facesdk.quality import assess
from facesdk.types import Guidance

NAMES = ("obama_2005", "obama_2012", "biden", "ardern_2018", "sunak", "macron_2014", "hopper")
TURNS = pytest.mark.parametrize("turns", [1, 2, 3], ids=["90", "180", "270"])


def turned(name: str, turns: int) -> np.ndarray:
    """The portrait turned by so many quarters to the left."""
    return np.ascontiguousarray(np.rot90(portrait(name), turns))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("sface")


@pytest.mark.parametrize("name", NAMES)
def test_turned_faces_are_refused_and_upright_ones_are_not(engine: Engine, name: str) -> None:
    sample, faces = engine.observe(portrait(name))
    assert sample is not None
    assert not sample.turned
    assert assess(sample, len(faces), Policy(), enrolling=True) is None
    hints = []
    for turns in (1, 2, 3):
        refusal = assess(*_observed(engine, turned(name, turns)), Policy(), enrolling=False)
        assert refusal is not None, turns
        hints.append(refusal.guidance)
    assert set(hints) <= {Guidance.HOLD_UPRIGHT, Guidance.SHOW_FACE, Guidance.UNCOVER_FACE}
    assert Guidance.HOLD_UPRIGHT in hints


def _observed(engine: Engine, frame: np.ndarray) -> tuple:
    sample, faces = engine.observe(frame)
    return sample, len(faces)


@TURNS
def test_a_turned_camera_enrolls_nobody_and_opens_to_nobody(tmp_path: Path, engine: Engine, turns: int) -> None:
    verifier = FaceVerifier(tmp_path, passphrase="the words of this test", engine=engine)
    with pytest.raises(EnrollmentError):
        verifier.enroll("owner", [turned("obama_2005", turns), turned("obama_2009", turns)], allow_few_samples=True)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    assert verifier.verify("owner", portrait("obama_2012")).decision is Decision.MATCH
    for name in NAMES:
        outcome = verifier.verify("owner", turned(name, turns))
        assert outcome.decision in (Decision.POOR_QUALITY, Decision.NO_FACE), name


@TURNS
def test_a_stream_of_turned_frames_is_not_followed(engine: Engine, turns: int) -> None:
    for name in NAMES:
        samples, refusal = probe_samples([turned(name, turns)] * 6, engine, Policy(), consecutive=True)
        assert samples == [], name
        assert refusal.guidance is not Guidance.NONE


def test_of_a_large_picture_small_copies_are_turned(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[tuple[int, ...]] = []
    detect = Engine._detect

    def seeing(self: Engine, frame: np.ndarray) -> list:
        looked_at.append(frame.shape)
        return detect(self, frame)

    monkeypatch.setattr(Engine, "_detect", seeing)
    for name in NAMES:
        large = np.asarray(Image.fromarray(turned(name, 2)).resize((3000, 3000)))
        assert assess(*_observed(engine, large), Policy(), enrolling=False) is not None, name
    assert looked_at
    assert max(max(shape[:2]) for shape in looked_at) < 2 * TURNED_PIXELS


def test_a_long_narrow_picture_is_not_made_too_small(engine: Engine) -> None:
    face = Image.fromarray(turned("obama_2005", 2)).resize((MIN_SIDE, MIN_SIDE))
    frame = np.full((MIN_SIDE, 2000, 3), 90, np.uint8)
    frame[:, -MIN_SIDE:] = np.asarray(face)
    found = replace(engine.detect(portrait("obama_2005"))[0], box_px=np.array([0, 0, 1900, 60], np.float32), score=0.6)
    assert engine._is_turned(frame, found) in (True, False)
    wide = np.ascontiguousarray(frame.swapaxes(0, 1))
    assert engine._is_turned(wide, found) in (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_turned_crops_never_become_features_however_they_are_asked_for(engine: Engine, name: str) -> None:
    (face, *_) = engine.detect(portrait(name))
    assert engine.features(portrait(name), face) is not None
    for turns in (1, 2, 3):
        frame = turned(name, turns)
        for face in (None, *engine.detect(frame)):
            sample = engine.sample(frame, face)
            if sample is not None and not sample.turned:  # then the mesh says so, and no verification takes it
                assert abs(sample.face.pose.roll_deg) > 45 or not sample.quality.presence >= 0.5
                continue
            assert engine.features(frame, face) is None
            if sample is not None:
                with pytest.raises(InputError, match="turned or misaligned"):
                    engine.embed(sample)


def test_an_enrollment_is_told_the_same_as_a_verification(engine: Engine) -> None:
    for name in NAMES:
        for turns in (1, 2, 3):
            sample, faces = _observed(engine, turned(name, turns))[:2]
            if sample is not None and sample.turned:
                refusal = assess(sample, faces, Policy(), enrolling=True)
                assert refusal is not None
                assert refusal.guidance is Guidance.HOLD_UPRIGHT
