"""What an enrollment looks for in an aligned crop: blur, and whether eyes and mouth are to be seen.

A crop is uint8 (112, 112, 3), RGB, with the eyes, nose and mouth where the ArcFace template has them, so that each part
of a face is a fixed part of it. All measures are ratios of one face's own values, so that no tone of skin is favoured.
benchmarks/quality.py shows what refusing by each of them comes to, by group.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Float32Array, Frame

SHAPE = (112, 112, 3)
WHOLE_FACE = (slice(24, 104), slice(20, 92))
CHEEKS = ((slice(66, 80), slice(26, 42)), (slice(66, 80), slice(70, 86)))
EYES = ((slice(44, 58), slice(28, 48)), (slice(44, 58), slice(64, 84)))
UNDER_EYES, MOUTH, CHIN = (
    (slice(58, 66), slice(28, 84)),
    (slice(80, 106), slice(40, 72)),
    (slice(84, 104), slice(36, 76)),
)
WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601

# Of fine_detail. Fine and coarse band of each margin, in cycles a pixel; what undisturbed faces have in each direction,
# the median of LFW and the eight groups together (benchmarks/quality.py prints it); and where the margins begin.
SPECTRUM, DIRECTIONS = 128, 8
BANDS = (((0.3, 0.45), (0.08, 0.16)), ((0.25, 0.4), (0.08, 0.16)), ((0.12, 0.2), (0.03, 0.07)))
USUAL_FINE = (-5.06, -5.02, -4.85, -4.87, -4.89, -4.88, -4.89, -5.05)
USUAL_MIDDLE = (-4.63, -4.16, -3.64, -3.67, -4.04, -3.68, -3.66, -4.13)
MIN_FINEST, MIN_EVENNESS, MIN_MIDDLE = -8.0, -2.6, -3.05


def luminance(crop: Frame) -> Float32Array:
    """float32 (112, 112), 0 to 255."""
    import numpy as np

    gray: Float32Array = crop.astype(np.float32) @ np.array(WEIGHTS, np.float32)
    return gray


def fine_detail(crop: Frame) -> float:
    """How far the face is from being out of focus or moved: the least of three margins, below 0 where it seems to be.

    How much fine detail there is for the coarse (defocus takes it from all directions); how much less of it in one
    direction than in another, and how little of the middle in any one (motion takes it from one), both against what is
    usual in that direction.
    """
    finest, fine, middle = detail_by_direction(crop)
    uneven = fine - USUAL_FINE
    evenness, least = uneven.min() - uneven.max(), (middle - USUAL_MIDDLE).min()
    return float(min(finest.mean() - MIN_FINEST, evenness - MIN_EVENNESS, least - MIN_MIDDLE))


def detail_by_direction(crop: Frame) -> list[NDArray[np.float64]]:
    """For each of BANDS (8,): the natural logarithm of the mean power in the fine band over that in the coarse one."""
    import numpy as np

    window, bands = _spectrum()
    gray = luminance(crop)[WHOLE_FACE]
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window, (SPECTRUM, SPECTRUM))) ** 2
    return [
        np.array([np.log((power[fine].mean() + 1e-6) / (power[coarse].mean() + 1.0)) for fine, coarse in band])
        for band in bands
    ]


@functools.cache
def _spectrum() -> tuple[NDArray[np.float64], list[list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]]]:
    """A Hann window, and for each of BANDS and each direction where the spectrum is fine, and where coarse."""
    import numpy as np

    rows, columns = WHOLE_FACE
    window = np.outer(np.hanning(rows.stop - rows.start), np.hanning(columns.stop - columns.start))
    down, right = np.meshgrid(np.fft.fftfreq(SPECTRUM), np.fft.fftfreq(SPECTRUM), indexing="ij")
    radius, angle = np.hypot(down, right), np.arctan2(down, right)
    sectors = [
        np.abs(np.mod(angle - k * np.pi / DIRECTIONS + np.pi / 2, np.pi) - np.pi / 2) < np.pi / DIRECTIONS / 1.2
        for k in range(DIRECTIONS)
    ]
    bands = [
        [(sector & (radius >= low) & (radius < high), sector & (radius >= coarse[0]) & (radius < coarse[1]))
         for sector in sectors]
        for (low, high), coarse in BANDS
    ]  # fmt: skip
    return window, bands


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
