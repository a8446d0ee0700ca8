"""What every camera, video and folder gives: frames, and the form of a source of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from facesdk.errors import InputError
from facesdk.images.frames import packed

if TYPE_CHECKING:
    from facesdk.types import Frame

ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True, eq=False)
class CapturedFrame:
    """One picture of a source.

    image: uint8, (H, W, 3) in RGB or (H, W) in gray. time_s: seconds, of a camera on the monotonic clock when the
    picture arrived, of a video from its start. camera: the source's name. dropped: how many came since the one given
    before and were taken by nobody. sequence: the picture's number since the source was opened, from 0; it grows by
    `dropped` + 1.
    """

    image: Frame = field(repr=False)
    time_s: float
    camera: str
    dropped: int = 0
    sequence: int = 0


class FrameSource(Protocol):
    """Frames in order until the source ends; a context manager that lets go of the device. CameraError if it fails."""

    def __iter__(self) -> Iterator[CapturedFrame]: ...
    def __enter__(self) -> FrameSource: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def checked_rotation(degrees: Any) -> int:
    """The rotation, if it is one of ROTATIONS; InputError."""
    if type(degrees) is not int or degrees not in ROTATIONS:
        listed = ", ".join(map(str, ROTATIONS))
        raise InputError(f"rotate must be one of {listed} (degrees clockwise), not {degrees!r}")
    return degrees


def rotated(image: Frame, degrees: int) -> Frame:
    """The image turned clockwise; itself for 0, else a copy."""
    import numpy as np

    return packed(np.rot90(image, -degrees // 90)) if degrees else image
