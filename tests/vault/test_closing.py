"""Lock and panic hold at whichever system call they come while a key is being opened: see faults/closing.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from places_tools import needs_keyring
from test_faults import HERE, _build, _memory_folder

SHARES = 8  # of all points; the suite takes two, `closing.py FOLDER 0 1` takes all
TIMEOUT_S = 600
LEAST_POINTS = 500

pytestmark = needs_keyring


def test_no_key_is_open_after_a_lock_or_panic_at_any_point_of_an_opening() -> None:
    with tempfile.TemporaryDirectory(dir=_memory_folder(), prefix="closing-") as folder:
        library = _build(Path(folder))
        workers = []
        for share in (0, SHARES // 2):
            root = Path(folder) / str(share)
            root.mkdir()
            workers.append(
                subprocess.Popen(
                    [sys.executable, str(HERE / "closing.py"), str(root), str(share), str(SHARES)],
                    env={**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"},
                    stdout=subprocess.PIPE, text=True, start_new_session=True,
                )
            )  # fmt: skip
        said = [json.loads(worker.communicate(timeout=TIMEOUT_S)[0] or "{}") for worker in workers]
    assert all(said), "a worker ended without a result: what it said is above"
    points = sum((Counter(part["points"]) for part in said), Counter())
    print(f"\n{sum(points.values())} points: {dict(points)}")
    assert sum(points.values()) >= LEAST_POINTS
    assert min(points.values()) > 5
    assert [finding for part in said for finding in part["findings"]] == []
