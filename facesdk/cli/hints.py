"""The second line of an error: what helps against its cause."""

from __future__ import annotations

import errno
import os
import resource

from facesdk.errors import FaceSdkError, KeyUnavailableError, PassphraseRequiredError

# The command's own words, where those of the library are for a program.
_OPTIONS = {
    "AlreadyEnrolledError": "--replace replaces the template that is there",
    "NotEnrolledError": "facesdk list names who is enrolled; facesdk enroll --user NAME PICTURE... makes a template",
}
# The last resort: for errors that bring no hint of their own. None of these may cost anybody a template.
_BY_CLASS = {
    "EngineMismatchError": "leave --embedder out to use the template's own",
    "PassphraseRequiredError": "facesdk unlock takes the passphrase; after that the face works again",
    "LockedOutError": "facesdk unlock with the passphrase ends the wait",
    "KeyUnavailableError": "try again; facesdk status says which key opens the template",
    "RollbackError": "restore the newest file; where there is none, facesdk remove, then enroll again",
    "VaultIntegrityError": "restore it from a backup; where there is none, facesdk remove and enroll again",
    "ModelIntegrityError": "facesdk models shows which file; install facesdk again",
}
_WITHOUT_KEYRING = "facesdk verify --passphrase-file (or --passphrase-fd, --key-file) opens the key for that one run"
# What the kernel's keyring answers.
_BY_KEYRING = {
    errno.EDQUOT: "the keyring's quota is used up: keyctl show @u lists it, facesdk lock frees what is ours",
    errno.ENOMEM: "the keyring's quota is used up: keyctl show @u lists it, facesdk lock frees what is ours",
    errno.EPERM: f"the kernel's keyring is forbidden here, as in most containers: {_WITHOUT_KEYRING}",
    errno.ENOSYS: f"this kernel has no keyring: {_WITHOUT_KEYRING}",
    errno.EACCES: f"the keyring of this user cannot be reached from this session: {_WITHOUT_KEYRING}",
}
# Measured: export, the hungriest command, locks 184 KiB in pages of 4 KiB, and four times that in pages of 16 KiB.
LOCKED_MEMORY_KIB = 1024


def hint_of(error: FaceSdkError) -> str | None:
    """What helps against this error; None where nobody knows better than its message."""
    name = type(error).__name__
    if name in _OPTIONS:
        return _OPTIONS[name]
    if isinstance(error, KeyUnavailableError) and isinstance(error.__cause__, OSError) and "keyring" in error.message:
        return _BY_KEYRING.get(error.__cause__.errno or 0, error.hint)
    if error.hint is not None:
        return error.hint
    if isinstance(error, PassphraseRequiredError) and (refusal := keyring_hint()):
        return refusal
    if "locked memory" in error.message:
        return _locked_memory()
    # Some say in their message what helps: a command, or to restore a file.
    return None if "`facesdk" in error.message or "restore it" in error.message else _BY_CLASS.get(name)


def keyring_hint() -> str | None:
    """What to do where the kernel's keyring holds no keys at all; None where it does."""
    code = _keyring_refuses()
    return _BY_KEYRING.get(code, f"the kernel's keyring cannot be used: {os.strerror(code)}") if code else None


def _locked_memory() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return (
        f"facesdk needs {LOCKED_MEMORY_KIB} KiB, the limit is {limit // 1024} KiB: `ulimit -l {LOCKED_MEMORY_KIB}`,"
        f" LimitMEMLOCK={LOCKED_MEMORY_KIB}K in a systemd unit, memlock in /etc/security/limits.conf"
    )


def _keyring_refuses() -> int:
    """The errno with which the kernel's keyring refuses to be looked into at all, 0 where it does not."""
    from facesdk import _core

    try:
        _core.keyring_get("facesdk-none", 1)
    except OSError as error:
        return error.errno or 0
    return 0
