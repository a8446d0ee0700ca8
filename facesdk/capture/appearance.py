"""One appearance: the same face in each of consecutive frames, from when it comes until it is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk.capture.quality import QualityLimits, Refusal, assess
from facesdk.engine.tracking import Tracker, place_of
from facesdk.types import Guidance

if TYPE_CHECKING:
    from facesdk.engine.engine import Engine
    from facesdk.types import Face, Frame, Sample

# Nobody for so long, or no frame: whoever is there next may be somebody else.
LOST_AFTER_S = 0.5
# A head moves less than this between two frames, in widths of its face: so much at once, and so much a second.
JUMP, JUMP_PER_S = 0.25, 4.0
GROWTH, GROWTH_PER_S = 1.25, 2.0
# What a head that turns away for a moment is refused for, without being lost.
PASSING = frozenset({Guidance.LOOK_STRAIGHT, Guidance.HOLD_STILL, Guidance.MORE_LIGHT, Guidance.LESS_LIGHT})


@dataclass(frozen=True, eq=False)
class View:
    """What one frame shows of an appearance.

    Attributes:
        image: the frame.
        time_s: its time.
        sample: of the face; None where none could be made out.
        refusal: why no features would be made of it; None for a good one.
        track: the number of the appearance; another one than in the view before means that it is another.
    """

    image: Frame
    time_s: float
    sample: Sample | None
    refusal: Refusal | None
    track: int

    @property
    def face(self) -> Face | None:
        """The face that is followed."""
        return None if self.sample is None else self.sample.face

    @property
    def guidance(self) -> Guidance:
        """What the person can do about a refusal."""
        return Guidance.NONE if self.refusal is None else self.refusal.guidance


class Follower:
    """Follows the largest face from frame to frame, and says when it is another appearance.

    Args:
        engine: finds and follows.
        limits: what a frame must be to be used.
    """

    def __init__(self, engine: Engine, limits: QualityLimits) -> None:
        self._tracker, self._limits = Tracker(engine), limits
        self._track = 0
        self._seen_s = -math.inf
        self._frame_s = -math.inf
        self._place: tuple[float, float, float] | None = None
        self._shape: tuple[int, ...] = ()

    def look(self, image: Frame, time_s: float) -> View:
        """Look at the next frame of the stream. InputError as Engine.observe has it."""
        if image.shape != self._shape or not 0 <= time_s - self._frame_s <= LOST_AFTER_S:
            self._tracker.reset()
            self._lose()
        self._shape, self._frame_s = image.shape, time_s
        sample, faces = self._tracker.observe(image)
        refusal = assess(sample, len(faces), self._limits, enrolling=False)
        if sample is None or sample.turned or (refusal is not None and refusal.guidance not in PASSING):
            if time_s - self._seen_s > LOST_AFTER_S:
                self._lose()
        else:
            place = place_of(sample.face.landmarks_px)
            if self._place is not None and not _follows(self._place, place, time_s - self._seen_s):
                self._lose()
            self._place, self._seen_s = place, time_s
        return View(image, time_s, sample, refusal, self._track)

    def close(self) -> None:
        """Let go of the face that was followed."""
        self._tracker.forget()
        self._place = None

    def _lose(self) -> None:
        """Begin another appearance, unless this one has shown nobody yet."""
        if self._place is not None:
            self._track, self._place = self._track + 1, None


def _follows(before: tuple[float, float, float], now: tuple[float, float, float], elapsed_s: float) -> bool:
    """Whether one head can be at both places; NaN says no."""
    most = (JUMP + JUMP_PER_S * elapsed_s) * before[2]
    growth = GROWTH + GROWTH_PER_S * elapsed_s
    return math.dist(before[:2], now[:2]) <= most and 1 / growth <= now[2] / max(before[2], 1e-6) <= growth
