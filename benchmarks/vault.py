"""What the vault costs: opening a template with the key in memory and comparing, an attempt, unlocking by provider.

python benchmarks/vault.py [--rounds 2000] [--samples 5] [--folder FOLDER] [--write docs/measurements.md]

FOLDER decides the disk that is measured (default: the system's temporary folder); an attempt waits for it, as its entry
in the audit log must be durable. Providers that this machine cannot run are left out, and named.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from readme import show

from facesdk.errors import FaceSdkError
from facesdk.matching import fused_score, make_reference
from facesdk.vault import (
    KeyFileKey,
    KeyProvider,
    KeyringOpenKeys,
    PassphraseKey,
    ProcessOpenKeys,
    Record,
    Vault,
    VaultFolder,
)
from facesdk.vault.rules import PRESETS

RULES = PRESETS["phone"]
DIMENSION = 320  # of the default embedder
UNLOCKS = 30


def vectors(count: int) -> np.ndarray:
    """Samples of one person, float32 (count, DIMENSION), alike as those of a face are."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal(DIMENSION)
    found = np.stack([base + 0.7 * rng.standard_normal(DIMENSION) for _ in range(count)])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def record(count: int) -> Record:
    """An enrollment of this many samples."""
    samples = vectors(count)
    return Record(
        "alice", "joint", ("ab" * 32, "cd" * 32, "ef" * 32), make_reference(list(samples)), samples, 0, "a benchmark"
    )


def seconds(call: Callable[[], object], rounds: int) -> np.ndarray:
    """What each of the calls took, the first ones left out."""
    times = np.empty(rounds + 3)
    for i in range(len(times)):
        start = time.perf_counter()
        call()
        times[i] = time.perf_counter() - start
    return times[3:]


def row(name: str, times: np.ndarray) -> str:
    """Median, 99th percentile and number, in milliseconds."""
    high = np.sort(times)[math.ceil(0.99 * len(times)) - 1]
    return f"| {name} | {1e3 * np.median(times):.3f} ms | {1e3 * high:.3f} ms | {len(times):,} |"


def session_rows(folder: Path, *, samples: int, rounds: int) -> list[str]:
    """With the key in memory: opening and comparing, without and with an attempt's entry in the log."""
    probe = vectors(samples + 1)[-1]
    lines = []
    for where, open_keys in (
        ("process", ProcessOpenKeys()),
        ("kernel keyring", KeyringOpenKeys(folder / "kernel keyring")),
    ):
        vault = Vault(VaultFolder(folder / where), open_keys)
        try:
            vault.enroll(record(samples), KeyFileKey.create(folder / f"{where}.key"), replace=False, rules=RULES)
        except FaceSdkError as error:
            lines.append(f"| key in the {where}: not here ({error}) | | | |")
            continue

        def opened_and_compared(vault: Vault = vault) -> None:
            with vault.opened("alice") as template:
                fused_score(list(template.samples), template.turned([probe]))

        def attempt(vault: Vault = vault) -> None:
            if not vault.attempt(
                "alice",
                lambda t: fused_score(list(t.samples), t.turned([probe])) > 0.3,
                generation=1,
                camera="bench",
                label="",
            ):
                raise RuntimeError("the probe is not like the samples")

        lines.append(row(f"open and compare, key in the {where}", seconds(opened_and_compared, rounds)))
        lines.append(row(f"attempt with its audit entry, key in the {where}", seconds(attempt, min(rounds, 1000))))
        vault.lock("alice")
    return lines


@contextmanager
def _software_tpm() -> Iterator[KeyProvider]:
    """A key in a software TPM: what its calls cost on top of a real one's own time."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "vault" / "keys"))
    import tpm_tools

    from facesdk.vault.keys.tpm import TpmKey

    missing = tpm_tools.missing()
    if missing:
        raise FileNotFoundError(missing)
    tpm = tpm_tools.SoftwareTpm()
    try:
        tpm.start()
        yield TpmKey("a benchmark's PIN", tcti=tpm.tcti)
    finally:
        tpm.close()


@contextmanager
def _plain(key: KeyProvider) -> Iterator[KeyProvider]:
    yield key


def unlock_rows(folder: Path, *, samples: int) -> list[str]:
    """Opening with the provider's secret: the log's entry and its sealed head included."""
    providers = {
        "passphrase, 64 MiB and as many passes as take 0.1 s": lambda: _plain(
            PassphraseKey("a benchmark's passphrase")
        ),
        "key file": lambda: _plain(KeyFileKey.create(folder / "unlock.key")),
        "TPM 2.0 (swtpm)": _software_tpm,
    }
    lines = []
    for number, (name, make) in enumerate(providers.items()):
        vault = Vault(VaultFolder(folder / f"unlock-{number}"), ProcessOpenKeys())
        try:
            with make() as key:
                vault.enroll(record(samples), key, replace=False, rules=RULES)
                unlock = lambda: vault.unlock("alice", key, rules=RULES)  # noqa: B023, E731
                lines.append(row(f"unlock by {name}", seconds(unlock, UNLOCKS)))
                with suppress(FaceSdkError):
                    vault.remove("alice", key)
        except (FaceSdkError, ImportError, OSError) as error:
            lines.append(f"| unlock by {name}: not here ({str(error)[:80]}) | | | |")
    return lines


def table(folder: Path, *, samples: int, rounds: int) -> str:
    """The table of docs/measurements.md."""
    opening = session_rows(folder, samples=samples, rounds=rounds)
    lines = [
        f"{samples} samples of {DIMENSION} features, {os.cpu_count()} processors ({platform.machine()},"
        f" {datetime.date.today().isoformat()}).",
        "",
        "| what | median | 99 % within | n |",
        "|---|---:|---:|---:|",
    ]
    return "\n".join(lines + opening + unlock_rows(folder, samples=samples))


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        text = table(Path(folder), samples=arguments.samples, rounds=arguments.rounds)
    show("vault", text, arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
