"""Error rates at thresholds, by picture and by person, each with how sure it is.

By picture every comparison weighs the same, and a person with many pictures more than others. By person everybody
weighs the same: the mean of what each one meets. Both intervals of the bootstrap draw people, and a non-mated pair
counts as often as both of its people were drawn together: comparisons of one person are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facesdk.evaluation.intervals import CONFIDENCE, bootstrap, clopper_pearson, interval_of, upper_limit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Result = dict[str, Any]


@dataclass(frozen=True)
class Draws:
    """How the bootstrap draws: the same for everything in one report."""

    count: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class OwnCounts:
    """What belongs to one person each: errors (people, thresholds) of `comparisons` (people,)."""

    errors: NDArray[np.int64]
    comparisons: NDArray[np.int64]


@dataclass(frozen=True)
class CrossCounts:
    """What two people have with each other: errors (pairs, thresholds) of the people a and b where there are any.

    owners, others: how many samples of each person were compared with those of everybody else. both_ways: a pair is
    compared once, and is an error for both (pictures); else it is one for the owner of the reference, a. Where only
    listed pairs were compared, `listed` has how many of each (a, b), and owners and others mean nothing.
    """

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    errors: NDArray[np.int64]
    owners: NDArray[np.int64]
    others: NDArray[np.int64]
    both_ways: bool
    listed: NDArray[np.int64] | None = None


def own_rates(counts: OwnCounts, draws: Draws) -> list[Result]:
    """The rates of each threshold, of errors that need one person: FNMR, FTA, FTE."""
    import numpy as np

    there = counts.comparisons > 0
    errors, comparisons = counts.errors[there].astype(np.float64), counts.comparisons[there].astype(np.float64)
    # One product for all: sums of errors, of shares, of comparisons.
    columns = np.hstack([errors, errors / comparisons[:, None], comparisons[:, None]])
    thresholds = errors.shape[1]

    def statistic(weights: NDArray[Any]) -> Floats:
        sums = weights.astype(np.float64) @ columns
        shares = sums[:, thresholds:-1] / weights.sum(axis=1)[:, None]
        with np.errstate(invalid="ignore"):
            return np.stack([sums[:, :thresholds] / sums[:, -1:], shares], axis=-1)

    return _rates(counts.errors.sum(axis=0), int(comparisons.sum()), statistic, len(comparisons), draws)


def cross_rates(counts: CrossCounts, draws: Draws) -> list[Result]:
    """The rates of each threshold, of errors between two people: FMR."""
    compact = _compact(counts)
    statistic = _cross_statistic(compact)
    return _rates(counts.errors.sum(axis=0), _total(compact), statistic, len(compact.owners), draws)


def upper_limits(counts: CrossCounts, draws: Draws) -> tuple[list[float], list[float]]:
    """Of each threshold the rate by person, and what 95 % of draws do not exceed; never below what no error would mean.

    Without errors as many pairs of people as there are say that the rate is below 3 over their number, at 95 %.
    """
    import numpy as np

    compact = _compact(counts)
    people = len(compact.owners)
    statistic = _cross_statistic(compact)
    measured = statistic(np.ones((1, people)))[0, :, 1]
    drawn = bootstrap(statistic, people, count=draws.count, seed=draws.seed)[:, :, 1]
    least = upper_limit(0, people * (people - 1) // 2)
    return measured.tolist(), np.maximum(np.nanquantile(drawn, CONFIDENCE, axis=0), least).tolist()


def _compact(counts: CrossCounts) -> CrossCounts:
    """The same without people that were not compared, whom a draw is not to pick."""
    import numpy as np

    here = np.flatnonzero((counts.owners > 0) | (counts.others > 0))
    number = np.zeros(len(counts.owners), np.intp)
    number[here] = np.arange(len(here))
    return replace(
        counts, a=number[counts.a], b=number[counts.b], owners=counts.owners[here], others=counts.others[here]
    )


def _total(counts: CrossCounts) -> int:
    import numpy as np

    return round(float(_met(counts, np.ones((1, len(counts.owners))))[0][0])) if len(counts.owners) else 0


def _cross_statistic(counts: CrossCounts) -> Callable[[NDArray[Any]], Floats]:
    """Weights (draws, people) to rates (draws, thresholds, by picture and by person)."""
    import numpy as np

    a, b = counts.a, counts.b

    def statistic(weights: NDArray[Any]) -> Floats:
        total, met = _met(counts, weights)
        inverse = np.divide(1, met, out=np.zeros_like(met), where=met > 0)
        each = inverse[:, a] + inverse[:, b] if counts.both_ways else inverse[:, a]
        drawn, errors = weights[:, a] * weights[:, b], counts.errors.astype(weights.dtype)
        present = (weights * (met > 0)).sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.stack([(drawn @ errors) / total[:, None], ((drawn * each) @ errors) / present[:, None]], axis=-1)

    return statistic


def _met(counts: CrossCounts, weights: NDArray[Any]) -> tuple[Floats, NDArray[Any]]:
    """Non-mated comparisons of each draw, and those that one copy of each person meets in it, (draws, people)."""
    import numpy as np

    if counts.listed is not None:
        met = np.zeros_like(weights)
        for row, w in enumerate(weights):
            met[row] = np.bincount(counts.a, w[counts.b] * counts.listed, minlength=len(counts.owners))
            met[row] += np.bincount(counts.b, w[counts.a] * counts.listed, minlength=len(counts.owners))
        return (weights * met).sum(axis=1, dtype=np.float64) / 2, met
    owners, others = counts.owners.astype(weights.dtype), counts.others.astype(weights.dtype)
    there = (weights * others).sum(axis=1, dtype=np.float64)
    met = ((there[:, None] - weights * others) * owners).astype(weights.dtype)
    total = np.einsum("dp,dp->d", weights, met, dtype=np.float64)
    return total / (2 if counts.both_ways else 1), met


def _rates(errors: NDArray[np.int64], comparisons: int, statistic: Any, people: int, draws: Draws) -> list[Result]:
    """The measured rates, in float64, and the intervals."""
    import numpy as np

    # Ten digits: what is beyond is the order of additions.
    measured = [float(f"{x:.10g}") for x in statistic(np.ones((1, people)))[0, :, 1]] if comparisons else None
    # One person is drawn again and again: that says nothing of others.
    drawn = bootstrap(statistic, people, count=draws.count, seed=draws.seed) if comparisons and people > 1 else None
    rates = []
    for t, wrong in enumerate(errors.tolist()):
        interval = [None if drawn is None else interval_of(drawn[:, t, kind]) for kind in (0, 1)]
        rates.append({
            "errors": wrong, "comparisons": comparisons, "people": people,
            "by_picture": {
                "rate": wrong / comparisons if comparisons else None,
                "clopper_pearson": clopper_pearson(wrong, comparisons), "bootstrap": interval[0],
            },
            "by_person": {"rate": measured[t] if measured else None, "bootstrap": interval[1]},
        })  # fmt: skip
    return rates
