"""Tracking: the features of detection in every frame, and nothing followed that is not there."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import portrait
from PIL import Image, ImageOps

from facesdk import Engine, matching
from facesdk.errors import InputError
from facesdk.tracking import Tracker, face_of


def clip(name: str, count: int) -> list[np.ndarray]:
    """A face that drifts, grows and tilts in a 640 x 480 picture."""
    image = ImageOps.pad(Image.fromarray(portrait(name)), (640, 480), color=(90, 90, 90))
    frames = []
    for number in range(count):
        turned = image.rotate(number * 0.4, resample=Image.Resampling.BILINEAR, translate=(number * 2, -number))
        size = round(640 * (1 + number * 0.004)), round(480 * (1 + number * 0.004))
        frames.append(np.asarray(turned.resize(size).crop((0, 0, 640, 480))))
    return [np.ascontiguousarray(frame) for frame in frames]


def test_tracked_features_are_those_of_detection(sface: Engine) -> None:
    tracker = Tracker(sface, detect_every=6)
    for frame in clip("obama_2012", 18):
        tracked, faces = tracker.observe(frame)
        detected, _ = sface.observe(frame)
        assert tracked is not None
        assert detected is not None
        assert matching.score(tracked._vector, detected._vector) > 0.93
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
            assert matching.score(tracked._vector, detected._vector) > 0.9, name


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
        face_of(sface.detect(frame)[0])
