"""Picture files made by hand, and what one costs in a process of its own."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

from PIL import Image

COST = """
import sys, time
import numpy
from facesdk.errors import InputError
from facesdk.images import load_rgb
def most_kib():
    # Not ru_maxrss, which a process has from the one that started it.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
before = most_kib()
start = time.thread_time()
try:
    frame = load_rgb(sys.argv[1])
    shape = "x".join(map(str, frame.shape))
except InputError as error:
    shape = "refused: " + str(error).replace("\\n", " ")
seconds = time.thread_time() - start
print(seconds, (most_kib() - before) / 1024, shape)
"""


def cost_of(data: bytes, folder: Path) -> tuple[float, float, str]:
    """Processor seconds and MiB that load_rgb takes in a fresh process, and the frame's shape or why it is refused."""
    path = folder / "picture"
    path.write_bytes(data)
    command = [sys.executable, "-c", COST, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    seconds, growth_mib, outcome = done.stdout.strip().split(" ", 2)
    return float(seconds), float(growth_mib), outcome


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, colour: int, depth: int, row: bytes, extra: bytes = b"", split: int = 0,
        prefix: bytes = b"") -> bytes:  # fmt: skip
    """A PNG of one row (filter byte first) many times. prefix: deflate blocks before it; split: bytes a data chunk."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = b"\x78\x01" + prefix + b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    data = packed + struct.pack(">I", zlib.adler32(row * height))
    step = split or len(data)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) + extra
        + b"".join(chunk(b"IDAT", data[i : i + step]) for i in range(0, len(data), step)) + chunk(b"IEND", b"")
    )  # fmt: skip


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def scans(count: int, side: int, *, process: int = 0xC2, high: int = 0) -> bytes:
    """A gray progressive JPEG of `count` scans, each of a few bytes that say: no coefficients in any block."""
    blocks, bits = (side // 8) ** 2, ""
    while blocks > 0:
        bits += "0" + "1" * 14
        blocks -= (1 << 15) - 1
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    table = segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0") + segment(
        0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0"
    )
    frame = segment(process, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    one = segment(0xDA, bytes([1, 1, 0, 1, 63, high << 4])) + data
    return b"\xff\xd8" + segment(0xDB, b"\0" + bytes([1] * 64)) + frame + table + one * count + b"\xff\xd9"
