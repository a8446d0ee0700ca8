"""AES-256-GCM, Argon2id, HKDF-SHA256 and ChaCha20: the one place that imports cryptography, and only when called.

Keys and what is decrypted come out in Secret buffers; any buffer goes in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from facesdk import _core
from facesdk._core import Secret
from facesdk.digest import load_openssl
from facesdk.errors import KeyUnavailableError

if TYPE_CHECKING:
    from typing_extensions import Buffer

TAG_SIZE = 16


class TagMismatchError(Exception):
    """Key, nonce, associated data or ciphertext is not what was sealed; format.py says what that means."""


@contextlib.contextmanager
def wiping_free() -> Iterator[None]:
    """Overwrite the blocks that other libraries free within, on this thread.

    On glibc alone: with another C library the copies stay until the memory is used again.
    """
    switch = _core.WipingFree()
    try:
        yield
    finally:
        del switch
        _core.scrub_freed()


@contextlib.contextmanager
def _filled(size: int) -> Iterator[Secret]:
    """A new secret to be filled within; closed where that fails."""
    secret = Secret(size)
    try:
        yield secret
    except BaseException:
        secret.close()
        raise


def seal(key: Buffer, plaintext: Buffer, *, nonce: bytes, aad: bytes) -> bytes:
    """Ciphertext and 16-byte tag of AES-256-GCM. The same nonce must never be used twice under one key."""
    load_openssl()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(memoryview(key)).encrypt(nonce, memoryview(plaintext), aad)


def unseal(key: Buffer, sealed: bytes, *, nonce: bytes, aad: bytes) -> Secret:
    """Plaintext of `seal`; TagMismatchError when any of the four inputs differs, or nothing was sealed."""
    load_openssl()
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed) <= TAG_SIZE:
        raise TagMismatchError("there is nothing before the tag")
    try:
        with _filled(len(sealed) - TAG_SIZE) as plaintext:
            AESGCM(memoryview(key)).decrypt_into(nonce, sealed, aad, memoryview(plaintext))
    except InvalidTag:
        raise TagMismatchError("the AES-256-GCM tag does not match") from None
    return plaintext


def argon2id(secret: Buffer, salt: bytes, *, memory_kib: int, passes: int, lanes: int, size: int) -> Secret:
    """`size` bytes of Argon2id version 1.3 (RFC 9106). KeyUnavailableError when the machine cannot run it."""
    load_openssl()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        kdf = Argon2id(salt=salt, length=size, iterations=passes, lanes=lanes, memory_cost=memory_kib)
        # OpenSSL frees its copy of the parameters, the secret among them, as it is.
        with _filled(size) as derived, wiping_free():
            # Any buffer is taken; only the stub says bytes.
            kdf.derive_into(cast("bytes", memoryview(secret)), memoryview(derived))
    except UnsupportedAlgorithm:
        raise KeyUnavailableError(
            "Argon2id needs a cryptography built with OpenSSL 3.2 or newer: install its wheel from PyPI"
        ) from None
    except MemoryError:
        raise KeyUnavailableError(
            f"deriving the key from the passphrase needs {memory_kib // 1024} MiB of memory: free some and try again"
        ) from None
    return derived


def hkdf_sha256(secret: Buffer, salt: bytes, *, info: bytes, size: int) -> Secret:
    """`size` bytes of HKDF-SHA256 (RFC 5869). `secret` must already be uniformly random: it adds no work factor."""
    load_openssl()
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    with _filled(size) as derived:
        HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive_into(memoryview(secret), memoryview(derived))
    return derived


def chacha20_stream(key: Buffer, size: int) -> Secret:
    """`size` bytes of the ChaCha20 key stream (RFC 8439), nonce and counter 0, of a key used for nothing else."""
    load_openssl()
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    with _filled(size) as stream:
        Cipher(algorithms.ChaCha20(memoryview(key), bytes(16)), mode=None).encryptor().update_into(
            bytes(size), memoryview(stream)
        )
    return stream
