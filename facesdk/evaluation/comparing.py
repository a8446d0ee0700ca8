"""One photo against one: what all compared pairs say at thresholds, for everybody and for each group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facesdk.errors import InputError
from facesdk.evaluation.pairs import MATED, NON_MATED, Comparisons, Tail, bin_edges, cell_of
from facesdk.evaluation.rates import CrossCounts, Draws, OwnCounts, cross_rates, own_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Result = dict[str, Any]

MAX_CLASSES = 32


@dataclass(frozen=True)
class Group:
    """Some of the compared pictures, by a label as `gender: f`; everybody's is "" and has all of them."""

    label: str
    members: NDArray[np.bool_]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """All comparisons with who is on the pictures. people: int32 (n,) from 0 on. listed: not all pairs."""

    comparisons: Comparisons
    people: NDArray[np.int32]
    groups: tuple[Group, ...]
    listed: bool = False
    _tails: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def histogram(self, group: Group, kind: int) -> NDArray[np.uint64]:
        """Counts by bin of the pairs within a group."""
        bins: NDArray[np.uint64] = self.comparisons.bins[self._cells(group), kind].sum(axis=0)
        return bins

    def count(self, group: Group, kind: int) -> int:
        """How many such pairs there are."""
        return int(self.histogram(group, kind).sum())

    def errors(self, group: Group, kind: int, threshold: float) -> int:
        """How many pairs of a group are decided wrongly at a threshold, exactly; InputError where that is not known."""
        import numpy as np

        tail, known = self.tail(group, kind), self.reaches(kind, threshold)
        if known:
            wrong = tail.scores >= np.float64(threshold) if kind == NON_MATED else tail.scores < np.float64(threshold)
            return int(wrong.sum())
        if threshold not in self.comparisons.thresholds:
            raise InputError(f"the pairs at {threshold} were not counted: give --threshold {threshold}")
        at = self.comparisons.thresholds.index(threshold)
        above = int(self.comparisons.above[self._cells(group), kind, at].sum())
        return above if kind == NON_MATED else self.count(group, kind) - above

    def reaches(self, kind: int, threshold: float) -> bool:
        """Whether every pair that is decided wrongly at this threshold was kept."""
        tail = self._tail(kind)
        if not tail.cut:
            return True
        return bool(tail.scores[-1] < threshold if kind == NON_MATED else tail.scores[-1] >= threshold)

    def tail(self, group: Group, kind: int) -> Tail:
        """The kept pairs of a group."""
        whole = self._tail(kind)
        if not group.label:
            return whole
        if (group.label, kind) not in self._tails:
            inside = group.members[whole.pairs].all(axis=1)
            self._tails[group.label, kind] = Tail(whole.scores[inside], whole.pairs[inside], whole.cut)
        tail: Tail = self._tails[group.label, kind]
        return tail

    def threshold_at(self, group: Group, target: float) -> float | None:
        """The lowest threshold at which a group's FMR is at most the target; None where the pairs do not tell."""
        import numpy as np

        tail, allowed = self.tail(group, NON_MATED), math.floor(target * self.count(group, NON_MATED))
        if allowed >= len(tail.scores):
            return None
        return min(1.0, float(np.nextafter(tail.scores[allowed], np.float32(2))))

    def non_mated(self, group: Group, thresholds: Sequence[float]) -> CrossCounts:
        """False matches by pairs of people, at thresholds that the kept pairs reach."""
        import numpy as np

        tail = self.tail(group, NON_MATED)
        size = int(self.people.max(initial=-1)) + 1
        pictures = np.bincount(self.people[group.members], minlength=size)
        kept = slice(None) if self.listed else slice(0, int((tail.scores >= min(thresholds, default=2)).sum()))
        ends = np.sort(self.people[tail.pairs[kept]].astype(np.int64), axis=1)
        pair, place = np.unique(ends[:, 0] * size + ends[:, 1], return_inverse=True)
        scores = tail.scores[kept]
        wrong = [np.bincount(place[scores >= np.float64(t)], minlength=len(pair)) for t in thresholds]
        listed = np.bincount(place, minlength=len(pair)) if self.listed else None
        return CrossCounts(
            pair // max(size, 1), pair % max(size, 1), np.stack(wrong, axis=1), pictures, pictures, True, listed
        )

    def mated(self, group: Group, thresholds: Sequence[float]) -> OwnCounts:
        """False non-matches by person, at thresholds that the kept pairs reach."""
        import numpy as np

        tail = self.tail(group, MATED)
        size = int(self.people.max(initial=-1)) + 1
        person = self.people[tail.pairs[:, 0]]
        errors = np.stack(
            [np.bincount(person[tail.scores < np.float64(t)], minlength=size) for t in thresholds], axis=1
        )
        pictures = np.bincount(self.people[group.members], minlength=size)
        each = np.bincount(person, minlength=size) if self.listed else pictures * (pictures - 1) // 2
        return OwnCounts(errors, each)

    def _tail(self, kind: int) -> Tail:
        return self.comparisons.highest if kind == NON_MATED else self.comparisons.lowest

    def _cells(self, group: Group) -> list[int]:
        return [int(cell_of(a, b)) for a in group.classes for b in group.classes if a >= b]


