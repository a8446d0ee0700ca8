"""Is the person in front of this camera its owner? One-to-one face verification on the device.

Importing this does no I/O; the heavy parts are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facesdk.engine.engine import Engine
    from facesdk.errors import FaceSdkError
    from facesdk.policy import Policy
    from facesdk.types import Decision, Face, Features, Guidance, Outcome, Pose, Quality
    from facesdk.vault.memory import protect_process
    from facesdk.verifier import FaceVerifier

_WHERE = {
    "Engine": "engine", "FaceVerifier": "verifier", "Policy": "policy", "FaceSdkError": "errors",
    "Decision": "types", "Face": "types", "Features": "types", "Guidance": "types", "Outcome": "types",
    "Pose": "types", "Quality": "types", "protect_process": "vault.memory",
}  # fmt: skip

__all__ = [
    "Decision", "Engine", "Face", "FaceSdkError", "FaceVerifier", "Features", "Guidance", "Outcome", "Policy", "Pose",
    "Quality", "__version__", "protect_process",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("facesdk-unlock")
    if name not in _WHERE:
        raise AttributeError(f"module 'facesdk' has no attribute {name!r}")
    value = getattr(import_module(f"facesdk.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
