"""Pictures from files, by Pillow: JPEG and PNG only, turned upright, with limits on what a file may cost."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from facesdk.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from facesdk.types import Frame

MIN_SIDE, MAX_SIDE = 64, 8192
MAX_FILE_BYTES = 64 << 20
FORMATS = ("JPEG", "PNG")


def load_rgb(path: Path | str) -> Frame:
    """The picture as uint8 (H, W, 3) RGB, upright by its EXIF orientation. InputError says what is wrong with a file.

    JPEG files over twice 1600 px are decoded at a half, quarter or eighth of their size: faster, and still larger
    than any network here looks at.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; give a smaller picture")
    return decode_rgb(data, name=str(path))


def decode_rgb(data: bytes, *, name: str = "picture") -> Frame:
    """Like load_rgb, of bytes in memory; name stands in the messages."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # A size that Pillow only warns of is checked against our own limit just below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image.size, name)
        if image.format == "JPEG" and image.mode in ("RGB", "L"):
            image.draft("RGB", (1600, 1600))
        upright = ImageOps.exif_transpose(image)
        return np.asarray(_flattened(upright))
    except InputError:
        raise
    # Pillow's decoders raise these for damaged files, depending on where the damage lies.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        Image.DecompressionBombError,
    ) as error:
        raise InputError(f"{name}: not a readable JPEG or PNG picture ({error})") from error


def _check_size(size: tuple[int, int], name: str) -> None:
    if not (min(size) >= MIN_SIDE and max(size) <= MAX_SIDE):
        raise InputError(f"{name}: {size[0]} x {size[1]} pixels; both sides must be from {MIN_SIDE} to {MAX_SIDE}")


def _flattened(image: Image.Image) -> Image.Image:
    """RGB; transparency over white, 16-bit gray brought to 8."""
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return (
            image.point(lambda v: v / 256.0).convert("L").convert("RGB") if image.mode != "F" else image.convert("RGB")
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
