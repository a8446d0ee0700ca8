"""Whether somebody who was decided about is still there, or somebody else has come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.capture.alignment import STRAIGHT_DEG
from facesdk.capture.samples import Probe
from facesdk.engine.networks import load_manifest

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.engine.engine import Engine

# Who is there is compared with who was there at least so often, and whenever the face was lost in between.
SAME_EVERY_S = 2.0


class Presence:
    """Who was decided about, told from who comes next by features, which are wiped when he leaves.

    Args:
        engine: makes features.
        probe: what was decided about; None takes the first good frame for it.
        matched: whether it was the owner: then only what is surely still them keeps them there.
        now_s: the time of the decision.
        again_s: from when on another session may be begun with the same person.
        leave_after_s: who was not seen for so long has left.
    """

    def __init__(
        self, engine: Engine, probe: Probe | None, *, matched: bool, now_s: float, again_s: float, leave_after_s: float
    ) -> None:
        self.again_s = again_s
        self._engine, self._probe, self.matched = engine, probe, matched
        self._least = load_manifest().embedder(engine.embedder).same_person
        self._leave_after_s, self._every_s = leave_after_s, min(SAME_EVERY_S, leave_after_s / 2)
        self._track, self._checked_s, self._there_s = -1, -math.inf, now_s

    def is_same(self, view: View) -> bool:
        """Whether it is still who was decided about, as far as the frames until this one can tell."""
        sample = view.sample
        if view.time_s - self._there_s > self._leave_after_s:
            return False
        if sample is None or view.refusal is not None or self._is_aside(view):
            if sample is not None and not self.matched:
                self._there_s = view.time_s
            return True
        if view.track == self._track and view.time_s - self._checked_s < self._every_s:
            return True
        self._track, self._checked_s = view.track, view.time_s
        now = Probe([sample], self._engine)
        if self._probe is None:
            self._probe, self._there_s = now, view.time_s
            return True
        with now:
            same = max(matching.score(now.vectors[0], known) for known in self._probe.vectors) >= self._least
        self._there_s = view.time_s if same else self._there_s
        return same

    def _is_aside(self, view: View) -> bool:
        face = view.face
        return face is None or max(abs(face.pose.yaw_deg), abs(face.pose.pitch_deg)) > STRAIGHT_DEG

    def close(self) -> None:
        """Wipe the features."""
        if self._probe is not None:
            with self._probe:
                self._probe = None
