"""What becomes of pictures that are turned by 90, 180 and 270 degrees, and of upright ones.

Refusals by their hint, and strangers who match where a turned camera took the pictures on both sides (at the
threshold for one photo and FMR 1e-3).

python benchmarks/turned.py --data DATA [--step 6]

DATA: see photo_sets.py; of LFW the first photo of every STEP-th person is taken. The other two are tight crops, in
which the detector is less sure than in a camera's picture.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import photo_sets

from facesdk import Engine
from facesdk.capture.quality import QualityLimits, assess
from facesdk.engine.faces import CERTAINLY_UPRIGHT
from facesdk.evaluation import threshold, vector
from facesdk.images.file import MIN_SIDE


def pictures(data: Path, name: str, *, suffix: str, step: int) -> list[np.ndarray]:
    """Every `step`-th picture of a set whose name ends so, those that are too small left out."""
    found = [frame for path, frame in photo_sets.frames(data, name) if path.endswith(suffix)][::step]
    return [frame for frame in found if min(frame.shape[:2]) >= MIN_SIDE]


def hints(engine: Engine, frames: list[np.ndarray], turns: int) -> tuple[Counter[str], np.ndarray, list[np.ndarray]]:
    """How many would be compared ("used"), and how many get which hint; the detector's scores; features of the used."""
    found: Counter[str] = Counter()
    scores, vectors = [], []
    for frame in frames:
        sample, faces = engine.observe(np.ascontiguousarray(np.rot90(frame, turns)))
        refusal = assess(sample, len(faces), QualityLimits(), enrolling=False)
        found["used" if refusal is None else refusal.guidance.name] += 1
        scores += [faces[0].score] if faces else []
        vectors += [vector(engine.embed(sample))] if refusal is None and sample is not None else []
    return found, np.array(scores), vectors


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--step", type=int, default=6)
    arguments = parser.parse_args()
    engine = Engine("sface")
    for name, suffix, step in (
        ("lfw", "_0001.jpg", arguments.step), ("groups", ".jpg", 2), ("eastasian", ".jpg", 1)
    ):  # fmt: skip
        frames = pictures(arguments.data, name, suffix=suffix, step=step)
        for turns in range(4):
            found, scores, vectors = hints(engine, frames, turns)
            used = np.array(vectors).reshape(len(vectors), engine.dimension)
            matched = int((np.triu(used @ used.T, 1) >= threshold("sface", 1e-3, 1, 1)).sum())
            below = f"{int((scores < CERTAINLY_UPRIGHT).sum())} of {len(scores)} scores below {CERTAINLY_UPRIGHT}"
            pairs = f"{matched} of {len(frames) * (len(frames) - 1) // 2:,} pairs matched"
            print(f"{name}, {90 * turns} deg, n = {len(frames)}: {dict(found)}; {pairs}; {below}, "
                  f"highest {scores.max():.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
