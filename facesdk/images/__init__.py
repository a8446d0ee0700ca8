"""Pictures as frames: JPEG and PNG files by Pillow, turned upright, with limits on what one may cost; and arrays."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.errors import InputError
from facesdk.images import frames
from facesdk.images import jpeg as jpeg_file
from facesdk.images.file import PNG_MAGIC, Budget, PartsReader, check_memory, check_size, orientation_of
from facesdk.images.pixels import pixels_of

if TYPE_CHECKING:
    from PIL import Image

    from facesdk.types import Frame, Picture

__all__ = ["MAX_FILE_BYTES", "as_frame", "check_picture", "decode_rgb", "is_one", "load_rgb"]

MAX_FILE_BYTES = 64 << 20
PICTURE = "a picture (a path, the bytes of a JPEG or PNG file, a Pillow picture, or a numpy array)"
# JPEG files are decoded at a half, quarter or eighth while both sides stay at least this.
ENOUGH_PX = 1600
# The same for a first look: a half where the shorter side has 2000 to 3199 px, a quarter from 4000 on; in between a
# half is what the whole is read at.
FIRST_LOOK_PX = 1000
SAVE_AS = "save it as JPEG or PNG; phones often keep HEIC, which has to be exported"


def load_rgb(path: str | os.PathLike[str]) -> Frame:
    """The picture as uint8 (H, W, 3) RGB, upright by its EXIF orientation. InputError says what is wrong with a file.

    JPEG files over twice 1600 px are decoded at a half, quarter or eighth of their size: faster, and still larger
    than any network here looks at. A file has at most 64 MiB and sides from 64 to 8192 px. What would take over a
    second or 256 MiB on a desktop is refused before it is decoded: PNG files of over some 20 MP (13 MP with
    transparency), JPEG files with more scans over more blocks than libjpeg passes over in that time (a
    progressive photo of 48 MP has half of it), those of rare kinds (arithmetic, lossless, 12 bits), and files that are
    mostly metadata in thousands of pieces. So is a PNG file with a checksum that does not fit.
    """
    data, name = _file_content(path)
    return decode_rgb(data, name=name)


def _file_content(path: Any) -> tuple[bytes, str]:
    """The file's bytes, one more than may be at most, and its name for messages."""
    file_path = _path(path)
    try:
        # Not blocking: a pipe without a writer would keep us waiting before its kind is known.
        opener = lambda name, flags: os.open(name, flags | os.O_NONBLOCK)  # noqa: E731
        with open(file_path, "rb", buffering=0, opener=opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{file_path}: cannot be read (not a regular file)")
            data = _read(file, status.st_size)
    except OSError as error:
        raise InputError(f"{file_path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(file_path)!r}: not a path ({error})") from error
    return data, str(file_path)


def _read(file: io.FileIO, size: int) -> bytes:
    """At most one byte more than a file may have; size: what it is said to have."""
    pieces: list[bytes] = []
    left = MAX_FILE_BYTES + 1
    while left > 0 and (piece := file.read(min(size + 1, left))):
        pieces.append(piece)
        left -= len(piece)
        size = max(size, io.DEFAULT_BUFFER_SIZE)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode_rgb(data: bytes | bytearray | memoryview, *, name: str = "picture") -> Frame:
    """Like load_rgb, of a file's bytes in memory; name stands in the messages."""
    return _decode(data, name, ENOUGH_PX)[0]


def first_look(picture: Picture, *, colors: str = "rgb") -> tuple[Frame, bool]:
    """What as_frame gives, or for a large JPEG file the picture at half that size; and whether it is that."""
    if isinstance(picture, (str, os.PathLike)):
        return _decode(*_file_content(picture), FIRST_LOOK_PX)
    if isinstance(picture, (bytes, bytearray)):
        return _decode(picture, "picture", FIRST_LOOK_PX)
    return as_frame(picture, colors=colors), False


def _decode(data: bytes | bytearray | memoryview, name: str, enough_px: int) -> tuple[Frame, bool]:
    """The frame, and whether it is smaller than with ENOUGH_PX."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"{name}: expected a JPEG or PNG file's bytes, not {type(data).__name__}: "
                         "facesdk.images.as_frame takes paths, files and arrays")  # fmt: skip
    view = memoryview(data)
    if not view.c_contiguous:
        raise InputError(f"{name}: expected bytes that lie side by side: give bytes(x)")
    view = view.cast("B") if view.nbytes else memoryview(b"")
    if view.nbytes > MAX_FILE_BYTES:
        raise InputError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB; give a smaller picture")
    try:
        return _decoded(view, enough_px)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    # Pillow's decoders raise nearly anything for a damaged file, depending on where the damage lies.
    except Exception as error:
        raise InputError(f"{name}: not a readable JPEG or PNG picture ({error})", hint=SAVE_AS) from error


def as_frame(picture: Picture, *, colors: str = "rgb") -> Frame:
    """Anything that shows one picture as a C-contiguous uint8 frame, (H, W, 3) in RGB or (H, W) in gray.

    A path (str, os.PathLike), the bytes of a JPEG or PNG file or a regular file that is open for reading in binary (it
    is read from where it stands, and put back there), a picture of Pillow's, or an array as array_frame of
    facesdk.images.frames takes it: one that is a frame already is returned itself. Files have the limits of load_rgb;
    what it costs to read a picture that Pillow has opened but not read is up to the caller. colors: "bgr" for arrays as
    OpenCV gives them; files and Pillow know their own. InputError for anything else, with the call to use.
    """
    if frames.is_array(picture):  # first, since frames of a camera come this way
        return frames.array_frame(picture, colors=colors)
    check_picture(picture, colors=colors)
    if isinstance(picture, (str, os.PathLike)):
        return load_rgb(picture)
    if isinstance(picture, memoryview) and picture.ndim > 1:
        import numpy as np

        return frames.array_frame(np.asarray(picture), colors=colors)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return decode_rgb(picture)
    if frames.is_pil(picture):
        return _of_pil(picture)
    if isinstance(picture, io.IOBase):
        return decode_rgb(_content(picture))
    return frames.array_frame(picture, colors=colors)


def check_picture(picture: Any, *, colors: str = "rgb") -> None:
    """InputError, with the call to use, for what as_frame does not take; no file is read and no pixel looked at."""
    if colors not in frames.COLORS:
        raise InputError(f"colors must be one of {', '.join(frames.COLORS)}, not {colors!r}")
    if isinstance(picture, (str, os.PathLike)) or frames.is_pil(picture):
        return
    if isinstance(picture, (bytes, bytearray, memoryview)):
        _check_bytes(picture, colors=colors)
    elif hasattr(picture, "read"):
        _check_readable(picture)
    elif hasattr(picture, "__array_interface__") or hasattr(picture, "__array__"):
        frames.check_array(picture, colors=colors)
    else:
        more = ": give numpy.asarray(x, numpy.uint8)" if isinstance(picture, (list, tuple)) else ""
        more = ": give x.image" if hasattr(picture, "image") else more  # what a camera's source gives
        raise InputError(f"expected {PICTURE}, not {type(picture).__name__}{more}")


def is_one(thing: Any) -> bool:
    """Whether this is meant as one picture, good or not, rather than as several."""
    return (
        isinstance(thing, (str, bytes, bytearray, memoryview, os.PathLike))
        or frames.is_pil(thing)  # before what is asked of other things: a closed one answers nothing
        or any(hasattr(thing, name) for name in ("__array_interface__", "__array__", "read"))
    )


def _path(path: Any) -> Path:
    """InputError for what is none."""
    if isinstance(path, (str, os.PathLike)):
        try:
            text = os.fsdecode(path)
        except TypeError as error:
            raise InputError(f"expected a path: {error}") from error
        if not text:
            raise InputError("expected a path, not an empty one")
        return Path(text)
    more = ""
    if isinstance(path, (bytes, bytearray, memoryview)):
        more = ": of a file's bytes, decode_rgb(x) makes a frame; of a path in bytes, give os.fsdecode(x)"
    raise InputError(f"expected a path (str or os.PathLike), not {type(path).__name__}{more}")


def _check_bytes(data: bytes | bytearray | memoryview, *, colors: str) -> None:
    if isinstance(data, memoryview) and data.ndim > 1:
        import numpy as np

        frames.check_array(np.asarray(data), colors=colors)
    elif not bytes(data[:8]).startswith((jpeg_file.MAGIC, PNG_MAGIC)):
        raise InputError(
            "expected the bytes of a JPEG or PNG file; these begin like neither: of a path in bytes, give "
            "os.fsdecode(x), of pixels numpy.frombuffer(x, numpy.uint8).reshape(height, width, 3)"
        )


def _check_readable(file: Any) -> None:
    """InputError unless reading the file gives bytes, at once."""
    if isinstance(file, io.TextIOBase):
        raise InputError('expected a file that is open for reading in binary, not text: open(path, "rb")')
    try:
        if isinstance(file, io.BytesIO) or (
            isinstance(file, io.IOBase) and file.readable() and stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        ):
            return
    except (OSError, ValueError) as error:
        raise InputError(f"this file cannot be read ({error}): give its path") from error
    raise InputError(f"{type(file).__name__} is no regular file that is open for reading in binary: read it and give "
                     "its bytes, facesdk.images.decode_rgb(x.read())")  # fmt: skip


def _content(file: Any) -> bytes:
    try:
        at = file.tell()
        data: bytes = file.read(MAX_FILE_BYTES + 1)
        file.seek(at)
    except (OSError, ValueError) as error:
        raise InputError(f"this file cannot be read ({error}): give its path") from error
    if not data:
        raise InputError("this file is at its end: call seek(0) first")
    return data


def _decoded(data: memoryview, enough_px: int) -> tuple[Frame, bool]:
    jpeg = data[:3] == jpeg_file.MAGIC
    if not jpeg and data[:8] != PNG_MAGIC:
        raise ValueError("it begins like neither")
    budget = Budget()
    if jpeg:
        file = jpeg_file.read_jpeg(data)
    else:
        from facesdk.images.png import read_png

        file = read_png(data, budget)
    reader = PartsReader(file.pieces, budget)
    # The two plugins are used directly: Image.open would import five.
    image: Image.Image
    smaller = False
    if jpeg:
        from PIL.JpegImagePlugin import JpegImageFile

        image = JpegImageFile(reader)  # type: ignore[arg-type]
        smaller = _scale(image.size, enough_px) > _scale(image.size, ENOUGH_PX)
        image.draft(image.mode, (enough_px, enough_px))
    else:
        from PIL.PngImagePlugin import PngImageFile

        image = PngImageFile(reader)  # type: ignore[arg-type]
    check_memory(file, file_bytes=data.nbytes, pixels=image.size[0] * image.size[1], mode=image.mode)
    image.load()
    if file.colours and any(image.histogram()[file.colours :]):  # shown as black, without a word
        raise ValueError("its palette is damaged: it has pixels of colours that are not there")
    return pixels_of(image, file.orientation), smaller


def _scale(size: tuple[int, int], enough_px: int) -> int:
    """By how much a JPEG file is made smaller as it is decoded: what Pillow's draft chooses."""
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or min(size) // enough_px >= scale)


def _of_pil(image: Any) -> Frame:
    """A picture of Pillow's, upright by the EXIF orientation that it carries, as it would be from its file."""
    try:
        check_size(*image.size)
        if image.mode == "F":
            raise InputError("a Pillow picture of mode F: give numpy.asarray(x) scaled to uint8")
        image.load()
        exif, xmp = (v if isinstance(v, bytes) else b"" for v in (image.info.get("exif"), image.info.get("xmp")))
        return pixels_of(image, orientation_of(exif, xmp))
    except InputError as error:
        raise InputError(f"picture: {error}") from error
    # A picture that was opened but not read: as in decode_rgb, nearly anything can come.
    except Exception as error:
        raise InputError(f"picture: Pillow cannot read it ({type(error).__name__}: {error})") from error
