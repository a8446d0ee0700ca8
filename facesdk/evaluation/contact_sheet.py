"""A contact sheet of faces: each photo with its name, its verdict in colour, symbol and words, and thin landmarks.

Pure drawing: what stands on the sheet is what the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from facesdk.evaluation.contours import CONTOURS
from facesdk.evaluation.framing import window_of
from facesdk.evaluation.pen import Line, Style, arc, corners, stroke, width_of, wrap, write

if TYPE_CHECKING:
    from facesdk.types import Face, Float32Array, Frame

WIDTH, MARGIN, GAP, COLUMNS = 1600, 40, 16, 6
PHOTO_WIDTH, PHOTO_HEIGHT, BADGE = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS, 296, 48
INK, GRAY, PAPER, PANEL, WARNING = "#1c2733", "#55606b", "#ffffff", "#f1f4f7", "#8a5b00"
# Capitals of 24 px letters are 16 px high here, and 12 px when the sheet is shown 1200 px wide.
TITLE, SUBTITLE, HEADING = Style(48, INK), Style(27, GRAY), Style(30, INK, bold=True)
VERDICT, NAME, DETAIL = Style(27, PAPER, bold=True), Style(24, INK, bold=True), Style(24, GRAY)
LEGEND, NOTE, CREDIT = Style(24, INK), Style(24, INK, bold=True), Style(24, GRAY)
NAME_LINES, DETAIL_LINES = 2, 4
LINES = (PAPER, "#0b2533")  # on a dark face, on a bright one
BRIGHT = 150  # gray level
LINE_WIDTH, LINE_OPACITY = 1.0, 0.7


class Kind(Enum):
    """What a verdict comes down to; the value says it in the legend."""

    ENROLLED = "Enrolled: the owner's template was made from it"
    MATCH = "Match: taken for the owner; nothing else opens"
    NON_MATCH = "Non-match: compared, and not the owner"
    REFUSED = "Refused: not compared, for the reason below it"


# Blue, green and vermilion of Okabe and Ito, which colour-blind people tell apart, as dark as white letters need.
COLOURS = {
    Kind.ENROLLED: "#0067a3", Kind.MATCH: "#00775a", Kind.NON_MATCH: "#b84700", Kind.REFUSED: "#454c54",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tile:
    """One face. frame: RGB; face: None if none was found; verdict: a word or two; detail: a sentence below the name;
    group: the heading that it stands below, with its neighbours of the same one."""

    frame: Frame
    face: Face | None
    name: str
    verdict: str
    kind: Kind
    detail: str = ""
    group: str = ""


class Box(NamedTuple):
    """x0, y0, x1, y1 in pixels of the sheet; x1 and y1 are outside."""

    x0: float
    y0: float
    x1: float
    y1: float


class Text(NamedTuple):
    """One line of words; x, y: its upper left corner."""

    x: int
    y: int
    words: str
    style: Style

    @property
    def box(self) -> Box:
        """The room that it takes."""
        return Box(self.x, self.y, self.x + width_of(self.words, self.style), self.y + self.style.line_height)


@dataclass(frozen=True, eq=False)
class Placed:
    """A tile's place: cell with everything, photo, the face's box (within the photo) and mesh (x, y) on the sheet."""

    tile: Tile
    cell: Box
    photo: Box
    badge: Box
    texts: list[Text]
    face: Box | None
    points: Float32Array | None


@dataclass
class Sheet:
    """Where everything goes. samples: of the legend: x, y and what is shown there."""

    height: int = 0
    texts: list[Text] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    samples: list[tuple[int, int, Kind | str]] = field(default_factory=list)
    panel: Box | None = None


def draw(
    path: Path, tiles: Sequence[Tile], *, title: str, subtitle: str = "", note: str = "", credit: str = ""
) -> None:
    """Draw the tiles into a new PNG file.

    Args:
        path: where it goes; nothing is overwritten.
        tiles: in the order in which they are shown.
        title: the line at the top.
        subtitle: one or two lines below it.
        note: what must not be missed; it stands in the legend.
        credit: the photos' authors and licences, in small letters at the foot.

    Raises:
        FileExistsError: the path is taken.
        OSError: it cannot be written.
    """
    image = paint(arrange(tiles, title=title, subtitle=subtitle, note=note, credit=credit))
    with path.open("xb") as file:
        image.save(file, format="PNG")


def arrange(tiles: Sequence[Tile], *, title: str, subtitle: str = "", note: str = "", credit: str = "") -> Sheet:
    """Find a place for everything: rows of tiles for each group, the legend beside the first row that leaves half free.

    Args:
        tiles, title, subtitle, note, credit: those of `draw`.

    Returns:
        What `paint` takes.
    """
    sheet, y, inner = Sheet(), MARGIN - 8, WIDTH - 2 * MARGIN
    y = _lines(sheet.texts, title, (MARGIN, y), width=inner, style=TITLE) + 4
    y = _lines(sheet.texts, subtitle, (MARGIN, y), width=inner, style=SUBTITLE) + 20
    for group, members in groupby(tiles, key=lambda tile: tile.group):
        y = _lines(sheet.texts, group, (MARGIN, y), width=inner, style=HEADING, most=1) + 8
        row = list(members)
        for start in range(0, len(row), COLUMNS):
            placed = [_place(tile, column, y) for column, tile in enumerate(row[start : start + COLUMNS])]
            bottom = max(place.cell.y1 for place in placed)
            if sheet.panel is None and len(placed) <= COLUMNS // 2:
                bottom = max(bottom, _legend(sheet, tiles, note, (_column(COLUMNS // 2), y)))
            sheet.placed += placed
            y = round(bottom) + 24
    if sheet.panel is None:
        y = _legend(sheet, tiles, note, (MARGIN, y)) + 24
    y = _lines(sheet.texts, credit, (MARGIN, y), width=inner, style=CREDIT)
    sheet.height = y + MARGIN - 8
    return sheet


def _column(number: int) -> int:
    return MARGIN + number * (PHOTO_WIDTH + GAP)


def _place(tile: Tile, column: int, y: int) -> Placed:
    x, texts = _column(column), list[Text]()
    photo = Box(x, y, x + PHOTO_WIDTH, y + PHOTO_HEIGHT)
    badge = Box(x, photo.y1, photo.x1, photo.y1 + BADGE)
    word = (x + BADGE, round(photo.y1) + (BADGE - VERDICT.line_height) // 2)
    _lines(texts, tile.verdict, word, width=PHOTO_WIDTH - BADGE - 8, style=VERDICT, most=1)
    below = round(badge.y1) + 10
    below = _lines(texts, tile.name, (x, below), width=PHOTO_WIDTH, style=NAME, most=NAME_LINES)
    below = _lines(texts, tile.detail, (x, below), width=PHOTO_WIDTH, style=DETAIL, most=DETAIL_LINES)
    box = points = None
    if tile.face is not None:
        left, top, scale = window_of(tile.frame, tile.face, size=(PHOTO_WIDTH, PHOTO_HEIGHT))
        offset = np.array([x - left * scale, y - top * scale])
        ends = (np.asarray(tile.face.box_px).reshape(2, 2) + 0.5) * scale + offset
        box = Box(*(float(v) for v in ends.clip(photo[:2], photo[2:]).ravel()))
        if tile.face.landmarks_px is not None:
            points = ((tile.face.landmarks_px[:, :2] + 0.5) * scale + offset).astype(np.float32)
    return Placed(tile, Box(x, y, x + PHOTO_WIDTH, below), photo, badge, texts, box, points)


def _legend(sheet: Sheet, tiles: Sequence[Tile], note: str, corner: tuple[int, int]) -> int:
    """Place the legend between the corner and the right margin; return where it ends."""
    x, y = corner
    entries: list[tuple[Kind | str, str]] = [(k, k.value) for k in Kind if any(tile.kind is k for tile in tiles)]
    entries += [("box", "Corners: the face that the detector found")]
    entries += [("lines", "Thin lines: eyes, brows, lips, outline (468-point mesh)")]
    entries += [("note", note)] if note else []
    right, inside, below = WIDTH - MARGIN, x + 24 + BADGE + 14, y + 18
    for what, words in entries:
        sheet.samples.append((x + 24, below, what))
        style = NOTE if what == "note" else LEGEND
        top = (inside, below + (BADGE - style.line_height) // 2)
        below = max(below + BADGE, _lines(sheet.texts, words, top, width=right - 24 - inside, style=style)) + 10
    sheet.panel = Box(x, y, right, below + 8)
    return below + 8


def photo(tile: Tile) -> Image.Image:
    """The tile's photo without marks; what lies beyond the frame's edge is the panel's colour."""
    left, top, scale = window_of(tile.frame, tile.face, size=(PHOTO_WIDTH, PHOTO_HEIGHT))
    height, width = tile.frame.shape[:2]
    part = (max(left, 0.0), max(top, 0.0), min(left + PHOTO_WIDTH / scale, width),
            min(top + PHOTO_HEIGHT / scale, height))  # fmt: skip
    size = (max(1, round((part[2] - part[0]) * scale)), max(1, round((part[3] - part[1]) * scale)))
    image = Image.new("RGB", (PHOTO_WIDTH, PHOTO_HEIGHT), PANEL)
    shown = Image.fromarray(tile.frame).resize(size, Image.Resampling.LANCZOS, box=part)
    image.paste(shown, (round((part[0] - left) * scale), round((part[1] - top) * scale)))
    return image


