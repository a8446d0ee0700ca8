"""Stand-ins for what no container has: a /dev with cameras, drivers that answer, OpenCV's VideoCapture, clocks."""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facesdk.camera import CapturedFrame
from facesdk.camera.v4l2 import Machine
from facesdk.errors import CameraError

CAPTURE, METADATA, OUTPUT, PLANES = 0x1, 0x00800000, 0x2, 0x1000
LIMIT_S = 10.0  # nothing in these tests waits longer


@dataclass
class Driver:
    """One camera node, as its driver answers."""

    number: int
    card: str = "HD Webcam"
    driver: str = "uvcvideo"
    bus: str = "usb-0000:00:14.0-1"
    by_id: str = ""
    capabilities: int = 0x04200000 | CAPTURE
    formats: tuple[str, ...] = ("YUYV", "MJPG")
    virtual: bool = False
    busy: bool = False
    opening: int = 0  # an errno
    asking: int = 0  # an errno


@dataclass
class Fake:
    """A machine with these cameras, below a folder; `machine` is handed to what looks for them."""

    root: Path
    drivers: dict[int, Driver] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("dev/v4l/by-id", "sys/class/video4linux", "sys/devices/virtual/video4linux", "proc"):
            (self.root / name).mkdir(parents=True)

    @property
    def machine(self) -> Machine:
        return Machine(
            dev=self.root / "dev", sys=self.root / "sys", proc=self.root / "proc", stat=self._stat, open=self._open,
            ioctl=self._ioctl,
        )  # fmt: skip

    def node(self, number: int) -> Path:
        return self.root / "dev" / f"video{number}"

    def plug(self, driver: Driver) -> Path:
        """A camera, put in."""
        node, self.drivers[driver.number] = self.node(driver.number), driver
        node.touch()
        if driver.by_id:
            (self.root / "dev/v4l/by-id" / driver.by_id).symlink_to(f"../../video{driver.number}")
        place = self.root / ("sys/devices/virtual/video4linux" if driver.virtual else "sys/devices/pci0000:00")
        (place / f"video{driver.number}").mkdir(parents=True, exist_ok=True)
        (self.root / f"sys/class/video4linux/video{driver.number}").symlink_to(place / f"video{driver.number}")
        return node

    def unplug(self, number: int) -> None:
        driver = self.drivers.pop(number)
        self.node(number).unlink()
        (self.root / f"sys/class/video4linux/video{number}").unlink()
        if driver.by_id:
            (self.root / "dev/v4l/by-id" / driver.by_id).unlink()

    def hold(self, number: int, pid: int, name: str, times: int = 1) -> None:
        """A process that has the node open."""
        fds = self.root / "proc" / str(pid) / "fd"
        fds.mkdir(parents=True)
        (fds.parent / "comm").write_text(name + "\n")
        (fds / "0").symlink_to("/dev/null")
        for at in range(times):
            (fds / str(3 + at)).symlink_to(self.node(number))

    def _stat(self, path: Path) -> os.stat_result:
        found = path.stat()
        real = path.resolve()
        if real.parent == self.root / "dev" and real.is_file():
            fields = list(found)
            fields[0] = stat.S_IFCHR | 0o660
            number = int("".join(filter(str.isdigit, real.name)) or 0)
            return os.stat_result(fields, {"st_rdev": os.makedev(81, number)})
        return found

    def _driver(self, path: Path) -> Driver:
        return self.drivers[int(path.name.removeprefix("video"))]

    def _open(self, path: Path) -> int:
        if path.exists() and self._driver(path).opening:
            raise OSError(self._driver(path).opening, os.strerror(self._driver(path).opening))
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def _ioctl(self, device: int, request: int, answer: bytearray) -> int:
        driver = self._driver(Path(os.readlink(f"/proc/self/fd/{device}")))
        if driver.asking:
            raise OSError(driver.asking, os.strerror(driver.asking))
        if request == 0x80685600:
            assert len(answer) == 104
            names = (driver.driver.encode(), driver.card.encode(), driver.bus.encode())
            struct.pack_into("16s32s32s2I", answer, 0, *names, 0x60000, 0x80000000 | driver.capabilities)
            struct.pack_into("=I", answer, 88, driver.capabilities)
        elif request == 0xC0405602:
            index, kind = struct.unpack_from("=2I", answer)
            assert (len(answer), kind) == (64, 1 if driver.capabilities & CAPTURE else 9)
            if index >= len(driver.formats):
                raise OSError(errno.EINVAL, "Invalid argument")
            struct.pack_into("4s", answer, 44, driver.formats[index].encode().ljust(4))
        elif request == 0xC0145608:
            assert struct.unpack("=5I", answer) == (0, 1 if driver.capabilities & CAPTURE else 9, 1, 0, 0)
            if driver.busy:
                raise OSError(errno.EBUSY, "Device or resource busy")
        else:
            raise AssertionError(hex(request))
        return 0


