"""Simulated people keep to their own limits, and attackers answer as such attackers can."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from facesdk.liveness.challenge import Path
from facesdk.liveness.simulator import bulk
from facesdk.liveness.simulator.people import Person, Prompt, smooth

BEGIN_S = 1.0


def dot(seed: int) -> tuple[Prompt, list[float]]:
    path = Path.fresh(random.Random(seed))
    return Prompt.dot(BEGIN_S, lambda t: path.at(t - BEGIN_S)), [BEGIN_S + t for t in (0.0, *path.times_s)]


def error(actor: bulk.Actor, prompt: Prompt, until_s: float) -> float:
    """How far the observed path is from the dot's, after the best lag, as a part of how far the dot goes."""
    seen = [o for o in bulk.stream(actor, [prompt], seconds=until_s + 0.6, fps=20) if o.time_s > BEGIN_S + 0.5]
    places = np.array([(o.yaw_deg, o.pitch_deg) for o in seen])
    errors = []
    for lag in np.arange(0.1, 0.6, 0.05):
        wanted = np.array([prompt.target(o.time_s - lag) for o in seen])
        errors.append(np.sqrt(((places - wanted) ** 2).sum() / (wanted**2).sum()))
    return float(min(errors))


def median_error(made: Sequence[bulk.Actor]) -> float:
    errors = []
    for seed, actor in enumerate(made):
        prompt, times = dot(seed)
        errors.append(error(actor, prompt, times[-1]))
    return float(np.median(errors))


def test_people_turn_no_faster_than_their_limit_and_not_before_they_react() -> None:
    for seed in range(12):
        person = Person(seed, speed_deg_s=100, lapses_a_s=0)
        prompts = [Prompt.look(1.0, 0, 1), Prompt.look(2.5, 4, 1)]
        times = np.arange(0, 5, 0.01)
        poses = np.array([person.pose(t, prompts) for t in times])
        speeds = np.abs(np.diff(poses[:, :2], axis=0)) / 0.01
        assert 50 < speeds.max() <= 100 + 1e-6
        assert np.abs(poses[times < 1.0 + person.reaction_s, 0]).max() < 2.5, "only drift before the reaction"
        assert poses[times < 2.5].max() > 20
        assert poses[-1, 0] == pytest.approx(-33 * person.gain, abs=3)


def test_people_are_within_the_ranges_that_are_stated_and_differ() -> None:
    people = [Person(seed) for seed in range(60)]
    for name, low, high in (
        ("reaction_s", 0.15, 0.45), ("speed_deg_s", 90, 220), ("gain", 0.8, 1.1), ("noise_deg", 0.1, 0.6),
    ):  # fmt: skip
        values = [getattr(person, name) for person in people]
        assert low <= min(values) < low + (high - low) / 4
        assert high - (high - low) / 4 < max(values) <= high


@pytest.mark.parametrize("overshoot", [0.0, 0.15])
def test_a_turn_overshoots_by_what_is_asked_for(overshoot: float) -> None:
    person = Person(3, overshoot=overshoot, gain=1.0, speed_deg_s=1000, lapses_a_s=0)
    yaws = [person.pose(t, [Prompt.look(0.5, 0, 1)])[0] for t in np.arange(0, 3, 0.01)]
    assert max(yaws) / 33 - 1 == pytest.approx(overshoot, abs=0.06)


def test_the_same_person_moves_in_the_same_way_however_often_he_is_asked() -> None:
    prompt, _ = dot(1)
    first, second = Person(7), Person(7)
    ours = [first.pose(t, [prompt]) for t in np.arange(0, 4, 0.1)]
    assert second.pose(3.9, [prompt]) == pytest.approx(ours[-1])
    assert second.pose(1.5, [prompt]) == pytest.approx(ours[15]), "also of the past"
    assert Person(8).pose(3.9, [prompt]) != pytest.approx(ours[-1])


def test_whose_attention_lapses_stays_where_he_is() -> None:
    steady, lapsing = (median_error([bulk.Live(Person(s, lapses_a_s=rate)) for s in range(12)]) for rate in (0, 3))
    assert steady < 0.2 < lapsing


