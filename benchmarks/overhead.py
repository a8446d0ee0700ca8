"""Frame to features against the bare networks, for each embedder, with one thread: the table of docs/measurements.md.

The face of `facesdk bench` is small: the detector looks at it again from nearby, and once more upside down. The other
frame has the same face nearer, which takes each network once.

python benchmarks/overhead.py [--rounds 200] [--write docs/measurements.md]
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from readme import show

from facesdk import Engine
from facesdk.engine.networks import load_manifest
from facesdk.evaluation.timing import bench_frame, ms_of, run_bench
from facesdk.types import Frame


def near_frame() -> Frame:
    """The frame of `facesdk bench`, its middle enlarged to the whole."""
    middle = Image.fromarray(bench_frame()).crop((176, 15, 496, 255))
    return np.asarray(middle.resize((640, 480), Image.Resampling.BICUBIC))


def near_row(engine: Engine, rounds: int) -> dict:
    """As run_bench, with the nearer face."""
    frame, networks = near_frame(), engine.networks()
    whole, bare = [], []
    for _ in range(rounds):
        whole.append(ms_of(lambda: engine.features(frame)))
        bare.append(sum(ms_of(invoke) for invoke in networks.values()))
    ratio = median(w / b for w, b in zip(whole, bare, strict=True))
    return {"embedder": f"{engine.embedder}, a near face", "n": rounds, "bare_invoke_ms": median(bare),
            "pipeline_ms": median(whole), "overhead": ratio}  # fmt: skip


def table(rows: list[dict]) -> str:
    """The table of docs/measurements.md."""
    date = datetime.date.today().isoformat()
    lines = [
        f"640x480 frame, one thread, n = {rows[0]['n']} ({platform.machine()}, {date}).",
        "",
        "| embedder | all networks, bare | frame to features | ratio |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        times = f"{row['bare_invoke_ms']:.2f} ms | {row['pipeline_ms']:.2f} ms"
        lines.append(f"| {row['embedder']} | {times} | {row['overhead']:.3f} |")
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    engines = [Engine(name, threads=1) for name in sorted(load_manifest().embedders)]
    rows = [make(engine, rounds=arguments.rounds) for engine in engines for make in (run_bench, near_row)]
    text = table(rows)
    show("bench", text, arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
