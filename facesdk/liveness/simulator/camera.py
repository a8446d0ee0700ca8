"""A pinhole camera with a z-buffer: triangles with pictures on them become a frame, blurred, noisy, through JPEG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesdk.errors import InputError
from facesdk.liveness.simulator.geometry import Surface

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
        blur_px: standard deviation of the lens.
        noise: standard deviation of a gray level, at each pixel by itself.
        jpeg: quality, 1 to 95; 0 for none.
        exposure: what gray levels are multiplied by.
        drift: by what part the light rises and falls, every 7 s and 2.3 s.
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
        if self.background is not None and self.background.shape != (self.height, self.width, 3):
            raise InputError(
                f"expected a background of shape {(self.height, self.width, 3)}, not {self.background.shape}: resize it"
            )

    @property
    def focal(self) -> float:
        """Focal length, px."""
        return self.focal_px or 0.9 * self.width

    def project(self, points_cm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2): where points (n, 3) are in the frame, px; pixel centres are at integers."""
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        depth = np.maximum(points_cm[:, 2:], NEAREST_CM)
        seen: NDArray[np.float64] = points_cm[:, :2] / depth * self.focal + middle
        return seen

    def render(self, surfaces: Sequence[Surface], time_s: float) -> Frame:
        """uint8 (height, width, 3), RGB: what stands before the camera at this time."""
        behind = self.background if self.background is not None else _wall(self.width, self.height, self.seed)
        canvas = np.empty((self.height, self.width, 4), np.uint8)
        canvas[..., :3] = behind
        nearness = np.zeros(self.height * self.width, np.float32)
        drawn = [box for box in (self._draw(canvas, nearness, surface) for surface in surfaces) if box is not None]
        frame = np.ascontiguousarray(canvas[..., :3])
        for rows, columns in drawn:
            frame[rows, columns] = _blurred(frame[rows, columns], self.blur_px)
        return self._developed(frame, time_s)

    def _draw(self, canvas: Frame, nearness: NDArray[np.float32], surface: Surface) -> tuple[slice, slice] | None:
        """Draws one surface; the part of the frame that it touched, with a margin."""
        depth = np.maximum(surface.points_cm[:, 2], NEAREST_CM)
        near = (surface.points_cm[surface.triangles, 2] > NEAREST_CM).all(axis=1)
        at, triangles = self.project(surface.points_cm), surface.triangles[near]
        # 1 / z, u / z and v / z are linear in the frame.
        values = np.concatenate([1 / depth[:, None], surface.texels / depth[:, None]], axis=1)
        pixels, spread = _spread(at[triangles], values[triangles], (self.width, self.height))
        if not len(pixels):
            return None
        shown = _nearest(nearness, pixels, spread[0])
        pixels, (inverse, u, v) = pixels[shown], (value[shown] for value in spread)
        density = _texels_a_pixel(at[triangles], surface.texels[triangles])
        colours = surface.texture.sample(u / inverse, v / inverse, texels_a_pixel=density)
        canvas.view(np.uint32).reshape(-1)[pixels] = colours
        (x0, y0), (x1, y1) = at.min(axis=0), at.max(axis=0)
        margin = 4
        return (
            slice(max(int(y0) - margin, 0), max(min(int(y1) + margin, self.height), 0)),
            slice(max(int(x0) - margin, 0), max(min(int(x1) + margin, self.width), 0)),
        )

    def _developed(self, frame: Frame, time_s: float) -> Frame:
        """The same with the light of this moment, noise, and what JPEG leaves of it."""
        moment = round(time_s * 1e6) & 0xFFFFFFFF
        random = np.random.default_rng((self.seed, moment))
        swing = 0.6 * math.sin(2 * math.pi * time_s / 7 + self.seed) + 0.4 * math.sin(2 * math.pi * time_s / 2.3)
        table = np.arange(256, dtype=np.float32) * self.exposure * (1 + self.drift * swing)
        lit = np.minimum(table, 400).astype(np.int16)[frame]
        if self.noise:
            bank = _noise(self.width, self.height, self.noise)
            top, left = random.integers(0, 64, 2)
            part = bank[top : top + self.height, left : left + self.width]
            lit = lit + part if random.integers(2) else lit - part
        developed = np.clip(lit, 0, 255).astype(np.uint8)
        return _through_jpeg(developed, self.jpeg) if self.jpeg else developed


