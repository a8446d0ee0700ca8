"""Scores, fusion and decision, by properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesdk.errors import InputError
from facesdk.matching import SHORTENING, fused_score, make_reference, score


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


def mean_direction(vectors: list[np.ndarray]) -> np.ndarray:
    mean = np.mean(np.array(vectors, np.float64), axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def test_opposite_samples_have_no_mean() -> None:
    with pytest.raises(InputError):
        make_reference([unit(1), -unit(1)])
    with pytest.raises(InputError):
        make_reference([])


@given(st.lists(seeds, min_size=1, max_size=10, unique=True))
def test_a_reference_is_the_mean_direction_shortened_as_samples_differ(many: list[int]) -> None:
    vectors = [mean_direction([unit(0), unit(s)]) for s in many]
    reference = make_reference(vectors)
    spread = float(np.linalg.norm(np.mean(vectors, axis=0)))
    np.testing.assert_allclose(reference, mean_direction(vectors) * spread**SHORTENING, atol=1e-6)
    assert np.linalg.norm(reference) <= 1.0 + 1e-6
    np.testing.assert_allclose(make_reference(vectors[:1]), vectors[0], atol=1e-6)


def test_fusing_averages_scores_and_never_gains_by_repetition() -> None:
    reference, near, other, far = (
        unit(1),
        mean_direction([unit(1), unit(2)]),
        mean_direction([unit(1), unit(5)]),
        unit(3),
    )
    alone = score(reference, near)
    assert fused_score(reference, [near]) == alone
    assert fused_score(reference, [near] * 5) == pytest.approx(alone)
    assert fused_score(reference, [near, far]) == pytest.approx((alone + score(reference, far)) / 2)
    # The mean direction of two frames would score higher than either.
    best = max(alone, score(reference, other))
    assert fused_score(reference, [near, other]) <= best < score(reference, mean_direction([near, other]))


def test_nan_is_refused() -> None:
    broken = unit(1).copy()
    broken[3] = np.nan
    assert fused_score(unit(1), [unit(1)]) == pytest.approx(1.0)
    for reference, probe in ((unit(1), broken), (broken, unit(1)), (broken, broken)):
        with pytest.raises(InputError, match="finite"):
            fused_score(reference, [probe])
    with pytest.raises(InputError):
        fused_score(unit(1), [])
