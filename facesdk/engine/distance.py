"""Faces that are too far away for BlazeFace short range: where full range sees one, short range looks closely."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from facesdk import _core
from facesdk.engine.faces import CERTAINLY_UPRIGHT, TURNED_PART
from facesdk.engine.networks import load_manifest
from facesdk.engine.runtime import Runtime, checked_network

if TYPE_CHECKING:
    from facesdk.types import Frame

FULL_RANGE = "blazeface_full_range"
# Of the frame's longer side. Larger faces are for short range alone, so that near ones are found as ever.
MAX_PART = 0.25
MAX_FACES = 4  # that are looked at closely, the largest
# Below what needs no second look: whether a distant face is turned is always looked at.
MAX_SCORE = math.nextafter(CERTAINLY_UPRIGHT, 0.0)


class FarDetector:
    """Finds distant faces in a frame in which short range found none.

    Full range (192 px of the whole frame) says where to look; a face is what short range sees there too, in a square
    three times as wide as the face. So boxes, keypoints and scores are short range's, as those of near faces, and what
    only looks like a face from afar is none. The network is loaded when it is first needed. benchmarks/distance.py has
    the figures.
    """

    def __init__(self, near: _core.Pipeline, runtime: Runtime) -> None:
        self._near = near
        self._runtime = runtime
        self._far: _core.Pipeline | None = None
        self._lock = threading.Lock()

    def find(self, frame: Frame) -> list[Any]:
        """What _core.Pipeline.detect would give of the distant faces, the largest first, no score above MAX_SCORE.

        Raises:
            ModelIntegrityError: the network's file is missing or is not what the manifest says.
            AcceleratorError: the runtime cannot run it.
        """
        most = MAX_PART * max(frame.shape[:2])
        seen = [found for found in self._loaded().detect(frame) if _side(found) <= most][:MAX_FACES]
        faces: list[Any] = []
        for candidate in seen:
            face = self._looked_at(frame, candidate)
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

    def _looked_at(self, frame: Frame, candidate: Any) -> Any | None:
        """Short range's face in the candidate's place, the one nearest to its middle; None where it sees none."""
        x, y = _centre(candidate)
        found = self._near.detect_in(frame, x, y, TURNED_PART * _side(candidate))
        there = [face for face in found if _is_in(_centre(face), candidate)]
        if not there:
            return None
        box, keypoints, score, pose = min(there, key=lambda face: math.dist(_centre(face), (x, y)))
        return box, keypoints, min(score, MAX_SCORE), pose


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
