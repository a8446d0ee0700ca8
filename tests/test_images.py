"""Pictures from files: orientation, modes, limits, and damage of every kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import PORTRAITS
from PIL import Image

from facesdk.errors import InputError
from facesdk.images import decode_rgb, load_rgb


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def gradient() -> Image.Image:
    ramp = np.zeros((80, 120, 3), np.uint8)
    ramp[..., 0] = np.arange(120) * 2
    ramp[..., 1] = np.arange(80)[:, None] * 3
    return Image.fromarray(ramp)


def test_png_is_exact(gradient) -> None:
    frame = decode_rgb(encoded(gradient))
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert np.array_equal(frame, np.asarray(gradient))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(gradient, orientation) -> None:
    undo = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}[orientation]  # fmt: skip
    stored = gradient if undo is None else gradient.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG"):
        options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
        frame = decode_rgb(encoded(stored, kind, exif=exif, **options))
        assert frame.shape == (80, 120, 3)
        assert np.abs(frame.astype(int) - np.asarray(gradient)).mean() < 3


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_other_modes_become_rgb(gradient, mode) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gradient.convert("L")).astype(np.uint16) * 257)
    else:
        image = gradient.convert(mode)
    frame = decode_rgb(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert frame.shape == (80, 120, 3)
    gray = np.asarray(Image.fromarray(frame).convert("L"))
    assert abs(gray.mean() - np.asarray(gradient.convert("L")).mean()) < 12
    assert frame[:, -20:].mean() > frame[:, :20].mean() + 40


def test_large_jpegs_are_decoded_smaller() -> None:
    big = Image.new("RGB", (4000, 3400), (200, 10, 10))
    frame = decode_rgb(encoded(big, "JPEG"))
    assert frame.shape == (1700, 2000, 3)


@pytest.mark.parametrize("size", [(63, 100), (100, 63), (8193, 64), (64, 8193)])
def test_sizes_outside_the_limits(size) -> None:
    with pytest.raises(InputError, match="64 to 8192"):
        decode_rgb(encoded(Image.new("RGB", size)))


def test_formats_other_than_jpeg_and_png_are_refused(gradient) -> None:
    for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM"):
        with pytest.raises(InputError, match="not a readable"):
            decode_rgb(encoded(gradient, kind))


def test_a_bomb_is_refused_by_its_header() -> None:
    data = bytearray(encoded(Image.new("L", (64, 64))))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(InputError):
        decode_rgb(bytes(data))


def test_missing_file_and_folder(tmp_path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_rgb(path)


@pytest.mark.parametrize("name", ["macron_2014.jpg", "collins.png"])
def test_damage_is_an_input_error_or_a_picture(name) -> None:
    original = (PORTRAITS / name).read_bytes()
    assert decode_rgb(original).shape[2] == 3
    rng = np.random.default_rng(7)
    for _ in range(150):
        data = bytearray(
            original[: int(rng.integers(0, min(len(original), 20000)))] if rng.random() < 0.4 else original
        )
        for _ in range(int(rng.integers(1, 6))):
            if data:
                data[int(rng.integers(0, min(len(data), 3000)))] = int(rng.integers(0, 256))
        try:
            assert decode_rgb(bytes(data)).dtype == np.uint8
        except InputError:
            continue
