"""The form of a view, and what all of them say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from facesdk.errors import AcceleratorError
from facesdk.types import Guidance, SessionPhase

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame
    from facesdk.types import Progress

DONE, NOT_DONE = "Done.", "That was it: no match."


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

    def aside(self) -> AbstractContextManager[object]:
        """A context in which others may write where the view shows."""

    def close(self) -> None:
        """Give back what it shows on. Does nothing a second time."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Closing(ABC):
    """The context of every view: its end closes it."""

    def aside(self) -> AbstractContextManager[object]:
        """A context in which others may write where the view shows; for those that share no place, nothing."""
        return nullcontext()

    def __enter__(self):  # type: ignore[no-untyped-def]  # typing.Self is of Python 3.11
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give back what it shows on. Does nothing a second time."""


def sentence(progress: Progress) -> str:
    """What the person is told: what is in the way, else what is asked for; empty where there is neither."""
    if progress.guidance is not Guidance.NONE:
        return str(progress.guidance.value)
    if progress.done:
        return DONE if progress.outcome else NOT_DONE
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
