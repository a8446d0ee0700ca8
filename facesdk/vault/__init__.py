"""Sealed state on disk: one encrypted template per user, its key, its attempts and its log.

A newcomer needs five words: Vault, Template, OpenKey, KeyProvider, AuditLog. docs/vault-format.md has the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.vault.audit.log import AuditLog
    from facesdk.vault.keyring import KeyringOpenKeys
    from facesdk.vault.keys.key_file import KeyFileKey
    from facesdk.vault.keys.passphrase import PassphraseKey, read_passphrase
    from facesdk.vault.keys.provider import KeyKind, KeyProvider
    from facesdk.vault.keys.secret_service import SecretServiceKey
    from facesdk.vault.keys.tpm import TpmKey
    from facesdk.vault.learned import SampleSet
    from facesdk.vault.open_keys import OpenKey, OpenKeys, ProcessOpenKeys
    from facesdk.vault.record import Record
    from facesdk.vault.rules import AttemptRules
    from facesdk.vault.store import VaultFolder
    from facesdk.vault.template import Template
    from facesdk.vault.vault import Vault

_WHERE = {
    "AttemptRules": "rules", "AuditLog": "audit.log", "KeyFileKey": "keys.key_file", "KeyKind": "keys.provider",
    "KeyProvider": "keys.provider", "KeyringOpenKeys": "keyring", "OpenKey": "open_keys", "OpenKeys": "open_keys",
    "PassphraseKey": "keys.passphrase", "ProcessOpenKeys": "open_keys", "Record": "record", "SampleSet": "learned",
    "SecretServiceKey": "keys.secret_service", "Template": "template", "TpmKey": "keys.tpm", "Vault": "vault",
    "VaultFolder": "store", "read_passphrase": "keys.passphrase",
}  # fmt: skip

__all__ = [
    "AttemptRules", "AuditLog", "KeyFileKey", "KeyKind", "KeyProvider", "KeyringOpenKeys", "OpenKey", "OpenKeys",
    "PassphraseKey", "ProcessOpenKeys", "Record", "SampleSet", "SecretServiceKey", "Template", "TpmKey", "Vault",
    "VaultFolder", "read_passphrase",
]  # fmt: skip

__getattr__, __dir__ = attributes(__name__, _WHERE)
