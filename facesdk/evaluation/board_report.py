"""What a board can tell of itself: times, decisions and bits, heat and power, as benchmarks/boards/ collects it."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from importlib.resources import as_file, files
from pathlib import Path, PurePath
from statistics import median
from typing import TYPE_CHECKING, Any

from facesdk import _core, portraits
from facesdk.device import board
from facesdk.engine.engine import Engine
from facesdk.errors import FaceSdkError
from facesdk.evaluation.timing import HEIGHT, WIDTH, bench_clip, check_rounds, latency, ms_of, time_engine

if TYPE_CHECKING:
    from facesdk.types import Features


# Of `run_board`'s result; benchmarks/boards/README.md describes it.
FORMAT = 1
CLIP_ROUNDS = 5


FRESH_PROCESSES, FRESH_EMBEDDERS = 5, ("mobilefacenet", "joint")


TARGET_FMR = 1e-3  # what one photo of years before can hold without refusing most owners


PACKAGES = ("facesdk-unlock", "numpy", "cryptography", "Pillow", "ai-edge-litert", "tflite-runtime")


# Prints the peak of the process's own memory last; ru_maxrss would also count the parent it was forked from.
FRESH = """import sys
from facesdk.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)"""


def run_board(
    *, rounds: int = 100, threads: int | str = 1, runtime: str = "auto", emulated: bool = False,
    root: Path = board.ROOT, say: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:  # fmt: skip
    """What this board does with facesdk, for `benchmarks/boards/`; README.md there describes every field.

    emulated: leave out times, memory, heat and power, which say nothing under an emulator. root: where /proc and /sys
    are read. say: told what is measured next. Holds no host, user or file name, serial number or address. InputError
    for rounds outside 5..10000, and what Engine raises.
    """
    from facesdk.engine.networks import load_manifest
    from facesdk.engine.threads import checked_threads

    check_rounds(rounds)
    threads = checked_threads(threads)  # once: the load changes with what is measured
    before = {"celsius_before": board.temperatures(root), "load_average_before": round(os.getloadavg()[0], 2)}
    engines, load_ms = {}, {}
    for name in sorted(load_manifest().embedders):
        say(f"{name}: making the engine")
        start = time.perf_counter()
        engines[name] = Engine(name, threads=threads, runtime=runtime)
        load_ms[name] = round((time.perf_counter() - start) * 1e3, 3)
    result = {
        **_facts(engines["joint"], root=root), "emulated": emulated, "times": None, "memory": None, "conditions": None,
    }  # fmt: skip
    if emulated:
        result["board"]["memory_mib"] = None  # that of the machine that emulates
    if not emulated:
        spare = Engine("joint", threads=threads, runtime=runtime)
        times, conditions = _load(engines, spare, rounds=rounds, root=root, say=say)
        fresh = {name: _fresh_verify(engines[name], runtime, say=say) for name in FRESH_EMBEDDERS}
        times["pipeline"] = {name: {"load_ms": load_ms[name], **row} for name, row in times["pipeline"].items()}
        times["cold_verify_ms"] = {name: value["ms"] for name, value in fresh.items()}
        result["times"] = times
        result["memory"] = {"verify_peak_mb": {name: value["peak_mb"] for name, value in fresh.items()}}
        result["conditions"] = {**before, **conditions}
    result["accuracy"] = {
        "portraits": {name: _portraits(engine) for name, engine in engines.items()}, "bits": _bits(engines["joint"]),
    }  # fmt: skip
    return result


def _load(
    engines: dict[str, Engine], spare: Engine, *, rounds: int, root: Path, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Latencies, and what the board said of heat, clock and power right after that load.

    spare: never run, for the first run of each network.
    """
    first = {name: round(ms_of(invoke), 3) for name, invoke in spare.networks().items()}
    before, begun = board.energy_j(root), time.perf_counter()
    pipeline, networks = {}, {}
    for name, engine in engines.items():
        say(f"{name}: {rounds} frames")
        first_ms, frames, bare = time_engine(engine, rounds)
        pipeline[name] = {"first_ms": round(first_ms, 3), **latency(frames)}
        if name == "joint":
            networks = {n: {"first_ms": first[n], **latency(values)} for n, values in bare.items()}
    conditions = {
        "throttling": board.throttling(root, busy=True), "celsius_after": board.temperatures(root),
        "power": _power(before, root=root, seconds=time.perf_counter() - begun),
    }  # fmt: skip
    say("tracking")
    tracking = {name: _tracking(engine) for name, engine in engines.items()}
    return {
        "n": rounds, "frame": f"{WIDTH}x{HEIGHT}", "networks": networks, "pipeline": pipeline, "tracking": tracking,
    }, conditions  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _facts(engine: Engine, *, root: Path) -> dict[str, Any]:
    """Versions and machine. Of runtime and accelerator the names alone: reasons and paths may hold a user's folders."""
    from facesdk.engine.edgetpu import attached

    found = board.read_board(root)
    versions = {name: _version(name) for name in PACKAGES}
    versions |= {"python": platform.python_version(), "kernel": platform.release(), "glibc": platform.libc_ver()[1]}
    return {
        "format": FORMAT, "board": {**asdict(found), "big_cores": found.big_cores},
        "recommended": asdict(board.recommend(found)), "versions": versions,
        "runtime": {"name": engine.runtime.name, "version": engine.runtime.version, "threads": engine.threads},
        "accelerators": [device.kind for device in attached(root / "sys")],
        "kernels": {"used": _core.variant(), "usable": _core.variants()},
    }  # fmt: skip


