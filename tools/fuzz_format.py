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
import math
import multiprocessing
import random
import resource
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facesdk._core import Secret
from facesdk.digest import sha256
from facesdk.errors import KeyUnavailableError, StoreIntegrityError, StoreVersionError
from facesdk.policy import PRESETS
from facesdk.types import Decision
from facesdk.vault import audit_entry, crypto, format, format_v1, keys, session
from facesdk.vault.attempts import Ready
from facesdk.vault.keys import KeyKind
from facesdk.vault.passphrase import PassphraseKey
from facesdk.vault.record import Record, Template, pack

LIMIT_S, LIMIT_BYTES = 0.02, 16 << 20
BATCH = 5000
USER = "alice"
KEK = bytes(range(32))
CHECKSUM_SIZE = 32
COSTS = ((65536, 3, 1), (19456, 2, 4))
NAMED = (StoreIntegrityError, StoreVersionError, KeyUnavailableError)

# Field names and sizes, as docs/vault-format.md and docs/audit-log.md have them; None: the rest.
Layout = tuple[tuple[str, "int | None"], ...]
HEADER: Layout = (("magic", 8), ("version", 2), ("kind", 1), ("user_length", 1), ("user", 64))
WRAP: Layout = (("wrap_nonce", 12), ("wrapped", 48), ("payload_nonce", 12), ("payload_size", 4), ("checksum", 32))
COST: Layout = (("memory", 4), ("passes", 4), ("lanes", 4), ("salt", 16))
V1: Layout = (*HEADER, *COST, ("check", 32), *WRAP, ("payload", None))
SECTION: Layout = (*COST, ("check", 32), ("nonce", 12), ("wrapped", 48))
HEAD: Layout = (("magic", 8), ("version", 2), ("nonce", 12), ("sealed", 80), ("tag", 16), ("open", None))
HEAD_CONTENT: Layout = (("first", 8), ("count", 8), ("digest", 32), ("kept", 32))
WORDS: Layout = tuple((f"word{i}", 8) for i in range(8))
RULES: Layout = tuple((f"rule{i}", 8) for i in range(5))
SESSION: Layout = (*WORDS, ("digest", 32), *RULES, ("kek", 32))
SIZES: Layout = (("dimension", 4), ("count", 4), ("created", 8), ("generation", 8), ("embedder_size", 1), ("models", 1),
                 ("consent_size", 2))  # fmt: skip


def _v2(section: int) -> Layout:
    return (*HEADER, ("section_size", 2), ("section", section), ("key_id", 8), *WRAP, ("payload", None))


