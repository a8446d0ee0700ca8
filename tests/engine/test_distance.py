"""Faces far away: who is found and how, what the person is told, what is never compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from PIL import Image

from facesdk import Engine
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import observed
from facesdk.engine import distance
from facesdk.engine.distance import MAX_SCORE, is_distant
from facesdk.engine.faces import CERTAINLY_UPRIGHT
from facesdk.engine.networks import load_manifest
from facesdk.engine.tracking import Tracker
from facesdk.errors import ModelIntegrityError
from facesdk.types import Guidance

PEOPLE = ("obama_2012", "ardern_2018", "sunak")
EMPTY = np.full((480, 640, 3), 120, np.uint8)


def scene(engine: Engine, name: str, eyes_px: float, *, at: tuple[int, int] = (150, 200), turns: int = 0) -> np.ndarray:
    """A portrait with its eyes so far apart on a gray ground, its corner at (y, x)."""
    picture = portrait(name)
    sample = engine.sample(picture)
    assert sample is not None
    scale = eyes_px / sample.quality.eye_distance_px
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = np.rot90(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)), turns)
    frame = EMPTY.copy()
    piece = small[: 480 - at[0], : 640 - at[1]]
    frame[at[0] : at[0] + piece.shape[0], at[1] : at[1] + piece.shape[1]] = piece
    return frame


@pytest.mark.parametrize("name", PEOPLE)
def test_a_person_too_far_away_is_told_to_come_closer(sface: Engine, name: str) -> None:
    frame = scene(sface, name, 18)
    assert sface._pipeline.detect(frame) == []
    sample, faces = sface.observe(frame)
    assert len(faces) == 1
    assert sample is not None
    assert sample.quality.eye_distance_px == pytest.approx(18, rel=0.15)
    refusal = assess(sample, len(faces), QualityLimits(), enrolling=False)
    assert refusal is not None
    assert refusal.guidance is Guidance.COME_CLOSER
    assert [len(found) for found in (sface.detect(frame), observed(sface, frame)[1])] == [1, 1]


def test_distant_faces_are_always_judged_for_being_turned(sface: Engine) -> None:
    assert MAX_SCORE < CERTAINLY_UPRIGHT
    for name in PEOPLE:
        for eyes_px in (18, 28):
            faces = sface.detect(scene(sface, name, eyes_px))
            assert faces
            assert all(face.score <= MAX_SCORE for face in faces)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("name", PEOPLE)
def test_a_turned_face_far_away_is_never_compared(sface: Engine, name: str, turns: int) -> None:
    for eyes_px in (34, 30, 26):
        frame = scene(sface, name, eyes_px, turns=turns, at=(100, 100))
        sample, faces = sface.observe(frame)
        assert assess(sample, len(faces), QualityLimits(), enrolling=False) is not None


def test_a_distant_face_handed_back_gives_the_same_sample(sface: Engine) -> None:
    frame = scene(sface, "sunak", 28)
    (face,) = sface.detect(frame)
    sample, handed = sface.observe(frame)[0], sface.sample(frame, face)
    assert sample is not None
    assert handed is not None
    assert not sample.turned
    assert np.array_equal(sample.crop, handed.crop)


def test_of_several_far_away_the_largest_comes_first(sface: Engine) -> None:
    frame = scene(sface, "sunak", 17, at=(180, 40))
    other = scene(sface, "ardern_2018", 21, at=(180, 350))
    frame[:, 350:] = other[:, 350:]
    faces = sface.detect(frame)
    assert len(faces) == 2
    assert float(faces[0].box_px[0]) > 350 > float(faces[1].box_px[2])


def test_nobody_is_found_where_nobody_is(sface: Engine) -> None:
    rng = np.random.default_rng(5)
    frames = [EMPTY, rng.integers(0, 256, (480, 640, 3), np.uint8), rng.integers(0, 256, (240, 320), np.uint8)]
    frames.append(np.asarray(Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((640, 480))))
    for frame in frames:
        assert sface.observe(frame) == (None, [])


def test_what_from_nearby_is_no_face_is_none(sface: Engine) -> None:
    finder = distance.FarDetector(sface._pipeline, sface.runtime)
    box = np.array([300, 200, 350, 250], np.float32)
    assert finder.looked_at(EMPTY, (box, np.zeros((6, 2), np.float32), 0.9, (0, 0, 0))) is None
    frame = scene(sface, "sunak", 18)
    (seen,) = finder._loaded().detect(frame)
    looked = finder.looked_at(frame, seen)
    assert looked is not None
    assert is_distant(frame, looked)
    assert finder.looked_at(frame, (seen[0] + np.float32(150), *seen[1:])) is None


def test_a_near_face_needs_no_second_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = Engine("mobilefacenet")
    manifest = load_manifest()
    monkeypatch.setattr(distance, "load_manifest", lambda: replace(manifest, folder=tmp_path))
    assert engine.observe(portrait("hopper"))[0] is not None
    assert engine.observe_near(EMPTY) == (None, [])
    with pytest.raises(ModelIntegrityError, match="blazeface_full_range"):
        engine.observe(EMPTY)
    monkeypatch.undo()
    assert engine.observe(EMPTY) == (None, [])


def test_a_tracker_finds_the_distant_within_a_few_frames(sface: Engine) -> None:
    far, tracker = scene(sface, "sunak", 18), Tracker(sface)
    for empty_frames in range(4):
        tracker.reset()
        for _ in range(empty_frames):
            assert tracker.observe(EMPTY) == (None, [])
        seen = [len(tracker.observe(far)[1]) for _ in range(8)]
        assert 0 not in seen[1:]


def test_a_tracker_follows_a_distant_face(sface: Engine) -> None:
    tracker = Tracker(sface)
    for x in range(200, 212, 2):
        sample, faces = tracker.observe(scene(sface, "sunak", 20, at=(150, x)))
        assert sample is not None
        assert len(faces) == 1
    assert tracker.detections == 2
