"""One line typed at a terminal, as the bytes that were typed: no locale has a say, and no message repeats any of it."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from collections.abc import Iterator

from facesdk._core import wipe
from facesdk.errors import UsageError

# A terminal's line has at most 4095 bytes before Enter, what is typed after them is lost.
# Source: Linux, N_TTY_BUF_SIZE; termios(3), "Canonical and noncanonical mode".
_LONGEST = 4094


def read_line(descriptor: int, prompt: str, *, echo: bool) -> bytes:
    """What is typed before Enter. UsageError when the terminal is closed (ctrl-D) before that, or cannot be asked.

    Without echo the terminal shows nothing of it, and is as before when this ends, however it ends.
    """
    line = bytearray()
    try:
        with _screen(descriptor) as screen, _settings(descriptor, screen, echo=echo):
            os.write(screen, prompt.encode("ascii", "backslashreplace"))
            while b"\n" not in line:
                size = len(line)
                line += os.read(descriptor, 4096)
                if len(line) == size:
                    raise UsageError("nothing was given: the terminal was closed (ctrl-D) before Enter")
        if len(line) > _LONGEST:
            raise UsageError("this line is longer than a terminal can hand over", hint="give it in a file")
        return bytes(memoryview(line)[: line.index(b"\n")])
    except (OSError, termios.error) as error:
        raise UsageError(
            f"the terminal cannot be asked ({error.args[-1]})", hint="give a file instead, or run in the foreground"
        ) from error
    finally:
        wipe(line)


@contextlib.contextmanager
def _screen(descriptor: int) -> Iterator[int]:
    """Where the prompt is shown: the same terminal, wherever stdout and stderr go; stderr where it cannot be opened."""
    try:
        screen = os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # its name may belong to another mount namespace
        yield sys.stderr.fileno() if sys.stderr is not None else descriptor
        return
    try:
        yield screen
    finally:
        os.close(screen)


@contextlib.contextmanager
def _settings(descriptor: int, screen: int, *, echo: bool) -> Iterator[None]:
    """Lines that end with Enter, shown or not; the settings from before come back at the end."""
    before = termios.tcgetattr(descriptor)
    settings = list(before)
    settings[0] |= termios.ICRNL
    settings[3] |= termios.ICANON
    if not echo:
        settings[3] &= ~termios.ECHO
    try:
        # Not TCSAFLUSH: what was typed ahead is an answer too.
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if not echo:
            with contextlib.suppress(OSError):  # Enter was not shown either; a terminal that hung up shows nothing
                os.write(screen, b"\n")
