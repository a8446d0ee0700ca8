"""Whether the face in each frame is still that of the frame before, by its points and behind every gap by features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.capture.samples import Probe
from facesdk.engine.networks import load_manifest
from facesdk.liveness.evidence import Seen
from facesdk.liveness.parallax import MIN_TRACKS

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.engine.engine import Engine
    from facesdk.liveness.parallax import Parallax
    from facesdk.types import Float32Array, Sample


class Continuity:
    """One face from frame to frame.

    Args:
        engine: makes features, where points alone do not say that it is the same face.
        relief: follows the face's points; without it only frames without a face are gaps.
    """

    def __init__(self, engine: Engine, relief: Parallax | None) -> None:
        self._engine, self._relief = engine, relief
        self._least = load_manifest().embedder(engine.embedder).same_person
        self.reset()

    def reset(self) -> None:
        """Begin with another face."""
        self._last: Sample | None = None
        self._gap, self._points = False, 0
        if self._relief is not None:
            self._relief.reset()

    @property
    def least(self) -> float:
        """The score that two looks at one person have, at least."""
        return self._least

    @property
    def last(self) -> Sample | None:
        """The face of the last frame that had one."""
        return self._last

    def lose(self) -> None:
        """Take note of a frame in which the face cannot be made out: whoever is there next may be another."""
        self._gap = True

    def begin(self, sample: Sample) -> None:
        """Go on from this face, with the next one compared with it in any case."""
        self._last, self._gap = sample, True

    def relief(self, view: View, sample: Sample) -> Seen | None:
        """Follow the face's points into this frame; the relief that they show, where it can be told.

        Most points gone at once are a gap: it may be another surface.
        """
        points = sample.face.landmarks_px
        if self._relief is None or points is None:
            return None
        found = self._relief.feed(view.image, points, sample.face.pose)
        lost = self._relief.followed < max(self._points / 2, MIN_TRACKS)
        self._gap = self._gap or (self._points > 0 and lost)
        self._points = self._relief.points
        return None if found is None else Seen(view.time_s, found.rho, found.rho_bent)

    def same(self, sample: Sample) -> bool:
        """Whether this is the last face, as far as that matters: where there was no gap, nobody could change places."""
        before, gap = self._last, self._gap
        self._last, self._gap = sample, False
        if not gap or before is None:
            return True
        with Probe([before], self._engine) as one, Probe([sample], self._engine) as other:
            return is_same(one.vectors, other.vectors, self._least)


def is_same(before: Sequence[Float32Array], after: Iterable[Float32Array], least: float) -> bool:
    """Whether each of the later features is like one of the earlier ones; the first that is not ends it."""
    return all(max(matching.score(one, other) for other in before) >= least for one in after)
