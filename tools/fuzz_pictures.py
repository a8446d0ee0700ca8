"""Decodes made-up and changed JPEG and PNG files: none may crash, or cost over a second or 256 MiB.

python tools/fuzz_pictures.py [--count 100000] [--seed 0] [--workers 1] [--keep FOLDER]

Each file is decoded by facesdk.images.decode_rgb in a worker process. What comes out is a frame or an InputError. A
second is one of processor time, so that other processes do not count; a file that takes long is decoded three times
more, and the least counts. Memory is the most that the process had resident since the file was begun, over what it had
before its first. A worker that dies, or does not come back for a minute, is a violation too. The same seed makes the
same files, whatever the number of workers.
--keep: where files go that violate. Exit code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fuzz_pictures_files as jpegs
import fuzz_pictures_png as pngs
import numpy as np

from facesdk.errors import InputError
from facesdk.images import MAX_FILE_BYTES, decode_rgb

LIMIT_S, LIMIT_BYTES = 1.0, 256 << 20
BATCH = 100
GIVEN_UP_S = 60.0
RUNS_AGAIN = 3
SLOWEST_KEPT = 5


MAKERS: dict[str, tuple[Callable[[jpegs.Rng, jpegs.Pool], bytes], float]] = {
    "built JPEG": (jpegs.built_jpeg, 30), "changed JPEG": (jpegs.changed_jpeg, 25), "built PNG": (pngs.built_png, 25),
    "changed PNG": (pngs.changed_png, 15), "noise": (jpegs.noise, 5),
}  # fmt: skip


def picture_file(seed: int, number: int, pool: jpegs.Pool) -> tuple[str, bytes]:
    """The maker and the file of this number; the same for the same seed."""
    rng = random.Random(f"{seed}/{number}")
    name = rng.choices(list(MAKERS), [weight for _, weight in MAKERS.values()])[0]
    return name, MAKERS[name][0](rng, pool)[: MAX_FILE_BYTES + 1]


@dataclass(order=True)
class Cost:
    """What one file took."""

    amount: float
    number: int
    what: str


@dataclass
class Tally:
    """What came of the files: by maker and outcome; the costliest; and the numbers of those that must not be."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: list[Cost] = field(default_factory=list)
    largest: list[Cost] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Takes in what another batch counted."""
        self.counts += other.counts
        self.slowest = sorted(self.slowest + other.slowest, reverse=True)[:SLOWEST_KEPT]
        self.largest = sorted(self.largest + other.largest, reverse=True)[:SLOWEST_KEPT]
        self.wrong += other.wrong


def decoded(data: bytes) -> tuple[str, float]:
    """What came of the file, and the seconds of processor time that it took."""
    start = time.thread_time()
    try:
        frame = decode_rgb(data)
        taken_s = time.thread_time() - start
        good = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.flags.c_contiguous
        return ("a frame" if good else "VIOLATION: no frame", taken_s)
    except InputError:
        return "InputError", time.thread_time() - start
    except BaseException as error:  # whatever comes is what this tool is to find
        return f"VIOLATION: {type(error).__name__}: {error}", time.thread_time() - start


def _resident_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name + ":")))


def _forget_peak() -> None:
    """Sets the most that this process had resident back to what it has now; where refused, peaks stay the last ones."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def judge(number: int, maker: str, data: bytes, tally: Tally, *, resident_bytes: int) -> None:
    """Decodes one file and counts what came of it."""
    _forget_peak()
    outcome, taken_s = decoded(data)
    growth_bytes = _resident_bytes("VmHWM") - resident_bytes
    if taken_s > LIMIT_S / 2:
        taken_s = min(decoded(data)[1] for _ in range(RUNS_AGAIN))
    what = f"{maker}, {len(data)} bytes: {outcome}"
    tally.counts[maker, outcome.split(":")[0]] += 1
    found = Tally(slowest=[Cost(taken_s, number, what)], largest=[Cost(growth_bytes / 2**20, number, what)])
    if outcome.startswith("VIOLATION"):
        found.wrong.append((number, what))
    if taken_s > LIMIT_S:
        found.wrong.append((number, f"{what}, {taken_s:.2f} s"))
    if growth_bytes > LIMIT_BYTES:
        found.wrong.append((number, f"{what}, {growth_bytes >> 20} MiB"))
    tally.add(found)


