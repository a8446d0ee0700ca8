"""One conversation with a TPM 2.0 through tpm2-pytss."""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from facesdk._core import Secret, wipe
from facesdk.environment import OPENSSL, without
from facesdk.errors import FaceSdkError, KeyUnavailableError, LockedOutError
from facesdk.vault import crypto
from facesdk.vault.keys.tpm_errors import FULL, OWNER, PCRS, damaged, explained, unavailable
from facesdk.vault.keys.tpm_section import NOT_ZERO, NV_INDICES, SIZE, Section, item_public

# The kernel's resource manager. libtss2's own default would end at a TCP socket on port 2321.
DEFAULT_TCTI = "device:/dev/tpmrm0"
_QUIET = "all+NONE"

# Source of the numbers: TCG TPM 2.0 Library, part 2, "Structures" (TPM_RC, TPMA_OBJECT, TPMA_NV, TPM_PT).
_RC_AUTH_FAIL, _RC_BAD_AUTH, _RC_HANDLE = 0x8E, 0xA2, 0x8B
_RC_LOCKOUT, _RC_NV_DEFINED = 0x921, 0x14C
_PARAMETER = -1  # for _meaning: whatever the TPM has against a parameter
_PT_MAX_AUTH_FAIL, _PT_LOCKOUT_INTERVAL = 0x20F, 0x210
# NT = counter, AUTHWRITE, AUTHREAD, NO_DA: its value is 32 random bytes, and a lockout must not stop an opened vault.
_NV_ATTRIBUTES, _NV_WRITTEN = 0x10 | 0x4 | 0x40000 | 0x2000000, 0x20000000
_PRIMARY = struct.pack(">HHHIHHHHHHHH32sH32s", 90, 0x23, 0xB, 0x30472, 0, 6, 128, 0x43, 0x10, 3, 0x10, 32, b"", 32, b"")

# A TPM does one thing at a time anyway.
_ONE_AT_A_TIME = threading.Lock()
# A child must not wait for a thread that is not there.
os.register_at_fork(after_in_child=_ONE_AT_A_TIME._at_fork_reinit)  # type: ignore[attr-defined]


class Tpm:
    """The TPM during one operation; what it loads is flushed when the operation ends, however it ends."""

    def __init__(self, tss: ModuleType, esapi: Any, stack: ExitStack) -> None:
        self._tss, self._esapi, self._stack = tss, esapi, stack

    def primary(self) -> tuple[int, bytes]:
        """Handle and SHA-256 name of the storage key; it stays the same until the TPM is cleared."""
        tss = self._tss
        template, _ = tss.TPM2B_PUBLIC.unmarshal(_PRIMARY)
        with _meaning(_RC_BAD_AUTH, unavailable(OWNER)):
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
        template, _ = tss.TPM2B_PUBLIC.unmarshal(item_public(policy, b""))
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
        """Handle of the sealed object, whose integrity the TPM checks. VaultIntegrityError."""
        tss = self._tss
        public, _ = tss.TPM2B_PUBLIC.unmarshal(section.public)
        private = tss.TPM2B_PRIVATE(buffer=section.private)
        with _meaning(_PARAMETER, damaged("the TPM refuses the sealed object")):
            item: int = self._esapi.load(parent, private, public)
        self._stack.callback(self._esapi.flush_context, item)
        return item

    @contextmanager
    def item_session(self, parent: int, section: Section) -> Iterator[int]:
        """The session that unseals: of HMAC, or of the PCR policy. KeyUnavailableError when the PCRs changed."""
        kind = self._tss.TPM2_SE.POLICY if section.pcrs else self._tss.TPM2_SE.HMAC
        with self._session(parent, kind) as session:
            if section.pcrs and self._policy(session, section.pcrs) != section.public[12:44]:
                raise unavailable(PCRS, ", ".join(map(str, section.pcrs)))
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
                    raise damaged("it holds no key")
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
                with _meaning(_RC_BAD_AUTH, unavailable(OWNER)):
                    self._esapi.nv_define_space(bytes(auth), tss.TPM2B_NV_PUBLIC(public))
            except tss.TSS2_Exception as error:
                # Another program was faster.
                if error.error == _RC_NV_DEFINED:
                    continue
                raise
            undo.callback(self.undefine, index)
            self.count(index, bytes(auth), increment=True)
            return index, bytes(auth)
        raise unavailable(FULL)

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
        with _meaning(_RC_BAD_AUTH, unavailable(OWNER)):
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
        with without(OPENSSL):
            import tpm2_pytss as tss
    except (ImportError, OSError) as error:
        raise KeyUnavailableError(
            "a TPM key needs tpm2-pytss and libtss2",
            hint="`apt install libtss2-dev`, then `pip install facesdk-unlock[tpm]`",
        ) from error
    try:
        # libtss2 frees keys as they are.
        with _ONE_AT_A_TIME, without(OPENSSL), crypto.wiping_free(), ExitStack() as stack:
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
        raise explained(first) from error


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
