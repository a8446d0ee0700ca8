"""Closed eyes drawn on pictures of open ones, in four manners; what benchmarks/attention.py measures with.

"lid from the brow", "lid from the crease": the upper lid, its lashes at its edge, is drawn down over the eye, the skin
above it stretched. "skin", "skin, lashes": skin between what is above and what is below the eye, without and with the
line of the lashes at the lower lid. The contour is that of the iris network, which sees it in the open eye.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float64]
MANNERS = ("lid from the brow", "lid from the crease", "skin", "skin, lashes")
WIDTH = 160  # of the eye, in pixels of the level picture that is drawn in
SIZE = (2 * WIDTH, 2 * WIDTH)


def closed(frame: NDArray[np.uint8], contour: Floats, manner: str) -> NDArray[np.uint8]:
    """The frame with one eye closed.

    Args:
        frame: RGB.
        contour: (16, 2) in pixels, the lower lid with both corners, then the upper one (native/core/eyes.h).
        manner: one of MANNERS.
    """
    to_frame = _level(contour)
    level = np.asarray(_warped(Image.fromarray(frame), to_frame, SIZE)).astype(float)
    inverse = np.linalg.inv(to_frame)
    at = contour @ inverse[:2, :2].T + inverse[:2, 2]
    x = np.arange(SIZE[0], dtype=float)
    lower, upper = _edge(at[:9], x), _edge(at[[0, *range(9, 16), 8]], x)
    lower = np.maximum(lower, upper)
    drawn = _lid(level, upper, lower, rise=0.5 if "brow" in manner else 0.22) if "lid" in manner else _skin(
        level, upper, lower, lashes="lashes" in manner
    )  # fmt: skip
    y = np.arange(SIZE[1], dtype=float)[:, None]
    rise = 0.55 * WIDTH if "lid" in manner else 0.1 * WIDTH
    near = (x > at[:9, 0].min() - 6) & (x < at[:9, 0].max() + 6)
    mask = ((y > upper - rise) & (y < lower + 0.1 * WIDTH) & near).astype(np.uint8) * 255
    soft = Image.fromarray(mask).filter(ImageFilter.GaussianBlur(3))
    whole = (frame.shape[1], frame.shape[0])
    back = _warped(Image.fromarray(drawn.clip(0, 255).astype(np.uint8)), inverse, whole)
    return np.asarray(Image.composite(back, Image.fromarray(frame), _warped(soft, inverse, whole)))


def _level(contour: Floats) -> Floats:
    """3 x 3, pixels of the level picture -> frame: the corners lie level, WIDTH apart, about its middle."""
    left, right = sorted((contour[0], contour[8]), key=lambda p: float(p[0]))
    along = (right - left) / WIDTH
    turn = np.array([[along[0], -along[1]], [along[1], along[0]]])
    shift = (left + right) / 2 - turn @ (np.array(SIZE) / 2)
    return np.vstack([np.column_stack([turn, shift]), [0, 0, 1]])


def _warped(image: Image.Image, to_source: Floats, size: tuple[int, int]) -> Image.Image:
    return image.transform(size, Image.Transform.AFFINE, tuple(to_source[:2].ravel()), Image.Resampling.BICUBIC)


def _edge(points: Floats, x: Floats) -> Floats:
    order = np.argsort(points[:, 0])
    return np.interp(x, points[order, 0], points[order, 1])


def _lid(level: Floats, upper: Floats, lower: Floats, *, rise: float) -> Floats:
    """The skin from `rise` widths above the upper lid's edge down to that edge, stretched to the lower lid."""
    y = np.arange(SIZE[1], dtype=float)[:, None]
    edge, start = upper + 0.03 * WIDTH, upper - rise * WIDTH
    end = np.maximum(lower, edge)
    inside = (y >= start) & (y <= end)
    source = np.where(inside, start + (y - start) * (edge - start) / (end - start), y).clip(0, SIZE[1] - 1.001)
    row, part = np.floor(source).astype(int), (source % 1)[..., None]
    column = np.arange(SIZE[0])[None, :]
    return level[row, column] * (1 - part) + level[row + 1, column] * part


def _skin(level: Floats, upper: Floats, lower: Floats, *, lashes: bool) -> Floats:
    """Skin between that above and that below the eye; the lashes' line at the lower lid."""
    y, column = np.arange(SIZE[1], dtype=float)[:, None], np.arange(SIZE[0])
    top, bottom = upper - 0.12 * WIDTH, lower + 0.12 * WIDTH
    blurred = np.asarray(Image.fromarray(level.astype(np.uint8)).filter(ImageFilter.BoxBlur(6))).astype(float)
    above, below = (blurred[edge.astype(int).clip(0, SIZE[1] - 1), column] for edge in (top, bottom))
    part = ((y - top) / (bottom - top)).clip(0, 1)[..., None]
    skin = above * (1 - part) + below * part
    drawn = np.where(((y > top) & (y < bottom))[..., None], skin, level)
    line = (1 - 0.6 * np.exp(-(((y - lower) / (0.03 * WIDTH)) ** 2)))[..., None] if lashes else 1.0
    return drawn * line
