"""The form of a view, views by their names, and what all of them say."""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from facesdk.errors import AcceleratorError, InputError
from facesdk.types import Guidance, SessionPhase

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame
    from facesdk.types import Progress

NAMES = "text, terminal, window, fullscreen, or leds:PIN,PIN,... with the pins of a ring"
DONE = "Done."


class View(Protocol):
    """What shows to the person where a session is. A context manager that gives back what it shows on.

    `show` fits `on_progress` of FaceVerifier.watch. It may be called from any thread, by one at a time, and returns
    within a few milliseconds (benchmarks/views.py).
    """

    @property
    def challenge(self) -> str:
        """Which challenge it can show, for FaceVerifier.session and watch: "dot" or "directions"."""

    @property
    def closed(self) -> bool:
        """Whether it shows nothing any more: somebody closed it, or what it was shown on is gone."""

    def show(self, progress: Progress, frame: CapturedFrame | None = None) -> None:
        """Show this from now on.

        Args:
            progress: what the session, or the watch, came to with the last frame.
            frame: that frame, for a view that shows the camera's picture; None leaves the picture out.
        """

    def close(self) -> None:
        """Give back what it shows on. Does nothing a second time."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Closing:
    """The context of every view: its end closes it."""

    def __enter__(self):  # type: ignore[no-untyped-def]  # typing.Self is of Python 3.11
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what it shows on. Does nothing a second time."""
        raise NotImplementedError


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


def sentence(progress: Progress) -> str:
    """What the person is told: what is in the way, else what is asked for; empty where there is neither."""
    if progress.guidance is not Guidance.NONE:
        return str(progress.guidance.value)
    if progress.done:
        return DONE
    return "" if progress.prompt is None else progress.prompt.text


def is_cue(before: Progress | None, now: Progress) -> bool:
    """Whether the person is to look up: something else is asked for from now on, or it is over."""
    if now.guidance is Guidance.TRY_AGAIN:
        return before is None or before.guidance is not Guidance.TRY_AGAIN
    called = (SessionPhase.CHALLENGE, SessionPhase.RETURN, SessionPhase.DONE)
    return now.phase in called and (before is None or before.phase is not now.phase)


def missing(what: str, extra: str, error: ImportError) -> AcceleratorError:
    """The error where an extra is not installed."""
    return AcceleratorError(f"{what} is needed ({error})", hint=f"pip install 'facesdk-unlock[{extra}]'")
