"""Scores of all pairs, or of listed ones, as counts by class and the pairs that tell most, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facesdk import _core, matching
from facesdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.evaluation.workers import Workers
    from facesdk.types import Float32Array

# So many pairs are kept: of 13,233 photos of LFW every mated one, and the non-mated ones down to an FMR of 1.5e-3.
KEEP_NON_MATED, KEEP_MATED = 1 << 17, 1 << 18
BINS = 4096
NON_MATED, MATED = 0, 1


@dataclass(frozen=True)
class Tail:
    """The highest non-mated or lowest mated pairs, by score and then by place. cut: whether there are more."""

    scores: Float32Array
    pairs: NDArray[np.uint32]
    cut: bool


@dataclass(frozen=True)
class Comparisons:
    """What is known of all compared pairs.

    bins: uint64 (cells, 2, BINS), by scores from -1 to 1, non-mated and mated; a cell is an unordered pair of classes
    a >= b at a * (a + 1) / 2 + b. above: uint64 (cells, 2, thresholds) of the scores that are at a threshold or above.
    """

    thresholds: tuple[float, ...]
    bins: NDArray[np.uint64]
    above: NDArray[np.uint64]
    highest: Tail
    lowest: Tail

    def __add__(self, other: Comparisons) -> Comparisons:
        return Comparisons(
            self.thresholds, self.bins + other.bins, self.above + other.above,
            _joined(self.highest, other.highest, sign=-1, keep=KEEP_NON_MATED),
            _joined(self.lowest, other.lowest, sign=1, keep=KEEP_MATED),
        )  # fmt: skip


def all_pairs(
    vectors: Float32Array, people: NDArray[np.int32], classes: NDArray[np.int32], *,
    thresholds: Sequence[float], workers: Workers,
) -> Comparisons:  # fmt: skip
    """Every pair of unit vectors (n, d) once. The result has the same bits however many workers share them."""
    common = {"vectors": vectors, "people": people, "classes": classes, "thresholds": tuple(thresholds)}
    parts = workers.count
    found = list(workers.map(_count_part, common, [(i, parts) for i in range(parts)], threads=True))
    total: Comparisons = sum(found[1:], start=found[0])
    return total


def _count_part(common: Mapping[str, Any], part: tuple[int, int]) -> Comparisons:
    import numpy as np

    thresholds = common["thresholds"]
    # Arrays that came through a network lie in its buffers at any address.
    vectors, people, classes = (
        np.require(common[name], requirements=["C", "A"]) for name in ("vectors", "people", "classes")
    )
    bins, above, highest, lowest = _core.count_pairs(
        vectors,
        people,
        classes,
        np.array(thresholds, np.float64),
        keep=(KEEP_NON_MATED, KEEP_MATED),
        part=part[0],
        parts=part[1],
    )
    return Comparisons(thresholds, bins, above, Tail(*highest), Tail(*lowest))


def listed_pairs(
    vectors: Float32Array, people: NDArray[np.int32], classes: NDArray[np.int32], *,
    thresholds: Sequence[float], pairs: Sequence[tuple[int, int]],
) -> Comparisons:  # fmt: skip
    """The same of these pairs (a < b) only. InputError for more than KEEP_MATED of them."""
    import numpy as np

    if len(pairs) > KEEP_MATED:
        raise InputError(
            f"expected at most {KEEP_MATED} listed pairs, not {len(pairs)}: leave the list out for all pairs"
        )
    both = np.array(pairs, np.uint32).reshape(-1, 2)
    scores = np.array([matching.score(vectors[a], vectors[b]) for a, b in pairs], np.float32)
    mated = (people[both[:, 0]] == people[both[:, 1]]).astype(int)
    one, two = (classes[both[:, i]].astype(int) for i in (0, 1))
    cell = cell_of(np.maximum(one, two), np.minimum(one, two))
    cells = cell_of(int(classes.max(initial=0)) + 1, 0)
    bins, above = np.zeros((cells, 2, BINS), np.uint64), np.zeros((cells, 2, len(thresholds)), np.uint64)
    np.add.at(bins, (cell, mated, bin_of(scores)), np.uint64(1))
    for t, threshold in enumerate(thresholds):
        np.add.at(above, (cell, mated, t), (scores >= np.float64(threshold)).astype(np.uint64))
    tails = [_ordered(scores[mated == kind], both[mated == kind], sign=sign) for kind, sign in ((0, -1), (1, 1))]
    return Comparisons(tuple(thresholds), bins, above, *tails)


def cell_of(a: Any, b: Any) -> Any:
    """Where pairs of the classes a >= b are counted."""
    return a * (a + 1) // 2 + b


def bin_of(scores: Float32Array) -> NDArray[np.intp]:
    """Where scores are counted; in float32, as the core does it."""
    import numpy as np

    place = (scores + np.float32(1)) * np.float32(BINS // 2)
    bins: NDArray[np.intp] = np.clip(place, 0, BINS - 1).astype(np.intp)
    return bins


def bin_edges() -> NDArray[np.float64]:
    """The lower ends of the bins."""
    import numpy as np

    return np.arange(BINS, dtype=np.float64) * (2 / BINS) - 1


def _joined(x: Tail, y: Tail, *, sign: int, keep: int) -> Tail:
    import numpy as np

    scores, pairs = np.concatenate([x.scores, y.scores]), np.concatenate([x.pairs, y.pairs])
    if len(scores) > keep:
        edge = np.partition(sign * scores, keep - 1)[keep - 1]
        near = sign * scores <= edge
        scores, pairs = scores[near], pairs[near]
    joined = _ordered(scores, pairs, sign=sign)
    cut = x.cut or y.cut or len(x.scores) + len(y.scores) > keep
    return Tail(joined.scores[:keep], joined.pairs[:keep], cut)


def _ordered(scores: Float32Array, pairs: NDArray[np.uint32], *, sign: int) -> Tail:
    import numpy as np

    order = np.lexsort((pairs[:, 1], pairs[:, 0], sign * scores))
    return Tail(scores[order], pairs[order], False)
