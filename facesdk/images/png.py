"""A PNG file's chunks, read before it is decoded: their checksums, how many there are, and what its rows come to."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from facesdk.errors import InputError
from facesdk.images.file import MAX_EXIF_BYTES, PNG_MAGIC, Budget, PictureFile, check_size, orientation_of

# libpng writes data chunks of 8 KiB: 64 MiB are 8192 of them.
MAX_CHUNKS = 32768
# Pillow's time on the machine of picture_file.MAX_DECODER_S, in ns: of each byte of the file's data, of each byte of
# the rows that this is inflated and unfiltered to, and of each pixel made of them, without and with transparency.
DATA_BYTE_NS, ROW_BYTE_NS, PIXEL_NS, TRANSPARENT_PIXEL_NS = 4.5, 7.5, 3.0, 12.0
MAX_NS = 0.65e9
SLICE_BYTES, INFLATED_BYTES = 16 << 10, 256 << 10  # taken and given at a time, where only their number is wanted
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PALETTE = 3  # the colour type whose pixels are numbers of colours
XMP_KEY, RAW_EXIF_KEY = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"
_IEND = b"\0\0\0\0IEND\xae\x42\x60\x82"


@dataclass
class _Walk:
    """What was found so far; data_begin and data_end are of the run of IDAT chunks."""

    data: memoryview
    head: list[memoryview] = field(default_factory=list)
    data_begin: int = 0
    data_end: int = 0
    data_bytes: int = 0
    bodies: list[memoryview] = field(default_factory=list)
    exif: bytes = b""
    xmp: bytes = b""
    raw_exif: bytes = b""


def read_png(data: memoryview, budget: Budget) -> PictureFile:
    """The file as its decoder is to see it: header, palette, transparency and the data chunks, all checksums right.

    What else there is (text, colour profile, further pictures of an animation) is checked, but never unpacked.
    InputError for more work than MAX_NS or the budget; ValueError for a damaged file.
    """
    walk = _Walk(data)
    row_bytes = _row_bytes(data)
    for kind, begin, end in _chunks(data):
        _take(walk, kind, begin, end)
    if not walk.data_begin:
        raise ValueError("it has no picture")
    colours = _colours(walk)
    # Deflate never makes data much longer: what is longer was made to be slow.
    if walk.data_bytes > row_bytes + row_bytes // 8 + (1 << 16):
        raise InputError("it holds more data than its pixels need; save it again as an ordinary PNG")
    _check_work(walk, row_bytes)
    _check_rows(walk, row_bytes, budget)
    pieces = (PNG_MAGIC + b"".join(walk.head), data[walk.data_begin : walk.data_end], _IEND)
    orientation = orientation_of(walk.exif, walk.xmp, fallback=lambda: _raw_exif(walk.raw_exif))
    return PictureFile(pieces, 0, orientation, colours)


def _colours(walk: _Walk) -> int:
    """How many colours the palette has, 0 where pixels are no numbers of colours. ValueError where it is no palette."""
    sizes = [len(piece) - 12 for piece in walk.head if bytes(piece[4:8]) == b"PLTE"]
    palette = walk.data[25] == PALETTE
    if any(not size or size % 3 for size in sizes) or (palette and not sizes):
        raise ValueError("its palette is missing or damaged")
    return sizes[0] // 3 if palette else 0


def _check_work(walk: _Walk, row_bytes: int) -> None:
    """InputError for a picture that takes longer than MAX_NS."""
    width, height, _, colour = struct.unpack_from(">IIBB", walk.data, 16)
    transparent = colour in (4, 6) or any(bytes(piece[4:8]) == b"tRNS" for piece in walk.head)
    pixel_ns = TRANSPARENT_PIXEL_NS if transparent else PIXEL_NS
    cost_ns = DATA_BYTE_NS * walk.data_bytes + ROW_BYTE_NS * row_bytes + pixel_ns * width * height
    if cost_ns > MAX_NS:
        raise InputError(
            f"too much work to decode: {width} x {height} pixels of {row_bytes >> 20} MiB in rows; give a smaller "
            "picture, or a JPEG"
        )


def _check_rows(walk: _Walk, row_bytes: int, budget: Budget) -> None:
    """ValueError unless the data inflate, to their own checksum, to exactly the rows: Pillow shows what is missing as
    black, without a word."""
    inflate, total = zlib.decompressobj(), 0
    slices = (body[at : at + SLICE_BYTES] for body in walk.bodies for at in range(0, len(body), SLICE_BYTES))
    try:
        for data in slices:
            piece = inflate.decompress(data, INFLATED_BYTES)
            total += len(piece)
            while piece and total <= row_bytes and not inflate.eof:
                budget.check()
                piece = inflate.decompress(inflate.unconsumed_tail, INFLATED_BYTES)
                total += len(piece)
            if total > row_bytes or inflate.eof:
                break
            budget.check()
    except zlib.error as error:
        raise ValueError("its data are damaged") from error
    if not inflate.eof or total != row_bytes:
        raise ValueError(f"its data are not the {row_bytes} bytes of its rows")


def _row_bytes(data: memoryview) -> int:
    """Length of all rows with their filter bytes, as they are inflated."""
    if len(data) < 33 or bytes(data[12:16]) != b"IHDR":
        raise ValueError("it has no header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    check_size(width, height)
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise ValueError("its header makes no sense")
    bits = depth * CHANNELS[colour]
    total = 0
    for x, y, across, down in PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = max(0, -(-(width - x) // across)), max(0, -(-(height - y) // down))
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


def _chunks(data: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each chunk up to IEND; ValueError where one is cut off or its checksum does not fit."""
    at = len(PNG_MAGIC)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise ValueError("it ends too early")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("it ends too early")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError(f"it is damaged: the checksum of a chunk {kind!r} does not fit")
        if kind == b"IEND":
            return
        yield kind, at, end
        at = end
    raise InputError(f"more than {MAX_CHUNKS} chunks: not an ordinary PNG; save it again as one")