def paint(sheet: Sheet) -> Image.Image:
    """The sheet as a picture."""
    image = Image.new("RGB", (WIDTH, sheet.height), PAPER)
    pen = ImageDraw.Draw(image)
    if sheet.panel is not None:
        pen.rounded_rectangle(sheet.panel, 12, fill=PANEL)
    for x, y, what in sheet.samples:
        colour = COLOURS[what] if isinstance(what, Kind) else WARNING if what == "note" else GRAY
        pen.rounded_rectangle((x, y, x + BADGE - 1, y + BADGE - 1), 8, fill=colour)
        _symbol(image, what, x, y)
    for place in sheet.placed:
        image.paste(photo(place.tile), (round(place.photo.x0), round(place.photo.y0)))
        _mark(image, place)
        colour = COLOURS[place.tile.kind]
        pen.rectangle((place.badge.x0, place.badge.y0, place.badge.x1 - 1, place.badge.y1 - 1), fill=colour)
        _symbol(image, place.tile.kind, place.badge.x0, place.badge.y0)
    for text in [*sheet.texts, *(text for place in sheet.placed for text in place.texts)]:
        write(image, (text.x, text.y), text.words, style=text.style)
    return image


def _mark(image: Image.Image, place: Placed) -> None:
    """Draw the mesh's contours and the box's corners on the photo."""
    if place.face is None:
        return
    if place.points is not None:
        lines = [[(float(x), float(y)) for x, y in place.points[list(path)]] for path in CONTOURS.values()]
        bright = float(np.asarray(image.crop(place.face).convert("L")).mean()) > BRIGHT
        stroke(image, place.photo, lines, colour=LINES[bright], width=LINE_WIDTH, opacity=LINE_OPACITY)
    stroke(image, place.photo, corners(place.face), colour=PAPER, width=4.5)
    stroke(image, place.photo, corners(place.face), colour=COLOURS[place.tile.kind], width=3)


