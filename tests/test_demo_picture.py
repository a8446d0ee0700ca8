"""The files that the demo and the board's measurement make: none takes the place of one that is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from facesdk.cli import main
from facesdk.cli.new_file import new_path
from facesdk.errors import UsageError

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
