"""A session: frames in, progress out, until an outcome. What is to be reached with them is its goal's."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Protocol

from facesdk._core import process_token
from facesdk.capture.limits import LONGEST_TIMEOUT_S, TIMEOUT_S
from facesdk.errors import ForkedError, InputError
from facesdk.images.frames import array_frame
from facesdk.types import Guidance, Outcome, Progress, SessionPhase

if TYPE_CHECKING:
    from facesdk.capture.appearance import Follower, View
    from facesdk.capture.samples import Probe
    from facesdk.types import Frame

LATEST_S = 1e12  # of a clock, some 30,000 years
FEWEST_PER_S = 5  # with fewer nobody can say that it is one face throughout
MOST_FRAMES_PER_S = 240  # so that frames whose clock stands still end a session too
NOBODY = "nobody was seen"


class Goal(Protocol):
    """What a session is for. Between two frames it holds no lock and nothing that must be given back but in close."""

    @property
    def charged(self) -> bool:
        """Whether an attempt was paid for."""

    def see(self, view: View) -> Progress | Outcome:
        """Go on by one frame; an outcome ends the session."""

    decided: Probe | None  # what was compared, until it is closed

    def give_up(self, reason: str, elapsed_ms: float) -> Outcome:
        """The outcome of a session that ends before its goal was reached."""

    def close(self) -> None:
        """Wipe what is held; a second time nothing."""


class Session:
    """One person in front of a camera, from the first frame to the outcome.

    A context: its end wipes what is held of the person, and ends the session where nothing has ended it. Calls from
    several threads wait for each other, but `cancel`, which never waits.

    Args:
        goal: what is to be reached.
        follower: follows the face.
        timeout_s: seconds of the frames' clock after which it ends without a decision.
    """

    def __init__(self, goal: Goal, follower: Follower, *, timeout_s: float = TIMEOUT_S) -> None:
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) \
                or not 1 <= timeout_s <= LONGEST_TIMEOUT_S:  # fmt: skip
            raise InputError(f"timeout_s must be from 1 to {LONGEST_TIMEOUT_S:g} seconds, not {timeout_s!r}")
        self._goal, self._follower, self._timeout_s = goal, follower, float(timeout_s)
        self._lock, self._process = threading.RLock(), process_token()
        self._outcome: Outcome | None = None
        self._progress = Progress(SessionPhase.SEEK)
        self._cancelled = ""
        self._last_s: float | None = None
        self._elapsed_s = 0.0
        self._frames = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self._progress.phase.value})"

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._outcome is not None

    @property
    def progress(self) -> Progress:
        """What the last frame came to."""
        return self._progress

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        return self._outcome

    @property
    def charged(self) -> bool:
        """Whether an attempt was paid for; a match has had it given back."""
        return self._goal.charged

    def hand_over(self) -> Probe | None:
        """What was compared, which the caller wipes from now on; None where nothing was, or it was handed over."""
        with self._lock:
            probe = self._goal.decided
            self._goal.decided = None
            return probe

    def cancel(self, reason: str = "cancelled") -> None:
        """End it without a decision: at once where nothing feeds it, else with the next frame.

        Args:
            reason: why, a few words for a log.
        """
        self._cancelled = self._cancelled or str(reason or "cancelled")

    def close(self) -> None:
        """Wipe what is held, and end the session; what was tried and not decided is charged. A second time nothing."""
        if self._process != process_token():
            return  # the parent's to end
        with self._lock, contextlib.ExitStack() as every:
            every.callback(self._follower.close)
            every.callback(self._goal.close)
            if self._outcome is None:
                self._end(self._goal.give_up(self._cancelled or "it was not carried to its end", self._elapsed_s * 1e3))

    def feed(self, frame: Any, *, time_s: float | None = None) -> Progress:
        """Go on by one frame.

        Args:
            frame: a CapturedFrame, or uint8 (H, W, 3) RGB or (H, W) gray; sides from 64 to 8192 px.
            time_s: seconds on any clock that goes forward; of an array it must be given.

        Returns:
            Where it is, what keeps it from going on and where to look; `done` once there is an outcome, which nothing
            changes any more.

        Raises:
            InputError: what is no frame or no time.
            ForkedError: it was made before a fork.
            PassphraseRequiredError: the key was closed meanwhile; the session has ended.
            LockedOutError: other attempts did not match meanwhile; the session has ended.
            FaceSdkError: the errors of the vault: whatever stops the decision.
        """
        if self._process != process_token():  # before the lock, which nobody in a child would ever give back
            raise ForkedError("a session lives in the process that made it: make another one in this one")
        with self._lock:
            return self._progress if self._outcome is not None else self._feed(frame, time_s)

    def _feed(self, frame: Any, time_s: float | None) -> Progress:
        image, now_s = checked_frame(frame, time_s)
        if self._cancelled:
            return self._end(self._goal.give_up(self._cancelled, self._elapsed_s * 1e3))
        self._elapsed_s += max(0.0, now_s - self._last_s) if self._last_s is not None else 0.0
        self._last_s, self._frames = now_s, self._frames + 1
        if self._elapsed_s > self._timeout_s or self._frames > self._timeout_s * MOST_FRAMES_PER_S:
            return self._end(self._goal.give_up(self._obstacle(), self._elapsed_s * 1e3))
        try:
            found = self._goal.see(self._follower.look(image, now_s))
        except BaseException as error:
            self._end(self._goal.give_up(f"ended by an error: {type(error).__name__}", self._elapsed_s * 1e3))
            self._goal.close()
            raise
        if isinstance(found, Outcome):
            return self._end(found)
        self._progress = found
        return found

    def _obstacle(self) -> str:
        """Why nothing was decided in time."""
        limit = f"within {self._timeout_s:g} s"
        if self._frames < FEWEST_PER_S * self._elapsed_s:
            return f"the camera gives too few pictures: {FEWEST_PER_S} a second are needed"
        if self._progress.guidance is Guidance.SHOW_FACE or self._progress.box_px is None:
            return f"{NOBODY} {limit}"
        if self._progress.guidance is not Guidance.NONE:
            return f"not done {limit}: {self._progress.guidance.name.lower()}"
        return f"not done {limit}"

    def _end(self, outcome: Outcome) -> Progress:
        self._outcome = outcome
        self._progress = Progress(SessionPhase.DONE, outcome.guidance, done=True, fraction=1.0, outcome=outcome)
        return self._progress


def checked_frame(frame: Any, time_s: float | None) -> tuple[Frame, float]:
    """The picture and its time. InputError."""
    image = getattr(frame, "image", frame)
    time = getattr(frame, "time_s", None) if time_s is None else time_s
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < LATEST_S:  # NaN as well
        raise InputError(
            f"a frame needs its time in seconds: feed(array, time_s=...), or a CapturedFrame, not {time!r:.80}"
        )
    return array_frame(image), float(time)
