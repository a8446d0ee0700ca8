"""Where the key that opens a vault comes from: a passphrase (Argon2id) or a key file (HKDF)."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
import threading
import unicodedata
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from facesdk.errors import InputError, KeyUnavailableError
from facesdk.vault import crypto, files

SALT_SIZE = 16
# 32 bytes that wrap the data key, then 32 bytes stored in the header to tell a wrong key from a damaged file.
DERIVED_SIZE = 64

# The lower bounds are OWASP's smallest Argon2id setting, the upper ones what a hostile header may cost its reader.
# Source: OWASP Password Storage Cheat Sheet, "Argon2id" (m=19456, t=2, p=1).
MEMORY_KIB = (19 * 1024, 256 * 1024)
PASSES = (2, 4)
LANES = (1, 4)

_KEY_SIZE = 32
_KEY_PREFIX = b"facesdk-key-1:"
_KEY_FILE_SIZE = len(_KEY_PREFIX) + 44 + 1
_HKDF_INFO = b"facesdk vault 1 key file"
_MAX_PASSPHRASE_SIZE = 4096
_CACHE_SIZE = 16


class KeyKind(IntEnum):
    """The number in the header that says which kind of key seals a file."""

    PASSPHRASE = 1
    KEY_FILE = 2

    @property
    def label(self) -> str:
        """The words for a person: "passphrase" or "key file"."""
        return self.name.lower().replace("_", " ")


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
        bounds = (MEMORY_KIB, PASSES, LANES) if self.kind is KeyKind.PASSPHRASE else ((0, 0),) * 3
        values = (self.memory_kib, self.passes, self.lanes)
        for name, value, (low, high) in zip(("memory in KiB", "passes", "lanes"), values, bounds, strict=True):
            if not low <= value <= high:
                raise InputError(f"key derivation: {name} must be within {low} and {high}, not {value}")


class KeySource(Protocol):
    """What a vault needs from a key; the secret itself never leaves the source."""

    @property
    def kind(self) -> KeyKind:
        """The kind of files this source seals and opens."""

    def new_kdf(self, salt: bytes) -> Kdf:
        """How a new file's key shall be derived from a fresh `salt`."""

    def derive(self, kdf: Kdf) -> bytes:
        """DERIVED_SIZE bytes for a header's Kdf, which is of this source's kind. KeyUnavailableError when it cannot."""


class PassphraseKey:
    """A key from a passphrase, by Argon2id; str is taken as NFC in UTF-8, so that every keyboard gives the same bytes.

    The default of 64 MiB and 3 passes (RFC 9106, second recommended setting, with one lane) took 0.35 s and 64 MiB on
    one core of a busy 2-core x86-64 virtual machine (median of 9, 0.33 to 0.36); the smallest accepted, 19 MiB and 2
    passes, 0.05 s (of 5).
    Derived keys are kept in memory for the life of the object, so a second `get` of the same file costs nothing.
    """

    kind = KeyKind.PASSPHRASE

    def __init__(
        self, passphrase: str | bytes, *, memory_kib: int = 64 * 1024, passes: int = 3, lanes: int = 1
    ) -> None:
        self._secret = _passphrase_bytes(passphrase)
        # A salt of zeros stands in for the fresh one of each file; this checks the cost.
        self._template = Kdf(self.kind, bytes(SALT_SIZE), memory_kib=memory_kib, passes=passes, lanes=lanes)
        self._derived: dict[Kdf, bytes] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: Path | str) -> PassphraseKey:
        """The key for the passphrase in a file of at most 4096 bytes, without one trailing line end.

        KeyUnavailableError when it cannot be read, or when group or others may.
        """
        content = _read_secret(Path(path), limit=_MAX_PASSPHRASE_SIZE, ours=False)
        content = content.removesuffix(b"\n").removesuffix(b"\r") if content.endswith(b"\n") else content
        try:
            return cls(content.decode())
        except UnicodeDecodeError:
            return cls(content)

    def new_kdf(self, salt: bytes) -> Kdf:
        """A Kdf with this key's cost."""
        return replace(self._template, salt=salt)

    def derive(self, kdf: Kdf) -> bytes:
        """64 bytes of Argon2id, computed once per salt and cost; a Kdf is at most 256 MiB and 4 passes."""
        with self._lock:
            derived = self._derived.get(kdf)
            if derived is None:
                derived = crypto.argon2id(
                    self._secret, kdf.salt, memory_kib=kdf.memory_kib, passes=kdf.passes, lanes=kdf.lanes,
                    size=DERIVED_SIZE,
                )  # fmt: skip
                while len(self._derived) >= _CACHE_SIZE:
                    del self._derived[next(iter(self._derived))]
                self._derived[kdf] = derived
            return derived

    def __repr__(self) -> str:
        cost = self._template
        return f"PassphraseKey(memory_kib={cost.memory_kib}, passes={cost.passes}, lanes={cost.lanes})"


