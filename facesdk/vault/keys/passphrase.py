"""A key from a passphrase, by Argon2id, at a cost measured on this machine."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from facesdk._core import Secret
from facesdk.errors import InputError, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.keys.provider import (
    DERIVED_SIZE,
    ENVELOPE_SIZE,
    MAX_COST_KIB,
    MAX_PASSPHRASE_SIZE,
    NONCE_SIZE,
    PASSES,
    SALT_SIZE,
    Counter,
    Kdf,
    KeyKind,
    check_not_forgotten,
    open_envelope,
    passphrase_secret,
    private_copy,
    seal_envelope,
)  # fmt: skip
from facesdk.vault.keys.secret_file import read_handed_over

_COST = struct.Struct(f"<III{SALT_SIZE}s")
SECTION_SIZE = _COST.size + ENVELOPE_SIZE

# One guess shall cost at least this on the machine that enrolls. With room for a slower clock at the time of measuring.
MIN_DERIVATION_S, AIM_S = 0.1, 0.13
# RFC 9106, second recommended setting (one lane, so that a small board's other cores stay free); a machine with less
# than 1 GiB of memory takes half of it and more passes.
DEFAULT_MEMORY_KIB, SMALL_MEMORY_KIB, DEFAULT_PASSES = 64 * 1024, 32 * 1024, 3
SMALL_MACHINE_BYTES = 1 << 30


class PassphraseKey:
    """Wraps with a key that Argon2id derives from a passphrase. The template is then as safe as the passphrase is.

    Derived keys are not kept: what stays open is the key of the file, as an OpenKey. Files bring the cost they were
    made with.

    Args:
        passphrase: text, or bytes as they are.
        memory_kib: KiB of memory for new files; None for 64 MiB, 32 MiB on a machine with less than 1 GiB.
        passes: over the memory for new files; None for as many, from 3, as take 0.1 s on this machine.
        lanes: of Argon2id.
        kind: PASSPHRASE, or RECOVERY for exported files.

    Raises:
        InputError: an empty or too long passphrase, or a cost out of bounds.
    """

    stops = "who copies the disk must guess the passphrase, each guess at the cost measured when it was set"
    does_not_stop = "a weak passphrase; an older file put back; root, and a debugger of the same user, while it is open"

    def __init__(
        self, passphrase: str | bytes, *, memory_kib: int | None = None, passes: int | None = None, lanes: int = 1,
        kind: KeyKind = KeyKind.PASSPHRASE,
    ) -> None:  # fmt: skip
        try:
            if kind not in (KeyKind.PASSPHRASE, KeyKind.RECOVERY):
                raise InputError(f"a passphrase seals passphrase and recovery files, not those of a {kind.label}")
            self.kind = kind
            self._calibrate = passes is None
            # A salt of zeros stands in for the fresh one of each file; this checks the cost.
            self._template = Kdf(
                kind, bytes(SALT_SIZE), memory_kib=_default_memory_kib() if memory_kib is None else memory_kib,
                passes=DEFAULT_PASSES if passes is None else passes, lanes=lanes,
            )  # fmt: skip
            self._secret = passphrase_secret(passphrase)
        finally:
            del passphrase  # not in the local variables of a traceback

    @classmethod
    def from_file(cls, path: Path | str, *, kind: KeyKind = KeyKind.PASSPHRASE) -> PassphraseKey:
        """The key for the passphrase in a file. KeyUnavailableError as read_passphrase."""
        return cls(read_passphrase(path), kind=kind)

    def check(self) -> None:
        """As in KeyProvider."""
        check_not_forgotten(self._secret)

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        """The cost, a fresh salt and the wrapped KEK."""
        kdf, derived = self._derive_new(os.urandom(SALT_SIZE))
        with derived:
            self.check()
            cost = _COST.pack(kdf.memory_kib, kdf.passes, kdf.lanes, kdf.salt)
            return cost + seal_envelope(derived, kek, aad=binding + cost, nonce=os.urandom(NONCE_SIZE))

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        """The KEK; a section costs its reader at most 1 GiB of memory times passes. Errors as in KeyProvider."""
        if len(section) != SECTION_SIZE:
            raise VaultIntegrityError(f"the key section has {len(section)} bytes, {SECTION_SIZE} were expected")
        memory_kib, passes, lanes, salt = _COST.unpack_from(section)
        try:
            kdf = Kdf(self.kind, salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
        except InputError as error:
            raise VaultIntegrityError(f"the header is not one this release writes: {error}") from error
        cost, envelope = section[: _COST.size], section[_COST.size :]
        with self.derive(kdf) as derived:
            return open_envelope(derived, envelope, aad=binding + cost, label=self.kind.label)

    def derive(self, kdf: Kdf) -> Secret:
        """64 bytes of Argon2id. PassphraseRequiredError after `forget`."""
        with private_copy(self._secret) as secret:
            return crypto.argon2id(
                secret, kdf.salt, memory_kib=kdf.memory_kib, passes=kdf.passes, lanes=kdf.lanes, size=DERIVED_SIZE
            )

    def counter(self, section: bytes) -> Counter | None:
        """None: nothing outside the file counts."""
        return None

    def destroy(self, section: bytes) -> None:
        """Nothing lies outside the file."""

    def forget(self) -> None:
        """Wipes the passphrase of this object. What a caller's str still holds, Python cannot wipe."""
        self._secret.close()

    def _derive_new(self, salt: bytes) -> tuple[Kdf, Secret]:
        kdf = replace(self._template, salt=salt)
        taken_s, derived = timed(lambda: self.derive(kdf))
        if not self._calibrate or taken_s >= MIN_DERIVATION_S:
            return kdf, derived
        derived.close()
        self._template = replace(self._template, passes=calibrated_passes(kdf, taken_s))
        self._calibrate = False
        kdf = replace(self._template, salt=salt)
        return kdf, self.derive(kdf)

    def __repr__(self) -> str:
        cost = getattr(self, "_template", None)  # none where making it failed
        return f"PassphraseKey({cost and f'memory_kib={cost.memory_kib}, passes={cost.passes}, lanes={cost.lanes}'})"


