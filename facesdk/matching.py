"""Reference and probe to a score and a decision; several samples to one reference, several frames to one probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facesdk import _core
from facesdk.errors import InputError

if TYPE_CHECKING:
    from facesdk.types import Features, Float32Array


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


def mean_direction(vectors: Sequence[Float32Array]) -> Float32Array:
    """Unit vector (d,) along the mean of unit vectors. InputError if there is none or they cancel out."""
    import numpy as np

    if not vectors:
        raise InputError("at least one vector of features is needed")
    total = np.sum(np.stack(vectors).astype(np.float64), axis=0)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise InputError("the features cancel each other out; they cannot be of one person")
    direction: Float32Array = (total / length).astype(np.float32)
    return direction


def vectors_of(features: Sequence[Features]) -> list[Float32Array]:
    """The unit vectors of features that one embedder made. InputError if several did."""
    if len({f.embedder for f in features}) > 1:
        raise InputError("features of different embedders cannot be compared")
    return [f._vector for f in features]


def is_match(reference: Float32Array, probes: Sequence[Float32Array], *, threshold: float) -> bool:
    """True if the mean of the probes' scores reaches the threshold. InputError for no probes, and as score().

    Scores are averaged, and not the probes' directions: a mean direction made unit length again scores higher with
    everyone, and on LFW accepted up to five times the target of false matches (benchmarks/lfw.py has the figures).
    """
    if not probes:
        raise InputError("at least one probe is needed")
    return sum(score(reference, probe) for probe in probes) / len(probes) >= threshold
