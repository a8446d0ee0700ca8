"""What the tests of learning share: people made of unit vectors."""

from __future__ import annotations

import numpy as np
from vault_tools import unit_vectors

from facesdk.engine.networks import load_manifest

NOW = 1_800_000_000


SIZE = 128


SALT = bytes(range(32))


OWN, NEXT = load_manifest().model_ids("sface"), load_manifest().model_ids("joint")


def at_angle(base: np.ndarray, score: float, *, seed: int) -> np.ndarray:
    """A unit vector with this score to the base."""
    other = np.random.default_rng(seed).standard_normal(len(base))
    other -= (other @ base) * base
    made = score * base + np.sqrt(1 - score**2) * other / np.linalg.norm(other)
    return np.asarray(made, np.float32)


def person(count: int, *, alike: float = 0.7, seed: int = 0, dimension: int = SIZE) -> list[np.ndarray]:
    """Unit vectors that score about `alike` squared with each other."""
    base = unit_vectors(1, dimension, seed=seed)[0]
    return [at_angle(base, alike**0.5, seed=1000 * seed + i + 1) for i in range(count)]
