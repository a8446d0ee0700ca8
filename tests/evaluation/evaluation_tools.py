"""Photos and vectors for the tests of facesdk.evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import PORTRAITS, TESTS_OWN
from PIL import Image

from facesdk.evaluation.comparing import Compared, classes_of
from facesdk.evaluation.pairs import all_pairs
from facesdk.evaluation.workers import LocalWorkers


def photo_folder(folder: Path, *, copies: int = 1, side: int = 480) -> Path:
    """A folder for each person of the portraits; copies differ in brightness, so that no two files are the same."""
    for path in sorted((*PORTRAITS.iterdir(), *TESTS_OWN.iterdir())):
        if path.suffix not in (".jpg", ".png"):
            continue
        person = folder / path.stem.split("_")[0]
        person.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((side, side))
        for copy in range(copies):
            small.point([min(255, v + 4 * copy) for v in range(256)] * 3).save(person / f"{path.stem}_{copy}.jpg")
    return folder


def unit(rows: np.ndarray) -> np.ndarray:
    """float32 rows of unit length."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def people_vectors(people: int, each: int, *, seed: int = 1, d: int = 32, spread: float = 0.7):
    """Unit vectors of `people` with `each` photos around a direction of their own, and whose they are."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((people, d)))
    owners = np.repeat(np.arange(people, dtype=np.int32), each)
    return unit(centres[owners] + spread * unit(random.standard_normal((people * each, d)))), owners


def compared(vectors: np.ndarray, people: np.ndarray, *, groups=None, thresholds=()) -> Compared:
    """All pairs of them, compared in this process."""
    classes, found = classes_of(groups or {}, len(people))
    counts = all_pairs(vectors, people, classes, thresholds=thresholds, workers=LocalWorkers(1))
    return Compared(counts, people, found)
