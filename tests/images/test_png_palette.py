"""PNG files whose checksums are right and whose content is not: refused where Pillow shows black, or guesses."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from picture_tools import chunk

from facesdk.errors import InputError
from facesdk.images import decode_rgb

SIDE = 100
MAGIC, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
INDEXES = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE), np.uint8)
INDEXES[0, 0] = 199
DATA = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in INDEXES)))
COLOURS = np.random.default_rng(1).integers(0, 256, (200, 3), np.uint8)
PALETTE = chunk(b"PLTE", COLOURS.tobytes())


def header(*, colour: int = 3, compression: int = 0, filtering: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, colour, compression, filtering, 0))


def test_the_whole_one_is_read() -> None:
    found = decode_rgb(MAGIC + header() + PALETTE + DATA + END)
    assert np.array_equal(found, COLOURS[INDEXES])


@pytest.mark.parametrize(
    "pieces",
    [
        (header(), DATA),
        (header(), DATA, PALETTE),
        (header(), chunk(b"PLTE", b""), DATA),
        (header(), chunk(b"PLTE", COLOURS.tobytes()[:-1]), DATA),
        (header(), chunk(b"PLTE", COLOURS[:199].tobytes()), DATA),
        (header(compression=1), PALETTE, DATA),
        (header(filtering=1), PALETTE, DATA),
        (header(), PALETTE, chunk(b"ABCD", b"12"), DATA),
        (header(colour=0), chunk(b"PLTE", b"\1\2"), DATA),
    ],
    ids=["none", "after", "empty", "cut", "too few", "compression", "filter", "unknown", "gray"],
)
def test_another_is_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(InputError, match="not a readable JPEG or PNG"):
        decode_rgb(MAGIC + b"".join(pieces) + END)
