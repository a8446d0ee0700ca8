"""The demo's picture: everything on it is right, within its room and legible. And the files that the demo and the
board's measurement make: none takes the place of one that is there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image, ImageFont

from facesdk import Engine, FaceVerifier, Guidance, Outcome
from facesdk.cli import main
from facesdk.cli.new_file import new_path
from facesdk.errors import UsageError
from facesdk.evaluation import contact_sheet, demo, framing, pen
from facesdk.evaluation.contact_sheet import COLOURS, Box, Kind, Placed, Sheet, Tile
from facesdk.evaluation.contours import CONTOURS
from facesdk.portraits.credits import credit_line, credits
from facesdk.types import Decision, Face

BOARD = ["bench", "--board", "--emulated"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_free_name_is_taken(here: Path) -> None:
    wanted = Path("facesdk-demo.png")
    for expected in ("facesdk-demo.png", "facesdk-demo-2.png", "facesdk-demo-3.png"):
        path = new_path(None, wanted, option="--picture")
        assert path == Path(expected)
        path.touch()
    (here / "facesdk-demo-2.png").unlink()
    assert new_path(None, wanted, option="--picture") == Path("facesdk-demo-2.png")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to nothing"])
def test_a_named_path_that_is_taken_is_refused(kind: str, here: Path) -> None:
    path = here / "mine.png"
    assert new_path(path, Path("unused"), option="--picture") == path
    (here / "other").touch()
    make = {
        "file": path.touch, "folder": path.mkdir, "link": lambda: path.symlink_to(here / "other"),
        "link to nothing": lambda: path.symlink_to(here / "none"),
    }  # fmt: skip
    make[kind]()
    with pytest.raises(UsageError, match=r"exists already.*--picture"):
        new_path(path, Path("unused"), option="--picture")


def test_the_demo_keeps_what_is_there_and_says_where_it_draws(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    with Image.open(here / "facesdk-demo.png") as image:
        assert image.format == "PNG"
    assert "exists already" not in capsys.readouterr().err
    (here / "facesdk-demo.png").write_text("mine\n")
    assert main(["demo", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "facesdk-demo.png exists already and stays: the drawing goes to facesdk-demo-2.png\n"
    assert json.loads(out)["picture"] == "facesdk-demo-2.png"
    assert (here / "facesdk-demo.png").read_text() == "mine\n"
    with Image.open(here / "facesdk-demo-2.png") as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("words", [["demo", "--picture"], [*BOARD, "--out"]])
def test_a_named_file_that_is_there_ends_the_command_before_its_work(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = here / "facesdk-demo.png"
    mine.write_text("mine\n")
    assert main([*words, str(mine)]) == 2
    out, err = capsys.readouterr()
    assert (out, mine.read_text()) == ("", "mine\n")
    assert err == f"error: {mine} exists already, and nothing is overwritten: {words[-1]} names another file\n"


def test_a_file_that_comes_while_the_demo_works_stays(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)
    (here / "mine.png").write_text("mine\n")
    assert main(["demo", "--picture", "mine.png"]) == 1
    assert "mine.png cannot be written (File exists)" in capsys.readouterr().out
    assert (here / "mine.png").read_text() == "mine\n"


def test_the_boards_file_has_a_free_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "facesdk-board.json").write_text("mine\n")
    assert main(BOARD) == 0
    assert "written to facesdk-board-2.json" in capsys.readouterr().out
    assert (here / "facesdk-board.json").read_text() == "mine\n"
    assert json.loads((here / "facesdk-board-2.json").read_text())


# The picture.

LONG = "Maria del Carmen Wolfeschlegelsteinhausenbergerdorff-Montgomery of the House of Sax\u00e9-Coburg, \u6771\u4eac"
NAMES = [Path(name).stem for name in (*demo.OWNER, demo.LATER, *demo.OTHERS)]


@pytest.fixture
def without_freetype(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "core", None)
    monkeypatch.setattr(ImageFont.FreeTypeFont, "__init__", refuse)
    pen._font.cache_clear()
    yield
    pen._font.cache_clear()


@pytest.fixture(scope="module")
def faces(engine: Engine) -> dict[str, Face]:
    return {name: engine.sample(portrait(name)).face for name in NAMES}


def tiles_of(faces: dict[str, Face], name: str = "") -> list[Tile]:
    kinds = [*Kind, *[Kind.NON_MATCH] * 5]
    return [
        Tile(portrait(n), faces[n], name or f"Somebody, {n[-4:]}", name or k.name.lower(), k, detail=name or "a reason",
             group=("first", "second")[i > 2])
        for i, (n, k) in enumerate(zip(NAMES, kinds, strict=True))
    ]  # fmt: skip


def arranged(tiles: list[Tile], words: str = "some words") -> Sheet:
    return contact_sheet.arrange(tiles, title=words, subtitle=words, note=words, credit=words * 5)


def within(inner: Box, outer: Box) -> bool:
    return inner.x0 >= outer.x0 and inner.y0 >= outer.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def apart(one: Box, other: Box) -> bool:
    return one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def cut(image: Image.Image, box: Box) -> np.ndarray:
    return np.asarray(image.crop(tuple(round(v) for v in box))).astype(int)


def every_room_is_kept(sheet: Sheet) -> None:
    page = Box(contact_sheet.MARGIN, 0, contact_sheet.WIDTH - contact_sheet.MARGIN, sheet.height)
    for place in sheet.placed:
        assert within(place.cell, page)
        for text in place.texts:
            assert within(text.box, place.cell), text
            assert apart(text.box, place.photo)
    texts = [*sheet.texts, *(text for place in sheet.placed for text in place.texts)]
    assert all(within(text.box, page) for text in texts)
    assert all(apart(a.box, b.box) for a, b in combinations(texts, 2))
    assert all(apart(a.cell, b.cell) for a, b in combinations(sheet.placed, 2))
    assert sheet.panel is not None
    assert within(sheet.panel, page)
    assert all(apart(place.cell, sheet.panel) for place in sheet.placed)
    assert all(apart(text.box, sheet.panel) or within(text.box, sheet.panel) for text in texts)


@pytest.mark.parametrize("words", ["", LONG, "x" * 300, "i"])
def test_text_stays_in_its_tile(words: str, faces: dict[str, Face]) -> None:
    every_room_is_kept(arranged(tiles_of(faces, words), words or "some words"))


@pytest.mark.parametrize("words", ["", LONG])
@pytest.mark.usefixtures("without_freetype")
def test_text_stays_in_its_tile_without_freetype(words: str, faces: dict[str, Face]) -> None:
    assert not pen.scalable()
    sheet = arranged(tiles_of(faces, words), words or "some words")
    every_room_is_kept(sheet)
    contact_sheet.paint(sheet)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 9])
def test_a_sheet_of_any_number_of_tiles_has_its_legend(count: int, faces: dict[str, Face]) -> None:
    tiles = [replace(tile, group="") for tile in tiles_of(faces)[:count]]
    sheet = arranged(tiles)
    every_room_is_kept(sheet)
    assert [place.tile for place in sheet.placed] == tiles
    assert {what for _, _, what in sheet.samples if isinstance(what, Kind)} == {tile.kind for tile in tiles}


def ink(words: str, style: pen.Style) -> tuple[int, int, int, int]:
    """Where there is ink when the words are written at (50, 50)."""
    image = Image.new("RGB", (900, 200), "#808080")
    pen.write(image, (50, 50), words, style=style)
    changed = np.any(np.asarray(image) != 0x80, axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def letters_are_right(sheet: Sheet) -> None:
    texts = [*sheet.texts, *(text for place in sheet.placed for text in place.texts)]
    for style in {text.style for text in texts}:
        _, top, _, bottom = ink("H", style)
        assert (bottom - top) * 1200 / contact_sheet.WIDTH >= 12, style
        for words in ("Emmanuel Macron, 2025", "(jgpqy) Wolf"):
            x0, y0, x1, y1 = ink(words, style)
            assert x0 >= 49
            assert x1 <= 50 + pen.width_of(words, style) + 1
            assert y0 >= 50
            assert y1 <= 50 + style.line_height + 1


def test_letters_are_legible_at_1200_pixels_and_as_large_as_is_measured(faces: dict[str, Face]) -> None:
    letters_are_right(arranged(tiles_of(faces)))


@pytest.mark.usefixtures("without_freetype")
def test_letters_are_legible_without_freetype(faces: dict[str, Face]) -> None:
    letters_are_right(arranged(tiles_of(faces)))


def test_words_are_broken_into_lines_and_none_is_lost() -> None:
    style = pen.Style(24, "#000000")
    words = "one two three four five six seven eight nine ten"
    lines = pen.wrap(words, style, width=150)
    assert " ".join(lines) == words
    assert len(lines) > 2
    first, last = pen.wrap(words, style, width=150, most=2)
    assert first == lines[0]
    assert last.endswith("...")
    assert lines[1].startswith(last[:-3])
    assert "".join(pen.wrap("m" * 50, style, width=150)) == "m" * 50
    assert pen.wrap(" \n ", style, width=150) == []
    assert pen.wrap("Ren\u00e9 \u017d\u6771", style, width=400) == ["Rene Z?"]


def luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_badge_has_its_verdicts_colour_words_and_a_symbol_of_its_own(faces: dict[str, Face]) -> None:
    sheet = arranged(tiles_of(faces))
    image = contact_sheet.paint(sheet)
    symbols = {}
    for place in sheet.placed:
        badge = cut(image, place.badge)
        colour = COLOURS[place.tile.kind]
        assert "#" + bytes(int(v) for v in badge[-2, -2]).hex() == colour
        assert (badge == badge[-2, -2]).all(axis=2).mean() > 0.6
        assert place.texts[0].words == place.tile.verdict
        symbol = (badge[:, : contact_sheet.BADGE] > 240).all(axis=2)
        assert 0.05 < symbol.mean() < 0.4
        symbols[place.tile.kind] = symbol
    assert set(symbols) == set(Kind)
    assert all((a != b).mean() > 0.05 for a, b in combinations(symbols.values(), 2))
    assert len(set(COLOURS.values())) == len(Kind)
    for colour in (*COLOURS.values(), contact_sheet.WARNING, contact_sheet.GRAY):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, "white letters need this contrast (WCAG 2, AA)"


def test_each_face_lies_in_its_photo_at_the_same_scale(faces: dict[str, Face]) -> None:
    for place in arranged(tiles_of(faces)).placed:
        assert place.face is not None
        assert place.points is not None
        assert within(place.face, place.photo)
        assert within(place.photo, place.cell)
        assert min(place.face.x0 - place.photo.x0, place.photo.x1 - place.face.x1) > 20
        assert place.face.y0 - place.photo.y0 > 30, "there is a head above the face"
        assert place.photo.y1 - place.face.y1 > 50, "and shoulders below"
        height = np.linalg.norm(place.points[10] - place.points[152])
        assert height == pytest.approx(framing.FACE_PART * contact_sheet.PHOTO_HEIGHT, rel=0.01)


def test_the_photo_shows_what_lies_at_the_place_of_the_points(engine: Engine, faces: dict[str, Face]) -> None:
    """The face that is found on the finished photo is where the sheet says that it is."""
    for place in arranged(tiles_of(faces)).placed:
        found = engine.sample(np.asarray(contact_sheet.photo(place.tile)))
        assert found is not None
        assert place.points is not None
        assert found.face.landmarks_px is not None
        moved = found.face.landmarks_px[:, :2] + 0.5 + np.array(place.photo[:2]) - place.points
        assert np.abs(np.median(moved, axis=0)).max() < 1.5
        assert np.linalg.norm(moved, axis=1).mean() < 4


def test_the_contours_run_around_what_they_are_called_after(faces: dict[str, Face]) -> None:
    for face in faces.values():
        assert face.landmarks_px is not None
        right_eye, left_eye, nose, mouth, *_ = face.keypoints_px
        unit = np.linalg.norm(left_eye - right_eye)
        middle = {n: face.landmarks_px[list(p[:-1]), :2].mean(axis=0) for n, p in CONTOURS.items()}
        for name, keypoint in (("right eye", right_eye), ("left eye", left_eye), ("lips", mouth), ("mouth", mouth)):
            assert np.linalg.norm(middle[name] - keypoint) < 0.25 * unit, name
        for side in ("right", "left"):
            above = middle[f"{side} eye"] - middle[f"{side} brow"]
            assert 0.1 * unit < above[1] < 0.7 * unit
            assert abs(above[0]) < 0.25 * unit
        assert np.linalg.norm(middle["oval"] - nose) < 0.6 * unit
        for name, path in CONTOURS.items():
            assert path[0] == path[-1]
            steps = np.linalg.norm(np.diff(face.landmarks_px[list(path), :2], axis=0), axis=1)
            assert steps.max() < 0.6 * unit, f"{name} leaps"


def test_marks_do_not_hide_the_face(faces: dict[str, Face]) -> None:
    sheet = arranged(tiles_of(faces))
    image = contact_sheet.paint(sheet)
    for place in sheet.placed:
        assert place.face is not None
        bare = Image.new("RGB", image.size)
        bare.paste(contact_sheet.photo(place.tile), (round(place.photo.x0), round(place.photo.y0)))
        changed = np.abs(cut(image, place.face) - cut(bare, place.face)).max(axis=2)
        assert 0.04 < (changed > 0).mean() <= 0.12
        assert place.points is not None
        drawn = np.abs(cut(image, place.photo) - cut(bare, place.photo)).max(axis=2)
        eye = place.points[list(CONTOURS["right eye"])] - np.array(place.photo[:2])
        assert np.mean([drawn[int(y), int(x)] > 0 for x, y in eye]) > 0.9


def place_of(tile: Tile) -> Placed:
    return arranged([tile]).placed[0]


@pytest.mark.parametrize(
    "box", [(-60, -40, 120, 140), (520, 380, 700, 560), (0, 0, 640, 480), (300, 200, 306, 206), (-9, 100, 900, 400)]
)
@pytest.mark.parametrize("size", [(480, 640), (90, 640), (480, 60), (1, 1)])
def test_a_face_at_the_edge_stays_in_its_photo(box: tuple[int, ...], size: tuple[int, int], faces) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    face = replace(faces[NAMES[0]], box_px=np.array(box, np.float32), landmarks_px=None)
    place = place_of(Tile(frame, face, "somebody", "match", Kind.MATCH))
    assert place.face is not None
    assert within(place.face, place.photo)
    contact_sheet.paint(arranged([place.tile]))


def test_a_picture_without_a_face_is_shown_without_marks() -> None:
    tile = Tile(portrait(NAMES[0]), None, "nobody", "no face", Kind.REFUSED)
    sheet = arranged([tile])
    place = sheet.placed[0]
    assert (place.face, place.points) == (None, None)
    shown = cut(contact_sheet.paint(sheet), place.photo)
    assert np.array_equal(shown, np.asarray(contact_sheet.photo(tile)))


def test_nothing_is_overwritten(tmp_path: Path, faces: dict[str, Face]) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet.draw(path, tiles_of(faces), title="a title")
    with Image.open(path) as image:
        assert (image.format, image.width) == ("PNG", 1600)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        contact_sheet.draw(path, tiles_of(faces), title="another title")
    assert path.read_bytes() == before


# What the demo puts on it.


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the demo gives to the sheet, which is not drawn."""
    given: dict[str, object] = {}

    def draw(path: Path, tiles: list[Tile], **words: str) -> None:
        given.update(tiles=tiles, **words)

    monkeypatch.setattr(contact_sheet, "draw", draw)
    return given


