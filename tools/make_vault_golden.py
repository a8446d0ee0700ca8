"""Writes the golden files of vault format version 2, once: tests/vault/golden/vault_v2/. It never overwrites one.

Usage: python tools/make_vault_golden.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from facesdk import matching
from facesdk.vault import KeyFileKey, KeyKind, KeyProvider, PassphraseKey, ProcessOpenKeys, Record, Vault, VaultFolder
from facesdk.vault.rules import PRESETS

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vault" / "golden" / "vault_v2"
PASSPHRASE = "Gölden föx 7"
RECOVERY = "Rëcovery öx 9"
BOOT_NS = 1_000_000_000_000
RULES = PRESETS["phone"]


def record(user: str, *, samples: int, dimension: int) -> Record:
    """A record with features from a seed that depends on its shape alone."""
    features = np.random.default_rng([samples, dimension]).standard_normal((samples, dimension)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Record(
        user=user,
        embedder="joint",
        model_ids=("0123456789abcdef" * 4, "fedcba9876543210" * 4),
        reference=matching.make_reference(list(features)),
        samples=features,
        created_unix_s=1_700_000_000,
        consent="pressed “I agree”, version 1 (é)",
    )


def as_json(sealed: Record, *, generation: int, events: list[str]) -> dict[str, object]:
    """The fields of a record, not turned; every float32 is exact as a JSON number. events: its audit log's."""
    return {
        "user": sealed.user,
        "embedder": sealed.embedder,
        "model_ids": list(sealed.model_ids),
        "reference": sealed.reference.tolist(),
        "samples": sealed.samples.tolist(),
        "created_unix_s": sealed.created_unix_s,
        "consent": sealed.consent,
        "generation": generation,
        "events": events,
    }


def use(vault: Vault, made: Record, key: KeyProvider, *, rekeyed: int) -> dict[str, object]:
    """Enrolls, changes the key's wrap this often and makes a match and a non-match; what is then in the files."""
    vault.enroll(made, key, replace=False, rules=RULES, label="phone 2e-05")
    for _ in range(rekeyed):
        vault.rekey(made.user, key, key, rules=RULES)
    for compare in (lambda _: False, lambda _: True):
        vault.attempt(made.user, compare, generation=1 + rekeyed, camera="files", label="phone 2e-05")
    events = [entry.event.value for entry in vault.audit(made.user, key)[1]]
    return as_json(made, generation=1 + rekeyed, events=events)


def main(folder: Path) -> int:
    """0 when the files were written, 1 when the folder exists: a released format cannot be made again."""
    if folder.exists():
        print(f"error: {folder} exists; golden files are never made again", file=sys.stderr)
        print("hint: a new format version gets a folder of its own", file=sys.stderr)
        return 1
    vault = Vault(VaultFolder(folder), ProcessOpenKeys(), now_ns=lambda: BOOT_NS)
    by_passphrase = PassphraseKey(PASSPHRASE, memory_kib=64 * 1024, passes=3)
    content: dict[str, object] = {"passphrase": PASSPHRASE, "recovery": RECOVERY}
    content["by_passphrase"] = use(vault, record("Anna.P", samples=3, dimension=24), by_passphrase, rekeyed=1)
    by_key_file = KeyFileKey.create(folder / "golden.key")
    content["by_key_file"] = use(vault, record("bert_k-2", samples=5, dimension=16), by_key_file, rekeyed=3)
    exported = vault.export("bert_k-2", by_key_file, PassphraseKey(RECOVERY, kind=KeyKind.RECOVERY, passes=3))
    (folder / "bert_k-2.exported").write_bytes(exported)
    content["by_key_file"]["events"].append("exported")  # type: ignore[index]
    (folder / ".lock").unlink()
    (folder / "expected.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
