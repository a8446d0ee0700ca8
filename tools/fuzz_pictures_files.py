"""Genuine pictures, and JPEG files with structure, for fuzz_pictures.py: built part by part, or with parts changed.

Every maker is (random, pool) -> bytes; the pool holds genuine files. What makers build is mostly well-formed, so that
it gets past the first look, with something that costs: scans, blocks, chunks, rows, tables, references to itself.
"""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from facesdk.images.jpeg import _segments

Rng = random.Random
Pool = dict[str, list[bytes]]
PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
SIDES = (64, 64, 65, 72, 96, 100, 127, 128, 200, 256, 320, 513)
LARGE = (1600, 2048, 3200, 4096, 6000, 8191, 8192)
NO_SIDES = (0, 1, 63, 8193, 65535)


def genuine() -> Pool:
    """Small versions of bundled portraits in many kinds."""
    pool: Pool = {"JPEG": [], "PNG": []}
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("obama_2012.jpg", "collins.png", "macron_2014.jpg"):
        image = Image.open(PORTRAITS / name).convert("RGB")
        image.thumbnail((120, 120))
        clear = image.convert("RGBA")
        clear.putalpha(image.convert("L"))
        wide = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        jpegs: list[tuple[Image.Image, dict[str, object]]] = [
            (image, {}), (image, {"progressive": True, "exif": exif}), (image, {"quality": 97, "subsampling": 0}),
            (image.convert("CMYK"), {"progressive": True}), (image.convert("CMYK"), {}), (image.convert("L"), {}),
            (image.convert("L"), {"progressive": True}), (image, {"restart_marker_blocks": 3, "comment": b"x" * 300}),
        ]  # fmt: skip
        pngs = [image, clear, clear.convert("LA"), clear.quantize(32), image.convert("P"), image.convert("1"), wide]
        pool["JPEG"] += [_encoded(picture, "JPEG", options) for picture, options in jpegs]
        pool["PNG"] += [_encoded(picture, "PNG", {"exif": exif}) for picture in pngs]
    return pool


def _encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def random_size(rng: Rng, *, large: float) -> tuple[int, int]:
    """Width and height; this share of them both large, a few impossible."""
    sides = rng.choices((SIDES, LARGE, (*SIDES, *LARGE, *NO_SIDES)), (0.97 - large, large, 0.03))[0]
    return rng.choice(sides), rng.choice(sides)


def edges(data: bytes, rng: Rng) -> bytes:
    """The file, now and then cut off, longer, or with bits flipped."""
    kind = rng.random() if data else 1.0
    if kind < 0.06:
        return data[: rng.randrange(len(data) + 1)]
    if kind < 0.09:
        return data + rng.randbytes(rng.choice((1, 7, 5000)))
    if kind < 0.2:
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return bytes(out)
    return data


# --- EXIF


def exif_block(rng: Rng) -> bytes:
    """A TIFF file with an orientation, values far away or overlapping, and directories that refer to themselves."""
    order = rng.choice("<>")
    count = rng.choice((0, 1, 3, 40, 2000, 5000, 65535))
    entries = []
    for _ in range(min(count, 5200)):
        tag = rng.choice((0x0112, 0x8769, 0x8825, 0xA005, 0x014A, rng.randrange(65536)))
        kind, size = rng.randrange(14), rng.choice((1, 1, 2, 60000, 2**31, 2**32 - 1))
        entries.append(struct.pack(order + "HHII", tag, kind, size, rng.choice((1, 3, 6, 8, 26, 60000, 2**32 - 1))))
    begin = rng.choice((8, 8, 8, 0, 4, 70000))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", begin, count)
    return (head + b"".join(entries) + struct.pack(order + "I", 8))[:65000]


# --- JPEG


def segment(marker: int, body: bytes) -> bytes:
    """A marker with its length and body."""
    return struct.pack(">BBH", 0xFF, marker, min(65535, len(body) + 2)) + body


def _quantization(rng: Rng) -> bytes:
    tables = [bytes([i]) + bytes(rng.choice((1, 2, 16, 255)) for _ in range(64)) for i in range(rng.choice((1, 2, 4)))]
    return segment(0xDB, b"".join(tables))


def _huffman(rng: Rng, place: int) -> bytes:
    """A table: few short codes, a random tree, or one of the longest codes only."""
    symbols = [0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x05, 0xF0, 0xE0, 0xA0, 0x10, 0x0A] if place & 16 else [*range(12)]
    rng.shuffle(symbols)
    counts, room, used = [0] * 16, 1.0, 0
    for length in range(rng.choice((1, 1, 2, 8)), 17):
        most = int(room * 2**length) - (1 if rng.random() < 0.8 else 0)
        counts[length - 1] = max(0, min(most, rng.choice((0, 1, 1, 2, 3)), len(symbols) - used))
        used += counts[length - 1]
        room -= counts[length - 1] / 2**length
    return segment(0xC4, bytes([place, *counts, *symbols[:used]]))


