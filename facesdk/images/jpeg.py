"""A JPEG file's markers, read before it is decoded: how often its decoder would pass over the picture, and what for."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from facesdk.errors import InputError
from facesdk.images.file import PictureFile, check_size, orientation_of

MAGIC = b"\xff\xd8\xff"
# Cameras write some 20 segments, with an ICC profile and depth maps in XMP some 500.
MAX_SEGMENTS = 4096
MAX_TABLE_BYTES = 1 << 20
# libjpeg-turbo's time on the machine of picture_file.MAX_DECODER_S, in ns: of each block of 8 x 8 coefficients that a
# scan passes over (more for a refinement, which looks at every coefficient of its band), of each byte of a scan, of
# each scan, and of each block that a progressive picture keeps. A progressive photo of 48 MP comes to 0.4 s. Scans of
# few bytes are why this is counted beforehand: 6000 of them in 1 MB decode for 33 s, thousands between two reads.
SCAN_NS, SCAN_BLOCK_NS, REFINED_NS, KEPT_BLOCK_NS = 20_000, 12.0, 0.3, 40.0
SEQUENTIAL_BYTE_NS, PROGRESSIVE_BYTE_NS = 8.0, 22.0
MAX_NS = 0.65e9

EOI, SOI, SOS, DQT, DHT, DRI, APP0, APP1, APP14 = 0xD9, 0xD8, 0xDA, 0xDB, 0xC4, 0xDD, 0xE0, 0xE1, 0xEE
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
OTHER_PROCESSES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF}
# What begins a segment; within a scan 0xFF00 stands for 0xFF, and 0xFFD0 to 0xFFD7 are points to start again from.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
EXIF_MAGIC, XMP_MAGIC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


@dataclass
class _Frame:
    """What the frame header says: blocks are those of each component, filled up to whole groups of samples."""

    progressive: bool
    blocks: list[tuple[int, int]]


@dataclass
class _Walk:
    """What was found so far."""

    data: memoryview
    frame: _Frame | None = None
    tables: list[memoryview] = field(default_factory=list)
    first_scan: int = 0
    end: int = 0
    scans: int = 0
    cost_ns: float = 0.0
    kept_blocks: int = 0
    exif: bytes = b""
    xmp: bytes = b""


def read_jpeg(data: memoryview) -> PictureFile:
    """The file as its decoder is to see it: tables and frame header, then everything from the first scan to the end.

    Metadata stays out, but for the colour space and the orientation. InputError for what libjpeg does not decode, and
    for more work than MAX_NS; ValueError for a file without picture.
    """
    walk = _Walk(data, end=len(data))
    for marker, begin, end, following in _segments(data):
        _take(walk, marker, begin, end, following)
    if walk.frame is None or not walk.scans:
        raise ValueError("it has no picture")
    if sum(map(len, walk.tables)) > MAX_TABLE_BYTES:
        raise InputError(f"its tables are larger than {MAX_TABLE_BYTES >> 10} KiB: not an ordinary JPEG")
    pieces = (b"\xff\xd8" + b"".join(walk.tables), data[walk.first_scan : walk.end])
    return PictureFile(pieces, 128 * walk.kept_blocks, orientation_of(walk.exif, walk.xmp))


def _segments(data: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Marker, begin, end, and where the next marker begins (for a scan, the end of its data), up to the first EOI."""
    found = _MARKER.search(data, 2)
    for _ in range(MAX_SEGMENTS):
        if found is None:
            return
        begin = found.start()
        marker, end = data[begin + 1], begin + 2
        if marker >= 0xC0 and marker not in (EOI, SOI):
            if end + 2 > len(data):
                return
            end += struct.unpack_from(">H", data, end)[0]
        found = None if marker == EOI else _MARKER.search(data, end)
        yield marker, begin, end, len(data) if found is None else found.start()
    raise InputError(f"more than {MAX_SEGMENTS} segments: not an ordinary JPEG; save it again as one")