def test_the_demo_shows_what_the_run_said(handed_over, tmp_path: Path) -> None:
    lines: list[str] = []
    assert demo.run_demo(lines.append, picture=tmp_path / "unused.png")
    tiles = handed_over["tiles"]
    shown = [(tile.name, tile.verdict, tile.kind) for tile in tiles]
    assert shown == [
        ("Barack Obama, 2005", "Enrolled", Kind.ENROLLED),
        ("Barack Obama, 2009", "Enrolled", Kind.ENROLLED),
        ("Barack Obama, 2012", "Match", Kind.MATCH),
        ("Joe Biden", "Non-match", Kind.NON_MATCH),
        ("Emmanuel Macron, 2025", "Non-match", Kind.NON_MATCH),
        ("Rishi Sunak", "Non-match", Kind.NON_MATCH),
        ("Jacinda Ardern, 2022", "Non-match", Kind.NON_MATCH),
        ("Eileen Collins", "Non-match", Kind.NON_MATCH),
        ("Grace Hopper", "Refused", Kind.REFUSED),
    ]
    assert all(any(tile.detail in line for line in lines) for tile in tiles if tile.kind is not Kind.ENROLLED)
    assert "no liveness check: a photograph of the owner passes, as one does here" in handed_over["note"]
    assert [tile.group for tile in tiles].count("The owner") == 3


