"""Arrays that callers hand over, as frames for the native code: checked, and copied only where they must be."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from facesdk.errors import InputError
from facesdk.images.file import MAX_SIDE, MIN_SIDE

if TYPE_CHECKING:
    from facesdk.types import Frame

COLORS = ("rgb", "bgr")
MARGIN, GRAY = 0.25, 128  # of the longer side; a flat gray
MOST_IN_MARGIN = 16_000_000  # pixels of a frame, so that its copy in a margin stays below 108 MB
EXPECTED = "expected a frame, a numpy array of uint8, (H, W, 3) in RGB or (H, W) in gray"


def array_frame(array: Any, *, colors: str = "rgb") -> Frame:
    """The array as a C-contiguous uint8 (H, W, 3) RGB or (H, W) gray frame: itself if it is one, else one copy.

    Views (cropped, mirrored, strided, in Fortran's order) are copied; a view whose last axis is reversed shows the
    other colour order, and that is what is copied. colors: "bgr" for arrays as OpenCV gives them; gray ones stay as
    they are. InputError for anything else, with the call that makes a frame of it.
    """
    import numpy as np

    check_array(array, colors=colors)
    if colors == "bgr" and array.ndim == 3:
        array = array[:, :, ::-1]
    frame = packed(array)
    return frame if type(frame) is np.ndarray else frame.view(np.ndarray)


def packed(array: Frame) -> Frame:
    """The array itself where it is C-contiguous, else one copy.

    Of colour frames plane by plane, which is faster where pixels do not follow each other (mirrored, turned, of another
    colour order): numpy copies runs, and those are of three bytes then.
    """
    import numpy as np

    if array.ndim != 3 or array.flags.c_contiguous or array.strides[1:] == (3, 1):
        return np.ascontiguousarray(array)
    copy: Frame = np.empty(array.shape, array.dtype)
    for plane in range(array.shape[2]):
        copy[:, :, plane] = array[:, :, plane]
    return copy


def check_array(array: Any, *, colors: str = "rgb") -> None:
    """InputError unless array_frame takes this; looks at no pixel of an array that it does."""
    import numpy as np

    if colors not in COLORS:
        raise InputError(f"colors must be one of {', '.join(COLORS)}, not {colors!r}")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{EXPECTED}, not {_named(array)}")
    # Whoever has such an array has loaded its module, which takes 9 ms; while that is under way there is no class yet.
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    if masked is not None and isinstance(array, masked):
        raise InputError(f"{EXPECTED}, not a masked array: give x.filled(0), or x.data")
    if array.ndim == 1 and array.dtype == np.uint8:
        raise InputError(f"{EXPECTED}, not one of shape {array.shape}: of a file's bytes, "
                         "facesdk.images.decode_rgb(x.tobytes()) makes a frame")  # fmt: skip
    if array.ndim == 1 and array.dtype.kind in "USO":
        raise InputError(f"{EXPECTED}, not several things in one array: give list(x)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"{EXPECTED}, not one of shape {array.shape}{_hint_of_shape(array.shape)}")
    if array.dtype != np.uint8:
        raise InputError(f"{EXPECTED}, not {array.dtype}{_hint_of_dtype(array)}")
    height, width = array.shape[:2]
    if not (min(height, width) >= MIN_SIDE and max(height, width) <= MAX_SIDE):
        raise InputError(
            f"{EXPECTED}, both sides from {MIN_SIDE} to {MAX_SIDE} pixels, not {width} x {height} (shape {array.shape})"
        )


def is_array(thing: Any) -> bool:
    """Whether this is one of numpy's arrays; numpy is not imported for the question."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(thing, numpy.ndarray)


def is_pil(thing: Any) -> bool:
    """Whether this is one of Pillow's pictures; Pillow is not imported for the question."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


def _named(thing: Any) -> str:
    """What came instead of an array, and the call that makes a frame of it."""
    kind = type(thing).__name__
    if thing is None:
        return "None"
    if isinstance(thing, (bytes, bytearray, memoryview)):
        return f"{kind}: facesdk.images.decode_rgb makes a frame of a JPEG or PNG file's bytes"
    if isinstance(thing, str) or hasattr(thing, "__fspath__"):
        return f"{kind}: facesdk.images.load_rgb makes a frame of a JPEG or PNG file"
    if is_pil(thing) or hasattr(thing, "read"):
        return f"{kind}: facesdk.images.as_frame makes a frame of it, facesdk.images.load_rgb one of its file"
    if isinstance(thing, (list, tuple)):
        return f"{kind}: frames are given one by one, and numbers as numpy.asarray(x, numpy.uint8)"
    if getattr(thing, "shape", None) != () and any(hasattr(thing, a) for a in ("__array__", "__array_interface__")):
        return f"{kind}: give numpy.asarray(x)"
    return kind


def _hint_of_shape(shape: tuple[int, ...]) -> str:
    """The call that makes a frame of an array of this shape, where there is one."""
    if len(shape) == 4:
        return ": a batch; give its frames one by one, list(x) has them"
    if len(shape) != 3:
        return ""
    if shape[2] == 4:
        return ": give x[..., :3] (RGBA without its transparency)"
    if shape[2] == 1:
        return ": give x[..., 0]"
    if shape[0] in (3, 4):
        return ": channels come last, give x[:3].transpose(1, 2, 0)"
    if shape[0] == 1:
        return ": give x[0]"
    return ""


def _hint_of_dtype(array: Any) -> str:
    """The call that makes uint8 of an array of this dtype, where there is one."""
    import numpy as np

    kind = array.dtype.kind
    if kind == "b":
        return ": give x.astype(np.uint8) * 255"
    if kind == "u" and array.dtype.itemsize == 2:
        return ": give (x >> 8).astype(np.uint8) if it goes up to 65535, else x.astype(np.uint8)"
    if kind == "f" and array.size and float(np.nanmax(array)) <= 1.0:
        return ": give (x * 255).astype(np.uint8)"
    if kind == "O":
        return ": give numpy.asarray(x.tolist(), numpy.uint8)"
    if kind in "iuf":
        return ": give x.astype(np.uint8) if it goes from 0 to 255, (x * 255).astype(np.uint8) from 0 to 1"
    return ""


def in_margin(frame: Frame) -> tuple[Frame, int]:
    """The frame in a flat gray margin, and the margin's width in pixels; the frame itself where it is too large.

    A face that fills its picture has surroundings then, which the detector expects. Never the edge repeated, which can
    look like a second face.
    """
    import numpy as np

    height, width = frame.shape[:2]
    margin = math.ceil(MARGIN * max(height, width))
    if height * width > MOST_IN_MARGIN or max(height, width) + 2 * margin > MAX_SIDE:
        return frame, 0
    sides = ((margin, margin), (margin, margin), (0, 0))[: frame.ndim]
    return np.pad(frame, sides, constant_values=GRAY), margin
