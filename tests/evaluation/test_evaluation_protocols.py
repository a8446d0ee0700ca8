"""Several photos against several, and error against discarded quality: against loops and made-up measures."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_tools import compared, people_vectors

from facesdk.errors import InputError
from facesdk.evaluation import fused_scores
from facesdk.evaluation.discarding import SHARES, curves
from facesdk.evaluation.features import dtype_of
from facesdk.evaluation.pairs import MATED, Tail
from facesdk.evaluation.protocols import MAX_PROBES, fused, parse_protocol
from facesdk.evaluation.rates import Draws

FEW = Draws(100, 1)


def test_a_protocol_is_samples_plus_frames() -> None:
    assert parse_protocol("3+1") == (3, 1)
    for text in ("3", "0+1", "1+11", "3 + 3", "3+3+3", "a+b", ""):
        with pytest.raises(InputError, match="a protocol is samples\\+frames"):
            parse_protocol(text)


def test_references_and_probes_are_different_photos_of_people_with_enough() -> None:
    vectors, people = people_vectors(6, 7)
    people[people == 5] = 4  # one person with 14 photos
    few = people != 3
    few |= np.arange(len(people)) % 7 < 3  # and one with 3
    vectors, people = vectors[few], people[few]
    found = fused(vectors, people, (3, 2), seed=9)
    assert found is not None
    assert found.people.tolist() == [0, 1, 2, 4]
    assert np.bincount(found.owners).tolist() == [2, 2, 2, 0, 5]
    again, other = fused(vectors, people, (3, 2), seed=9), fused(vectors, people, (3, 2), seed=10)
    assert np.array_equal(found.scores, again.scores)
    assert not np.array_equal(found.scores, other.scores)
    # No photo is on both sides: a mated score of 1 would mean that.
    assert found.scores.max() < 0.999


def test_a_person_gives_at_most_so_many_probes() -> None:
    vectors, people = people_vectors(2, 3 * MAX_PROBES)
    found = fused(vectors, people, (1, 1), seed=0)
    assert np.bincount(found.owners).tolist() == [MAX_PROBES, MAX_PROBES]


def test_fewer_than_two_people_with_enough_photos_are_no_protocol() -> None:
    vectors, people = people_vectors(3, 3)
    assert fused(vectors, people, (3, 1), seed=0) is None
    assert fused(vectors[:3], people[:3], (1, 1), seed=0) is None


def test_rates_of_fused_scores_are_those_of_a_loop() -> None:
    vectors, people = people_vectors(25, 6, spread=1.2)
    found = fused(vectors, people, (2, 2), seed=1)
    members = np.arange(25) % 2 == 0
    swept = found.threshold_at(0.05, members)
    for threshold in (0.1, 0.3, swept):
        rates = found.rates([threshold], members, FEW)[0]
        apart = [found.scores[r, c] for r, a in enumerate(found.people) for c, b in enumerate(found.owners)
                 if a != b and members[a] and members[b]]  # fmt: skip
        mated = [found.scores[r, c] for r, a in enumerate(found.people) for c, b in enumerate(found.owners)
                 if a == b and members[a]]  # fmt: skip
        assert (rates["fmr"]["errors"], rates["fmr"]["comparisons"]) == (sum(s >= threshold for s in apart), len(apart))
        assert (rates["fnmr"]["errors"], rates["fnmr"]["comparisons"]) == (
            sum(s < threshold for s in mated),
            len(mated),
        )
    assert sum(s >= swept for s in apart) <= 0.05 * len(apart) < sum(s >= np.nextafter(swept, 0) for s in apart) + 1


def test_more_photos_err_less() -> None:
    vectors, people = people_vectors(60, 8, spread=1.3)
    everybody, missed = np.ones(60, bool), []
    for protocol in ((1, 1), (3, 1), (3, 3)):
        found = fused(vectors, people, protocol, seed=2)
        threshold = found.threshold_at(0.01, everybody)
        missed.append(found.rates([threshold], everybody, FEW)[0]["fnmr"]["by_picture"]["rate"])
    assert missed[0] > missed[1] > missed[2]


def test_the_scores_are_the_ones_that_the_product_fuses() -> None:
    vectors, people = people_vectors(2, 2)
    found = fused(vectors, people, (1, 1), seed=0)
    every = {round(float(fused_scores(vectors[None, i : i + 1], vectors[None, j : j + 1])[0, 0]), 6)
             for i in range(4) for j in range(4)}  # fmt: skip
    assert {round(float(s), 6) for s in found.scores.ravel()} <= every


def rows_with(sharpness: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(sharpness), dtype_of("sface"))
    rows["quality"][:, 4] = sharpness
    rows["pose"][:, 0] = yaw
    return rows


def test_discarding_by_a_measure_that_tells_lowers_the_error_and_one_that_does_not_leaves_it() -> None:
    vectors, people = people_vectors(50, 4)
    blurred = np.arange(len(people)) % 4 == 0
    vectors[blurred] = -vectors[blurred]  # every blurred photo misses
    found = compared(vectors, people)
    random = np.random.default_rng(1)
    rows = rows_with(np.where(blurred, 5.0, 50.0), np.where(blurred, 0, random.uniform(-30, 30, len(people))))
    drawn = {c["measure"]: c for c in curves(found.tail(found.groups[0], MATED), rows, 0.3)}
    assert drawn["sharpness"]["discarded"] == list(SHARES)
    assert drawn["sharpness"]["fnmr"][0] == pytest.approx(0.5, abs=0.1)
    assert drawn["sharpness"]["fnmr"][-1] < 0.1
    assert drawn["yaw_deg"]["fnmr"][-1] > drawn["yaw_deg"]["fnmr"][0]
    # Nothing differs in contrast: whose pairs go first must not depend on their scores.
    assert max(abs(x - drawn["contrast"]["fnmr"][0]) for x in drawn["contrast"]["fnmr"]) < 0.1
    assert curves(found.tail(found.groups[0], MATED), rows, 0.3)[0]["measure"] == "sharpness"


def test_no_mated_pairs_make_no_curve() -> None:
    nothing = Tail(np.zeros(0, np.float32), np.zeros((0, 2), np.uint32), False)
    assert curves(nothing, rows_with(np.ones(2), np.ones(2)), 0.5) == []