def _take(walk: _Walk, kind: bytes, begin: int, end: int) -> None:
    body = walk.data[begin + 8 : end - 4]
    if kind == b"IDAT":
        if walk.data_begin and walk.data_end != begin:
            raise ValueError("its data chunks are not in one piece")
        walk.data_begin, walk.data_end = walk.data_begin or begin, end
        walk.data_bytes += len(body)
        walk.bodies.append(body)
    elif kind in (b"IHDR", b"PLTE", b"tRNS") and not walk.data_begin:
        if any(bytes(piece[4:8]) == kind for piece in walk.head) or len(body) > 768:
            raise ValueError(f"two chunks {kind!r}, or one that is too long")
        walk.head.append(walk.data[begin:end])
    elif kind[0] & 0x20 == 0:  # a capital: not to be shown by who does not know it, or in the wrong place
        raise ValueError(f"a chunk {kind!r} that is unknown or out of place")
    elif kind == b"eXIf":
        walk.exif = walk.exif or bytes(body[:MAX_EXIF_BYTES])
    elif kind in (b"iTXt", b"tEXt", b"zTXt"):
        text = bytes(body[: 2 * MAX_EXIF_BYTES])
        if text.startswith(XMP_KEY) and not walk.xmp:
            walk.xmp = text
        elif text.startswith(RAW_EXIF_KEY) and not walk.raw_exif:
            walk.raw_exif = kind + text[len(RAW_EXIF_KEY) :]


def _raw_exif(text: bytes) -> bytes:
    """The EXIF block in ImageMagick's text chunk: three lines, then hexadecimal digits; empty if it is unreadable."""
    try:
        lines = zlib.decompressobj().decompress(text[5:], 3 * MAX_EXIF_BYTES) if text[:4] == b"zTXt" else text[4:]
        return bytes.fromhex(b"".join(lines.split(b"\n")[3:]).decode("ascii"))
    except (ValueError, zlib.error):
        return b""
