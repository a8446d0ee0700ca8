"""Changed .pth files given to the reader of state_dicts: each is refused with an InputError or gives plain tensors.

python tools/fuzz_state_dict.py [--count 100000] [--seed 0]

Files of tests/optional/optional_tools.py, changed in one to eight places: a byte, a piece left out, doubled or moved
from elsewhere, an opcode. Anything else that is raised, a module that is loaded, more bytes of tensors than the file
could hold, or a file that takes over a second is a fault (exit code 1).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "optional")]
OPCODES = bytes(range(0x80, 0x96)) + b".(0123FINSTLMRKJQUVXabcdeghijlopqrstu)]}B"
LIMIT_S = 1.0


def changed(data: bytes, draw: random.Random) -> bytes:
    """The file with some places changed."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        at, size = draw.randrange(len(content) + 1), draw.randint(1, 40)
        kind = draw.randrange(5)
        if kind == 0 and at < len(content):
            content[at] = draw.randrange(256)
        elif kind == 1 and at < len(content):
            content[at] = draw.choice(OPCODES)
        elif kind == 2:
            del content[at : at + size]
        else:
            start = at if kind == 3 else draw.randrange(len(content) + 1)
            content[at:at] = content[start : start + size]
    return bytes(content)


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import numpy as np
    from optional_tools import legacy_pth

    from facesdk.engine.optional.pth import read_state_dict
    from facesdk.errors import InputError

    small = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array(5, np.int64),
        "c": np.zeros(4, np.float32),
    }
    data = legacy_pth(small)
    read_state_dict(data)
    draw, modules, faults, read, slowest = random.Random(options.seed), len(sys.modules), 0, 0, 0.0
    for number in range(options.count):
        content = changed(data, draw)
        start = time.perf_counter()
        try:
            tensors = read_state_dict(content)
        except InputError:
            tensors = None
        except BaseException as error:
            print(f"file {number}: {type(error).__name__}: {error}")
            faults += 1
            continue
        slowest = max(slowest, time.perf_counter() - start)
        if tensors is not None:
            read += 1
            faults += any(t.nbytes > len(content) or t.dtype not in (np.float32, np.int64) for t in tensors.values())
    faults += (slowest > LIMIT_S) + (len(sys.modules) != modules)
    print(f"{options.count:,} changed files: {read:,} read as tensors, the others refused; {faults} faults;"
          f" the slowest took {1e3 * slowest:.1f} ms")  # fmt: skip
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
