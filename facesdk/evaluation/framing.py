"""Which part of a photo shows a face, head and shoulders, at the same scale as the others'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facesdk.types import Face, Frame


FACE_PART = 0.47  # of the photo's height, from the top of the forehead to the chin: the same scale in every tile


FACE_CENTRE = 0.48  # of the photo's height


def window_of(frame: Frame, face: Face | None, *, size: tuple[int, int]) -> tuple[float, float, float]:
    """left, top in pixels of the frame (of its edge, not of pixel centres), and the photo's pixels for one of them.

    size: of the photo, width and height in pixels. Head and shoulders, moved into the frame where that is possible.
    """
    height, width = frame.shape[:2]
    across, down = size
    if face is None:
        scale = max(across / width, down / height)
        return (width - across / scale) / 2, (height - down / scale) / 2, scale
    x0, y0, x1, y1 = (float(v) + 0.5 for v in face.box_px)
    long = 0.97 * (y1 - y0)
    if face.landmarks_px is not None:
        long = float(np.linalg.norm(face.landmarks_px[10, :2] - face.landmarks_px[152, :2]))
    scale = min(FACE_PART * down / max(long, 1.0), 0.9 * across / (x1 - x0), 0.8 * down / (y1 - y0))
    left = (x0 + x1) / 2 - across / scale / 2
    top = (y0 + y1) / 2 - FACE_CENTRE * down / scale
    return _inside(left, across / scale, width), _inside(top, down / scale, height), scale


def _inside(start: float, length: float, size: int) -> float:
    return min(max(start, 0.0), size - length) if length <= size else (size - length) / 2