class Capture:
    """cv2.VideoCapture: plays what `plays` says for each opening, then fails.

    A step is an array (a picture as OpenCV gives it), None (a read that fails) or an Event (a read that stalls until it
    is set, then fails).
    """

    plays: list[Iterable[Any]] = []  # noqa: RUF012
    properties: dict[int, float] = {}  # noqa: RUF012
    refused: set[int] = set()  # noqa: RUF012
    opened: list[tuple[object, ...]] = []  # noqa: RUF012
    released = 0

    def __init__(self, *arguments: object) -> None:
        self.opened.append(arguments)
        self._steps: Iterator[Any] | None = iter(self.plays.pop(0)) if self.plays else None
        self.properties = {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 64.0, **type(self).properties}
        self.converts, self._released = True, False

    def isOpened(self) -> bool:
        return self._steps is not None

    def get(self, key: int) -> float:
        return self.properties.get(key, 0.0)

    def set(self, key: int, value: float) -> bool:
        assert key == cv2.CAP_PROP_CONVERT_RGB
        if value in self.refused:
            return False
        self.converts = bool(value)
        return True

    def read(self) -> tuple[bool, Any]:
        assert self._steps is not None
        step = next(self._steps, None)
        if isinstance(step, threading.Event):
            assert step.wait(LIMIT_S)
            step = None
        return (step is not None), step

    def release(self) -> None:
        type(self).released += not self._released
        self._steps, self._released = None, True


def reset_capture() -> None:
    Capture.plays, Capture.properties, Capture.refused, Capture.opened, Capture.released = [], {}, set(), [], 0


def bgr(level: int, side: int = 64) -> np.ndarray:
    """A picture of one gray, with its number in a corner."""
    picture = np.full((side, side, 3), level, np.uint8)
    picture[0, 0] = (level, level + 1, level + 2)
    return picture


def code(name: str) -> float:
    return float(int.from_bytes(name.encode(), "little"))


class Clock:
    """Seconds that pass only when somebody says so. `pause` takes the place of waiting."""

    def __init__(self) -> None:
        self.now_s, self.pauses = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


class Played:
    """A FrameSource: plays pictures, one every `1 / fps` of the clock, each when the consumer has taken the last one or
    at once; then it ends, or fails with what `ends` says."""

    def __init__(
        self, pictures: Iterable[np.ndarray], clock: Clock, *, fps: float = 30.0, ends: str = "",
        identity: Any = None, turn: threading.Semaphore | None = None,
    ) -> None:  # fmt: skip
        self._pictures, self._clock, self._fps, self._ends, self._turn = pictures, clock, fps, ends, turn
        if identity is not None:
            self.identity = identity
        self.open = False

    def __iter__(self) -> Iterator[CapturedFrame]:
        for picture in self._pictures:
            if self._turn is not None:
                assert self._turn.acquire(timeout=LIMIT_S)
            self._clock.now_s += 1 / self._fps
            yield CapturedFrame(picture, self._clock(), "played")
        if self._ends:
            raise CameraError(self._ends)

    def __enter__(self) -> Played:
        self.open = True
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.open = False


def facesdk_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("facesdk")]
