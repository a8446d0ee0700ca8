"""Scores, and how those of several samples and several frames become one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from facesdk import _core
from facesdk.errors import InputError

if TYPE_CHECKING:
    from facesdk.types import Features, Float32Array


SHORTENING = 0.75
# Vectors more alike than this are of one moment: together they tell no more about a stranger than one of them. Frames
# of a webcam session are at 0.93 in the median, different photos of a person at 0.69 (benchmarks/enrollment_checks.py).
NEAR_COPY = 0.85
# A frame whose best score is below this does not show the owner: none of 8,680 photos of 217 people of LFW did with
# three samples, and seven to eight of ten strangers' do (SFace; of East Asian strangers six).
FOREIGN = 0.2


def score(a: Float32Array, b: Float32Array) -> float:
    """Comparison score of two unit vectors (d,): their cosine, -1 to 1, higher is more alike.

    InputError if they differ in length or hold anything but finite numbers.
    """
    try:
        cosine = _core.compare(a, b)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not math.isfinite(cosine):  # max and min would make a perfect score of it
        raise InputError("features must be finite numbers")
    return max(-1.0, min(1.0, cosine))


def make_reference(samples: Sequence[Float32Array]) -> Float32Array:
    """The samples' mean direction, of length |mean| ** SHORTENING: a sealed file holds it beside the samples.

    No copy of the features is left in memory. InputError if there is none or they cancel out.
    """
    import numpy as np

    if not samples:
        raise InputError("at least one vector of features is needed")
    stacked = np.array(samples, np.float64)
    mean = stacked.mean(axis=0)
    try:
        length = float(np.linalg.norm(mean))
        if length * len(samples) < 1e-6:
            raise InputError("the features cancel each other out; they cannot be of one person")
        mean *= length ** (SHORTENING - 1.0)
        result: Float32Array = mean.astype(np.float32)
    finally:
        for array in (stacked, mean):
            _core.wipe(array)
    return result


def vectors_of(features: Sequence[Features]) -> list[Float32Array]:
    """The unit vectors of features that one embedder made. InputError if several did."""
    if len({f.embedder for f in features}) > 1:
        raise InputError("features of different embedders cannot be compared")
    return [f._vector for f in features]


def near_copies(vectors: Sequence[Float32Array]) -> list[list[int]]:
    """The numbers of the vectors, near copies together; how many lists there are is how many samples or frames count.

    The vector that most others are near copies of is first, whatever the order that they came in, so that each list has
    one that all of it is like.
    """
    count = len(vectors)
    alike = [[True] * count for _ in range(count)]
    for i, j in combinations(range(count), 2):
        alike[i][j] = alike[j][i] = score(vectors[i], vectors[j]) > NEAR_COPY
    together: list[list[int]] = []
    left = sorted(range(count), key=lambda i: (-sum(alike[i]), i))
    while left:
        first = left[0]
        together.append(sorted(i for i in left if alike[first][i]))
        left = [i for i in left if not alike[first][i]]
    return together


def fuse(scores: Sequence[float]) -> float:
    """The mean of the higher ones, just over half of them: n // 2 + 1 of n.

    An owner's worse pairs (a turned head, a closed eye) do not count against him, and one lucky pair opens nothing.
    """
    if not scores:
        raise InputError("at least one score is needed")
    higher = sorted(scores, reverse=True)[: len(scores) // 2 + 1]
    return sum(higher) / len(higher)


def fused_score(
    samples: Sequence[Float32Array], probes: Sequence[Float32Array], *, columns: list[list[int]] | None = None
) -> float:
    """The comparison score of a reference's samples and a verification's frames: all pairs' scores fused.

    columns: near_copies(probes), where they are known. Near copies count as one, with the mean of their scores. A frame
    that is like no sample at all is of somebody else, whatever the others are: then the score is that frame's.
    InputError where there are none, and as in `score`.
    """
    if not len(samples) or not len(probes):
        raise InputError("at least one sample and one probe are needed")
    rows, scores, likest = near_copies(samples), [], []
    for column in near_copies(probes) if columns is None else columns:
        values = [
            sum(score(samples[i], probes[j]) for i in row for j in column) / (len(row) * len(column)) for row in rows
        ]
        scores += values
        likest.append(max(values))
    fused = fuse(scores)
    return min(fused, *likest) if min(likest) < FOREIGN else fused
