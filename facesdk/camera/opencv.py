"""Cameras of the kernel (V4L2) and cameras with an address (RTSP), both through OpenCV (extra camera)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from facesdk.camera import v4l2
from facesdk.camera.formats import from_driver
from facesdk.camera.frame import CapturedFrame, checked_rotation, rotated
from facesdk.environment import OPENCV, without
from facesdk.errors import CameraError, InputError

if TYPE_CHECKING:
    from facesdk.camera.identity import CameraIdentity
    from facesdk.camera.v4l2 import Machine, Node
    from facesdk.types import Frame

ADDRESS = re.compile(
    r"(rtsps?)://(?:[^/?#]*@)?(\[[0-9a-f:.]+\]|[\w.-]+)(:[0-9]+)?(?:[/?#].*)?", re.IGNORECASE | re.ASCII
)
NETWORK_TIMEOUT_MS = 10_000


def reads(capture: Any) -> Iterator[Any]:
    """What an open cv2.VideoCapture gives, until it gives nothing."""
    while True:
        good, picture = capture.read()
        if not good:
            return
        yield picture


def load_opencv() -> Any:
    """The module cv2, loaded without what the environment names; CameraError where it is not installed."""
    try:
        with without(OPENCV):
            import cv2
    except ImportError as error:
        raise CameraError(f"OpenCV is needed ({error}): pip install 'facesdk-unlock[camera]'") from error
    return cv2


class CameraSource:
    """A camera of the kernel. Only what the driver calls a camera, and only a virtual one that is allowed by its name.

    Args:
        number: N of /dev/videoN.
        rotate: degrees clockwise by which its pictures are turned: 0, 90, 180 or 270.
        allow_virtual: the names (cards) of virtual cameras that may be opened.
        clock: gives the time of each frame, in seconds.
        machine: the system that the camera belongs to; this one if None.

    Raises:
        CameraError: it is not there, is something else, is in use, or gives nothing.
    """

    def __init__(
        self, number: int, *, rotate: int = 0, allow_virtual: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic, machine: Machine | None = None,
    ) -> None:  # fmt: skip
        self._rotate, self._clock, self._machine = checked_rotation(rotate), clock, machine or v4l2.HERE
        self._node: Node = v4l2.checked_node(number, allow_virtual, self._machine)
        self._name = f"camera {number}"
        self._cv2 = cv2 = load_opencv()
        with without(OPENCV):
            self._capture: Any = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{self._name} cannot be opened: {self._reason()}")
        self._code = _code(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        # A JPEG is decoded where it lies, everything else is converted by our own core.
        self._raw = self._code in ("YUYV", "NV12", "GREY") and bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))

    @property
    def identity(self) -> CameraIdentity:
        """Who the camera says it is."""
        return self._node.identity

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        for raw in reads(self._capture):
            if (image := self._picture(raw)) is not None:
                yield CapturedFrame(rotated(image, self._rotate), self._clock(), self._name, sequence=count)
                count += 1
        said = "gave no frame" if count == 0 else "stopped giving frames"
        self._capture.release()  # else the camera is busy with this program when it is asked what is wrong
        raise CameraError(f"{self._name} {said}: {self._reason()}")

    def __enter__(self) -> CameraSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._capture.release()

    def _picture(self, raw: Frame) -> Frame | None:
        """RGB or gray; None for a frame that is not in the form that was agreed upon, after which OpenCV converts."""
        if not self._raw:
            return _from_bgr(self._cv2, raw)
        size = tuple(int(self._capture.get(key)) for key in
                     (self._cv2.CAP_PROP_FRAME_WIDTH, self._cv2.CAP_PROP_FRAME_HEIGHT))  # fmt: skip
        image = from_driver(raw, self._code, (size[0], size[1]))
        if image is None:
            self._raw = False
            if not self._capture.set(self._cv2.CAP_PROP_CONVERT_RGB, 1):
                raise CameraError(f"{self._name} gives {raw.shape} of {raw.dtype}, which is no {self._code} picture")
        return image

    def _reason(self) -> str:
        """Why it gives nothing, as far as its node can tell."""
        node = v4l2.node_of(self._node.number, self._machine)
        if node.problem:
            return node.problem
        if who := [name for name in v4l2.holders(node.path, self._machine) if not name.startswith("this program")]:
            return f"it may be in use by {', '.join(who)}"
        return "the driver does not say why; unplug it and plug it in again, or see `dmesg`"


class NetworkSource:
    """A camera by its RTSP address, through OpenCV's FFmpeg: its code, not ours, talks to the network.

    Args:
        address: rtsp:// or rtsps://, with a name and a password before the host if the camera asks for them. No message
            repeats more of it than scheme, host and port.
        rotate: degrees clockwise by which its pictures are turned: 0, 90, 180 or 270.
        clock: gives the time of each frame, in seconds.

    Raises:
        InputError: another scheme, or no address.
        CameraError: the camera does not answer within ten seconds.
    """

    def __init__(self, address: str, *, rotate: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._rotate, self._clock, self._name = checked_rotation(rotate), clock, shown_address(address)
        self._cv2 = cv2 = load_opencv()
        limits = [n for key in (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
                  for n in (key, NETWORK_TIMEOUT_MS)]  # fmt: skip
        with without(OPENCV):
            self._capture: Any = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{self._name} cannot be opened: is it reachable, are path, name and password right?")

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        for count, bgr in enumerate(reads(self._capture), start=1):
            image = rotated(_from_bgr(self._cv2, bgr), self._rotate)
            yield CapturedFrame(image, self._clock(), self._name, sequence=count - 1)
        raise CameraError(f"{self._name} {'gave no frame' if count == 0 else 'stopped giving frames'}")

    def __enter__(self) -> NetworkSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._capture.release()


def shown_address(address: str) -> str:
    """Scheme, host and port: what may be shown of an address. InputError for what is no RTSP address."""
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise InputError("the address of a camera is rtsp://HOST[:PORT]/PATH or rtsps://...: no other scheme is opened")
    return f"{found[1].lower()}://{found[2]}{found[3] or ''}"


def _from_bgr(cv2: Any, bgr: Frame) -> Frame:
    """RGB, or the gray picture as it is."""
    image: Frame = bgr if bgr.ndim == 2 else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return image


def _code(number: int) -> str:
    """The four characters of a pixel format."""
    return number.to_bytes(4, "little").decode("latin-1") if 0 <= number < 1 << 32 else ""
