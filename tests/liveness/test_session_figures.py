"""Sessions by the dozen without pictures: who follows opens, what does not live does not (benchmarks/sessions.py)."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "benchmarks")]
import session_bulk as bulk  # noqa: E402
import session_casts as casts  # noqa: E402

from facesdk.liveness.challenge import MAX_PATH_ERROR, WITHIN, path_error  # noqa: E402
from facesdk.liveness.challenge import Path as DotPath  # noqa: E402
from facesdk.types import Decision  # noqa: E402

KINDS = ("dot", "directions")
SEED, COUNT = 70_000, 12  # of each attack


def opened(cast: bulk.Cast, count: int, **ways: object) -> list[bulk.End]:
    ends = [bulk.play(cast, SEED + number, **ways) for number in range(count)]
    return [end for end in ends if end.opened]


@pytest.mark.parametrize("kind", KINDS)
def test_people_who_follow_open_within_seconds(kind: str) -> None:
    ends = opened(casts.live, 60, challenge=kind)
    assert len(ends) >= 59
    assert np.median([end.seconds for end in ends]) <= 6.0
    assert max(end.seconds for end in ends) <= 13.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", [5.0, 30.0])
def test_a_slow_or_fast_camera_keeps_nobody_out(kind: str, fps: float) -> None:
    assert len(opened(casts.live, 12, challenge=kind, fps=fps)) >= 11


ATTACKS: dict[str, Callable[[str], bulk.Cast]] = {
    "a still print": lambda _kind: casts.photo,
    "a moved print": lambda _kind: lambda seed, shown: casts.photo(seed, shown, moved=True),
    "a bent print": lambda _kind: lambda seed, shown: casts.photo(seed, shown, moved=True, bent=True),
    "an old recording": casts.replayed,
    "somebody in between": lambda _kind: casts.takeover((1, 2, 1), until_s=3.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_does_not_live_and_follow_does_not_open(kind: str, attack: str) -> None:
    assert opened(ATTACKS[attack](kind), COUNT, challenge=kind) == []


def test_an_operator_who_plays_clips_seldom_keeps_up_with_a_dot() -> None:
    assert len(opened(casts.operator(4, foresees=True), 20, foreseen=True)) <= 2
    assert len(opened(casts.operator(16, foresees=False), 20, foreseen=True)) <= 4


def test_a_print_that_turns_is_called_an_attack() -> None:
    ends = [bulk.play(ATTACKS["a bent print"]("dot"), SEED + number) for number in range(COUNT)]
    assert {end.outcome.decision for end in ends} == {Decision.ATTACK_SUSPECTED}


def gone(path: DotPath, *, rests: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and turns of a head that follows the dot .2 s behind, and rests straight for this part at the end."""
    times = np.arange(0, path.duration_s + 0.6, 0.05)
    moved = times - 0.2 < (1 - rests) * path.duration_s
    return times, np.array([path.at(float(t) - 0.2) if on else (0.0, 0.0) for t, on in zip(times, moved, strict=True)])


def test_a_lapse_is_forgiven_and_half_a_path_is_not() -> None:
    path = DotPath.fresh(random.Random(3))
    assert path_error(path, *gone(path, rests=0.0)) < 0.05
    assert path_error(path, *gone(path, rests=0.8 * (1 - WITHIN))) <= MAX_PATH_ERROR
    assert path_error(path, *gone(path, rests=0.5)) > MAX_PATH_ERROR


def test_turns_that_are_no_numbers_follow_nothing() -> None:
    path = DotPath.fresh(random.Random(3))
    times, turns = gone(path, rests=0.0)
    turns[len(turns) // 2] = math.nan
    assert path_error(path, times, turns) == math.inf
