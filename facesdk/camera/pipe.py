"""Raw frames from a pipe or an open descriptor: whatever program can write pictures of one size is a camera."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from facesdk.camera.formats import bytes_of, checked_size, from_bytes
from facesdk.camera.frame import CapturedFrame, checked_rotation, rotated
from facesdk.errors import CameraError, InputError

_LOOK_S = 0.1  # how soon a reader that waits notices that it was stopped


class PipeSource:
    """Frames one after the other, without headers. It ends where the writer closes between two frames.

    Args:
        source: the path of a named pipe, or the number of an open descriptor, which stays the caller's to close.
        size: width and height in pixels, 64 to 8192.
        format: `yuyv`, `nv12`, `grey`, `rgb24` or `bgr24`.
        rotate: degrees clockwise by which the pictures are turned: 0, 90, 180 or 270.
        timeout_s: the longest wait for the next bytes, and for a writer.
        clock: gives the time of each frame, in seconds.

    Raises:
        InputError: a size or format that no picture has, or no pipe.
        CameraError: the pipe cannot be read; nothing came for `timeout_s`; the writer ended in the middle of a frame.
    """

    def __init__(
        self, source: str | os.PathLike[str] | int, *, size: tuple[int, int], format: str, rotate: int = 0,
        timeout_s: float = 10.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._size, self._format, self._rotate = checked_size(size, format), format, checked_rotation(rotate)
        self._timeout_s, self._clock, self._stopped = timeout_s, clock, threading.Event()
        self._own = not isinstance(source, int)
        self._name = f"descriptor {source}" if isinstance(source, int) else os.fsdecode(source)
        self._descriptor = _checked(source) if isinstance(source, int) else _opened(Path(source))
        self._started = False

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        while (data := self._frame(count)) is not None:
            image = rotated(from_bytes(data, self._format, self._size), self._rotate)
            yield CapturedFrame(image, self._clock(), self._name, sequence=count)
            count += 1

    def __enter__(self) -> PipeSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.interrupt()
        if self._own and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def interrupt(self) -> None:
        """End a read that waits in another thread, within a tenth of a second; the source ends there."""
        self._stopped.set()

    def _frame(self, count: int) -> bytearray | None:
        """The bytes of the next frame; None at the end."""
        data = bytearray(bytes_of(self._format, *self._size))
        view, filled = memoryview(data), 0
        while filled < len(data):
            if not self._ready():
                return None
            try:
                got = os.readv(self._descriptor, [view[filled:]])
            except BlockingIOError:
                continue
            except OSError as error:
                raise CameraError(f"{self._name} cannot be read: {error.strerror}") from error
            if got == 0 and filled == 0:
                return None
            if got == 0:
                raise CameraError(f"{self._name}: the writer ended in the middle of frame {count}, after {filled} of "
                                  f"{len(data)} bytes; are size and format those it writes?")  # fmt: skip
            filled += got
            self._started = True
        return data

    def _ready(self) -> bool:
        """Wait for bytes or the end of them; False when it was stopped."""
        if self._stopped.is_set():
            return False
        end_s, poll = time.monotonic() + self._timeout_s, select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while not self._stopped.is_set():
            found = poll.poll(_LOOK_S * 1e3)
            # A named pipe hangs up as long as nobody has opened it for writing.
            if found and (found[0][1] & select.POLLIN or self._started or not self._own):
                return True
            if time.monotonic() >= end_s:
                raise CameraError(f"{self._name}: nothing came for {self._timeout_s:g} s; is a program writing to it?")
            if found:
                self._stopped.wait(_LOOK_S)
        return False


def _checked(descriptor: int) -> int:
    """The descriptor, if bytes can be read from it."""
    if isinstance(descriptor, bool) or descriptor < 0:
        raise InputError(f"not an open descriptor: {descriptor!r}")
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise CameraError(f"descriptor {descriptor} is not open") from error
    return descriptor


def _opened(path: Path) -> int:
    """A descriptor of a named pipe, opened without waiting for a writer."""
    try:
        if not stat.S_ISFIFO(path.stat().st_mode):
            raise InputError(f"{path}: not a pipe; `mkfifo` makes one")
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CameraError(f"{path} cannot be opened: {error.strerror}") from error
