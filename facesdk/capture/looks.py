"""What the passive networks see in the first frames of a session."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facesdk.liveness.passive import NEEDED, PassiveSample, PassiveVerdict, passive_verdict

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.liveness.passive import Passive
    from facesdk.types import Sample

GAP_S = 0.1
YAW_DEG, PITCH_DEG = 12.0, 25.0  # turned further, living people are denied: benchmarks/passive.py
MOST = 50  # in a picture too dark to tell


class Looks:
    """Looks at one face until it is told, a few times a second.

    Args:
        passive: the networks; None where they are not there, and nothing is told.
    """

    def __init__(self, passive: Passive | None) -> None:
        self._passive = passive
        self._seen: list[PassiveSample] = []
        self._last_s = -math.inf
        self.samples: list[Sample] = []  # what was looked at, the last NEEDED of them

    @property
    def verdict(self) -> PassiveVerdict:
        """What is told so far."""
        return passive_verdict(self._seen)

    @property
    def dark(self) -> bool:
        """Whether there were looks enough, and too little light in them."""
        return len(self._seen) >= NEEDED and self.verdict is PassiveVerdict.PENDING

    def feed(self, view: View) -> PassiveVerdict:
        """Look at a frame, if that is still to be done and its face is straight and good; what is told now."""
        sample = view.sample
        told = len(self._seen) >= MOST or self.verdict in (PassiveVerdict.LIVE, PassiveVerdict.UNAVAILABLE)
        if self._passive is None or told or sample is None or view.refusal is not None:
            return self.verdict
        pose = sample.face.pose
        straight = abs(pose.yaw_deg) <= YAW_DEG and abs(pose.pitch_deg) <= PITCH_DEG
        if straight and view.time_s - self._last_s >= GAP_S:
            self._last_s = view.time_s
            self._seen.append(self._passive.look(view.image, sample))
            self.samples = [*self.samples, sample][-NEEDED:]
        return self.verdict
