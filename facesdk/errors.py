"""What stops us deciding, each with its exit code. What a person can cause is an Outcome instead."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Reason(str, Enum):
    """Why the passphrase is required; the value is for people to read, the name is for programs and files.

    The kernel's keyring holds a reason by its place in this list: new ones go to the end.
    """

    NOT_UNLOCKED = "not unlocked since the device or program started"
    EXPIRED = "it was last given too long ago"
    IDLE = "there was no match for too long"
    FAILURES = "too many attempts did not match"
    LOCKED = "locked on request"
    PANIC = "locked in an emergency"
    REMOVED = "the user was removed"
    CHANGED = "the template was sealed anew since it was opened"
    FORKED = "an opened key does not go along into a child process"
    FORGOTTEN = "the key that this program was given has been forgotten"
    OVERTAKEN = "the key was opened anew meanwhile"

    def __str__(self) -> str:
        return self.value


class FaceSdkError(Exception):
    """Base of every error raised on purpose: `message` says what was expected and what came, `hint` what to do.

    str() has both. hint is None where the message says it all, or nobody knows better. Can be pickled with all its
    fields, so that it arrives whole from a worker process.
    """

    hint: str | None = None

    def __init__(self, *arguments: Any, hint: str | None = None) -> None:
        super().__init__(*arguments)
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        """What went wrong, without what to do about it."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, dict(self.__dict__), getattr(self, "errno", None))


def _restored(kind: type[FaceSdkError], arguments: tuple[Any, ...], fields: dict[str, Any], errno: int | None) -> Any:
    """The error that was pickled, without calling a constructor whose arguments are not its message."""
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(fields)
    if isinstance(error, OSError):
        error.errno = errno
    return error


class InputError(FaceSdkError, ValueError):
    """An argument or a file given by the caller is not what was asked for."""


class UsageError(InputError):
    """The command line asks for something that does not fit together."""


class CameraError(FaceSdkError, OSError):
    """A camera or video could not be opened or stopped giving frames."""


class AcceleratorError(FaceSdkError, OSError):
    """A runtime, delegate or accelerator could not be loaded or failed while running."""


class ModelIntegrityError(FaceSdkError):
    """A model file is missing, has another hash than the manifest says, or does not do what it must."""


class EnrollmentError(InputError):
    """The samples given cannot make a template; `reasons` has one line for each refused sample."""

    def __init__(self, message: str, reasons: tuple[str, ...] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons


class AlreadyEnrolledError(InputError):
    """The user has a template already and `replace=True` was not given."""


class EngineMismatchError(InputError):
    """The template was made by another embedder or another model file than this engine uses."""


class PolicyFloorError(InputError):
    """A verification asked for less than the owner's enrollment sealed: it may tighten the policy, never loosen it."""


class ForkedError(FaceSdkError, RuntimeError):
    """An engine that was made before a fork cannot be used in the child: its threads and locks stayed behind."""


class NotEnrolledError(FaceSdkError, LookupError):
    """There is no template for this user in this vault."""


class KeyUnavailableError(FaceSdkError):
    """The key that opens the template is missing, unreadable or the wrong one."""


class PassphraseRequiredError(KeyUnavailableError):
    """The passphrase is needed before a face can be compared; `reason`, a Reason and its words in one, says why."""

    def __init__(self, reason: Reason | str, *, hint: str | None = None) -> None:
        super().__init__(f"the passphrase is required: {reason}", hint=hint)
        self.reason = reason if isinstance(reason, Reason) or reason not in _WORDS else Reason(reason)


_WORDS = {reason.value for reason in Reason}


class LockedOutError(FaceSdkError):
    """Too many failures; the next attempt is accepted after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float, *, hint: str | None = None) -> None:
        super().__init__(f"locked out after too many attempts: try again in {retry_after_s:.0f} s", hint=hint)
        self.retry_after_s = retry_after_s


class VaultError(FaceSdkError, OSError):
    """The vault's folder or file cannot be read or written (missing, full, read-only, wrong permissions)."""


class NotLoggedError(VaultError):
    """What was asked for has happened (a key is forgotten), but the audit log could not be written."""


class VaultIntegrityError(FaceSdkError):
    """A sealed file is damaged, truncated, foreign or was altered; nothing in it can be trusted."""


class RollbackError(VaultIntegrityError):
    """A genuine but older sealed file was put back: its generation is not the one that the key's counter holds."""


class VaultVersionError(FaceSdkError):
    """A sealed file was written in a format version this release does not read."""


# The first class that matches decides; 0 is success, 1 any outcome other than a match, 70 our own fault.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (NotEnrolledError, 3),
    (PassphraseRequiredError, 4),
    (LockedOutError, 4),
    (KeyUnavailableError, 4),
    (CameraError, 5),
    (AcceleratorError, 5),
    (ForkedError, 5),
    (ModelIntegrityError, 6),
    (VaultIntegrityError, 6),
    (VaultVersionError, 6),
    (VaultError, 6),
    (EnrollmentError, 1),
    (InputError, 2),
)


def exit_code(error: BaseException) -> int:
    """Exit code for an error, 70 for one that is not ours."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 70)
