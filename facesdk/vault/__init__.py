"""Sealed state on disk: one encrypted record per user. docs/vault-format.md has the bytes and what they protect."""

from facesdk.vault.keys import KeyFileKey, KeySource, PassphraseKey
from facesdk.vault.record import Record
from facesdk.vault.store import Vault

__all__ = ["KeyFileKey", "KeySource", "PassphraseKey", "Record", "Vault"]
