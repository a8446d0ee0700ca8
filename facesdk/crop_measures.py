"""What an enrollment looks for in an aligned crop: blur, and whether eyes and mouth are to be seen.

A crop is uint8 (112, 112, 3), RGB, with the eyes, nose and mouth where the ArcFace template has them, so that each part
of a face is a fixed part of it. All measures are ratios of one face's own values, so that no tone of skin is favoured.
benchmarks/quality.py shows what refusing by each of them comes to, by group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Float32Array, Frame

SHAPE = (112, 112, 3)
FACE = (slice(28, 100), slice(24, 88))
CHEEKS = ((slice(66, 80), slice(26, 42)), (slice(66, 80), slice(70, 86)))
EYES = ((slice(44, 58), slice(28, 48)), (slice(44, 58), slice(64, 84)))
UNDER_EYES, MOUTH, CHIN = (
    (slice(58, 66), slice(28, 84)),
    (slice(80, 106), slice(40, 72)),
    (slice(84, 104), slice(36, 76)),
)
WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luminance(crop: Frame) -> Float32Array:
    """float32 (112, 112), 0 to 255."""
    import numpy as np

    gray: Float32Array = crop.astype(np.float32) @ np.array(WEIGHTS, np.float32)
    return gray


def sharpness_ratio(crop: Frame) -> float:
    """Fine detail over coarse, in the direction that has least: motion takes it from one direction alone.

    Energy of the second differences at a distance of one pixel over that at three pixels of 3 x 3 means.
    """
    gray = luminance(crop)[FACE]
    coarse = _means(gray, 3)
    steps = ((0, 1), (1, 0), (1, 1), (1, -1))
    return min(_second_differences(gray, step, 1) / (_second_differences(coarse, step, 3) + 1e-3) for step in steps)


def eye_brightness(crop: Frame) -> float:
    """The lighter parts around the eyes over the cheeks; sunglasses leave little."""
    import numpy as np

    gray = luminance(crop)
    eyes = np.concatenate([gray[part].ravel() for part in EYES])
    cheeks = np.concatenate([gray[part].ravel() for part in CHEEKS])
    return float((np.percentile(eyes, 75) + 4.0) / (np.median(cheeks) + 4.0))


def mouth_detail(crop: Frame) -> float:
    """The stronger changes from row to row around the mouth over its brightness; a mask has few."""
    import numpy as np

    gray = luminance(crop)[MOUTH]
    return float(np.percentile(np.abs(np.diff(gray, axis=0)), 90) / (np.median(gray) + 8.0))


def chin_colour(crop: Frame) -> float:
    """How far the colour of mouth and chin is from that of the skin under the eyes: distance of red and blue shares."""
    import numpy as np

    medians = [np.median(crop[part].reshape(-1, 3).astype(np.float32), axis=0) for part in (CHIN, UNDER_EYES)]
    (red, _, blue), (red_above, _, blue_above) = (m / (m.sum() + 12.0) for m in medians)
    return float(np.hypot(red - red_above, blue - blue_above))


def _means(gray: Float32Array, side: int) -> NDArray[np.float32]:
    """Means of side x side pixels, where all of them are there."""
    import numpy as np

    for axis in (0, 1):
        sums = np.cumsum(np.insert(gray, 0, 0.0, axis=axis), axis=axis, dtype=np.float64)
        ends, starts = (np.take(sums, range(*where), axis=axis) for where in
                        ((side, sums.shape[axis]), (0, sums.shape[axis] - side)))  # fmt: skip
        gray = ((ends - starts) / side).astype(np.float32)
    return gray


def _second_differences(gray: Float32Array, step: tuple[int, int], distance: int) -> float:
    """Mean square of f(x + s) - 2 f(x) + f(x - s)."""
    height, width = gray.shape
    d, (down, right) = distance, (step[0] * distance, step[1] * distance)

    def moved(sign: int) -> Float32Array:
        return gray[d + sign * down : height - d + sign * down, d + sign * right : width - d + sign * right]

    return float(((moved(1) - 2.0 * moved(0) + moved(-1)) ** 2).mean())
