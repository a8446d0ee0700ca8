"""Scores, fusion and decision, by properties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import portrait
from hypothesis import given
from hypothesis import strategies as st

from facesdk import Engine, _core, matching
from facesdk.errors import InputError
from facesdk.matching import (
    FOREIGN,
    NEAR_COPY,
    SHORTENING,
    fuse,
    fused_score,
    make_reference,
    near_copies,
    score,
    vectors_of,
)  # fmt: skip


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
    with pytest.raises(InputError, match="cancel each other out"):
        make_reference([unit(1), -unit(1)])
    with pytest.raises(InputError, match="at least one vector"):
        make_reference([])
    # The sum of all is held to a millionth of one vector.
    assert make_reference([unit(1), -unit(1) * np.float32(1 - 3e-6)]).any()
    with pytest.raises(InputError, match="cancel each other out"):
        make_reference([unit(1), -unit(1) * np.float32(1 - 5e-7)])


def test_the_constants_are_those_that_the_operating_points_were_measured_with() -> None:
    assert (SHORTENING, NEAR_COPY, FOREIGN) == (0.75, 0.85, 0.2)


@given(st.lists(seeds, min_size=1, max_size=10, unique=True))
def test_a_reference_is_the_mean_direction_shortened_as_samples_differ(many: list[int]) -> None:
    vectors = [mean_direction([unit(0), unit(s)]) for s in many]
    reference = make_reference(vectors)
    spread = float(np.linalg.norm(np.mean(vectors, axis=0)))
    np.testing.assert_allclose(reference, mean_direction(vectors) * spread**SHORTENING, atol=1e-6)
    assert np.linalg.norm(reference) <= 1.0 + 1e-6
    np.testing.assert_allclose(make_reference(vectors[:1]), vectors[0], atol=1e-6)


def near(vector: np.ndarray, cosine: float, seed: int) -> np.ndarray:
    """A unit vector with this cosine to another."""
    other = unit(seed).astype(np.float64)
    other -= other @ vector * vector
    other /= np.linalg.norm(other)
    return (cosine * vector + np.sqrt(1 - cosine**2) * other).astype(np.float32)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_the_higher_half_of_the_scores_decides(scores: list[float]) -> None:
    higher = sorted(scores)[-(len(scores) // 2 + 1) :]
    assert fuse(scores) == pytest.approx(np.mean(higher))
    assert min(scores) <= fuse(scores) <= max(scores)
    assert fuse([s - 0.1 for s in scores]) <= fuse(scores)


def test_a_score_at_a_limit_is_on_its_better_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """As alike as NEAR_COPY is not yet a copy, as unlike as FOREIGN not yet a stranger."""
    one, other = unit(1), near(unit(1), 0.5, 51)
    monkeypatch.setattr(matching, "NEAR_COPY", score(one, other))
    assert near_copies([one, other]) == [[0], [1]]
    monkeypatch.setattr(matching, "NEAR_COPY", math.nextafter(score(one, other), 0.0))
    assert near_copies([one, other]) == [[0, 1]]
    monkeypatch.undo()
    owner, stranger = near(one, 0.8, 52), near(one, 0.1, 53)
    both = fuse([score(one, owner), score(one, stranger)])
    monkeypatch.setattr(matching, "FOREIGN", score(one, stranger))
    assert fused_score([one], [owner, stranger]) == both
    monkeypatch.setattr(matching, "FOREIGN", math.nextafter(score(one, stranger), 1.0))
    assert fused_score([one], [owner, stranger]) == score(one, stranger) < both


def test_a_score_is_never_above_one_nor_below_minus_one() -> None:
    """However the core's sum is rounded: a vector that is a little too long is no better than perfect."""
    long = unit(1) * np.float32(1.001)
    assert score(long, long) == 1.0
    assert score(long, -long) == -1.0


def test_features_of_different_embedders_are_not_compared(sface: Engine) -> None:
    features = sface.features(portrait("obama_2012"))
    assert features is not None
    (vector,) = vectors_of([features])
    assert vector is features._vector
    assert [len(v) for v in vectors_of([features, features])] == [sface.dimension] * 2
    with pytest.raises(InputError, match="different embedders"):
        vectors_of([features, replace(features, embedder="joint", vector=features._vector)])


