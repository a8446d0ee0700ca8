"""How long a frame takes on this machine, and how much of that is the networks themselves."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from facesdk.engine import Engine
from facesdk.errors import InputError

if TYPE_CHECKING:
    from facesdk.types import Frame

MIN_ROUNDS, MAX_ROUNDS = 5, 10_000


def bench_frame(width: int = 640, height: int = 480) -> Frame:
    """A frame (height, width, 3) with one face of a size usual before a webcam, made from a bundled portrait."""
    import numpy as np
    from PIL import Image, ImageOps

    with files("facesdk.portraits").joinpath("obama_2012.jpg").open("rb") as file:
        portrait = Image.open(file).convert("RGB")
    frame = ImageOps.pad(portrait, (width, height), color="gray", method=Image.Resampling.BICUBIC)
    return np.asarray(frame)


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def run_bench(engine: Engine, *, rounds: int = 100) -> dict[str, Any]:
    """Medians over rounds in which the bare networks and the whole way from frame to features are timed in turn.

    bare_invoke_ms is the sum of the networks' medians, overhead the median of each round's ratio. InputError for
    rounds outside 5..10000.
    """
    if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
        raise InputError(f"rounds must be from {MIN_ROUNDS} to {MAX_ROUNDS}, not {rounds}")
    frame = bench_frame()
    networks = engine.networks()
    first = time.perf_counter()
    if engine.features(frame) is None:
        raise AssertionError("the bundled portrait has a face")
    first_ms = (time.perf_counter() - first) * 1e3
    bare: dict[str, list[float]] = {name: [] for name in networks}
    pipeline: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        engine.features(frame)
        pipeline.append((time.perf_counter() - start) * 1e3)
        for name, invoke in networks.items():
            start = time.perf_counter()
            invoke()
            bare[name].append((time.perf_counter() - start) * 1e3)
        ratios.append(pipeline[-1] / sum(values[-1] for values in bare.values()))
    each = {name: round(_median(values), 3) for name, values in bare.items()}
    return {
        "embedder": engine.embedder, "runtime": engine.runtime.name, "threads": engine.threads, "frame": "640x480",
        "n": rounds, "first_ms": round(first_ms, 3), "invoke_ms": each, "bare_invoke_ms": round(sum(each.values()), 3),
        "pipeline_ms": round(_median(pipeline), 3), "overhead": round(_median(ratios), 3),
    }  # fmt: skip
