"""What the detector and the mesh found, as faces and samples; which fills its frame, lies in another, comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from facesdk.types import Face, Pose, Quality, Sample

if TYPE_CHECKING:
    from facesdk.types import Frame


# Faces upside down are found with scores of at most 0.854 in LFW (959 people) and 0.882 in portraits on plain grounds.
# Below this the face is looked for in turned pictures too, and counts as upright unless a score there is higher by the
# margin. benchmarks/turned.py measures this, and what is refused on both sides.
CERTAINLY_UPRIGHT = 0.9


TURNED_PART = 3.0  # sides of the face's box; of a large one every nth pixel, so that its copies stay small


TURNED_PIXELS = 512


# Of the detector's eyes, nose and mouth from the mesh's, in eye distances: up to 0.43 in LFW, more in faces on a side.
MAX_APART = 0.5


INSIDE = 0.8  # of a box's area


# A face that fills so much of the frame's shorter side has no surroundings. Detector and mesh, and what tells turned
# faces apart, need some: such a frame is looked at in a margin instead (benchmarks/turned.py, the tight crops).
TIGHT = 0.75


class Look(NamedTuple):
    """A look at a face from nearby: middle and side of the square that was looked at, and the face's score there."""

    x: float
    y: float
    side: float
    score: float


def sample_of(faces: Sequence[Face], look: Any) -> Sample | None:
    """The first face's sample as the native look has it."""
    (points, presence, pose), (brightness, contrast, overexposed, sharpness, light), eye_distance, crop, apart = look
    if crop is None:
        return None
    crop.flags.writeable = False
    seen = faces[0]
    face = Face(seen.box_px, seen.keypoints_px, seen.score, Pose(*pose), points)
    quality = Quality(eye_distance, brightness, contrast, overexposed, sharpness, presence, light)
    return Sample(face, quality, runner_up_of(faces), crop, turned=not apart <= MAX_APART)


def fills(frame: Frame, face: Face) -> bool:
    x0, y0, x1, y1 = (float(v) for v in face.box_px)
    return bool(max(x1 - x0, y1 - y0) >= TIGHT * min(frame.shape[:2]))


def moved(face: Face, by: int) -> Face:
    """The face, moved by so many pixels right and down."""
    import numpy as np

    moved = np.float32(by)
    points = face.landmarks_px
    if points is not None:
        points = points + np.array([by, by, 0], np.float32)
    return replace(face, box_px=face.box_px + moved, keypoints_px=face.keypoints_px + moved, landmarks_px=points)


def _area(face: Face) -> float:
    x0, y0, x1, y1 = (float(v) for v in face.box_px)
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def runner_up_of(faces: Sequence[Face]) -> float:
    """Area of the second face over that of the first, 0 where there is no second.

    What lies inside the first face is no second person: the detector sees faces in parts of a face.
    """
    return next((_area(other) / _area(faces[0]) for other in faces[1:] if not is_inside(other, faces[0])), 0.0)


def is_inside(part: Face, whole: Face) -> bool:
    x0, y0, x1, y1 = (float(v) for v in part.box_px)
    left, top, right, bottom = (float(v) for v in whole.box_px)
    common = max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, bottom) - max(y0, top))
    return common >= INSIDE * _area(part)


def face_of(found: Any) -> Face:
    box, keypoints, score, pose, *_ = found
    return Face(box, keypoints, score, Pose(*pose))
