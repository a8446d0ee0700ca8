"""One conversation with a TPM 2.0 through tpm2-pytss, and the section that tpm.py describes, parsed."""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from facesdk._core import Secret, wipe
from facesdk.errors import (
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    LockedOutError,
    StoreIntegrityError,
)
from facesdk.vault import crypto
from facesdk.vault.keys import SALT_SIZE, Kdf, KeyKind

# The kernel's resource manager. libtss2's own default would end at a TCP socket on port 2321.
DEFAULT_TCTI = "device:/dev/tpmrm0"
_QUIET = "all+NONE"
NV_INDICES = range(0x0180FA00, 0x0180FB00)

SIZE = 32
_HEAD = struct.Struct(f"<BIBB{SALT_SIZE}s3sI32s32s")
_VERSION = 1
_PRIVATE_SIZES = range(64, 513)
# TPMs take trailing zeros of an authorization value away, and libraries differ in when.
NOT_ZERO = 0x80

# Source of the numbers: TCG TPM 2.0 Library, part 2, "Structures" (TPM_RC, TPMA_OBJECT, TPMA_NV, TPM_PT).
_RC_AUTH_FAIL, _RC_BAD_AUTH, _RC_HANDLE = 0x8E, 0xA2, 0x8B
_RC_LOCKOUT, _RC_NV_DEFINED, _RC_NV_SPACE, _RC_INITIALIZE, _RC_PCR_CHANGED = 0x921, 0x14C, 0x14B, 0x100, 0x128
_LAYER_TCTI = 10
_PARAMETER = -1  # for _meaning: whatever the TPM has against a parameter
_RC_BUSY = {0x902, 0x903, 0x905, 0x906, 0x908, 0x920, 0x922}
_PT_MAX_AUTH_FAIL, _PT_LOCKOUT_INTERVAL = 0x20F, 0x210
# NT = counter, AUTHWRITE, AUTHREAD, NO_DA: its value is 32 random bytes, and a lockout must not stop an opened vault.
_NV_ATTRIBUTES, _NV_WRITTEN = 0x10 | 0x4 | 0x40000 | 0x2000000, 0x20000000
_PRIMARY = struct.pack(">HHHIHHHHHHHH32sH32s", 90, 0x23, 0xB, 0x30472, 0, 6, 128, 0x43, 0x10, 3, 0x10, 32, b"", 32, b"")

# A TPM does one thing at a time anyway.
_ONE_AT_A_TIME = threading.Lock()

_OWNER = (
    "the TPM's owner password is set, facesdk needs it empty",
    "`tpm2_changeauth -c owner -p <password>` empties it",
)
_FULL = (
    "the TPM has no room for another counter",
    "destroy one that nothing uses (`tpm2_nvundefine`), or wrap without a counter",
)
_PCRS = (
    "the TPM's PCRs ({}) changed: the machine was started with other firmware or settings than at enrollment",
    "start it as it was then; after a wanted change, rekey from another way in, or remove the user and enroll again",
)
_RESTORE = "restore it from a backup; where there is none, remove the user and enroll again"


def _item_public(policy: bytes, unique: bytes) -> bytes:
    """TPM2B_PUBLIC of a sealed object: fixedTPM, fixedParent, and userWithAuth or (with a policy) adminWithPolicy."""
    attributes = 0x92 if policy else 0x52
    area = (
        struct.pack(">HHIH", 8, 0xB, attributes, len(policy)) + policy + struct.pack(">HH", 0x10, len(unique)) + unique
    )
    return struct.pack(">H", len(area)) + area


