"""A panel in a terminal, by rich (extra cli): the sentence, a field with the dot, a bar that fills."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from facesdk.views.text import BELL
from facesdk.views.view import Closing, is_cue, missing, sentence

if TYPE_CHECKING:
    from facesdk.types import Progress, Prompt

COLUMNS, ROWS = 41, 13  # of the field; a character is about twice as high as wide, and the middle is one
DRAW_EVERY_S = 1 / 20
DOT, MIDDLE = "\N{BLACK CIRCLE}", "+"


def fits(stream: TextIO | None = None) -> bool:
    """Whether a panel can be shown: a terminal that moves its cursor and may have colour, and rich."""
    stream = sys.stderr if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return stream is not None and stream.isatty() and importlib.util.find_spec("rich") is not None


class TerminalView(Closing):
    """A panel that stays at its place.

    Args:
        stream: the terminal; stderr by default.
        sound: ring its bell when the person is to look up.
        clock: seconds on a clock that only goes forward; the panel is drawn 20 times a second at most.

    Raises:
        AcceleratorError: rich is not installed.
    """

    challenge = "dot"

    def __init__(
        self, stream: TextIO | None = None, *, sound: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError as error:
            raise missing("rich", "cli", error) from error

        class Screen(Console):  # type: ignore[misc]  # mypy follows no import of an extra
            def on_broken_pipe(self) -> None:
                """Raise it, where rich would end the program."""
                raise

        self._stream = stream or sys.stderr
        self._sound, self._clock = sound, clock
        self._last: Progress | None = None
        self._drawn_s = float("-inf")
        self._live: Any = Live(
            console=Screen(file=self._stream, force_terminal=True), auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._closed = False
        self._guarded(self._live.start)

    @property
    def closed(self) -> bool:
        """Whether nothing is drawn any more: it was closed, or the terminal is gone."""
        return self._closed

    def show(self, progress: Progress, frame: object = None) -> None:
        """Draw the panel, unless it was drawn a moment ago and the same sentence stands there."""
        ring = self._sound and is_cue(self._last, progress)
        other = self._last is None or sentence(self._last) != sentence(progress) or self._last.done != progress.done
        self._last, now_s = progress, self._clock()
        if self._closed or not (other or ring or now_s - self._drawn_s >= DRAW_EVERY_S):
            return
        self._drawn_s = now_s

        def draw() -> None:
            if ring:
                self._stream.write(BELL)
            self._live.update(panel(progress), refresh=True)

        self._guarded(draw)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The panel stays where it is, and a new one begins below what is written meanwhile."""
        if not self._closed:
            self._guarded(self._live.stop)
        yield
        if not self._closed:
            self._guarded(self._live.start)

    def close(self) -> None:
        """Leave the last panel where it is, with the cursor below it."""
        if not self._closed:
            self._guarded(self._live.stop)
            self._closed = True

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (OSError, ValueError):  # the terminal is gone, or the stream was closed
            self._closed = True


def panel(progress: Progress) -> Any:
    """What rich draws of a session's progress."""
    from rich.align import Align
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    words = Text(sentence(progress) or " ", style="bold", justify="center", overflow="fold")
    bar = ProgressBar(total=1.0, completed=min(max(progress.fraction, 0.0), 1.0), width=COLUMNS)
    drawn = Group(words, Text(field(progress.prompt)), bar)
    return Align.left(Panel(drawn, width=COLUMNS + 4, title=progress.phase.value))


def field(prompt: Prompt | None) -> str:
    """The field as lines, mirrored as the prompt is: the middle, and the dot where the nose is to point."""
    lines = [[" "] * COLUMNS for _ in range(ROWS)]
    lines[ROWS // 2][COLUMNS // 2] = MIDDLE
    if prompt is not None:
        column, row = (round(min(max(v, 0.0), 1.0) * (n - 1)) for v, n in ((prompt.x, COLUMNS), (prompt.y, ROWS)))
        lines[row][column] = DOT
    return "\n".join("".join(line) for line in lines)
