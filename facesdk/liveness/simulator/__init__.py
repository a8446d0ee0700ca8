"""What a camera would see, and what people and attackers would do, so that sessions run without either.

Rendered frames: a Scene and a Camera, or clip(). Poses alone, by the thousand: an Actor of `bulk` and stream(). It is
made like the things that it stands for, not so that a check does well. Its geometry is a head's, a sheet's, a phone's;
light does not change as they turn, so that it cannot show whether a network tells skin from paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.liveness.simulator.camera import Camera
    from facesdk.liveness.simulator.head import Head
    from facesdk.liveness.simulator.people import Person, Prompt
    from facesdk.liveness.simulator.scenes import Empty, LiveHead, Print, Replay, Scene, Together, clip

_WHERE = {
    "Camera": "camera", "Head": "head", "Person": "people", "Prompt": "people",
    **dict.fromkeys(("Empty", "LiveHead", "Print", "Replay", "Scene", "Together", "clip"), "scenes"),
}  # fmt: skip

__all__ = [
    "Camera", "Empty", "Head", "LiveHead", "Person", "Print", "Prompt", "Replay", "Scene", "Together", "clip",
]  # fmt: skip

__getattr__, __dir__ = attributes(__name__, _WHERE)
