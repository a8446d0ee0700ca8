"""Pillow's pixels read where they lie: the same as by Pillow, and nothing is read that is not a picture of ours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facesdk import _core
from facesdk.images.pixels import TURNS, pixels_of


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (640, 480), (1031, 777)])
@pytest.mark.parametrize("orientation", [1, *TURNS])
def test_the_pixels_are_pillow_s(size: tuple[int, int], orientation: int) -> None:
    image = noise(*size)
    turned = image.transpose(Image.Transpose[TURNS[orientation][0]]) if orientation in TURNS else image
    found = pixels_of(image, orientation)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert np.array_equal(found, np.asarray(turned))


def test_a_picture_in_several_blocks_is_read_band_by_band() -> None:
    image = noise(2100, 2100)
    with pytest.raises(ValueError, match="contiguous"):
        image.__arrow_c_array__()
    assert np.array_equal(pixels_of(image, 1), np.asarray(image))


def test_the_frame_is_its_own() -> None:
    image = noise(64, 64)
    before = np.asarray(image).copy()
    found = pixels_of(image, 1)
    image.paste((0, 0, 0), (0, 0, 64, 64))
    assert np.array_equal(found, before)


def test_what_is_no_picture_of_ours_is_refused() -> None:
    schema, array = noise(64, 80).__arrow_c_array__()
    assert _core.arrow_to_rgb(schema, array, 64, 80).shape == (80, 64, 3)
    for width, height in ((64, 81), (80, 65), (1, 1)):
        with pytest.raises(ValueError, match="pixels side by side"):
            _core.arrow_to_rgb(schema, array, width, height)
    for width, height in ((0, 80), (64, -80), (1 << 20, 1)):
        with pytest.raises(ValueError, match="sides from 1 to 8192"):
            _core.arrow_to_rgb(schema, array, width, height)
    with pytest.raises(ValueError, match="four bytes a pixel"):
        _core.arrow_to_rgb(*noise(64, 64).convert("L").__arrow_c_array__(), 64, 64)
    with pytest.raises(ValueError, match="PyCapsule"):
        _core.arrow_to_rgb(array, schema, 64, 80)
    with pytest.raises(TypeError):
        _core.arrow_to_rgb(None, array, 64, 80)
