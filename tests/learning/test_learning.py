"""What a template may learn, by which rule, how much of it and for how long."""

from __future__ import annotations

import time
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from learning_tools import NEXT, NOW, OWN, SALT, SIZE, at_angle, person
from vault_tools import unit_vectors

from facesdk import Policy, learning, matching
from facesdk.engine.networks import EmbedderEntry, load_manifest
from facesdk.engine.operating_points import OperatingPoint
from facesdk.learning import EVERY_S, LIFE_S, MAX_LEARNED, Due, Moving, Rule, Taken
from facesdk.vault import SampleSet
from facesdk.vault.keys.provider import KEY_SIZE, random_secret
from facesdk.vault.learned import MAX_LEARNED_SIZE, open_learned, seal_learned


def rule(enrolled: list[np.ndarray], learned: list[np.ndarray] | None = None, **options: Any) -> Rule:
    return Rule.of(Policy(), "sface", enrolled, learned or [], **{"frames": 1, **options})


# --- the rule


def test_without_anything_learned_the_rule_is_the_operating_point() -> None:
    enrolled = person(3)
    found = rule(enrolled, frames=3)
    points = [load_manifest().embedder("sface").point(2e-5, samples=3, frames=n) for n in (1, 2, 3)]
    assert found.match == tuple(point.threshold for point in points)
    assert found.anchor is None


@pytest.mark.parametrize(
    ("target", "anchor", "strong"), [(1e-3, 1e-3, 1e-4), (1e-4, 1e-3, 2e-5), (2e-5, 1e-4, 1e-5), (1e-5, 2e-5, None)]
)
def test_anchor_and_strong_are_the_next_targets(target: float, anchor: float, strong: float | None) -> None:
    enrolled, learned = person(3), person(1, seed=5)
    found = Rule.of(Policy(target_fmr=target), "sface", enrolled, learned, frames=1)
    entry = load_manifest().embedder("sface")
    assert found.anchor == (entry.point(anchor, samples=3, frames=1).threshold,)
    # At the strictest target nothing is surer than a match, and so nothing is learned.
    assert found.strong == (np.inf if strong is None else entry.point(strong, samples=3, frames=1).threshold)
    assert found.match == (entry.point(target, samples=4, frames=1).threshold,)


def test_where_the_stricter_target_is_not_offered_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """And verifications go on: whatever stops one must come before the attempt is paid."""
    real = EmbedderEntry.point

    def point(self: EmbedderEntry, target_fmr: float, **protocol: int) -> OperatingPoint:
        found = real(self, target_fmr, **protocol)
        return replace(found, threshold=np.inf) if target_fmr == 1e-5 else found

    monkeypatch.setattr(EmbedderEntry, "point", point)
    assert rule(person(3)).strong == np.inf
    assert rule(person(3)).match[0] < 1


def test_a_score_at_the_threshold_is_enough_and_less_is_not() -> None:
    enrolled, learned, probe = person(3), person(1, seed=5), person(4)[3]
    own, every = matching.fused_score(enrolled, [probe]), matching.fused_score([*enrolled, *learned], [probe])

    def above(score: float) -> float:
        return float(np.nextafter(score, 2.0))

    for match, opens in ((own, True), (above(own), False)):
        assert Rule((match,), None, 0.5).decide(enrolled, [], [probe]) is opens
    for match, anchor, opens in ((every, own, True), (above(every), own, False), (every, above(own), False)):
        assert Rule((match,), (anchor,), 0.5).decide(enrolled, learned, [probe]) is opens
    for strong, sure in ((own, [0]), (above(own), [])):
        assert Rule((0.5,), None, strong).to_learn(enrolled, [], [probe]) == sure


def test_the_numbers_that_the_documents_name() -> None:
    assert (LIFE_S, EVERY_S, MAX_LEARNED, learning.MOST_SAMPLES) == (90 * 24 * 3600, 3600, 4, 7)
    assert (learning.LEAST_TO_MOVE, learning.MOST_TO_MOVE) == (3, 5)
    largest = [SampleSet(f"{'e' * 63}{n}", ("ab" * 32,) * 16, (2**63 - 1,) * 10, np.ones((10, 4096), np.float32))
               for n in range(2)]  # fmt: skip
    with random_secret(KEY_SIZE) as kek:
        assert len(seal_learned(kek, largest, user="alice", salt=SALT)) == MAX_LEARNED_SIZE < 340_000


