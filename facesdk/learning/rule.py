"""The thresholds that one verification decides with, and which of its frames are surely the owner's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.errors import InputError
from facesdk.policy import Policy

if TYPE_CHECKING:
    from facesdk.types import Float32Array


@dataclass(frozen=True)
class Rule:
    """The thresholds of a verification; the n-th number of a tuple is for n frames that count.

    match: of all samples' fused score. anchor: of the enrolled samples' own; None where nothing was learned. strong: of
    the enrolled samples' score with one frame alone, for that frame to be learned: the next stricter target's point,
    infinite where there is none.
    """

    match: tuple[float, ...]
    anchor: tuple[float, ...] | None
    strong: float

    @classmethod
    def of(
        cls, policy: Policy, embedder: str, enrolled: Sequence[Float32Array], learned: Sequence[Float32Array], *,
        frames: int,
    ) -> Rule:  # fmt: skip
        """This policy's rule for a template and at most so many frames. InputError as operating_point raises it."""
        own = len(matching.near_copies(enrolled))
        every = len(matching.near_copies([*enrolled, *learned])) if learned else own
        points = policy.points_of_a_verification(embedder, samples=every, frames=frames)
        anchor = None
        if learned:
            looser = policy.next_target(embedder, stricter=False)
            bounds = policy.points_of_a_verification(embedder, samples=own, frames=frames, target_fmr=looser)
            anchor = tuple(point.threshold for point in bounds)
        return cls(tuple(point.threshold for point in points), anchor, _strong(policy, embedder, samples=own))

    def decide(
        self, enrolled: Sequence[Float32Array], learned: Sequence[Float32Array], probes: Sequence[Float32Array]
    ) -> bool:
        """Whether the probes match: unit vectors (d,), all turned alike."""
        columns = matching.near_copies(probes)
        number = len(columns) - 1
        if self.anchor is None:
            return matching.fused_score(enrolled, probes, columns=columns) >= self.match[number]
        own = matching.fused_score(enrolled, probes, columns=columns)
        every = matching.fused_score([*enrolled, *learned], probes, columns=columns)
        return own >= self.anchor[number] and every >= self.match[number]

    def to_learn(
        self, enrolled: Sequence[Float32Array], learned: Sequence[Float32Array], probes: Sequence[Float32Array]
    ) -> list[int]:
        """The numbers of the probes that are surely the owner's, the one that is least like what is there first."""
        likeness = {
            i: max(matching.score(probe, known) for known in (*enrolled, *learned))
            for i, probe in enumerate(probes)
            if matching.fused_score(enrolled, [probe]) >= self.strong
        }
        return sorted(likeness, key=lambda i: likeness[i])


def _strong(policy: Policy, embedder: str, *, samples: int) -> float:
    """The next stricter target's threshold for one frame; infinite where there is none."""
    stricter = policy.next_target(embedder, stricter=True)
    if stricter == policy.target_fmr:
        return math.inf
    try:
        return policy.operating_point(embedder, samples=samples, frames=1, target_fmr=stricter).threshold
    except InputError:  # the data cannot support it
        return math.inf
