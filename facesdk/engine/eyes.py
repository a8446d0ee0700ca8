"""Eyes: how far each is open, and where its iris stands, by MediaPipe's iris network on the corners of the mesh."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facesdk import _core
from facesdk.engine.networks import load_manifest
from facesdk.engine.runtime import Runtime, checked_network
from facesdk.errors import InputError
from facesdk.types import Face, Sample

if TYPE_CHECKING:
    from facesdk.types import Frame

IRIS = "iris_landmark"
INNER_CORNER = 8  # of the contour's points; 0 is the outer one


@dataclass(frozen=True)
class Eyes:
    """The eyes of one face; NaN where nothing could be measured, which every rule must refuse.

    Attributes:
        right_openness: of the person's right eye, the distance between its lids' means over its width: 0.15 to 0.3
            when open, below 0.1 when closed.
        left_openness: of the left eye.
        right_gaze: where the iris's centre stands in the person's right eye, from the middle between its corners, in
            widths of the eye: x to the picture's right along the corners, y down across them.
        left_gaze: in the left eye.
    """

    right_openness: float
    left_openness: float
    right_gaze: tuple[float, float]
    left_gaze: tuple[float, float]


UNKNOWN = Eyes(math.nan, math.nan, (math.nan, math.nan), (math.nan, math.nan))


class EyeReader:
    """Measures eyes. The network is loaded when it is first needed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._network: _core.Eyes | None = None
        self._lock = threading.Lock()

    def read(self, frame: Frame, face: Face | Sample) -> Eyes:
        """The eyes of a face, NaN without its mesh.

        Raises:
            InputError: face is neither a Face nor a Sample.
            ModelIntegrityError: the network's file is missing or is not what the manifest says.
            AcceleratorError: the runtime cannot run it.
        """
        if isinstance(face, Sample):
            face = face.face
        if not isinstance(face, Face):
            raise InputError(f"expected a Sample, or a Face with landmarks, not {type(face).__name__}")
        if face.landmarks_px is None:
            return UNKNOWN
        right, left = self._loaded().look(frame, face.landmarks_px)
        return Eyes(right[0], left[0], _gaze(*right), _gaze(*left))

    def _loaded(self) -> _core.Eyes:
        with self._lock:
            if self._network is None:
                manifest = load_manifest()
                self._network = _core.Eyes(checked_network(self._runtime, manifest.models[IRIS], manifest))
            return self._network


def _gaze(openness: float, contour: Any, iris: Any) -> tuple[float, float]:
    """Where the iris stands between the corners; NaN where the eye is none."""
    outer, inner = (complex(*contour[i].tolist()) for i in (0, INNER_CORNER))
    across = inner - outer if inner.real >= outer.real else outer - inner
    if not (math.isfinite(openness) and abs(across) > 0):
        return math.nan, math.nan
    at = (complex(*iris[0].tolist()) - (outer + inner) / 2) / across
    return at.real, at.imag
