"""Several photos against several: references of k samples, verifications of m frames, fused as the product does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facesdk.errors import InputError
from facesdk.evaluation import fused_scores
from facesdk.evaluation.rates import CrossCounts, Draws, OwnCounts, cross_rates, own_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Float32Array

    Result = dict[str, Any]

# Verifications of one person: more would say little that is new, and few people would be most of the comparisons.
MAX_PROBES = 10
_MOST = 10
_FORM = re.compile(r"(\d{1,2})\+(\d{1,2})")


@dataclass(frozen=True)
class Fused:
    """Scores (references, probes) of one protocol. people: whose reference each row is; owners: of each probe."""

    scores: Float32Array
    people: NDArray[np.intp]
    owners: NDArray[np.intp]

    def threshold_at(self, target: float, members: NDArray[np.bool_]) -> float | None:
        """The lowest threshold at which the FMR among these people is at most the target; None without comparisons."""
        import numpy as np

        non_mated = self._inside(members)[0]
        if not non_mated.size:
            return None
        allowed = int(target * non_mated.size)
        edge = np.partition(non_mated, non_mated.size - 1 - allowed)[non_mated.size - 1 - allowed]
        return min(1.0, float(np.nextafter(edge, np.float32(2))))

    def rates(self, thresholds: Sequence[float], members: NDArray[np.bool_], draws: Draws) -> list[Result]:
        """FMR and FNMR at each threshold among these people, bool (people,)."""
        import numpy as np

        size = len(members)
        rows, columns = np.flatnonzero(members[self.people]), np.flatnonzero(members[self.owners])
        scores, a, b = self.scores[np.ix_(rows, columns)], self.people[rows], self.owners[columns]
        probes = np.bincount(b, minlength=size)
        low = min(thresholds, default=2.0)
        r, c = np.nonzero((scores >= np.float64(low)) & (a[:, None] != b[None]))
        pair, place = np.unique(a[r] * size + b[c], return_inverse=True)
        hits = [np.bincount(place[scores[r, c] >= np.float64(t)], minlength=len(pair)) for t in thresholds]
        cross = CrossCounts(pair // max(size, 1), pair % max(size, 1), np.stack(hits, axis=1),
                            np.bincount(a, minlength=size), probes, False)  # fmt: skip
        own_row = np.full(size, -1)
        own_row[a] = np.arange(len(a))
        own = scores[own_row[b], np.arange(len(b))] if len(b) else np.zeros(0, np.float32)
        misses = [np.bincount(b[own < np.float64(t)], minlength=size) for t in thresholds]
        fmr, fnmr = cross_rates(cross, draws), own_rates(OwnCounts(np.stack(misses, axis=1), probes), draws)
        return [{"threshold": t, "fmr": x, "fnmr": y} for t, x, y in zip(thresholds, fmr, fnmr, strict=True)]

    def _inside(self, members: NDArray[np.bool_]) -> tuple[Float32Array, Float32Array]:
        """Non-mated and mated scores among these people."""
        scores = self.scores[members[self.people]][:, members[self.owners]]
        mated = self.people[members[self.people]][:, None] == self.owners[members[self.owners]][None]
        return scores[~mated], scores[mated]


def parse_protocol(text: str) -> tuple[int, int]:
    """(samples, frames) of a text as `3+3`. InputError for another."""
    found = _FORM.fullmatch(text)
    samples, frames = map(int, found.groups()) if found else (0, 0)
    if not (1 <= samples <= _MOST and 1 <= frames <= _MOST):
        raise InputError(f"a protocol is samples+frames, each 1 to {_MOST}, as in 3+3, not {text!r}")
    return samples, frames


def fused(
    vectors: Float32Array, people: NDArray[np.int32], protocol: tuple[int, int], *, seed: int
) -> Fused | None:
    """Everybody with enough photos: k of them, chosen by the seed, are the reference, each further m a verification.

    None where fewer than two people have k + m photos.
    """
    import numpy as np

    samples, frames = protocol
    random = np.random.default_rng([seed, samples, frames])
    references, probes, owners, whose = [], [], [], []
    for person in range(int(people.max(initial=-1)) + 1):
        photos = random.permutation(np.flatnonzero(people == person))
        if len(photos) < samples + frames:
            continue
        references.append(photos[:samples])
        whose.append(person)
        for start in range(samples, len(photos) - frames + 1, frames)[:MAX_PROBES]:
            probes.append(photos[start : start + frames])
            owners.append(person)
    if len(whose) < 2:
        return None
    scores = fused_scores(vectors[np.array(references)], vectors[np.array(probes)])
    return Fused(scores, np.array(whose), np.array(owners))