def _payload(dimension: int, count: int, embedder: int) -> Layout:
    return (*SIZES, ("salt", 32), ("policy_size", 4), ("reference", 4 * dimension), ("samples", 4 * dimension * count),
            ("embedder", embedder), ("models", 32), ("consent", None))  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A genuine file and where its fields lie."""

    data: bytes
    fields: tuple[tuple[int, int], ...]

    @staticmethod
    def of(data: bytes, layout: Layout) -> Sample:
        """ValueError when the layout is not that of the data."""
        fields, at = [], 0
        for _, size in layout:
            fields.append((at, len(data) if size is None else at + size))
            at = fields[-1][1]
        if at != len(data):
            raise ValueError(f"the layout has {at} bytes, the file {len(data)}")
        return Sample(data, tuple(fields))


@dataclass(frozen=True)
class Target:
    """What is attacked. open raises one of NAMED for what it refuses. checksum_at: of these bytes, where there is one.

    sealed: makes mutated content into a file, under the right keys; then well-formed files may open.
    """

    name: str
    samples: tuple[Sample, ...]
    open: Callable[[bytes], None]
    checksum_at: Callable[[bytes], int] | None = None
    sealed: Callable[[bytes], bytes] | None = None
    by_key: bool = False


# --- the targets


def _record(dimension: int, count: int, embedder: str = "joint") -> Record:
    samples = np.random.default_rng(dimension).standard_normal((count, dimension)).astype(np.float32)
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    return Record(USER, embedder, ("ab" * 32,), samples[0].copy(), samples, 1_700_000_000, "pressed “I agree”")


def _open_v2(data: bytes) -> None:
    if format.version_of(data) == 1:
        return _open_v1(data)
    with Template(format.unseal(data, KEK, user=USER), KEK, user=USER) as template:
        _check_template(template)


def _check_template(template: Template) -> None:
    """ValueError when a template came out that no record may be."""
    dimension, reference = template.dimension, template.reference
    good = 1 <= dimension <= 4096 and 1 <= template.count <= 10 and reference.shape == (dimension,)
    if not good or not 0 < math.sqrt(np.dot(reference, reference)) < 1.01 or template.generation >= 2**63:
        raise ValueError("a template came out that is not a record")


class RawKey:
    """A passphrase of version 1 whose derived key is given."""

    kind = KeyKind.PASSPHRASE

    def derive(self, kdf: keys.Kdf) -> Secret:
        """The bytes that every salt and cost gives here; Kdf was checked when made."""
        return Secret.of(bytes(range(64)))


def _open_v1(data: bytes) -> None:
    format_v1.kind_of(data)
    format_v1.unseal(data, RawKey(), user=USER)


class RawPassphrase(PassphraseKey):
    """Derives at no cost."""

    def derive(self, kdf: keys.Kdf) -> Secret:
        """As RawKey."""
        return Secret.of(bytes(range(64)))


def _open_session(data: bytes) -> None:
    if len(data) != session._LAYOUT.size:  # keyring_get gives no other size to the parser
        raise StoreIntegrityError("another size")
    with Secret.of(data) as memory:
        session._unpacked(memory, 0).kek.close()


def _sealed_v2(payload: bytes, entropy: Callable[[int], bytes], section: bytes = bytes(120)) -> bytes:
    return format.seal(payload, KEK, user=USER, kind=KeyKind.PASSPHRASE, section=section, entropy=entropy)


def _sealed_v1(payload: bytes, cost: tuple[int, int, int] = COSTS[0]) -> bytes:
    with RawKey().derive(keys.Kdf(KeyKind.KEY_FILE, bytes(16))) as derived:
        raw = bytes(memoryview(derived))
    name = USER.encode()
    binding = struct.pack("<8sHBB64sIII16s32s", format.MAGIC, 1, 1, len(name), name, *cost, bytes(16), raw[32:])
    wrapped = crypto.seal(raw[:32], KEK, nonce=bytes(12), aad=binding)
    checked = binding + bytes(12) + wrapped + bytes(12) + struct.pack("<I", len(payload) + crypto.TAG_SIZE)
    header = checked + sha256(checked)
    return header + crypto.seal(KEK, payload, nonce=bytes(12), aad=header)


def _resealed_header(mutated: bytes, payload: bytes) -> bytes:
    """A version 2 file with this header up to the section's end, and all behind it made to fit."""
    size = int.from_bytes(mutated[76:78], "little")
    prefix = mutated[: 78 + size] + format.key_id(KEK)
    data_key = bytes(32)
    wrapped = crypto.seal(KEK, data_key, nonce=bytes(12), aad=prefix)
    checked = prefix + bytes(12) + wrapped + bytes(12) + struct.pack("<I", len(payload) + crypto.TAG_SIZE)
    header = checked + sha256(checked)
    return header + crypto.seal(data_key, payload, nonce=bytes(12), aad=header)


def _checksum_v2(data: bytes) -> int:
    return 78 + int.from_bytes(data[76:78], "little") + 84