def test_what_was_learned_helps_the_owner_and_never_without_the_enrolled_samples() -> None:
    """The bound of all drift: a template that has learned nothing but a stranger does not open to him."""
    base = unit_vectors(1, SIZE)[0]
    enrolled = [at_angle(base, 0.84, seed=i) for i in range(3)]
    threshold, anchor = rule(enrolled).match[0], rule(enrolled, [base]).anchor
    assert anchor is not None
    between = next(
        probe
        for probe in (at_angle(base, 0.5 + step / 1000, seed=77) for step in range(500))
        if anchor[0] + 0.01 < matching.fused_score(enrolled, [probe]) < threshold - 0.005
    )
    assert not rule(enrolled).decide(enrolled, [], [between])
    learned = [at_angle(between, 0.8, seed=20 + i) for i in range(4)]
    assert rule(enrolled, learned).decide(enrolled, learned, [between])
    stranger = at_angle(base, 0.5, seed=78)
    assert matching.fused_score(enrolled, [stranger]) < anchor[0]
    his = [at_angle(stranger, 0.8, seed=40 + i) for i in range(4)]
    assert matching.fused_score([*enrolled, *his], [stranger]) > rule(enrolled, his).match[0]
    assert not rule(enrolled, his).decide(enrolled, his, [stranger])


def test_only_frames_that_are_strong_by_themselves_are_learned_the_newest_look_first() -> None:
    enrolled = person(3)
    base = np.mean(enrolled, axis=0)
    base /= np.linalg.norm(base)
    probes = [at_angle(base, score, seed=i) for i, score in enumerate((0.9, 0.4, 0.75, 0.5))]
    own = [matching.fused_score(enrolled, [probe]) for probe in probes]
    found = rule(enrolled, frames=4)
    assert own[0] > found.strong < own[2]
    assert own[1] < found.strong > own[3]
    likest = [max(matching.score(probe, one) for one in enrolled) for probe in probes]
    assert found.to_learn(enrolled, [], probes) == sorted((0, 2), key=lambda i: likest[i])
    for known in (0, 2):
        assert found.to_learn(enrolled, [probes[known]], probes)[-1] == known


def test_ten_thousand_tries_just_below_the_threshold_are_not_even_asked_for() -> None:
    """By the one rule that decides: what does not match is not learned, and a match alone is not enough either."""
    enrolled = person(3)
    found, base = rule(enrolled), np.mean(enrolled, axis=0)
    base /= np.linalg.norm(base)
    nearest = 0.0
    for seed in range(10_000):
        probe = at_angle(base, 0.5 + 0.1 * (seed / 10_000), seed=seed)
        score = matching.fused_score(enrolled, [probe])
        if found.decide(enrolled, [], [probe]):
            continue
        nearest = max(nearest, score)
        assert found.to_learn(enrolled, [], [probe]) == []
    assert found.match[0] - 0.002 < nearest < found.match[0] < found.strong


# --- what is kept


class Opened:
    """A template as `sets_with` uses one, with a rotation that is none."""

    def __init__(self, enrolled: list[np.ndarray], sets: list[SampleSet] | None = None) -> None:
        self.embedder, self.model_ids = "sface", OWN
        self.samples = np.stack(enrolled)
        self.learned = open_sets(sets)

    def turned(self, vectors: list[np.ndarray], *, dimension: int = SIZE) -> list[np.ndarray]:
        assert [v.shape for v in vectors] == [(dimension,)]
        return vectors


def open_sets(sets: list[SampleSet] | None) -> Any:
    with random_secret(KEY_SIZE) as kek:
        if not sets:
            return None
        return open_learned(kek, seal_learned(kek, sets, user="alice", salt=SALT), user="alice", salt=SALT)


def after(template: Opened, own: Any, moving: Any = None, *, now: int = NOW) -> list[SampleSet] | None:
    return learning.sets_with(template, own, moving, now_unix_s=now)  # type: ignore[arg-type]


