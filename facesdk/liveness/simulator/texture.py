"""A picture that is looked up between its pixels, at full size or reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from facesdk.types import Frame

_RED_BLUE, _GREEN = np.uint32(0x00FF00FF), np.uint32(0x0000FF00)


class Texture:
    """A picture, and its halves, quarters and so on, so that a small drawing of it does not flicker.

    Args:
        picture: uint8 (H, W, 3), RGB.
        levels: how often it is halved at most.
    """

    def __init__(self, picture: Frame, *, levels: int = 4) -> None:
        self.height, self.width = picture.shape[:2]
        self._levels: list[NDArray[np.uint32]] = []
        while True:
            packed = np.zeros((*picture.shape[:2], 4), np.uint8)
            packed[..., :3] = picture
            self._levels.append(packed.view(np.uint32)[..., 0])
            if len(self._levels) > levels or min(picture.shape[:2]) < 32:
                return
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2].astype(np.uint16)
            sums = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
            picture = ((sums + 2) // 4).astype(np.uint8)

    def sample(self, x: NDArray[np.float32], y: NDArray[np.float32], *, texels_a_pixel: float) -> NDArray[np.uint32]:
        """The colours at x, y (pixels of the full picture), between pixels, packed as the bytes red, green, blue, 0.

        texels_a_pixel: how many of its pixels one drawn pixel covers, along a side.
        """
        level = min(max(int(np.log2(max(texels_a_pixel, 1.0)) + 0.4), 0), len(self._levels) - 1)
        picture = self._levels[level]
        height, width = picture.shape
        scale = np.float32(0.5**level)
        shift = np.float32(0.5 * 0.5**level - 0.5)
        # In 256ths of a pixel, since the mixing below has eight bits.
        along = np.clip((x * scale + shift) * 256, 0, width * 256 - 257).astype(np.int32)
        down = np.clip((y * scale + shift) * 256, 0, height * 256 - 257).astype(np.int32)
        at = (down >> 8) * width + (along >> 8)
        across, below = (along & 255).astype(np.uint32), (down & 255).astype(np.uint32)
        flat = picture.reshape(-1)
        upper = _mixed(flat[at], flat[at + 1], across)
        at += width
        return _mixed(upper, _mixed(flat[at], flat[at + 1], across), below)


def _mixed(a: NDArray[np.uint32], b: NDArray[np.uint32], part: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """a + (b - a) part / 256 in each byte, two bytes at a time."""
    rest = np.uint32(256) - part
    red_blue = ((a & _RED_BLUE) * rest + (b & _RED_BLUE) * part) >> np.uint32(8)
    green = ((a & _GREEN) * rest + (b & _GREEN) * part) >> np.uint32(8)
    mixed: NDArray[np.uint32] = (red_blue & _RED_BLUE) | (green & _GREEN)
    return mixed
