"""FrameSource and its implementations. Cameras and videos need OpenCV (extra camera); folders do not."""

from __future__ import annotations

import fcntl
import operator
import os
import re
import stat
import struct
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

ROTATIONS = (0, 90, 180, 270)
PICTURES = (".jpg", ".jpeg", ".png")
NAMES = "give a camera's number or device node (/dev/video0), a folder of pictures or a video file"
# Linux's major number of video devices, and what tells what one of them does (linux/videodev2.h).
V4L_MAJOR = 81
VIDIOC_QUERYCAP, CAPABILITY_BYTES, DEVICE_CAPS_AT = 0x80685600, 104, 88
GIVES_PICTURES = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, and its multi-planar kind


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

    def __init__(self, folder: Path, *, interval_s: float = 1 / 15, rotate: int = 0) -> None:
        self._rotate = checked_rotation(rotate)
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
        if not self._paths:
            raise InputError(f"{folder}: no JPEG or PNG files in this folder")
        self._folder, self._interval_s = folder, interval_s

    def __iter__(self) -> Iterator[CapturedFrame]:
        for number, path in enumerate(self._paths):
            image = rotated(load_rgb(path), self._rotate)
            yield CapturedFrame(image, number * self._interval_s, str(self._folder))

    def __enter__(self) -> FolderSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        """Nothing is held open."""


class VideoSource:
    """A camera by its number or device node (/dev/video0, /dev/v4l/by-id/...), or a video file, through OpenCV."""

    def __init__(self, source: int | Path, *, rotate: int = 0) -> None:
        self._rotate = checked_rotation(rotate)
        if isinstance(source, Path):
            source = _camera_or_video(source)
        try:
            with without(OPENCV):
                import cv2
        except ImportError as error:
            raise CameraError(f"OpenCV is needed ({error}): pip install 'facesdk-unlock[camera]'") from error
        self._cv2: Any = cv2
        self._live = isinstance(source, int)
        self._name = f"camera {source}" if self._live else str(source)
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
            image = rotated(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB), self._rotate)
            yield CapturedFrame(image, seconds, self._name)
        if self._live or count == 0:
            raise CameraError(f"{self._name} gave no frame" if count == 0 else f"{self._name} stopped giving frames")

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._capture.release()


def checked_rotation(degrees: Any) -> int:
    """The rotation, if it is one of ROTATIONS; InputError."""
    if type(degrees) is not int or degrees not in ROTATIONS:
        listed = ", ".join(map(str, ROTATIONS))
        raise InputError(f"rotate must be one of {listed} (degrees clockwise), not {degrees!r}")
    return degrees


def rotated(image: Frame, degrees: int) -> Frame:
    """The image turned clockwise; itself for 0, else a copy."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(image, -degrees // 90)) if degrees else image


def open_source(name: str | os.PathLike[str] | int, *, rotate: int = 0) -> FrameSource:
    """Open a source of frames.

    Args:
        name: a camera's number or device node, a folder of pictures, or a video file.
        rotate: degrees clockwise by which its pictures are turned, 0, 90, 180 or 270; 180 for a camera that is mounted
            upside down.

    Returns:
        The source: a context that yields CapturedFrame, whose image is uint8 (H, W, 3) RGB.

    Raises:
        CameraError: one that is not there, is something else or cannot be opened.
        InputError: what is no name.
    """
    text = os.fsdecode(name) if isinstance(name, (str, os.PathLike)) else str(_number(name))
    if text.isdecimal():
        return VideoSource(int(text), rotate=rotate)
    if not text or "\0" in text:
        raise InputError(f"{text!r}: not a path; {NAMES}")
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise CameraError(f"{text.split('://')[0]}://...: network addresses are not opened, facesdk has no network "
                          f"code; {NAMES}")  # fmt: skip
    path = Path(text)
    return FolderSource(path, rotate=rotate) if path.is_dir() else VideoSource(path, rotate=rotate)


def _number(name: Any) -> int:
    """A camera's number, of a whole number of any kind."""
    try:
        number = -1 if isinstance(name, bool) else operator.index(name)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"not a source of frames: {name!r}; {NAMES}")
    return number


def _camera_or_video(path: Path) -> int | Path:
    """The number of the camera whose device node this is (or a link to it), or the path of a regular file."""
    try:
        found = path.stat()
    except OSError as error:
        if _within_dev(path):
            raise CameraError(f"{path}: no such device ({error.strerror}); {_cameras_here()}") from error
        raise CameraError(f"{path}: no such video file ({error.strerror})") from error
    if stat.S_ISREG(found.st_mode):
        return path
    if not stat.S_ISCHR(found.st_mode):
        raise CameraError(f"{path}: neither a camera nor a video file; {NAMES}")
    node = path.resolve()
    number = re.fullmatch(r"video([0-9]+)", node.name)
    if os.major(found.st_rdev) != V4L_MAJOR or number is None:
        raise CameraError(f"{path}: a device, but not a camera; {_cameras_here()}")
    if not os.access(node, os.R_OK | os.W_OK):
        raise CameraError(f"{path}: this user may not use the camera; most systems allow it to the group video "
                          "(sudo usermod -aG video USER, then log in again)")  # fmt: skip
    if not _gives_pictures(node):
        raise CameraError(f"{path}: a node of a camera that gives no pictures (metadata, or an output); try the "
                          f"camera's other nodes; {_cameras_here()}")  # fmt: skip
    return int(number[1])


def _within_dev(path: Path) -> bool:
    return path.is_absolute() and path.parts[1:2] == ("dev",)


def _cameras_here() -> str:
    """What the cameras of this machine are called, for a message."""
    nodes = sorted(Path("/dev").glob("video[0-9]*"))
    if not nodes:
        return "cameras are /dev/video0, ... or their number, but this machine has none"
    return f"cameras are given by node or number, here are {', '.join(map(str, nodes))}"


def _gives_pictures(node: Path) -> bool:
    """Whether the driver says so; also where it does not answer, since opening then says what is wrong."""
    answer = bytearray(CAPABILITY_BYTES)
    try:
        device = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, VIDIOC_QUERYCAP, answer)
        finally:
            os.close(device)
    except OSError:
        return True
    (capabilities,) = struct.unpack_from("=I", answer, DEVICE_CAPS_AT)
    return bool(capabilities & GIVES_PICTURES)
