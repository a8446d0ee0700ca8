"""Our executor against LiteRT, one thread: each network of a frame and the four together, in turn in one process.

benchmarks/executor.py [--rounds 300]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from facesdk import _core
from facesdk.engine.networks import load_manifest, load_model
from facesdk.engine.runtime import choose_runtime, native_variant

FRAME = ("blazeface_short_range", "face_mesh", "sface", "mobilefacenet")


def picture(entry: object) -> np.ndarray:
    """A fixed input for a network: noise over waves, in the type that it takes."""
    described = entry.input
    draw = (
        np.random.default_rng(1).normal(0, 0.3, described["shape"])
        + np.sin(np.arange(described["shape"][2]) / 9)[:, None]
    )
    if described["dtype"] == "int8":
        return np.clip(draw * 60, -128, 127).astype(np.int8)
    return draw.astype(np.float32)


def loaded(runtime: object, name: str) -> tuple[_core.Network, float]:
    """A network and the milliseconds that it took to make it of bytes in memory."""
    model = load_model(name)
    begin = time.perf_counter()
    network = runtime.make_network(model)
    return network, (time.perf_counter() - begin) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    runtimes = {name: choose_runtime(name) for name in ("litert-native", "native")}
    entries = load_manifest().models
    inputs = {name: picture(entries[name]) for name in FRAME}
    networks = {(r, n): loaded(runtime, n) for r, runtime in runtimes.items() for n in FRAME}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in networks}
    for _ in range(rounds):
        for key, (network, _) in networks.items():
            begin = time.perf_counter()
            network.run(inputs[key[1]])
            times[key].append((time.perf_counter() - begin) * 1e3)
    print(f"{native_variant()}, one thread, n = {rounds} in turn, medians in ms; load: of bytes in memory, once")
    print(f"{'network':24} {'LiteRT':>8} {'ours':>8} {'ratio':>7} {'load':>8} {'load':>8}")
    total = dict.fromkeys(runtimes, 0.0)
    for name in FRAME:
        theirs, ours = (statistics.median(times[r, name]) for r in runtimes)
        total["litert-native"] += theirs
        total["native"] += ours
        loads = [networks[r, name][1] for r in runtimes]
        print(f"{name:24} {theirs:8.3f} {ours:8.3f} {theirs / ours:7.2f} {loads[0]:8.1f} {loads[1]:8.1f}")
    print(f"{'the four of a frame':24} {total['litert-native']:8.3f} {total['native']:8.3f} "
          f"{total['litert-native'] / total['native']:7.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
