"""SHA-256, by the library that also decrypts: hashlib would load a second OpenSSL (3.4 MB) beside it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from facesdk.environment import OPENSSL, without

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import Hash


def sha256(data: bytes | memoryview) -> bytes:
    """The 32 bytes of the digest."""
    digest = _empty().copy()
    digest.update(data)
    return digest.finalize()


@cache
def _empty() -> Hash:
    load_openssl()
    from cryptography.hazmat.primitives import hashes

    return hashes.Hash(hashes.SHA256())


@cache
def load_openssl() -> None:
    """Loads cryptography's OpenSSL as it was built: OPENSSL_CONF could name a library that is loaded and decrypts.

    Where the program itself has loaded it before, with settings of its own, those hold.
    """
    with without(OPENSSL):
        import cryptography.hazmat.bindings._rust  # noqa: F401
