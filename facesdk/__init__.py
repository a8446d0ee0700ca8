"""Is the person in front of this camera its owner? One-to-one face verification on the device.

Importing this does no I/O; the heavy parts are loaded when first used. A newcomer needs five names: FaceVerifier,
Outcome, Guidance, PassphraseRequiredError and LockedOutError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.capture.quality import QualityLimits
    from facesdk.capture.session import Session
    from facesdk.capture.watch import Watch
    from facesdk.capture.watcher import WatchEvent, WatchKind
    from facesdk.engine.engine import Engine
    from facesdk.engine.tracking import Tracker
    from facesdk.errors import (
        AcceleratorError,
        AlreadyEnrolledError,
        CameraError,
        EngineMismatchError,
        EnrollmentError,
        FaceSdkError,
        ForkedError,
        InputError,
        KeyUnavailableError,
        LockedOutError,
        ModelIntegrityError,
        NotEnrolledError,
        NotLoggedError,
        PassphraseRequiredError,
        PolicyFloorError,
        Reason,
        RollbackError,
        VaultError,
        VaultIntegrityError,
        VaultVersionError,
    )
    from facesdk.policy import Policy
    from facesdk.status import Enrollment, Status
    from facesdk.types import (
        Assurance,
        Decision,
        Face,
        Features,
        Guidance,
        Outcome,
        Pose,
        Progress,
        Prompt,
        Quality,
        Sample,
        SessionPhase,
    )
    from facesdk.vault.attempts import Phase
    from facesdk.vault.keys.key_file import KeyFileKey
    from facesdk.vault.keys.passphrase import PassphraseKey
    from facesdk.vault.keys.provider import KeyKind, KeyProvider
    from facesdk.vault.keys.secret_service import SecretServiceKey
    from facesdk.vault.keys.tpm import TpmKey
    from facesdk.vault.memory import protect_process
    from facesdk.vault.rules import AttemptRules
    from facesdk.verifier import FaceVerifier

    __version__: str

_WHERE = {
    "FaceVerifier": "verifier", "Policy": "policy", "Enrollment": "status", "Status": "status",
    "Engine": "engine.engine", "Tracker": "engine.tracking",
    "QualityLimits": "capture.quality", "AttemptRules": "vault.rules",
    "Phase": "vault.attempts", "KeyFileKey": "vault.keys.key_file", "PassphraseKey": "vault.keys.passphrase",
    "KeyKind": "vault.keys.provider", "KeyProvider": "vault.keys.provider",
    "SecretServiceKey": "vault.keys.secret_service", "TpmKey": "vault.keys.tpm", "protect_process": "vault.memory",
    "__version__": "version",
    "Session": "capture.session",
    "Watch": "capture.watch", "WatchEvent": "capture.watcher", "WatchKind": "capture.watcher",
    **dict.fromkeys(
        (
            "Assurance", "Decision", "Face", "Features", "Guidance", "Outcome", "Pose", "Progress", "Prompt", "Quality",
            "Sample", "SessionPhase",
        ),
        "types",
    ),
    **dict.fromkeys(
        (
            "AcceleratorError", "AlreadyEnrolledError", "CameraError", "EngineMismatchError", "EnrollmentError",
            "FaceSdkError", "ForkedError", "InputError", "KeyUnavailableError", "LockedOutError", "ModelIntegrityError",
            "NotEnrolledError", "NotLoggedError", "PassphraseRequiredError", "PolicyFloorError", "Reason",
            "RollbackError", "VaultError", "VaultIntegrityError", "VaultVersionError",
        ),
        "errors",
    ),
}  # fmt: skip

__all__ = [
    "AcceleratorError", "AlreadyEnrolledError", "Assurance", "AttemptRules", "CameraError", "Decision", "Engine",
    "EngineMismatchError", "Enrollment", "EnrollmentError", "Face", "FaceSdkError", "FaceVerifier", "Features",
    "ForkedError", "Guidance", "InputError", "KeyFileKey", "KeyKind", "KeyProvider", "KeyUnavailableError",
    "LockedOutError", "ModelIntegrityError", "NotEnrolledError", "NotLoggedError", "Outcome", "PassphraseKey",
    "PassphraseRequiredError", "Phase", "Policy", "PolicyFloorError", "Pose", "Progress", "Prompt", "Quality",
    "QualityLimits", "Reason", "RollbackError", "Sample", "SecretServiceKey", "Session", "SessionPhase", "Status",
    "TpmKey", "Tracker", "VaultError", "VaultIntegrityError", "VaultVersionError", "Watch", "WatchEvent",
    "WatchKind", "__version__", "protect_process",
]  # fmt: skip

__getattr__, __dir__ = attributes(__name__, _WHERE)
