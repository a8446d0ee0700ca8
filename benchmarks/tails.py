"""How often non-mated scores reach a threshold that few or none of those at hand reach, and how surely that is known.

The logarithm of the scores' density is taken as quadratic from the 80th percentile on (a normal distribution's is), as
a Poisson regression on bins of 0.01 finds it. In a set without identities some pairs are one person twice: they leave
a flat rest above where strangers' scores end, which is taken off first. Where identities are known this comes within a
factor of about three of what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 0.01
BINS = round(2 / STEP)
MIDDLES = (np.arange(BINS) + 0.5) * STEP - 1
GRID = np.arange(0.0, 1.0, 0.001)  # thresholds at which rates are told
FIT_FROM = 0.80
RESAMPLES = 200
UPPER = 95.0  # per cent, one-sided


@dataclass(frozen=True)
class Tail:
    """False match rates at GRID: fitted, and of each resample (RESAMPLES, len(GRID)); the curvatures of all fits."""

    fitted: np.ndarray
    resampled: np.ndarray
    curvatures: np.ndarray

    @property
    def upper(self) -> np.ndarray:
        """The upper 95 % limit over people, not below the estimate."""
        return np.maximum(np.percentile(self.resampled, UPPER, axis=0), self.fitted)


def bin_of(scores: np.ndarray) -> np.ndarray:
    """Number of the bin of each score."""
    return np.clip(np.floor((scores + 1) / STEP).astype(np.int64), 0, BINS - 1)


def window_of(histogram: np.ndarray, *, to: float) -> slice:
    """The bins between FIT_FROM and the percentile `to`."""
    share = np.cumsum(histogram) / histogram.sum()
    first, last = np.searchsorted(share, FIT_FROM), np.searchsorted(share, to)
    return slice(int(first), int(last) + 1)


def fitted_rates(
    histogram: np.ndarray,
    total: float,
    window: slice,
    *,
    rest: tuple[float, float] | None = None,
    curvature: float = 0.0,
) -> tuple[np.ndarray, float]:
    """False match rates at GRID, of `total` scores with this histogram in the window, and the density's curvature.

    rest: the range of scores in which only pairs of one person are left. curvature: of the logarithm, at most this.
    """
    counts = histogram[window].astype(float)
    if rest is not None:
        flat = histogram[(rest[0] < MIDDLES) & (rest[1] > MIDDLES)].mean()
        counts = np.maximum(counts - flat, 0.0)
    density, found = _log_quadratic(MIDDLES[window], counts, curvature)
    fine = GRID[1] - GRID[0]
    return np.cumsum(density(GRID + fine / 2)[::-1])[::-1] * (fine / STEP) / total, found


def _log_quadratic(
    x: np.ndarray, counts: np.ndarray, curvature: float
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """The density exp(a + bx + cx^2) that fits the counts best with c at most the curvature, and its c."""
    middle, spread = x.mean(), x.std()
    z = (x - middle) / spread
    found = _poisson(np.stack([np.ones_like(z), z, z * z], axis=1), counts, np.zeros_like(z))
    most = curvature * spread**2
    if not found[2] <= most:
        found = np.append(_poisson(np.stack([np.ones_like(z), z], axis=1), counts, most * z * z), most)

    def density(at: np.ndarray) -> np.ndarray:
        there = (at - middle) / spread
        return np.exp(np.clip(found[0] + found[1] * there + found[2] * there * there, -60, 60))

    return density, float(found[2] / spread**2)


def _poisson(design: np.ndarray, counts: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Coefficients of a Poisson regression with a logarithmic link, by iterated least squares from a weighted one."""
    some = counts > 0
    weight = np.sqrt(counts[some])
    start = (np.log(counts[some]) - offset[some]) * weight
    found = np.linalg.lstsq(design[some] * weight[:, None], start, rcond=None)[0]
    for _ in range(60):
        mean = np.exp(np.clip(design @ found + offset, -50, 50))
        step = np.linalg.lstsq((design.T * mean) @ design, design.T @ (counts - mean), rcond=None)[0]
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return found


@dataclass(frozen=True)
class Scores:
    """Non-mated scores (n,) of all owners against all others, once or several times; people are numbers from 0."""

    values: np.ndarray
    one: np.ndarray
    other: np.ndarray
    owners: np.ndarray
    others: np.ndarray
    people: int


def tail_over_people(
    scores: Scores, *, to: float, rest: tuple[float, float] | None = None, wider: Tail | None = None, seed: int = 0
) -> Tail:
    """The tail of non-mated scores.

    The resamples are a bootstrap over people: each weights a pair by how often both were drawn. wider: the tail of
    single scores of the same people and seed; what is fused of several has no wider distribution, in any resample. With
    few people that keeps a fit of few scores from a tail that ends nowhere.
    """
    people = scores.people
    bins = bin_of(scores.values)
    histogram = np.bincount(bins, minlength=BINS)
    window = window_of(histogram, to=to)
    kept = bins >= window.start
    key = (scores.one[kept].astype(np.int64) * people + scores.other[kept]) * BINS + bins[kept]
    key, times = np.unique(key, return_counts=True)
    bins, first, second = key % BINS, key // BINS // people, key // BINS % people
    both = np.intersect1d(scores.owners, scores.others)

    def pairs(weights: np.ndarray) -> float:
        return float(weights[scores.owners].sum() * weights[scores.others].sum() - (weights[both] ** 2).sum())

    each = len(scores.values) / pairs(np.ones(people))

    limits = np.zeros(RESAMPLES + 1) if wider is None else wider.curvatures

    def rates(weights: np.ndarray, limit: float) -> tuple[np.ndarray, float]:
        counted = np.bincount(bins, weights=weights[first] * weights[second] * times, minlength=BINS)
        return fitted_rates(counted, each * pairs(weights), window, rest=rest, curvature=limit)

    random = np.random.default_rng(seed)
    drawn = [np.bincount(random.integers(0, people, people), minlength=people) for _ in range(RESAMPLES)]
    found = [rates(w.astype(float), limit) for w, limit in zip([np.ones(people), *drawn], limits, strict=True)]
    curves = np.array([curve for curve, _ in found])
    return Tail(curves[0], curves[1:], np.array([curvature for _, curvature in found]))


def threshold_for(rates: np.ndarray, target: float) -> float:
    """The lowest threshold of GRID from which on the rate is at most target; infinite where there is none."""
    above = np.flatnonzero(rates > target)
    if len(above) == 0:
        return float(GRID[0])
    return float(GRID[above[-1] + 1]) if above[-1] + 1 < len(GRID) else float("inf")