def _power(before: dict[str, tuple[float, float]], *, root: Path, seconds: float) -> dict[str, Any] | None:
    """Mean watts of RAPL's packages since `before`, else what INA sensors show now, idle power included; else None."""
    counted = board.energy_j(root)
    used = [(counted[name][0] - joules) % wraps for name, (joules, wraps) in before.items() if name in counted]
    if used:
        return {"source": "rapl", "watts": round(sum(used) / seconds, 3)}
    shown = board.power_w(root)
    return {"source": ", ".join(shown), "watts": round(sum(shown.values()), 3)} if shown else None


def _samples(engine: Engine, names: str = "*") -> dict[str, Features]:
    """Features of each bundled portrait whose file name fits the pattern, by that name without ending."""
    listed = [name for name in portraits.names() if PurePath(name).match(names)]
    found = {PurePath(name).stem: engine.features(portraits.load(name)) for name in listed}
    return {name: features for name, features in found.items() if features is not None}


def _portraits(engine: Engine) -> dict[str, Any]:
    """How many pairs of bundled portraits are decided rightly at TARGET_FMR: [right, all]."""
    from facesdk import matching
    from facesdk.evaluation import threshold

    samples, limit = list(_samples(engine).items()), threshold(engine.embedder, TARGET_FMR, 1, 1)
    counts = {"mated": [0, 0], "non_mated": [0, 0]}
    for i, (a, first) in enumerate(samples):
        for b, second in samples[:i]:
            mated = a.split("_")[0] == b.split("_")[0]
            accepted = matching.score(*matching.vectors_of([first, second])) >= limit
            count = counts["mated" if mated else "non_mated"]
            count[0] += accepted == mated
            count[1] += 1
    return {"faces": len(samples), **counts}


def _bits(engine: Engine) -> dict[str, str]:
    """First 16 digits of the sha256 of each int8 network's output for one crop; with LiteRT equal everywhere."""
    import numpy as np

    from facesdk.engine.networks import COMMON_MODELS, load_manifest
    from facesdk.engine.twin import synthetic_crop

    crop, result = synthetic_crop()[None].astype(np.float64), {}
    for name, network in engine._networks.items():
        info, entry = network.input_info, load_manifest().models[name]
        if name not in COMMON_MODELS and info["dtype"] == "int8":
            values = np.round((crop - entry.mean) / entry.scale / info["scale"]) + info["zero_point"]
            output = network.run(np.ascontiguousarray(np.clip(values, -128, 127).astype(np.int8)))[0]
            result[name] = hashlib.sha256(output.tobytes()).hexdigest()[:16]
    return result


def _tracking(engine: Engine) -> dict[str, Any]:
    """A tracker's frames against detection in every one, in turn: means of a clip, medians over its repetitions."""
    from facesdk import matching
    from facesdk.engine.tracking import Tracker
    from facesdk.evaluation import threshold

    reference, limit = _samples(engine, "obama_2009.*")["obama_2009"], threshold(engine.embedder, TARGET_FMR, 1, 1)
    clip, same, detections = bench_clip(), 0, 0
    means: dict[str, list[float]] = {"tracking_ms": [], "detection_ms": []}
    for _ in range(CLIP_ROUNDS):
        tracker = Tracker(engine)
        total = dict.fromkeys(means, 0.0)
        for frame in clip:
            matches = []
            for name, observe in zip(means, (tracker.observe, engine.observe), strict=True):
                start = time.perf_counter()
                sample, _ = observe(frame)
                features = None if sample is None else engine.embed(sample)
                total[name] += (time.perf_counter() - start) * 1e3
                vectors = matching.vectors_of([reference, features]) if features is not None else None
                matches.append(vectors is not None and matching.score(*vectors) >= limit)
            same += matches[0] == matches[1]
        detections += tracker.detections
        for name, values in means.items():
            values.append(total[name] / len(clip))
    return {
        "frames": len(clip) * CLIP_ROUNDS, "detections": detections, "same_decisions": same,
        **{name: round(median(values), 3) for name, values in means.items()},
    }  # fmt: skip


def _fresh_verify(engine: Engine, runtime: str, *, say: Callable[[str], None]) -> dict[str, float]:
    """Medians of `facesdk verify` in new processes: ms from start to exit, and peak of resident memory in MB (1e6)."""
    from facesdk.vault import KeyFileKey
    from facesdk.verifier import FaceVerifier

    times, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="facesdk-bench-") as folder, as_file(files("facesdk.portraits")) as faces:
        vault, key = Path(folder) / "vault", Path(folder) / "key"
        KeyFileKey.create(key)
        FaceVerifier(vault, key_file=key, engine=engine).enroll(
            "owner", [faces / "obama_2009.jpg"], allow_few_samples=True
        )
        words = ["verify", "--vault", str(vault), "--key-file", str(key), "--json", "--embedder", engine.embedder]
        words += ["--threads", str(engine.threads), "--runtime", runtime, str(faces / "obama_2009.jpg")]
        for number in range(FRESH_PROCESSES):
            say(f"{engine.embedder}: verify in a new process, {number + 1} of {FRESH_PROCESSES}")
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", FRESH, *words], cwd=folder, capture_output=True, text=True)
            times.append((time.perf_counter() - start) * 1e3)
            if done.returncode != 0:
                raise FaceSdkError(f"facesdk verify in a new process ended with {done.returncode}: {done.stderr}")
            peaks.append(int(done.stdout.split()[-1]) * 1024 / 1e6)
    return {"ms": round(median(times), 1), "peak_mb": round(median(peaks), 1)}
