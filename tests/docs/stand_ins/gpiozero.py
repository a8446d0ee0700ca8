"""Stands in for gpiozero's Button and OutputDevice: a button that is pressed once, and a pin that says what it does."""

from __future__ import annotations

import sys

_taken: set[int] = set()


class _Device:
    def __init__(self, pin: int) -> None:
        assert pin not in _taken, f"pin {pin} is in use already"  # gpiozero refuses that too
        _taken.add(pin)
        self.pin = pin


class Button(_Device):
    """Pressed once; then the program is ended, as from outside."""

    presses = 1

    def wait_for_press(self, timeout: float | None = None) -> bool:
        if not self.presses:
            sys.exit(0)
        self.presses -= 1
        return True


class OutputDevice(_Device):
    def on(self) -> None:
        print(f"pin {self.pin} on", flush=True)

    def off(self) -> None:
        print(f"pin {self.pin} off", flush=True)
