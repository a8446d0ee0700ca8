"""A ring of LEDs, by gpiozero (extra gpio): the LED of a direction, and patterns for what is in the way."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from facesdk.errors import AcceleratorError, InputError
from facesdk.types import Guidance, SessionPhase
from facesdk.views.view import Closing, missing

if TYPE_CHECKING:
    from facesdk.types import Progress

FEWEST, MOST = 8, 64  # with fewer than eight, a direction that is asked for lies between two LEDs
DIM = 0.15
FAR_FROM = 0.32  # of the mirrored picture: between the spots of "a little" and "far" (facesdk.liveness.directions)
FAST_S, SLOW_S = 0.25, 1.0  # the periods of blinking
# What needs no other pattern than "look straight ahead".
QUIET = frozenset({Guidance.NONE, Guidance.KEEP_STILL, Guidance.COME_BACK})


class LedView(Closing):
    """A ring of LEDs around the camera.

    One LED: turn there, a little; one that blinks fast: far. All of them dim: look straight and keep still. All of them
    blink slowly: something is in the way (too far, too dark, several faces); fast: once more. None: nobody is seen, or
    nothing is asked for.

    Args:
        pins: of the LEDs, 8 to 64, the first at the top, the others clockwise as the person sees them.
        clock: seconds on a clock that only goes forward, for the blinking.

    Raises:
        InputError: too few or too many pins, or one twice.
        AcceleratorError: gpiozero is not installed, or there are no such pins.
    """

    challenge = "directions"

    def __init__(self, pins: Sequence[int | str], *, clock: Callable[[], float] = time.monotonic) -> None:
        if not FEWEST <= len(pins) <= MOST or len(set(pins)) != len(pins):
            raise InputError(f"a ring has {FEWEST} to {MOST} LEDs, each with a pin of its own, not {len(set(pins))}")
        self._clock, self._leds = clock, list[Any]()
        self._shown: list[float] = []
        self._closed = False
        try:
            import gpiozero
        except ImportError as error:
            raise missing("gpiozero", "gpio", error) from error
        try:
            for pin in pins:
                self._leds.append(gpiozero.PWMLED(pin))
        except Exception as error:  # gpiozero's own, of its pin libraries, and of the kernel: no base that all share
            self.close()
            raise AcceleratorError(
                f"the LEDs cannot be driven: {type(error).__name__}: {error}",
                hint="on a board, pip install lgpio, and be in the group gpio",
            ) from error

    @property
    def closed(self) -> bool:
        """Whether the pins were given back."""
        return self._closed

    def show(self, progress: Progress, frame: object = None) -> None:
        """Light what this asks for; blinking goes on with each call."""
        if self._closed:
            return
        levels = pattern(progress, self._clock(), len(self._leds))
        if levels == self._shown:
            return
        for led, level in zip(self._leds, levels, strict=True):
            led.value = level
        self._shown = levels

    def close(self) -> None:
        """All off, and the pins given back."""
        leds, self._leds, self._closed = self._leds, [], True
        with contextlib.ExitStack() as every:
            for led in leds:
                every.callback(led.close)


def pattern(progress: Progress, now_s: float, count: int) -> list[float]:
    """How bright each LED is, 0 to 1.

    Args:
        progress: what is shown.
        now_s: by which they blink.
        count: how many there are.
    """
    prompt, guidance = progress.prompt, progress.guidance
    if progress.done or guidance is Guidance.SHOW_FACE:
        return [0.0] * count
    if guidance is Guidance.TRY_AGAIN:
        return [float(_is_on(now_s, FAST_S))] * count
    if guidance not in QUIET:
        return [float(_is_on(now_s, SLOW_S))] * count
    if prompt is None:
        return [0.0] * count
    number = prompt.led(count)
    if number is None:
        return [DIM] * count
    far = math.hypot(prompt.x - 0.5, prompt.y - 0.5) >= FAR_FROM
    lit = progress.phase is not SessionPhase.CHALLENGE or not far or _is_on(now_s, FAST_S)
    return [float(lit and at == number) for at in range(count)]


def _is_on(now_s: float, period_s: float) -> bool:
    return now_s % period_s < period_s / 2
