"""Operating points: the threshold that holds a false match rate, for each number of samples and of frames."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from facesdk.errors import InputError

Matrix = tuple[tuple[float, ...], ...]
# Samples of a reference, and frames of a verification, that there are points for; the last one is for more too.
BUCKETS = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the fused score, and what was measured there (see models/README.md for the data).

    samples, frames: the least number of each that it is for. group: the one that it is bound by; fmr and fmr_bound: of
    that group's false match rate the estimate and the upper 95 % limit over people. fnmr: of people of LFW, each
    weighing the same. The threshold is infinite where the data cannot support the target.
    """

    target_fmr: float
    samples: int
    frames: int
    threshold: float
    group: str
    fmr: float
    fmr_bound: float
    fnmr: float

    @property
    def offered(self) -> bool:
        """Whether there is a threshold that holds the target."""
        return math.isfinite(self.threshold)


@dataclass(frozen=True)
class OperatingPoints:
    """The points of one target, as matrices: a row for each of BUCKETS samples, a column for each of BUCKETS frames.

    models: the first 16 digits of the sha256 of each model they were measured with; those of other models are not used.
    """

    target_fmr: float
    thresholds: Matrix
    groups: tuple[tuple[str, ...], ...]
    estimates: Matrix
    bounds: Matrix
    fnmr: Matrix
    models: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("thresholds", "groups", "estimates", "bounds", "fnmr"):
            rows = getattr(self, name)
            if [len(row) for row in rows] != [len(BUCKETS)] * len(BUCKETS):
                raise ValueError(f"{name} of {self.target_fmr:g} are not {len(BUCKETS)} x {len(BUCKETS)}")

    def at(self, *, samples: int, frames: int) -> OperatingPoint:
        """The point for so many samples and frames, 1 or more of each."""
        i, j = bucket_of(samples), bucket_of(frames)
        return OperatingPoint(
            self.target_fmr, BUCKETS[i], BUCKETS[j], self.thresholds[i][j], self.groups[i][j], self.estimates[i][j],
            self.bounds[i][j], self.fnmr[i][j],
        )  # fmt: skip


def bucket_of(count: int) -> int:
    """Which of BUCKETS so many samples or frames fall into. InputError for fewer than one."""
    try:
        number = 0 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        number = 0
    if number < BUCKETS[0]:
        raise InputError(f"samples and frames are counted from 1, not {count!r}")
    return sum(count >= least for least in BUCKETS) - 1


def matrix_of(text: str) -> tuple[tuple[Any, ...], ...]:
    """The rows of a matrix in the manifest, a line each: numbers, or names without spaces.

    As one text it is read in a quarter of the time that nested lists take, at every start of a program.
    """
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(tuple(map(_number_or_name, row)) for row in rows)


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def matrix_text(rows: Iterable[Iterable[Any]]) -> str:
    """The text that matrix_of reads."""
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)
