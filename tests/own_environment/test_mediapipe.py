"""The extra mediapipe: its own detector gives what ours gives, in an environment made for it (.ci/run does)."""

from __future__ import annotations

import os
from importlib.resources import as_file, files

import numpy as np
import pytest

from facesdk import Engine
from facesdk.evaluation import score
from facesdk.images import load_rgb

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("FACESDK_OWN_ENVIRONMENT") != "mediapipe",
        reason="needs mediapipe 0.10.18 to 0.10.21 in an environment of its own: see .ci/run",
    ),
    # The package's own protobuf and matplotlib calls warn.
    pytest.mark.filterwarnings("ignore"),
]


def portraits() -> dict[str, np.ndarray]:
    with as_file(files("facesdk.portraits")) as folder:
        return {p.name: load_rgb(p) for p in sorted(folder.iterdir()) if p.suffix in (".jpg", ".png")}


def test_parity_of_detectors() -> None:
    ours, theirs = Engine("sface"), Engine("sface", detector="mediapipe")
    frames = portraits()
    assert len(frames) == 11
    for name, frame in frames.items():
        found, expected = ours.detect(frame), theirs.detect(frame)
        assert len(found) == len(expected) == 1, name
        unit = max(frame.shape) / 640
        np.testing.assert_allclose(found[0].box_px, expected[0].box_px, atol=0.5 * unit, err_msg=name)
        np.testing.assert_allclose(found[0].keypoints_px, expected[0].keypoints_px, atol=0.5 * unit, err_msg=name)
        assert score(ours.features(frame), theirs.features(frame)) > 0.99
    assert theirs.detect(np.zeros((240, 320, 3), np.uint8)) == []
    assert theirs.features(np.zeros((240, 320, 3), np.uint8)) is None