class KeyFileKey:
    """A key from a file of 32 random bytes, read once, here. It is as safe as the file: anyone who copies it can open.

    KeyUnavailableError when the file is missing, is a symlink, belongs to another user than this one or root, may be
    used by group or others, or does not hold a key.
    """

    kind = KeyKind.KEY_FILE

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._secret = _parse_key(_read_secret(self._path, limit=_KEY_FILE_SIZE, ours=True), self._path)

    @classmethod
    def create(cls, path: Path | str) -> KeyFileKey:
        """The key of a new file, written with mode 0600. InputError when the path exists, StoreError when it cannot."""
        path = Path(path)
        line = _KEY_PREFIX + base64.b64encode(os.urandom(_KEY_SIZE)) + b"\n"
        with files.reporting(path, "create the key file"):
            try:
                files.create_file(path.name, line, folder=path.parent)
            except FileExistsError:
                raise InputError(f"{path} exists already: choose another path, a key is never overwritten") from None
        return cls(path)

    def new_kdf(self, salt: bytes) -> Kdf:
        """A Kdf without cost: the file's 32 bytes are random already."""
        return Kdf(self.kind, salt)

    def derive(self, kdf: Kdf) -> bytes:
        """64 bytes of HKDF-SHA256."""
        return crypto.hkdf_sha256(self._secret, kdf.salt, info=_HKDF_INFO, size=DERIVED_SIZE)

    def __repr__(self) -> str:
        return f"KeyFileKey({str(self._path)!r})"


def _passphrase_bytes(passphrase: str | bytes) -> bytes:
    """The bytes that Argon2id is given. InputError never repeats the passphrase."""
    if isinstance(passphrase, str):
        try:
            passphrase = unicodedata.normalize("NFC", passphrase).encode()
        except UnicodeEncodeError:
            raise InputError("the passphrase has characters that are not text: type it again") from None
    elif not isinstance(passphrase, bytes):
        raise InputError(f"the passphrase must be str or bytes, not {type(passphrase).__name__}")
    if not 0 < len(passphrase) <= _MAX_PASSPHRASE_SIZE:
        raise InputError(f"the passphrase must have 1 to {_MAX_PASSPHRASE_SIZE} bytes, not {len(passphrase)}")
    return passphrase


def _parse_key(content: bytes, path: Path) -> bytes:
    """The 32 bytes of a key file, whose one line must be exactly what `create` writes."""
    try:
        secret = base64.b64decode(content[len(_KEY_PREFIX) :].removesuffix(b"\n"), validate=True)
    except binascii.Error:
        secret = b""
    # Encoding it again refuses every other spelling of the same bytes, and another prefix or line end.
    if len(secret) != _KEY_SIZE or content != _KEY_PREFIX + base64.b64encode(secret) + b"\n":
        raise KeyUnavailableError(
            f"{path} is not a key file: expected one line `{_KEY_PREFIX.decode()}<44 characters>`; restore it or make"
            " a new one and enroll again"
        )
    return secret


def _read_secret(path: Path, *, limit: int, ours: bool) -> bytes:
    """The bytes of a regular file that group and others cannot use; `ours` also refuses symlinks and other owners."""
    # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if ours else 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyUnavailableError(f"{path} is a symlink: give the path of the key file itself") from error
        raise KeyUnavailableError(f"cannot open {path}: {error.strerror}; give a file this user can read") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyUnavailableError(f"{path} is not a regular file")
        if ours and not files.is_ours(status):
            raise KeyUnavailableError(f"{path} belongs to user id {status.st_uid}: chown it to the user who runs this")
        if stat.S_IMODE(status.st_mode) & (0o077 if ours else 0o044):
            mode = stat.S_IMODE(status.st_mode)
            raise KeyUnavailableError(f"{path} can be used by others (mode {mode:04o}): run `chmod 600 {path}`")
        content = files.read_at_most(descriptor, limit)
    except OSError as error:
        raise KeyUnavailableError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise KeyUnavailableError(f"{path} is longer than {limit} bytes: it is not what was expected there")
    return content
