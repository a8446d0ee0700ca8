"""Stands in for picamera2: a camera that gives the pictures of the folder `frames`."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from facesdk.images import load_rgb


class Picamera2:
    """What the guide uses of it, in the order in which the real one asks for it."""

    def __init__(self, camera_num: int = 0) -> None:
        self._pictures = cycle(sorted(Path("frames").iterdir()))
        self._state, self._format = "open", ""

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
        picture = load_rgb(next(self._pictures))
        return picture if self._format == "BGR888" else picture[..., ::-1]  # its names are those of the bytes' order

    def stop(self) -> None:
        self._state = "stopped"

    def close(self) -> None:
        assert self._state == "stopped"
