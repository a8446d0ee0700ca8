"""Copies of frames that are no C-contiguous arrays: the same pixels, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest

from facesdk.images.frames import packed

PICTURE = np.random.default_rng(3).integers(0, 256, (70, 90, 3), np.uint8)


@pytest.mark.parametrize(
    "view",
    [
        PICTURE[::-1, ::-1], PICTURE[:, ::-1], PICTURE[..., ::-1], PICTURE.swapaxes(0, 1), np.rot90(PICTURE),
        np.rot90(PICTURE, -1), PICTURE[3:40, 5:80], PICTURE[::2, ::3], np.asfortranarray(PICTURE), PICTURE[..., 0],
        PICTURE[..., 0].T, PICTURE[::-1],
    ],
)  # fmt: skip
def test_the_same_pixels_in_order(view) -> None:
    copy = packed(view)
    assert copy.flags.c_contiguous
    assert copy.dtype == np.uint8
    assert np.array_equal(copy, view)


def test_a_contiguous_one_is_itself() -> None:
    assert packed(PICTURE) is PICTURE
