"""Photos of 12 MP: time to features against a photo of 640 pixels, and what reading them smaller changes.

benchmarks/large_photos.py PORTRAITS [--enough 1600,1000,750]

Each portrait, enlarged, stands in a photo of 4000 x 3000 at several sizes of face. It is looked at as a verification
does, which reads it at full size where the face is small at first, and at full size alone; the scores are against all
other portraits.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facesdk import Engine, images
from facesdk.capture import samples
from facesdk.capture.quality import QualityLimits
from facesdk.engine.networks import load_manifest
from facesdk.evaluation import score
from facesdk.types import Features

WHOLE = 1 << 20
SHARES = (0.12, 0.2, 0.35, 0.6, 1.0)  # of the photo's height


def photo(portrait: Image.Image, share: float, size: tuple[int, int]) -> bytes:
    """A JPEG of this size with the portrait in its middle, over a gray wall with a sensor's noise."""
    width, height = size
    high = round(height * share)
    face = portrait.resize((round(portrait.width * high / portrait.height), high), Image.Resampling.BICUBIC)
    wall = Image.new("RGB", size, (110, 120, 105))
    wall.paste(face, ((width - face.width) // 2, (height - high) // 2))
    noise = np.random.default_rng(0).integers(-4, 5, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray((np.asarray(wall) + noise).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def features_of(engine: Engine, data: bytes, enough: int) -> Features | None:
    images.FIRST_LOOK_PX = enough
    sample, _ = samples._looked_at(engine, data, QualityLimits(), "rgb")
    return None if sample is None or sample.turned else engine.embed(sample)


def median_ms(call: object, rounds: int = 15) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--enough", default="1600,1000,750")
    given = parser.parse_args()
    limits = [int(text) for text in given.enough.split(",")]
    engine = Engine(threads=1)
    faces = {path.stem: Image.open(path).convert("RGB") for path in sorted(given.portraits.glob("*.*g"))}
    found = {name: engine.features(np.asarray(face)) for name, face in faces.items()}
    whole = {name: features for name, features in found.items() if features is not None}
    threshold = load_manifest().embedder(engine.embedder).point(2e-5, samples=1, frames=1).threshold
    changes: dict[int, list[float]] = {limit: [] for limit in limits}
    decided = dict.fromkeys(limits, 0)
    lost = dict.fromkeys(limits, 0)
    tried = 0
    for name, face in faces.items():
        for share in SHARES:
            data = photo(face, share, (4000, 3000))
            full = features_of(engine, data, WHOLE)
            if full is None:
                continue
            tried += 1
            for limit in limits:
                less = features_of(engine, data, limit)
                lost[limit] += less is None
                for other in (o for n, o in whole.items() if n != name and less is not None):
                    scores = score(less, other), score(full, other)
                    changes[limit].append(scores[0] - scores[1])
                    decided[limit] += (scores[0] >= threshold) != (scores[1] >= threshold)
    print(f"{tried} photos of 12 MP with a face, {len(faces)} portraits at {len(SHARES)} sizes")
    small = photo(faces["obama_2012"], 1.0, (640, 480))
    base = median_ms(lambda: features_of(engine, small, WHOLE))
    print(f"640 x 480: {base:.1f} ms from bytes to features, n = 15")
    large = photo(faces["obama_2012"], 1.0, (4000, 3000))
    for limit in limits:
        spent = median_ms(lambda limit=limit: features_of(engine, large, limit))
        shape = images.first_look(large)[0].shape
        change = np.abs(changes[limit])
        print(f"sides of at least {limit:5}: read as {shape[1]} x {shape[0]}, {spent:5.1f} ms ({spent / base:.2f} x); "
              f"faces lost {lost[limit]}; of {len(change)} decisions {decided[limit]} are others, "
              f"scores change by {change.mean():.4f} in the mean, {change.max():.4f} at most")  # fmt: skip


if __name__ == "__main__":
    main()