@dataclass(frozen=True, repr=False)
class Section:
    """What a section says; `parse` makes it from untrusted bytes, so each value is within its bounds."""

    kdf: Kdf
    pcrs: tuple[int, ...]
    nv_index: int
    nv_auth: bytes
    parent: bytes
    public: bytes = b""
    private: bytes = b""

    @property
    def head(self) -> bytes:
        """The first 94 bytes, which the authorization value depends on."""
        k, mask = self.kdf, sum(1 << n for n in self.pcrs).to_bytes(3, "little")
        return _HEAD.pack(
            _VERSION, k.memory_kib, k.passes, k.lanes, k.salt, mask, self.nv_index, self.nv_auth, self.parent
        )

    @classmethod
    def parse(cls, data: bytes) -> Section:
        """The section in `data`, all of it. StoreIntegrityError."""
        if len(data) < _HEAD.size:
            raise _damaged(f"{len(data)} bytes are too few")
        version, memory_kib, passes, lanes, salt, mask, index, auth, parent = _HEAD.unpack_from(data)
        pcrs = tuple(n for n in range(24) if int.from_bytes(mask, "little") >> n & 1)
        try:
            kdf = Kdf(KeyKind.TPM, salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
        except InputError as error:
            raise _damaged(str(error)) from None
        policy_size = SIZE if pcrs else 0
        end = _HEAD.size + len(_item_public(bytes(policy_size), bytes(SIZE)))
        public, private = data[_HEAD.size : end], data[end + 2 :]
        canonical = _item_public(public[12 : 12 + policy_size], public[-SIZE:])
        for wrong, what in (
            (version != _VERSION, "unknown version"),
            (bool(index) != any(auth) or (index != 0 and index not in NV_INDICES), "NV index out of range"),
            (public != canonical, "not the object that was sealed"),
            (len(private) not in _PRIVATE_SIZES or data[end : end + 2] != struct.pack(">H", len(private)), "size"),
        ):
            if wrong:
                raise _damaged(what)
        return cls(kdf, pcrs, index, auth, parent, public, private)


class Tpm:
    """The TPM during one operation; what it loads is flushed when the operation ends, however it ends."""

    def __init__(self, tss: ModuleType, esapi: Any, stack: ExitStack) -> None:
        self._tss, self._esapi, self._stack = tss, esapi, stack

    def primary(self) -> tuple[int, bytes]:
        """Handle and SHA-256 name of the storage key; it stays the same until the TPM is cleared."""
        tss = self._tss
        template, _ = tss.TPM2B_PUBLIC.unmarshal(_PRIMARY)
        with _meaning(_RC_BAD_AUTH, _unavailable(_OWNER)):
            handle, public, *_ = self._esapi.create_primary(tss.TPM2B_SENSITIVE_CREATE(), template)
        self._stack.callback(self._esapi.flush_context, handle)
        return handle, bytes(public.get_name())[2:]

    @contextmanager
    def _session(self, salted_to: int, kind: int) -> Iterator[int]:
        """A session with encrypted parameters, salted to a key or (ESYS_TR.NONE) to none."""
        tss = self._tss
        session = self._esapi.start_auth_session(salted_to, tss.ESYS_TR.NONE, kind, "aes128cfb", tss.TPM2_ALG.SHA256)
        try:
            flags = tss.TPMA_SESSION
            self._esapi.trsess_set_attributes(session, flags.CONTINUESESSION | flags.DECRYPT | flags.ENCRYPT)
            yield session
        finally:
            self._esapi.flush_context(session)

    def _policy(self, session: int, pcrs: tuple[int, ...]) -> bytes:
        """The policy's digest, now that the session saw the PCRs as they are."""
        self._esapi.policy_pcr(session, None, f"sha256:{','.join(map(str, pcrs))}")
        self._esapi.policy_auth_value(session)
        return bytes(self._esapi.policy_get_digest(session))

    def seal(self, parent: int, kek: Secret, auth: Secret, pcrs: tuple[int, ...]) -> tuple[bytes, bytes]:
        """TPM2B_PUBLIC and TPM2B_PRIVATE of a new object."""
        tss, policy, zeros = self._tss, b"", bytes(SIZE)
        if pcrs:
            if not len(self._esapi.pcr_read(f"sha256:{pcrs[0]}")[2]):
                raise KeyUnavailableError(
                    "this TPM has no SHA-256 PCRs", hint="enable that bank in the firmware's setup"
                )
            with self._session(tss.ESYS_TR.NONE, tss.TPM2_SE.TRIAL) as trial:
                policy = self._policy(trial, pcrs)
        template, _ = tss.TPM2B_PUBLIC.unmarshal(_item_public(policy, b""))
        sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(userAuth=zeros, data=zeros))
        inner = sensitive.sensitive
        with self._session(parent, tss.TPM2_SE.HMAC) as session:
            try:
                inner.userAuth.buffer[:] = memoryview(auth)
                inner.data.buffer[:] = memoryview(kek)
                private, public, *_ = self._esapi.create(parent, sensitive, template, session1=session)
            finally:
                wipe(inner.userAuth.buffer)
                wipe(inner.data.buffer)
        return public.marshal(), private.marshal()

    def load(self, parent: int, section: Section) -> int:
        """Handle of the sealed object, whose integrity the TPM checks. StoreIntegrityError."""
        tss = self._tss
        public, _ = tss.TPM2B_PUBLIC.unmarshal(section.public)
        private = tss.TPM2B_PRIVATE(buffer=section.private)
        with _meaning(_PARAMETER, _damaged("the TPM refuses the sealed object")):
            item: int = self._esapi.load(parent, private, public)
        self._stack.callback(self._esapi.flush_context, item)
        return item

    @contextmanager
    def item_session(self, parent: int, section: Section) -> Iterator[int]:
        """The session that unseals: of HMAC, or of the PCR policy. KeyUnavailableError when the PCRs changed."""
        kind = self._tss.TPM2_SE.POLICY if section.pcrs else self._tss.TPM2_SE.HMAC
        with self._session(parent, kind) as session:
            if section.pcrs and self._policy(session, section.pcrs) != section.public[12:44]:
                raise _unavailable(_PCRS, ", ".join(map(str, section.pcrs)))
            yield session

    def unseal(self, item: int, session: int, auth: Secret) -> Secret:
        """The sealed key. KeyUnavailableError: wrong passphrase."""
        self._set_auth(item, auth)
        wrong = KeyUnavailableError(
            "the passphrase is wrong, or the section was altered or belongs to another file",
            hint="try again; the TPM counts wrong passphrases, and locks itself after a few",
        )
        try:
            with _meaning(_RC_AUTH_FAIL, wrong):
                data = self._esapi.unseal(item, session1=session)
            try:
                if len(data) != SIZE:
                    raise _damaged("it holds no key")
                return Secret.of(data.buffer)
            finally:
                wipe(data.buffer)
        finally:
            self._esapi.tr_set_auth(item, bytes(SIZE))

    def _set_auth(self, handle: int, auth: Secret | bytes) -> None:
        value = self._tss.TPM2B_AUTH(buffer=bytes(SIZE))
        value.buffer[:] = memoryview(auth)
        self._esapi.tr_set_auth(handle, value)
        wipe(value.buffer)

    def define_counter(self, undo: ExitStack) -> tuple[int, bytes]:
        """NV index and authorization value of a new counter with its first value; `undo` removes it again."""
        tss, auth = self._tss, bytearray(os.urandom(SIZE))
        auth[-1] |= NOT_ZERO
        taken = self.nv_indices()
        for index in [i for i in NV_INDICES if i not in taken]:
            public = tss.TPMS_NV_PUBLIC(
                nvIndex=index, nameAlg=tss.TPM2_ALG.SHA256, attributes=_NV_ATTRIBUTES, dataSize=8
            )
            try:
                with _meaning(_RC_BAD_AUTH, _unavailable(_OWNER)):
                    self._esapi.nv_define_space(bytes(auth), tss.TPM2B_NV_PUBLIC(public))
            except tss.TSS2_Exception as error:
                # Another program was faster.
                if error.error == _RC_NV_DEFINED:
                    continue
                raise
            undo.callback(self.undefine, index)
            self.count(index, bytes(auth), increment=True)
            return index, bytes(auth)
        raise _unavailable(_FULL)

    def nv_indices(self) -> list[int]:
        """The defined NV indices of our range."""
        _, answer = self._esapi.get_capability(self._tss.TPM2_CAP.HANDLES, NV_INDICES.start, len(NV_INDICES))
        return [int(h) for h in answer.data.handles if int(h) in NV_INDICES]

    def count(self, index: int, auth: bytes, *, increment: bool = False) -> int:
        """The counter's value, after adding one or not. KeyUnavailableError when it is gone or not the one meant."""
        tss = self._tss
        gone = KeyUnavailableError(
            f"the counter at NV index 0x{index:08X} is gone: it was removed, the TPM was cleared or is another one",
            hint="use the machine and TPM it was made with; if it is gone there, remove the user and enroll again",
        )
        with _meaning(_RC_HANDLE, gone):
            handle = self._esapi.tr_from_tpmpublic(index)
        public = self._esapi.nv_read_public(handle)[0].nvPublic
        foreign = KeyUnavailableError(
            f"NV index 0x{index:08X} is not the counter of this file: it was replaced",
            hint="there is no way to know whether the file is the newest: remove the user and enroll again",
        )
        if public.attributes & ~_NV_WRITTEN != _NV_ATTRIBUTES or public.dataSize != 8:
            raise foreign
        self._set_auth(handle, auth)
        # Not salted: the value is authenticated by its 256 random bits, and deriving the primary key takes much longer.
        with self._session(tss.ESYS_TR.NONE, tss.TPM2_SE.HMAC) as session, _meaning(_RC_BAD_AUTH, foreign):
            if increment:
                self._esapi.nv_increment(handle, session1=session)
            return int.from_bytes(bytes(self._esapi.nv_read(handle, 8, session1=session)), "big")

    def undefine(self, index: int) -> None:
        """Removes an NV index by the owner's authority."""
        with _meaning(_RC_BAD_AUTH, _unavailable(_OWNER)):
            self._esapi.nv_undefine_space(self._esapi.tr_from_tpmpublic(index))

    def require_lockout(self) -> None:
        """KeyUnavailableError when the TPM does not count wrong passphrases."""
        if not self.property(_PT_LOCKOUT_INTERVAL):
            raise KeyUnavailableError(
                "the TPM's dictionary-attack protection is off",
                hint="set it: `tpm2_dictionarylockout --setup-parameters --max-tries=10 --recovery-time=600`",
            )

    def property(self, number: int) -> int:
        """A variable property of the TPM (TPM_PT)."""
        _, answer = self._esapi.get_capability(self._tss.TPM2_CAP.TPM_PROPERTIES, number, 1)
        return int(answer.data.tpmProperties[0].value)


