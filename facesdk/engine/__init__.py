"""From a frame to features: the networks, the runtimes that run them, and the face followed from frame to frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.engine.engine import DEFAULT_EMBEDDER, Engine
    from facesdk.engine.tracking import Tracker

_WHERE = {"DEFAULT_EMBEDDER": "engine", "Engine": "engine", "Tracker": "tracking"}

__all__ = ["DEFAULT_EMBEDDER", "Engine", "Tracker"]

__getattr__, __dir__ = attributes(__name__, _WHERE)
