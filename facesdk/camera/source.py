"""Sources of frames by their names: every frame in order (open_source), or the newest one (open_camera)."""

from __future__ import annotations

import operator
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesdk.camera import v4l2
from facesdk.camera.files import FolderSource, VideoSource
from facesdk.camera.frame import CapturedFrame, FrameSource, checked_rotation
from facesdk.camera.identity import CameraIdentity
from facesdk.camera.live import GIVE_UP_AFTER_S, LiveCamera
from facesdk.camera.opencv import CameraSource, NetworkSource, shown_address
from facesdk.camera.picamera import PicameraSource
from facesdk.camera.pipe import PipeSource
from facesdk.camera.reconnect import CameraEvent
from facesdk.errors import CameraError, InputError

__all__ = ["CapturedFrame", "FrameSource", "open_camera", "open_source"]

CAMERAS = "give a camera's number or device node (/dev/video0), its name below /dev/v4l/by-id, or picamera"
BY_ID = Path("v4l") / "by-id"
NAMES = f"{CAMERAS}, a folder of pictures or a video file"
Opener = Callable[[CameraIdentity | None], FrameSource]


def open_source(
    name: str | os.PathLike[str] | int, *, rotate: int = 0, network: bool = False, allow_virtual: tuple[str, ...] = ()
) -> FrameSource:
    """Open a source of frames, every one of which is given in order.

    Args:
        name: a camera's number, device node or name below /dev/v4l/by-id; `picamera` or `picamera:1`; a folder of
            pictures, or a video file; with `network` an RTSP address.
        rotate: degrees clockwise by which its pictures are turned, 0, 90, 180 or 270; 180 for a camera that is mounted
            upside down.
        network: allow RTSP addresses. facesdk has no network code of its own: OpenCV's FFmpeg talks to the camera.
        allow_virtual: the names (cards) of virtual cameras that may be opened.

    Returns:
        The source: a context that yields CapturedFrame, whose image is uint8 (H, W, 3) RGB or (H, W) gray.

    Raises:
        CameraError: one that is not there, is something else or cannot be opened.
        InputError: what is no name.
    """
    text = _text(name)
    opener = _camera(text, rotate=rotate, network=network, allow_virtual=_cards(allow_virtual))
    if opener is not None:
        return opener(None)
    path = Path(text)
    return FolderSource(path, rotate=rotate) if path.is_dir() else VideoSource(_video(path), rotate=rotate)


def open_camera(
    name: str | os.PathLike[str] | int | FrameSource, *, rotate: int = 0, network: bool = False,
    allow_virtual: tuple[str, ...] = (), give_up_after_s: float = GIVE_UP_AFTER_S,
    on_event: Callable[[CameraEvent], None] | None = None,
) -> LiveCamera:  # fmt: skip
    """A camera to stand in front of: the newest frame, settled exposure, found again when it was unplugged.

    Args:
        name: a camera as in `open_source`, but no folder and no video: those have no newest frame. Or a FrameSource of
            your own, which is read once and not opened again; `rotate` does not turn it.
        rotate: degrees clockwise by which its pictures are turned, 0, 90, 180 or 270.
        network: allow RTSP addresses. facesdk has no network code of its own: OpenCV's FFmpeg talks to the camera.
        allow_virtual: the names (cards) of virtual cameras that may be opened.
        give_up_after_s: the longest time without a frame, while it is looked for again.
        on_event: called with what happens to it, by the thread that takes the frames.

    Returns:
        The camera, which `with` starts: that is when it is opened, and when CameraError says why it cannot be.

    Raises:
        CameraError: a network address without `network`.
        InputError: what is no camera's name.
    """
    if not isinstance(name, (str, os.PathLike)) and hasattr(name, "__enter__") and hasattr(name, "__iter__"):
        own: Any = name
        settle = isinstance(own, PipeSource)  # the exposure of a recording is what it is
        return LiveCamera(lambda _: own, name="camera", settle=settle, give_up_after_s=0, on_event=on_event)
    text = _text(name)
    opener = _camera(text, rotate=rotate, network=network, allow_virtual=_cards(allow_virtual))
    if opener is None:
        raise InputError(f"{text}: no camera; {CAMERAS}. Recordings are opened by open_source")
    shown = shown_address(text) if "://" in text else text if text.startswith("picamera") else f"camera {text}"
    return LiveCamera(opener, name=shown, give_up_after_s=give_up_after_s, on_event=on_event)


def _camera(text: str, *, rotate: int, network: bool, allow_virtual: tuple[str, ...]) -> Opener | None:
    """What opens the camera of this name, later with the identity it must have; None where it is no camera's name."""
    checked_rotation(rotate)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        if network:
            shown_address(text)
            return lambda _: NetworkSource(text, rotate=rotate)
        said = f"{text.split('://')[0]}://...: network addresses are not opened, facesdk has no network code; {NAMES}"
        raise CameraError(said, hint="network=True lets OpenCV open an RTSP address")
    if module := re.fullmatch(r"picamera(?::([0-9]{1,3}))?", text, re.ASCII):
        at = int(module[1] or 0)
        return lambda _: PicameraSource(at, rotate=rotate, allow_virtual=allow_virtual)
    machine = v4l2.HERE
    node = _node(text, machine)
    if node is None:
        return None

    def opener(identity: CameraIdentity | None) -> FrameSource:
        number = v4l2.number_of(node, machine) if identity is None else v4l2.found_again(identity, machine)
        return CameraSource(number, rotate=rotate, allow_virtual=allow_virtual, machine=machine)

    return opener


def _node(text: str, machine: v4l2.Machine) -> Path | None:
    """The path of the node that is meant, there or not; None for a file, a folder or nothing."""
    if re.fullmatch("[0-9]{1,6}", text):
        return machine.dev / f"video{int(text)}"
    path = Path(text)
    if len(path.parts) == 1 and not path.exists() and os.path.lexists(machine.dev / BY_ID / path):
        return machine.dev / BY_ID / path
    try:
        return path if stat.S_ISCHR(machine.stat(path).st_mode) else None
    except OSError:
        return path if path.is_absolute() and path.is_relative_to(machine.dev) else None


def _text(name: Any) -> str:
    """A name as text; InputError for what can be none."""
    text = os.fsdecode(name) if isinstance(name, (str, os.PathLike)) else str(_whole(name))
    if not text or "\0" in text:
        raise InputError(f"{text!r}: not a path; {NAMES}")
    return text


def _whole(name: Any) -> int:
    """A camera's number, of a whole number of any kind."""
    try:
        number = -1 if isinstance(name, bool) else operator.index(name)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"not a source of frames: {name!r}; {NAMES}")
    return number


def _cards(names: Any) -> tuple[str, ...]:
    """The names of allowed virtual cameras; InputError, also for a single string, whose letters would be the names."""
    listed = isinstance(names, (tuple, list, set, frozenset))
    if not listed or not all(isinstance(name, str) for name in names):
        raise InputError(f"allow_virtual must be a tuple of names, as in ('OBS Virtual Camera',), not {names!r}")
    return tuple(names)


def _video(path: Path) -> Path:
    """The path, if a regular file is there; CameraError."""
    try:
        found = path.stat()
    except OSError as error:
        raise CameraError(f"{path}: no such video file ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        raise CameraError(f"{path}: neither a camera nor a video file; {NAMES}")
    return path
