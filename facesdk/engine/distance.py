"""Distant faces: where full range sees a face, or short range a small one, short range looks again from nearby."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from facesdk import _core
from facesdk.engine.faces import CERTAINLY_UPRIGHT, TURNED_PART, Look
from facesdk.engine.networks import load_manifest
from facesdk.engine.runtime import Runtime, checked_network

if TYPE_CHECKING:
    from facesdk.types import Face, Frame, Sample

FULL_RANGE = "blazeface_full_range"
# A face whose box is so much of the frame's longer side, or less, is distant. Larger ones are found as ever: short
# range sees all that are at 0.15, and few at 0.1 (benchmarks/distance.py).
MAX_PART = 0.15
# From nearby, short range is surer of what is a face, and less sure of what is none; benchmarks/distance.py has both.
MIN_SCORE = 0.7
LIKELY_PRESENCE = 0.5  # of a mesh that lies on a face
MAX_FACES = 4  # that are looked at closely, the largest
# Below what needs no second look: whether a distant face is turned is always looked at.
MAX_SCORE = math.nextafter(CERTAINLY_UPRIGHT, 0.0)


class FarDetector:
    """Finds distant faces.

    What full range (192 px of the whole frame) or short range (128 px) saw says where to look; the face is what short
    range sees there, in a square three times as wide as the face. So boxes, keypoints and scores are as those of near
    faces, and what only looks like a face from afar is none. Full range is loaded when it is first needed.
    benchmarks/distance.py has the figures.
    """

    def __init__(self, near: _core.Pipeline, runtime: Runtime) -> None:
        self._near = near
        self._runtime = runtime
        self._far: _core.Pipeline | None = None
        self._lock = threading.Lock()

    def instead(self, frame: Frame, found: list[Any]) -> list[Any]:
        """What is to be taken for the faces of a frame in which short range found none, or small ones.

        The first of the small ones as it is seen from nearby; where that shows none, what full range leads to; and
        where it leads to nothing, what was found.

        Raises:
            ModelIntegrityError, AcceleratorError: as find.
        """
        closer = self.looked_at(frame, found[0]) if found else None
        return [closer, *found[1:]] if closer is not None else self.find(frame) or found

    def find(self, frame: Frame) -> list[Any]:
        """The distant faces of a frame, as _core.Pipeline.detect gives faces, each with the look that found it behind.

        No face's score is above MAX_SCORE.

        Raises:
            ModelIntegrityError: the network's file is missing or is not what the manifest says.
            AcceleratorError: the runtime cannot run it.
        """
        seen = [found for found in self._loaded().detect(frame) if is_distant(frame, found)][:MAX_FACES]
        faces: list[Any] = []
        for candidate in seen:
            face = self.looked_at(frame, candidate)
            if face is not None and not any(_is_in(_centre(face), other) for other in faces):
                faces.append(face)
        return sorted(faces, key=_side, reverse=True)

    def _loaded(self) -> _core.Pipeline:
        with self._lock:
            if self._far is None:
                manifest = load_manifest()
                network = checked_network(self._runtime, manifest.models[FULL_RANGE], manifest)
                self._far = _core.Pipeline(network, None, [])
            return self._far

    def looked_at(self, frame: Frame, candidate: Any) -> Any | None:
        """The face in the candidate's place, the one nearest to its middle; None where from nearby there is none.

        As find gives faces, with the look that found it behind.
        """
        x, y = _centre(candidate)
        side = TURNED_PART * _side(candidate)
        found = self._near.detect_in(frame, x, y, side)
        there = [face for face in found if face[2] >= MIN_SCORE and _is_in(_centre(face), candidate)]
        if not there:
            return None
        box, keypoints, score, pose = min(there, key=lambda face: math.dist(_centre(face), (x, y)))
        return box, keypoints, min(score, MAX_SCORE), pose, Look(x, y, side, score)


def is_distant(frame: Frame, found: Any) -> bool:
    """Whether a detection is so small that it is looked at again."""
    return bool(_side(found) <= MAX_PART * max(frame.shape[:2]))


def is_doubtful(face: Face, sample: Sample | None) -> bool:
    """Whether what short range took for a near face is likely none: it is not sure of it, and the mesh sees none."""
    unseen = sample is None or not sample.quality.presence >= LIKELY_PRESENCE
    return face.score < MIN_SCORE and unseen


def _side(found: Any) -> float:
    """The longer side of a detection's box."""
    x0, y0, x1, y1 = (float(v) for v in found[0])
    return max(x1 - x0, y1 - y0)


def _centre(found: Any) -> tuple[float, float]:
    x0, y0, x1, y1 = (float(v) for v in found[0])
    return (x0 + x1) / 2, (y0 + y1) / 2


def _is_in(point: tuple[float, float], found: Any) -> bool:
    x0, y0, x1, y1 = (float(v) for v in found[0])
    return x0 <= point[0] <= x1 and y0 <= point[1] <= y1