def _silence() -> None:
    """Keeps libtss2 from logging: at its level TRACE it writes keys, in hexadecimal, to stderr or $TSS2_LOGFILE.

    Each of its modules asks the environment when it has its first message, which may be any later call, and keeps the
    answer. So this stays set, for child processes too. A level that a module took up before, for another user of
    libtss2 in this process, cannot be taken back: that is refused where it may show secrets.
    """
    before = os.environ.get("TSS2_LOG", "").lower()
    if _QUIET.lower() != before and "tpm2_pytss" in sys.modules and re.search("debug|trace", before):
        raise KeyUnavailableError(
            "libtss2 may be logging what it computes, keys among it", hint="start this program without TSS2_LOG"
        )
    os.environ["TSS2_LOG"] = _QUIET
    os.environ.pop("TSS2_LOGFILE", None)


@contextmanager
def opened(tcti: str | None) -> Iterator[Tpm]:
    """The TPM for one operation, and its errors in our words."""
    _silence()
    try:
        import tpm2_pytss as tss
    except (ImportError, OSError) as error:
        raise KeyUnavailableError(
            "a TPM key needs tpm2-pytss and libtss2",
            hint="`apt install libtss2-dev`, then `pip install facesdk-unlock[tpm]`",
        ) from error
    try:
        with _ONE_AT_A_TIME, crypto.wiping_free(), ExitStack() as stack:  # libtss2 frees keys as they are
            esapi = stack.enter_context(tss.ESAPI(tcti or DEFAULT_TCTI))
            tpm = Tpm(tss, esapi, stack)
            try:
                yield tpm
            except tss.TSS2_Exception as error:
                if error.error == _RC_LOCKOUT:
                    wait = "the TPM itself refuses for that long, also the right passphrase: wait"
                    raise LockedOutError(tpm.property(_PT_LOCKOUT_INTERVAL), hint=wait) from error
                raise
    except tss.TSS2_Exception as error:
        first: BaseException = error
        # When the TPM went away, flushing fails after that; the first error says why.
        while isinstance(first.__context__, tss.TSS2_Exception):
            first = first.__context__
        raise _explained(first) from error


