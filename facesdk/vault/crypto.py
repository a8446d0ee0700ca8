"""AES-256-GCM, Argon2id and HKDF-SHA256: the one place that imports cryptography, and only when called."""

from __future__ import annotations

from facesdk.errors import KeyUnavailableError


class TagMismatchError(Exception):
    """Key, nonce, associated data or ciphertext is not what was sealed; format.py says what that means."""


def seal(key: bytes, plaintext: bytes, *, nonce: bytes, aad: bytes) -> bytes:
    """Ciphertext and 16-byte tag of AES-256-GCM. The same nonce must never be used twice under one key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(nonce, plaintext, aad)


def unseal(key: bytes, sealed: bytes, *, nonce: bytes, aad: bytes) -> bytes:
    """Plaintext of `seal`; TagMismatchError when any of the four inputs differs."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise TagMismatchError("the AES-256-GCM tag does not match") from None


def argon2id(secret: bytes, salt: bytes, *, memory_kib: int, passes: int, lanes: int, size: int) -> bytes:
    """`size` bytes of Argon2id version 1.3 (RFC 9106). KeyUnavailableError when the machine cannot run it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        kdf = Argon2id(salt=salt, length=size, iterations=passes, lanes=lanes, memory_cost=memory_kib)
        return kdf.derive(secret)
    except UnsupportedAlgorithm:
        raise KeyUnavailableError(
            "Argon2id needs a cryptography built with OpenSSL 3.2 or newer: install its wheel from PyPI"
        ) from None
    except MemoryError:
        raise KeyUnavailableError(
            f"deriving the key from the passphrase needs {memory_kib // 1024} MiB of memory: free some and try again"
        ) from None


def hkdf_sha256(secret: bytes, salt: bytes, *, info: bytes, size: int) -> bytes:
    """`size` bytes of HKDF-SHA256 (RFC 5869). `secret` must already be uniformly random: it adds no work factor."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)


def equal(a: bytes, b: bytes) -> bool:
    """Whether two byte strings are the same, looking at every byte wherever they differ.

    Written out: hmac.compare_digest and cryptography's bytes_eq both bring the second OpenSSL of digest.py along.
    """
    difference = len(a) ^ len(b)
    for x, y in zip(a, b, strict=False):
        difference |= x ^ y
    return difference == 0
