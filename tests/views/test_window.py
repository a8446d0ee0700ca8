"""The window: a mirror, with what it draws where it belongs; on a display of SDL's own and under Xvfb."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesdk.camera import CapturedFrame
from facesdk.errors import AcceleratorError
from facesdk.types import Guidance, Progress, Prompt, SessionPhase
from facesdk.views import WindowView, open_view
from facesdk.views.drawing import BACKGROUND, DOT, RING, draw, fitted
from facesdk.views.sound import RATE_HZ, samples

pygame = pytest.importorskip("pygame", reason="pygame-ce (extra window) is not installed")
SIZE = (320, 240)
PROGRAM = """
import sys
from facesdk.views import open_view
try:
    with open_view("window") as view:
        print("open", flush=True)
        while not view.closed:
            view._ended.wait(0.05)
        print("closed", flush=True)
finally:
    print("last step", flush=True)
"""


@pytest.fixture(autouse=True)
def own_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")


@pytest.fixture
def screen() -> Iterator[pygame.Surface]:
    pygame.display.init()
    pygame.font.init()
    yield pygame.display.set_mode(SIZE)
    pygame.display.quit()


def frame(*, gray: bool = False) -> CapturedFrame:
    """Dark, with a white mark in its upper left."""
    image = np.zeros((120, 160) if gray else (120, 160, 3), np.uint8)
    image[:30, :40] = 255
    return CapturedFrame(image, 0.0, "test")


def challenge(x: float, y: float, fraction: float = 0.0, box: tuple[float, ...] | None = None) -> Progress:
    box_px = None if box is None else np.array(box, np.float32)
    return Progress(SessionPhase.CHALLENGE, prompt=Prompt("Follow.", x, y), fraction=fraction, box_px=box_px)


@pytest.mark.parametrize("gray", [False, True])
def test_the_picture_is_mirrored(screen: pygame.Surface, gray: bool) -> None:
    draw(pygame, screen, Progress(SessionPhase.SEEK), frame(gray=gray))
    assert screen.get_at((310, 10))[:3] == (255, 255, 255)
    assert screen.get_at((10, 10))[:3] == (0, 0, 0)


def test_the_dot_is_where_the_prompt_is_and_not_while_something_is_in_the_way(screen: pygame.Surface) -> None:
    draw(pygame, screen, challenge(0.25, 0.5), frame())
    assert screen.get_at((80, 120))[:3] == DOT
    draw(pygame, screen, Progress(SessionPhase.SEEK, Guidance.COME_CLOSER, Prompt("", 0.25, 0.5)), frame())
    assert screen.get_at((80, 120))[:3] != DOT
    draw(pygame, screen, challenge(0.25, 0.5), None)
    assert screen.get_at((80, 120))[:3] == DOT, "without a picture too"


def test_the_ring_fills_clockwise_around_the_mirrored_face(screen: pygame.Surface) -> None:
    box = (30.0, 40.0, 70.0, 80.0)  # its middle is at x 50 of 160, mirrored at 110: 220 of 320; 120 of 240
    draw(pygame, screen, challenge(0.05, 0.05, 0.5, box), frame())
    radius = round(0.75 * 40 * 2)
    assert screen.get_at((220 + radius, 120))[:3] == RING
    assert screen.get_at((220 - radius, 120))[:3] != RING
    draw(pygame, screen, challenge(0.05, 0.05, 1.0, box), frame())
    assert screen.get_at((220 - radius, 120))[:3] == RING
    draw(pygame, screen, challenge(0.05, 0.05, 0.5, (np.nan,) * 4), frame())
    assert screen.get_at((220 + radius, 120))[:3] != RING, "a box that is no place has none"


def test_the_sentence_stands_at_the_bottom_in_lines_that_fit(screen: pygame.Surface) -> None:
    draw(pygame, screen, Progress(SessionPhase.SEEK, Guidance.HOLD_UPRIGHT), None)
    picture = pygame.surfarray.array3d(screen)
    white = np.argwhere((picture > 200).all(axis=2))
    assert len(white) > 300
    assert white[:, 0].min() > 2
    assert white[:, 0].max() < SIZE[0] - 2
    assert white[:, 1].min() > SIZE[1] * 0.6
    assert tuple(picture[5, 5]) == BACKGROUND


def test_a_picture_keeps_its_proportions() -> None:
    assert fitted((640, 480), (960, 720)) == (0, 0, 960, 720)
    assert fitted((640, 480), (1920, 720)) == (480, 0, 960, 720)
    assert fitted((1, 10_000), (10, 10)) == (4, 0, 1, 10)


def test_showing_only_hands_over_and_closing_twice_is_once() -> None:
    with open_view("window", sound=True) as view:
        begin_s = time.perf_counter()
        for number in range(200):
            view.show(challenge(0.5, 0.5, number / 200), frame())
        per_frame_s = (time.perf_counter() - begin_s) / 200
        assert not view.closed
    assert per_frame_s < 0.005
    assert view.closed
    view.close()
    view.show(challenge(0.5, 0.5), frame())


def test_closing_the_window_is_a_flag() -> None:
    with WindowView() as view:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
        end_s = time.monotonic() + 10
        while not view.closed and time.monotonic() < end_s:
            time.sleep(0.01)
        assert view.closed
        view.show(challenge(0.5, 0.5), frame())


def test_a_display_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(AcceleratorError, match="no window can be opened"):
        open_view("window")
    assert "SDL_NO_SIGNAL_HANDLERS" not in os.environ


def test_the_tone_begins_and_ends_softly() -> None:
    wave = np.frombuffer(samples(), np.int16)
    assert 0.1 * RATE_HZ < len(wave) < RATE_HZ
    assert abs(wave[[0, -1]]).max() < 200 < abs(wave).max()


def test_sdl_is_the_one_that_is_installed(tmp_path: Path) -> None:
    """SDL says on stderr that it cannot load the library that the variable names, where it gets to see it."""
    for code, seen in (("import pygame", True), ("from facesdk.views.window import load_pygame; load_pygame()", False)):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "SDL_DYNAMIC_API": str(tmp_path / "evil.so")},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("evil.so" in done.stderr or "SDL_DYNAMIC_API" in done.stderr) is seen


@pytest.fixture
def x_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb: apt-get install xvfb")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as said:
        monkeypatch.setenv("DISPLAY", f":{said.readline().strip()}")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    yield server
    server.terminate()
    server.wait(10)


def _program() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_an_x_server_that_ends_closes_the_window_and_not_the_program(x_server: subprocess.Popen[bytes]) -> None:
    with _program() as process:
        x_server.terminate()
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out.splitlines()) == (0, ["closed", "last step"]), err


def test_a_signal_is_the_program_s_and_no_press_of_the_close_button(x_server: subprocess.Popen[bytes]) -> None:
    with _program() as process:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (-signal.SIGTERM, "")