def test_no_copy_of_the_features_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stacked samples and their mean, in double precision, whether a reference comes of them or not."""
    wiped: list[np.ndarray] = []
    wipe = _core.wipe

    def watching(array: np.ndarray) -> None:
        wipe(array)
        wiped.append(array)

    monkeypatch.setattr(_core, "wipe", watching)
    make_reference([unit(1), unit(2)])
    with pytest.raises(InputError):
        make_reference([unit(1), -unit(1)])
    assert [array.shape for array in wiped] == [(2, 128), (128,)] * 2
    assert not any(array.any() for array in wiped)


def test_one_lucky_pair_opens_nothing_and_a_poor_one_spoils_nothing() -> None:
    assert fuse([0.9, 0.1, 0.1]) == pytest.approx(0.5)
    assert fuse([0.8, 0.8, 0.0]) == pytest.approx(0.8)
    assert fuse([0.3]) == 0.3
    with pytest.raises(InputError, match="at least one"):
        fuse([])


def test_all_pairs_of_samples_and_frames_are_fused() -> None:
    samples = [unit(seed) for seed in (1, 2, 3)]
    probes = [near(samples[0], 0.6, 11), near(samples[1], 0.5, 12)]
    expected = fuse([score(s, p) for s in samples for p in probes])
    assert fused_score(samples, probes) == pytest.approx(expected)
    assert fused_score(samples[:1], probes[:1]) == score(samples[0], probes[0])


def test_near_copies_count_once() -> None:
    face, copies = unit(1), [near(unit(1), NEAR_COPY + 0.05, seed) for seed in (21, 22, 23)]
    apart = near(unit(1), NEAR_COPY - 0.05, 24)
    assert near_copies([face]) == [[0]]
    assert near_copies([face, *copies, apart]) == [[0, 1, 2, 3], [4]]
    assert near_copies([apart, face, copies[0]]) == [[1, 2], [0]]
    # Whatever their order, all that are like one go with it.
    for turn in range(4):
        order = [face, *copies][turn:] + [face, *copies][:turn]
        assert sorted(len(together) for together in near_copies([*order, apart])) == [1, 4]
    stranger = [near(face, 0.5, 31)]
    # A burst of a stranger gains nothing over its mean: neither more frames nor the luckiest of them.
    burst = [stranger[0], *(near(stranger[0], 0.95, seed) for seed in (32, 33, 34))]
    alone = [score(face, probe) for probe in burst]
    assert fused_score([face], burst) == pytest.approx(np.mean(alone))
    assert fused_score(burst, [face]) == pytest.approx(np.mean(alone))
    assert fused_score([face], [*burst, apart]) == pytest.approx((np.mean(alone) + score(face, apart)) / 2)


def test_a_frame_of_somebody_else_ends_it() -> None:
    samples = [unit(1), near(unit(1), 0.7, 41)]
    owner = [near(samples[0], 0.8, 42), near(samples[0], 0.75, 43)]
    stranger = near(samples[0], 0.1, 44)
    assert fused_score(samples, owner) > 0.5
    for frames in ([*owner, stranger], [stranger, *owner], [*owner, *[stranger] * 2]):
        assert fused_score(samples, frames) == pytest.approx(max(score(s, stranger) for s in samples))
    a_little = near(samples[0], FOREIGN + 0.01, 45)  # as a closed eye or a bad moment may be
    assert fused_score(samples, [*owner, a_little]) > 0.5


def test_nan_is_refused() -> None:
    broken = unit(1).copy()
    broken[3] = np.nan
    assert fused_score([unit(1)], [unit(1)]) == pytest.approx(1.0)
    for sample, probe in ((unit(1), broken), (broken, unit(1)), (broken, broken)):
        for more in ([], [unit(2)]):
            with pytest.raises(InputError, match="finite"):
                fused_score([*more, sample], [probe])
            with pytest.raises(InputError, match="finite"):
                fused_score([sample], [*more, probe])
    for samples, probes in (([unit(1)], []), ([], [unit(1)]), ([], [])):
        with pytest.raises(InputError, match="at least one"):
            fused_score(samples, probes)
