"""Letters and smooth lines for a picture. Letters: Pillow's own scalable font, or without FreeType its bitmap font."""

from __future__ import annotations

import math
import unicodedata
from functools import cache
from typing import NamedTuple, TypeAlias

from PIL import Image, ImageDraw, ImageFont

Line: TypeAlias = list[tuple[float, float]]
Room: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1; x1 and y1 are outside
FINE = 4  # lines are drawn this many times larger and then made smaller, for smooth edges
BITMAP_SIZE = 11  # of the letters that Pillow has without FreeType


class Style(NamedTuple):
    """How words look. size: of the font in pixels, capitals are 2/3 of it; bold: drawn twice, one pixel apart."""

    size: int
    colour: str
    bold: bool = False

    @property
    def line_height(self) -> int:
        """From one line to the next, in pixels; more than from the top of capitals to the foot of descenders."""
        return round(1.25 * self.size)


def scalable() -> bool:
    """Whether this Pillow has FreeType; without it the letters are those of its bitmap font, drawn larger."""
    return isinstance(_font(BITMAP_SIZE), ImageFont.FreeTypeFont)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size=size)
    except ImportError:
        return ImageFont.load_default()


def wrap(words: str, style: Style, *, width: int, most: int = 99) -> list[str]:
    """Break the words into lines, in letters that the fonts have; a word that is too long for a line is broken too.

    Args:
        words: with any white space between them.
        style: what they will be written in.
        width: of the longest line, in pixels.
        most: how many lines there may be.

    Returns:
        The lines, none for no words; where more would be needed, the last one ends in "...".
    """
    lines: list[str] = []
    for word in _plain(words).split():
        if lines and width_of(f"{lines[-1]} {word}", style) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and width_of(lines[-1] + letter, style) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and width_of(f"{lines[-1]}...", style) > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "..."
    return lines


def _plain(words: str) -> str:
    """The words without accents; what is left beyond ASCII becomes a question mark, as the fonts lack it."""
    apart = unicodedata.normalize("NFKD", words)
    return "".join(c if c.isascii() else "?" for c in apart if not unicodedata.combining(c))


def width_of(words: str, style: Style) -> int:
    """Measure one line of words.

    Args:
        words: as `wrap` returns them.
        style: what they are written in.

    Returns:
        Pixels, rounded up.
    """
    font = _font(style.size)
    scale = 1.0 if isinstance(font, ImageFont.FreeTypeFont) else style.size / BITMAP_SIZE
    return math.ceil(font.getlength(words) * scale) + style.bold


def write(image: Image.Image, corner: tuple[int, int], words: str, *, style: Style) -> None:
    """Draw one line of words on the image.

    Args:
        image: RGB; it is changed.
        corner: x, y of the line's upper left.
        words: as `wrap` returns them.
        style: what they are written in.
    """
    font = _font(style.size)
    if isinstance(font, ImageFont.FreeTypeFont):
        for shift in range(1 + style.bold):
            ImageDraw.Draw(image).text((corner[0] + shift, corner[1]), words, font=font, fill=style.colour)
        return
    _, _, right, bottom = font.getbbox(words)
    mask = Image.new("L", (round(right), round(bottom)))
    ImageDraw.Draw(mask).text((0, 0), words, font=font, fill=255)
    size = (width_of(words, style), round(bottom * style.size / BITMAP_SIZE))
    image.paste(style.colour, (corner[0], corner[1] + 3), mask.resize(size, Image.Resampling.BICUBIC))


def stroke(
    image: Image.Image, room: Room, lines: list[Line], *, colour: str, width: float, opacity: float = 1.0
) -> None:
    """Draw smooth lines with round ends.

    Args:
        image: RGB; it is changed.
        room: of whole pixels; nothing is drawn outside of it.
        lines: in the image's coordinates, where a pixel's upper left is a whole number.
        colour: of the lines.
        width: of the lines, in pixels.
        opacity: 1 hides what is below.
    """
    x0, y0, x1, y1 = (round(v) for v in room)
    mask = Image.new("L", ((x1 - x0) * FINE, (y1 - y0) * FINE))
    pen, radius, shade = ImageDraw.Draw(mask), width * FINE / 2, round(255 * opacity)
    for line in lines:
        path = [((x - x0) * FINE, (y - y0) * FINE) for x, y in line]
        pen.line(path, fill=shade, width=round(width * FINE), joint="curve")
        for x, y in (path[0], path[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)
    image.paste(colour, (x0, y0), mask.resize((x1 - x0, y1 - y0), Image.Resampling.BOX))


def arc(centre: tuple[float, float], radius: float, *, degrees: tuple[float, float] = (0, 360)) -> Line:
    """Part of a circle, or all of it.

    Args:
        centre: x, y.
        radius: in the same unit.
        degrees: where it starts and ends; 0 is to the right, 90 below.

    Returns:
        A line of 25 points.
    """
    start, end = (math.radians(angle) for angle in degrees)
    angles = [start + (end - start) * step / 24 for step in range(25)]
    return [(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles]


def corners(box: Room, *, part: float = 0.12) -> list[Line]:
    """The box's four corners.

    Args:
        box: whose corners they are.
        part: of the box's sides that each of their lines is long.

    Returns:
        Four lines of three points.
    """
    x0, y0, x1, y1 = box
    dx, dy = part * (x1 - x0), part * (y1 - y0)
    return [
        [(x, y + down), (x, y), (x + right, y)]
        for x, right in ((x0, dx), (x1, -dx))
        for y, down in ((y0, dy), (y1, -dy))
    ]
