"""A key from a file of random bytes, for development and for keys that lie on another device."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, VaultIntegrityError
from facesdk.vault import crypto, files
from facesdk.vault.causes import reporting
from facesdk.vault.keys.provider import (
    DERIVED_SIZE,
    ENVELOPE_SIZE,
    KEY_SIZE,
    NONCE_SIZE,
    SALT_SIZE,
    Counter,
    Kdf,
    KeyKind,
    check_not_forgotten,
    open_envelope,
    private_copy,
    seal_envelope,
)  # fmt: skip
from facesdk.vault.keys.secret_file import read_secret

SECTION_SIZE = SALT_SIZE + ENVELOPE_SIZE
_KEY_PREFIX = b"facesdk-key-1:"
_KEY_FILE_SIZE = len(_KEY_PREFIX) + 44 + 1
_HKDF_INFO = b"facesdk vault 1 key file"


class KeyFileKey:
    """Wraps with a key from a file of 32 random bytes, read once, here. Anyone who copies the file can open.

    Args:
        path: of the file; `create` makes one.

    Raises:
        KeyUnavailableError: the file is missing, is a symlink, belongs to another user than this one or root, may be
            used by group or others, or does not hold a key.
    """

    kind = KeyKind.KEY_FILE
    stops = "other users of this machine, by the file's mode 0600 (for development)"
    does_not_stop = "who copies the disk with the key file on it; an older file put back; a restart does not lock it"

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._secret = _parse_key(read_secret(self._path, limit=_KEY_FILE_SIZE, ours=True), self._path)

    @classmethod
    def create(cls, path: Path | str) -> KeyFileKey:
        """The key of a new file, written with mode 0600. InputError when the path exists, VaultError when it cannot."""
        path = Path(path)
        line = _KEY_PREFIX + base64.b64encode(os.urandom(KEY_SIZE)) + b"\n"
        with reporting(path, "create the key file"):
            try:
                files.create_file(path.name, line, folder=path.parent)
            except FileExistsError:
                raise InputError(
                    f"{path} exists already: a key is never overwritten", hint="choose another path"
                ) from None
        return cls(path)

    def check(self) -> None:
        """As in KeyProvider."""
        check_not_forgotten(self._secret)

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        """A fresh salt and the wrapped KEK."""
        salt = os.urandom(SALT_SIZE)
        with self.derive(Kdf(self.kind, salt)) as derived:
            self.check()
            return salt + seal_envelope(derived, kek, aad=binding + salt, nonce=os.urandom(NONCE_SIZE))

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        """The KEK; errors as in KeyProvider."""
        if len(section) != SECTION_SIZE:
            raise VaultIntegrityError(f"the key section has {len(section)} bytes, {SECTION_SIZE} were expected")
        salt, envelope = section[:SALT_SIZE], section[SALT_SIZE:]
        with self.derive(Kdf(self.kind, salt)) as derived:
            return open_envelope(derived, envelope, aad=binding + salt, label=self.kind.label)

    def derive(self, kdf: Kdf) -> Secret:
        """64 bytes of HKDF-SHA256. PassphraseRequiredError after `forget`."""
        with private_copy(self._secret) as secret:
            return crypto.hkdf_sha256(secret, kdf.salt, info=_HKDF_INFO, size=DERIVED_SIZE)

    def counter(self, section: bytes) -> Counter | None:
        """None: nothing outside the file counts."""
        return None

    def destroy(self, section: bytes) -> None:
        """Nothing lies outside the file; the key file may serve others and stays."""

    def forget(self) -> None:
        """Wipes the key of this object."""
        self._secret.close()

    def __repr__(self) -> str:
        return f"KeyFileKey({str(self._path)!r})"


def _parse_key(content: bytes, path: Path) -> Secret:
    """The 32 bytes of a key file, whose one line must be exactly what `create` writes."""
    secret = b""
    try:
        with contextlib.suppress(binascii.Error):
            secret = base64.b64decode(content[len(_KEY_PREFIX) :].removesuffix(b"\n"), validate=True)
        # Encoding it again refuses every other spelling of the same bytes, and another prefix or line end.
        if len(secret) == KEY_SIZE and content == _KEY_PREFIX + base64.b64encode(secret) + b"\n":
            return Secret.of(secret)
        raise KeyUnavailableError(
            f"{path} is not a key file: expected one line `{_KEY_PREFIX.decode()}<44 characters>`",
            hint="give the file that `facesdk enroll --key-file` made, or put it back from a backup",
        )
    finally:
        del content, secret  # what records a traceback's local variables finds none
