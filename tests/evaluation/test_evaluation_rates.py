"""Rates by picture and by person, their intervals, curves and groups: against known values and loops."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_tools import compared, people_vectors, unit
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facesdk import _core
from facesdk.errors import InputError
from facesdk.evaluation import pairs as pairs_module
from facesdk.evaluation.comparing import classes_of, curve, rates_at
from facesdk.evaluation.intervals import clopper_pearson, draws, interval_of, upper_limit
from facesdk.evaluation.pairs import MATED, NON_MATED
from facesdk.evaluation.rates import CrossCounts, Draws, OwnCounts, cross_rates, own_rates, upper_limits

FEW = Draws(200, 3)


# Values of scipy.stats.beta.ppf (1.14), which is not needed here.
@pytest.mark.parametrize(
    ("errors", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.3084971078187607),
        (1, 10, 0.0025285785444617835, 0.44501611702819516),
        (5, 10, 0.18708602844739863, 0.8129139715526013),
        (10, 10, 0.6915028921812392, 1.0),
        (3, 1000, 0.0006190999316496368, 0.008742023238477774),
        (87, 87307271, 7.981401669336246e-07, 1.2291549777443417e-06),
    ],
)
def test_clopper_pearson_has_known_values(errors: int, count: int, low: float, high: float) -> None:
    assert clopper_pearson(errors, count) == pytest.approx((low, high), rel=1e-7, abs=1e-15)


def test_clopper_pearson_without_comparisons_is_none_and_without_errors_the_rule_of_three() -> None:
    assert clopper_pearson(0, 0) is None
    assert upper_limit(0, 0) == 1.0
    assert upper_limit(7, 7) == 1.0
    assert upper_limit(0, 100_000) == pytest.approx(1 - 0.05**1e-5, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 5000), share=st.floats(0, 1))
def test_clopper_pearson_holds_the_rate_and_is_symmetric(count: int, share: float) -> None:
    errors = round(share * count)
    low, high = clopper_pearson(errors, count)
    assert 0 <= low <= errors / count <= high <= 1
    assert clopper_pearson(count - errors, count) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_draws_are_as_many_as_people_and_the_same_for_one_seed() -> None:
    drawn = np.concatenate(list(draws(37, count=60, seed=5)))
    assert drawn.shape == (60, 37)
    assert (drawn.sum(axis=1) == 37).all()
    assert np.array_equal(drawn, np.concatenate(list(draws(37, count=60, seed=5))))
    assert not np.array_equal(drawn, np.concatenate(list(draws(37, count=60, seed=6))))


def test_an_interval_of_nothing_or_of_zeros_is_none() -> None:
    assert interval_of(np.array([])) is None
    assert interval_of(np.zeros(9)) is None
    assert interval_of(np.full(9, np.nan)) is None
    assert interval_of(np.array([0.0, 0.5, np.nan, 1.0])) == pytest.approx((0.025, 0.975))


def test_own_rates_weigh_pictures_or_people() -> None:
    # One person misses 9 of 10, another 0 of 90, a third was not compared.
    found = own_rates(OwnCounts(np.array([[9], [0], [0]]), np.array([10, 90, 0])), FEW)[0]
    assert (found["errors"], found["comparisons"], found["people"]) == (9, 100, 2)
    assert found["by_picture"]["rate"] == pytest.approx(0.09)
    assert found["by_person"]["rate"] == pytest.approx(0.45)
    assert found["by_person"]["bootstrap"] == (0.0, 0.9)


def cross_by_loop(errors: dict[tuple[int, int], int], owners, others, *, both_ways: bool) -> tuple[float, float]:
    """Both rates by the definition."""
    people = range(len(owners))
    each, total, wrong = [], 0, 0
    for a in people:
        met = sum(owners[a] * others[b] for b in people if b != a)
        mine = sum(n for (x, y), n in errors.items() if x == a or (both_ways and y == a))
        if met:
            each.append(mine / met)
        total += met
        wrong += sum(n for (x, _), n in errors.items() if x == a)
    return wrong / (total / 2 if both_ways else total), float(np.mean(each))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), both_ways=st.booleans())
def test_cross_rates_are_those_of_a_loop(seed: int, both_ways: bool) -> None:
    random = np.random.default_rng(seed)
    owners, others = random.integers(1, 5, 7), random.integers(0, 5, 7)
    others = owners if both_ways else others
    errors = {(a, b): int(random.integers(1, 4)) for a in range(7) for b in range(7)
              if (a < b if both_ways else a != b) and others[b] and random.random() < 0.4}  # fmt: skip
    places = np.array(list(errors), np.intp).reshape(-1, 2)
    counted = np.array(list(errors.values()), int).reshape(-1, 1)
    counts = CrossCounts(places[:, 0], places[:, 1], counted, owners, others, both_ways)
    found = cross_rates(counts, Draws(100, 1))[0]
    assume(sum(others > 0) > 1)
    by_picture, by_person = cross_by_loop(errors, owners, others, both_ways=both_ways)
    assert found["by_picture"]["rate"] == pytest.approx(by_picture)
    assert found["by_person"]["rate"] == pytest.approx(by_person, rel=1e-9)


def test_the_bootstrap_draws_both_people_of_a_pair() -> None:
    # Two of 30 people match each other falsely: a draw without one of them has no error, so the interval begins at 0.
    counts = CrossCounts(np.array([0]), np.array([1]), np.array([[4]]), np.full(30, 2), np.full(30, 2), True)
    found = cross_rates(counts, Draws(2000, 1))[0]
    assert found["by_picture"]["rate"] == pytest.approx(4 / (30 * 29 * 2))
    low, high = found["by_picture"]["bootstrap"]
    assert low == 0
    # Clopper-Pearson takes the four comparisons as independent and is too sure.
    assert high > found["by_picture"]["clopper_pearson"][1]


def test_the_bootstrap_over_people_is_right_about_how_often_it_is_right() -> None:
    random, inside = np.random.default_rng(4), 0
    for seed in range(60):
        # Half of what a person meets goes wrong, on average; people differ much more than comparisons do.
        rates = random.beta(0.8, 0.8, 60)
        errors = random.binomial(50, rates)
        found = own_rates(OwnCounts(errors[:, None], np.full(60, 50)), Draws(400, seed))[0]
        low, high = found["by_picture"]["bootstrap"]
        inside += low <= 0.5 <= high
        exact = found["by_picture"]["clopper_pearson"]
        assert high - low > 2 * (exact[1] - exact[0])
    assert inside >= 52  # of 60 at 95 %: fewer than 52 has a probability below 0.3 %


def test_an_upper_limit_is_never_below_what_no_error_would_mean() -> None:
    none = CrossCounts(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2), int), np.full(50, 3), np.full(50, 3), True)
    estimates, limits = upper_limits(none, FEW)
    assert estimates == [0, 0]
    assert limits == pytest.approx([upper_limit(0, 50 * 49 // 2)] * 2)
    some = CrossCounts(np.arange(49), np.arange(49) + 1, np.ones((49, 1), int), np.full(50, 1), np.full(50, 1), True)
    estimates, limits = upper_limits(some, FEW)
    assert estimates[0] == pytest.approx(49 / 1225)
    assert limits[0] > estimates[0]


def test_rates_of_groups_are_those_of_a_loop_over_their_pairs() -> None:
    vectors, people = people_vectors(40, 3)
    values = tuple("red" if p % 3 else "" if p % 2 else "blue" for p in people)
    found = compared(vectors, people, groups={"team": values}, thresholds=(0.2,))
    assert [g.label for g in found.groups] == ["", "team: blue", "team: red"]
    for group in found.groups:
        for threshold in (0.2, 0.45, 0.7):
            rates = rates_at(found, group, [threshold], FEW)[0]
            inside = np.flatnonzero(group.members)
            scores = {(i, j): _core.compare(vectors[i], vectors[j]) for i in inside for j in inside if i < j}
            apart = [s for (i, j), s in scores.items() if people[i] != people[j]]
            mated = [s for (i, j), s in scores.items() if people[i] == people[j]]
            assert rates["fmr"]["errors"] == sum(s >= threshold for s in apart)
            assert rates["fmr"]["comparisons"] == len(apart)
            assert rates["fnmr"]["errors"] == sum(s < threshold for s in mated)
            assert rates["fnmr"]["comparisons"] == len(mated)


def test_the_swept_threshold_is_the_lowest_that_holds_the_target() -> None:
    vectors, people = people_vectors(60, 2)
    found = compared(vectors, people)
    group = found.groups[0]
    for target in (1e-3, 1e-2, 0.1):
        threshold = found.threshold_at(group, target)
        count = found.count(group, NON_MATED)
        assert found.errors(group, NON_MATED, threshold) <= target * count
        lower = float(np.nextafter(np.float32(threshold), np.float32(-2)))
        assert found.errors(group, NON_MATED, lower) > target * count - 1


def test_where_too_many_pairs_err_to_keep_them_the_counts_still_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, people = people_vectors(40, 4, spread=1.5)
    whole = compared(vectors, people, thresholds=(0.0, 0.6))
    for name in ("KEEP_NON_MATED", "KEEP_MATED"):
        monkeypatch.setattr(pairs_module, name, 25)
    cut = compared(vectors, people, thresholds=(0.0, 0.6))
    for threshold in (0.0, 0.6):
        exact = rates_at(whole, whole.groups[0], [threshold], FEW)[0]
        known = rates_at(cut, cut.groups[0], [threshold], FEW)[0]
        for name in ("fmr", "fnmr"):
            assert known[name]["errors"] == exact[name]["errors"]
            assert known[name]["by_picture"]["clopper_pearson"] == exact[name]["by_picture"]["clopper_pearson"]
    assert not cut.reaches(NON_MATED, 0.0)
    assert rates_at(cut, cut.groups[0], [0.0], FEW)[0]["fmr"]["by_person"]["rate"] is None
    assert not cut.reaches(MATED, 0.6)
    assert cut.threshold_at(cut.groups[0], 0.5) is None
    with pytest.raises(InputError, match=r"were not counted: give --threshold 0\.1"):
        cut.errors(cut.groups[0], NON_MATED, 0.1)


def test_the_curve_ends_where_everything_and_nothing_matches() -> None:
    vectors, people = people_vectors(30, 3)
    found = compared(vectors, people)
    drawn = curve(found, found.groups[0])
    assert drawn["fmr"][0] == 1
    assert drawn["fnmr"][0] == 0
    assert all(x >= y for x, y in zip(drawn["fmr"], drawn["fmr"][1:], strict=False))
    assert all(x <= y for x, y in zip(drawn["fnmr"], drawn["fnmr"][1:], strict=False))


def test_one_person_alone_has_no_false_matches_to_speak_of() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((4, 8)))
    found = compared(vectors, np.zeros(4, np.int32))
    rates = rates_at(found, found.groups[0], [0.5], FEW)[0]
    assert rates["fmr"]["by_picture"] == {"rate": None, "clopper_pearson": None, "bootstrap": None}
    assert rates["fnmr"]["comparisons"] == 6
    assert rates["fnmr"]["by_person"]["bootstrap"] is None
    assert found.threshold_at(found.groups[0], 0.1) is None


def test_too_many_combinations_of_groups_are_refused() -> None:
    columns = {"a": tuple(str(i % 8) for i in range(64)), "b": tuple(str(i // 8) for i in range(64))}
    with pytest.raises(InputError, match="64 combinations, at most 32"):
        classes_of(columns, 64)
    classes, groups = classes_of({"a": columns["a"]}, 64)
    assert len(groups) == 9
    assert sorted(set(classes.tolist())) == list(range(8))
