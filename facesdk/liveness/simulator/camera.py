"""A pinhole camera with a z-buffer: triangles with pictures on them become a frame, blurred, noisy, through JPEG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesdk.errors import InputError
from facesdk.liveness.simulator.geometry import Floats, Surface

if TYPE_CHECKING:
    from facesdk.types import Frame

NEAREST_CM = 2.0
_SLACK = 1e-3  # px; neighbours overlap by so much, and leave no gaps


@dataclass(frozen=True, eq=False)
class Camera:
    """What a frame is like. The same camera gives the same frame for the same scene and time.

    Attributes:
        width: px.
        height: px.
        focal_px: 0 for 0.9 of the width, a laptop's 58 degrees.
        background: uint8 (height, width, 3), RGB; None for a wall with a few things on it, by the seed.
        blur_px: standard deviation of the lens, around what is in front of the background.
        noise: standard deviation of a gray level, at each pixel by itself.
        jpeg: quality, 1 to 95; 0 for none.
        exposure: what gray levels are multiplied by.
        drift: by what part the light rises and falls, in waves of 7 s and 2.3 s.
        seed: of noise and background.
    """

    width: int = 640
    height: int = 480
    focal_px: float = 0.0
    background: Frame | None = None
    blur_px: float = 0.7
    noise: float = 3.0
    jpeg: int = 85
    exposure: float = 1.0
    drift: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        expected = (self.height, self.width, 3)
        if self.background is not None and self.background.shape != expected:
            raise InputError(f"expected a background of shape {expected}, not {self.background.shape}: resize it")

    @cached_property
    def _behind(self) -> Frame:
        packed = np.zeros((self.height, self.width, 4), np.uint8)
        packed[..., :3] = _wall(self.width, self.height, self.seed) if self.background is None else self.background
        return packed

    def project(self, points_cm: Floats) -> Floats:
        """(n, 2): where points (n, 3) are in the frame, px; pixel centres are at integers."""
        middle, focal = np.array([self.width - 1, self.height - 1]) / 2, self.focal_px or 0.9 * self.width
        seen: Floats = points_cm[:, :2] / np.maximum(points_cm[:, 2:], NEAREST_CM) * focal + middle
        return seen

    def render(self, surfaces: Sequence[Surface], time_s: float) -> Frame:
        """uint8 (height, width, 3), RGB: what stands before the camera then. InputError: a place is not finite."""
        if not all(np.isfinite(surface.points_cm).all() for surface in surfaces):
            raise InputError("expected finite poses and places, not infinity or NaN: look at the scene's motion")
        canvas, nearness = self._behind.copy(), np.zeros(self.height * self.width, np.float32)
        touched = [pixels for surface in surfaces if len(pixels := self._draw(canvas, nearness, surface))]
        if touched and self.blur_px > 0:
            rows, columns = np.divmod(np.concatenate(touched), self.width)
            margin = math.ceil(3 * self.blur_px) + 1
            part = tuple(slice(max(int(at.min()) - margin, 0), int(at.max()) + margin) for at in (rows, columns))
            canvas[part][..., :3] = _blurred(canvas[part][..., :3], self.blur_px)
        return self._developed(canvas[..., :3], time_s)

    def _draw(self, canvas: Frame, nearness: NDArray[np.float32], surface: Surface) -> NDArray[np.int32]:
        """Draws one surface where it is nearest, which the pixels returned say (index in the frame)."""
        triangles = surface.triangles[(surface.points_cm[surface.triangles, 2] > NEAREST_CM).all(axis=1)]
        at, inverse = self.project(surface.points_cm), 1 / np.maximum(surface.points_cm[:, 2:], NEAREST_CM)
        # 1 / z, u / z and v / z are linear in the frame.
        values = np.concatenate([inverse, surface.texels * inverse], axis=1)
        pixels, spread = _spread(at[triangles], values[triangles], (self.width, self.height))
        shown = _nearest(nearness, pixels, spread[0])
        pixels, (w, u, v) = pixels[shown], spread[:, shown]
        density = math.sqrt(_area(surface.texels[triangles]) / max(_area(at[triangles]), 1e-9))
        canvas.view(np.uint32).reshape(-1)[pixels] = surface.texture.sample(u / w, v / w, texels_a_pixel=density)
        return pixels

    def _developed(self, canvas: Frame, time_s: float) -> Frame:
        """The same with the light of this moment, noise, and what JPEG leaves of it."""
        random = np.random.default_rng((self.seed, round(time_s * 1e6) & 0xFFFFFFFF))
        swing = 0.6 * math.sin(2 * math.pi * time_s / 7 + self.seed) + 0.4 * math.sin(2 * math.pi * time_s / 2.3)
        table = np.arange(256) * self.exposure * (1 + self.drift * swing)
        lit = np.minimum(table, 400).astype(np.int16)[canvas]
        if self.noise:
            top, left = random.integers(0, 64, 2)
            part = _noise(self.width, self.height, self.noise)[top : top + self.height, left : left + self.width]
            (np.add if random.integers(2) else np.subtract)(lit, part, out=lit)
        developed: Frame = np.clip(lit, 0, 255, out=lit).astype(np.uint8)
        if not self.jpeg:
            return developed
        from PIL import Image

        kept = io.BytesIO()
        Image.fromarray(developed).save(kept, "JPEG", quality=self.jpeg)
        return np.array(Image.open(kept))


def _spread(at: Floats, values: Floats, size: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The pixels that triangles cover, row by row of each, and their values there.

    Args:
        at: (m, 3, 2) corners, px.
        values: (m, 3, k) at the corners, linear in the frame.
        size: width and height.

    Returns:
        (n,) indices in the frame, those of several triangles several times, and (k, n).
    """
    width, height = size
    edge1, edge2 = at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]
    twice = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    kept = np.abs(twice) > 1e-6
    at, values, edge1, edge2, twice = at[kept], values[kept], edge1[kept], edge2[kept], twice[kept, None]
    step1, step2 = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    along = (step1 * edge2[:, 1:] - step2 * edge1[:, 1:]) / twice
    down = (step2 * edge1[:, :1] - step1 * edge2[:, :1]) / twice
    first = np.clip(np.ceil(at[..., 1].min(axis=1) - _SLACK), 0, height).astype(np.int32)
    last = np.clip(np.floor(at[..., 1].max(axis=1) + _SLACK) + 1, 0, height).astype(np.int32)
    triangle, row = _counted(np.maximum(last - first, 0))
    y = first[triangle] + row
    left, right = _row_ends(at[triangle], y)
    begin = np.clip(np.ceil(left - _SLACK), 0, width).astype(np.int32)
    end = np.clip(np.floor(right + _SLACK) + 1, 0, width).astype(np.int32)
    here, slope = at[triangle, 0], along[triangle].astype(np.float32)
    start = values[triangle, 0] + along[triangle] * (begin - here[:, 0])[:, None]
    start = (start + down[triangle] * (y - here[:, 1])[:, None]).astype(np.float32)
    span, step = _counted(np.maximum(end - begin, 0))
    pixels = (y * width + begin).astype(np.int32)[span] + step
    steps = step.astype(np.float32)
    return pixels, np.stack([slope[span, k] * steps + start[span, k] for k in range(values.shape[2])])


