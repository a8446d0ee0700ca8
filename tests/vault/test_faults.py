"""The vault survives a fault at every system call of every operation: see faults/harness.py and faults/examine.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesdk import _core

HERE = Path(__file__).resolve().parent / "faults"
WORKERS = 2
TIMEOUT_S = 600  # a worker takes a tenth of it
LEAST_POINTS = 2_000

Finding = dict[str, str]


# What is known to be wrong: the reason, and which findings are of it. Each is a test that must fail until it is mended.
def _memory_folder() -> str | None:
    """A folder in memory, where fsync costs nothing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _keyring_works() -> bool:
    try:
        _core.keyring_put("facesdk-test-faults", b"x", 60)
        return _core.keyring_forget("facesdk-test-faults")
    except OSError:
        return False


def _build(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler to build the library that makes the faults")
    library = folder / "shim.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "shim.c", "-ldl"], check=True, timeout=60
    )
    return library


def _start(library: Path, root: Path, worker: int) -> subprocess.Popen[str]:
    kinds = ["process", "keyring"] if _keyring_works() else ["process"]
    root.mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(HERE / "harness.py"), str(root), str(worker), str(WORKERS), *kinds],
        env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """points and calls by (operation, mode or call), and the findings, of all workers."""
    with tempfile.TemporaryDirectory(dir=_memory_folder(), prefix="faults-") as folder:
        library = _build(Path(folder))
        workers = [_start(library, Path(folder) / str(i), i) for i in range(WORKERS)]
        try:
            said = [json.loads(worker.communicate(timeout=TIMEOUT_S)[0] or "{}") for worker in workers]
        finally:
            for worker in workers:
                if worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                    worker.wait()
        assert all(said), "a worker ended without a result: what it said is above"
        points: Counter[tuple[str, str]] = Counter()
        for part in said:
            points.update({(operation, mode): count for operation, mode, count in part["points"]})
        yield {"points": points, "findings": [finding for part in said for finding in part["findings"]]}


def table(points: Counter[tuple[str, str]]) -> str:
    """Points by operation and kind of fault."""
    modes = sorted({mode for _, mode in points}, key=lambda mode: -sum(c for (_, m), c in points.items() if m == mode))
    lines = ["| operation | " + " | ".join(modes) + " | all |", "|---|" + "---:|" * (len(modes) + 1)]
    for operation in dict.fromkeys(operation for operation, _ in points):
        counts = [points[operation, mode] for mode in modes]
        lines.append(f"| {operation} | " + " | ".join(map(str, counts)) + f" | {sum(counts)} |")
    totals = [sum(c for (_, m), c in points.items() if m == mode) for mode in modes]
    return "\n".join([*lines, "| all | " + " | ".join(map(str, totals)) + f" | {sum(totals)} |"])


def _told(findings: list[Finding]) -> str:
    first = findings[0]
    return (
        f"{len(findings)} points, the first: {first['operation']}, {first['point']}: {first['rule']}: {first['what']}"
    )


def test_there_are_enough_points(found: dict[str, Any]) -> None:
    print("\n" + table(found["points"]))
    assert sum(found["points"].values()) >= LEAST_POINTS


def test_every_point_is_survived(found: dict[str, Any]) -> None:
    if found["findings"]:
        print(json.dumps(found["findings"], indent=1))
    assert not found["findings"], _told(found["findings"])