@pytest.mark.parametrize("decision", [Decision.NON_MATCH, Decision.MATCH, Decision.POOR_QUALITY])
def test_the_demo_shows_also_what_should_not_have_come(
    decision: Decision, handed_over, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(decision, "because it says so", Guidance.NONE, 1.0)
    monkeypatch.setattr(FaceVerifier, "verify", lambda self, user, frames: outcome)
    assert not demo.run_demo(lambda line: None, picture=tmp_path / "unused.png")
    kinds = {tile.kind for tile in handed_over["tiles"][2:]}
    expected = {Decision.NON_MATCH: Kind.NON_MATCH, Decision.MATCH: Kind.MATCH}.get(decision, Kind.REFUSED)
    assert kinds == {expected}
    assert {tile.detail for tile in handed_over["tiles"][2:]} == {"because it says so"}
    assert ("as one does here" in handed_over["note"]) is (decision is Decision.MATCH)


@pytest.mark.usefixtures("without_freetype")
def test_the_demo_draws_without_freetype_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    assert demo.run_demo(lines.append, picture=tmp_path / "demo.png")
    assert any("no FreeType" in line for line in lines)
    with Image.open(tmp_path / "demo.png") as image:
        assert image.width == 1600


def test_every_portrait_has_its_credit_on_the_picture(handed_over, tmp_path: Path) -> None:
    rows = credits()
    assert set(rows) == {path.name for path in PORTRAITS.iterdir() if path.suffix in (".jpg", ".png")}
    assert rows["sunak.jpg"] == ("Rishi Sunak", "CC BY 3.0", "Chris McAndrew")
    assert rows["biden.jpg"] == ("Joe Biden", "public domain", "White House")
    line = credit_line(rows.values())
    assert all(f"{row.caption} ({row.author})" in line for row in rows.values())
    for address in ("by/3.0", "by-sa/3.0/fr", "by-sa/4.0"):
        assert f"(creativecommons.org/licenses/{address})" in line
    assert "drawn on" in line, "the licences ask to say that they were changed"
    demo.run_demo(lambda line: None, picture=tmp_path / "unused.png")
    assert handed_over["credit"] == credit_line([rows[name] for name in (*demo.OWNER, demo.LATER, *demo.OTHERS)])
