"""What a provider of keys is, and the wrapping that those share which hold a secret of their own.

A provider wraps one random key per sealed file, its key-encryption key (KEK). What it writes for that is its section,
opaque bytes in the file's header. passphrase.py, key_file.py, tpm.py and secret_service.py are the providers.
"""

from __future__ import annotations

import contextlib
import os
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from facesdk._core import Secret, equal, wipe
from facesdk.errors import InputError, KeyUnavailableError, PassphraseRequiredError, Reason, VaultIntegrityError
from facesdk.vault import crypto

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY_SIZE = 32
SALT_SIZE = 16
NONCE_SIZE = 12
WRAPPED_SIZE = KEY_SIZE + crypto.TAG_SIZE
# 32 bytes that wrap the KEK, then 32 bytes stored beside it to tell a wrong key from a damaged file.
DERIVED_SIZE = 64
MAX_SECTION_SIZE = 4096
MAX_PASSPHRASE_SIZE = 4096

# The lower bounds are OWASP's smallest Argon2id setting; the upper ones, and that of memory times passes, are what a
# hostile header may cost its reader, and what an honest one may cost at most.
# Source: OWASP Password Storage Cheat Sheet, "Argon2id" (m=19456, t=2, p=1).
MEMORY_KIB = (19 * 1024, 256 * 1024)
PASSES = (2, 16)
LANES = (1, 4)
MAX_COST_KIB = 1024 * 1024

_ENVELOPE = struct.Struct(f"<{DERIVED_SIZE - KEY_SIZE}s{NONCE_SIZE}s{WRAPPED_SIZE}s")
ENVELOPE_SIZE = _ENVELOPE.size


class KeyKind(IntEnum):
    """The number in the header that says which kind of provider wrapped the key of a file."""

    PASSPHRASE = 1
    KEY_FILE = 2
    TPM = 3
    SECRET_SERVICE = 4
    RECOVERY = 5  # an exported file: a passphrase of its own, and never a template to verify against

    @property
    def label(self) -> str:
        """The words for a person."""
        words = {KeyKind.TPM: "TPM 2.0", KeyKind.RECOVERY: "recovery passphrase"}
        return words.get(self, self.name.lower().replace("_", " "))


@dataclass(frozen=True)
class Kdf:
    """How a key is derived, as the header says it; checked when made (InputError). A key file has no cost: all zero."""

    kind: KeyKind
    salt: bytes
    memory_kib: int = field(default=0, kw_only=True)
    passes: int = field(default=0, kw_only=True)
    lanes: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_SIZE:
            raise InputError(f"the salt must have {SALT_SIZE} bytes, not {len(self.salt)}")
        bounds = ((0, 0),) * 3 if self.kind is KeyKind.KEY_FILE else (MEMORY_KIB, PASSES, LANES)
        values = (self.memory_kib, self.passes, self.lanes)
        for name, value, (low, high) in zip(("memory in KiB", "passes", "lanes"), values, bounds, strict=True):
            if not low <= value <= high:
                raise InputError(f"key derivation: {name} must be within {low} and {high}, not {value}")
        if self.memory_kib * self.passes > MAX_COST_KIB:
            raise InputError(f"key derivation: memory times passes must be at most {MAX_COST_KIB} KiB")


class Counter(Protocol):
    """A counter outside the file that only goes up, whatever happens to the file."""

    def read(self) -> int:
        """Its value now. KeyUnavailableError when it cannot be asked."""

    def increment(self) -> int:
        """The new value, one higher."""


