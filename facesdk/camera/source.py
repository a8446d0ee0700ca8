"""FrameSource and its implementations. Cameras and videos need OpenCV (extra camera); folders do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from facesdk.environment import OPENCV, without
from facesdk.errors import CameraError, InputError
from facesdk.images import load_rgb

if TYPE_CHECKING:
    from facesdk.types import Frame

PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class CapturedFrame:
    """image: uint8 (H, W, 3) RGB. time_s: seconds, of a camera on the monotonic clock, of a video from its start."""

    image: Frame = field(repr=False)
    time_s: float
    camera: str


class FrameSource(Protocol):
    """Frames in order until the source ends; a context manager that lets go of the device. CameraError if it fails."""

    def __iter__(self) -> Iterator[CapturedFrame]: ...
    def __enter__(self) -> FrameSource: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class FolderSource:
    """The JPEG and PNG files of a folder in the order of their names, one every `interval_s`."""

    def __init__(self, folder: Path, *, interval_s: float = 1 / 15) -> None:
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
        if not self._paths:
            raise InputError(f"{folder}: no JPEG or PNG files in this folder")
        self._folder, self._interval_s = folder, interval_s

    def __iter__(self) -> Iterator[CapturedFrame]:
        for number, path in enumerate(self._paths):
            yield CapturedFrame(load_rgb(path), number * self._interval_s, str(self._folder))

    def __enter__(self) -> FolderSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        """Nothing is held open."""


class VideoSource:
    """A camera by its number, or a video file, through OpenCV."""

    def __init__(self, source: int | Path) -> None:
        try:
            with without(OPENCV):
                import cv2
        except ImportError as error:
            raise CameraError(f"OpenCV is needed ({error}): pip install 'facesdk-unlock[camera]'") from error
        self._cv2: Any = cv2
        self._live = isinstance(source, int)
        self._name = f"camera {source}" if self._live else str(source)
        if isinstance(source, Path) and not source.is_file():
            raise CameraError(f"{source}: no such video file")
        with without(OPENCV):
            self._capture: Any = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            hint = "is it connected, and may this user read /dev/video*?" if self._live else "is it a video?"
            raise CameraError(f"{self._name} cannot be opened: {hint}")

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        while True:
            good, bgr = self._capture.read()
            if not good:
                break
            count += 1
            seconds = time.monotonic() if self._live else self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1e3
            yield CapturedFrame(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB), seconds, self._name)
        if self._live or count == 0:
            raise CameraError(f"{self._name} gave no frame" if count == 0 else f"{self._name} stopped giving frames")

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._capture.release()


def open_source(name: str) -> FrameSource:
    """The source of this name: a camera's number, a folder of pictures, or a video file. CameraError, InputError."""
    if name.isdecimal():
        return VideoSource(int(name))
    path = Path(name)
    return FolderSource(path) if path.is_dir() else VideoSource(path)
