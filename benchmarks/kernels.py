"""Every kernel variant against the scalar one: a variant that gains under 1.3 x goes.

python benchmarks/kernels.py [--rounds 200]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from facesdk import _core


def _work() -> dict[str, Callable[[str], object]]:
    """The calls of one frame of 640x480, by kernel."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (480, 640, 3), np.uint8)
    gray = np.ascontiguousarray(frame[..., 0])
    pixels = rng.integers(0, 256, 192 * 192 * 3, np.uint8)
    a, b = (rng.standard_normal(16384).astype(np.float32) for _ in range(2))
    turned = (1.2, 0.2, 150.0, -0.2, 1.2, 120.0)
    return {
        "warp_u8 (192x192, RGB, inside)": lambda v: _core.warp_u8(v, frame, turned, (192, 192)),
        "warp_u8 (192x192, gray, inside)": lambda v: _core.warp_u8(v, gray, turned, (192, 192)),
        "warp_u8 (128x128, letterbox)": lambda v: _core.warp_u8(v, frame, (5.0, 0.0, 0.0, 0.0, 5.0, -80.0), (128, 128)),
        "scale_u8_f32 (192x192x3)": lambda v: _core.scale_u8_f32(v, pixels, 1 / 255, 0.0),
        "dot_f32 (16,384)": lambda v: _core.dot_f32(v, a, b),
    }


def main() -> int:
    """Prints a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    names = _core.variants()
    print(f"| kernel | {' | '.join(names)} | gain |\n|---|{'---:|' * (len(names) + 1)}")
    for kernel, call in _work().items():
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                start = time.perf_counter()
                call(name)
                taken[name].append((time.perf_counter() - start) * 1e6)
        medians = [statistics.median(taken[name]) for name in names]
        cells = " | ".join(f"{m:.1f} us" for m in medians)
        print(f"| {kernel} | {cells} | {medians[-1] / medians[0]:.2f} |")
    print(f"n = {rounds}, medians, variants in turn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
