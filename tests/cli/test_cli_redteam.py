"""facesdk redteam: pictures are written only where somebody said so; a recording is judged and reported on."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesdk.cli import main

RECORD = ["redteam", "record", "--species", "print"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """What a camera might see of a wall."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(np.full((96, 96, 3), 60 + number, np.uint8)).save(folder / f"{number:03}.png")
    return folder


def test_nothing_is_recorded_unless_somebody_says_yes(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RECORD, "--camera", str(pictures), str(tmp_path / "test")]) == 2
    said = capsys.readouterr().err
    assert "writes pictures: every frame" in said
    assert str(tmp_path / "test") in said
    assert "--yes" in said
    assert not (tmp_path / "test").exists()


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_whoever_is_asked_must_say_yes(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("facesdk.cli.secrets.at_terminal", lambda: True)
    monkeypatch.setattr("facesdk.cli.secrets.ask", lambda _question: answer)
    assert main([*RECORD, "--camera", str(pictures), str(tmp_path / "test")]) == 2
    assert not (tmp_path / "test").exists()


@pytest.mark.parametrize(("words", "said"), [(["--species", "photo"], "no species"), (["--person", "a b"], "person"),
                                             (["--count", "0"], "--count")])  # fmt: skip
def test_words_that_do_not_fit_make_no_folder(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main([*RECORD, *words, "--yes", "--camera", str(pictures), str(tmp_path / "test")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "test").exists()


def test_from_the_camera_to_the_report(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    if importlib.util.find_spec("facesdk.views") is None:
        pytest.skip("nothing shows prompts: facesdk.views is not there")
    pytest.importorskip("matplotlib", reason="the extra `eval` is not installed")
    test = tmp_path / "test"
    record = [*RECORD, "--yes", "--json", "--view", "text", "--count", "2", "--camera", str(pictures), str(test)]
    assert main(record) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == [
        {"clip": "print-0001", "frames": 20}, {"clip": "print-0002", "frames": 20},
    ]  # fmt: skip
    assert main(["redteam", "run", "--json", str(test)]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == 8
    assert main(["redteam", "run", str(test)]) == 0
    assert "0 sessions judged, of 2 clips" in capsys.readouterr().out
    assert main(["redteam", "report", str(test)]) == 0
    assert "No attack got an answer" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "test"]


def test_a_key_without_a_user_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test" / "print").mkdir(parents=True)
    assert main(["redteam", "run", "--key-file", str(tmp_path / "key"), str(tmp_path / "test")]) == 2
    assert "--user" in capsys.readouterr().err


def test_a_folder_without_clips_says_what_makes_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test" / "print").mkdir(parents=True)
    assert main(["redteam", "run", str(tmp_path / "test")]) == 2
    assert "facesdk redteam record" in capsys.readouterr().err
    assert main(["redteam", "report", str(tmp_path / "test")]) == 2
    assert "facesdk redteam run" in capsys.readouterr().err
