"""The bytes of a sealed file, version 2: docs/vault-format.md says them one by one. Pure: no files, no clock."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk._core import Secret
from facesdk.digest import sha256
from facesdk.errors import InputError, KeyUnavailableError, VaultIntegrityError, VaultVersionError
from facesdk.vault import crypto
from facesdk.vault.keys.provider import KEY_SIZE, MAX_SECTION_SIZE, NONCE_SIZE, WRAPPED_SIZE, KeyKind, random_secret
from facesdk.vault.record import MAX_USER_LENGTH, check_user

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAGIC = b"facesdk\0"
VERSION = 2
MAX_FILE_SIZE = 1024 * 1024
KEY_ID_SIZE = 8

_VERSION = struct.Struct("<H")
# magic, version, kind of key, length of user, user: what the provider's wrap is bound to
_BINDING = struct.Struct(f"<8sHBB{MAX_USER_LENGTH}s")
_SECTION = struct.Struct("<H")
# key id; wrap nonce, wrapped data key, payload nonce, payload size
_WRAP = struct.Struct(f"<{KEY_ID_SIZE}s{NONCE_SIZE}s{WRAPPED_SIZE}s{NONCE_SIZE}sI")
_CHECKSUM_SIZE = 32
SECTION_AT = _BINDING.size + _SECTION.size

# From the provider's section to the end: without these bytes the payload cannot be opened by any key.
DESTROY_REGION = range(_BINDING.size, MAX_FILE_SIZE)

ADVICE = "restore it from a backup, or remove it and enroll again"


@dataclass(frozen=True)
class Header:
    """What the clear part of a sealed file says: enough to unwrap its KEK, nothing about the person but the name."""

    user: str
    kind: KeyKind
    section: bytes
    key_id: bytes
    size: int

    @property
    def binding(self) -> bytes:
        """What the provider's wrap is bound to."""
        return binding(self.user, self.kind)


def binding(user: str, kind: KeyKind) -> bytes:
    """The first bytes of a header, which a provider binds its wrap to."""
    name = check_user(user).encode("ascii")
    return _BINDING.pack(MAGIC, VERSION, kind, len(name), name)


def key_id(kek: Buffer) -> bytes:
    """Eight bytes that tell one KEK from another and reveal nothing of it."""
    with crypto.hkdf_sha256(kek, b"", info=b"facesdk 2 key id", size=KEY_ID_SIZE) as derived:
        return bytes(memoryview(derived))


