"""How much locked memory the README says is needed: enough for the largest vault, and not far more than enough."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from vault_tools import CHEAP

from facesdk import Engine, matching
from facesdk.vault import PassphraseKey, ProcessOpenKeys, Record, Vault, VaultFolder
from facesdk.vault.rules import PRESETS

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14  # Source: Linux's prctl.h and capability.h; root is limited without it

pytestmark = pytest.mark.skipif(resource.getpagesize() != 4096, reason="the figures are those of pages of 4 KiB")


def needed_kib(what: str) -> int:
    return int(re.findall(rf"`{what}` (?:takes )?(\d+)(?: KiB)?", README)[0])


@pytest.fixture
def vault(tmp_path: Path, joint: Engine) -> list[str]:
    """The options of a vault with ten samples of the embedder that has most features."""
    secret = tmp_path / "secret"
    secret.write_text("some words\n")
    secret.chmod(0o600)
    features = joint.features(portrait("obama_2009"))
    assert features is not None
    noise = np.random.default_rng(1).standard_normal((10, len(features._vector))) * 0.01
    samples = [np.float32(v / np.linalg.norm(v)) for v in features._vector + noise]
    record = Record(
        user="owner", embedder="joint", model_ids=joint.model_ids, reference=matching.make_reference(samples),
        samples=np.stack(samples), created_unix_s=int(time.time()), consent="yes",
    )  # fmt: skip
    key = PassphraseKey("some words", **CHEAP)
    Vault(VaultFolder(tmp_path / "vault"), ProcessOpenKeys()).enroll(record, key, rules=PRESETS["phone"], replace=False)
    return ["--vault", str(tmp_path / "vault"), "--passphrase-file", str(secret)]


def run(kib: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, allowed to lock so much memory."""

    def limit() -> None:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (kib * 1024, kib * 1024))

    command = [sys.executable, "-m", "facesdk", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=limit)


def words_of(what: str, vault: list[str], folder: Path) -> list[str]:
    recovery = ["--recovery-passphrase-file", vault[3]]
    return {
        "verify": ["verify", *vault, str(PORTRAITS / "obama_2009.jpg")],
        "export": ["export", *vault, *recovery, str(folder / f"exported{os.urandom(4).hex()}")],
        "enroll": ["enroll", "--allow-few-samples", *vault, "--yes", "--replace", str(PORTRAITS / "obama_2012.jpg")],
    }[what]


@pytest.mark.parametrize("what", ["export", "verify"])
def test_the_readmes_figure_is_enough_and_not_far_too_much(what: str, vault: list[str], tmp_path: Path) -> None:
    kib = needed_kib(what)
    done = run(kib, *words_of(what, vault, tmp_path))
    assert done.returncode == 0, done.stderr
    done = run(kib - 32, *words_of(what, vault, tmp_path))
    assert done.returncode != 0
    assert "LimitMEMLOCK" in done.stderr


def test_the_largest_figure_is_enough_to_enroll(vault: list[str], tmp_path: Path) -> None:
    done = run(needed_kib("export"), *words_of("enroll", vault, tmp_path))
    assert done.returncode == 0, done.stderr
