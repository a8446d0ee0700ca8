"""Enroll, replace, import, rekey and renew in forked children and under a thread that forgets the key: what is left?

python tools/race_forget.py [--runs 2000] [--seed 0]

Every file that comes to be must open with the key that was meant and not with zeros. Prints how often each operation
was done and refused; exits with 1 for a single file that opens with anything else.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "vault"))
from faults.forgetting import OPERATIONS, PROVIDERS, Trial, in_a_child, under_a_forgetting_thread


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    faults = 0
    start = time.monotonic()
    for run in range(arguments.runs):
        operation = OPERATIONS[run % len(OPERATIONS)]
        kind = sorted(PROVIDERS)[run // len(OPERATIONS) % len(PROVIDERS)]
        how = ("thread", "thread", "thread", "fork")[run // (len(OPERATIONS) * len(PROVIDERS)) % 4]
        with tempfile.TemporaryDirectory(prefix="facesdk-race-") as folder:
            trial = Trial(Path(folder) / "vault", operation, *PROVIDERS[kind](Path(folder)))
            within_s = rng.choice((0.002, 0.01, 0.06))
            done = in_a_child(trial) if how == "fork" else under_a_forgetting_thread(trial, within_s=within_s, rng=rng)
            fault = trial.fault(done)
        counts[how, kind, operation, "done" if done else "refused"] += 1
        if fault:
            faults += 1
            print(f"run {run}: {how}, {kind}, {operation}: {fault}")
    for (how, kind, operation, end), count in sorted(counts.items()):
        print(f"{how:7} {kind:11} {operation:8} {end:8} {count:5}")
    print(f"{arguments.runs} runs, {faults} files that another key opens, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