class KeyProvider(Protocol):
    """Wraps and unwraps the KEK of a file. The secret it does that with never leaves it.

    docs/extend.md says how to add one.
    """

    @property
    def kind(self) -> KeyKind:
        """The kind of files this provider seals and opens."""

    @property
    def stops(self) -> str:
        """Whom it keeps from the template, in a sentence for a person."""

    @property
    def does_not_stop(self) -> str:
        """Whom it does not keep from it, in a sentence for a person."""

    def check(self) -> None:
        """PassphraseRequiredError where the secret was forgotten, or stayed in the process that this is a child of."""

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        """Wrap the key of a file.

        Args:
            kek: 32 bytes.
            binding: the bytes that the file's header begins with; the wrap holds with them alone.
            keep: the section of the file that is replaced, whose counter goes on.

        Returns:
            The section for the header, 1 to 4096 bytes.

        Raises:
            PassphraseRequiredError: the secret was forgotten.
            KeyUnavailableError: the device or service cannot be used.
        """

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        """Open the key of a file.

        Args:
            section: what wrap gave.
            binding: the bytes that the file's header begins with.

        Returns:
            The 32 bytes, in locked memory.

        Raises:
            KeyUnavailableError: a wrong or missing key.
            VaultIntegrityError: a damaged section.
            PassphraseRequiredError: the secret was forgotten.
        """

    def counter(self, section: bytes) -> Counter | None:
        """The counter that the section names, or None where the provider has none."""

    def destroy(self, section: bytes) -> None:
        """Removes what belongs to the section and lies outside the file; nothing where it is gone already."""

    def forget(self) -> None:
        """Wipes the provider's secret: from now on wrap and unwrap raise PassphraseRequiredError."""


def random_secret(size: int, entropy: Callable[[int], bytes] = os.urandom) -> Secret:
    """`size` random bytes, of which no other copy is left."""
    fresh = entropy(size)
    try:
        return Secret.of(fresh)
    finally:
        wipe(fresh)


def passphrase_secret(passphrase: str | bytes) -> Secret:
    """What a key is derived from: text as NFC in UTF-8, so that every keyboard gives the same bytes; bytes as they are.

    InputError, which never repeats the passphrase; no local variable of its traceback does either.
    """
    made = b""
    try:
        if isinstance(passphrase, str):
            given = made = _encoded(passphrase)
        elif isinstance(passphrase, bytes):
            given = passphrase
        else:
            raise InputError(f"the passphrase must be str or bytes, not {type(passphrase).__name__}")
        if not 0 < len(given) <= MAX_PASSPHRASE_SIZE:
            raise InputError(f"the passphrase must have 1 to {MAX_PASSPHRASE_SIZE} bytes, not {len(given)}")
        return Secret.of(given)
    finally:
        if len(made) > 1:  # the interpreter shares the bytes objects of one byte
            wipe(made)
        passphrase = given = made = b""


def _encoded(passphrase: str) -> bytes:
    with contextlib.suppress(UnicodeEncodeError):  # not even as a context: it quotes what it could not encode
        return unicodedata.normalize("NFC", passphrase).encode()
    del passphrase
    raise InputError("the passphrase has characters that are not text: type it again")


def private_copy(secret: Secret | None) -> Secret:
    """A copy of a provider's secret that no other thread can wipe while a key is derived from it.

    PassphraseRequiredError where it was forgotten, or lies in the process that this one is a child of.
    """
    if secret is not None:
        with contextlib.suppress(BufferError):  # closed, perhaps by another thread just now
            return Secret.of(secret)
        if secret.forked:
            raise PassphraseRequiredError(Reason.FORKED)
    raise PassphraseRequiredError(Reason.FORGOTTEN)


def check_not_forgotten(secret: Secret | None) -> None:
    """Raises as private_copy does; called again before what was derived meanwhile is used to seal."""
    private_copy(secret).close()


def seal_envelope(derived: Secret, kek: Buffer, *, aad: bytes, nonce: bytes) -> bytes:
    """Key check, nonce and the KEK wrapped by the first half of `derived`, ENVELOPE_SIZE bytes."""
    view = memoryview(derived)
    check = bytes(view[KEY_SIZE:])
    return _ENVELOPE.pack(check, nonce, crypto.seal(view[:KEY_SIZE], kek, nonce=nonce, aad=aad + check))


def open_envelope(derived: Secret, envelope: bytes, *, aad: bytes, label: str) -> Secret:
    """The KEK of `seal_envelope`. KeyUnavailableError for another key, VaultIntegrityError for a damaged envelope."""
    view = memoryview(derived)
    check, nonce, wrapped = _ENVELOPE.unpack(envelope)
    if not equal(view[KEY_SIZE:], check):
        raise KeyUnavailableError(
            f"wrong key: the file was sealed with another {label}", hint="try again with the right one"
        )
    try:
        return crypto.unseal(view[:KEY_SIZE], wrapped, nonce=nonce, aad=aad + check)
    except crypto.TagMismatchError as error:
        raise VaultIntegrityError("the wrapped key of the file is damaged or was altered") from error
