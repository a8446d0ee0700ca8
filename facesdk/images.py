"""Pictures from files, by Pillow: JPEG and PNG only, turned upright, with limits on what a file may cost."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from facesdk.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from facesdk.types import Frame

MIN_SIDE, MAX_SIDE = 64, 8192
MAX_FILE_BYTES = 64 << 20
JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def load_rgb(path: Path | str) -> Frame:
    """The picture as uint8 (H, W, 3) RGB, upright by its EXIF orientation. InputError says what is wrong with a file.

    JPEG files over twice 1600 px are decoded at a half, quarter or eighth of their size: faster, and still larger
    than any network here looks at.
    """
    path = Path(path)
    try:
        # Not blocking: a pipe without a writer would keep us waiting before its kind is known.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: cannot be read (not a regular file)")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r}: not a path ({error})") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; give a smaller picture")
    return decode_rgb(data, name=str(path))


def decode_rgb(data: bytes, *, name: str = "picture") -> Frame:
    """Like load_rgb, of bytes in memory; name stands in the messages."""
    import numpy as np

    try:
        image = _open(data)
        _check_size(image.size, name)
        if image.format == "JPEG" and image.mode in ("RGB", "L"):
            image.draft("RGB", (1600, 1600))
        return np.ascontiguousarray(_flattened(_upright(image)))
    except InputError:
        raise
    # Pillow's decoders raise nearly anything for a damaged file, depending on where the damage lies.
    except Exception as error:
        raise InputError(f"{name}: not a readable JPEG or PNG picture ({type(error).__name__}: {error})") from error


def _open(data: bytes) -> Image.Image:
    """The picture, its header read. The two plugins are used directly: Image.open would import five."""
    if data.startswith(JPEG_MAGIC):
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(io.BytesIO(data))
    if data.startswith(PNG_MAGIC):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(io.BytesIO(data))
    raise ValueError("it begins like neither")


def _check_size(size: tuple[int, int], name: str) -> None:
    if not (min(size) >= MIN_SIDE and max(size) <= MAX_SIDE):
        raise InputError(f"{name}: {size[0]} x {size[1]} pixels; both sides must be from {MIN_SIDE} to {MAX_SIDE}")


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; an unreadable EXIF block counts as none."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    try:
        turn = turns.get(image.getexif().get(0x0112, 1))
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


def _flattened(image: Image.Image) -> Image.Image:
    """RGB; transparency over white, 16-bit gray brought to 8."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # convert() would copy it
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return (
            image.point(lambda v: v / 256.0).convert("L").convert("RGB") if image.mode != "F" else image.convert("RGB")
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
