"""Whether somebody who was decided about is still there, or somebody else has come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.capture.samples import Probe
from facesdk.capture.verification import STRAIGHT_DEG
from facesdk.engine.networks import load_manifest

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.engine.engine import Engine

# Who is there is compared with who was there at least so often, and whenever the face was lost in between.
SAME_EVERY_S = 2.0


class Presence:
    """Who was decided about and has not left: told from who comes next by features, which are wiped when he leaves."""

    def __init__(self, engine: Engine, *, matched: bool, again_s: float) -> None:
        self.matched, self.again_s = matched, again_s  # again_s: from when on another session may be begun with them
        self._engine, self._probe = engine, None
        self._least = load_manifest().embedder(engine.embedder).same_person
        self._track, self._checked_s = -1, -math.inf

    _probe: Probe | None

    def is_same(self, view: View) -> bool:
        """Whether it is still who was decided about, as far as this frame can tell."""
        sample = view.sample
        due = view.track != self._track or view.time_s - self._checked_s >= SAME_EVERY_S
        if sample is None or view.refusal is not None or not due:
            return True
        pose = sample.face.pose
        if max(abs(pose.yaw_deg), abs(pose.pitch_deg)) > STRAIGHT_DEG:
            return True
        self._track, self._checked_s = view.track, view.time_s
        now = Probe([sample], self._engine)
        if self._probe is None:
            self._probe = now
            return True
        with now:
            return matching.score(now.vectors[0], self._probe.vectors[0]) >= self._least

    def close(self) -> None:
        if self._probe is not None:
            with self._probe:
                self._probe = None