def _counted(lengths: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For lengths 2, 0, 3: 0 0 2 2 2 and 0 1 0 1 2."""
    which = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    begins = np.cumsum(lengths, dtype=np.int32) - lengths
    return which, np.arange(len(which), dtype=np.int32) - begins[which]


def _row_ends(corners: Floats, y: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Where the row y enters and leaves each triangle (n, 3, 2); 0 and -1 where it passes it by."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        (xa, ya), (xb, yb) = corners[:, a].T, corners[:, b].T
        flat = np.abs(yb - ya) < 1e-9
        part = (y - ya) / np.where(flat, 1.0, yb - ya)
        crosses = ~flat & (part >= -1e-3) & (part <= 1 + 1e-3)
        x = xa + (xb - xa) * np.clip(part, 0.0, 1.0)
        left, right = np.where(crosses, np.minimum(left, x), left), np.where(crosses, np.maximum(right, x), right)
    return np.where(left > right, 0.0, left), np.where(left > right, -1.0, right)


def _nearest(nearness: NDArray[np.float32], pixels: NDArray[np.int32], w: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which of these are in front at their pixels; writes them into the z-buffer, which holds w = 1 / z."""
    shown = np.full(len(nearness), -1, np.int64)
    left = np.flatnonzero(w > nearness[pixels])
    while len(left):  # of several at one pixel one stays at each turn, and the nearer ones try again
        nearness[pixels[left]] = w[left]
        shown[pixels[left]] = left
        left = left[w[left] > nearness[pixels[left]]]
    return shown[shown >= 0]


def _area(corners: Floats) -> float:
    """Twice the area of triangles (m, 3, 2)."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())


def _blurred(part: Frame, sigma: float) -> Frame:
    reach = math.ceil(2.5 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    rounded = np.round(weights / weights.sum() * 256).astype(np.int64)
    rounded[reach] += 256 - rounded.sum()
    whole = rounded.astype(np.uint16)
    for axis in (0, 1):
        wide = np.pad(part, [(reach, reach) if i == axis else (0, 0) for i in range(3)], mode="edge").astype(np.uint16)
        total = np.full(part.shape, 128, np.uint16)
        for i, weight in enumerate(whole):
            total += (wide[i : i + len(part)] if axis == 0 else wide[:, i : i + part.shape[1]]) * weight
        part = (total >> 8).astype(np.uint8)
    return part


@lru_cache(maxsize=4)
def _noise(width: int, height: int, sigma: float) -> NDArray[np.int16]:
    """Noise with 64 px to spare each way: another part of it, with another sign, lies over each frame."""
    values = np.random.default_rng(1).standard_normal((height + 64, width + 64, 3), np.float32)
    return np.round(values * sigma).astype(np.int16)


@lru_cache(maxsize=4)
def _wall(width: int, height: int, seed: int) -> Frame:
    """A wall, brighter on one side, with some rectangles on it, out of focus."""
    random = np.random.default_rng((seed, 77))
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    wall = (135 + 30 * random.uniform(-1, 1) * across - 20 * down)[..., None] + random.uniform(-12, 12, 3)
    for _ in range(6):
        x, y, w, h = (random.uniform(0, 1, 4) * (width, height, width / 3, height / 3)).astype(int)
        wall[y : y + h, x : x + w] += random.uniform(-50, 50, 3)
    return _blurred(np.clip(wall, 0, 255).astype(np.uint8), 2.0)
