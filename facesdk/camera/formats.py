"""Pictures as cameras and pipes send them, made RGB or gray in one step: YUYV, NV12, GREY, RGB24 and BGR24."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facesdk import _core
from facesdk.errors import InputError
from facesdk.images.frames import packed

if TYPE_CHECKING:
    from facesdk.types import Frame

# Bytes for two pixels of each format, by its name here.
BYTES_FOR_TWO = {"grey": 2, "nv12": 3, "yuyv": 4, "rgb24": 6, "bgr24": 6}
# V4L2's codes of those that a driver may give, as OpenCV reads them.
BY_CODE = {"YUYV": "yuyv", "NV12": "nv12", "GREY": "grey"}
MIN_SIDE, MAX_SIDE = 64, 8192


def checked_size(size: Any, name: Any) -> tuple[int, int]:
    """Width and height, if a picture of this format can have them; InputError."""
    if name not in BYTES_FOR_TWO:
        raise InputError(f"format must be one of {', '.join(BYTES_FOR_TWO)}, not {name!r}")
    if not (isinstance(size, tuple) and len(size) == 2 and all(type(side) is int for side in size)):
        raise InputError(f"size must be (width, height) in whole pixels, not {size!r}")
    width, height = size
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InputError(f"size must be {MIN_SIDE} to {MAX_SIDE} pixels a side, not {width} x {height}")
    if (name in ("yuyv", "nv12") and width % 2) or (name == "nv12" and height % 2):
        raise InputError(f"{name} has an even width{' and height' if name == 'nv12' else ''}, not {width} x {height}")
    return width, height


def bytes_of(name: str, width: int, height: int) -> int:
    """How many bytes one picture has."""
    return width * height * BYTES_FOR_TWO[name] // 2


def from_bytes(data: bytearray, name: str, size: tuple[int, int]) -> Frame:
    """The picture of one frame's bytes: uint8 (H, W, 3) in RGB or (H, W) in gray.

    Gray and RGB24 are not copied: the picture is the bytes given, which their reader must leave alone.
    """
    import numpy as np

    width, height = size
    raw = np.frombuffer(data, np.uint8)
    if name == "grey":
        return raw.reshape(height, width)
    if name == "yuyv":
        return _core.yuyv_to_rgb(raw.reshape(height, width, 2))
    if name == "nv12":
        return _core.nv12_to_rgb(raw.reshape(height * 3 // 2, width))
    picture = raw.reshape(height, width, 3)
    return picture if name == "rgb24" else packed(picture[..., ::-1])


def from_driver(raw: Frame, code: str, size: tuple[int, int]) -> Frame | None:
    """The picture of an array that OpenCV has not converted, or None where it is not what the format's code promises.

    Args:
        raw: as OpenCV gives it with CAP_PROP_CONVERT_RGB off: (H, W, 2) for YUYV, (H * 3 / 2, W) for NV12, (H, W).
        code: the driver's format, four characters.
        size: width and height that the driver has set.
    """
    width, height = size
    name = BY_CODE.get(code)
    shape = {"yuyv": (height, width, 2), "nv12": (height * 3 // 2, width), "grey": (height, width)}.get(name or "")
    if shape is None or raw.shape != shape or raw.dtype != "uint8" or not raw.flags.c_contiguous:
        return None
    if name == "grey":
        return raw
    return _core.yuyv_to_rgb(raw) if name == "yuyv" else _core.nv12_to_rgb(raw)
