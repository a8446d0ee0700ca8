"""The camera modules of a Raspberry Pi, through Picamera2 of Raspberry Pi OS, which is imported only here."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from facesdk.camera.frame import CapturedFrame, checked_rotation, rotated
from facesdk.camera.identity import CameraIdentity
from facesdk.environment import LIBCAMERA, without
from facesdk.errors import CameraError

SIZE = (1280, 720)
# What libcamera calls the cameras of its virtual pipeline, which plays pictures.
VIRTUAL_ID = "Virtual"


def _picamera2() -> Any:
    """The class Picamera2; CameraError where it is not installed, or does not fit."""
    try:
        with without(LIBCAMERA):
            return importlib.import_module("picamera2").Picamera2
    except Exception as error:  # its libraries fail in ways of their own where they do not fit together
        raise CameraError(
            f"Picamera2 is needed ({error!r:.120})",
            hint="sudo apt install python3-picamera2, and an environment made with --system-site-packages",
        ) from error


def picamera_identities() -> list[CameraIdentity]:
    """The camera modules by their numbers; CameraError where Picamera2 is not installed."""
    kind = _picamera2()
    try:
        with without(LIBCAMERA):
            found = list(kind.global_camera_info())
    except Exception as error:
        raise CameraError(f"libcamera does not list its cameras: {error}") from error
    ordered = sorted(found, key=lambda entry: int(entry.get("Num", 0)))
    return [CameraIdentity("libcamera", str(e.get("Model", "")), str(e.get("Id", ""))) for e in ordered]


class PicameraSource:
    """A camera module by its number.

    Args:
        number: as libcamera counts them, 0 for the first.
        size: width and height of its pictures.
        rotate: degrees clockwise by which they are turned: 0, 90, 180 or 270.
        allow_virtual: the names (models) of virtual cameras that may be opened.
        clock: gives the time of each frame, in seconds.

    Raises:
        CameraError: Picamera2 is missing, there is no such camera, or another program uses it.
    """

    def __init__(
        self, number: int = 0, *, size: tuple[int, int] = SIZE, rotate: int = 0, allow_virtual: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._rotate, self._clock, self._name = checked_rotation(rotate), clock, f"picamera {number}"
        kind, there = _picamera2(), picamera_identities()
        if not 0 <= number < len(there):
            listed = ", ".join(f"{at}: {one.card}" for at, one in enumerate(there)) or "none: is the ribbon cable in?"
            raise CameraError(f"{self._name}: no such camera module; libcamera finds {listed}")
        self.identity = there[number]
        if self.identity.bus_info.startswith(VIRTUAL_ID) and self.identity.card not in allow_virtual:
            card = self.identity.card
            said = f"{self._name}: {card!r} is a virtual camera: its pictures come from a program, not from a lens"
            raise CameraError(said, hint=f"if that is meant: allow_virtual=({card!r},)")
        self._camera: Any = None
        try:
            with without(LIBCAMERA):
                self._camera = kind(camera_num=number)
                # Its names are those of the order in memory backwards: BGR888 gives arrays in RGB.
                main = {"size": size, "format": "BGR888"}
                self._camera.configure(self._camera.create_video_configuration(main=main))
                self._camera.start()
        except Exception as error:  # RuntimeError, IndexError and others, by its version
            with suppress(Exception):
                self.__exit__(None, None, None)
            raise CameraError(f"{self._name} cannot be started: {error}; another program may be using it") from error

    def __iter__(self) -> Iterator[CapturedFrame]:
        count = 0
        while True:
            try:
                request = self._camera.capture_request()
                try:
                    array = request.make_array("main")
                finally:
                    request.release()
            except Exception as error:
                raise CameraError(f"{self._name} stopped giving frames: {error}") from error
            yield CapturedFrame(rotated(array, self._rotate), self._clock(), self._name, sequence=count)
            count += 1

    def __enter__(self) -> PicameraSource:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.stop()
            finally:
                camera.close()