def targets() -> tuple[Target, ...]:
    """Every target with genuine samples; each sample opens."""
    entropy = random.Random("keys").randbytes
    shapes = ((4, 2, "joint"), (4, 2, "joint"), (1, 1, "e"), (128, 3, "mobilefacenet"))
    payloads = [bytes(memoryview(pack(_record(*s), KEK, generation=g, entropy=entropy))) for g, s in enumerate(shapes)]
    parts = tuple(Sample.of(p, _payload(*s[:2], len(s[2]))) for p, s in zip(payloads, shapes, strict=True))
    sections = (bytes(range(120)), bytes(range(1, 121)), b"\1", bytes(4096))
    files = tuple(
        Sample.of(_sealed_v2(p, entropy, s), _v2(len(s))) for p, s in zip(payloads, sections, strict=True)
    )  # fmt: skip
    headers = tuple(Sample.of(f.data[: 78 + len(s)], (*HEADER, ("section_size", 2), ("section", None)))
                    for f, s in zip(files, sections, strict=True))  # fmt: skip
    olds = [
        struct.pack("<IIQQBBH", 4, 2, 1, g, 5, 1, 6) + b"joint" + bytes(32) + b"agreed" + payloads[g][64:112]
        for g in (0, 1)
    ]
    old_layout: Layout = (*SIZES, ("embedder", 5), ("models", 32), ("consent", 6), ("reference", 16), ("samples", None))
    old_parts = tuple(Sample.of(old, old_layout) for old in olds)
    v1 = tuple(Sample.of(_sealed_v1(old, cost), V1) for old, cost in zip(olds, COSTS, strict=True))
    contents = [struct.pack("<QQ32s32s", first, 9, bytes(32), kept) for first, kept in ((0, bytes(32)), (3, b"k" * 32))]
    waiting = audit_entry.Entry(
        n=0, time_unix_s=1, boot_ns=2, event=audit_entry.Event.VERIFIED, outcome=Decision.MATCH, camera="c", policy="p",
        prev="0" * 64, count=3, until_boot_ns=9,
    )  # fmt: skip
    sealed_heads = [audit_entry.Head(0, 9, bytes(32)), audit_entry.Head(3, 9, bytes(32), b"k" * 32, (waiting,) * 2)]
    heads = tuple(
        Sample.of(audit_entry.seal_head(KEK, head, user=USER, entropy=entropy), HEAD) for head in sealed_heads
    )

    def head_of(content: bytes) -> bytes:
        aad = heads[0].data[:10] + USER.encode()
        return heads[0].data[:10] + bytes(12) + crypto.seal(KEK, content, nonce=bytes(12), aad=aad)

    def open_head(data: bytes) -> None:
        audit_entry.open_head(KEK, data, user=USER)

    return (
        Target("file", files, _open_v2, _checksum_v2),
        Target("file v1", v1, _open_v1, lambda _: 212),
        Target("section", _section_samples(entropy), _open_section),
        Target("audit head", heads, open_head),
        Target("key: payload", parts, _open_v2, sealed=lambda p: _sealed_v2(p, entropy), by_key=True),
        Target("key: header", headers, _open_v2, sealed=lambda h: _resealed_header(h, payloads[0]), by_key=True),
        Target("key: payload v1", old_parts, _open_v1, sealed=_sealed_v1, by_key=True),
        Target("key: audit head", tuple(Sample.of(c, HEAD_CONTENT) for c in contents), open_head, sealed=head_of,
               by_key=True),
        Target("key: session", _session_samples(), _open_session, by_key=True),
    )  # fmt: skip


def _section_samples(entropy: Callable[[int], bytes]) -> tuple[Sample, ...]:
    sections = []
    for setting in COSTS:
        cost = struct.pack("<III16s", *setting, entropy(16))
        with Secret.of(bytes(range(64))) as derived:
            sections.append(cost + keys.seal_envelope(derived, KEK, aad=b"binding" + cost, nonce=entropy(12)))
    return tuple(Sample.of(s, SECTION) for s in sections)


def _open_section(data: bytes) -> None:
    RawPassphrase("raw", passes=3).unwrap(data, binding=b"binding").close()


def _session_samples() -> tuple[Sample, ...]:
    made = []
    for number, rules in enumerate(PRESETS.values(), 1):
        state = Ready(opened_ns=number, active_ns=2 * number, failures=number, not_before_ns=0)
        held = session.Held(Secret.of(KEK), state, number, audit_entry.Head(0, number, bytes(32)), rules)
        made.append(Sample.of(bytes(memoryview(session._packed(held))), SESSION))
    return tuple(made)


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
