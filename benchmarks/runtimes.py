"""Do the runtimes decide alike? LFW's 6,000 pairs at the points for one photo of every target.

python benchmarks/runtimes.py --data DATA --runtime NAME --out FILE     # in the environment that has it
python benchmarks/runtimes.py --data DATA --compare FILE FILE ...

DATA holds lfw-deepfunneled.tar and lfw_pairs.txt. The first form writes an embedder's features of the pairs' photos
(--embedder, default sface) with one runtime of facesdk.engine.runtime.RUNTIMES; the second says how many decisions
differ from the first file's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
from photo_sets import frames, labelled_face

from facesdk import Engine
from facesdk.engine.networks import load_manifest
from facesdk.evaluation import vector


def listed_pairs(file: Path) -> list[tuple[str, str]]:
    """Names of the two photos of each pair, as Name_0001."""
    lines = [line.split() for line in file.read_text().splitlines()][1:]
    return [(f"{p[0]}_{int(p[1]):04d}", f"{p[0] if len(p) == 3 else p[2]}_{int(p[-1]):04d}") for p in lines]


def _part(job: tuple[Path, str, str, set[str], int, int]) -> dict[str, np.ndarray]:
    data, embedder, runtime, wanted, first, step = job
    engine, found = Engine(embedder, runtime=runtime), {}
    for number, (path, frame) in enumerate(frames(data, "lfw")):
        name = Path(path).stem
        if name in wanted and number % step == first:
            sample = labelled_face(engine, frame, "lfw")
            if sample is not None and not sample.turned:
                found[name] = vector(engine.embed(sample))
    return found


def measure(data: Path, embedder: str, runtime: str, out: Path) -> None:
    """Writes the features of every photo of the pairs."""
    wanted = {name for pair in listed_pairs(data / "lfw_pairs.txt") for name in pair}
    workers = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        parts = pool.map(_part, [(data, embedder, runtime, wanted, i, workers) for i in range(workers)])
    found = {name: row for part in parts for name, row in part.items()}
    names = sorted(found)
    np.savez(out, names=names, vectors=np.stack([found[n] for n in names]), embedder=embedder, runtime=runtime)


def scores(data: Path, stored: Path) -> tuple[np.ndarray, str, str]:
    """The score of each pair (NaN where a photo has no features), runtime and embedder."""
    with np.load(stored) as found:
        row = {str(name): i for i, name in enumerate(found["names"])}
        vectors, runtime, embedder = found["vectors"], str(found["runtime"]), str(found["embedder"])
    pairs = listed_pairs(data / "lfw_pairs.txt")
    values = [float(vectors[row[a]] @ vectors[row[b]]) if a in row and b in row else np.nan for a, b in pairs]
    return np.array(values), runtime, embedder


def compare(data: Path, files: list[Path]) -> None:
    """Prints how many decisions differ from those of the first file."""
    first, name, embedder = scores(data, files[0])
    entry = load_manifest().embedder(embedder)
    for file in files[1:]:
        other, runtime, same = scores(data, file)
        if same != embedder:
            sys.exit(f"{file} has features of {same}, not {embedder}")
        both = ~np.isnan(first) & ~np.isnan(other)
        apart = float(np.abs(first[both] - other[both]).max())
        for target in entry.targets:
            limit = entry.point(target, samples=1, frames=1).threshold
            alike = int(((first[both] >= limit) == (other[both] >= limit)).sum())
            print(f"{embedder}, {runtime} against {name}, FMR {target:g}: {alike} of {int(both.sum())} decisions alike "
                  f"({100 * alike / both.sum():.2f} %), scores differ by at most {apart:.2g}")  # fmt: skip


def main() -> None:
    """Measures one runtime, or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", default="sface")
    parser.add_argument("--runtime")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", type=Path, nargs="+")
    given = parser.parse_args()
    if given.compare:
        compare(given.data, given.compare)
    elif given.runtime and given.out:
        measure(given.data, given.embedder, given.runtime, given.out)
    else:
        parser.error("give --runtime and --out, or --compare")


if __name__ == "__main__":
    main()
