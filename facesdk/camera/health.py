"""What is wrong with a stream of pictures, told from the pictures alone; and when a camera's exposure has settled."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from facesdk.camera.frame import CapturedFrame

if TYPE_CHECKING:
    from facesdk.types import Frame

SAMPLES_A_SIDE = 64  # of the shorter side: what is looked at
BLACK_LEVEL, BLACK_SHARE, BLACK_RUN = 20, 0.99, 5
FROZEN_RUN = 15
# Sixteen frames whose brighter half is brighter throughout, by more than lamps at 50 Hz make of it.
STROBE_FRAMES, STROBE_LEVELS = 16, 8.0
SETTLED_FRAMES, SETTLED_LEVELS, SETTLED_AT_LATEST_S, LIT_LEVEL = 3, 2.0, 1.0, 4.0


class Health(Enum):
    """What the pictures of a stream look like; the value is a sentence for people, empty where all is well."""

    OK = ""
    BLACK = "The picture is black: is the lens covered, or its shutter closed?"
    FROZEN = "The picture does not change at all: the camera hangs, or a still picture is played."
    STROBED = (
        "Every second picture is dark: an infrared camera whose lamp is on for every second one; use the camera for "
        "colour, or only the lit pictures."
    )

    def __str__(self) -> str:
        return self.value


class StreamHealth:
    """Tells a black, a frozen and an infrared-strobed stream apart. It knows no clock and no device."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._black = self._same = 0
        self._light: deque[tuple[int, float]] = deque(maxlen=STROBE_FRAMES)

    def feed(self, frame: CapturedFrame) -> Health:
        """Judge the stream as it is with this frame.

        Args:
            frame: the next one; `sequence` says which, so frames may be missing between two.

        Returns:
            BLACK after 5 black frames in a row, FROZEN after 15 that are the same, STROBED when frames of even and odd
            number differ in brightness throughout the last 16; else OK.
        """
        small = sampled(frame.image)
        same = self._last is not None and self._last.shape == small.shape and bool((self._last == small).all())
        self._same = self._same + 1 if same else 1
        self._black = self._black + 1 if float((small < BLACK_LEVEL).mean()) >= BLACK_SHARE else 0
        self._last = small.copy()
        self._light.append((frame.sequence, float(small.mean())))
        if self._black >= BLACK_RUN:
            return Health.BLACK
        if self._same >= FROZEN_RUN:
            return Health.FROZEN
        return Health.STROBED if self._strobed() else Health.OK

    def _strobed(self) -> bool:
        even = [light for number, light in self._light if number % 2 == 0]
        odd = [light for number, light in self._light if number % 2 == 1]
        if min(len(even), len(odd)) < STROBE_FRAMES // 4 or len(self._light) < STROBE_FRAMES:
            return False
        return max(min(even) - max(odd), min(odd) - max(even)) > STROBE_LEVELS


class Settling:
    """Says when the exposure of a camera that was just opened is stable."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._light: deque[float] = deque(maxlen=SETTLED_FRAMES)
        self._settled = False

    def feed(self, frame: CapturedFrame) -> bool:
        """Whether this frame can be used.

        Three frames in a row within two gray levels, and not black, are stable; a second after the first frame it is as
        stable as it gets.
        """
        if self._settled:
            return True
        if self._first_s is None:
            self._first_s = frame.time_s
        self._light.append(float(sampled(frame.image).mean()))
        stable = len(self._light) == SETTLED_FRAMES and max(self._light) - min(self._light) <= SETTLED_LEVELS
        late = frame.time_s - self._first_s >= SETTLED_AT_LATEST_S
        self._settled = late or (stable and min(self._light) > LIT_LEVEL)
        return self._settled


def sampled(image: Frame) -> Frame:
    """A view of a grid of its pixels, at least 64 along the shorter side where it has as many."""
    step = max(1, min(image.shape[:2]) // SAMPLES_A_SIDE)
    return image[::step, ::step]
