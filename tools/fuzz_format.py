"""Attacks the parsers of sealed files with mutated ones: none may open, crash, or cost over 20 ms or 16 MiB.

python tools/fuzz_format.py [--count 1000000] [--seed 0] [--workers 2]

The keys are given raw, so that the formats are what is attacked: sealed files of version 2 and 1, key sections, the
sealed head of an audit log, what a keyring holds. Mutators know the layouts. Those with `key:` seal the mutated content
again under the right keys, as only who holds the key can; what is still well-formed may then open, and is counted
apart. The same seed makes the same files, whatever the number of workers. Exit code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_targets import Sample, Target, targets

from facesdk.digest import sha256
from facesdk.errors import KeyUnavailableError, VaultIntegrityError, VaultVersionError
from facesdk.vault import crypto, format
from facesdk.vault.keys import provider as keys
from facesdk.vault.keys.provider import KeyKind

LIMIT_S, LIMIT_BYTES = 0.02, 16 << 20
BATCH = 5000
CHECKSUM_SIZE = 32
NAMED = (VaultIntegrityError, VaultVersionError, KeyUnavailableError)

# --- mutators: (random, sample, another genuine sample) -> bytes

Rng = random.Random


def _flipped(rng: Rng, sample: Sample, _other: Sample) -> bytes:
    out = bytearray(sample.data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        begin, end = rng.choice(sample.fields)  # a field first: else nearly all would hit the longest
        if end > begin:
            out[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
    return bytes(out)


# Bounds of the formats, of integers, and the infinity and a NaN of float32.
BOUNDARIES = (
    0, 1, 2, 3, 4, 5, 10, 11, 15, 16, 17, 64, 65, 4095, 4096, 4097, 2**15, 2**16 - 1, 2**20, 2**20 + 1, 2**31 - 1,
    2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 0x7F800000, 0x7FC00000,
)  # fmt: skip


def _boundary(rng: Rng, sample: Sample, _other: Sample) -> bytes:
    begin, end = rng.choice(sample.fields)
    size, now = end - begin, int.from_bytes(sample.data[begin:end][:8], "little")
    bits = 8 * min(size, 8)
    value = rng.choice((*BOUNDARIES, now - 1, now + 1, now ^ 1 << bits // 2, now << 1, now >> 1)) % (1 << bits)
    fill = rng.choice((b"\0", b"\xff", b"/", b"\x1b")) * max(0, size - 8)
    tail = rng.choice((fill, sample.data[begin + bits // 8 : end]))
    return sample.data[:begin] + value.to_bytes(bits // 8, "little") + tail + sample.data[end:]


def _swapped(rng: Rng, sample: Sample, other: Sample) -> bytes:
    """A field of another file, or of another place."""
    begin, end = rng.choice(sample.fields)
    source = rng.choice((sample, other))
    start, stop = rng.choice(source.fields) if rng.random() < 0.3 else source.fields[sample.fields.index((begin, end))]
    return sample.data[:begin] + source.data[start:stop] + sample.data[end:]


def _spliced(rng: Rng, sample: Sample, other: Sample) -> bytes:
    """The beginning of one file and the end of another, or a region of it, at edges of fields or anywhere."""
    cuts = [edge for span in sample.fields for edge in span]
    a, b = sorted(rng.choice(cuts) if rng.random() < 0.7 else rng.randrange(len(sample.data)) for _ in range(2))
    kind = rng.randrange(3)
    if kind == 0:
        return sample.data[:a] + other.data[a:]
    if kind == 1:
        return sample.data[:a] + other.data[a:b] + sample.data[b:]
    return sample.data[:b] + sample.data[a:b] + sample.data[b:]  # a region twice


def _cut(rng: Rng, sample: Sample, _other: Sample) -> bytes:
    data, kind = sample.data, rng.randrange(4)
    at = rng.choice(rng.choice(sample.fields)) if rng.random() < 0.5 else rng.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + rng.randbytes(rng.choice((1, 2, 16, 32, 4096)))
    if kind == 2:
        return data[:at] + data[at + rng.choice((1, 2, 4, 8, 16)) :]
    return data[:at] + rng.choice((b"\0", b"\0" * 4, rng.randbytes(3))) + data[at:]


def _large(rng: Rng, sample: Sample, _other: Sample) -> bytes:
    """Up to the greatest size a file may have, and beyond it."""
    size = rng.choice((4096, 65536, format.MAX_FILE_SIZE, format.MAX_FILE_SIZE + 1, 2 * format.MAX_FILE_SIZE))
    return sample.data + bytes(size - len(sample.data)) if size > len(sample.data) else sample.data


def _noise(rng: Rng, sample: Sample, _other: Sample) -> bytes:
    at = rng.choice(sample.fields)[0]
    return sample.data[:at] + rng.randbytes(rng.choice((0, 1, 7, 64, len(sample.data) - at)))


Mutator = Callable[[Rng, Sample, Sample], bytes]
MUTATORS: dict[str, tuple[Mutator, float]] = {
    "flip bits": (_flipped, 26), "boundary values": (_boundary, 26), "swap fields": (_swapped, 12),
    "splice": (_spliced, 12), "cut and extend": (_cut, 12), "noise": (_noise, 6), "flip, then splice": (_spliced, 5),
    "large": (_large, 0.3),
}  # fmt: skip


def with_checksum(target: Target, data: bytes) -> bytes:
    """The file with the checksum made valid, where it is long enough to have one."""
    at = target.checksum_at(data) if target.checksum_at else len(data)
    if at + CHECKSUM_SIZE > len(data):
        return data
    return data[:at] + sha256(data[:at]) + data[at + CHECKSUM_SIZE :]


def mutated(rng: Rng, target: Target, mutator: str) -> bytes:
    """A file that is none of the genuine ones; half of those with a checksum have that made valid again."""
    while True:
        sample, other = rng.choice(target.samples), rng.choice(target.samples)
        if mutator == "flip, then splice":
            sample = Sample(_flipped(rng, sample, other), sample.fields)
        data = MUTATORS[mutator][0](rng, sample, other)
        if target.checksum_at and rng.random() < 0.5:
            data = with_checksum(target, data)
        if all(data != genuine.data for genuine in target.samples):
            return target.sealed(data) if target.sealed else data


# --- the judgement


@dataclass
class Tally:
    """What came of the files: by target, mutator and class; the worst; and what must not be."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    slowest_s: float = 0.0
    remeasured: int = 0
    growth_bytes: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Takes in what another batch counted."""
        self.counts += other.counts
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.remeasured += other.remeasured
        self.growth_bytes = max(self.growth_bytes, other.growth_bytes)
        self.wrong += other.wrong


def opened(target: Target, data: bytes) -> tuple[str, float]:
    """The name of the error, or "accepted"; and the seconds it took."""
    start = time.perf_counter()
    try:
        target.open(data)
        name = "accepted"
    except Exception as error:  # whatever comes is what this tool is to find
        name = type(error).__name__ if isinstance(error, NAMED) else f"CRASH {type(error).__name__}: {error}"
    return name, time.perf_counter() - start


def judge(target: Target, mutator: str, data: bytes, tally: Tally) -> None:
    """Opens one file and counts what came of it."""
    name, taken_s = opened(target, data)
    if taken_s > LIMIT_S / 4:  # another process may have had the processor: a slow file is slow each time
        tally.remeasured += 1
        taken_s = min(opened(target, data)[1] for _ in range(5))
    tally.slowest_s = max(tally.slowest_s, taken_s)
    if name == "accepted":
        name = "well-formed, by key" if target.by_key else "ACCEPTED"
    tally.counts[target.name, mutator, name.split(":")[0]] += 1
    if name.startswith(("CRASH", "ACCEPTED")) or taken_s > LIMIT_S:
        where = f"{target.name}, {mutator}: {name}, {taken_s * 1e3:.1f} ms"
        tally.wrong.append(f"{where}, {len(data)} bytes {data[:6000].hex()}")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name + ":")))


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """No more than LIMIT_BYTES over what the process has now: an allocation beyond that is a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status_bytes("VmSize") + LIMIT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