def read_passphrase(source: Path | str | int) -> str | bytes:
    """The passphrase in a file, a pipe or a descriptor, of at most 4096 bytes, without one trailing line end.

    Text where the bytes are UTF-8, else the bytes. A pipe or socket has 30 s to end, a terminal is asked for one line
    without echo. KeyUnavailableError when it cannot be read, or when group or others may; InputError for a descriptor
    that is not open.
    """
    content = b""
    try:
        content = read_handed_over(source if isinstance(source, int) else Path(source), limit=MAX_PASSPHRASE_SIZE)
        content = content.removesuffix(b"\n").removesuffix(b"\r") if content.endswith(b"\n") else content
        return text_or_bytes(content)
    finally:
        del content  # what records a traceback's local variables finds none


def text_or_bytes(passphrase: bytes) -> str | bytes:
    """The same bytes as text where they are UTF-8, however they came and whatever the locale."""
    try:
        return passphrase.decode()
    except UnicodeDecodeError:
        return passphrase


def timed(call: Callable[[], Secret]) -> tuple[float, Secret]:
    """Seconds that the call took, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def calibrated_passes(kdf: Kdf, taken_s: float) -> int:
    """Passes that take AIM_S where those of `kdf` took `taken_s`, within the bounds of a header."""
    wanted = -(-kdf.passes * AIM_S // max(taken_s, 1e-4))
    return int(min(wanted, PASSES[1], MAX_COST_KIB // kdf.memory_kib))


def _default_memory_kib() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return SMALL_MEMORY_KIB if memory < SMALL_MACHINE_BYTES else DEFAULT_MEMORY_KIB
