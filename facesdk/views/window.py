"""A window like a mirror, by SDL (pygame-ce, extra window): X11, Wayland, or a bare console by KMS.

One thread of its own does everything with SDL, which wants that, and answers the close button while no frame comes;
`show` only hands over what is newest.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from facesdk.environment import SDL, without
from facesdk.errors import AcceleratorError
from facesdk.log import happened
from facesdk.views.view import Closing, is_cue, missing
from facesdk.views.xlib import survive

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame
    from facesdk.types import Progress

SIZE = (960, 720)
TITLE = "facesdk"
OPEN_S, CLOSE_S = 20.0, 5.0
LOOK_S = 0.05  # how often events are looked for while nothing is to be drawn
# pygame prints a greeting on stdout; SDL would make a request to end (SIGTERM) a press of the close button.
SETTINGS = {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_NO_SIGNAL_HANDLERS": "1"}

# Without a GL context there is nothing that waits, at the program's end, for an X server that is gone.
ON_X11 = {"SDL_FRAMEBUFFER_ACCELERATION": "0"}


class WindowView(Closing):
    """The camera's picture, mirrored, with the dot over it, a ring around the face that fills, and the sentence.

    Esc and q close it, as its close button does; `closed` says so, and the program ends what it shows.

    Args:
        fullscreen: take the whole screen.
        sound: play a short tone when the person is to look up, where there is a sound device.

    Raises:
        AcceleratorError: pygame-ce is not installed, or no display can be opened.
    """

    challenge = "dot"

    def __init__(self, *, fullscreen: bool = False, sound: bool = False) -> None:
        self._fullscreen, self._sound = fullscreen, sound
        self._changed, self._stopping, self._lost = threading.Condition(), False, False
        self._newest: tuple[Progress, CapturedFrame | None] | None = None
        self._ring = False
        self._last: Progress | None = None
        self._opened, self._ended = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="facesdk window", daemon=True)
        with _environment(SETTINGS):
            self._thread.start()
            opened = self._opened.wait(OPEN_S)
        if self._error is not None:
            raise self._error
        if not opened:
            self.close()
            raise AcceleratorError(f"no window was open after {OPEN_S:g} s: the display does not answer")

    @property
    def closed(self) -> bool:
        """Whether there is no window any more: somebody closed it, or the display is gone."""
        return self._stopping or self._ended.is_set()

    def show(self, progress: Progress, frame: CapturedFrame | None = None) -> None:
        """Show this next; what was not drawn yet is left out."""
        with self._changed:
            self._ring = self._ring or is_cue(self._last, progress)
            self._last, self._newest = progress, (progress, frame)
            self._changed.notify()

    def close(self) -> None:
        """Close the window."""
        with self._changed:
            self._stopping, self._newest = True, None
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    # --- what follows is done by the thread

    def _run(self) -> None:
        try:
            pygame = load_pygame()
            self._loop(pygame, self._open(pygame))
        except BaseException as error:  # while it is opened, for who opens it; afterwards the window is closed
            self._error = error
            if self._opened.is_set():
                happened("the window is gone: %s", type(error).__name__)
        finally:
            self._ended.set()
            self._opened.set()
            self._newest = None

    def _open(self, pygame: Any) -> Any:
        try:
            pygame.display.init()
            pygame.font.init()
            mode = ((0, 0), pygame.FULLSCREEN) if self._fullscreen else (SIZE, pygame.RESIZABLE)
            with _environment(ON_X11 if pygame.display.get_driver() == "x11" else {}):
                screen = pygame.display.set_mode(*mode)
        except pygame.error as error:
            pygame.display.quit()
            raise AcceleratorError(
                f"no window can be opened: {error}",
                hint="start it where a screen is, or name one: DISPLAY, WAYLAND_DISPLAY, or SDL_VIDEODRIVER=kmsdrm",
            ) from error
        pygame.display.set_caption(TITLE)
        pygame.mouse.set_visible(not self._fullscreen)
        survive(pygame, self._lose)
        self._opened.set()
        return screen

    def _lose(self) -> None:
        happened("the window is gone: the X server ended")
        self._stopping = self._lost = True

    def _loop(self, pygame: Any, screen: Any) -> None:
        from facesdk.views.drawing import draw
        from facesdk.views.sound import tone

        beep = tone(pygame) if self._sound else None
        try:
            while not self._stopping and not _is_closed(pygame):
                with self._changed:
                    self._changed.wait_for(lambda: self._newest or self._stopping, LOOK_S)
                    newest, self._newest, ring, self._ring = self._newest, None, self._ring, False
                if newest is not None:
                    draw(pygame, screen, *newest)
                    if not self._stopping:
                        pygame.display.flip()
                if ring and beep is not None:
                    beep.play()
        finally:
            if not self._lost:
                pygame.display.quit()
                pygame.mixer.quit()


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Have SDL find these variables, where nobody has set them to something else."""
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _is_closed(pygame: Any) -> bool:
    """Whether somebody has closed it."""
    keys = (pygame.K_ESCAPE, pygame.K_q)
    events = pygame.event.get()
    return any(one.type == pygame.QUIT or (one.type == pygame.KEYDOWN and one.key in keys) for one in events)


def load_pygame() -> Any:
    """The module pygame; AcceleratorError where it is not installed."""
    try:
        with without(SDL):
            import pygame
    except ImportError as error:
        raise missing("pygame-ce", "window", error) from error
    return pygame