def seal(
    payload: Buffer, kek: Buffer, *, user: str, kind: KeyKind, section: bytes,
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:  # fmt: skip
    """The bytes of a sealed file. Data key and nonces are fresh: two calls have no key in common but the KEK.

    `entropy` must be cryptographically random; a test may give its own. InputError for a section over 4096 bytes.
    """
    if not 0 < len(section) <= MAX_SECTION_SIZE:
        raise InputError(f"a key section must have 1 to {MAX_SECTION_SIZE} bytes, not {len(section)}")
    prefix = binding(user, kind) + _SECTION.pack(len(section)) + section + key_id(kek)
    wrap_nonce, payload_nonce = entropy(NONCE_SIZE), entropy(NONCE_SIZE)
    with random_secret(KEY_SIZE, entropy) as data_key:
        wrapped = crypto.seal(kek, data_key, nonce=wrap_nonce, aad=prefix)
        size = memoryview(payload).nbytes + crypto.TAG_SIZE
        checked = prefix[:-KEY_ID_SIZE] + _WRAP.pack(prefix[-KEY_ID_SIZE:], wrap_nonce, wrapped, payload_nonce, size)
        header = checked + sha256(checked)
        return header + crypto.seal(data_key, payload, nonce=payload_nonce, aad=header)


def parse_header(data: bytes) -> Header:
    """The header of a file whose checksum holds and whose every field is within its bounds; nothing is decrypted.

    VaultIntegrityError: damaged or foreign. VaultVersionError: written by a newer release.
    """
    _check_version(data)
    _, _, kind, user_length, user_field = _BINDING.unpack_from(data)
    section_size = _checked_frame(data)
    wrap_at = SECTION_AT + section_size
    found_id, _, _, _, payload_size = _WRAP.unpack_from(data, wrap_at)
    size = wrap_at + _WRAP.size + _CHECKSUM_SIZE
    try:
        user = check_user(user_field[:user_length].decode("ascii"))
        known = KeyKind(kind)
    except (InputError, ValueError) as error:
        raise VaultIntegrityError(f"the header is not one this release writes: {error}") from error
    if user_field != user.encode("ascii").ljust(MAX_USER_LENGTH, b"\0"):
        raise VaultIntegrityError("the header is not one this release writes: bytes after the user's name")
    if payload_size <= crypto.TAG_SIZE or size + payload_size != len(data):
        raise VaultIntegrityError(
            f"the sealed file has {len(data)} bytes, its header says {size + payload_size}: {ADVICE}"
        )
    return Header(user, known, data[SECTION_AT:wrap_at], found_id, size)


def unseal(data: bytes, kek: Buffer, *, user: str) -> Secret:
    """The payload sealed for `user` under this KEK; whatever the bytes are, nothing else comes out but these errors.

    VaultIntegrityError: damaged, foreign, altered or another user's. VaultVersionError: another version.
    KeyUnavailableError: sealed under another KEK. Whether it is the newest file is for the caller to see.
    """
    return opened(data, kek, user=user)[1]


def opened(data: bytes, kek: Buffer, *, user: str) -> tuple[Header, Secret]:
    """The header, and what `unseal` gives. Errors of unseal."""
    header = check_user_of(parse_header(data), user)
    wrap_at = SECTION_AT + len(header.section)
    _, wrap_nonce, wrapped, payload_nonce, _ = _WRAP.unpack_from(data, wrap_at)
    try:
        with crypto.unseal(kek, wrapped, nonce=wrap_nonce, aad=data[: wrap_at + KEY_ID_SIZE]) as data_key:
            payload = crypto.unseal(data_key, data[header.size :], nonce=payload_nonce, aad=data[: header.size])
            return header, payload
    except crypto.TagMismatchError as error:
        if key_id(kek) != header.key_id:  # asked only now: deriving it takes as long as unsealing
            raise KeyUnavailableError(
                f"the file of {user!r} was sealed under another key since: give the passphrase again"
            ) from error
        raise VaultIntegrityError(f"the file of {user!r} is damaged or was altered: {ADVICE}") from error


def check_user_of(header: Header, user: str) -> Header:
    """The header, if it is of this user's file; VaultIntegrityError otherwise."""
    if header.user != user:
        raise VaultIntegrityError(f"the file of {user!r} was sealed for {header.user!r}: it was renamed or copied")
    return header


def _check_version(data: bytes) -> None:
    """VaultVersionError for another version than this one, VaultIntegrityError for a file that is not one of ours."""
    if len(data) > MAX_FILE_SIZE:
        raise VaultIntegrityError(f"the sealed file has {len(data)} bytes, at most {MAX_FILE_SIZE} were expected")
    if not data.startswith(MAGIC):
        what = "is empty" if not data else "is damaged or not a sealed file"
        raise VaultIntegrityError(f"the file {what}: {ADVICE}")
    if len(data) < SECTION_AT:
        raise VaultIntegrityError(f"the file was cut off after {len(data)} bytes: {ADVICE}")
    (version,) = _VERSION.unpack_from(data, len(MAGIC))
    if version > VERSION:
        raise VaultVersionError(
            f"the file has format version {version}, this release reads {VERSION}: install a newer release"
        )
    if version < 1:
        raise VaultIntegrityError("the file has format version 0, which never existed")
    if version < VERSION:
        raise VaultVersionError(
            f"the file has format version {version}, which no release wrote; this one reads {VERSION}: remove it,"
            " enroll again"
        )


def _checked_frame(data: bytes) -> int:
    """The size of the section of a file whose header is whole, by its checksum."""
    (section_size,) = _SECTION.unpack_from(data, _BINDING.size)
    checked = SECTION_AT + section_size + _WRAP.size
    if not 0 < section_size <= MAX_SECTION_SIZE or len(data) < checked + _CHECKSUM_SIZE:
        raise VaultIntegrityError(f"the file was cut off after {len(data)} bytes, or its header is damaged: {ADVICE}")
    if sha256(data[:checked]) != data[checked : checked + _CHECKSUM_SIZE]:
        raise VaultIntegrityError(f"the header of the file is damaged: {ADVICE}")
    return int(section_size)
