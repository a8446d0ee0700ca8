"""What a decision costs on top of the features: the vault's and the audit log's work, and how often it waits.

python benchmarks/decision.py [--embedder NAME ...] [--rounds 200] [--folder FOLDER] [--write docs/measurements.md]

Each verification opens the template, pays for the attempt, notes it, compares, and saves and logs what came of it. With
"the same features again" nothing else runs in between, so that the processor's caches are warm; with "after a picture"
the networks have run before, as in a verification, and only the rest is counted. "without fsync": the call is replaced
by one that counts and does nothing. FOLDER decides the disk that is waited for.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from readme import show

from facesdk import Engine, FaceVerifier, Policy
from facesdk.capture.samples import Probe, probe
from facesdk.images import load_rgb

PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
ENROLLED = ("obama_2005.jpg", "obama_2009.jpg")
OWNER, STRANGER = "obama_2012.jpg", "sunak.jpg"


class Bench:
    """An enrolled owner, and verifications of which everything but the pictures is timed."""

    def __init__(self, folder: Path, embedder: str) -> None:
        self.engine = Engine(embedder=embedder, threads=1)
        self.verifier = FaceVerifier(
            vault=folder / "vault", passphrase="a benchmark's passphrase", policy=Policy(), engine=self.engine
        )
        self.verifier.enroll("owner", [load_rgb(PORTRAITS / name) for name in ENROLLED], allow_few_samples=True)
        self.pictures = {name: load_rgb(PORTRAITS / name) for name in (OWNER, STRANGER)}
        self._known = {name: self.probe_of(name) for name in (OWNER, STRANGER)}

    def probe_of(self, name: str) -> Probe:
        """The features of a picture."""
        found = probe([self.pictures[name]], self.engine, self.verifier.policy.quality)
        if not isinstance(found, Probe):
            raise RuntimeError(f"{name} cannot be compared: {found.reason}")
        return found

    def seconds(self, name: str, *, again: bool) -> float:
        """One verification's time without its picture. again: the features are known, no network runs in between."""
        start = time.perf_counter()
        with self.verifier._unlocking.with_key("owner", self._begin, unlock=self.verifier.unlock) as (decider, _, _):
            begun = time.perf_counter()
            found = self._known[name] if again else self.probe_of(name)
            embedded = time.perf_counter()
            if decider.matches(found) is not (name == OWNER):
                raise RuntimeError(f"{name} was decided wrongly")
        return time.perf_counter() - start - (embedded - begun)

    def _begin(self) -> object:
        return self.verifier._deciding.at_once("owner", frames=1, camera="bench")


@contextmanager
def without_fsync(counted: list[int]) -> Iterator[None]:
    """os.fsync does nothing within but count."""
    real: Callable[[int], None] = os.fsync
    os.fsync = counted.append  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = real


def rows(folder: Path, embedder: str, rounds: int) -> list[str]:
    """The table's lines for one embedder."""
    bench = Bench(folder, embedder)
    lines = []
    for what, name, again in (
        ("match, the same features again", OWNER, True),
        ("match, after a picture", OWNER, False),
        ("mismatch, after a picture", STRANGER, False),
    ):

        def median_ms(name: str = name, again: bool = again) -> float:
            times = []
            for _ in range(rounds):
                times.append(bench.seconds(name, again=again))
                if name == STRANGER:  # sets the failures back
                    bench.seconds(OWNER, again=True)
            return 1e3 * statistics.median(times[len(times) // 10 :])

        waited = median_ms()
        fsyncs: list[int] = []
        with without_fsync(fsyncs):
            bench.seconds(name, again=again)
            count = len(fsyncs)
            alone = median_ms()
        lines.append(f"| {embedder}: {what} | {alone:.2f} ms | {waited:.2f} ms | {count} | {rounds - rounds // 10} |")
    bench.verifier.close()
    return lines


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", nargs="+", default=["sface", "joint"])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    lines = [
        f"2 samples, {os.cpu_count()} processors ({platform.machine()}, {datetime.date.today().isoformat()}).",
        "",
        "| what | without fsync | as it is | fsyncs | n |",
        "|---|---:|---:|---:|---:|",
    ]
    for embedder in arguments.embedder:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            lines += rows(Path(folder), embedder, arguments.rounds)
    text = "\n".join(lines)
    show("decision", text, arguments.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
