"""A new process to its first decision, step by step; first frame against later ones; our executor against LiteRT.

    python benchmarks/startup.py [--processes 15] [--write docs/measurements.md]

Each row is the median of new processes, files in the page cache, kinds of process taking turns. The last table says
what XNNPACK's weight cache would save of making a network, and what checking that file before each use would cost: a
cache holds the repacked weights, and whoever may write it would choose the network (needs ai-edge-litert, an extra).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from readme import show

FRAMES = 40
OURS = """
import json, sys, time
start = time.perf_counter()
steps, embedder, threads = {}, sys.argv[1], int(sys.argv[2])
def step(name):
    global start
    now = time.perf_counter()
    steps[name] = (now - start) * 1e3
    start = time.perf_counter()
import numpy
step("import numpy")
from facesdk import Engine
from facesdk.engine.networks import COMMON_MODELS, load_manifest, load_model
step("import facesdk")
manifest = load_manifest()
copies = [load_model(name, manifest) for name in (*COMMON_MODELS, *manifest.embedder(embedder).models)]
step("read the models, check their sha256")
del copies
engine = Engine(embedder, threads=threads, runtime=sys.argv[4])
step("Engine() after that: the same, and networks")
from facesdk.evaluation.timing import bench_frame
frame = bench_frame()
start = time.perf_counter()
engine.features(frame)
step("first frame")
later = []
for _ in range(int(sys.argv[3])):
    begun = time.perf_counter()
    engine.features(frame)
    later.append((time.perf_counter() - begun) * 1e3)
steps["later frames"] = sorted(later)[len(later) // 2]
print(json.dumps(steps))
"""
CACHE = """
import hashlib, json, sys, time
from pathlib import Path
from ai_edge_litert.compiled_model import CompiledModel, Options
from ai_edge_litert.cpu_options import CpuOptions
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
model, cache = sys.argv[1:3]
cpu = CpuOptions(num_threads=1, xnnpack_weight_cache_path=cache)
options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
start = time.perf_counter()
made = CompiledModel.from_file(model, options=options)
buffers = made.create_input_buffers(0), made.create_output_buffers(0)
made.run_by_index(0, *buffers)
steps = {"make and run once": (time.perf_counter() - start) * 1e3}
if cache:
    data = Path(cache).read_bytes()
    start = time.perf_counter()
    hashlib.sha256(data).digest()
    steps |= {"check": (time.perf_counter() - start) * 1e3, "bytes": len(data)}
print(json.dumps(steps))
"""


def run(code: str, *arguments: str) -> dict[str, float]:
    """What a new process printed."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in runs) for name in runs[0]}


def startup_table(processes: int) -> str:
    """Steps of a new process by embedder, runtime and threads."""
    from facesdk.engine.runtime import native_variant

    ways = [("native", 1)] * bool(native_variant()) + [("litert-native", 1), ("litert-native", 2)]
    kinds = [(embedder, *way) for embedder in ("joint", "sface", "mobilefacenet") for way in ways]
    runs: dict[tuple[str, str, int], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(processes):
        for kind in kinds:
            embedder, runtime, threads = kind
            runs[kind].append(run(OURS, embedder, str(threads), str(FRAMES), runtime))
    columns = [medians(runs[kind]) for kind in kinds]
    head = " | ".join(
        f"{embedder}, {'LiteRT' if 'litert' in runtime else 'ours'}, {threads} thread{'s' * (threads > 1)}"
        for embedder, runtime, threads in kinds
    )
    rows = [f"| ms | {head} |", "|---|" + "---:|" * len(kinds)]
    rows += [f"| {name} | {' | '.join(f'{column[name]:.1f}' for column in columns)} |" for name in columns[0]]
    return "\n".join(rows)


def imports_table(processes: int) -> str:
    """What `facesdk verify` with a key file imports, by where it is from, and how long the whole command takes."""
    from facesdk import FaceVerifier, KeyFileKey
    from facesdk.images import load_rgb

    portraits = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
    with tempfile.TemporaryDirectory() as folder:
        key, vault = Path(folder) / "key", Path(folder) / "vault"
        KeyFileKey.create(key)
        with FaceVerifier(vault=vault, key_file=key) as verifier:
            pictures = [load_rgb(portraits / name) for name in ("obama_2005.jpg", "obama_2009.jpg")]
            verifier.enroll("owner", pictures, allow_few_samples=True)
        command = ["-m", "facesdk", "verify", "--vault", str(vault), "--key-file", str(key)]
        command.append(str(portraits / "obama_2012.jpg"))
        whole, runs = [], []
        for _ in range(processes):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            whole.append((time.perf_counter() - begin) * 1e3)
            runs.append(imported([sys.executable, "-X", "importtime", *command]))
    names = sorted(runs[0], key=lambda name: -statistics.median(r[name][1] for r in runs))
    rows = ["| imported from | modules | ms |", "|---|---:|---:|"]
    rows += [f"| {n} | {runs[0][n][0]} | {statistics.median(r[n][1] for r in runs):.1f} |" for n in names]
    text = f"`facesdk verify` with a key file takes {statistics.median(whole):.0f} ms from its start to its end"
    return f"{text}; its imports, timed by Python, which slows them a little:\n\n" + "\n".join(rows)


def imported(command: list[str]) -> dict[str, tuple[int, float]]:
    """Number and milliseconds of the modules of each package; what is none of those below is Python's own."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = dict.fromkeys(("facesdk", "numpy", "PIL", "cryptography", "Python"), (0, 0.0))
    for line in done.stderr.splitlines():
        if match := re.fullmatch(r"import time: +(\d+) \| +\d+ \| +(\S+)", line):
            name = match[2].split(".")[0]
            name = name if name in found else "Python"
            found[name] = found[name][0] + 1, found[name][1] + int(match[1]) / 1e3
    return found


def cache_table(processes: int) -> str:
    """XNNPACK's weight cache: what it saves, and what checking it costs."""
    from facesdk.engine.networks import load_manifest

    manifest = load_manifest()
    rows = [
        "| network | make and run once, ms | with a weight cache, ms | cache, MB | sha256 of it, ms |",
        "|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, entry in manifest.models.items():
            model, cache = str(manifest.folder / entry.file), str(Path(folder) / name)
            run(CACHE, model, cache)
            pairs = [(run(CACHE, model, ""), run(CACHE, model, cache)) for _ in range(processes)]
            bare, cached = medians([p[0] for p in pairs]), medians([p[1] for p in pairs])
            rows.append(
                f"| {name} | {bare['make and run once']:.1f} | {cached['make and run once']:.1f} |"
                f" {cached['bytes'] / 1e6:.1f} | {cached['check']:.1f} |"
            )
    return "\n".join(rows)


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=15)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    processes = arguments.processes
    machine = f"{platform.machine()}, {os.cpu_count()} processors, {time.strftime('%Y-%m-%d')}"
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installation: modules are compiled once, whatever the environment says of that.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        tables = (startup_table(processes), imports_table(processes), cache_table(processes))
    text = "\n\n".join((f"Medians of {processes} new processes ({machine}).", *tables))
    show("startup", text, arguments.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
