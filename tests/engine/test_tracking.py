"""Tracking: the features of detection in every frame, and nothing followed that is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import portrait
from PIL import Image, ImageOps

from facesdk import Engine, matching
from facesdk.engine.tracking import Tracker, moved
from facesdk.errors import InputError
from facesdk.types import Sample


def clip(name: str, count: int) -> list[np.ndarray]:
    """A face that drifts, grows and tilts in a 640 x 480 picture."""
    image = ImageOps.pad(Image.fromarray(portrait(name)), (640, 480), color=(90, 90, 90))
    frames = []
    for number in range(count):
        turned = image.rotate(number * 0.4, resample=Image.Resampling.BILINEAR, translate=(number * 2, -number))
        size = round(640 * (1 + number * 0.004)), round(480 * (1 + number * 0.004))
        frames.append(np.asarray(turned.resize(size).crop((0, 0, 640, 480))))
    return [np.ascontiguousarray(frame) for frame in frames]


def score(engine: Engine, a: Sample, b: Sample) -> float:
    return matching.score(*matching.vectors_of([engine.embed(a), engine.embed(b)]))


def test_tracked_features_are_those_of_detection(sface: Engine) -> None:
    tracker = Tracker(sface, detect_every=6)
    for frame in clip("obama_2012", 18):
        tracked, faces = tracker.observe(frame)
        detected, _ = sface.observe(frame)
        assert tracked is not None
        assert detected is not None
        assert score(sface, tracked, detected) > 0.93
        assert len(faces) == 1
        assert abs(tracked.face.pose.yaw_deg - detected.face.pose.yaw_deg) < 4
    assert tracker.detections == 3


def test_another_face_is_detected_not_followed(sface: Engine) -> None:
    tracker = Tracker(sface, detect_every=50)
    for name in ("obama_2012", "ardern_2018"):
        frames = clip(name, 3)
        if name == "ardern_2018":
            frames = [np.ascontiguousarray(np.roll(frame, 200, axis=1)) for frame in frames]
        for frame in frames:
            tracked, _ = tracker.observe(frame)
            detected, _ = sface.observe(frame)
            assert tracked is not None
            assert detected is not None
            assert score(sface, tracked, detected) > 0.9, name


def test_a_face_that_leaves_is_gone_at_once(sface: Engine) -> None:
    tracker = Tracker(sface, detect_every=50)
    assert tracker.observe(clip("sunak", 1)[0])[0] is not None
    empty = np.full((480, 640, 3), 90, np.uint8)
    assert tracker.observe(empty) == (None, [])
    assert tracker.observe(clip("sunak", 1)[0])[0] is not None
    assert tracker.detections == 3


def test_a_second_person_is_noticed_with_the_next_detection(sface: Engine) -> None:
    tracker = Tracker(sface, detect_every=4)
    alone = clip("obama_2012", 1)[0]
    both = alone.copy()
    both[:, :220] = np.asarray(ImageOps.pad(Image.fromarray(portrait("ardern_2018")), (220, 480)))
    seen = [len(tracker.observe(frame)[1]) for frame in [alone, both, both, both, both]]
    assert len(sface.detect(both)) == 2
    assert seen == [1, 1, 1, 1, 2]


def test_reset_detects_again_and_bad_arguments_are_refused(sface: Engine) -> None:
    tracker = Tracker(sface)
    frame = clip("hopper", 1)[0]
    tracker.observe(frame)
    tracker.reset()
    tracker.observe(frame)
    assert tracker.detections == 2
    for value in (0, 101, 1.5):
        with pytest.raises(InputError, match="detect_every"):
            Tracker(sface, detect_every=value)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="landmarks"):
        moved(sface.detect(frame)[0], sface.detect(frame)[0])


@pytest.mark.parametrize(
    ("turn_deg", "scale", "shift"), [(0.0, 1.0, (0.0, 0.0)), (0.0, 1.3, (40.0, -25.0)), (20.0, 0.7, (-10.0, 5.0))]
)
def test_the_detected_face_moves_as_its_mesh_did(sface: Engine, turn_deg: float, scale: float, shift) -> None:
    sample = sface.sample(clip("obama_2012", 1)[0])
    assert sample is not None
    found = sample.face
    turn = np.deg2rad(turn_deg)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = found.landmarks_px.copy()
    points[:, :2] = points[:, :2] @ matrix.T + shift
    now = moved(found, replace(found, landmarks_px=points))
    assert np.allclose(now.keypoints_px, found.keypoints_px @ matrix.T + shift, atol=1e-3)
    middle, size = (found.box_px[:2] + found.box_px[2:]) / 2, found.box_px[2:] - found.box_px[:2]
    assert np.allclose((now.box_px[:2] + now.box_px[2:]) / 2, matrix @ middle + shift, atol=1e-3)
    assert np.allclose(now.box_px[2:] - now.box_px[:2], scale * size, atol=1e-3)
    assert now.landmarks_px is None


def test_a_mesh_that_fell_into_one_point_or_is_no_number_is_detected_again(sface: Engine) -> None:
    tracker, frame = Tracker(sface, detect_every=50), clip("obama_2012", 1)[0]
    for value in (5.0, np.nan):
        tracker.observe(frame)
        assert tracker._last is not None
        broken = replace(tracker._last.face, landmarks_px=np.full((468, 3), value, np.float32))
        tracker._last = replace(tracker._last, face=broken)
        before = tracker.detections
        sample, faces = tracker.observe(frame)
        assert sample is not None
        assert len(faces) == 1
        assert tracker.detections == before + 1
