"""What newcomers and attackers came upon at the command line before a camera."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_tools import options as options  # the fixture
from test_camera_commands import SEEN, folder, writes
from test_camera_commands import enrolled as enrolled  # the fixture

from facesdk.cli import main


@pytest.mark.parametrize(
    "words", [["--liveness", "challenge"], ["--liveness", "passive"], ["--challenge", "dot"], ["--view", "text"]]
)
def test_pictures_do_not_pass_for_somebody_alive(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    picture = str(folder(tmp_path / "frames", (SEEN, 1)) / "00000.jpg")
    assert main(["verify", *enrolled, picture]) == 0
    with pytest.raises(SystemExit) as caught:
        main(["verify", *enrolled, picture, *words])
    assert caught.value.code == 2
    assert "pictures say nothing about life" in capsys.readouterr().err


def test_an_empty_name_is_no_camera(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder(tmp_path / "frames", (SEEN, 20)))
    assert main(["verify", *enrolled, "--camera", "", "--liveness", "none"]) == 2
    assert "--camera is empty" in capsys.readouterr().err


def test_a_lock_while_the_owner_is_there_ends_what_the_match_opened(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = enrolled[enrolled.index("--vault") + 1]
    frames, log = folder(tmp_path / "frames", (SEEN, 120)), tmp_path / "log"
    script = tmp_path / "lock.py"
    code = (
        "import sys; sys.argv[1:] = ['panic', '--vault', {!r}]\nfrom facesdk.__main__ import run; run()\n"
        "open({!r}, 'a').write('open ')\n"
    )
    script.write_text(code.format(vault, str(log)))
    import sys

    words = ["watch", *enrolled, "--camera", str(frames), "--liveness", "none", "--view", "text", "--json"]
    matched = f"{sys.executable} {script}"
    assert main([*words, "--on-match", matched, "--on-leave", writes(log, "shut ")]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"event"' in line]
    assert [event["event"] for event in events][:4] == ["arrived", "matched", "left", "passphrase_required"]
    assert log.read_text() == "open shut "


def test_what_a_terminal_would_obey_is_shown_and_not_sent(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "9\x1b]0;pwn\x07.png"
    bad.write_bytes(b"no picture")
    assert main(["verify", *enrolled, str(bad)]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\\x1b]0;pwn\\x07" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root cannot make another's home")
def test_root_does_not_make_folders_of_models_in_another_user_s_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    file = tmp_path / "x.pth"
    file.write_bytes(b"x")
    assert main(["models", "add", str(file)]) == 6
    assert "no folder of models is made there" in capsys.readouterr().err
    assert list(home.iterdir()) == []
