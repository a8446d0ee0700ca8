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

        scores = self.non_mated_scores(members)
        return min(1.0, float(np.nextafter(scores[int(target * len(scores))], np.float32(2)))) if len(scores) else None

    def rates(self, thresholds: Sequence[float], members: NDArray[np.bool_], draws: Draws) -> list[Result]:
        """FMR and FNMR at each threshold among these people, bool (people,)."""
        fmr = cross_rates(self.non_mated(thresholds, members), draws)
        fnmr = own_rates(self.mated(thresholds, members), draws)
        return [{"threshold": t, "fmr": x, "fnmr": y} for t, x, y in zip(thresholds, fmr, fnmr, strict=True)]

    def non_mated(self, thresholds: Sequence[float], members: NDArray[np.bool_]) -> CrossCounts:
        """False matches by the owner of the reference and the person in front of the camera."""
        import numpy as np

        size = len(members)
        scores, a, b = self._inside(members)
        r, c = np.nonzero((scores >= np.float64(min(thresholds, default=2.0))) & (a[:, None] != b[None]))
        pair, place = np.unique(a[r] * size + b[c], return_inverse=True)
        hits = [np.bincount(place[scores[r, c] >= np.float64(t)], minlength=len(pair)) for t in thresholds]
        references, probes = np.bincount(a, minlength=size), np.bincount(b, minlength=size)
        return CrossCounts(pair // size, pair % size, np.stack(hits, axis=1), references, probes, False)

    def mated(self, thresholds: Sequence[float], members: NDArray[np.bool_]) -> OwnCounts:
        """False non-matches by person."""
        import numpy as np

        scores, a, b = self._inside(members)
        row = np.full(len(members), -1)
        row[a] = np.arange(len(a))
        own = scores[row[b], np.arange(len(b))]
        misses = [np.bincount(b[own < np.float64(t)], minlength=len(members)) for t in thresholds]
        return OwnCounts(np.stack(misses, axis=1), np.bincount(b, minlength=len(members)))

    def non_mated_scores(self, members: NDArray[np.bool_]) -> Float32Array:
        """Of these people, the highest first."""
        import numpy as np

        scores, a, b = self._inside(members)
        return -np.sort(-scores[a[:, None] != b[None]])

    def _inside(self, members: NDArray[np.bool_]) -> tuple[Float32Array, NDArray[np.intp], NDArray[np.intp]]:
        """The scores among these people, with the person of each row and column."""
        rows, columns = members[self.people], members[self.owners]
        return self.scores[rows][:, columns], self.people[rows], self.owners[columns]


def parse_protocol(text: str) -> tuple[int, int]:
    """(samples, frames) of a text as `3+3`. InputError for another."""
    found = _FORM.fullmatch(text)
    samples, frames = map(int, found.groups()) if found else (0, 0)
    if not (1 <= samples <= _MOST and 1 <= frames <= _MOST):
        raise InputError(f"a protocol is samples+frames, each 1 to {_MOST}, as in 3+3, not {text!r}")
    return samples, frames


def fused(vectors: Float32Array, people: NDArray[np.int32], protocol: tuple[int, int], *, seed: int) -> Fused | None:
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