def _scan_data(rng: Rng, blocks: int) -> bytes:
    """Data of a scan: zeros, noise, runs without coefficients, with points to start again from or without."""
    size = rng.choice((0, 2, 10, min(blocks // 4, 20000), min(8 * blocks, 20000)))
    data = rng.choice((bytes(size), b"\x55" * size, rng.randbytes(size), b"\x7f\xfe" * (size // 2)))
    data = data.replace(b"\xff", b"\xff\0")
    if rng.random() < 0.1:
        data = b"".join(data[i : i + 50] + b"\xff" + bytes([0xD0 + i // 50 % 8]) for i in range(0, len(data), 50))
    return data


def _scan(rng: Rng, ids: list[int], blocks: int, *, progressive: bool) -> bytes:
    chosen = ids if rng.random() < 0.3 else [rng.choice(ids)]
    first, last, high = 0, 63, 0
    if progressive:
        first, last = rng.choice(((0, 0), (1, 5), (6, 63), (1, 63), (63, 63), (1, 1)))
        high = rng.choice((0, 0, 1, 2))
    low = max(0, high - 1) if high else rng.choice((0, 0, 1, 2))
    parts = b"".join(bytes([i, rng.choice((0, 0, 0x11))]) for i in chosen)
    head = segment(0xDA, bytes([len(chosen)]) + parts + bytes([first, last, high << 4 | low]))
    return head + _scan_data(rng, blocks)


def built_jpeg(rng: Rng, _pool: Pool) -> bytes:
    """Tables, a frame of any process and any sampling, and scans: few of their own kind, or one very often."""
    width, height = random_size(rng, large=0.06)
    process = rng.choices((0xC0, 0xC1, 0xC2, 0xC9, 0xCA, 0xC3), (6, 2, 12, 0.3, 0.3, 0.2))[0]
    ids = list(range(1, 1 + rng.choices((1, 3, 4, 2, 10), (5, 8, 3, 0.3, 0.1))[0]))
    parts = [bytes([i, rng.choice((0x11, 0x11, 0x22, 0x21, 0x12, 0x41, 0x44, 0x13, 0)), rng.choice((0, 0, 1))])
             if rng.random() < 0.4 else bytes([i, 0x11, 0]) for i in ids]  # fmt: skip
    frame = struct.pack(">BHHB", rng.choices((8, 12), (99, 1))[0], height, width, len(ids)) + b"".join(parts)
    tables = b"".join(_huffman(rng, place) for place in (0, 1, 16, 17))
    extra = b"".join(_extra_segment(rng) for _ in range(rng.choice((0, 0, 1, 3))))
    blocks = width * height // 64
    scans = [_scan(rng, ids, blocks, progressive=process == 0xC2) for _ in range(rng.choice((1, 1, 2, 5, 12)))]
    if rng.random() < 0.15:
        scans += [rng.choice(scans)] * min(rng.choice((30, 300, 3000, 5000)), (1 << 20) // len(scans[0]))
    restart = segment(0xDD, struct.pack(">H", rng.choice((1, 3, 500)))) if rng.random() < 0.2 else b""
    data = b"\xff\xd8" + extra + _quantization(rng) + segment(process, frame) + tables + restart + b"".join(scans)
    return edges(data + b"\xff\xd9", rng)


def _extra_segment(rng: Rng) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return segment(0xE1, b"Exif\0\0" + exif_block(rng))
    if kind == 1:
        return segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if kind == 2:
        return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([rng.randrange(3)]))
    if kind == 3:
        return segment(0xE2, b"MPF\0MM\0*\0\0\0\x08" + rng.randbytes(60)) * rng.choice((1, 5))
    if kind == 4:
        return segment(0xE2, b"ICC_PROFILE\0\1\1" + rng.randbytes(2000)) * rng.choice((1, 50))
    return segment(rng.choice((0xFE, 0xE1, 0xED)), b"x" * rng.choice((0, 0, 300))) * rng.choice((1, 1, 100, 6000))


def changed_jpeg(rng: Rng, pool: Pool) -> bytes:
    """A genuine file whose segments are repeated, dropped, exchanged, moved, or have another size of picture."""
    data = rng.choice(pool["JPEG"])
    spans = [data[begin:end] if marker != 0xDA else data[begin:following]
             for marker, begin, end, following in _segments(memoryview(data))]  # fmt: skip
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, other = rng.randrange(len(spans)), rng.randrange(len(spans))
        kind = rng.randrange(6)
        if kind == 0:
            spans[at:at] = [spans[other]] * rng.choice((1, 2, 20, 400, 4000))
        elif kind == 1 and len(spans) > 1:
            del spans[at]
        elif kind == 2:
            spans[at], spans[other] = spans[other], spans[at]
        elif kind == 3:
            spans.insert(at, _extra_segment(rng))
        elif kind == 4 and len(spans[at]) > 4:
            spans[at] = spans[at][:4] + edges(spans[at][4:], rng)
        elif spans[at][1:2] in (b"\xc0", b"\xc2"):
            spans[at] = spans[at][:5] + struct.pack(">HH", *random_size(rng, large=0.3)) + spans[at][9:]
    return edges(b"\xff\xd8" + b"".join(spans), rng)


def noise(rng: Rng, pool: Pool) -> bytes:
    """A genuine file with a stretch of noise, or only its beginning."""
    data = rng.choice(pool[rng.choice(("JPEG", "PNG"))])
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 4, 64, len(data) - at))) + data[at + rng.choice((0, 4, 64)) :]
