"""Commands in front of a camera: a folder of frames stands in for one. Whatever ends a watch, it ends locked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_tools import FACESDK
from cli_tools import options as options  # the fixture
from PIL import Image
from session_tools import camera, head

from facesdk.cli import main
from facesdk.liveness.simulator.scenes import LiveHead, Scene, still

SEEN = LiveHead(head("biden"), still(), still(0, 0, 50))


def folder(path: Path, *parts: tuple[Scene, int]) -> Path:
    """Frames of each scene, so many of them; of one scene every frame has noise of its own."""
    path.mkdir()
    number = 0
    for scene, count in parts:
        kept = [scene.render(0.0, camera(seed)) for seed in range(3)]
        for i in range(count):
            file = path / f"{number:05}.jpg"
            if i < len(kept):
                Image.fromarray(kept[i]).save(file, quality=92)
            else:
                os.link(path / f"{number - len(kept):05}.jpg", file)
            number += 1
    return path


@pytest.fixture
def enrolled(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    poses = ((0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, -9, 0), (0, 8, 0))
    pictures = []
    for number, pose in enumerate(poses):
        file = tmp_path / f"enroll{number}.png"
        Image.fromarray(LiveHead(head("biden"), still(*pose)).render(0.0, camera(50 + number))).save(file)
        pictures.append(str(file))
    assert main(["enroll", *options, *pictures]) == 0
    capsys.readouterr()
    return options


def writes(path: Path, word: str) -> str:
    return f"{sys.executable} -c \"open({str(path)!r}, 'a').write({word!r})\""


def test_verify_with_a_camera_answers_as_with_pictures(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 30))
    words = ["verify", *enrolled, "--camera", str(frames), "--liveness", "none", "--view", "text", "--json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["match"], answer["decision"], answer["assurance"]) == (True, "match", "none")


def test_a_recording_that_nobody_follows_in_does_not_open(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 90))
    assert main(["verify", *enrolled, "--camera", str(frames), "--view", "text", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["decision"], answer["assurance"]) == ("not_completed", "none")


def test_pictures_and_a_camera_together_are_refused(enrolled: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("verify", "enroll"):
        with pytest.raises(SystemExit) as caught:
            main([command, *enrolled, "a.jpg", "--camera", "0"])
        assert caught.value.code == 2
        assert "either pictures or --camera" in capsys.readouterr().err


def test_enrolling_what_does_not_turn_comes_to_nothing(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 40))
    assert main(["enroll", *options, "--camera", str(frames), "--view", "text", "--yes"]) == 1
    assert "not enrolled: the camera gave no more pictures" in capsys.readouterr().err
    assert main(["verify", *options, str(frames / "00000.jpg")]) == 3


def test_a_watch_runs_its_commands_when_the_owner_comes_and_goes(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (Scene(), 10), (SEEN, 40), (Scene(), 90))
    log = tmp_path / "log"
    words = ["watch", *enrolled, "--camera", str(frames), "--liveness", "none", "--view", "text", "--leave-after", "1"]
    assert main([*words, "--on-match", writes(log, "open "), "--on-leave", writes(log, "shut "), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["arrived", "matched", "left"]
    assert log.read_text() == "open shut "


def test_a_watch_whose_camera_ends_while_the_owner_is_there_ends_locked(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 30))
    log = tmp_path / "log"
    words = ["watch", *enrolled, "--camera", str(frames), "--liveness", "none", "--view", "text"]
    assert main([*words, "--on-match", writes(log, "open "), "--on-leave", writes(log, "shut ")]) == 0
    assert log.read_text() == "open shut "
    capsys.readouterr()


@pytest.mark.parametrize("command", ["no-such-program here", "'quote"])
def test_a_command_that_cannot_run_is_said_before_anybody_comes(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 3))
    assert main(["watch", *enrolled, "--camera", str(frames), "--on-match", command]) == 2
    assert "--on-match" in capsys.readouterr().err


def test_a_command_that_fails_is_said_and_the_watch_goes_on(
    enrolled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = folder(tmp_path / "frames", (SEEN, 30))
    words = ["watch", *enrolled, "--camera", str(frames), "--liveness", "none", "--view", "text"]
    assert main([*words, "--on-match", "false"]) == 0
    assert "--on-match: false ended with 1" in capsys.readouterr().err


STATES = {  # what the camera sees, after which event the signal comes
    "seeking": ((Scene(), 2500), None),
    "looking": ((SEEN, 2500), "arrived"),
    "matched": ((SEEN, 2500), "matched"),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("state", STATES)
def test_whatever_ends_a_watch_it_ends_locked(
    enrolled: list[str], tmp_path: Path, state: str, number: signal.Signals
) -> None:
    part, event = STATES[state]
    frames, log = folder(tmp_path / "frames", part), tmp_path / "log"
    words = [
        *FACESDK, "watch", *enrolled, "--camera", str(frames), "--view", "text",
        "--liveness", "none" if state == "matched" else "challenge",
        "--on-match", writes(log, "open "), "--on-leave", writes(log, "shut "),
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        if event is None:
            time.sleep(2.0)  # long enough to be in the middle of its frames
        else:
            assert watch.stdout is not None
            for line in watch.stdout:
                if line.startswith(event):
                    break
        watch.send_signal(number)
        _, said = watch.communicate(timeout=60)
    assert watch.returncode == 0, said
    assert (log.read_text() if log.exists() else "") == ("open shut " if state == "matched" else "")


def test_a_closed_output_ends_a_watch_locked(enrolled: list[str], tmp_path: Path) -> None:
    frames, log = folder(tmp_path / "frames", (SEEN, 30), (Scene(), 120), (SEEN, 400)), tmp_path / "log"
    words = [
        *FACESDK, "watch", *enrolled, "--camera", str(frames), "--view", "text", "--liveness", "none",
        "--leave-after", "1", "--on-match", writes(log, "open "), "--on-leave", writes(log, "shut "),
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith("arrived")
        watch.stdout.close()
        watch.wait(timeout=60)
    ran = log.read_text().split() if log.exists() else []
    assert ran in ([], ["shut"], ["open", "shut"], ["open", "shut", "shut"])
