"""What of a template's learned samples counts, what is wanted next, and the sets with one sample more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.engine.networks import load_manifest
from facesdk.errors import InputError
from facesdk.policy import Policy
from facesdk.vault import SampleSet
from facesdk.vault.template import in_locked_memory

if TYPE_CHECKING:
    from facesdk.types import Float32Array
    from facesdk.vault import Template

MAX_LEARNED = 4
MOST_SAMPLES = 7  # enrolled and learned: the most that operating points were measured with
LIFE_S = 90 * 86400
EVERY_S = 3600  # so that the samples are of several moments, and the file is seldom written
LEAST_TO_MOVE, MOST_TO_MOVE = 3, 5  # samples of the next embedder, before they take the template's place


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


@dataclass(frozen=True)
class Due:
    """Whether a sample is wanted now: own, of the template's embedder; moving, of the one that it moves to."""

    own: bool
    moving: bool


def learned_of(template: Template, *, now_unix_s: int) -> list[Taken]:
    """What was learned with the template's own embedder and still counts."""
    found = None if template.learned is None else template.learned.of(template.embedder, template.model_ids)
    return _alive(found, now_unix_s)


def moving_of(template: Template, *, now_unix_s: int) -> tuple[SampleSet, list[Taken]] | None:
    """The set of the embedder that the template moves to, and what of it still counts; None where there is none."""
    for one in template.learned.sets if template.learned is not None else ():
        if (one.embedder, one.model_ids) != (template.embedder, template.model_ids) and _alive(one, now_unix_s):
            return one, _alive(one, now_unix_s)
    return None


def due(template: Template, probe: Float32Array, *, learning: bool, migrate_to: str | None, now_unix_s: int) -> Due:
    """Whether a sure match may leave a sample. probe: its turned unit vector.

    For its own embedder it must be no near copy of an enrolled sample, and there must be room. A move that is under way
    to another embedder goes first.
    """
    enrolled = list(template.samples)
    new = all(matching.score(one, probe) <= matching.NEAR_COPY for one in enrolled)
    own = (
        learning
        and new
        and _room(enrolled) > 0
        and _hour_passed(learned_of(template, now_unix_s=now_unix_s), now_unix_s)
    )
    moving = migrate_to not in (None, template.embedder)
    under_way = moving_of(template, now_unix_s=now_unix_s)
    if moving and under_way is not None:
        found, samples = under_way
        wanted = not found.complete or not _is_of_this_release(template, found)
        moving = found.embedder == migrate_to and wanted and _hour_passed(samples, now_unix_s)
    return Due(own, moving)


def sets_with(
    template: Template, own: Float32Array | None, moving: Moving | None, *, now_unix_s: int
) -> list[SampleSet] | None:
    """The learned sets with a sample more of the template's embedder, of one that it moves to, or of both.

    own: unit vector (d,), not turned. None where they would be what they are. What is too old is left out.
    """
    enrolled = list(template.samples)
    sets, changed = [], False
    samples = learned_of(template, now_unix_s=now_unix_s)
    if own is not None:
        more = _added(samples, Taken(now_unix_s, template.turned([own])[0]), enrolled=enrolled, most=_room(enrolled))
        samples, changed = more or samples, more is not None
    if samples:
        sets.append(_set_of(template.embedder, template.model_ids, samples))
    under_way = moving_of(template, now_unix_s=now_unix_s)
    if moving is not None and (under_way is None or under_way[0].embedder == moving.embedder):
        before = under_way[1] if under_way is not None and under_way[0].model_ids == moving.model_ids else []
        new = Taken(now_unix_s, template.turned([moving.vector], dimension=len(moving.vector))[0])
        alike = [one for one in before if matching.score(new.vector, one.vector) >= moving.same_person]
        if 2 * len(alike) >= len(before) or len(before) == 1:  # an odd one out goes, a majority stays
            enough = min(MOST_TO_MOVE, max(LEAST_TO_MOVE, len(matching.near_copies(enrolled))))
            more = _added(alike, new, enrolled=(), most=enough) or alike
            complete = len(more) >= enough
            return [*sets, _set_of(moving.embedder, moving.model_ids, more, complete=complete)]
    if under_way is not None:
        sets.append(under_way[0])
    return sets if changed else None


def may_move(template: Template, ready: SampleSet) -> bool:
    """Whether these samples can take the template's place in this release: by their models, points and age."""
    if ready.embedder == template.embedder or not _is_of_this_release(template, ready):
        return False
    vectors = list(ready.vectors)
    policy = Policy().tightened(template.policy)
    try:
        policy.operating_point(ready.embedder, samples=len(matching.near_copies(vectors)), frames=1)
    except InputError:
        return False
    return len(_alive(ready, int(time.time()))) == len(vectors)


def _is_of_this_release(template: Template, found: SampleSet) -> bool:
    """Whether these models are there. The detector's id comes first, and may be another's: the enrollment's then."""
    manifest = load_manifest()
    if found.embedder not in manifest.embedders:
        return False
    return found.model_ids == (template.model_ids[0], *manifest.model_ids(found.embedder)[1:])


def _alive(found: SampleSet | None, now_unix_s: int) -> list[Taken]:
    """The samples that are not older than LIFE_S, nor of a future as far away: the clock was wrong then, or is now."""
    taken = [] if found is None else map(Taken, found.times_unix_s, found.vectors)
    return [one for one in taken if abs(now_unix_s - one.time_unix_s) < LIFE_S]


def _hour_passed(samples: Sequence[Taken], now_unix_s: int) -> bool:
    """Whether EVERY_S have passed since each was taken, by a clock that may have jumped either way."""
    return all(abs(now_unix_s - one.time_unix_s) >= EVERY_S for one in samples)


def _room(enrolled: Sequence[Float32Array]) -> int:
    return min(MAX_LEARNED, MOST_SAMPLES - len(matching.near_copies(enrolled)))


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
    _, matrix = in_locked_memory([one.vector for one in samples])
    return SampleSet(embedder, model_ids, tuple(one.time_unix_s for one in samples), matrix, complete)
