"""Writes the golden files of vault format version 1, once: tests/golden/vault_v1/. It never overwrites one.

Usage: python tools/make_vault_golden.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from facesdk.vault import KeyFileKey, PassphraseKey, Record, Vault

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "vault_v1"
PASSPHRASE = "Gölden föx 7"


def record(user: str, *, samples: int, dimension: int) -> Record:
    """A record with features from a seed that depends on its shape alone."""
    features = np.random.default_rng([samples, dimension]).standard_normal((samples, dimension)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    mean = features.mean(axis=0)
    return Record(
        user=user,
        embedder="joint",
        model_ids=("0123456789abcdef" * 4, "fedcba9876543210" * 4),
        references=(mean / np.linalg.norm(mean)).astype(np.float32),
        samples=features,
        created_unix_s=1_700_000_000,
        generation=samples,
        consent="pressed “I agree”, version 1 (é)",
    )


def as_json(expected: Record) -> dict[str, object]:
    """The fields of a record; every float32 is exact as a JSON number."""
    return {
        "user": expected.user,
        "embedder": expected.embedder,
        "model_ids": list(expected.model_ids),
        "references": expected.references.tolist(),
        "samples": expected.samples.tolist(),
        "created_unix_s": expected.created_unix_s,
        "generation": expected.generation,
        "consent": expected.consent,
    }


def main(folder: Path) -> int:
    """0 when the files were written, 1 when the folder exists: a released format cannot be made again."""
    if folder.exists():
        print(f"error: {folder} exists; golden files are never made again", file=sys.stderr)
        print("hint: a new format version gets a folder of its own", file=sys.stderr)
        return 1
    Vault(folder, PassphraseKey(PASSPHRASE)).put(by_passphrase := record("Anna.P", samples=3, dimension=24))
    key = KeyFileKey.create(folder / "golden.key")
    Vault(folder, key).put(by_key_file := record("bert_k-2", samples=5, dimension=16))
    (folder / ".lock").unlink()
    content = {"passphrase": PASSPHRASE, "by_passphrase": as_json(by_passphrase), "by_key_file": as_json(by_key_file)}
    (folder / "expected.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
