"""SHA-256, by the library that also decrypts: hashlib would load a second OpenSSL (3.4 MB) beside it."""

from __future__ import annotations


def sha256(data: bytes | memoryview) -> bytes:
    """The 32 bytes of the digest."""
    from cryptography.hazmat.primitives.hashes import SHA256, Hash

    digest = Hash(SHA256())
    digest.update(data)
    return digest.finalize()
