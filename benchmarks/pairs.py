"""All pairs of many vectors: the core against numpy's matrix product and histograms, with the same number of threads.

python benchmarks/pairs.py [--vectors 13233] [--features 320] [--people 5749] [--threads 2] [--rounds 7]

numpy's way: 1,024 rows at a time, their product with all vectors as benchmarks/lfw.py has it (`numpy`), or with those
on and above the diagonal only (`numpy_triangle`); histograms of mated and non-mated scores with the same bins. All run
in turn, so that what else the machine does meets all. The core also counts at thresholds and keeps the pairs that tell
most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from functools import partial


def arguments_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=13233)
    parser.add_argument("--features", type=int, default=320)
    parser.add_argument("--people", type=int, default=5749)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def main() -> int:
    """Measures and prints JSON."""
    arguments = arguments_of()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # set on some machines for an older OpenBLAS than numpy's
        os.environ.pop(name, None)
    # numpy reads these when it is loaded.
    import numpy as np

    from facesdk import _core
    from facesdk.evaluation.pairs import BINS, all_pairs
    from facesdk.evaluation.workers import LocalWorkers

    random = np.random.default_rng(1)
    vectors = random.standard_normal((arguments.vectors, arguments.features), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = np.sort(random.integers(0, arguments.people, arguments.vectors)).astype(np.int32)
    classes = np.zeros(arguments.vectors, np.int32)

    def by_numpy(*, triangle: bool = False) -> np.ndarray:
        found, n = np.zeros((2, BINS), np.int64), arguments.vectors
        for start in range(0, n, 1024):
            first = start if triangle else 0
            block = vectors[start : start + 1024] @ vectors[first:].T
            later = np.arange(first, n)[None] > np.arange(start, start + len(block))[:, None]
            same = people[start : start + 1024, None] == people[None, first:]
            for kind, chosen in enumerate((~same & later, same & later)):
                found[kind] += np.histogram(block[chosen], bins=BINS, range=(-1, 1))[0]
        return found

    def by_core() -> np.ndarray:
        workers = LocalWorkers(arguments.threads)
        return all_pairs(vectors, people, classes, thresholds=(0.4, 0.5), workers=workers).bins[0]

    ways = {"numpy": by_numpy, "numpy_triangle": partial(by_numpy, triangle=True), "core": by_core}
    times: dict[str, list[float]] = {name: [] for name in ways}
    counts = {}
    for _ in range(arguments.rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            counts[name] = run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(json.dumps({
        "pairs": int(counts["core"].sum()), "threads": arguments.threads, "kernels": _core.variant(),
        "n": arguments.rounds, "median_s": medians, "min_s": {name: min(values) for name, values in times.items()},
        "median_of_ratios": {
            name: statistics.median(x / y for x, y in zip(times[name], times["core"], strict=True)) for name in ways
        },
        "same_totals": bool((counts["core"].sum(axis=1) == counts["numpy"].sum(axis=1)).all()),
    }, indent=1))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
