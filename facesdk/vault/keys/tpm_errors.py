"""What a TPM's answers mean, and what helps."""

from __future__ import annotations

from typing import Any

from facesdk.errors import KeyUnavailableError, VaultIntegrityError

# Source: TCG TPM 2.0 Library, part 2, "Structures" (TPM_RC).
_RC_NV_SPACE, _RC_INITIALIZE, _RC_PCR_CHANGED = 0x14B, 0x100, 0x128
_RC_BUSY = {0x902, 0x903, 0x905, 0x906, 0x908, 0x920, 0x922}
_LAYER_TCTI = 10

OWNER = (
    "the TPM's owner password is set, facesdk needs it empty",
    "`tpm2_changeauth -c owner -p <password>` empties it",
)
FULL = (
    "the TPM has no room for another counter",
    "destroy one that nothing uses (`tpm2_nvundefine`), or wrap without a counter",
)
PCRS = (
    "the TPM's PCRs ({}) changed: the machine was started with other firmware or settings than at enrollment",
    "start it as it was then; after a wanted change, rekey from another way in, or remove the user and enroll again",
)
_RESTORE = "restore it from a backup; where there is none, remove the user and enroll again"


def explained(error: Any) -> KeyUnavailableError:
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
        _RC_NV_SPACE: FULL,
    }
    if error.error == _RC_PCR_CHANGED:
        return unavailable(PCRS, "while they were read")
    if error.error in known:
        return unavailable(known[error.error])
    return KeyUnavailableError(f"the TPM refuses: {error}")


def unavailable(words: tuple[str, str], *details: str) -> KeyUnavailableError:
    """The error with these words: what happened, with the details filled in, and what helps."""
    message, hint = words
    return KeyUnavailableError(message.format(*details), hint=hint)


def damaged(what: str) -> VaultIntegrityError:
    """The error for a section that is not what was written."""
    return VaultIntegrityError(f"the TPM section of the file is damaged: {what}", hint=_RESTORE)
