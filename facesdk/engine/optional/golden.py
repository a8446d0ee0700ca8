"""What the networks that tell a face from its picture read, and pictures on which their answers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Float32Array, Frame

SIDE = 80  # of the square that the networks read, in pixels


def network_input(crop: Frame) -> Float32Array:
    """float32 (1, SIDE, SIDE, 3), BGR, 0..255, of a uint8 crop (SIDE, SIDE, 3) in RGB.

    Not divided by 255: the authors' own ToTensor leaves that out (src/data_io/functional.py, to_tensor), and networks
    fed with 0..1 answer, only wrongly.
    """
    import numpy as np

    return np.ascontiguousarray(crop[None, :, :, ::-1], np.float32)


def golden_crop(seed: int) -> NDArray[np.uint8]:
    """uint8 (SIDE, SIDE, 3), RGB: smooth waves and a spot of another colour for each seed, by whole numbers alone, so
    that every machine makes the same."""
    import numpy as np

    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    planes = []
    for channel in range(3):
        state = seed * 7919 + channel * 104729
        drawn = []
        for _ in range(6):
            state = (state * 1103515245 + 12345) % (1 << 31)  # the example of ISO C's rand
            drawn.append(state >> 16)
        across, down, spot, left, top, level = (
            n % size for n, size in zip(drawn, (7, 7, 40, 80, 80, 510), strict=True)
        )
        distance = (x - left) ** 2 + (y - top) ** 2
        height = level + across * x + down * y + spot * 256 // (8 + distance // 16)
        wave = height % 510
        planes.append(np.minimum(wave, 509 - wave))
    return np.stack(planes, axis=-1).astype(np.uint8)
