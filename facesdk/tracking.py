"""Tracker: consecutive frames of one camera, the face looked for where it last was instead of in the whole frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from facesdk.engine import Engine
from facesdk.errors import InputError
from facesdk.types import Face, Features

if TYPE_CHECKING:
    from facesdk.types import Frame

# Points of the face mesh: eye corners and lids (as in native/core/mesh.cpp), nose, mouth corners, cheeks at the ears.
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH, RIGHT_EAR, LEFT_EAR = (
    (33, 133, 159, 145), (362, 263, 386, 374), (1, 4), (61, 291), (234,), (454,)
)  # fmt: skip
# The mesh network's opinion that this is a face; below it the detector looks again. Source: MediaPipe's
# min_tracking_confidence.
MIN_PRESENCE = 0.5
# Between two frames a face does not move by half its box, nor grow or shrink by half: that is another face, or none.
MAX_SHIFT, MAX_GROWTH = 0.5, 1.5


class Tracker:
    """Features of the face in each of consecutive frames, as Engine.observe gives them, mostly without the detector.

    The region of the face mesh follows from the mesh of the frame before. The detector looks at the whole frame in the
    first, then in one of `detect_every`, where the mesh says that there is no face, and where it jumped; so a second
    person is noticed at most `detect_every` - 1 frames late. For pictures that do not follow each other, use
    Engine.observe. One tracker for one camera and one thread. InputError for detect_every outside 1..100.
    """

    def __init__(self, engine: Engine, *, detect_every: int = 5) -> None:
        if not isinstance(detect_every, int) or not 1 <= detect_every <= 100:
            raise InputError(f"detect_every must be a number from 1 to 100, not {detect_every!r}")
        self._engine = engine
        self._detect_every = detect_every
        self._last: Features | None = None
        self._faces: list[Face] = []
        self._since = 0
        self.detections = 0

    def observe(self, frame: Frame) -> tuple[Features | None, list[Face]]:
        """As Engine.observe. Of a tracked frame, faces are those of the last detection, the first one followed."""
        if self._last is not None and self._since < self._detect_every - 1:
            features = self._engine.features(frame, face_of(self._last.face))
            if features is not None and _continues(self._last, features):
                self._since += 1
                self._last = replace(features, runner_up=self._last.runner_up)
                return self._last, [features.face, *self._faces[1:]]
        features, faces = self._engine.observe(frame)
        self.detections += 1
        self._since, self._faces = 0, faces
        self._last = features if features is not None and features.quality.presence >= MIN_PRESENCE else None
        return features, faces

    def reset(self) -> None:
        """Forgets where the face was: the next frame is looked at as the first."""
        self._last = None


def face_of(face: Face) -> Face:
    """The face where its mesh says it is: box around all points, keypoints of the mesh. InputError without landmarks.

    MediaPipe's tracking takes the same box (face_landmark_landmarks_to_roi).
    """
    import numpy as np

    points = face.landmarks_px
    if points is None:
        raise InputError("a face with landmarks was expected: one that features were made of")
    flat = points[:, :2]
    keypoints = np.stack(
        [flat[list(at)].mean(axis=0) for at in (RIGHT_EYE, LEFT_EYE, NOSE, MOUTH, RIGHT_EAR, LEFT_EAR)]
    )
    box = np.concatenate([flat.min(axis=0), flat.max(axis=0)]).astype(np.float32)
    return replace(face, box_px=box, keypoints_px=np.ascontiguousarray(keypoints, np.float32), landmarks_px=None)


def _continues(before: Features, now: Features) -> bool:
    """Whether the face now is where and as large as a face can be one frame after `before`; NaN says no."""
    if not now.quality.presence >= MIN_PRESENCE:
        return False
    growth = now.quality.eye_distance_px / max(before.quality.eye_distance_px, 1e-6)
    (x0, y0, side), (x1, y1, _) = (_place(f.face) for f in (before, now))
    return math.hypot(x1 - x0, y1 - y0) <= MAX_SHIFT * side and 1 / MAX_GROWTH <= growth <= MAX_GROWTH


def _place(face: Face) -> tuple[float, float, float]:
    """Middle and longer side of the mesh's box."""
    points = face.landmarks_px
    if points is None:
        return math.nan, math.nan, math.nan
    (left, top), (right, bottom) = points[:, :2].min(axis=0).tolist(), points[:, :2].max(axis=0).tolist()
    return (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
