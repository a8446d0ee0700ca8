"""How thresholds are found where pairs end: the fit on distributions that are known; what is written can be read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks")]

import calibration  # noqa: E402
import tails  # noqa: E402
from operating_points import write_points  # noqa: E402
from tails import GRID, Scores, tail_over_people, threshold_for  # noqa: E402

from facesdk.engine.networks import load_manifest, tomllib  # noqa: E402
from facesdk.engine.operating_points import matrix_of  # noqa: E402


def normal_scores(seed: int, people: int, draws: int, spread: float) -> Scores:
    """Scores of all pairs of people, normally distributed around 0.05."""
    random = np.random.default_rng(seed)
    one, other = np.triu_indices(people, 1)
    values = random.normal(0.05, spread, draws * len(one))
    everybody = np.arange(people)
    return Scores(values, np.tile(one, draws), np.tile(other, draws), everybody, everybody, people)


def tail_of_normal(threshold: float, spread: float) -> float:
    from statistics import NormalDist

    return 1 - NormalDist(0.05, spread).cdf(threshold)


def test_a_tail_is_extended_to_where_no_pair_is() -> None:
    tail = tail_over_people(normal_scores(1, 300, 2, 0.1), to=0.9995)
    for threshold in (0.3, 0.4, 0.45, 0.5):
        estimate = float(tail.fitted[round(threshold * 1000)])
        expected = tail_of_normal(threshold, 0.1)
        assert expected / 3 < estimate < expected * 3, threshold
        assert tail.upper[round(threshold * 1000)] >= estimate


def test_the_limit_covers_the_truth_about_as_often_as_it_says() -> None:
    """19 of 20; people are drawn anew each time, and one person's pairs go together."""
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        people, own = 60, random.normal(0.0, 0.03, 60)  # some are like everybody
        one, other = np.triu_indices(people, 1)
        values = random.normal(0.05, 0.09, len(one)) + own[one] + own[other]
        everybody = np.arange(people)
        tail = tail_over_people(Scores(values, one, other, everybody, everybody, people), to=0.9995, seed=seed)
        covered += float(tail.upper[400]) >= tail_of_normal(0.4, float(np.hypot(0.09, 0.03 * np.sqrt(2))))
    assert covered >= 32


def test_pairs_of_one_person_are_taken_off_as_a_flat_rest() -> None:
    scores = normal_scores(2, 400, 1, 0.1)
    random = np.random.default_rng(3)
    mixed = scores.values.copy()
    mixed[random.choice(len(mixed), 300, replace=False)] = random.uniform(0.4, 0.9, 300)
    whole = Scores(mixed, scores.one, scores.other, scores.owners, scores.others, scores.people)
    tail = tail_over_people(whole, to=0.994, rest=(0.56, 0.70))
    expected = tail_of_normal(0.45, 0.1)
    assert expected / 4 < float(tail.fitted[450]) < expected * 4
    assert float(np.mean(mixed >= 0.45)) > 20 * expected


def test_fused_scores_are_not_taken_for_wider_than_single_ones() -> None:
    single = tail_over_people(normal_scores(4, 25, 20, 0.1), to=0.9995)
    fused = normal_scores(5, 25, 2, 0.06)
    free, held = tail_over_people(fused, to=0.9995), tail_over_people(fused, to=0.9995, wider=single)
    assert (held.curvatures <= single.curvatures + 1e-9).all()
    assert held.upper[400] <= free.upper[400] * 1.01
    assert held.fitted[300] < single.fitted[300]


def test_a_threshold_is_the_lowest_from_which_on_the_rate_holds() -> None:
    rates = np.exp(-20 * GRID)
    found = threshold_for(rates, 1e-3)
    assert rates[round(found * 1000)] <= 1e-3 < rates[round(found * 1000) - 1]
    assert threshold_for(rates, 2.0) == 0.0
    assert threshold_for(rates, 1e-12) == float("inf")


def test_figures_are_rounded_up() -> None:
    assert [calibration._rounded_up(v) for v in (1.21e-5, 2.0e-5, 9.99e-6, 0.0)] == [1.3e-5, 2.0e-5, 1.0e-5, 0.0]


def test_a_point_that_is_not_offered_can_be_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text("format = 1\n\n# operating points: none\n")
    write_points(tmp_path / "manifest.toml", {"sface": [{"target_fmr": 1e-5, "thresholds": [[float("inf"), 0.5]]}]})
    (point,) = tomllib.loads((tmp_path / "manifest.toml").read_text())["operating_points"]["sface"]
    assert matrix_of(point["thresholds"]) == ((float("inf"), 0.5),)


def test_every_exclusion_has_a_reason_and_a_kind() -> None:
    import csv

    with open(calibration.EXCLUSIONS, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    assert {row["kind"] for row in rows} == {"mislabelled", "same", "siblings"}
    assert all(row["reason"] and row["a"] and bool(row["b"]) == (row["kind"] != "mislabelled") for row in rows)


def test_the_manifest_s_points_are_of_the_form_that_is_written() -> None:
    for entry in load_manifest().embedders.values():
        for points in entry.processor_points:
            assert points.target_fmr in calibration.TARGETS
            for row in points.thresholds:
                assert all(threshold == round(threshold, 3) for threshold in row)
    assert tails.RESAMPLES >= 200


@pytest.mark.parametrize("slack", [calibration.SLACK])
def test_limits_may_lie_a_quarter_above_the_target(slack: float) -> None:
    for entry in load_manifest().embedders.values():
        for points in entry.processor_points:
            for estimates, bounds in zip(points.estimates, points.bounds, strict=True):
                assert all(e <= points.target_fmr * 1.0001 for e in estimates)
                assert all(e <= b <= slack * points.target_fmr * 1.05 for e, b in zip(estimates, bounds, strict=True))
