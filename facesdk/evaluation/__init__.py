"""Scores, features and thresholds for measuring. The one place that gives them out; unlocking has no use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.engine.networks import load_manifest
from facesdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.types import Features, Float32Array

UNIT_TOLERANCE = 1e-3  # as vault.record has it
BLOCK_SCORES = 4_000_000  # at once: 16 MB


def vector(features: Features) -> Float32Array:
    """Give the numbers of features out, for measuring.

    Args:
        features: of one face.

    Returns:
        float32 (d,), of unit length, a copy.
    """
    copy: Float32Array = matching.vectors_of([features])[0].copy()
    return copy


def score(features_a: Features, features_b: Features) -> float:
    """Compare two faces by the cosine of their features.

    Args:
        features_a: of one face.
        features_b: of another one, by the same embedder.

    Returns:
        -1 to 1, higher is more alike.

    Raises:
        InputError: for features of two embedders.
    """
    a, b = matching.vectors_of([features_a, features_b])
    return matching.score(a, b)


def threshold(embedder: str, target_fmr: float, samples: int, frames: int) -> float:
    """The threshold that a verification uses: a fused score of it or more is a match.

    Args:
        embedder: "sface", "joint" or "mobilefacenet".
        target_fmr: false match rate that every group is held to; one of those measured.
        samples: of the reference, near copies counted once; 1 or more.
        frames: of the verification, near copies counted once; 1 or more.

    Returns:
        The threshold on fused_scores, -1 to 1.

    Raises:
        InputError: for another embedder or target, and where the data cannot support the target with so few.
    """
    point = load_manifest().embedder(embedder).point(target_fmr, samples=samples, frames=frames)
    if not point.offered:
        raise InputError(
            f"no threshold is known to hold FMR {target_fmr:g} in every group for {samples} samples and {frames} frames"
            f" of {embedder!r}: use more of them, or a higher target_fmr"
        )
    return point.threshold


def fused_scores(samples: Float32Array, frames: Float32Array, *, foreign: bool = True) -> Float32Array:
    """The scores of n references and p verifications with each other, fused as a verification does it.

    Args:
        samples: float32 (n, k, d), unit vectors of each reference's samples.
        frames: float32 (p, m, d), unit vectors of each verification's frames.
        foreign: whether a frame that is like no sample ends it, as in a verification. Without, scores are never lower
            and have one smooth distribution, by which thresholds are found.

    Returns:
        float32 (n, p): of each pair the mean of the k * m // 2 + 1 highest of its k * m scores, or the score of a frame
        that is like no sample. A verification counts near copies among the vectors once; here each counts.

    Raises:
        InputError: for other shapes or types, no vectors, and values that are not finite or not of unit length.
    """
    import numpy as np

    for name, array in (("samples", samples), ("frames", frames)):
        _check_vectors(name, array)
    (n, k, d), (p, m, other) = samples.shape, frames.shape
    if d != other:
        raise InputError(f"samples and frames must be of one embedder, not of {d} and {other} features")
    higher = k * m // 2 + 1
    fused: Float32Array = np.empty((n, p), np.float32)
    probes = np.ascontiguousarray(frames.reshape(p * m, d)).T
    block = max(1, BLOCK_SCORES // (k * m * p))
    for start in range(0, n, block):
        chosen = samples[start : start + block]
        pairs = (chosen.reshape(-1, d) @ probes).reshape(len(chosen), k, p, m)
        likest = pairs.max(axis=1).min(axis=2)
        scores = pairs.transpose(0, 2, 1, 3).reshape(len(chosen), p, k * m)
        if k * m > 1:
            scores = np.partition(scores, k * m - higher, axis=-1)[..., k * m - higher :]
        means = scores.mean(axis=-1, dtype=np.float64)
        if foreign:
            means = np.where(likest < matching.FOREIGN, np.minimum(means, likest), means)
        fused[start : start + block] = means.clip(-1.0, 1.0)
    return fused


def _check_vectors(name: str, array: NDArray[np.float32]) -> None:
    import numpy as np

    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 3:
        came = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{name} must be a float32 array of people, vectors and features, not {came}")
    if 0 in array.shape:
        raise InputError(f"{name} must hold at least one vector, not shape {array.shape}")
    lengths = np.sqrt(np.einsum("nkd,nkd->nk", array, array, dtype=np.float64))
    if not (np.abs(lengths - 1.0) < UNIT_TOLERANCE).all():  # NaN is not below it
        raise InputError(f"{name} must be unit vectors of finite numbers, as facesdk.evaluation.vector gives them")
