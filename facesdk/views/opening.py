"""Views by their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facesdk.errors import InputError

if TYPE_CHECKING:
    from facesdk.views.view import View

NAMES = "text, terminal, window, fullscreen, or leds:PIN,PIN,... with the pins of a ring"


def open_view(name: str, *, sound: bool = False) -> View:
    """Open a view by its name.

    Args:
        name: "text" for lines on stderr; "terminal" for a panel there (extra `cli`), or lines where it is no terminal;
            "window" or "fullscreen" for the camera's picture in a mirror (extra `window`); "leds:5,6,13,..." for a ring
            of LEDs, the first at the top, the others clockwise as the person sees them (extra `gpio`).
        sound: a short tone when the person is to look at the view, and at the end; the bell of a terminal, or a tone of
            the window.

    Returns:
        The view, open: use it with `with`.

    Raises:
        InputError: no name of a view, or pins that cannot be a ring.
        AcceleratorError: what it needs is not installed or cannot be opened; the message says what to install.
    """
    kind, _, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind == "leds" and rest and not sound:
        from facesdk.views.leds import LedView

        return LedView(pins_of(rest))
    if kind == "leds" and sound:
        raise InputError("LEDs make no sound: leave sound=True out")
    if rest or kind not in ("text", "terminal", "window", "fullscreen"):
        raise InputError(f"no view {name!r:.80}: expected {NAMES}")
    if kind in ("window", "fullscreen"):
        from facesdk.views.window import WindowView

        return WindowView(fullscreen=kind == "fullscreen", sound=sound)
    if kind == "terminal":
        from facesdk.views.terminal import TerminalView, fits

        if fits():
            return TerminalView(sound=sound)
    from facesdk.views.text import TextView

    return TextView(sound=sound)


def pins_of(text: str) -> tuple[int | str, ...]:
    """The pins of a list such as `5,6,BOARD11`: numbers of GPIO, or names as gpiozero has them. InputError."""
    pins = text.split(",")
    if not all(re.fullmatch("[A-Za-z0-9]{1,16}", pin, re.ASCII) for pin in pins):
        raise InputError(f"no pins of LEDs: {text!r:.80}; expected numbers of GPIO, as in leds:5,6,13,19,26,16,20,21")
    return tuple(int(pin) if pin.isdigit() else pin for pin in pins)
