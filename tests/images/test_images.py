"""Pictures from files: orientation, modes, limits, and damage of every kind."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
from conftest import PORTRAITS
from picture_tools import chunk, encoded, segment
from PIL import Image

from facesdk import images
from facesdk.errors import InputError
from facesdk.images import decode_rgb, load_rgb


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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_one_flipped_bit_of_a_png_is_refused_wherever_it_is(gradient, mode) -> None:
    """Pillow checks no checksum of the data: a flipped bit gave a picture that was wrong from some row on."""
    whole = encoded(gradient.convert(mode), exif=Image.Exif())
    assert decode_rgb(whole).shape == (80, 120, 3)
    for at in range(8, len(whole) - 12, 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(InputError):
            decode_rgb(bytes(damaged))


@pytest.mark.parametrize("name", ["macron_2014.jpg", "collins.png"])
def test_a_file_that_is_cut_off_is_refused(name) -> None:
    whole = (PORTRAITS / name).read_bytes()
    assert decode_rgb(whole + b"what follows is not looked at").shape[2] == 3
    for end in (*range(0, len(whole) - 12, len(whole) // 40), len(whole) - 13):
        with pytest.raises(InputError, match="not a readable"):
            decode_rgb(whole[:end])


def test_bytes_of_every_kind_up_to_the_limit(gradient, monkeypatch) -> None:
    data = encoded(gradient)
    for given in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8).data):
        assert np.array_equal(decode_rgb(given), np.asarray(gradient))
    for wrong, words in (
        ("a path", "as_frame"),
        (None, "as_frame"),
        (memoryview(data)[::2], "side by side"),
        (b"", "neither"),
    ):
        with pytest.raises(InputError, match=words):
            decode_rgb(wrong)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(InputError, match="larger than"):
        decode_rgb(data)


def test_paths_of_every_kind(gradient, tmp_path) -> None:
    path = tmp_path / "picture.png"
    gradient.save(path)
    with os.scandir(tmp_path) as entries:
        for given in (path, str(path), np.str_(path), next(entries)):
            assert np.array_equal(load_rgb(given), np.asarray(gradient))
    for wrong, words in (
        (b"/a.jpg", r"os\.fsdecode"),
        (path.read_bytes(), "decode_rgb"),
        (3, "int"),
        (None, "NoneType"),
        ("", "empty"),
    ):
        with pytest.raises(InputError, match=words):
            load_rgb(wrong)


def test_orientation_may_be_in_xmp_or_in_imagemagick_s_text(gradient) -> None:
    tiff = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    hexadecimal = b"\nexif\n   34\n" + (b"Exif\0\0" + tiff).hex().encode() + b"\n"
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    png, jpeg = encoded(gradient), encoded(gradient, "JPEG")
    assert decode_rgb(png).shape == decode_rgb(jpeg).shape == (80, 120, 3)
    for extra in (
        chunk(b"eXIf", tiff), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexadecimal)),
        chunk(b"tEXt", b"Raw profile type exif\0" + hexadecimal),
    ):  # fmt: skip
        assert decode_rgb(png[:33] + extra + png[33:]).shape == (120, 80, 3)
        assert decode_rgb(png[:-12] + extra + png[-12:]).shape == (120, 80, 3)
    for extra in (segment(0xE1, b"Exif\0\0" + tiff), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)):
        assert decode_rgb(jpeg[:2] + extra + jpeg[2:]).shape == (120, 80, 3)
    for broken in (tiff[:20], b"II" + tiff[2:], tiff.replace(b"\0\6", b"\0\x09"), tiff.replace(b"\x08", b"\xf8"), b""):
        assert decode_rgb(png[:33] + chunk(b"eXIf", broken) + png[33:]).shape == (80, 120, 3)


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