def test_a_path_passes_its_places_when_it_says_and_stays_at_the_last() -> None:
    path = smooth([0, 1, 3], [(0, 0), (10, 5), (-4, 2)])
    assert [path(t) for t in (-1, 0, 1, 3, 9)] == [(0, 0), (0, 0), (10, 5), (-4, 2), (-4, 2)]
    assert path(0.5) == pytest.approx((5, 2.5))


def test_people_and_puppets_follow_a_dot_and_replays_and_prints_do_not() -> None:
    n = range(16)
    assert median_error([bulk.Live(Person(s)) for s in n]) < 0.2
    assert median_error([bulk.Live(Person(s), latency_s=0.2) for s in n]) < 0.3
    assert (
        median_error([bulk.BlindReplay(Person(s), [Prompt.dot(0, Path.fresh(random.Random(s + 999)).at)]) for s in n])
        > 0.8
    )
    assert median_error([bulk.Photo(s) for s in n]) > 0.8
    assert median_error([bulk.Photo(s, moved=True, bent=True) for s in n]) > 0.8


def test_an_operator_is_the_better_the_more_clips_he_has_and_the_more_he_foresees() -> None:
    def with_clips(clips: int, *, foresees: bool = True) -> float:
        return median_error([bulk.Operator(s, clips=clips, begins_s=dot(s)[1], foresees=foresees) for s in range(24)])

    one, four, many = with_clips(1), with_clips(4), with_clips(64)
    assert one > 0.8
    assert many < four < one
    assert with_clips(64, foresees=False) > many


def test_an_operator_answers_prompts_to_look_somewhere() -> None:
    prompts = [Prompt.look(1.0, 2, 0), Prompt.straight(3.0)]
    seen = [(o.yaw_deg, o.pitch_deg) for o in bulk.stream(bulk.Operator(1, clips=200), prompts, seconds=5, fps=10)]
    assert seen[30] == pytest.approx((0, 17 * 0.7), abs=1.5)
    assert seen[-1] == pytest.approx((0, 0), abs=1.5)


def test_prints_are_reported_as_turned_no_further_than_the_mesh_sees_them_turn() -> None:
    for bent, most in ((False, 8), (True, 24)):
        seen = [o for s in range(8) for o in bulk.stream(bulk.Photo(s, moved=True, bent=bent), [], seconds=8)]
        yaws = np.abs([o.yaw_deg for o in seen])
        assert most - 2 < yaws.max() < most + 1.5
        rho = [o.rho for o in seen if o.rho is not None]
        assert (len(rho) > 50) == bent
        if bent:
            assert np.mean(rho, axis=0) == pytest.approx((0.21, -0.01), abs=0.03)


def test_relief_is_told_only_of_turns_that_are_far_enough() -> None:
    seen = list(bulk.stream(bulk.Live(Person(5, lapses_a_s=0)), [Prompt.look(1.0, 0, 1)], seconds=4))
    assert all((o.rho is not None) == (math.hypot(o.yaw_deg, o.pitch_deg) >= bulk.RHO_FROM_DEG) for o in seen)
    assert np.mean([o.rho for o in seen if o.rho], axis=0) == pytest.approx((0.98, 0.96), abs=0.08)
    assert all(o.rho is None for o in seen if o.time_s < 1.1)


def test_eyes_come_nearer_to_each_other_as_the_head_turns() -> None:
    seen = list(bulk.stream(bulk.Live(Person(5, gain=1, lapses_a_s=0)), [Prompt.look(1.0, 0, 1)], seconds=4))
    assert seen[-1].eye_distance_px / seen[0].eye_distance_px == pytest.approx(math.cos(math.radians(33)), abs=0.03)


def test_who_takes_over_is_another_person_and_in_between_nobody_is_there() -> None:
    actor = bulk.Takeover(bulk.Live(Person(1)), bulk.Live(Person(2), person=1), at_s=1.0, gone_s=0.2)
    seen = list(bulk.stream(actor, [], seconds=2, fps=10))
    assert [o.person for o in seen] == [0] * 12 + [1] * 8
    assert [math.isnan(o.yaw_deg) for o in seen] == [False] * 10 + [True] * 2 + [False] * 8
