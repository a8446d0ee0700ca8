"""From a frame to features: the networks, the runtimes that run them, and the face followed from frame to frame."""

from facesdk.engine.engine import DEFAULT_EMBEDDER, Engine

__all__ = ["DEFAULT_EMBEDDER", "Engine"]
