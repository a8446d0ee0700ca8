"""What a view costs the loop that reads the camera: milliseconds per frame of `show`, and of the window's drawing.

    python benchmarks/views.py [--frames 300] [VIEW...]

VIEW: as open_view takes it; by default text, terminal, window and a ring of eight LEDs. Frames are 640 x 480 and 1280 x
720, noise, 30 a second, with a dot that moves. Text and terminal go to a pseudo-terminal that something reads. A window
is of whatever SDL finds; where there is none, SDL_VIDEODRIVER=dummy draws in memory. LEDs need
GPIOZERO_PIN_FACTORY=mock where there are no pins.

"show": what the loop waits for, which is all that a view takes of it. "draw": one frame of the window, in its own
thread. Median and 99th percentile.
"""

from __future__ import annotations

import argparse
import os
import platform
import pty
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import numpy as np

from facesdk.camera import CapturedFrame
from facesdk.errors import AcceleratorError
from facesdk.liveness.challenge import Path, Pursuit
from facesdk.types import Progress, SessionPhase
from facesdk.views import drawing, open_view

VIEWS = ("text", "terminal", "window", "leds:5,6,13,19,26,16,20,21")
SIZES = ((640, 480), (1280, 720))
FPS = 30


@contextmanager
def read_terminal() -> Iterator[None]:
    """stderr is a terminal whose other end is read."""
    ours, theirs = pty.openpty()

    def read() -> None:
        try:
            while os.read(ours, 65536):
                pass
        except OSError:  # it was closed
            return

    threading.Thread(target=read, daemon=True).start()
    before = sys.stderr
    sys.stderr = os.fdopen(theirs, "w", encoding="utf-8")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before


def measured(name: str, size: tuple[int, int], count: int) -> tuple[list[float], list[float]]:
    """Seconds of each call of show, and of each drawing."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (size[1], size[0], 3), np.uint8) for _ in range(4)]
    pursuit = Pursuit(Path.fresh(Random(0), segments=20), 0.0)
    box = np.array([0.3 * size[0], 0.2 * size[1], 0.6 * size[0], 0.8 * size[1]], np.float32)
    shown, drawn, draw = [], [], drawing.draw

    def timed(*arguments: object) -> None:
        begin_s = time.perf_counter()
        draw(*arguments)  # type: ignore[arg-type]
        drawn.append(time.perf_counter() - begin_s)

    drawing.draw = timed
    try:
        with open_view(name) as view:
            for number in range(count):
                now_s = number / FPS
                progress = Progress(
                    SessionPhase.CHALLENGE, prompt=pursuit.prompt(now_s), fraction=pursuit.fraction(now_s), box_px=box
                )
                begin_s = time.perf_counter()
                view.show(progress, CapturedFrame(images[number % 4], now_s, "made"))
                shown.append(time.perf_counter() - begin_s)
                time.sleep(max(0.0, 1 / FPS - shown[-1]))
    finally:
        drawing.draw = draw
    return shown, drawn


def text(seconds: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    return "-" if not seconds else "{:.2f} ({:.2f})".format(*(np.percentile(seconds, (50, 99)) * 1e3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", nargs="*", metavar="VIEW", default=VIEWS)
    parser.add_argument("--frames", type=int, default=300)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, n = {arguments.frames} frames each")
    print("| view | frame | show, ms: median (99 %) | draw, ms: median (99 %) |\n|---|---|---|---|")
    for name in arguments.views:
        for size in SIZES:
            try:
                with read_terminal():
                    shown, drawn = measured(name, size, arguments.frames)
            except AcceleratorError as error:
                print(f"| {name.partition(':')[0]} | not measured: {error.message} | | |")
                break
            row = (name.partition(":")[0], "x".join(map(str, size)), text(shown), text(drawn))
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
