"""What a decoder is shown of a picture's file: only the parts that make pixels, and only so much processor time."""

from __future__ import annotations

import functools
import re
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from facesdk.errors import InputError

# Processor time of one picture's decoder on the machine the limits were measured on (2 cores of a Xeon at 2.6 GHz), and
# what inflating PROBE_BYTES takes there. A slower machine gives proportionally more.
MAX_DECODER_S = 0.75
PROBE_BYTES, PROBE_S = 1 << 18, 1.2e-3
# What decoding may need at once, the file, the decoder's arrays and the result together; the rest of 256 MiB is for
# Pillow's own code and buffers.
MAX_DECODER_BYTES = 216 << 20
# Of Pillow's pictures; 4 in other modes.
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MIN_SIDE, MAX_SIDE = 64, 8192
ORIENTATION = 0x0112
MAX_EXIF_BYTES = 1 << 16


@dataclass(frozen=True)
class PictureFile:
    """A file that was looked through: pieces are what the decoder needs of it, in order, without copies.

    extra_bytes: what the decoder keeps besides the pixels. orientation: 1 to 8, of EXIF, or else of XMP. colours: how
    many there are where pixels are numbers of colours, else 0.
    """

    pieces: tuple[bytes | memoryview, ...]
    extra_bytes: int
    orientation: int
    colours: int = 0


class Budget:
    """Processor time for one picture, from now on: MAX_DECODER_S, and more on a slower machine."""

    def __init__(self) -> None:
        self._begin_s = time.thread_time()
        self._limit_s = MAX_DECODER_S

    def check(self) -> None:
        """InputError once it is used up."""
        used_s = time.thread_time() - self._begin_s
        if used_s > self._limit_s:
            self._limit_s = MAX_DECODER_S * slowness()
            if used_s > self._limit_s:
                raise InputError("takes too long to decode for its size; save it again as an ordinary JPEG or PNG")


class PartsReader:
    """The pieces as one file for Pillow to read; InputError once the budget is used up."""

    def __init__(self, pieces: tuple[bytes | memoryview, ...], budget: Budget) -> None:
        self._pieces = pieces
        self._budget = budget
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Up to size bytes, those that are left for -1; fewer at the end of a piece only if none came before them."""
        self._budget.check()
        size = sum(map(len, self._pieces)) if size < 0 else size
        found, begin = [], 0
        for piece in self._pieces:
            at = self._at - begin
            if 0 <= at < len(piece) and size > 0:
                found.append(bytes(piece[at : at + size]))
                self._at += len(found[-1])
                size -= len(found[-1])
            begin += len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to the offset, from the beginning (0), from here (1) or from the end (2); returns where that is."""
        base = (0, self._at, sum(map(len, self._pieces)))[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at


@functools.cache
def slowness() -> float:
    """How many times slower this machine inflates than the one the limits were measured on; at least 1."""
    mixed = zlib.compress(bytes((i * i * 2654435761 >> 13) & 31 for i in range(PROBE_BYTES)))

    def once() -> float:
        start = time.thread_time()
        zlib.decompress(mixed)
        return time.thread_time() - start

    return max(1.0, min(once() for _ in range(5)) / PROBE_S)


def check_size(width: int, height: int) -> None:
    """InputError for a picture with a side outside MIN_SIDE..MAX_SIDE."""
    if not (min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE):
        raise InputError(f"{width} x {height} pixels; both sides must be from {MIN_SIDE} to {MAX_SIDE}")


def check_memory(file: PictureFile, *, file_bytes: int, pixels: int, mode: str) -> None:
    """InputError for a picture that cannot be decoded in MAX_DECODER_BYTES. Pixels take 1 to 4 there, and 3 here."""
    each = PIXEL_BYTES.get(mode, 4)
    needed = file_bytes + pixels * each + max(file.extra_bytes, 3 * pixels)
    if needed > MAX_DECODER_BYTES:
        raise InputError(
            f"decoding would take {needed >> 20} MiB of memory, {MAX_DECODER_BYTES >> 20} MiB are the limit; give a "
            "smaller picture, or an ordinary (baseline) JPEG"
        )


def orientation_of(exif: bytes, xmp: bytes, *, fallback: Callable[[], bytes] = bytes) -> int:
    """Orientation, 1 to 8, by the EXIF block, or the XMP packet where that says none; 1 where both are unreadable.

    fallback: gives an EXIF block where there is none. Only the first directory of entries is looked at, and of its
    values only this one, whose place is the entry itself: an EXIF block that refers to itself costs nothing.
    """
    tag = _tag_of((exif or fallback())[:MAX_EXIF_BYTES].removeprefix(b"Exif\0\0"))
    if tag is None:
        found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp[:MAX_EXIF_BYTES])
        tag = int(found[1]) if found else None
    return tag if tag is not None and 1 <= tag <= 8 else 1


def _tag_of(tiff: bytes) -> int | None:
    """Value of the orientation's entry in a TIFF file's first directory; of several the last."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    if at + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, at)
    found = None
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, entry)
        if tag == ORIENTATION and values == 1 and kind in (1, 3, 4):
            (found,) = struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], tiff, entry + 8)
    return found
