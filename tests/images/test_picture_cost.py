"""What a picture's file may cost: over a second or 256 MiB it is refused by name, and ordinary ones never are."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS
from picture_tools import chunk, cost_of, encoded, png, scans, segment
from PIL import Image

from facesdk.errors import InputError
from facesdk.images import decode_rgb
from facesdk.images import file as picture_file

LIMIT_S, LIMIT_MIB = 1.0, 256.0
NOISE = random.Random(1).randbytes(8 * 8192)
# A block of deflate with codes of its own that holds nothing, eight times: its bits as they are read.
EMPTY_BLOCK = f"{0x200381100000000004FED7C:092b}" * 8


def photo(width: int, height: int) -> Image.Image:
    """A portrait with a sensor's noise."""
    image = Image.open(PORTRAITS / "obama_2012.jpg").convert("RGB").resize((width, height))
    grain = np.random.default_rng(0).integers(-5, 6, (height, width, 1), np.int16)
    return Image.fromarray(np.clip(np.asarray(image).astype(np.int16) + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def camera() -> Image.Image:
    return photo(4032, 3024)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


@pytest.mark.parametrize("options", [{"quality": 97}, {"quality": 90, "progressive": True}, {"subsampling": 0}])
def test_a_phone_s_photo_is_read(camera: Image.Image, tmp_path: Path, options: dict) -> None:
    data = encoded(camera, "JPEG", exif=exif(6), **options)
    seconds, growth_mib, outcome = cost_of(data, tmp_path)
    assert outcome == "4032x3024x3"
    assert seconds <= LIMIT_S
    assert growth_mib <= LIMIT_MIB


def test_photos_of_48_mp_and_cmyk_are_read_at_half_their_size(tmp_path: Path) -> None:
    large = photo(4032, 3024).resize((8064, 6048), Image.Resampling.NEAREST)
    for kind, options in (("RGB", {"progressive": True}), ("CMYK", {})):
        seconds, growth_mib, outcome = cost_of(encoded(large.convert(kind), "JPEG", quality=88, **options), tmp_path)
        assert outcome == "3024x4032x3"
        assert seconds <= LIMIT_S
        assert growth_mib <= LIMIT_MIB


def test_png_photos_of_12_mp_are_read(camera: Image.Image, tmp_path: Path) -> None:
    for kind in ("RGB", "RGBA", "L"):
        seconds, growth_mib, outcome = cost_of(encoded(camera.convert(kind), compress_level=1), tmp_path)
        assert outcome == "3024x4032x3"
        assert seconds <= LIMIT_S
        assert growth_mib <= LIMIT_MIB


CLEAR = chunk(b"PLTE", b"\1\2\3" * 2) + chunk(b"tRNS", b"\x80" * 2)
PNGS = {
    "one bit, transparent palette": {"colour": 3, "depth": 1, "bits": 1, "extra": CLEAR},
    "palette": {"colour": 3, "depth": 8, "bits": 8, "extra": chunk(b"PLTE", b"\1\2\3" * 256)},
    "gray": {"colour": 0, "depth": 8, "bits": 8}, "gray and transparency": {"colour": 4, "depth": 8, "bits": 16},
    "gray of 16 bits": {"colour": 0, "depth": 16, "bits": 16}, "RGB": {"colour": 2, "depth": 8, "bits": 24},
    "RGB and a clear colour": {"colour": 2, "depth": 8, "bits": 24, "extra": chunk(b"tRNS", bytes(6))},
    "RGBA": {"colour": 6, "depth": 8, "bits": 32}, "RGBA of 16 bits": {"colour": 6, "depth": 16, "bits": 64},
}  # fmt: skip


@pytest.mark.parametrize("name", PNGS)
def test_a_png_of_any_kind_costs_no_more_or_is_refused(name: str, tmp_path: Path) -> None:
    kind = dict(PNGS[name])
    bits = kind.pop("bits")
    small = b"\4" + NOISE[: (640 * bits + 7) // 8]
    small_row = small if kind["colour"] != 3 else bytes(len(small))
    assert decode_rgb(png(640, 480, row=small_row, **kind)).shape == (480, 640, 3)
    for height in (2500, 8192):
        row = b"\4" + NOISE[:bits] * (8192 // 8) if kind["colour"] != 3 else bytes(1 + 8192 * bits // 8)
        seconds, growth_mib, outcome = cost_of(png(8192, height, row=row, **kind), tmp_path)
        assert seconds <= LIMIT_S
        assert growth_mib <= LIMIT_MIB
        assert outcome == f"{height}x8192x3" or "give a smaller picture" in outcome
    assert outcome.startswith("refused")


def test_jpegs_of_the_largest_size_cost_no_more(tmp_path: Path) -> None:
    for kind, options in (("RGB", {}), ("CMYK", {}), ("L", {}), ("RGB", {"progressive": True})):
        flat = Image.new(kind, (8192, 8192), 90 if kind == "L" else (90, 80, 70, 60)[: len(kind)])
        seconds, growth_mib, outcome = cost_of(encoded(flat, "JPEG", **options), tmp_path)
        assert outcome == "2048x2048x3"
        assert seconds <= LIMIT_S
        assert growth_mib <= LIMIT_MIB


@pytest.mark.parametrize(("side", "many", "high"), [(8192, 200, 0), (4096, 2000, 0), (8192, 60, 1), (1024, 4000, 1)])
def test_scans_are_counted_before_they_are_decoded(side: int, many: int, high: int, tmp_path: Path) -> None:
    _, _, few = cost_of(scans(12, side, high=high), tmp_path)
    assert not few.startswith("refused")
    seconds, growth_mib, outcome = cost_of(scans(many, side, high=high), tmp_path)
    assert "refused" in outcome
    assert "scans" in outcome
    assert seconds <= LIMIT_S / 4
    assert growth_mib <= LIMIT_MIB


def test_jpegs_of_rare_kinds_are_refused_by_name() -> None:
    assert decode_rgb(scans(2, 128)).shape == (128, 128, 3)
    for process in (0xC3, 0xC5, 0xC9, 0xCA):
        with pytest.raises(InputError, match="rare kind"):
            decode_rgb(scans(2, 128, process=process))
    twelve = scans(2, 128).replace(b"\xff\xc2\0\x0b\x08", b"\xff\xc2\0\x0b\x0c")
    with pytest.raises(InputError, match="12 bits"):
        decode_rgb(twelve)


def test_thousands_of_segments_or_chunks_are_refused_hundreds_are_not() -> None:
    jpeg, picture = encoded(photo(200, 200), "JPEG"), encoded(photo(200, 200))
    expected = decode_rgb(jpeg)
    for few, many in ((segment(0xFE, b"note"),) * 2, (segment(0xE1, b"Exif\0\0" + bytes(60000)),) * 2):
        assert np.array_equal(decode_rgb(jpeg[:2] + few * 300 + jpeg[2:]), expected)
        with pytest.raises(InputError, match=r"segments|64 MiB"):
            decode_rgb(jpeg[:2] + many * 5000 + jpeg[2:])
    note = chunk(b"tEXt", b"k\0v")
    assert np.array_equal(decode_rgb(picture[:33] + note * 300 + picture[33:]), decode_rgb(picture))
    with pytest.raises(InputError, match="chunks"):
        decode_rgb(picture[:33] + note * 40000 + picture[33:])


def test_text_profiles_and_further_pictures_are_never_unpacked(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    picture = encoded(photo(200, 200))
    extra = b"".join((
        chunk(b"zTXt", b"k\0\0" + bomb), chunk(b"iCCP", b"k\0\0" + bomb), chunk(b"iTXt", b"k\0\1\0\0\0" + bomb),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb), chunk(b"acTL", struct.pack(">II", 2**31, 0)),
    ))  # fmt: skip
    seconds, growth_mib, outcome = cost_of(picture[:33] + extra + picture[33:], tmp_path)
    assert outcome == "200x200x3"
    assert seconds <= LIMIT_S / 2
    assert growth_mib <= 40


def test_exif_that_refers_to_itself_costs_nothing(tmp_path: Path) -> None:
    """5000 values of 60000 bytes each, all in one place: 300 MB, were they read."""
    entries = b"".join(struct.pack("<HHII", tag, 1, 60000, 8) for tag in range(0x200, 0x200 + 5000))
    block = b"II*\0" + struct.pack("<IHHHIIHHII", 8, 5002, 0x0112, 3, 1, 6, 0x8769, 4, 1, 8) + entries
    assert len(block) < 65000
    for kind in ("JPEG", "PNG"):
        data = encoded(photo(200, 150), kind)
        at, extra = (2, segment(0xE1, b"Exif\0\0" + block)) if kind == "JPEG" else (33, chunk(b"eXIf", block))
        seconds, growth_mib, outcome = cost_of(data[:at] + extra + data[at:], tmp_path)
        assert outcome == "200x150x3"  # and the orientation was found
        assert seconds <= LIMIT_S / 4
        assert growth_mib <= 40


def test_more_data_than_the_pixels_need_is_refused() -> None:
    row = b"\0" + bytes(3 * 200)
    assert decode_rgb(png(200, 200, colour=2, depth=8, row=row)).shape == (200, 200, 3)
    with pytest.raises(InputError, match="more data"):
        decode_rgb(png(200, 200, colour=2, depth=8, row=row, prefix=bytes([0, 0, 0, 255, 255]) * 50000))


def test_deflate_that_is_slow_for_its_size_is_stopped(tmp_path: Path) -> None:
    """Blocks with codes of their own that hold nothing: 64 MiB of them inflate for three seconds."""
    blocks = bytes(int(EMPTY_BLOCK[i : i + 8][::-1], 2) for i in range(0, len(EMPTY_BLOCK), 8))
    row = b"\0" + bytes(3 * 4096)
    for mebibytes, refused in ((1, False), (40, True)):
        prefix = blocks * ((mebibytes << 20) // len(blocks))
        seconds, _, outcome = cost_of(png(4096, 3500, colour=2, depth=8, row=row, prefix=prefix), tmp_path)
        assert outcome.startswith("refused") == refused
        assert seconds <= LIMIT_S


def test_the_budget_of_time_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo(200, 200))
    assert decode_rgb(data).shape == (200, 200, 3)
    monkeypatch.setattr(picture_file, "MAX_DECODER_S", 0.0)
    monkeypatch.setattr(picture_file, "slowness", lambda: 1.0)
    with pytest.raises(InputError, match="too long"):
        decode_rgb(data)
    monkeypatch.setattr(picture_file, "MAX_DECODER_S", 1e-9)
    monkeypatch.setattr(picture_file, "slowness", lambda: 1e10)
    assert decode_rgb(data).shape == (200, 200, 3)
