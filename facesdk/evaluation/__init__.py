"""Scores and features for measuring. The one place that gives them out; a program that unlocks has no use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk import matching

if TYPE_CHECKING:
    from facesdk.types import Features, Float32Array


def vector(features: Features) -> Float32Array:
    """float32 (d,), unit length, a copy."""
    copy: Float32Array = matching.vectors_of([features])[0].copy()
    return copy


def score(features_a: Features, features_b: Features) -> float:
    """Comparison score, the cosine: -1 to 1, higher is more alike. InputError for features of two embedders."""
    a, b = matching.vectors_of([features_a, features_b])
    return matching.score(a, b)