def _spread(
    at: NDArray[np.float64], values: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The pixels (index in the frame) that triangles cover, and their values there, row by row of each triangle.

    Args:
        at: (m, 3, 2) corners, px.
        values: (m, 3, k), linear in the frame.
        size: width and height.
    """
    width, height = size
    edge1, edge2 = at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]
    twice = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    kept = np.abs(twice) > 1e-6
    at, values, edge1, edge2, twice = at[kept], values[kept], edge1[kept], edge2[kept], twice[kept, None]
    step1, step2 = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    along = (step1 * edge2[:, 1:] - step2 * edge1[:, 1:]) / twice
    down = (step2 * edge1[:, :1] - step1 * edge2[:, :1]) / twice
    first = np.clip(np.ceil(at[..., 1].min(axis=1) - _SLACK), 0, height).astype(np.int64)
    last = np.clip(np.floor(at[..., 1].max(axis=1) + _SLACK) + 1, 0, height).astype(np.int64)
    rows = np.maximum(last - first, 0)
    triangle = np.repeat(np.arange(len(at)), rows)
    y = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows - first, rows)
    left, right = _row_ends(at[triangle], y)
    begin = np.clip(np.ceil(left - _SLACK), 0, width).astype(np.int32)
    lengths = np.maximum(np.clip(np.floor(right + _SLACK) + 1, 0, width).astype(np.int32) - begin, 0)
    here = at[triangle, 0]
    base = values[triangle, 0] + along[triangle] * (begin - here[:, 0])[:, None] + down[triangle] * (y - here[:, 1])[:, None]
    steps = np.arange(int(lengths.sum()), dtype=np.int32) - np.repeat(np.cumsum(lengths, dtype=np.int32) - lengths, lengths)
    pixels = np.repeat((y * width + begin).astype(np.int32), lengths) + steps
    slope, offset = along[triangle].astype(np.float32), base.astype(np.float32)
    spread = np.stack([np.repeat(slope[:, k], lengths) * steps + np.repeat(offset[:, k], lengths) for k in range(values.shape[2])])
    return pixels, spread.astype(np.float32, copy=False)


def _row_ends(corners: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the row y enters and leaves each triangle (n, 3, 2)."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        (xa, ya), (xb, yb) = corners[:, a].T, corners[:, b].T
        flat = np.abs(yb - ya) < 1e-9
        part = (y - ya) / np.where(flat, 1.0, yb - ya)
        crosses = ~flat & (part >= -1e-3) & (part <= 1 + 1e-3)
        x = xa + (xb - xa) * np.clip(part, 0.0, 1.0)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    empty = left > right
    return np.where(empty, 0.0, left), np.where(empty, -1.0, right)


def _nearest(nearness: NDArray[np.float32], pixels: NDArray[np.int32], inverse: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which of these are in front at their pixels; writes them into the z-buffer, which holds 1 / z."""
    shown = np.full(len(nearness), -1, np.int64)
    left = np.flatnonzero(inverse > nearness[pixels])
    while len(left):  # of several at one pixel one stays at each turn, and the nearer ones try again
        nearness[pixels[left]] = inverse[left]
        shown[pixels[left]] = left
        left = left[inverse[left] > nearness[pixels[left]]]
    return shown[shown >= 0]


def _texels_a_pixel(at: NDArray[np.float64], texels: NDArray[np.float64]) -> float:
    def doubled(corners: NDArray[np.float64]) -> float:
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())

    return math.sqrt(doubled(texels) / max(doubled(at), 1e-9))


def _blurred(part: Frame, sigma: float) -> Frame:
    if sigma <= 0 or not part.size:
        return part
    reach = max(1, math.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    whole = np.round(weights / weights.sum() * 256).astype(np.uint16)
    whole[reach] += 256 - whole.sum()
    for axis in (0, 1):
        edges = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        wide = np.pad(part, edges, mode="edge").astype(np.uint16)
        length = part.shape[axis]
        views = [wide[i : i + length] if axis == 0 else wide[:, i : i + length] for i in range(2 * reach + 1)]
        total = views[reach] * whole[reach] + np.uint16(128)
        for i in range(reach):
            total += (views[i] + views[2 * reach - i]) * whole[i]
        part = (total >> 8).astype(np.uint8)
    return part


def _through_jpeg(frame: Frame, quality: int) -> Frame:
    from PIL import Image

    kept = io.BytesIO()
    Image.fromarray(frame).save(kept, "JPEG", quality=quality)
    return np.array(Image.open(kept))


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
    tone = 135 + 30 * random.uniform(-1, 1) * across - 20 * down
    wall = tone[..., None] + random.uniform(-12, 12, 3)
    for _ in range(6):
        x, y, w, h = (random.uniform(0, 1, 4) * (width, height, width / 3, height / 3)).astype(int)
        wall[y : y + h, x : x + w] += random.uniform(-50, 50, 3)
    return _blurred(np.clip(wall, 0, 255).astype(np.uint8), 2.0)
