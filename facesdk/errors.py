"""What stops us deciding, each with its exit code. What a person can cause is an Outcome instead."""

from __future__ import annotations


class FaceSdkError(Exception):
    """Base of every error raised on purpose. The message says what was expected, what came and what to do."""


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

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reasons = reasons


class AlreadyEnrolledError(InputError):
    """The user has a template already and `replace=True` was not given."""


class EngineMismatchError(InputError):
    """The template was made by another embedder or another model file than this engine uses."""


class NotEnrolledError(FaceSdkError, LookupError):
    """There is no template for this user in this vault."""


class KeyUnavailableError(FaceSdkError):
    """The key that opens the template is missing, unreadable or the wrong one."""


class PassphraseRequiredError(KeyUnavailableError):
    """The passphrase is needed before a face can be compared; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the passphrase is required: {reason}")
        self.reason = reason


class LockedOutError(FaceSdkError):
    """Too many failures; the next attempt is accepted after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"locked out after too many attempts: try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class StoreError(FaceSdkError, OSError):
    """The vault's folder or file cannot be read or written (missing, full, read-only, wrong permissions)."""


class StoreIntegrityError(FaceSdkError):
    """A sealed file is damaged, truncated, foreign or was altered; nothing in it can be trusted."""


class RollbackError(StoreIntegrityError):
    """A genuine but older sealed file was put back: its generation is not the one that the key's counter holds."""


class StoreVersionError(FaceSdkError):
    """A sealed file was written in a format version this release does not read."""


# The first class that matches decides; 0 is success, 1 any outcome other than a match, 70 our own fault.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (NotEnrolledError, 3),
    (PassphraseRequiredError, 4),
    (LockedOutError, 4),
    (KeyUnavailableError, 4),
    (CameraError, 5),
    (AcceleratorError, 5),
    (ModelIntegrityError, 6),
    (StoreIntegrityError, 6),
    (StoreVersionError, 6),
    (StoreError, 6),
    (EnrollmentError, 1),
    (InputError, 2),
)


def exit_code(error: BaseException) -> int:
    """Exit code for an error, 70 for one that is not ours."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 70)