def classes_of(groups: Mapping[str, Sequence[str]], n: int) -> tuple[NDArray[np.int32], tuple[Group, ...]]:
    """A class for each combination of groups, and the groups: everybody, then each value of each column.

    InputError for more than MAX_CLASSES combinations.
    """
    import numpy as np

    combinations = sorted(set(zip(*groups.values(), strict=True))) if groups and n else [()]
    if len(combinations) > MAX_CLASSES:
        raise InputError(f"the group columns have {len(combinations)} combinations, at most {MAX_CLASSES} are counted",
                         hint="--by names fewer columns")  # fmt: skip
    number = {values: i for i, values in enumerate(combinations)}
    rows = zip(*groups.values(), strict=True) if groups else [()] * n
    classes = np.array([number[values] for values in rows], np.int32)
    found = [Group("", np.ones(n, bool), tuple(range(len(combinations))))]
    for at, column in enumerate(groups):
        for value in sorted(set(groups[column]) - {""}):
            inside = tuple(i for i, values in enumerate(combinations) if values[at] == value)
            found.append(Group(f"{column}: {value}", np.isin(classes, inside), inside))
    return classes, tuple(found)


def rates_at(compared: Compared, group: Group, thresholds: Sequence[float], draws: Draws) -> list[Result]:
    """FMR and FNMR of a group at each threshold; by person and by the bootstrap where the kept pairs reach."""
    results: list[Result] = [{"threshold": t} for t in thresholds]
    for kind, name in ((NON_MATED, "fmr"), (MATED, "fnmr")):
        inside = [t for t in thresholds if compared.reaches(kind, t)]
        if inside and kind == NON_MATED:
            found = cross_rates(compared.non_mated(group, inside), draws)
        else:
            found = own_rates(compared.mated(group, inside), draws) if inside else []
        known = dict(zip(inside, found, strict=True))
        for result in results:
            result[name] = known.get(result["threshold"]) or _counted(compared, group, kind, result["threshold"])
    return results


def _counted(compared: Compared, group: Group, kind: int, threshold: float) -> Result:
    """Only what the counts of all pairs say: too many are wrong at this threshold to keep each."""
    from facesdk.evaluation.intervals import clopper_pearson

    wrong, of = compared.errors(group, kind, threshold), compared.count(group, kind)
    return {
        "errors": wrong, "comparisons": of, "people": None,
        "by_picture": {
            "rate": wrong / of if of else None, "clopper_pearson": clopper_pearson(wrong, of), "bootstrap": None,
        },
        "by_person": {"rate": None, "bootstrap": None},
    }  # fmt: skip


def curve(compared: Compared, group: Group) -> Result:
    """FMR and FNMR over the lower ends of the bins, where either changes."""
    import numpy as np

    total = [compared.count(group, kind) for kind in (NON_MATED, MATED)]
    above = [np.cumsum(compared.histogram(group, kind)[::-1])[::-1] for kind in (NON_MATED, MATED)]
    changes = np.flatnonzero(compared.histogram(group, NON_MATED) + compared.histogram(group, MATED))
    fmr = above[NON_MATED][changes] / max(total[NON_MATED], 1)
    fnmr = 1 - above[MATED][changes] / max(total[MATED], 1)
    return {"threshold": bin_edges()[changes].tolist(), "fmr": fmr.tolist(), "fnmr": fnmr.tolist()}
