"""Reference and probe to a score and a decision; several samples to one reference, several frames to one probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facesdk import _core
from facesdk.errors import InputError

if TYPE_CHECKING:
    from facesdk.types import Features, Float32Array


SHORTENING = 0.75


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
    """What probes are scored against: the samples' mean direction, of length |mean| ** SHORTENING (1 for one sample).

    The direction alone scores higher with everyone the more samples are in it, and would accept up to eight times the
    target of false matches on LFW; the mean itself would refuse the owner more often than needed. benchmarks/lfw.py
    measures both errors for one, three and five samples. No copy of the features is left in memory. InputError if there
    is none or they cancel out.
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


def fused_score(reference: Float32Array, probes: Sequence[Float32Array]) -> float:
    """Mean of the scores of one or several probes; the mean of their directions would score higher with everyone."""
    if not probes:
        raise InputError("at least one probe is needed")
    return sum(score(reference, probe) for probe in probes) / len(probes)