def _work(connection: Connection, current: Any, seed: int) -> None:
    """A worker: takes spans of numbers, gives tallies."""
    warnings.simplefilter("ignore")
    pool = jpegs.genuine()
    for genuine in (one for kind in pool.values() for one in kind):
        if decoded(genuine)[0] != "a frame":
            raise RuntimeError("a genuine file is not decoded")
    resident_bytes = _resident_bytes("VmRSS")
    while (span := connection.recv()) is not None:
        tally = Tally()
        for number in range(*span):
            current.value = number
            judge(number, *picture_file(seed, number, pool), tally, resident_bytes=resident_bytes)
        connection.send(tally)


class Worker:
    """A worker process that is made anew when a file has ended it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._context = multiprocessing.get_context("spawn")
        self._current = self._context.Value("q", -1, lock=False)
        self._start()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(theirs, self._current, self._seed), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, begin: int, end: int) -> Tally:
        """The tally of the files begin..end; of a file that ends the process, only that it did."""
        total = Tally()
        while begin < end:
            self._connection.send((begin, end))
            try:
                if self._answered():
                    total.add(self._connection.recv())
                    return total
                reason = "did not come back"
            except EOFError:
                reason = "ended the process"
            self._process.kill()
            self._process.join()
            number = int(self._current.value)
            if number < begin:
                raise RuntimeError("a worker does not start")
            total.wrong.append((number, f"VIOLATION: {reason}"))
            total.counts["unknown", reason] += 1
            self._start()
            if number > begin:  # those before it were judged, but their tally is lost
                total.add(self.run(begin, number))
            begin = number + 1
        return total

    def _answered(self) -> bool:
        """Whether an answer is there; False when one file takes longer than GIVEN_UP_S."""
        last, since = None, time.monotonic()
        while not self._connection.poll(0.2):
            if self._current.value != last:
                last, since = self._current.value, time.monotonic()
            if time.monotonic() - since > GIVEN_UP_S:
                return False
        return True

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join()


def run(count: int, *, seed: int, workers: int) -> Tally:
    """The tally of `count` files."""
    spans = iter([(begin, min(count, begin + BATCH)) for begin in range(0, count, BATCH)])
    total, lock, failed = Tally(), threading.Lock(), []

    def serve() -> None:
        try:
            worker = Worker(seed)
            while True:
                with lock:
                    span = next(spans, None)
                if span is None:
                    return worker.close()
                tally = worker.run(*span)
                with lock:
                    total.add(tally)
                    if sys.stderr.isatty():
                        print(f"\r{span[1]:,} of {count:,}", end="", file=sys.stderr, flush=True)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=serve) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return total


def report(tally: Tally) -> str:
    """The counts by maker and outcome, the costliest files, and what does not hold."""
    outcomes = sorted({outcome for _, outcome in tally.counts})
    lines = ["| maker | " + " | ".join(outcomes) + " |", "|---|" + "---:|" * len(outcomes)]
    for maker in sorted({maker for maker, _ in tally.counts}):
        lines.append(f"| {maker} | " + " | ".join(f"{tally.counts[maker, outcome]:,}" for outcome in outcomes) + " |")
    lines += [f"{cost.amount:8.3f} s   number {cost.number}: {cost.what}" for cost in tally.slowest]
    lines += [f"{cost.amount:8.0f} MiB number {cost.number}: {cost.what}" for cost in tally.largest]
    return "\n".join([*lines, *(f"WRONG number {number}: {what}" for number, what in tally.wrong[:50])])


def main() -> int:
    """Runs, prints; 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    tally = run(arguments.count, seed=arguments.seed, workers=arguments.workers)
    print(report(tally))
    taken_s = time.perf_counter() - start
    print(f"{sum(tally.counts.values()):,} files in {taken_s:.0f} s, {len(tally.wrong)} violations")
    if arguments.keep and tally.wrong:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        pool = jpegs.genuine()
        for number, _ in tally.wrong:
            (arguments.keep / f"{arguments.seed}-{number}").write_bytes(picture_file(arguments.seed, number, pool)[1])
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
