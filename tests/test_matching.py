"""Scores, fusion and decision, by properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesdk.errors import InputError
from facesdk.matching import is_match, mean_direction, score


def unit(seed: int, dimension: int = 128) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


seeds = st.integers(0, 2**32 - 1)


@given(seeds, seeds, st.sampled_from([1, 7, 8, 9, 128, 192, 320]))
def test_score_is_the_cosine(a: int, b: int, dimension: int) -> None:
    x, y = unit(a, dimension), unit(b, dimension)
    assert score(x, y) == pytest.approx(float(x.astype(float) @ y.astype(float)), abs=1e-6)
    assert score(x, y) == score(y, x)
    assert -1.0 <= score(x, y) <= 1.0
    assert score(x, x) == pytest.approx(1.0, abs=1e-6)


def test_score_refuses_what_does_not_fit() -> None:
    for wrong in (unit(1, 64), unit(1).astype(np.float64), unit(1)[::2], np.stack([unit(1)] * 2)):
        with pytest.raises(InputError):
            score(unit(1), wrong)


@given(st.lists(seeds, min_size=1, max_size=10, unique=True))
def test_mean_direction_is_a_unit_vector_nearest_to_all(many: list[int]) -> None:
    vectors = [unit(s) for s in many]
    mean = mean_direction(vectors)
    assert mean.dtype == np.float32
    assert np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-6)
    total = sum(score(mean, v) for v in vectors)
    assert all(total >= sum(score(v, w) for w in vectors) - 1e-5 for v in vectors)


def test_opposite_samples_have_no_mean() -> None:
    with pytest.raises(InputError):
        mean_direction([unit(1), -unit(1)])
    with pytest.raises(InputError):
        mean_direction([])


def test_fusing_averages_scores_and_never_gains_by_repetition() -> None:
    reference, near, far = unit(1), mean_direction([unit(1), unit(2)]), unit(3)
    threshold = score(reference, near)
    assert is_match(reference, [near], threshold=threshold)
    assert is_match(reference, [near] * 5, threshold=threshold - 1e-6)
    assert not is_match(reference, [near, far], threshold=threshold)
    # Frames that each miss the threshold miss it together, however many there are.
    other = mean_direction([unit(1), unit(5)])
    above = max(score(reference, near), score(reference, other)) + 1e-4
    assert not is_match(reference, [near, other] * 8, threshold=above)
    assert is_match(reference, [mean_direction([near, other])], threshold=above)


def test_nan_never_matches() -> None:
    broken = unit(1).copy()
    broken[3] = np.nan
    assert is_match(unit(1), [unit(1)], threshold=0.9)
    for reference, probe in ((unit(1), broken), (broken, unit(1)), (broken, broken)):
        with pytest.raises(InputError, match="finite"):
            is_match(reference, [probe], threshold=-1.0)
    with pytest.raises(InputError):
        is_match(unit(1), [], threshold=-1.0)
