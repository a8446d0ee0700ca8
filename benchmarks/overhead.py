"""Frame to features against the bare networks, for each embedder, with one thread: the table of docs/measurements.md.

python benchmarks/overhead.py [--rounds 200] [--write docs/measurements.md]
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from pathlib import Path

from readme import write_between_markers

from facesdk import Engine
from facesdk.engine.networks import load_manifest
from facesdk.evaluation.timing import run_bench


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
    rows = [run_bench(Engine(name, threads=1), rounds=arguments.rounds) for name in sorted(load_manifest().embedders)]
    text = table(rows)
    print(text)
    if arguments.write:
        write_between_markers(arguments.write, "bench", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
