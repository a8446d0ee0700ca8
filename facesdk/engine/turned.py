"""Whether a face that was found stands upside down or lies on its side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from facesdk.engine.faces import CERTAINLY_UPRIGHT, TURNED_PART
from facesdk.images.file import MIN_SIDE
from facesdk.images.frames import array_frame

if TYPE_CHECKING:
    from facesdk.engine.faces import Look
    from facesdk.types import Face, Frame

MARGIN_180, MARGIN_90 = 0.03, 0.1


def is_turned(
    detect: Callable[[Frame], list[Face]], frame: Frame, face: Face, *, pixels: int, look: Look | None = None
) -> bool:
    """Whether the detector is surer of the face in a picture turned by 90, 180 or 270 degrees.

    The mesh cannot tell: of a face upside down it makes an upright one, with a roll near 0. pixels: of a large picture
    every nth, so that its copies have about so many a side. look: the one from nearby that found the face, if one did.
    """
    if face.score >= CERTAINLY_UPRIGHT:
        return False
    x0, y0, x1, y1 = (float(v) for v in face.box_px)
    x, y, side = (x0 + x1) / 2, (y0 + y1) / 2, TURNED_PART * max(x1 - x0, y1 - y0)
    if look is not None:
        x, y, side = look.x, look.y, look.side
    side = max(side, MIN_SIDE)
    left, top = (int(max(0.0, min(c - side / 2, size - side)))
                 for c, size in ((x, frame.shape[1]), (y, frame.shape[0])))  # fmt: skip
    part = frame[top : top + math.ceil(side), left : left + math.ceil(side)]
    step = max(1, min(part.shape[:2]) // pixels)
    part = part[::step, ::step]
    across = part.swapaxes(0, 1)

    def surest(view: Frame) -> float:
        return max((found.score for found in detect(array_frame(view))), default=0.0)

    # No score is above 1, so a sure enough upright face needs no look at the others.
    upright = look.score if look else surest(part)
    if upright + MARGIN_180 >= 1:
        return False
    if surest(part[::-1, ::-1]) - MARGIN_180 > upright:
        return True
    if upright + MARGIN_90 >= 1:
        return False
    return any(surest(view) - MARGIN_90 > upright for view in (across[::-1], across[:, ::-1]))
