"""Sealed state on disk: one encrypted record per user. docs/vault-format.md has the bytes and what they protect."""

from facesdk.vault.keeper import Keeper
from facesdk.vault.key_file import KeyFileKey
from facesdk.vault.keys import KeyKind, KeyProvider
from facesdk.vault.learned import SampleSet
from facesdk.vault.passphrase import PassphraseKey
from facesdk.vault.record import Record, Template
from facesdk.vault.session import KeyringSessions, ProcessSessions
from facesdk.vault.store import Vault

__all__ = [
    "Keeper", "KeyFileKey", "KeyKind", "KeyProvider", "KeyringSessions", "PassphraseKey", "ProcessSessions", "Record",
    "SampleSet", "Template", "Vault",
]  # fmt: skip