@contextmanager
def _meaning(code: int, ours: FaceSdkError) -> Iterator[None]:
    """Raises `ours` where the TPM answers with `code` (without its handle, session and parameter number)."""
    try:
        yield
    except RuntimeError as error:
        # TSS2_Exception, which is not imported here, is the RuntimeError that has a code.
        found = getattr(error, "error", None)
        if found == code or (code == _PARAMETER and getattr(error, "parameter", 0)):
            raise ours from error
        raise


def _explained(error: Any) -> KeyUnavailableError:
    """What an error of the TPM means that no operation expects."""
    if error.rc >> 16 == _LAYER_TCTI:
        return KeyUnavailableError(
            f"the TPM cannot be reached ({error})",
            hint="is there one, is it on in the firmware, is this user in the group tss, does another program hold"
            " /dev/tpm0, is the transport (--tcti, tcti=) the right one?",
        )
    if error.error in _RC_BUSY:
        return KeyUnavailableError(
            f"the TPM is busy ({error})", hint="try again, and use /dev/tpmrm0 rather than /dev/tpm0"
        )
    known = {
        _RC_INITIALIZE: ("the TPM was not started by the firmware", "switch the machine off and on"),
        _RC_NV_SPACE: _FULL,
    }
    if error.error == _RC_PCR_CHANGED:
        return _unavailable(_PCRS, "while they were read")
    if error.error in known:
        return _unavailable(known[error.error])
    return KeyUnavailableError(f"the TPM refuses: {error}")


def _unavailable(words: tuple[str, str], *details: str) -> KeyUnavailableError:
    message, hint = words
    return KeyUnavailableError(message.format(*details), hint=hint)


def _damaged(what: str) -> StoreIntegrityError:
    return StoreIntegrityError(f"the TPM section of the file is damaged: {what}", hint=_RESTORE)