def _symbol(image: Image.Image, what: Kind | str, x: float, y: float) -> None:
    """Draw what stands for a kind, or for another thing of the legend, as large as a badge is high."""
    lines = [[(x + BADGE * u, y + BADGE * v) for u, v in line] for line in SYMBOLS[what]]
    stroke(image, Box(x, y, x + BADGE, y + BADGE), lines, colour=PAPER, width=4.5 if isinstance(what, Kind) else 3)


# Lines in a square of side 1.
SYMBOLS: dict[Kind | str, list[Line]] = {
    Kind.ENROLLED: [arc((0.5, 0.36), 0.14), [*arc((0.5, 0.84), 0.28, degrees=(180, 360)), (0.22, 0.84)]],
    Kind.MATCH: [[(0.24, 0.54), (0.42, 0.72), (0.77, 0.3)]],
    Kind.NON_MATCH: [[(0.28, 0.28), (0.72, 0.72)], [(0.28, 0.72), (0.72, 0.28)]],
    Kind.REFUSED: [
        [(0.25, 0.46), (0.75, 0.46), (0.75, 0.78), (0.25, 0.78), (0.25, 0.46)],
        [(0.36, 0.46), *arc((0.5, 0.34), 0.14, degrees=(180, 360)), (0.64, 0.46)],
    ],
    "box": corners((0.22, 0.22, 0.78, 0.78), part=0.36),
    "lines": [[*arc((0.5, 0.78), 0.42, degrees=(222, 318)), *arc((0.5, 0.22), 0.42, degrees=(42, 138))]],
    "note": [
        [(0.5, 0.16), (0.86, 0.8), (0.14, 0.8), (0.5, 0.16)],
        [(0.5, 0.4), (0.5, 0.57)],
        [(0.5, 0.69), (0.5, 0.69)],
    ],
}


def _lines(texts: list[Text], words: str, corner: tuple[int, int], *, width: int, style: Style, most: int = 99) -> int:
    """Add the words in as many lines as they need, at most so many; return where the next line would start."""
    x, y = corner
    for line in wrap(words, style, width=width, most=most):
        texts.append(Text(x, y, line, style))
        y += style.line_height
    return y