def _take(walk: _Walk, marker: int, begin: int, end: int, following: int) -> None:
    body = walk.data[begin + 4 : end]
    if marker == EOI:
        walk.end = end
    elif marker == SOI:
        raise ValueError("a second picture begins inside of it")
    elif marker in OTHER_PROCESSES:
        raise InputError("a JPEG of a rare kind (lossless, hierarchical or arithmetic): save it as an ordinary one")
    elif marker == PROGRESSIVE or marker in SEQUENTIAL:
        if walk.frame is not None:
            raise ValueError("it has two frame headers")
        walk.frame = _frame(body, progressive=marker == PROGRESSIVE)
        walk.tables.append(walk.data[begin:end])
    elif marker == SOS:
        _scan(walk, body, following - end)
        walk.first_scan = walk.first_scan or begin
    elif not walk.scans and (marker in (DQT, DHT, DRI) or _of_use(marker, body)):
        walk.tables.append(walk.data[begin:end])
    elif marker == APP1:
        if not walk.exif and body[:6] == EXIF_MAGIC:
            walk.exif = bytes(body)
        if not walk.xmp and body[: len(XMP_MAGIC)] == XMP_MAGIC:
            walk.xmp = bytes(body)


def _of_use(marker: int, body: memoryview) -> bool:
    """Whether an application segment tells the decoder the colour space."""
    return bytes(body[:5]) in (b"JFIF\0", b"Adobe") and marker in (APP0, APP14)


def _frame(body: memoryview, *, progressive: bool) -> _Frame:
    precision, height, width, count = struct.unpack_from(">BHHB", body)
    if precision != 8:
        raise InputError(f"a JPEG of {precision} bits a sample; 8 are read: save it as an ordinary one")
    check_size(width, height)
    parts = [struct.unpack_from(">BB", body, 6 + 3 * i) for i in range(count)]
    factors = [(sampling >> 4, sampling & 15) for _, sampling in parts]
    if not parts or count > 4 or not all(1 <= f <= 4 for pair in factors for f in pair):
        raise ValueError("its frame header makes no sense")
    across = -(-width // (8 * max(h for h, _ in factors)))
    down = -(-height // (8 * max(v for _, v in factors)))
    blocks = [(part[0], across * h * down * v) for part, (h, v) in zip(parts, factors, strict=True)]
    return _Frame(progressive, blocks)


def _scan(walk: _Walk, body: memoryview, data_bytes: int) -> None:
    """Counts what a scan costs; InputError when that, with the scans before it, is too much."""
    frame = walk.frame
    count = body[0] if len(body) else 0
    if frame is None or not 1 <= count <= 4 or len(body) < 4 + 2 * count:
        raise ValueError("a scan's header makes no sense")
    ids = {body[1 + 2 * i] for i in range(count)}
    blocks = sum(n for name, n in frame.blocks if name in ids)
    first, last, refines = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] >> 4
    block_ns = SCAN_BLOCK_NS + (REFINED_NS * max(0, last - first + 1) if frame.progressive and refines else 0)
    byte_ns = PROGRESSIVE_BYTE_NS if frame.progressive else SEQUENTIAL_BYTE_NS
    if not walk.scans and (frame.progressive or count < len(frame.blocks)):
        walk.kept_blocks = sum(n for _, n in frame.blocks)
        walk.cost_ns += KEPT_BLOCK_NS * walk.kept_blocks
    walk.scans += 1
    walk.cost_ns += SCAN_NS + block_ns * blocks + byte_ns * data_bytes
    if walk.cost_ns > MAX_NS:
        raise InputError(
            f"too much work to decode: {walk.scans} or more scans of {walk.kept_blocks or blocks} blocks, "
            f"{walk.data.nbytes} bytes; give a smaller picture, or save it as an ordinary (baseline) JPEG"
        )
