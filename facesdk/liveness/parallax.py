"""Parallax: whether a face that turns has a relief like a head's, or is a sheet, by how its pixels move."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facesdk import _core
from facesdk.errors import InputError
from facesdk.images.frames import array_frame
from facesdk.types import Pose

if TYPE_CHECKING:
    from facesdk.types import Float32Array, Frame

MIN_TURN_DEG = 10.0  # from the anchors; less moves pixels too little
MIN_TRACKS = 25  # that a fit needs
KEPT_TRACKS, KEPT_PART = 40, 0.7  # below both, and not turned, there are new anchors; the part is of those chosen
MAX_ANCHOR_DEG = 25.0  # yaw or pitch beyond which a mesh knows too little of its depth: no anchors are chosen there
MAX_ERROR = 0.15  # standard error of a fit that says something (benchmarks/parallax.py)
POINTS = 468


@dataclass(frozen=True)
class Relief:
    """What one frame says, against the frame of its anchors. Confirms a relief; presence it does not.

    Attributes:
        rho: 1 for the mesh's own relief, 0 for a flat sheet; a sheet that is bent may come to 1 and beyond.
        rho_bent: the same without what is quadratic in x and y, which is what bent paper shows: 0 for paper.
        turn_deg: how far the mesh has turned since the anchors, roll apart. The mesh hardly sees paper turn.
        points: how many tracks count.
    """

    rho: float = field(repr=False)
    rho_bent: float = field(repr=False)
    turn_deg: float
    points: int


class Parallax:
    """Carries points of a face from frame to frame, and fits a relief to how they moved while the face is turned.

    Points are chosen in the first frame (one with the face to the front is best), and again whenever too few are left;
    a face that is not where it was, or in a frame of another size, begins anew too. What was seen since the anchors
    were chosen is one unbroken track: nothing that is put in the face's place in between gives a relief.

    One instance for one camera and one person; calls from several threads need a lock of the caller's. It keeps a gray
    picture of the face, which `reset` does not wipe.
    """

    def __init__(self) -> None:
        self._tracks = _core.FaceTracks()
        self._anchor: tuple[Float32Array, Pose] | None = None
        self._enough = 0.0
        self._followed = self._points = 0

    @property
    def points(self) -> int:
        """How many points there are to be followed into the next frame."""
        return self._points

    @property
    def followed(self) -> int:
        """How many points of the anchors were found again in the last frame."""
        return self._followed

    def reset(self) -> None:
        """Forgets the anchors: the next frame is the first."""
        self._tracks.reset()
        self._anchor = None
        self._points = 0

    def feed(self, frame: Frame, landmarks_px: Float32Array, pose: Pose) -> Relief | None:
        """Look at the next frame.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            landmarks_px: float32 (468, 3), as a Face has them.
            pose: by those landmarks.

        Returns:
            The relief; None while the face is turned too little, too few points are left, or their movement says too
            little. Landmarks or a pose that are no numbers end the track.

        Raises:
            InputError: for what is no frame, or no landmarks of that shape.
        """
        frame = array_frame(frame)
        landmarks = _checked(landmarks_px)
        if not _finite(landmarks, pose):
            self.reset()
            return None
        left = self._followed = self._tracks.follow(frame, landmarks) if self._anchor is not None else 0
        turned = self._anchor is not None and _apart_deg(self._anchor[1], pose) >= MIN_TURN_DEG
        relief = self._fit(landmarks) if turned and left >= MIN_TRACKS else None
        if self._anchor is None or left < (MIN_TRACKS if turned else self._enough):
            self._choose(frame, landmarks, pose)
        else:
            self._points = left
        return relief

    def _choose(self, frame: Frame, landmarks: Float32Array, pose: Pose) -> None:
        self.reset()
        seen = max(abs(pose.yaw_deg), abs(pose.pitch_deg)) <= MAX_ANCHOR_DEG
        chosen = self._points = self._tracks.start(frame, landmarks) if seen else 0
        if chosen >= MIN_TRACKS:
            self._anchor = landmarks.copy(), pose
            self._enough = max(MIN_TRACKS, min(KEPT_TRACKS, KEPT_PART * chosen))

    def _fit(self, landmarks: Float32Array) -> Relief | None:
        if self._anchor is None:
            return None
        turn = _core.mesh_turn(self._anchor[0], landmarks)
        if turn is None or not turn[0] >= MIN_TURN_DEG:
            return None
        fit = _core.relief(*self._tracks.take(), _core.eye_distance(self._anchor[0]), turn[1])
        if fit is None:
            return None
        rho, rho_bent, rho_error, rho_bent_error, _, used = fit
        if used < MIN_TRACKS or not max(rho_error, rho_bent_error) <= MAX_ERROR:
            return None
        return Relief(rho, rho_bent, turn[0], used)


def _checked(landmarks: Any) -> Float32Array:
    """InputError unless these are landmarks; copied only where they must be."""
    import numpy as np

    if not isinstance(landmarks, np.ndarray) or landmarks.shape != (POINTS, 3) or landmarks.dtype.kind != "f":
        shape = f" of {landmarks.dtype}, shape {landmarks.shape}" if isinstance(landmarks, np.ndarray) else ""
        raise InputError(f"expected landmarks_px of a Face, float32 (468, 3), not {type(landmarks).__name__}{shape}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(landmarks, np.float32)


def _finite(landmarks: Float32Array, pose: Pose) -> bool:
    import numpy as np

    return bool(np.isfinite(landmarks).all()) and math.isfinite(pose.yaw_deg) and math.isfinite(pose.pitch_deg)


def _apart_deg(anchor: Pose, now: Pose) -> float:
    """Yaw and pitch together: nearly the turn of the mesh, which is asked only where this says so."""
    return 1.15 * math.hypot(now.yaw_deg - anchor.yaw_deg, now.pitch_deg - anchor.pitch_deg)
