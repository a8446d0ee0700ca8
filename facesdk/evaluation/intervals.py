"""How sure a measured rate is: Clopper-Pearson for counts, the bootstrap over people for what shares people."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Interval = tuple[float, float] | None

CONFIDENCE = 0.95
# Draws that are computed at once: their products with some 100,000 pairs of people stay within tens of megabytes.
_DRAWS = 25


def clopper_pearson(errors: int, count: int) -> Interval:
    """The exact 95 % interval of a proportion, as if comparisons were independent; None where nothing was compared.

    Source: Clopper and Pearson 1934; its ends are quantiles of the beta distribution.
    """
    if count == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if errors == 0 else _beta_quantile(tail, errors, count - errors + 1)
    high = 1.0 if errors == count else _beta_quantile(1 - tail, errors + 1, count - errors)
    return low, high


def upper_limit(errors: int, count: int) -> float:
    """The one-sided 95 % limit of the same kind; 1 where nothing was compared."""
    return 1.0 if errors >= count else _beta_quantile(CONFIDENCE, errors + 1, count - errors)


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the beta distribution's cumulative probability is this, by bisection of the odds' logarithm."""
    low, high = -700.0, 700.0
    for _ in range(100):
        middle = (low + high) / 2
        if _beta_below(1 / (1 + math.exp(-middle)), a, b) < probability:
            low = middle
        else:
            high = middle
    return 1 / (1 + math.exp(-(low + high) / 2))


def _beta_below(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction. Source: DLMF 8.17.22."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_below(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / (1 + term * d), 1 + term / c
            result *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return math.exp(front) * result / a


def draws(people: int, *, count: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each person is drawn, (draws, people), some draws at a time: the same for one seed."""
    import numpy as np

    random = np.random.default_rng(seed)
    for first in range(0, count, _DRAWS):
        rows = min(_DRAWS, count - first)
        drawn = random.integers(0, people, (rows, people)) + np.arange(rows)[:, None] * people
        yield np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people).astype(np.float32)


def bootstrap(
    statistic: Callable[[NDArray[np.float32]], NDArray[np.float64]], people: int, *, count: int, seed: int
) -> NDArray[np.float64]:
    """The statistic (draws, ...) of all draws, one below the other; NaN where a draw has nothing to compare."""
    import numpy as np

    # numpy leaves Python to other threads in the long steps; the order of the results is that of the draws.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.concatenate(list(pool.map(statistic, draws(people, count=count, seed=seed))))


def interval_of(drawn: NDArray[Any]) -> Interval:
    """The middle 95 % of what was drawn; None where nothing was, or all is 0: then the bootstrap knows nothing."""
    import numpy as np

    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size or not drawn.any():
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    # What is beyond six digits is the order of additions, which differs between processors.
    return float(f"{low:.6g}"), float(f"{high:.6g}")
