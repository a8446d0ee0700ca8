"""Stands in for picamera2: a camera that gives the pictures of the folder `frames`."""

from __future__ import annotations

import time
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from facesdk.images import load_rgb


class Request:
    """A picture that lies in a buffer of the camera until it is given back."""

    def __init__(self, camera: Picamera2) -> None:
        self._camera: Picamera2 | None = camera

    def make_array(self, name: str) -> np.ndarray:
        assert self._camera is not None
        return self._camera.capture_array(name)

    def release(self) -> None:
        assert self._camera is not None
        self._camera = None


class Picamera2:
    """What the guide uses of it, in the order in which the real one asks for it."""

    def __init__(self, camera_num: int = 0) -> None:
        self._pictures = cycle(sorted(Path("frames").iterdir()))
        self._state, self._format = "open", ""

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c@1/imx708@1a", "Num": 0}]

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        assert set(main) == {"size", "format"}
        return {"main": main}

    def configure(self, configuration: dict[str, Any]) -> None:
        assert self._state == "open"
        self._format = configuration["main"]["format"]

    def start(self) -> None:
        assert self._format
        self._state = "started"

    def capture_array(self, name: str = "main") -> np.ndarray:
        assert self._state == "started"
        time.sleep(1 / 30)
        picture = load_rgb(next(self._pictures))
        return picture if self._format == "BGR888" else picture[..., ::-1]  # its names are those of the bytes' order

    def capture_request(self) -> Request:
        return Request(self)

    def stop(self) -> None:
        self._state = "stopped"

    def close(self) -> None:
        assert self._state == "stopped"
