"""Watching: one session after another, with an event for each change; who stands there is compared once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from facesdk.capture.limits import LEAVE_AFTER_S
from facesdk.capture.presence import Presence
from facesdk.capture.session import MOST_FRAMES_PER_S, checked_frame
from facesdk.errors import InputError, LockedOutError, PassphraseRequiredError
from facesdk.types import Guidance, Outcome, Progress, SessionPhase

if TYPE_CHECKING:
    from facesdk.capture.appearance import Follower
    from facesdk.capture.session import Session
    from facesdk.engine.engine import Engine

# A session that nothing was tried in begins again after so long.
AGAIN_AFTER_S = 2.0
ASK_AGAIN_S = 1.0  # whether the passphrase was given meanwhile


class WatchKind(Enum):
    """What happened; the value says it in words."""

    ARRIVED = "somebody came before the camera"
    MATCHED = "the owner is there"
    REFUSED = "not the owner, or not shown to be alive"
    LEFT = "nobody is there any more"
    LOCKED_OUT = "too many attempts did not match"
    PASSPHRASE_REQUIRED = "the passphrase is required"


@dataclass(frozen=True)
class WatchEvent:
    """One change.

    Attributes:
        kind: what happened.
        time_s: of the frame.
        outcome: of MATCHED and REFUSED, else None.
        guidance: what the person can do now.
        retry_after_s: of LOCKED_OUT, seconds; else 0.
        text: a sentence for a log.
    """

    kind: WatchKind
    time_s: float
    outcome: Outcome | None = None
    guidance: Guidance = Guidance.NONE
    retry_after_s: float = 0.0
    text: str = ""


class Watcher:
    """Frames in, events out. Not for threads: Watch has the loop around it.

    Args:
        begin: begins a session; raises PassphraseRequiredError and LockedOutError where there can be none.
        make_follower: follows faces between sessions.
        engine: tells whether somebody is still the same.
        leave_after_s: who was not seen for so long has left.
        why_closed: why the key is closed, "" while it is open: no match outlives its key.
    """

    def __init__(
        self, begin: Callable[[], Session], make_follower: Callable[[], Follower], engine: Engine, *,
        leave_after_s: float = LEAVE_AFTER_S, why_closed: Callable[[], str] = lambda: "",
    ) -> None:  # fmt: skip
        if (
            isinstance(leave_after_s, bool)
            or not isinstance(leave_after_s, (int, float))
            or not 1 <= leave_after_s <= 3600
        ):
            raise InputError(f"leave_after_s must be from 1 to 3600 seconds, not {leave_after_s!r}")
        self._begin, self._follower, self._engine = begin, make_follower(), engine
        self._leave_after_s = leave_after_s
        self._session: Session | None = None
        self._present: Presence | None = None
        self._someone = False
        self._seen_s = -math.inf
        self._last_s = -math.inf
        self._wait_until_s = -math.inf
        self._why_closed, self._asked_s, self._standing = why_closed, -math.inf, 0
        self._said: tuple[WatchKind, str] | None = None
        self.progress = Progress(SessionPhase.SEEK, Guidance.SHOW_FACE)

    def close(self) -> None:
        """End the session that is under way, and wipe what is held."""
        with contextlib.ExitStack() as every:
            if self._present is not None:
                every.callback(self._present.close)
            if self._session is not None:
                every.callback(self._session.close)
        self._session = self._present = None

    def feed(self, image: Any, time_s: float) -> list[WatchEvent]:
        """Go on by one frame: uint8 (H, W, 3) RGB or (H, W) gray, at this time. What changed, in order.

        InputError for what is no frame or no time.
        """
        image, time_s = checked_frame(image, time_s)
        self._standing = self._standing + 1 if time_s == self._last_s else 0
        if self._standing > MOST_FRAMES_PER_S * self._leave_after_s:  # a clock that stands still lets nobody stay
            return self.silent()
        if time_s < self._last_s:  # the clock was set back: what was told by it means nothing any more
            self._seen_s = self._wait_until_s = self._asked_s = time_s
            self._forget_present()
        self._last_s = time_s
        if self._session is not None:
            return self._go_on(self._session, image, time_s)
        view = self._follower.look(image, time_s)
        events: list[WatchEvent] = []
        if self._present is not None and self._present.matched and (why := self._asked(time_s)):
            events += self._gone(time_s)  # the match is over, also for who stands there still
            self._someone = True
            return events + self._closed(PassphraseRequiredError(why), time_s)
        if self._present is not None and not self._present.is_same(view):
            events += self._gone(time_s)
        if view.sample is not None:
            self._seen_s = time_s
        elif self._someone and time_s - self._seen_s > self._leave_after_s:
            return self._gone(time_s)
        self.progress = Progress(
            SessionPhase.SEEK, view.guidance, box_px=None if view.face is None else view.face.box_px
        )
        if view.sample is None:
            return events
        if self._present is not None:
            if time_s < self._present.again_s:
                return events
            self._forget_present()
        if not self._someone:
            self._someone = True
            events.append(WatchEvent(WatchKind.ARRIVED, time_s, text="somebody came before the camera"))
        return events + self._begin_session(image, time_s)

    def silent(self) -> list[WatchEvent]:
        """No frame came for leave_after_s: nobody knows who is there. What changed."""
        self._end_session()
        return self._gone(self._last_s)

    @property
    def leave_after_s(self) -> float:
        """Who was not seen for so long has left."""
        return self._leave_after_s

    # --- steps

    def _asked(self, time_s: float) -> str:
        """Why the key is closed, asked now and then."""
        if time_s - self._asked_s < ASK_AGAIN_S:
            return ""
        self._asked_s = time_s
        return self._why_closed()

    def _begin_session(self, image: Any, time_s: float) -> list[WatchEvent]:
        if time_s < self._wait_until_s:
            return []
        try:
            self._session = self._begin()
        except LockedOutError as error:
            return self._locked_out(error, time_s)
        except PassphraseRequiredError as error:
            return self._closed(error, time_s)
        return self._go_on(self._session, image, time_s)

    def _go_on(self, session: Session, image: Any, time_s: float) -> list[WatchEvent]:
        try:
            self.progress = session.feed(image, time_s=time_s)
        except LockedOutError as error:
            self._end_session()
            return self._locked_out(error, time_s)
        except PassphraseRequiredError as error:
            self._end_session()
            return self._closed(error, time_s)
        if self.progress.box_px is not None:
            self._seen_s = time_s
        if session.outcome is not None:
            return self._decided(session, session.outcome, time_s)
        if time_s - self._seen_s > self._leave_after_s:
            self._end_session()
            return self._gone(time_s)
        return []

    def _decided(self, session: Session, outcome: Outcome, time_s: float) -> list[WatchEvent]:
        charged, probe = session.charged, session.hand_over()
        self._end_session()
        self._seen_s = max(self._seen_s, time_s - self._leave_after_s)
        self._present = Presence(
            self._engine, probe, matched=bool(outcome), now_s=time_s, leave_after_s=self._leave_after_s,
            again_s=math.inf if charged else time_s + AGAIN_AFTER_S,
        )  # fmt: skip
        kind = WatchKind.MATCHED if outcome else WatchKind.REFUSED
        event = WatchEvent(kind, time_s, outcome, outcome.guidance, text=outcome.reason)
        return self._once(event) if not charged else [event]

    def _locked_out(self, error: LockedOutError, time_s: float) -> list[WatchEvent]:
        self._wait_until_s = time_s + error.retry_after_s
        return [WatchEvent(WatchKind.LOCKED_OUT, time_s, retry_after_s=error.retry_after_s, text=error.message)]

    def _closed(self, error: PassphraseRequiredError, time_s: float) -> list[WatchEvent]:
        self._wait_until_s = time_s + ASK_AGAIN_S
        return self._once(WatchEvent(WatchKind.PASSPHRASE_REQUIRED, time_s, text=error.message))

    def _gone(self, time_s: float) -> list[WatchEvent]:
        self._forget_present()
        was, self._someone, self._said = self._someone, False, None
        return [WatchEvent(WatchKind.LEFT, time_s, text="nobody is there any more")] if was else []

    def _once(self, event: WatchEvent) -> list[WatchEvent]:
        """The event, unless it was the last one that was said of this appearance."""
        same, self._said = self._said == (event.kind, event.text), (event.kind, event.text)
        return [] if same else [event]

    def _end_session(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            session.close()

    def _forget_present(self) -> None:
        if self._present is not None:
            present, self._present = self._present, None
            present.close()
