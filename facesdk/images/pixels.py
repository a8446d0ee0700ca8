"""The pixels of a decoded picture of Pillow's as a frame: RGB, turned upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk import _core

if TYPE_CHECKING:
    from PIL import Image

    from facesdk.types import Frame

# Pixels that are converted at a time: what conversion needs besides the picture and the result.
BAND_PIXELS = 1 << 18
# Pillow's way to turn a band, by orientation, and whether the bands lie side by side and in reverse afterwards.
TURNS = {
    2: ("FLIP_LEFT_RIGHT", False, False), 3: ("ROTATE_180", False, True), 4: ("FLIP_TOP_BOTTOM", False, True),
    5: ("TRANSPOSE", True, False), 6: ("ROTATE_270", True, True), 7: ("TRANSVERSE", True, True),
    8: ("ROTATE_90", True, False),
}  # fmt: skip


def pixels_of(image: Image.Image, orientation: int) -> Frame:
    """uint8 (H, W, 3), turned, band by band: whole pictures of each step would need three times the memory."""
    if orientation not in TURNS and _is_rgb(image) and (whole := _in_place(image)) is not None:
        return whole
    import numpy as np
    from PIL import Image

    width, height = image.size
    name, aside, reverse = TURNS.get(orientation, ("", False, False))
    turn = Image.Transpose[name] if name else None
    frame = np.empty((width, height, 3) if aside else (height, width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for begin in range(0, height, rows):
        end = min(height, begin + rows)
        band = _flattened(image.crop((0, begin, width, end)))
        place = slice(height - end, height - begin) if reverse else slice(begin, end)
        turned = band if turn is None else band.transpose(turn)
        done = _in_place(turned)
        frame[(slice(None), place) if aside else place] = np.asarray(turned) if done is None else done
    return frame


def _in_place(image: Image.Image) -> Frame | None:
    """An RGB picture's pixels, read where Pillow keeps them; None where they do not lie side by side."""
    try:
        return _core.arrow_to_rgb(*image.__arrow_c_array__(), *image.size)
    except ValueError:
        return None


def _is_rgb(image: Image.Image) -> bool:
    return image.mode == "RGB" and "transparency" not in image.info


def _flattened(image: Image.Image) -> Image.Image:
    """RGB; transparency over white, 16-bit gray brought to 8."""
    from PIL import Image

    if _is_rgb(image):
        return image
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        import numpy as np

        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
