"""How often non-mated scores reach a threshold that few or none of those at hand reach, and how surely that is known.

The logarithm of the scores' density is taken as quadratic from the 80th percentile on (a normal distribution's is), as
a Poisson regression on bins of 0.01 finds it. In a set without identities some pairs are one person twice: they leave
a flat rest above where strangers' scores end, which is taken off first. Where identities are known this comes within a
factor of about three of what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 0.01
BINS = round(2 / STEP)
MIDDLES = (np.arange(BINS) + 0.5) * STEP - 1
GRID = np.arange(0.0, 1.0, 0.001)  # thresholds at which rates are told
FIT_FROM = 0.80
RESAMPLES = 400
UPPER = 95.0  # per cent, one-sided


@dataclass(frozen=True)
class Tail:
    """False match rates at GRID: fitted, and the upper 95 % limit over people; count: of scores it was fitted to."""

    fitted: np.ndarray
    upper: np.ndarray
    count: int


def bin_of(scores: np.ndarray) -> np.ndarray:
    """Number of the bin of each score."""
    return np.clip(np.floor((scores + 1) / STEP).astype(np.int64), 0, BINS - 1)


def fitted_rates(histogram: np.ndarray, *, to: float, rest: tuple[float, float] | None = None) -> np.ndarray:
    """False match rates at GRID of the scores with this histogram, fitted between FIT_FROM and the percentile `to`.

    rest: the range of scores in which only pairs of one person are left.
    """
    share = np.cumsum(histogram) / histogram.sum()
    first, last = np.searchsorted(share, FIT_FROM), np.searchsorted(share, to)
    counts = histogram[first : last + 1].astype(float)
    if rest is not None:
        flat = histogram[(rest[0] < MIDDLES) & (rest[1] > MIDDLES)].mean()
        counts = np.maximum(counts - flat, 0.0)
    density = _log_quadratic(MIDDLES[first : last + 1], counts)
    fine = GRID[1] - GRID[0]
    return np.cumsum(density(GRID + fine / 2)[::-1])[::-1] * (fine / STEP) / histogram.sum()


def _log_quadratic(x: np.ndarray, counts: np.ndarray):
    """The density exp(a + bx + cx^2) that fits the counts best, a Poisson regression by iterated least squares."""
    middle, spread = x.mean(), x.std()

    def terms(at: np.ndarray) -> np.ndarray:
        z = (at - middle) / spread
        return np.stack([np.ones_like(z), z, z * z], axis=1)

    design, some = terms(x), counts > 0
    weight = np.sqrt(counts[some])
    start = np.linalg.lstsq(design[some] * weight[:, None], np.log(counts[some]) * weight, rcond=None)[0]
    found = start
    for _ in range(60):
        mean = np.exp(np.clip(design @ found, -50, 50))
        weighted = design.T * mean
        step = np.linalg.solve(weighted @ design, design.T @ (counts - mean))
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return lambda at: np.exp(np.clip(terms(at) @ found, -60, 60))


def tail_over_people(
    scores: np.ndarray, one: np.ndarray, other: np.ndarray, *, to: float, rest: tuple[float, float] | None = None,
    seed: int = 0, resamples: int = RESAMPLES,
) -> Tail:  # fmt: skip
    """The tail of non-mated scores (n,) of the people `one` and `other` (n,), numbers from 0.

    The limit is that of a bootstrap over people: each resample weights a pair by how often both were drawn.
    """
    people = int(max(one.max(), other.max())) + 1
    key, times = np.unique((one.astype(np.int64) * people + other) * BINS + bin_of(scores), return_counts=True)
    bins, first, second = key % BINS, key // BINS // people, key // BINS % people

    def rates(weights: np.ndarray) -> np.ndarray:
        histogram = np.bincount(bins, weights=weights[first] * weights[second] * times, minlength=BINS)
        return fitted_rates(histogram, to=to, rest=rest)

    random = np.random.default_rng(seed)
    drawn = (np.bincount(random.integers(0, people, people), minlength=people) for _ in range(resamples))
    upper = np.percentile([rates(weights.astype(float)) for weights in drawn], UPPER, axis=0)
    return Tail(rates(np.ones(people)), upper, len(scores))


def threshold_for(rates: np.ndarray, target: float) -> float:
    """The lowest threshold of GRID from which on the rate is at most target; infinite where there is none."""
    above = np.flatnonzero(rates > target)
    if len(above) == 0:
        return float(GRID[0])
    return float(GRID[above[-1] + 1]) if above[-1] + 1 < len(GRID) else float("inf")
