"""Engine.eyes: on portraits, under turns and mirrors, and of what has no eyes to read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait

from facesdk import Engine
from facesdk.engine import eyes as eyes_module
from facesdk.engine.eyes import UNKNOWN, Eyes
from facesdk.engine.networks import load_manifest
from facesdk.errors import InputError, ModelIntegrityError


def read(engine: Engine, frame: np.ndarray) -> Eyes:
    sample = engine.sample(frame)
    assert sample is not None
    return engine.eyes(frame, sample)


def test_all_portraits_have_their_eyes_open(sface: Engine) -> None:
    found = {path.stem: read(sface, portrait(path.stem)) for path in PORTRAITS.glob("*.*g")}
    assert len(found) >= 11
    for eyes in found.values():
        assert 0.09 < eyes.right_openness < 0.35
        assert 0.09 < eyes.left_openness < 0.35
        assert abs(eyes.right_gaze[0] + eyes.left_gaze[0]) / 2 < 0.14
    # Eyes wide open and a squint into the sun.
    assert found["collins"].right_openness > 1.6 * found["obama_2005"].right_openness


def test_the_sides_are_the_person_s(sface: Engine) -> None:
    frame = portrait("macron_2025")
    eyes, mirrored = read(sface, frame), read(sface, np.ascontiguousarray(frame[:, ::-1]))
    assert mirrored.right_openness == pytest.approx(eyes.left_openness, abs=0.03)
    assert mirrored.left_openness == pytest.approx(eyes.right_openness, abs=0.03)
    for a, b in ((mirrored.right_gaze, eyes.left_gaze), (mirrored.left_gaze, eyes.right_gaze)):
        assert a[0] == pytest.approx(-b[0], abs=0.04)
        assert a[1] == pytest.approx(b[1], abs=0.04)


def test_a_painted_eye_is_told_from_the_other(sface: Engine) -> None:
    frame = portrait("sunak").copy()
    sample = sface.sample(frame)
    assert sample is not None
    assert sample.face.landmarks_px is not None
    whole = sface.eyes(frame, sample)
    eye = sample.face.landmarks_px[[33, 133, 159, 145], :2]
    (x0, y0), (x1, y1) = eye.min(0).astype(int) - 3, eye.max(0).astype(int) + 3
    frame[y0:y1, x0:x1] = frame[y1 + 4, x0:x1].mean(axis=0)
    painted = sface.eyes(frame, sample)
    assert painted.left_openness == whole.left_openness
    assert painted.right_openness != whole.right_openness


def test_without_a_mesh_nothing_is_known(sface: Engine) -> None:
    frame = portrait("hopper")
    assert sface.eyes(frame, sface.detect(frame)[0]) is UNKNOWN
    with_mesh = sface.detect(frame, landmarks=True)[0]
    assert not math.isnan(sface.eyes(frame, with_mesh).right_openness)


def test_an_eye_that_reaches_out_of_the_frame_is_unknown(sface: Engine) -> None:
    frame = portrait("hopper")
    face = sface.detect(frame, landmarks=True)[0]
    assert face.landmarks_px is not None
    x = int(face.landmarks_px[[362, 263], 0].mean())
    eyes = sface.eyes(np.ascontiguousarray(frame[:, :x]), face)
    assert math.isnan(eyes.left_openness)
    assert all(math.isnan(v) for v in eyes.left_gaze)
    assert not math.isnan(eyes.right_openness)
    lost = replace(face, landmarks_px=np.full((468, 3), np.nan, np.float32))
    assert all(math.isnan(v) for v in (sface.eyes(frame, lost).right_openness, sface.eyes(frame, lost).left_openness))


def test_what_is_no_face_is_an_input_error(sface: Engine) -> None:
    frame = portrait("hopper")
    with pytest.raises(InputError, match="expected a Sample"):
        sface.eyes(frame, None)  # type: ignore[arg-type]
    short = replace(sface.detect(frame, landmarks=True)[0], landmarks_px=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match="468"):
        sface.eyes(frame, short)


def test_the_network_is_loaded_at_first_need_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine, frame = Engine("mobilefacenet"), portrait("hopper")
    sample = engine.sample(frame)
    assert sample is not None
    manifest = load_manifest()
    monkeypatch.setattr(eyes_module, "load_manifest", lambda: replace(manifest, folder=tmp_path))
    with pytest.raises(ModelIntegrityError, match="iris_landmark"):
        engine.eyes(frame, sample)
    monkeypatch.undo()
    assert engine.eyes(frame, sample).right_openness > 0.1