_targets: tuple[Target, ...] = ()


def _prepare() -> None:
    global _targets
    warnings.simplefilter("error")
    _targets = targets()
    for target in _targets:
        for sample in target.samples:
            name, _ = opened(target, target.sealed(sample.data) if target.sealed else sample.data)
            if name != "accepted":
                raise RuntimeError(f"a genuine {target.name} does not open: {name}")


def run_batch(job: tuple[int, int, int]) -> Tally:
    """The tally of batch `number` of `seed` with `count` files."""
    seed, number, count = job
    if not _targets:
        _prepare()
    rng, tally = random.Random(f"{seed}/{number}"), Tally()
    names, weights = list(MUTATORS), [weight for _, weight in MUTATORS.values()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with limited_memory():
        for _ in range(count):
            target = rng.choice(_targets)
            mutator = rng.choices(names, weights)[0]
            judge(target, mutator, mutated(rng, target, mutator), tally)
    tally.growth_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return tally


def run(count: int, *, seed: int, workers: int) -> Tally:
    """The tally of `count` files."""
    jobs = [(seed, number, min(BATCH, count - BATCH * number)) for number in range(-(-count // BATCH))]
    total, done = Tally(), 0
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_prepare) as pool:
        for tally in pool.imap_unordered(run_batch, jobs):
            total.add(tally)
            done += sum(tally.counts.values())
            if sys.stderr.isatty():
                print(f"\r{done:,} of {count:,}", end="", file=sys.stderr, flush=True)
    return total


def largest_derivation_s() -> float:
    """Seconds that the most expensive Argon2id setting a header may ask for takes on this machine."""
    worst = 0.0
    for memory_kib, passes in ((keys.MEMORY_KIB[1], keys.MAX_COST_KIB // keys.MEMORY_KIB[1]), (65536, keys.PASSES[1])):
        keys.Kdf(KeyKind.PASSPHRASE, bytes(16), memory_kib=memory_kib, passes=passes, lanes=1)
        start = time.perf_counter()
        crypto.argon2id(b"guess", bytes(16), memory_kib=memory_kib, passes=passes, lanes=1, size=64).close()
        worst = max(worst, time.perf_counter() - start)
    return worst


def table(tally: Tally) -> str:
    """The counts by target and mutator and, as columns, by what came of them."""
    columns = sorted({name for _, _, name in tally.counts})
    lines = ["| attacked | mutator | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for target, mutator in sorted({key[:2] for key in tally.counts}):
        cells = [f"{tally.counts[target, mutator, name]:,}" for name in columns]
        lines.append(f"| {target} | {mutator} | " + " | ".join(cells) + " |")
    sums = [f"{sum(n for key, n in tally.counts.items() if key[2] == name):,}" for name in columns]
    return "\n".join([*lines, "| all | | " + " | ".join(sums) + " |"])


def main() -> int:
    """Runs, prints; 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    start = time.perf_counter()
    tally = run(arguments.count, seed=arguments.seed, workers=arguments.workers)
    taken_s = time.perf_counter() - start
    print(table(tally))
    print(
        f"\n{sum(tally.counts.values()):,} files in {taken_s:.0f} s, seed {arguments.seed}, wrong: {len(tally.wrong)}"
    )
    print(f"slowest: {tally.slowest_s * 1e3:.2f} ms of {LIMIT_S * 1e3:.0f} ms; measured again: {tally.remeasured}")
    print(f"memory: address space held to {LIMIT_BYTES >> 20} MiB over the start; resident memory grew by at most"
          f" {tally.growth_bytes / 2**20:.1f} MiB in a batch of {BATCH}")  # fmt: skip
    print(f"largest key derivation a header may ask for: {largest_derivation_s():.2f} s")
    for line in tally.wrong[:5]:
        print(line[:13000])
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
