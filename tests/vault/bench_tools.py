"""What the tests of the vault share: a key, a bench and a recovery passphrase."""

from __future__ import annotations

from pathlib import Path

import pytest
from vault_tools import CHEAP, Bench

from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey


@pytest.fixture
def key(tmp_path: Path) -> KeyFileKey:
    return KeyFileKey.create(tmp_path / "vault.key")


@pytest.fixture
def bench(tmp_path: Path, key: KeyFileKey) -> Bench:
    return Bench(tmp_path / "vault", key)


@pytest.fixture
def recovery() -> PassphraseKey:
    return PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)
