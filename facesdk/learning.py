"""What a verification decides with, and what a template learns from it: few samples, surely the owner's, for a while.

The enrolled samples stay as they are. What was learned helps the owner, and a match still needs the enrolled samples'
own score to hold the next looser target: whatever got in, nobody opens who does not hold that. Each rule was simulated
on people of LFW: benchmarks/learning.py, docs/learning.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk import _core, matching
from facesdk.vault import SampleSet

if TYPE_CHECKING:
    from facesdk.policy import Policy
    from facesdk.types import Float32Array
    from facesdk.vault import Template

MAX_LEARNED = 4
MOST_SAMPLES = 7  # enrolled and learned: the most that operating points were measured with
LIFE_S = 90 * 86400
EVERY_S = 3600  # so that the samples are of several moments, and the file is seldom written
LEAST_TO_MOVE, MOST_TO_MOVE = 3, 5  # samples of the next embedder, before they take the template's place


@dataclass(frozen=True)
class Rule:
    """The thresholds of a verification; the n-th number of a tuple is for n frames that count.

    match: of all samples' fused score. anchor: of the enrolled samples' own; None where nothing was learned. strong: of
    the enrolled samples' score with one frame alone, for that frame to be learned; infinite where nothing may be.
    """

    match: tuple[float, ...]
    anchor: tuple[float, ...] | None
    strong: float

    @classmethod
    def of(
        cls, policy: Policy, embedder: str, enrolled: Sequence[Float32Array], learned: Sequence[Float32Array], *,
        frames: int, learning: bool = False,
    ) -> Rule:  # fmt: skip
        """The rule of this policy for a template and at most so many frames. InputError as operating_point raises it.

        learning: whether frames of the verification may be learned.
        """
        own = len(matching.near_copies(enrolled))
        every = len(matching.near_copies([*enrolled, *learned])) if learned else own
        points = policy.points_of_a_verification(embedder, samples=every, frames=frames)
        anchor, strong = None, math.inf
        if learned:
            looser = policy.next_target(embedder, stricter=False)
            bounds = policy.points_of_a_verification(embedder, samples=own, frames=frames, target_fmr=looser)
            anchor = tuple(point.threshold for point in bounds)
        if learning:
            stricter = policy.next_target(embedder, stricter=True)
            strong = policy.points_of_a_verification(embedder, samples=own, frames=frames, target_fmr=stricter)[
                0
            ].threshold
        return cls(tuple(point.threshold for point in points), anchor, strong)

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
        """The numbers of the probes that may be learned, the one that is least like what is there first."""
        likeness = {
            i: max(matching.score(probe, known) for known in (*enrolled, *learned))
            for i, probe in enumerate(probes)
            if matching.fused_score(enrolled, [probe]) >= self.strong
        }
        return sorted(likeness, key=lambda i: likeness[i])


@dataclass(frozen=True, eq=False, repr=False)
class Taken:
    """A learned sample: when it was taken, and its unit vector (d,), turned."""

    time_unix_s: int
    vector: Float32Array


@dataclass(frozen=True, eq=False, repr=False)
class Moving:
    """An embedder that a template moves to, and what it made of a face that may be learned: a unit vector (d,).

    same_person: samples of one person score at least this (EmbedderEntry).
    """

    embedder: str
    model_ids: tuple[str, ...]
    vector: Float32Array
    same_person: float


def learned_of(template: Template, *, now_unix_s: int) -> list[Taken]:
    """What was learned with the template's own embedder and still counts."""
    return _alive(_taken(template, template.embedder, template.model_ids), now_unix_s)


def moving_to(template: Template, embedder: str, model_ids: tuple[str, ...], *, now_unix_s: int) -> list[Taken]:
    """What was learned with another embedder and still counts."""
    return _alive(_taken(template, embedder, model_ids), now_unix_s)


def is_due(samples: Sequence[Taken], *, now_unix_s: int) -> bool:
    """Whether EVERY_S have passed since each was taken, by a clock that may have jumped either way."""
    return all(abs(now_unix_s - one.time_unix_s) >= EVERY_S for one in samples)


def sets_with(
    template: Template, own: Float32Array | None, moving: Moving | None, *, now_unix_s: int
) -> list[SampleSet] | None:
    """The learned sets with a sample more of the template's embedder, of one that it moves to, or of both.

    own: unit vector (d,), not turned. None where they would be what they are. What is too old is left out.
    """
    enrolled = list(template.samples)
    sets, changed = [], False
    samples = learned_of(template, now_unix_s=now_unix_s)
    if own is not None and is_due(samples, now_unix_s=now_unix_s):
        room = min(MAX_LEARNED, MOST_SAMPLES - len(matching.near_copies(enrolled)))
        new = Taken(now_unix_s, template.turned([own])[0])
        more = _added(samples, new, enrolled=enrolled, most=room)
        samples, changed = more or samples, more is not None
    if samples:
        sets.append(_set_of(template.embedder, template.model_ids, samples))
    if moving is None:
        others = template.learned.sets if template.learned is not None else ()
        return [*sets, *(one for one in others if one.embedder != template.embedder)] if changed else None
    samples = moving_to(template, moving.embedder, moving.model_ids, now_unix_s=now_unix_s)
    enough = min(MOST_TO_MOVE, max(LEAST_TO_MOVE, len(matching.near_copies(enrolled))))
    if len(samples) < enough and is_due(samples, now_unix_s=now_unix_s):
        new = Taken(now_unix_s, template.turned([moving.vector], dimension=len(moving.vector))[0])
        more = _added(samples, new, enrolled=(), most=enough)
        if more is not None and all(matching.score(new.vector, one.vector) >= moving.same_person for one in samples):
            samples, changed = more, True
    if samples:
        sets.append(_set_of(moving.embedder, moving.model_ids, samples, complete=len(samples) >= enough))
    return sets if changed else None


def _taken(template: Template, embedder: str, model_ids: tuple[str, ...]) -> list[Taken]:
    found = None if template.learned is None else template.learned.of(embedder, model_ids)
    return [] if found is None else list(map(Taken, found.times_unix_s, found.vectors))


def _alive(samples: Sequence[Taken], now_unix_s: int) -> list[Taken]:
    """Those that are not older than LIFE_S. A clock that was set back ends no life."""
    return [one for one in samples if now_unix_s - one.time_unix_s < LIFE_S]


def _added(samples: Sequence[Taken], new: Taken, *, enrolled: Sequence[Float32Array], most: int) -> list[Taken] | None:
    """At most so many samples with the new one, which takes the place of its near copies, or else of the oldest.

    None where it is a near copy of an enrolled sample, or there is no room: it adds nothing then.
    """
    if most < 1 or any(matching.score(one, new.vector) > matching.NEAR_COPY for one in enrolled):
        return None
    kept = [one for one in samples if matching.score(one.vector, new.vector) <= matching.NEAR_COPY]
    kept.sort(key=lambda one: one.time_unix_s)
    return [*kept[max(0, len(kept) + 1 - most) :], new]


def _set_of(
    embedder: str, model_ids: tuple[str, ...], samples: Sequence[Taken], *, complete: bool = False
) -> SampleSet:
    """The samples as a set, their vectors in locked memory."""
    import numpy as np

    vectors = [one.vector for one in samples]
    memory = _core.Secret(4 * sum(len(vector) for vector in vectors))
    matrix = np.frombuffer(memoryview(memory), np.float32).reshape(len(vectors), -1)
    for row, vector in zip(matrix, vectors, strict=True):
        row[:] = vector
    return SampleSet(embedder, model_ids, tuple(one.time_unix_s for one in samples), matrix, complete)
