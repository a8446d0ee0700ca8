"""PNG files with structure, for fuzz_pictures.py: built part by part, or genuine ones with parts changed."""

from __future__ import annotations

import struct
import zlib

from fuzz_pictures_files import Pool, Rng, edges, exif_block, random_size

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _passes(width: int, height: int, *, interlaced: bool) -> list[tuple[int, int]]:
    grid = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    spans = grid if interlaced else ((0, 0, 1, 1),)
    return [(max(0, -(-(width - x) // across)), max(0, -(-(height - y) // down))) for x, y, across, down in spans]


def _rows(rng: Rng, width: int, height: int, bits: int, *, interlaced: bool) -> bytes:
    """Filtered rows: one that is repeated for large pictures, else now and then noise."""
    out = []
    for columns, rows in _passes(width, height, interlaced=interlaced):
        if columns and rows:
            size = (columns * bits + 7) // 8
            row = bytes([rng.choice((0, 1, 2, 3, 4, 4, 5))]) + rng.choice((bytes(size), rng.randbytes(size)))
            out.append(row * rows)
    return b"".join(out)


# Ten bits of a block of fixed codes that holds nothing, and 92 of one with codes of its own: as often as one likes.
EMPTY_FIXED = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
EMPTY_DYNAMIC = [int(bit) for bit in f"{0x200381100000000004FED7C:092b}"]


def _deflate_of_nothing(rng: Rng, size: int) -> bytes:
    bits = rng.choice((EMPTY_FIXED, EMPTY_DYNAMIC)) * 8
    unit = bytes(sum(bit << j for j, bit in enumerate(bits[i : i + 8])) for i in range(0, len(bits), 8))
    return unit * (size // len(unit))


def _chunks_between(rng: Rng) -> bytes:
    """Chunks that a decoder might unpack: text, profiles, EXIF, further pictures."""
    bomb = rng.choice((b"", zlib.compress(b"A" * 2000), _BOMB))
    return b"".join(
        rng.choice(
            (
                chunk(b"eXIf", exif_block(rng)), chunk(b"zTXt", b"k\0\0" + bomb), chunk(b"iCCP", b"k\0\0" + bomb),
                chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb), chunk(b"tEXt", b"k\0" + b"x" * 500),
                chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation=\"7\""), chunk(b"tEXt", b"") * 300,
                chunk(b"iTXt", b"k\0\1\0\0\0" + bomb), chunk(b"acTL", struct.pack(">II", rng.choice((1, 9, 2**31)), 0)),
                chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 9, 0, 0, 1, 1, 0, 0)), chunk(b"fdAT", bytes(4) + bomb),
                chunk(b"pHYs", rng.randbytes(9)), chunk(b"gAMA", b"\0\0\0\0"), chunk(b"IDAT", b""),
            )
        )
        for _ in range(rng.choice((0, 1, 2, 6)))
    )  # fmt: skip


_BOMB = zlib.compress(bytes(64 << 20), 9)


def built_png(rng: Rng, _pool: Pool) -> bytes:
    """A header of any kind, palette and transparency, rows that fit or not, in few or very many data chunks."""
    width, height = random_size(rng, large=0.012)
    colour = rng.choice((0, 2, 3, 4, 6))
    depth = rng.choice({0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}[colour])
    interlaced = rng.random() < 0.3
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    fits = width * height * bits < 8 * (96 << 20)
    rows = _rows(rng, width, height, bits, interlaced=interlaced) if fits else bytes(1000)
    rows = rows if rng.random() < 0.9 else rng.choice((rows[: len(rows) // 2], rows + bytes(100000), b""))
    data = zlib.compress(rows, rng.choice((1, 1, 1, 0, 6)) if len(rows) < 1 << 20 else 1)
    if rng.random() < 0.05:
        data = data[:2] + _deflate_of_nothing(rng, rng.choice((500, 20000, 2000000))) + data[2:]
    size = rng.choice((len(data) + 1, len(data) + 1, 8192, 100, 1))
    size = max(size, len(data) // 40000)
    idat = b"".join(chunk(b"IDAT", data[i : i + size]) for i in range(0, len(data), size))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = (
        chunk(b"PLTE", rng.randbytes(3 * rng.choice((1, 2, 16, 256)))) if colour == 3 or rng.random() < 0.1 else b""
    )
    clear = (
        chunk(b"tRNS", rng.randbytes({0: 2, 2: 6}.get(colour, rng.choice((1, 16, 256))))) if rng.random() < 0.3 else b""
    )
    between = _chunks_between(rng), _chunks_between(rng)
    whole = PNG_MAGIC + chunk(b"IHDR", header) + palette + clear + between[0] + idat + between[1] + chunk(b"IEND", b"")
    return edges(whole, rng) if rng.random() < 0.4 else whole


def changed_png(rng: Rng, pool: Pool) -> bytes:
    """A genuine file whose chunks are repeated, dropped, exchanged, or changed under a new checksum."""
    data, at, parts = rng.choice(pool["PNG"]), 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    for _ in range(rng.choice((1, 1, 2, 4))):
        one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(5)
        if kind == 0:
            parts[one:one] = [parts[other]] * rng.choice((1, 2, 40))
        elif kind == 1 and len(parts) > 1:
            del parts[one]
        elif kind == 2:
            parts[one], parts[other] = parts[other], parts[one]
        elif kind == 3 and parts[one][0] == b"IHDR":
            sizes = struct.pack(">II", *random_size(rng, large=0.1))
            kinds = bytes([rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6)), 0, 0, rng.choice((0, 1))])
            parts[one] = (b"IHDR", sizes + (kinds if rng.random() < 0.5 else parts[one][1][8:]))
        elif parts[one][1]:
            parts[one] = (parts[one][0], edges(edges(parts[one][1], rng), rng))
    return edges(PNG_MAGIC + b"".join(chunk(*part) for part in parts), rng)
