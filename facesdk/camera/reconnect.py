"""What happens to a camera, in words, and how long to wait before it is looked for again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


class CameraEventKind(Enum):
    """What happened to a camera."""

    OPENED = "opened"
    LOST = "lost"
    BACK = "back"
    PICTURE = "picture"


@dataclass(frozen=True)
class CameraEvent:
    """Something that happened to a camera: its kind, one sentence for people, and when on the camera's clock."""

    kind: CameraEventKind
    text: str
    time_s: float


class Backoff:
    """How long to wait before the next try: 0.5 s, doubled up to 8 s, until the limit has passed."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._pause_s = limit_s, FIRST_PAUSE_S
        self._since_s: float | None = None

    @property
    def since_s(self) -> float | None:
        """When the first try failed; None while nothing has."""
        return self._since_s

    def failed(self, now_s: float) -> float | None:
        """Seconds to wait after a try that failed now; None once the limit has passed."""
        if self._since_s is None:
            self._since_s = now_s
        left_s = self._since_s + self._limit_s - now_s
        if left_s <= 0:
            return None
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return min(pause_s, left_s)

    def worked(self) -> None:
        """Start over."""
        self._pause_s, self._since_s = FIRST_PAUSE_S, None
