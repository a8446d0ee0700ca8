"""Reads sealed files of format version 1, so that they can be written again as version 2. docs/vault-format.md."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from facesdk._core import Secret, equal
from facesdk.digest import sha256
from facesdk.errors import InputError, KeyUnavailableError, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.format import ADVICE, MAX_FILE_SIZE
from facesdk.vault.keys.provider import KEY_SIZE, NONCE_SIZE, SALT_SIZE, WRAPPED_SIZE, Kdf, KeyKind
from facesdk.vault.record import MAX_DIMENSION, MAX_SAMPLES, MAX_USER_LENGTH, check_user

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# magic, version, kind of key, length of user, user, memory_kib, passes, lanes, salt, key check: the wrap's AAD
_BINDING = struct.Struct(f"<8sHBB{MAX_USER_LENGTH}sIII{SALT_SIZE}s32s")
_WRAP = struct.Struct(f"<{NONCE_SIZE}s{WRAPPED_SIZE}s{NONCE_SIZE}sI")
_CHECKED_SIZE = _BINDING.size + _WRAP.size
_HEADER_SIZE = _CHECKED_SIZE + 32
# dimension, samples, created_unix_s, generation, then the sizes in bytes of embedder, model ids (count) and consent
_PREFIX = struct.Struct("<IIQQBBH")


@runtime_checkable
class DerivingKey(Protocol):
    """A passphrase or key file, as version 1 used them."""

    @property
    def kind(self) -> KeyKind: ...

    def derive(self, kdf: Kdf) -> Secret: ...


@dataclass(frozen=True, repr=False)
class OldRecord:
    """What a version 1 file holds: a Record's fields, its samples not turned. samples: float32 (n, d)."""

    user: str
    embedder: str
    model_ids: tuple[str, ...]
    samples: npt.NDArray[np.float32]
    created_unix_s: int
    generation: int
    consent: str


def kind_of(data: bytes) -> KeyKind:
    """Which kind of key a version 1 file asks for. VaultIntegrityError."""
    return _header(data)[1].kind


def unseal(data: bytes, key: DerivingKey, *, user: str) -> OldRecord:
    """The record of a version 1 file; VaultIntegrityError for any damage, KeyUnavailableError for another key."""
    found, kdf, check = _header(data)
    if found != user:
        raise VaultIntegrityError(f"the file of {user!r} was sealed for {found!r}: it was renamed or copied")
    if kdf.kind is not key.kind:
        raise KeyUnavailableError(
            f"the file of {user!r} is sealed with a {kdf.kind.label}: give that, not a {key.kind.label}"
        )
    wrap_nonce, wrapped, payload_nonce, _ = _WRAP.unpack_from(data, _BINDING.size)
    with key.derive(kdf) as derived:
        view = memoryview(derived)
        if not equal(view[KEY_SIZE:], check):
            raise KeyUnavailableError(f"wrong key: the file of {user!r} was sealed with another {key.kind.label}")
        try:
            with crypto.unseal(view[:KEY_SIZE], wrapped, nonce=wrap_nonce, aad=data[: _BINDING.size]) as data_key:
                payload = crypto.unseal(data_key, data[_HEADER_SIZE:], nonce=payload_nonce, aad=data[:_HEADER_SIZE])
        except crypto.TagMismatchError as error:
            raise VaultIntegrityError(f"the file of {user!r} is damaged or was altered: {ADVICE}") from error
    with payload:
        return _parse_payload(payload, user=user)


def _header(data: bytes) -> tuple[str, Kdf, bytes]:
    """User, key derivation and key check of a file whose checksum holds and whose fields are within their bounds."""
    if (
        not _HEADER_SIZE < len(data) <= MAX_FILE_SIZE
        or sha256(data[:_CHECKED_SIZE]) != data[_CHECKED_SIZE:_HEADER_SIZE]
    ):
        raise VaultIntegrityError(f"the header of the file is damaged or the file was cut off: {ADVICE}")
    _, version, kind, length, field, memory_kib, passes, lanes, salt, check = _BINDING.unpack_from(data)
    payload_size = _WRAP.unpack_from(data, _BINDING.size)[3]
    try:
        user = check_user(field[:length].decode("ascii"))
        kdf = Kdf(KeyKind(kind), salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
    except (InputError, ValueError) as error:
        raise VaultIntegrityError(f"the header is not one that version 1 wrote: {error}") from error
    if (
        version != 1 or kdf.kind not in (KeyKind.PASSPHRASE, KeyKind.KEY_FILE)
        or field != user.encode("ascii").ljust(MAX_USER_LENGTH, b"\0") or _HEADER_SIZE + payload_size != len(data)
    ):  # fmt: skip
        raise VaultIntegrityError(f"the header is not one that version 1 wrote: {ADVICE}")
    return user, kdf, check


def _parse_payload(payload: Secret, *, user: str) -> OldRecord:
    import numpy as np

    view = memoryview(payload)
    if len(view) < _PREFIX.size:
        raise VaultIntegrityError("the sealed content is too short to be a record")
    dimension, count, created, generation, embedder_size, models, consent_size = _PREFIX.unpack_from(view)
    ends = [_PREFIX.size]
    for size in (embedder_size, 32 * models, consent_size, 4 * dimension, 4 * dimension * count):
        ends.append(ends[-1] + size)
    if ends[-1] != len(view) or not 1 <= count <= MAX_SAMPLES or not 1 <= dimension <= MAX_DIMENSION:
        raise VaultIntegrityError("the sealed content is not a record of version 1")
    embedder, ids, consent, _, samples = (view[begin:end] for begin, end in itertools.pairwise(ends))
    try:
        texts = bytes(embedder).decode("ascii"), bytes(consent).decode()
    except UnicodeDecodeError as error:
        raise VaultIntegrityError("the sealed content is not a record of version 1") from error
    model_ids = tuple(bytes(ids[32 * i : 32 * i + 32]).hex() for i in range(models))
    matrix = np.frombuffer(samples, "<f4").reshape(count, dimension).astype(np.float32)
    return OldRecord(user, texts[0], model_ids, matrix, created, generation, texts[1])
