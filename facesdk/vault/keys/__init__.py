"""Who can open a template: the providers of keys, one module each, and what they share."""

from facesdk.vault.keys.provider import KeyKind, KeyProvider, random_secret

__all__ = ["KeyKind", "KeyProvider", "random_secret"]
