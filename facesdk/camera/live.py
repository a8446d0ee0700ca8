"""A camera that is watched: the newest frame only, lost and found again, with what happens in words."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facesdk._core import process_token
from facesdk.camera.health import Health, Settling, StreamHealth
from facesdk.camera.reconnect import Backoff, CameraEvent, CameraEventKind
from facesdk.errors import CameraError, ForkedError, InputError

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame, FrameSource
    from facesdk.camera.identity import CameraIdentity

GIVE_UP_AFTER_S = 60.0
# OpenCV waits ten seconds at most for a camera that does not answer.
OPEN_TIMEOUT_S, STOP_TIMEOUT_S = 25.0, 12.0
_LOOK_S = 0.25  # how often one who waits looks at the clock
_KEPT_EVENTS = 64


class LiveCamera(AbstractContextManager["LiveCamera"]):
    """A camera read by a thread of its own, which keeps the newest frame and counts the others as dropped.

    `with` starts and stops it; iterating gives the newest frame, waits for the next, and ends where the source ends. A
    camera that is unplugged is an event in words, and it is looked for again until `give_up_after_s` has passed without
    a frame: then CameraError.

    Args:
        open_again: opens the source; called with the identity that it must have, None the first time.
        name: what messages call it.
        settle: skip the first frames after each opening until their brightness is stable, or a second has passed.
        give_up_after_s: the longest time without a frame; 0 gives up at once.
        on_event: called with each event, by the thread that takes the frames.
        clock, pause: seconds on a clock that only goes forward; waits so many of them. For tests.
    """

    def __init__(
        self, open_again: Callable[[CameraIdentity | None], FrameSource], *, name: str, settle: bool = True,
        give_up_after_s: float = GIVE_UP_AFTER_S, on_event: Callable[[CameraEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic, pause: Callable[[float], object] | None = None,
    ) -> None:  # fmt: skip
        if not give_up_after_s >= 0:
            raise InputError(f"give_up_after_s must be 0 or more seconds, not {give_up_after_s!r}")
        self._open, self._name, self._settle, self._on_event = open_again, name, settle, on_event
        self._limit_s, self._clock = give_up_after_s, clock
        self._stopping, self._changed = threading.Event(), threading.Condition()
        self._pause = pause or self._stopping.wait
        self._thread: threading.Thread | None = None
        self._process = process_token()
        self._source: Any = None
        # All of these under _changed.
        self._identity: CameraIdentity | None = None
        self._newest: CapturedFrame | None = None
        self._dropped = self._all_dropped = self._sequence = 0
        self._frame_s = 0.0
        self._opened = self._ended = False
        self._error: BaseException | None = None
        self._health, self._pending = Health.OK, deque[CameraEvent](maxlen=_KEPT_EVENTS)
        self._events: deque[CameraEvent] = deque(maxlen=_KEPT_EVENTS)

    @property
    def identity(self) -> CameraIdentity | None:
        """Who the camera says it is, once it is open; None for a source that does not say."""
        return self._identity

    @property
    def label(self) -> str:
        """A short name for the audit log: the identity's text form, else the name, as far as a log can hold it."""
        text = str(self._identity or self._name)
        return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)[:64]

    @property
    def health(self) -> Health:
        """What the pictures look like at the moment."""
        return self._health

    @property
    def dropped(self) -> int:
        """Frames that nobody took, since it was opened."""
        return self._all_dropped

    @property
    def ended(self) -> bool:
        """Whether no more frames will come."""
        return self._ended and self._newest is None

    @property
    def events(self) -> tuple[CameraEvent, ...]:
        """The last 64 events."""
        with self._changed:
            return tuple(self._events)

    def __enter__(self) -> LiveCamera:
        if self._thread is not None:
            raise InputError("a live camera is started once: open another one")
        self._thread = threading.Thread(target=self._run, name=f"facesdk {self._name}", daemon=True)
        self._thread.start()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._opened or self._ended, OPEN_TIMEOUT_S)
                if self._opened:
                    return self
                error = self._error
            raise error or CameraError(f"{self._name} does not answer: it was not open after {OPEN_TIMEOUT_S:g} s")
        except BaseException:
            self._stop()
            raise

    def __exit__(self, kind: object, error: object, at: object) -> None:
        if not self._stop() and error is None:
            raise CameraError(f"{self._name} does not let go: its driver hangs; unplug it")

    def __iter__(self) -> Iterator[CapturedFrame]:
        while True:
            frame = self.read()
            if frame is not None:
                yield frame
            elif self.ended:
                return

    def read(self, timeout_s: float | None = None) -> CapturedFrame | None:
        """Take the newest frame that was not taken yet.

        Args:
            timeout_s: how long to wait for one at most; None waits as long as the camera may still come back.

        Returns:
            The frame, or None: nothing came in time, or the source has ended (`ended`).

        Raises:
            CameraError: the camera is lost for good.
            InputError: it was not started with `with`.
            ForkedError: it was opened before a fork.
        """
        if self._process != process_token():  # before the lock, which nobody in a child would ever give back
            raise ForkedError("a live camera is read in the process that opened it: open it in this one")
        if self._thread is None:
            raise InputError("a live camera is started by `with`: with open_camera(...) as camera")
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _LOOK_S if end_s is None else min(_LOOK_S, end_s - time.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._pending or self._ended, max(left_s, 0.0))
                events, self._pending = self._pending, deque(maxlen=_KEPT_EVENTS)
                frame, error, ended = self._taken(), self._error, self._ended
                silent_s = self._clock() - self._frame_s
            for event in events:
                if self._on_event is not None:
                    self._on_event(event)
            if frame is not None:
                return frame
            if error is not None:
                raise error
            if ended or (end_s is not None and time.monotonic() >= end_s):
                return None
            if silent_s > self._limit_s + STOP_TIMEOUT_S:  # the driver never came back to the thread
                raise CameraError(f"{self._name} gave no frame for {silent_s:.0f} s and its driver does not answer")

    def _taken(self) -> CapturedFrame | None:
        frame, self._newest = self._newest, None
        if frame is not None:
            frame, self._dropped = replace(frame, dropped=self._dropped), 0
        return frame

    def _stop(self) -> bool:
        """Whether the thread has ended."""
        self._stopping.set()
        interrupt = getattr(self._source, "interrupt", None)
        if interrupt is not None:
            interrupt()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_TIMEOUT_S)
        return self._thread is None or not self._thread.is_alive()

    # What follows is done by the thread.

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._connections()
        except BaseException as caught:  # it must reach whoever waits for a frame
            error = caught
        with self._changed:
            self._ended, self._error = True, None if self._stopping.is_set() else error
            self._changed.notify_all()

    def _connections(self) -> None:
        """Read, and open again after each loss, until the source ends, somebody stops it or the limit has passed."""
        backoff = Backoff(self._limit_s)
        while not self._stopping.is_set():
            try:
                self._one_connection(backoff)
                return
            except CameraError as error:
                now_s, first = self._clock(), backoff.since_s is None
                if not self._opened:
                    raise
                pause_s = backoff.failed(now_s)
                if pause_s is None and self._limit_s == 0:
                    raise
                if pause_s is None:
                    raise CameraError(f"{error.message}; it did not come back within {self._limit_s:g} s") from error
                if first:
                    self._lost(f"{error.message}; looking for it again for {self._limit_s:g} s", now_s)
                self._pause(pause_s)

    def _one_connection(self, backoff: Backoff) -> None:
        """One time from opening to the end of the source; CameraError where it is lost."""
        with self._open(self._identity) as source:
            self._source = source
            try:
                self._note_opening(source)
                settling, health = Settling(), StreamHealth()
                for frame in source:
                    if self._stopping.is_set():
                        return
                    if self._settle and not settling.feed(frame):
                        continue
                    if backoff.since_s is not None:
                        self._tell(CameraEventKind.BACK,
                                   f"{self._name} is back after {self._clock() - backoff.since_s:.1f} s")  # fmt: skip
                        backoff.worked()
                    self._put(frame, health)
            finally:
                self._source = None

    def _note_opening(self, source: FrameSource) -> None:
        identity = getattr(source, "identity", None)
        if self._opened:
            if self._identity is not None and (identity is None or identity.mark != self._identity.mark):
                raise CameraError(f"{self._name}: another camera is in its place, {identity}, not {self._identity}")
            return
        with self._changed:
            self._identity, self._opened, self._frame_s = identity, True, self._clock()
            self._changed.notify_all()
        self._tell(CameraEventKind.OPENED, f"{self._name} is open{'' if identity is None else f': {identity}'}")

    def _put(self, frame: CapturedFrame, health: StreamHealth) -> None:
        with self._changed:
            missed = self._newest is not None
            self._dropped += missed
            self._all_dropped += missed
            self._newest = frame = replace(frame, sequence=self._sequence)
            self._sequence += 1
            self._frame_s = self._clock()
            self._changed.notify_all()
        found = health.feed(frame)
        if found is not self._health:
            self._health = found
            self._tell(CameraEventKind.PICTURE, found.value or "The picture is as it should be again.")

    def _lost(self, text: str, now_s: float) -> None:
        """A frame from before is not given as the newest one: nobody knows how long the camera will be away."""
        with self._changed:
            missed = self._newest is not None
            self._newest = None
            self._dropped += missed
            self._all_dropped += missed
        self._tell(CameraEventKind.LOST, text, now_s)

    def _tell(self, kind: CameraEventKind, text: str, now_s: float | None = None) -> None:
        event = CameraEvent(kind, text, self._clock() if now_s is None else now_s)
        with self._changed:
            self._events.append(event)
            self._pending.append(event)
            self._changed.notify_all()
