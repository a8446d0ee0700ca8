"""Sources that play what was recorded: a folder of pictures, a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facesdk.camera.frame import CapturedFrame, checked_rotation, rotated
from facesdk.camera.opencv import load_opencv, reads
from facesdk.environment import OPENCV, without
from facesdk.errors import CameraError, InputError
from facesdk.images import load_rgb

PICTURES = (".jpg", ".jpeg", ".png")


class FolderSource:
    """The JPEG and PNG files of a folder in the order of their names, one every `interval_s`."""

    def __init__(self, folder: Path, *, interval_s: float = 1 / 15, rotate: int = 0) -> None:
        self._rotate = checked_rotation(rotate)
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
        if not self._paths:
            raise InputError(f"{folder}: no JPEG or PNG files in this folder")
        self._folder, self._interval_s = folder, interval_s

    def __iter__(self) -> Iterator[CapturedFrame]:
        for number, path in enumerate(self._paths):
            image = rotated(load_rgb(path), self._rotate)
            yield CapturedFrame(image, number * self._interval_s, str(self._folder), sequence=number)

    def __enter__(self) -> FolderSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        """Nothing is held open."""


class VideoSource:
    """A video file, through OpenCV (extra camera); its frames have the times that the file gives them."""

    def __init__(self, path: Path, *, rotate: int = 0) -> None:
        self._rotate, self._name = checked_rotation(rotate), str(path)
        self._cv2 = cv2 = load_opencv()
        with without(OPENCV):
            self._capture: Any = cv2.VideoCapture(self._name)
        if not self._capture.isOpened():
            raise CameraError(f"{self._name} cannot be opened: is it a video?")

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        for count, bgr in enumerate(reads(self._capture), start=1):
            seconds = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1e3
            image = rotated(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB), self._rotate)
            yield CapturedFrame(image, seconds, self._name, sequence=count - 1)
        if count == 0:
            raise CameraError(f"{self._name} gave no frame")

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._capture.release()
