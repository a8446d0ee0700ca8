"""Tracker: consecutive frames of one camera, the face looked for where it last was instead of in the whole frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from facesdk.engine.engine import Engine
from facesdk.errors import InputError
from facesdk.types import Face

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Float32Array, Frame, Sample

# A mesh is followed while its network is sure of a face, and where the face is and as large as it was, but for a tenth.
# Looser limits (MediaPipe follows at 0.5) let meshes through that lag behind a fast head, and features with them.
MIN_PRESENCE = 0.9
MAX_SHIFT, MAX_GROWTH = 0.1, 1.1


class Tracker:
    """Samples of the face in each of consecutive frames, as Engine.observe gives them, mostly without the detector.

    The region of the face mesh is that of the last detection, moved as the mesh moved since: it is where the detector
    would have found the face, so that samples are like those of detection. The detector looks at the whole frame in the
    first, then in one of `detect_every`, where the mesh says that there is no face, and where it jumped; so a second
    person is noticed at most `detect_every` - 1 frames late. While nobody is there, frames are looked at for those who
    are near and those who are far away by turns. For pictures that do not follow each other, use Engine.observe. One
    tracker for one camera and one thread.

    Args:
        engine: finds and follows.
        detect_every: frames, 1 to 100.

    Raises:
        InputError: for another detect_every.
    """

    def __init__(self, engine: Engine, *, detect_every: int = 5) -> None:
        if not isinstance(detect_every, int) or not 1 <= detect_every <= 100:
            raise InputError(f"detect_every must be a number from 1 to 100, not {detect_every!r}")
        self._engine = engine
        self._detect_every = detect_every
        self._found: Sample | None = None
        self._last: Sample | None = None
        self._faces: list[Face] = []
        self._since = self._empty = 0
        self.detections = 0

    def observe(self, frame: Frame) -> tuple[Sample | None, list[Face]]:
        """As Engine.observe. Of a tracked frame, faces are those of the last detection, the first one followed."""
        if self._found is not None and self._last is not None and self._since < self._detect_every - 1:
            face = moved(self._found.face, self._last.face)
            sample = None if face is None else self._engine.follow(frame, face)
            if sample is not None and _continues(self._last, sample):
                self._since += 1
                self._last = replace(sample, runner_up=self._last.runner_up)
                return self._last, [sample.face, *self._faces[1:]]
        sample, faces = self._look_for()(frame)
        self._empty = 0 if faces else self._empty + 1
        self.detections += 1
        self._since, self._faces = 0, faces
        self._last = sample if sample is not None and _can_be_followed(sample) else None
        self._found = self._last
        return sample, faces

    def _look_for(self) -> Callable[[Frame], tuple[Sample | None, list[Face]]]:
        """What looks at the next frame: while nobody is there, for the near and the distant by turns."""
        if self._empty == 0 or not hasattr(self._engine, "observe_distant"):  # an engine of one's own may have none
            return self._engine.observe
        return self._engine.observe_near if self._empty % 2 else self._engine.observe_distant

    def reset(self) -> None:
        """Forgets where the face was: the next frame is looked at as the first."""
        self._last, self._empty = None, 0

    def forget(self) -> None:
        """Forgets the face itself, too."""
        self.reset()
        self._found, self._faces = None, []


def moved(found: Face, now: Face) -> Face | None:
    """The detected face where its mesh says that it is now: turned, scaled and shifted as the landmarks were.

    None where they tell no such thing (all in one place, no numbers, eight times as large). InputError without
    landmarks in both. The similarity is the least-squares one of points as complex numbers, z ->
    a z + b (Umeyama 1991 in the plane).
    """
    import numpy as np

    if found.landmarks_px is None or now.landmarks_px is None:
        raise InputError("faces with landmarks were expected: those of samples")
    before, after = (_complex(face.landmarks_px[:, :2]) for face in (found, now) if face.landmarks_px is not None)
    centre, centre_now = before.mean(), after.mean()
    spread = before - centre
    squares = float(np.vdot(spread, spread).real)
    if not squares > 0:
        return None
    a = np.vdot(spread, after - centre_now) / squares
    if not 1 / 8 < abs(a) < 8:
        return None
    b = centre_now - a * centre
    x0, y0, x1, y1 = (float(v) for v in found.box_px)
    middle, half = a * complex((x0 + x1) / 2, (y0 + y1) / 2) + b, abs(a) * np.array([x1 - x0, y1 - y0]) / 2
    at = np.array([middle.real, middle.imag])
    box = np.concatenate([at - half, at + half]).astype(np.float32)
    keypoints = a * _complex(found.keypoints_px) + b
    return replace(
        now, box_px=box, keypoints_px=np.stack([keypoints.real, keypoints.imag], axis=1).astype(np.float32),
        landmarks_px=None,
    )  # fmt: skip


def _complex(points: Float32Array) -> NDArray[np.complex128]:
    """Points (n, 2) as x + iy."""
    return points[:, 0].astype(float) + 1j * points[:, 1].astype(float)


def _can_be_followed(sample: Sample) -> bool:
    return sample.quality.presence >= MIN_PRESENCE and not sample.turned


def _continues(before: Sample, now: Sample) -> bool:
    """Whether the face now is where and as large as a face can be one frame after `before`; NaN says no."""
    if not now.quality.presence >= MIN_PRESENCE:
        return False
    growth = now.quality.eye_distance_px / max(before.quality.eye_distance_px, 1e-6)
    (x0, y0, side), (x1, y1, _) = (place_of(s.face.landmarks_px) for s in (before, now))
    return math.hypot(x1 - x0, y1 - y0) <= MAX_SHIFT * side and 1 / MAX_GROWTH <= growth <= MAX_GROWTH


def place_of(points: Float32Array | None) -> tuple[float, float, float]:
    """Middle and longer side of a mesh's box, in pixels; no numbers without a mesh."""
    if points is None:
        return math.nan, math.nan, math.nan
    (left, top), (right, bottom) = points[:, :2].min(axis=0).tolist(), points[:, :2].max(axis=0).tolist()
    return (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
