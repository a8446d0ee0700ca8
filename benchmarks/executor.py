"""Our executor against LiteRT, one thread: each network of a frame and the four together, in turn in one process.

benchmarks/executor.py [--rounds 300] [--write docs/executor.md]
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from readme import write_between_markers

from facesdk import _core
from facesdk.device import board
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


def loaded(make: Callable[[object], _core.Network], name: str) -> tuple[_core.Network, float]:
    """A network and the milliseconds that it took to make it of bytes in memory."""
    model = load_model(name)
    begin = time.perf_counter()
    network = make(model)
    return network, (time.perf_counter() - begin) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table between its markers")
    given = parser.parse_args()
    rounds = given.rounds
    variant = native_variant()
    runtimes = {"litert-native": choose_runtime("litert-native").make_network,
                "native": lambda model: _core.native_network(model, variant)}  # fmt: skip
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
        "| network | LiteRT, ms | ours, ms | ratio | LiteRT made, ms | ours made, ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = dict.fromkeys(runtimes, 0.0)
    for name in FRAME:
        theirs, ours = (statistics.median(times[r, name]) for r in runtimes)
        total["litert-native"] += theirs
        total["native"] += ours
        made = [networks[r, name][1] for r in runtimes]
        rows.append(f"| {name} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.2f} x | {made[0]:.1f} | {made[1]:.1f} |")
    theirs, ours = total["litert-native"], total["native"]
    rows.append(f"| the four of a frame | {theirs:.2f} | {ours:.2f} | {theirs / ours:.2f} x | | |")
    machine = f"{native_variant()} on {board.read_board().processor}"
    how = f"one thread, n = {rounds} in turn in one process, medians; made: of bytes in memory, once"
    rows += ["", f"{machine}, {how}. {datetime.date.today()}."]
    table = "\n".join(rows)
    print(table)
    if given.write:
        write_between_markers(given.write, "executor", table)


if __name__ == "__main__":
    main()
