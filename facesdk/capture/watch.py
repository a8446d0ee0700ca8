"""The loop around a watcher: a camera's frames in, events out, in a thread, for a callback, or by `async for`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facesdk.capture.watcher import Watcher, WatchEvent
    from facesdk.types import Progress

_LOOK_S = 0.25  # how often a watch that waits for a frame looks whether it was cancelled


class Watch:
    """Sessions without end in front of one camera. Iterate it, in a thread or with `async for`, for its events.

    A context: its end wipes what is held. `cancel` ends the iteration from any thread.

    Args:
        watcher: makes events of frames.
        camera: an open camera, or anything that gives frames with `image` and `time_s`.
        on_progress: called after each frame, by the thread that iterates.
    """

    def __init__(
        self, watcher: Watcher, camera: Iterable[Any], *,
        on_progress: Callable[[Progress, Any], None] | None = None,
    ) -> None:  # fmt: skip
        self._watcher, self._camera, self._on_progress = watcher, camera, on_progress
        self._stopping = threading.Event()
        self._feeding = threading.Lock()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    @property
    def progress(self) -> Progress:
        """What the last frame came to."""
        return self._watcher.progress

    def cancel(self) -> None:
        """End the iteration, at once or with the frame that is being looked at."""
        self._stopping.set()

    def close(self) -> None:
        """Cancel, and wipe what is held."""
        self.cancel()
        with self._feeding:
            self._watcher.close()

    def run(self, on_event: Callable[[WatchEvent], object]) -> None:
        """Call on_event with each event, until the camera ends or somebody cancels."""
        for event in self:
            on_event(event)

    def __iter__(self) -> Iterator[WatchEvent]:
        try:
            for frame in self._frames():
                with self._feeding:
                    if self._stopping.is_set():
                        return
                    events = self._watcher.silent() if frame is None else \
                        self._watcher.feed(frame.image, frame.time_s)  # fmt: skip
                    progress = self._watcher.progress
                if self._on_progress is not None and frame is not None:
                    self._on_progress(progress, frame)
                yield from events
        finally:
            self.close()

    def __aiter__(self) -> AsyncIterator[WatchEvent]:
        return self._events()

    async def _events(self) -> AsyncIterator[WatchEvent]:
        loop = sys.modules["asyncio"].get_running_loop()  # who awaits has it loaded; nothing here imports it
        events = iter(self)
        try:
            while (event := await loop.run_in_executor(None, next, events, None)) is not None:
                yield event
        finally:
            self.cancel()

    def _frames(self) -> Iterator[Any]:
        """The frames; None where none came for as long as somebody needs to leave."""
        read = getattr(self._camera, "read", None)
        if read is None:
            yield from self._camera
            return
        frame_s = time.monotonic()
        while not self._stopping.is_set():
            frame = read(timeout_s=_LOOK_S)
            if frame is not None or time.monotonic() - frame_s > self._watcher.leave_after_s:
                frame_s = time.monotonic()
                yield frame
            elif getattr(self._camera, "ended", False):
                return
