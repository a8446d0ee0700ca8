"""Sealed state on disk: one encrypted record per user. docs/vault-format.md has the bytes and what they protect."""

from facesdk.vault.keyring import KeyringOpenKeys
from facesdk.vault.keys.key_file import KeyFileKey
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind, KeyProvider
from facesdk.vault.learned import SampleSet
from facesdk.vault.open_keys import ProcessOpenKeys
from facesdk.vault.record import Record
from facesdk.vault.store import VaultFolder
from facesdk.vault.template import Template
from facesdk.vault.vault import Vault

__all__ = [
    "Vault", "KeyFileKey", "KeyKind", "KeyProvider", "KeyringOpenKeys", "PassphraseKey", "ProcessOpenKeys", "Record",
    "SampleSet", "Template", "Vault", "VaultFolder",
]  # fmt: skip
