"""What tests of sessions share: an engine that sees what a script says, and heads that a camera would see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from conftest import portrait

from facesdk import Engine
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.head import Head
from facesdk.types import Face, Features, Pose, Quality, Sample

SIZE = 96


@dataclass(frozen=True)
class Seen:
    """What a scripted frame shows. who: whose features it has, 0 for nobody."""

    who: int = 1
    yaw: float = 0.0
    pitch: float = 0.0
    at: tuple[float, float] = (48.0, 48.0)
    size: float = 30.0
    brightness: float = 120.0
    signal: float = 20.0
    runner_up: float = 0.0
    presence: float = 1.0
    turned: bool = False
    eyes_open: bool = True
    still: bool = False


NOBODY = Seen(who=0)


class ScriptedEngine:
    """Engine's double: a frame's first pixels hold its number, the script says what it shows."""

    embedder = "sface"
    model_ids = ("scripted",)

    def __init__(self, script: Callable[[int], Seen]) -> None:
        self.script = script
        self.embedded = 0

    def seen(self, frame: np.ndarray) -> Seen:
        return self.script(int(frame[0, 0]) + 256 * int(frame[0, 1]) + 65536 * int(frame[0, 2]))

    def observe(self, frame: np.ndarray) -> tuple[Sample | None, list[Face]]:
        seen = self.seen(frame)
        if not seen.who:
            return None, []
        sample = self._sample(seen, int(frame[0, 0]) + 256 * int(frame[0, 1]))
        return sample, [sample.face]

    def follow(self, frame: np.ndarray, _face: Face) -> Sample | None:
        return self.observe(frame)[0]

    def embed(self, sample: Sample) -> Features:
        self.embedded += 1
        who = int(sample.crop[0, 0, 0])
        vector = np.zeros(64, np.float32)
        vector[who], vector[0] = 0.95, 0.3123
        vector /= np.linalg.norm(vector)
        vector.flags.writeable = False
        return Features(self.embedder, sample.face, sample.quality, sample.runner_up, vector)

    def _sample(self, seen: Seen, number: int) -> Sample:
        x, y = seen.at
        grid = np.linspace(-0.5, 0.5, 468, dtype=np.float32) * seen.size
        points = np.stack([x + grid, y + grid[::-1] * (1 - 2 * (np.arange(468) % 2)), 0 * grid], axis=1)
        half = seen.size / 2
        face = Face(
            np.array([x - half, y - half, x + half, y + half], np.float32), np.zeros((6, 2), np.float32) + 48, 0.95,
            Pose(seen.yaw, seen.pitch, 0.0), points.astype(np.float32),
        )  # fmt: skip
        crop = np.zeros((20, 20, 3), np.uint8)
        crop[0, 0] = crop[0, -1] = seen.who  # also of its mirror image
        crop[0, 1:3, 0] = (0, 0) if seen.still else (number % 256, number // 256)
        quality = Quality(2 * seen.size, seen.brightness, 50.0, 0.0, 500.0, seen.presence, seen.signal)
        return Sample(face, quality, seen.runner_up, crop, turned=seen.turned)


def frame(number: int) -> np.ndarray:
    """A frame whose number the scripted engine reads."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[0, :3] = number % 256, number // 256 % 256, number // 65536
    return image


@cache
def head(name: str) -> Head:
    """A head made of a portrait."""
    return Head.of(portrait(name), Engine())


@cache
def face_of(name: str) -> tuple[np.ndarray, float]:
    """A portrait cut to its face, and how wide a print of it is that shows the face in its own size, in cm."""
    picture = portrait(name)
    x0, y0, x1, y1 = (float(v) for v in Engine().detect(picture)[0].box_px)
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), 1.1 * (x1 - x0)
    left, top = (max(0, int(c - half)) for c in middle)
    cut = np.ascontiguousarray(picture[top : int(middle[1] + half), left : int(middle[0] + half)])
    return cut, head(name).portrait_cm * cut.shape[1] / picture.shape[1]


def camera(seed: int, **changes: Any) -> Camera:
    """A camera with its own wall and noise."""
    return replace(Camera(seed=seed), **changes)
