"""The bytes of a sealed file, version 1: docs/vault-format.md says them one by one. Pure: no files, no clock."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from facesdk.digest import sha256
from facesdk.errors import InputError, KeyUnavailableError, StoreIntegrityError, StoreVersionError
from facesdk.vault import crypto
from facesdk.vault.keys import SALT_SIZE, Kdf, KeyKind, KeySource
from facesdk.vault.record import MAX_USER_LENGTH, Record, check_user, parse_payload, payload_bytes

MAGIC = b"facesdk\0"
VERSION = 1
MAX_FILE_SIZE = 1024 * 1024

_KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
_VERSION = struct.Struct("<H")
# magic, version, kind of key, length of user, user, memory_kib, passes, lanes, salt, key check: the wrap's AAD
_BINDING = struct.Struct(f"<8sHBB{MAX_USER_LENGTH}sIII{SALT_SIZE}s32s")
# wrap nonce, wrapped data key, payload nonce, payload size
_WRAP = struct.Struct(f"<{_NONCE_SIZE}s{_KEY_SIZE + _TAG_SIZE}s{_NONCE_SIZE}sI")
_CHECKSUM_SIZE = 32
_CHECKED_SIZE = _BINDING.size + _WRAP.size
HEADER_SIZE = _CHECKED_SIZE + _CHECKSUM_SIZE

# From the salt to the checksum: without these bytes the payload cannot be opened by any key.
DESTROY_REGION = range(_BINDING.size - 32 - SALT_SIZE, HEADER_SIZE)

_ADVICE = "restore it from a backup, or remove it and enroll again"


@dataclass(frozen=True)
class _Header:
    user: str
    kdf: Kdf
    key_check: bytes
    wrap_nonce: bytes
    wrapped_key: bytes
    payload_nonce: bytes


def seal(record: Record, key: KeySource, *, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """The bytes of a sealed file. Salt, data key and nonces are fresh: two calls have no key in common.

    `entropy` must be cryptographically random; a test may give its own.
    """
    kdf = key.new_kdf(entropy(SALT_SIZE))
    wrapping_key, key_check = _split(key.derive(kdf))
    user = record.user.encode("ascii")
    binding = _BINDING.pack(
        MAGIC, VERSION, kdf.kind, len(user), user, kdf.memory_kib, kdf.passes, kdf.lanes, kdf.salt, key_check
    )
    data_key, wrap_nonce, payload_nonce = entropy(_KEY_SIZE), entropy(_NONCE_SIZE), entropy(_NONCE_SIZE)
    wrapped = crypto.seal(wrapping_key, data_key, nonce=wrap_nonce, aad=binding)
    payload = payload_bytes(record)
    checked = binding + _WRAP.pack(wrap_nonce, wrapped, payload_nonce, len(payload) + _TAG_SIZE)
    header = checked + sha256(checked)
    return header + crypto.seal(data_key, payload, nonce=payload_nonce, aad=header)


def unseal(data: bytes, key: KeySource, *, user: str) -> Record:
    """The record sealed for `user`; whatever the bytes are, nothing comes out but a record or one of these errors.

    StoreIntegrityError: damaged, foreign, altered or another user's. StoreVersionError: written by a newer release.
    KeyUnavailableError: the wrong key, or a key of the wrong kind. An old but genuine file of the user is accepted:
    rollback is not detected here.
    """
    header = _parse_header(data)
    if header.user != user:
        raise StoreIntegrityError(f"the file of {user!r} was sealed for {header.user!r}: it was renamed or copied")
    if header.kdf.kind is not key.kind:
        raise KeyUnavailableError(
            f"the file of {user!r} is sealed with a {header.kdf.kind.label}: give that, not a {key.kind.label}"
        )
    wrapping_key, key_check = _split(key.derive(header.kdf))
    if not crypto.equal(key_check, header.key_check):
        raise KeyUnavailableError(f"wrong key: the file of {user!r} was sealed with another {key.kind.label}")
    try:
        data_key = crypto.unseal(wrapping_key, header.wrapped_key, nonce=header.wrap_nonce, aad=data[: _BINDING.size])
        payload = crypto.unseal(data_key, data[HEADER_SIZE:], nonce=header.payload_nonce, aad=data[:HEADER_SIZE])
    except crypto.TagMismatchError as error:
        raise StoreIntegrityError(f"the file of {user!r} is damaged or was altered: {_ADVICE}") from error
    return parse_payload(payload, user=user)


def key_kind(data: bytes) -> KeyKind:
    """Which kind of key a sealed file asks for, as its checked header says. StoreIntegrityError, StoreVersionError."""
    return _parse_header(data).kdf.kind


def _split(derived: bytes) -> tuple[bytes, bytes]:
    """The key that wraps the data key, and the value that shows the key is the right one and reveals nothing of it."""
    return derived[:_KEY_SIZE], derived[_KEY_SIZE:]


def _parse_header(data: bytes) -> _Header:
    """The header of a file whose checksum holds and whose every field is within its bounds; nothing is decrypted."""
    _check_frame(data)
    _, _, kind, user_length, user_field, memory_kib, passes, lanes, salt, key_check = _BINDING.unpack_from(data)
    wrap_nonce, wrapped_key, payload_nonce, payload_size = _WRAP.unpack_from(data, _BINDING.size)
    try:
        user = check_user(user_field[:user_length].decode("ascii"))
        kdf = Kdf(KeyKind(kind), salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
    except (InputError, ValueError) as error:
        raise StoreIntegrityError(f"the header is not one this release writes: {error}") from error
    if user_field != user.encode("ascii").ljust(MAX_USER_LENGTH, b"\0"):
        raise StoreIntegrityError("the header is not one this release writes: bytes after the user's name")
    if payload_size < _TAG_SIZE or HEADER_SIZE + payload_size != len(data):
        raise StoreIntegrityError(
            f"the sealed file has {len(data)} bytes, its header says {HEADER_SIZE + payload_size}: {_ADVICE}"
        )
    return _Header(user, kdf, key_check, wrap_nonce, wrapped_key, payload_nonce)


def _check_frame(data: bytes) -> None:
    """Raises unless magic, version, length and checksum are those of a whole header of this version."""
    if len(data) > MAX_FILE_SIZE:
        raise StoreIntegrityError(f"the sealed file has {len(data)} bytes, at most {MAX_FILE_SIZE} were expected")
    if not data.startswith(MAGIC):
        what = "is empty" if not data else "is damaged or not a sealed file"
        raise StoreIntegrityError(f"the file {what}: {_ADVICE}")
    if len(data) >= len(MAGIC) + _VERSION.size:
        (version,) = _VERSION.unpack_from(data, len(MAGIC))
        if version > VERSION:
            raise StoreVersionError(
                f"the file has format version {version}, this release reads {VERSION}: install a newer release"
            )
    if len(data) < HEADER_SIZE:
        raise StoreIntegrityError(f"the file was cut off after {len(data)} bytes: {_ADVICE}")
    if sha256(data[:_CHECKED_SIZE]) != data[_CHECKED_SIZE:HEADER_SIZE]:
        raise StoreIntegrityError(f"the header of the file is damaged: {_ADVICE}")
    if version != VERSION:
        raise StoreIntegrityError(f"the file has format version {version}, which never existed")
