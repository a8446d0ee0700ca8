"""All pairs: the kernels' scores by name, counts against one loop over the pairs, parts, tails, hostile arrays."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from evaluation_tools import people_vectors, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk import _core
from facesdk.errors import InputError
from facesdk.evaluation import pairs as pairs_module
from facesdk.evaluation.pairs import BINS, all_pairs, bin_of, listed_pairs
from facesdk.evaluation.workers import LocalWorkers

VARIANTS: list[str] = _core.variants()
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def vectors_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, d)))


def by_loop(vectors, people, classes, thresholds):
    """The definition: one loop over the pairs."""
    cells = (classes.max() + 1) * (classes.max() + 2) // 2
    bins, above = np.zeros((cells, 2, BINS), np.uint64), np.zeros((cells, 2, len(thresholds)), np.uint64)
    kept: tuple[list, list] = ([], [])
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            score = _core.compare(vectors[i], vectors[j])
            a, b = max(classes[i], classes[j]), min(classes[i], classes[j])
            mated = int(people[i] == people[j])
            bins[
                a * (a + 1) // 2 + b, mated, min(BINS - 1, max(0, int((np.float32(score) + np.float32(1)) * 2048)))
            ] += 1
            above[a * (a + 1) // 2 + b, mated] += np.array([score >= t for t in thresholds], np.uint64)
            kept[mated].append((score, i, j))
    return bins, above, sorted(kept[0], key=lambda p: (-p[0], p[1:])), sorted(kept[1])


def as_list(tail) -> list:
    return [(s, int(a), int(b)) for s, (a, b) in zip(tail[0].tolist(), tail[1].tolist(), strict=True)]


@every_variant
@pytest.mark.parametrize("d", [1, 7, 8, 9, 128, 192, 320, 1024])
def test_scores_have_the_bits_of_the_comparison_that_decides(variant: str, d: int) -> None:
    for rows in range(1, 10):
        a, b = vectors_of(rows, d, 1), vectors_of(17, d, 2)
        expected = [[_core.compare(x, y) for y in b] for x in a]
        assert np.array_equal(_core.scores_f32(variant, a, b), np.array(expected, np.float32))


@every_variant
@pytest.mark.parametrize("n", [1, 2, 23, 24, 25, 191, 192, 193, 260])
def test_counts_and_tails_are_those_of_one_loop(variant: str, n: int) -> None:
    random = np.random.default_rng(n)
    vectors = vectors_of(n, 12, n)
    people = random.integers(0, max(1, n // 4), n).astype(np.int32)
    classes = random.integers(0, 3, n).astype(np.int32)
    classes[-1] = 2
    thresholds = [-1.0, -0.1, 0.2, 0.2 + 1e-12, 1.0]
    bins, above, highest, lowest = by_loop(vectors, people, classes, thresholds)
    for keep in (1, 10, 100_000):
        came = _core.count_pairs(vectors, people, classes, np.array(thresholds), keep=(keep, keep), variant=variant)
        assert np.array_equal(came[0], bins)
        assert np.array_equal(came[1], above)
        assert as_list(came[2]) == highest[:keep]
        assert as_list(came[3]) == lowest[:keep]
        assert came[2][2] == (len(highest) > keep)
        assert came[3][2] == (len(lowest) > keep)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 420), parts=st.integers(1, 9), seed=st.integers(0, 1000))
def test_parts_add_up_to_the_whole_to_the_bit(n: int, parts: int, seed: int) -> None:
    vectors, people = vectors_of(n, 8, seed), np.random.default_rng(seed).integers(0, 50, n).astype(np.int32)
    classes = (people % 2).astype(np.int32)
    one, many = (
        all_pairs(vectors, people, classes, thresholds=(0.3,), workers=LocalWorkers(count)) for count in (1, parts)
    )
    assert np.array_equal(one.bins, many.bins)
    assert np.array_equal(one.above, many.above)
    for x, y in ((one.highest, many.highest), (one.lowest, many.lowest)):
        assert np.array_equal(x.scores, y.scores)
        assert np.array_equal(x.pairs, y.pairs)
        assert x.cut == y.cut


def test_parts_that_were_cut_add_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "KEEP_NON_MATED", 40)
    monkeypatch.setattr(pairs_module, "KEEP_MATED", 30)
    vectors, people = people_vectors(150, 3)
    classes = np.zeros(len(people), np.int32)
    whole = all_pairs(vectors, people, classes, thresholds=(), workers=LocalWorkers(1))
    assert whole.highest.cut
    assert len(whole.highest.scores) == 40
    for count in (2, 3, 7):
        other = all_pairs(vectors, people, classes, thresholds=(), workers=LocalWorkers(count))
        assert np.array_equal(other.highest.pairs, whole.highest.pairs)
        assert np.array_equal(other.lowest.pairs, whole.lowest.pairs)
        assert other.highest.cut
        assert other.lowest.cut == whole.lowest.cut


def test_a_threshold_is_compared_with_the_scores_and_not_with_their_bins() -> None:
    vectors, people = vectors_of(60, 16), np.arange(60, dtype=np.int32)
    scores = np.sort([_core.compare(a, b) for i, a in enumerate(vectors) for b in vectors[i + 1 :]])
    middle = float(scores[900])
    below, above = float(np.nextafter(np.float32(middle), np.float32(-2))), float(np.nextafter(middle, 2))
    assert bin_of(np.float32([below]))[0] == bin_of(np.float32([middle]))[0]
    counts = _core.count_pairs(vectors, people, np.zeros(60, np.int32), np.array([below, middle, above]), keep=(1, 1))[
        1
    ][0, 0]
    expected = [int((scores >= t).sum()) for t in (below, middle, above)]
    assert counts.tolist() == expected
    assert len(set(expected)) > 1


def test_listed_pairs_are_counted_as_all_of_them_are() -> None:
    vectors, people = people_vectors(12, 3)
    classes = (people % 2).astype(np.int32)
    n = len(people)
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    whole = all_pairs(vectors, people, classes, thresholds=(0.3, 0.5), workers=LocalWorkers(1))
    listed = listed_pairs(vectors, people, classes, thresholds=(0.3, 0.5), pairs=every)
    assert np.array_equal(whole.bins, listed.bins)
    assert np.array_equal(whole.above, listed.above)
    assert np.array_equal(whole.highest.pairs, listed.highest.pairs)
    assert np.array_equal(whole.lowest.scores, listed.lowest.scores)


def test_too_many_listed_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "KEEP_MATED", 2)
    vectors, people = people_vectors(3, 1)
    with pytest.raises(InputError, match="expected at most 2 listed pairs, not 3"):
        listed_pairs(vectors, people, people, thresholds=(), pairs=[(0, 1), (0, 2), (1, 2)])


def test_the_interpreter_is_free_meanwhile() -> None:
    vectors, people = vectors_of(4000, 320), np.arange(4000, dtype=np.int32)
    done, ticks = threading.Event(), 0

    def count() -> None:
        _core.count_pairs(vectors, people, np.zeros(4000, np.int32), np.zeros(0), keep=(1, 1))
        done.set()

    thread = threading.Thread(target=count)
    thread.start()
    while not done.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 3


def test_hostile_arrays_are_refused_with_what_was_expected() -> None:
    good, ids = vectors_of(5, 16), np.zeros(5, np.int32)

    def call(vectors=good, people=ids, classes=ids, thresholds=(), keep=(1, 1), part=(0, 1)):
        return _core.count_pairs(
            vectors, people, classes, np.array(thresholds, float), keep=keep, part=part[0], parts=part[1]
        )

    assert call()[0].sum() == 10
    nan, huge, zero = (good.copy() for _ in range(3))
    nan[3, 2], huge[1], zero[4] = np.nan, 1e30, 0
    infinite = good.copy()
    infinite[0, 0] = np.inf
    for bad in (nan, huge, zero, infinite):
        with pytest.raises(ValueError, match="expected vectors of unit length, got another length in row"):
            call(vectors=bad)
    for bad in (good.astype(np.float64), good[:, ::2], good[0], good[::-1]):
        with pytest.raises(ValueError, match=r"expected a C-contiguous float32 array of shape \(n, d\)"):
            call(vectors=bad)
    for bad in (np.ones((2, 0), np.float32), np.ones((2, 1025), np.float32)):
        with pytest.raises(ValueError, match="expected rows of 1 to 1024 features"):
            call(vectors=bad, people=ids[:2], classes=ids[:2])
    for name in ("people", "classes"):
        with pytest.raises(ValueError, match="expected a person and a class for each vector"):
            call(**{name: ids[:4]})
        with pytest.raises(ValueError, match="expected a C-contiguous int32 vector"):
            call(**{name: ids.astype(np.int64)})
    for bad in (-1, 32):
        with pytest.raises(ValueError, match="expected classes of 0 to 31"):
            call(classes=np.full(5, bad, np.int32))
    for bad in (np.nan, 1.5, -2):
        with pytest.raises(ValueError, match="expected thresholds from -1 to 1"):
            call(thresholds=[bad])
    with pytest.raises(ValueError, match="at least one pair to keep"):
        call(keep=(1, 0))
    for part in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="expected a part of 0 to parts - 1"):
            call(part=part)
    with pytest.raises(ValueError, match="no kernels are named sse9"):
        _core.count_pairs(good, ids, ids, np.zeros(0), keep=(1, 1), variant="sse9")
    empty = _core.count_pairs(np.ones((0, 8), np.float32), ids[:0], ids[:0], np.array([0.5]), keep=(1, 1))
    assert empty[0].sum() == 0
    with pytest.raises(ValueError, match="expected rows of one length"):
        _core.scores_f32("scalar", good, vectors_of(5, 17))
