"""How long a frame takes on this machine, how much of it is the networks themselves, and what a board can tell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from facesdk import portraits
from facesdk.engine.engine import Engine
from facesdk.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from facesdk.types import Frame

MIN_ROUNDS, MAX_ROUNDS = 5, 10_000
WIDTH, HEIGHT = 640, 480
CLIP_FRAMES = 20


def _portrait() -> Image.Image:
    """A bundled portrait, padded to a frame."""
    from PIL import Image, ImageOps

    portrait = Image.fromarray(portraits.load("obama_2012.jpg"))
    return ImageOps.pad(portrait, (WIDTH, HEIGHT), color="gray", method=Image.Resampling.BICUBIC)


def bench_frame() -> Frame:
    """A frame (480, 640, 3) with one face of a size usual before a webcam, made from a bundled portrait."""
    import numpy as np

    return np.asarray(_portrait())


def bench_clip(count: int = CLIP_FRAMES) -> list[Frame]:
    """Consecutive frames (480, 640, 3) of that face as it drifts, grows and tilts."""
    import numpy as np
    from PIL import Image

    portrait, frames = _portrait(), []
    for number in range(count):
        turned = portrait.rotate(number * 0.4, resample=Image.Resampling.BILINEAR, translate=(number * 2, -number))
        grown = turned.resize((round(WIDTH * (1 + number * 0.004)), round(HEIGHT * (1 + number * 0.004))))
        frames.append(np.ascontiguousarray(grown.crop((0, 0, WIDTH, HEIGHT))))
    return frames


def ms_of(work: Callable[[], object]) -> float:
    """Milliseconds that the call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def latency(values: list[float]) -> dict[str, float]:
    """Median, and the smallest value that 99 % do not exceed."""
    p99 = sorted(values)[math.ceil(0.99 * len(values)) - 1]
    return {"p50_ms": round(median(values), 3), "p99_ms": round(p99, 3)}


def check_rounds(rounds: int) -> None:
    if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
        raise InputError(f"rounds must be from {MIN_ROUNDS} to {MAX_ROUNDS}, not {rounds}")


def time_engine(engine: Engine, rounds: int) -> tuple[float, list[float], dict[str, list[float]]]:
    """First frame, the rounds' frames and, in turn with them, the bare networks, in ms."""
    frame, networks = bench_frame(), engine.networks()
    first_ms = ms_of(lambda: engine.features(frame))
    if engine.features(frame) is None:
        raise AssertionError("the bundled portrait has a face")
    pipeline: list[float] = []
    bare: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        pipeline.append(ms_of(lambda: engine.features(frame)))
        for name, invoke in networks.items():
            bare[name].append(ms_of(invoke))
    return first_ms, pipeline, bare


def run_bench(engine: Engine, *, rounds: int = 100) -> dict[str, Any]:
    """Medians over rounds in which the bare networks and the whole way from frame to features are timed in turn.

    bare_invoke_ms is the sum of the networks' medians, overhead the median of each round's ratio. InputError for
    rounds outside 5..10000.
    """
    check_rounds(rounds)
    first_ms, pipeline, bare = time_engine(engine, rounds)
    ratios = [whole / sum(parts) for whole, *parts in zip(pipeline, *bare.values(), strict=True)]
    each = {name: round(median(values), 3) for name, values in bare.items()}
    return {
        "embedder": engine.embedder, "runtime": engine.runtime.name, "threads": engine.threads, "frame": "640x480",
        "n": rounds, "first_ms": round(first_ms, 3), "invoke_ms": each, "bare_invoke_ms": round(sum(each.values()), 3),
        "pipeline_ms": round(median(pipeline), 3), "overhead": round(median(ratios), 3),
    }  # fmt: skip
