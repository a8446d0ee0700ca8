"""A camera that is mounted upside down or on its side: no face of it is ever compared, and the hint says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from PIL import Image

from facesdk import Decision, Engine, FaceVerifier
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import enrollment_probe, observed, usable_samples
from facesdk.engine.engine import TURNED_PIXELS
from facesdk.errors import EnrollmentError, InputError
from facesdk.evaluation import vector
from facesdk.images.file import MIN_SIDE
from facesdk.images.frames import in_margin
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
    assert assess(sample, len(faces), QualityLimits(), enrolling=True) is None
    hints = []
    for turns in (1, 2, 3):
        refusal = assess(*_observed(engine, turned(name, turns)), QualityLimits(), enrolling=False)
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
        samples, refusal = usable_samples([turned(name, turns)] * 6, engine, QualityLimits(), consecutive=True)
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
        assert assess(*_observed(engine, large), QualityLimits(), enrolling=False) is not None, name
    assert looked_at
    assert max(max(shape[:2]) for shape in looked_at) < 2 * TURNED_PIXELS


def test_a_long_narrow_picture_is_not_made_too_small(engine: Engine) -> None:
    face = Image.fromarray(turned("obama_2005", 2)).resize((MIN_SIDE, MIN_SIDE))
    frame = np.full((MIN_SIDE, 2000, 3), 90, np.uint8)
    frame[:, -MIN_SIDE:] = np.asarray(face)
    found = replace(engine.detect(portrait("obama_2005"))[0], box_px=np.array([0, 0, 1900, 60], np.float32), score=0.6)
    assert isinstance(engine._is_turned(frame, found), bool)
    wide = np.ascontiguousarray(frame.swapaxes(0, 1))
    assert isinstance(engine._is_turned(wide, found), bool)


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
                refusal = assess(sample, faces, QualityLimits(), enrolling=True)
                assert refusal is not None
                assert refusal.guidance is Guidance.HOLD_UPRIGHT


# --- faces that fill their picture


def tight_crop(name: str, engine: Engine, *, inset: float) -> tuple[np.ndarray, np.ndarray]:
    """A portrait cut within the face's box, by this share of its side; and where its corner was."""
    frame = portrait(name)
    x0, y0, x1, y1 = (float(v) for v in engine.detect(frame)[0].box_px)
    inset *= x1 - x0
    left, top = int(max(0, x0 + inset)), int(max(0, y0 + inset))
    cut = frame[top : int(y1 - inset), left : int(x1 - inset)]
    return np.ascontiguousarray(cut), np.array([left, top], np.float32)


@pytest.mark.parametrize("name", ["obama_2005", "ardern_2022"])
def test_a_face_without_surroundings_is_seen_in_a_margin(engine: Engine, name: str) -> None:
    frame, corner = tight_crop(name, engine, inset=0.1)
    assert engine.detect(frame)
    sample, faces = engine.observe(frame)
    assert sample is not None
    assert not sample.turned
    whole = engine.sample(portrait(name))
    assert whole is not None
    eyes = np.linalg.norm(whole.face.keypoints_px[0] - whole.face.keypoints_px[1])
    for found in (sample.face, faces[0]):
        assert np.abs(found.keypoints_px + corner - whole.face.keypoints_px)[:4].max() < 0.15 * eyes  # ears are guessed
    assert sample.face.landmarks_px is not None
    assert whole.face.landmarks_px is not None
    apart = sample.face.landmarks_px[:, :2] + corner - whole.face.landmarks_px[:, :2]
    assert np.abs(apart).mean() < 5
    assert vector(engine.embed(sample)) @ vector(engine.embed(whole)) > 0.6


@pytest.mark.parametrize("name", ["obama_2005", "ardern_2022", "hopper", "macron_2025", "sunak"])
@pytest.mark.parametrize("inset", [0.1, 0.12, 0.15])
@TURNS
def test_in_a_margin_only_upright_faces_are_seen(engine: Engine, name: str, inset: float, turns: int) -> None:
    """Without one, detector and mesh agree on an upright face in 11 of these 45, and its features are nobody's."""
    frame, _ = tight_crop(name, engine, inset=inset)
    sample, _ = observed(engine, np.ascontiguousarray(np.rot90(frame, turns)))
    assert sample is None or sample.turned


@pytest.mark.parametrize("name", ["hopper", "macron_2025"])
def test_an_enrollment_finds_a_face_that_fills_its_picture(engine: Engine, name: str) -> None:
    frame, _ = tight_crop(name, engine, inset=0.15)
    assert engine.observe(frame) == (None, [])
    sample, faces = observed(engine, frame)
    assert sample is not None
    assert len(faces) == 1
    (enrolled,) = enrollment_probe([frame], engine, QualityLimits()).vectors
    assert enrolled @ vector(engine.embed(engine.sample(portrait(name)))) > 0.5  # type: ignore[arg-type]


def test_a_large_frame_is_not_copied_into_a_margin() -> None:
    wide, margin = in_margin(np.zeros((80, 100, 3), np.uint8))
    assert (wide.shape, margin) == ((130, 150, 3), 25)
    assert wide[0, 0].tolist() == [128] * 3
    assert in_margin(np.zeros((80, 101), np.uint8))[0].shape == (132, 153)
    for shape in ((4000, 4001, 3), (64, 5600)):
        frame = np.zeros(shape, np.uint8)
        assert in_margin(frame) == (frame, 0)