def test_the_oldest_makes_room_and_there_is_an_end() -> None:
    enrolled, looks = person(3), person(8, seed=3)
    sets: list[SampleSet] | None = None
    for n, look in enumerate(looks):
        sets = after(Opened(enrolled, sets), look, now=NOW + n * EVERY_S)
        assert sets is not None
        assert len(sets[0].times_unix_s) == min(n + 1, MAX_LEARNED)
    assert sets is not None
    assert sets[0].times_unix_s == tuple(NOW + n * EVERY_S for n in range(4, 8))
    assert np.array_equal(sets[0].vectors, looks[4:])


@pytest.mark.parametrize(("enrolled", "room"), [(1, 4), (3, 4), (5, 2), (6, 1), (7, 0), (10, 0)])
def test_no_more_samples_than_points_were_measured_with(enrolled: int, room: int) -> None:
    template, sets = person(enrolled), None
    for n, look in enumerate(person(6, seed=3)):
        sets = after(Opened(template, sets), look, now=NOW + n * EVERY_S) or sets
    assert (len(sets[0].times_unix_s) if sets else 0) == room


def test_a_near_copy_is_nothing_new() -> None:
    enrolled, look = person(3), person(1, seed=3)[0]
    assert after(Opened(enrolled), at_angle(enrolled[1], 0.9, seed=8)) is None
    sets = after(Opened(enrolled), look)
    again = at_angle(look, 0.9, seed=9)
    renewed = after(Opened(enrolled, sets), again, now=NOW + EVERY_S)
    assert renewed is not None
    assert renewed[0].times_unix_s == (NOW + EVERY_S,)
    assert np.array_equal(renewed[0].vectors, [again])


def due(template: Opened, probe: np.ndarray, *, now: int, learning_on: bool = True, to: str | None = None) -> Due:
    return learning.due(template, probe, learning=learning_on, migrate_to=to, now_unix_s=now)  # type: ignore[arg-type]


@pytest.mark.parametrize(("later", "wanted"), [(0, False), (EVERY_S - 1, False), (EVERY_S, True), (-EVERY_S, True)])
def test_one_an_hour_whatever_the_clock_does(later: int, wanted: bool) -> None:
    looks = person(2, seed=3)
    sets = after(Opened(person(3)), looks[0], Moving("joint", NEXT, person(1, seed=4, dimension=64)[0], 0.2))
    assert due(Opened(person(3), sets), looks[1], now=NOW + later, to="joint") == Due(wanted, wanted)


def test_what_is_due_is_known_before_another_embedder_runs() -> None:
    enrolled, look = person(3), person(1, seed=3)[0]
    assert due(Opened(enrolled), look, now=NOW) == Due(own=True, moving=False)
    assert due(Opened(enrolled), look, now=NOW, learning_on=False, to="joint") == Due(own=False, moving=True)
    assert due(Opened(enrolled), look, now=NOW, to="sface") == Due(own=True, moving=False)
    near = at_angle(enrolled[1], 0.9, seed=8)
    assert due(Opened(enrolled), near, now=NOW, to="joint") == Due(own=False, moving=True)
    assert due(Opened(person(7)), look, now=NOW) == Due(own=False, moving=False)
    sets = moved_sets(3)
    assert sets[0].complete
    assert due(Opened(enrolled, sets), look, now=NOW + 9 * EVERY_S, to="joint") == Due(own=True, moving=False)
    # Another move is under way, or is of models that are gone.
    assert not due(Opened(enrolled, moved_sets(1)), look, now=NOW + EVERY_S, to="mobilefacenet").moving
    gone = [replace(sets[0], model_ids=("cd" * 32,))]
    assert due(Opened(enrolled, gone), look, now=NOW + 9 * EVERY_S, to="joint").moving
    gone = [replace(sets[0], embedder="nobody")]
    assert due(Opened(enrolled, gone), look, now=NOW + 9 * EVERY_S, to="nobody").moving


def moved_sets(count: int) -> list[SampleSet]:
    sets: list[SampleSet] | None = None
    for n, look in enumerate(person(count, seed=4, dimension=64)):
        sets = after(Opened(person(3), sets), None, Moving("joint", NEXT, look, 0.2), now=NOW + n * EVERY_S)
    assert sets is not None
    return sets


