"""Our executor against LiteRT, with one thread and with two: each network of a frame and the four together, in turn.

benchmarks/executor.py [--rounds 300] [--write docs/executor.md]
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from readme import write_between_markers

from facesdk import Engine, _core
from facesdk.device import board
from facesdk.engine.networks import load_manifest, load_model
from facesdk.engine.runtime import choose_runtime, native_variant
from facesdk.evaluation.timing import bench_frame

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


def loaded(make: Callable[[object], _core.Network], name: str) -> tuple[_core.Network, float]:
    """A network and the milliseconds that it took to make it of bytes in memory."""
    model = load_model(name)
    begin = time.perf_counter()
    network = make(model)
    return network, (time.perf_counter() - begin) * 1e3


def three_samples(rounds: int) -> tuple[float, float]:
    """Milliseconds for SFace on three samples: one after the other with two threads, or two at a time with one each."""
    shared, first, second = (Engine("sface", threads=threads, runtime="native") for threads in (2, 1, 1))
    sample = shared.sample(bench_frame())
    if sample is None:
        raise RuntimeError("the frame of facesdk bench has a face")
    times: list[tuple[float, float]] = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(rounds):
            begin = time.perf_counter()
            for _ in range(3):
                shared.embed(sample)
            middle = time.perf_counter()
            other = pool.submit(second.embed, sample)
            first.embed(sample)
            first.embed(sample)
            other.result()
            times.append((middle - begin, time.perf_counter() - middle))
    one, two = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return one, two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table between its markers")
    given = parser.parse_args()
    rounds = given.rounds
    variant = native_variant()
    alone, crew = _core.Crew(1), _core.Crew(2)
    runtimes = {
        "theirs": choose_runtime("litert-native").make_network,
        "ours": lambda model: _core.native_network(model, variant, alone),
        "theirs, two": choose_runtime("litert-native", threads=2).make_network,
        "ours, two": lambda model: _core.native_network(model, variant, crew),
    }
    entries = load_manifest().models
    inputs = {name: picture(entries[name]) for name in FRAME}
    networks = {(r, n): loaded(runtime, n) for r, runtime in runtimes.items() for n in FRAME}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in networks}
    for _ in range(rounds):
        for key, (network, _) in networks.items():
            begin = time.perf_counter()
            network.run(inputs[key[1]])
            times[key].append((time.perf_counter() - begin) * 1e3)
    rows = [
        "| network | LiteRT, ms | ours, ms | ratio | two threads: LiteRT, ms | ours, ms | ratio |"
        " made: LiteRT, ms | ours, ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    medians = {(r, n): statistics.median(times[r, n]) for r, n in times}
    medians |= {(r, "the four of a frame"): sum(medians[r, n] for n in FRAME) for r in runtimes}
    for name in (*FRAME, "the four of a frame"):
        cells = []
        for threads in ("", ", two"):
            theirs, ours = medians["theirs" + threads, name], medians["ours" + threads, name]
            cells += [f"{theirs:.2f}", f"{ours:.2f}", f"{theirs / ours:.2f} x"]
        cells += [f"{networks[r, name][1]:.1f}" if name in FRAME else "" for r in ("theirs", "ours")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    machine = f"{native_variant()} on {board.read_board().processor}"
    how = f"n = {rounds} in turn in one process, medians; made: of bytes in memory, once"
    rows += ["", f"{machine}, {how}. {datetime.date.today()}."]
    apart, together = three_samples(rounds)
    rows += ["", f"Three samples by SFace: {apart:.1f} ms with two threads for each, {together:.1f} ms two at a time."]
    table = "\n".join(rows)
    print(table)
    if given.write:
        write_between_markers(given.write, "executor", table)


if __name__ == "__main__":
    main()
