"""Faces found by the installed mediapipe package's own short range detector, for those who want it instead of ours.

Only 0.10.18 to 0.10.21: later releases send usage metrics over the network, earlier ones were never compared with ours.
The package is imported when a detector is made, never by importing this module.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesdk._core import check_frame, keypoint_pose
from facesdk.errors import AcceleratorError, InputError

OLDEST, NEWEST = (0, 10, 18), (0, 10, 21)
INSTALL_HINT = "pip install 'facesdk-unlock[mediapipe]'"
KEYPOINTS = 6
# Model 0 of mediapipe's solution is the short range BlazeFace, the one this project ships.
SHORT_RANGE = 0


@dataclass(frozen=True, eq=False)
class RawDetection:
    """One face in pixels of the frame, as the detector gave it: not rounded, not clipped to the frame.

    box_px: float32 (4,), x0, y0, x1, y1. keypoints_px: float32 (6, 2), x and y of the right eye, left eye, nose tip,
    mouth centre, right ear, left ear (the person's right and left). score: in [0.5, 1] unless another threshold is set.
    """

    box_px: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]
    score: float

    @property
    def area_px(self) -> float:
        """Area of the box."""
        width, height = self.box_px[2:] - self.box_px[:2]
        return float(width * height)


class MediaPipeDetector:
    """MediaPipe's face detection solution. `close()` or a `with` block frees its graph.

    Raises AcceleratorError when the package is missing, of another version, or fails while loading.
    """

    def __init__(self, *, min_score: float = 0.5) -> None:
        if not 0.0 < min_score < 1.0:
            raise InputError(f"min_score must lie between 0 and 1, got {min_score}")
        self.version = checked_version()
        self._graph: Any = _open_graph(min_score)
        self._lock = threading.Lock()

    def find(self, frame: NDArray[np.uint8]) -> list[Any]:
        """The same as _core.Pipeline.detect gives faces, of gray frames too; for several threads."""
        check_frame(frame)
        with self._lock:
            found = self.detect(frame[:, :, None].repeat(3, axis=2) if frame.ndim == 2 else frame)
        return [(one.box_px, one.keypoints_px, one.score, keypoint_pose(one.box_px, one.keypoints_px)) for one in found]

    def detect(self, rgb: NDArray[np.uint8]) -> list[RawDetection]:
        """Faces in an RGB frame, uint8 (H, W, 3), largest box first. For one thread at a time.

        Raises InputError for another dtype or shape, AcceleratorError when closed or when MediaPipe fails.
        """
        if self._graph is None:
            raise AcceleratorError("this MediaPipe detector is closed: make a new one")
        _check_frame(rgb)
        try:
            found = self._graph.process(np.ascontiguousarray(rgb)).detections or ()
        except (RuntimeError, ValueError) as error:
            raise AcceleratorError(f"MediaPipe {self.version} failed on a {rgb.shape} frame: {error}") from error
        height, width = rgb.shape[:2]
        faces = [_to_pixels(detection, width=width, height=height) for detection in found]
        return sorted(faces, key=lambda face: face.area_px, reverse=True)

    def close(self) -> None:
        """Free the graph and its threads; may be called twice."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()

    def __enter__(self) -> MediaPipeDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_version() -> str:
    """Version of the installed mediapipe, read from its metadata without running any of its code.

    Raises AcceleratorError when there is none or it does not lie between OLDEST and NEWEST.
    """
    try:
        found = version("mediapipe")
    except PackageNotFoundError:
        raise AcceleratorError(f"the mediapipe package is not installed: {INSTALL_HINT}") from None
    number = _release(found)
    if number is not None and OLDEST <= number <= NEWEST:
        return found
    older = number is not None and number < OLDEST
    reason = "older ones were not tested" if older else "newer ones send usage metrics over the network"
    raise AcceleratorError(f"expected mediapipe 0.10.18 to 0.10.21, got {found}; {reason}: {INSTALL_HINT}")


def _release(text: str) -> tuple[int, ...] | None:
    """The three numbers of a final release, None for any other spelling: a pre-release or a fork is not accepted."""
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _open_graph(min_score: float) -> Any:
    """MediaPipe's FaceDetection, imported here because the import takes over a second."""
    try:
        solution = importlib.import_module("mediapipe.python.solutions.face_detection")
        return solution.FaceDetection(model_selection=SHORT_RANGE, min_detection_confidence=min_score)
    except (ImportError, AttributeError, OSError, RuntimeError, ValueError) as error:
        # A numpy of another major version and a protobuf too new both show up here, as one of these.
        raise AcceleratorError(f"mediapipe is installed but does not load ({error}): {INSTALL_HINT}") from error


def _check_frame(rgb: object) -> None:
    """Raise InputError unless this is a colour frame with at least one pixel."""
    if not isinstance(rgb, np.ndarray):
        raise InputError(f"expected an RGB frame, uint8 (H, W, 3), got {type(rgb).__name__}")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise InputError(f"expected an RGB frame, uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")


def _to_pixels(detection: Any, *, width: int, height: int) -> RawDetection:
    """A detection of MediaPipe's, given relative to the frame, in pixels."""
    location = detection.location_data
    box = location.relative_bounding_box
    corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height], dtype=np.float64)
    points = np.array([(point.x, point.y) for point in location.relative_keypoints], dtype=np.float64)
    if points.shape != (KEYPOINTS, 2):
        raise AcceleratorError(f"expected {KEYPOINTS} keypoints of MediaPipe, got an array of shape {points.shape}")
    size = np.array([width, height], dtype=np.float64)
    return RawDetection(
        box_px=(corners * np.tile(size, 2)).astype(np.float32),
        keypoints_px=(points * size).astype(np.float32),
        score=float(detection.score[0]),
    )
