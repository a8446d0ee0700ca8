"""A view that needs nothing: one line for each change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from facesdk.views.view import Closing, is_cue, sentence

if TYPE_CHECKING:
    from facesdk.types import Progress

BELL = "\a"


class TextView(Closing):
    """Lines on a stream: what the person is to do, whenever that changes.

    Args:
        stream: where the lines go; stderr by default. It stays open.
        sound: ring the terminal's bell when the person is to look up.
    """

    challenge = "directions"

    def __init__(self, stream: TextIO | None = None, *, sound: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._sound = sound
        self._last: Progress | None = None
        self._said = ""
        self._closed = self._stream is None  # a program without stderr

    @property
    def closed(self) -> bool:
        """Whether nothing is written any more: it was closed, or nobody reads the stream."""
        return self._closed

    def show(self, progress: Progress, frame: object = None) -> None:
        """Write a line, if it is another one than the last."""
        ring = self._sound and is_cue(self._last, progress)
        self._last, before, self._said = progress, self._said, self._line(progress)
        line = f"{self._said}\n" if self._said and self._said != before else ""
        if not self._closed and (line or ring):
            try:
                self._stream.write((BELL if ring else "") + line)
                self._stream.flush()
            except (OSError, ValueError):  # the terminal is gone, or the stream was closed
                self._closed = True

    def close(self) -> None:
        """Write nothing any more."""
        self._closed = True

    def _line(self, progress: Progress) -> str:
        """The sentence, and the arrow of a prompt where it is shown and the stream's encoding has it."""
        words, prompt = sentence(progress), progress.prompt
        if prompt is not None and words == prompt.text and prompt.led(8) is not None:
            words = f"{prompt.arrow} {words}"
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return words.encode(encoding, "ignore").decode(encoding).strip()
