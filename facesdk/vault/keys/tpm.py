"""A key held by a TPM 2.0 (extra `tpm`): sealed under an authorization value made from the passphrase, with a counter.

The key-encryption key is the data of a keyed-hash object under a primary storage key, which is made anew each time:
owner hierarchy, TCG's ECC P-256 template (TCG TPM v2.0 Provisioning Guidance, table 2: AES-128-CFB, SHA-256, unique of
zeros). The object has no noDA attribute, so each wrong passphrase counts towards the TPM's dictionary-attack lockout.
With PCRs it needs PolicyPCR and PolicyAuthValue, without it the authorization value alone.

The section, little-endian; the TPM's own structures are big-endian, as its specification says:

    offset size  field
    0      1     version of the section, 1
    1      4     Argon2id memory in KiB     19456..262144
    5      1     Argon2id passes            2..16
    6      1     Argon2id lanes             1..4
    7      16    Argon2id salt
    23     3     PCRs of the SHA-256 bank: bit n % 8 of byte n / 8 is PCR n; zero means no policy
    26     4     NV index of the counter    0x0180FA00..0x0180FAFF, or 0 for none
    30     32    authorization value of the counter, zeros for none
    62     32    SHA-256 of the primary key's public area: which TPM, and which life of it
    94     48|80 TPM2B_PUBLIC of the sealed object; 80 with PCRs; every byte but policy and unique is fixed
    ..     2+n   TPM2B_PRIVATE, n within 64..512; nothing follows

The authorization value is HKDF-SHA256(Argon2id(passphrase), salt, info = label + bytes 0..93 + binding) with the top
bit of its last byte set, because a TPM drops zeros at the end. So a wrong passphrase, an altered cost, PCR or NV index
and a section moved to another file are one and the same to the TPM: KeyUnavailableError, and a failure is counted. The
TPM itself refuses an altered object: VaultIntegrityError.

Every command with a secret runs in a session salted to the primary key whose name the section holds, with its
parameter encrypted. What libtss2 copies inside itself is overwritten when it is freed (crypto.wiping_free).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from facesdk._core import Secret
from facesdk.errors import (
    InputError,
    KeyUnavailableError,
)
from facesdk.vault import crypto
from facesdk.vault.keys.provider import (
    SALT_SIZE,
    Counter,
    Kdf,
    KeyKind,
    check_not_forgotten,
    passphrase_secret,
    private_copy,
)
from facesdk.vault.keys.tpm_device import opened
from facesdk.vault.keys.tpm_section import NOT_ZERO, SIZE, Section

_INFO = b"facesdk tpm authorization 1"


class TpmKey:
    """Wraps with a key that a TPM 2.0 keeps and gives for the passphrase alone. Its owner password must be empty.

    Args:
        passphrase: text, or bytes as they are; None leaves what needs none: counter() and destroy().
        tcti: how the TPM is reached, as tpm2-tools spells it; None for the kernel's /dev/tpmrm0. No environment
            variable has a say in it: a transport may run a program, and an emulated TPM stops nobody.
        pcrs: numbers from 0 to 23 (SHA-256 bank); a wrap is then bound to how the machine was started too. After an
            update of its firmware the key is gone, so keep another way in.
        counter: give each template one of the TPM's few NV counters, so that an older file put back is refused.
        memory_kib: KiB of memory of the Argon2id in front of the TPM.
        passes: over that memory.
        lanes: of Argon2id.

    Raises:
        InputError: an empty or too long passphrase, PCRs that there are not, or a cost out of bounds.
    """

    kind = KeyKind.TPM
    stops = (
        "a thief of the disk cannot guess the passphrase without this TPM, which locks itself after a few wrong ones,"
        " and an older file put back is refused by its counter"
    )
    does_not_stop = (
        "whoever takes the whole machine may guess a few passphrases per lockout period, and root may read the opened"
        " key or remove the counter"
    )

    def __init__(
        self,
        passphrase: str | bytes | None,
        *,
        tcti: str | None = None,
        pcrs: tuple[int, ...] = (),
        counter: bool = True,
        memory_kib: int = 64 * 1024,
        passes: int = 3,
        lanes: int = 1,
    ) -> None:
        try:
            self._tcti, self._pcrs, self._counter = tcti, tuple(sorted(pcrs)), counter
            if sorted(set(pcrs)) != sorted(pcrs) or any(n not in range(24) for n in pcrs):
                raise InputError(f"PCRs must be different numbers from 0 to 23, not {pcrs}")
            self._cost = {"memory_kib": memory_kib, "passes": passes, "lanes": lanes}
            Kdf(self.kind, bytes(SALT_SIZE), **self._cost)
            self._secret = None if passphrase is None else passphrase_secret(passphrase)
        finally:
            del passphrase  # what records a traceback's local variables finds none

    def check(self) -> None:
        """As in KeyProvider."""
        check_not_forgotten(self._secret)

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        """A section with `kek` sealed; the counter of `keep`, the file's old section, goes on (so do not destroy that).

        KeyUnavailableError when the TPM is absent, full, has its dictionary-attack protection off or an owner password.
        """
        self.check()
        if len(kek) != SIZE:
            raise InputError(f"the key to wrap must have {SIZE} bytes, not {len(kek)}")
        kept = Section.parse(keep) if keep is not None else None
        kdf = Kdf(self.kind, os.urandom(SALT_SIZE), **self._cost)
        with opened(self._tcti) as tpm, ExitStack() as undo:
            tpm.require_lockout()
            parent, name = tpm.primary()
            nv_index, nv_auth = 0, bytes(SIZE)
            if kept is not None and kept.nv_index:
                nv_index, nv_auth = kept.nv_index, kept.nv_auth
                tpm.count(nv_index, nv_auth)
            elif self._counter:
                nv_index, nv_auth = tpm.define_counter(undo)
            section = Section(kdf, self._pcrs, nv_index, nv_auth, name)
            with self._authorization(section, binding) as auth:
                self.check()
                public, private = tpm.seal(parent, kek, auth, self._pcrs)
            undo.pop_all()
        return section.head + public + private

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        """The key in a section. VaultIntegrityError: damaged. LockedOutError: the TPM refuses for a while.

        KeyUnavailableError, saying which: wrong passphrase (or the section belongs to another file), changed PCRs,
        another TPM or a cleared one, no TPM.
        """
        self.check()
        sealed = Section.parse(section)
        with opened(self._tcti) as tpm:
            parent, name = tpm.primary()
            if name != sealed.parent:
                raise KeyUnavailableError(
                    "the key was sealed by another TPM, or this one was cleared since",
                    hint="use the machine it was sealed on; if its TPM was cleared, remove the user and enroll again",
                )
            item = tpm.load(parent, sealed)
            with tpm.item_session(parent, sealed) as session, self._authorization(sealed, binding) as auth:
                return tpm.unseal(item, session, auth)

    def counter(self, section: bytes) -> Counter | None:
        """The file's monotonic counter, or None when it was sealed without; needs no passphrase."""
        sealed = Section.parse(section)
        return TpmCounter(sealed.nv_index, sealed.nv_auth, tcti=self._tcti) if sealed.nv_index else None

    def destroy(self, section: bytes) -> None:
        """Frees the counter's NV index; nothing happens when it is gone. KeyUnavailableError when it is not ours."""
        sealed = Section.parse(section)
        if not sealed.nv_index:
            return
        try:
            with opened(self._tcti) as tpm:
                if sealed.nv_index in tpm.nv_indices():
                    # Reading it proves that it is this file's: the owner's authority would remove anybody's.
                    tpm.count(sealed.nv_index, sealed.nv_auth)
                    tpm.undefine(sealed.nv_index)
        except KeyUnavailableError as error:
            raise KeyUnavailableError(
                f"{error.message}; the counter of this file stays in its TPM, at the NV index {sealed.nv_index:#x}",
                hint=f"free it with tpm2_nvundefine {sealed.nv_index:#x}, where that TPM is reached",
            ) from error

    def forget(self) -> None:
        """Wipes the passphrase; wrap and unwrap then raise PassphraseRequiredError."""
        if self._secret is not None:
            self._secret.close()

    @contextmanager
    def _authorization(self, section: Section, binding: bytes) -> Iterator[Secret]:
        k = section.kdf
        with private_copy(self._secret) as secret, crypto.argon2id(
            secret, k.salt, memory_kib=k.memory_kib, passes=k.passes, lanes=k.lanes, size=SIZE
        ) as derived, crypto.hkdf_sha256(
            derived, k.salt, info=_INFO + section.head + binding, size=SIZE
        ) as auth:  # fmt: skip
            memoryview(auth)[-1] |= NOT_ZERO
            yield auth

    def __repr__(self) -> str:
        return f"TpmKey(tcti={self._tcti!r}, pcrs={self._pcrs})"


class TpmCounter:
    """A TPM counter of one file. It only goes up: a new one starts above every value that a removed one has had.

    (TCG TPM 2.0 Library, part 1, "NV Counter".) So removing it and defining it again brings no older value back,
    whoever does that. An ordinary NV index put in its place is refused by its attributes.
    Its authorization value lies in the section: who can read the file can raise the counter, which refuses the file.
    """

    def __init__(self, nv_index: int, auth: bytes, *, tcti: str | None = None) -> None:
        self._nv_index, self._auth, self._tcti = nv_index, auth, tcti

    def read(self) -> int:
        """The value. KeyUnavailableError when the counter is gone or is not this file's."""
        with opened(self._tcti) as tpm:
            return tpm.count(self._nv_index, self._auth)

    def increment(self) -> int:
        """The new value, which is on the TPM's flash when this returns. KeyUnavailableError as for read()."""
        with opened(self._tcti) as tpm:
            return tpm.count(self._nv_index, self._auth, increment=True)

    def __repr__(self) -> str:
        return f"TpmCounter(0x{self._nv_index:08X})"