def test_it_ends() -> None:
    sets = after(Opened(person(3)), person(1, seed=3)[0])
    template: Any = Opened(person(3), sets)
    assert len(learning.learned_of(template, now_unix_s=NOW + LIFE_S - 1)) == 1
    assert learning.learned_of(template, now_unix_s=NOW + LIFE_S) == []
    # A sample of a clock that had jumped ahead does not live the longer for it.
    assert len(learning.learned_of(template, now_unix_s=NOW - LIFE_S + 1)) == 1
    assert learning.learned_of(template, now_unix_s=NOW - LIFE_S) == []
    fresh = after(template, person(2, seed=3)[1], now=NOW + LIFE_S)
    assert fresh is not None
    assert fresh[0].times_unix_s == (NOW + LIFE_S,)


@pytest.mark.parametrize(("enrolled", "needed"), [(1, 3), (3, 3), (4, 4), (5, 5), (9, 5)])
def test_it_moves_with_as_many_samples_as_it_had(enrolled: int, needed: int) -> None:
    template: list[np.ndarray] = person(enrolled)
    sets: list[SampleSet] | None = None
    for n, look in enumerate(person(7, seed=4, dimension=64)):
        sets = after(Opened(template, sets), None, Moving("joint", NEXT, look, 0.2), now=NOW + n * EVERY_S)
        assert sets is not None
        assert (len(sets[0].times_unix_s), sets[0].complete) == (min(n + 1, needed), n + 1 >= needed)


def test_what_scores_just_as_one_person_is_one() -> None:
    first, second = person(2, seed=4, dimension=64)
    score = matching.score(second, first)
    sets = after(Opened(person(3)), None, Moving("joint", NEXT, first, score))
    for same_person, kept in ((score, 2), (float(np.nextafter(score, 2.0)), 1)):
        more = after(Opened(person(3), sets), None, Moving("joint", NEXT, second, same_person), now=NOW + EVERY_S)
        assert more is not None
        assert len(more[0].times_unix_s) == kept


def test_nothing_shows_a_feature_and_a_rule_stays_what_it_is() -> None:
    vector = person(1)[0]
    for one in (Taken(NOW, vector), Moving("joint", NEXT, vector, 0.2)):
        assert "array" not in repr(one)
    with pytest.raises(FrozenInstanceError):
        rule(person(3)).strong = 0.0  # type: ignore[misc]


def test_an_odd_one_out_does_not_stop_a_move_and_does_not_take_part_in_it() -> None:
    odd, looks = person(1, seed=5, dimension=64)[0], person(4, seed=4, dimension=64)
    sets: list[SampleSet] | None = None
    for n, look in enumerate([odd, *looks[:2], odd, looks[2]]):
        template = Opened(person(3), sets)
        sets = after(template, None, Moving("joint", NEXT, look, 0.2), now=NOW + n * EVERY_S) or sets
    assert sets is not None
    assert sets[0].complete
    assert np.array_equal(sets[0].vectors, looks[:3])


@pytest.mark.parametrize(
    ("change", "may"),
    [
        ({}, True), ({"model_ids": (*NEXT[:-1], "cd" * 32)}, False), ({"embedder": "nobody"}, False),
        ({"embedder": "sface", "model_ids": OWN}, False), ({"times_unix_s": (5, 6, 7)}, False),
    ],
)  # fmt: skip
def test_only_what_this_release_can_use_may_take_the_template_s_place(change: dict[str, Any], may: bool) -> None:
    now = int(time.time())
    ready = replace(moved_sets(3)[0], times_unix_s=(now, now, now))
    template: Any = Opened(person(3))
    template.policy = ""
    assert learning.may_move(template, replace(ready, **change)) is may
    if not change:
        template.policy = Policy(target_fmr=1e-5).sealed()
        assert learning.may_move(template, ready)


def test_what_is_learned_of_one_embedder_keeps_the_others() -> None:
    moving = Moving("joint", NEXT, person(1, seed=4, dimension=64)[0], 0.2)
    both = after(Opened(person(3)), person(1, seed=3)[0], moving)
    assert both is not None
    assert [one.embedder for one in both] == ["sface", "joint"]
    more = after(Opened(person(3), both), person(2, seed=3)[1], now=NOW + EVERY_S)
    assert more is not None
    assert [len(one.times_unix_s) for one in more] == [2, 1]
    assert after(Opened(person(3), both), None, None) is None
