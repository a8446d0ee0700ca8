"""What a session looks with: the engine, and what tells a head from a picture of one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facesdk.types import Assurance

if TYPE_CHECKING:
    import random

    from facesdk.engine.engine import Engine
    from facesdk.liveness.parallax import Parallax
    from facesdk.liveness.passive import Passive
    from facesdk.types import Frame, Sample

CHALLENGES = ("dot", "directions")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a session looks with.

    Attributes:
        engine: makes features.
        assurance: the tier that is asked for.
        challenge: "dot" for a screen, "directions" for LEDs or a voice.
        relief: None below RGB_CHALLENGE.
        passive: None where the networks are not there.
        awake: whether the eyes are open and look ahead in a frame; None where that does not matter.
        source: of the path; secrets.SystemRandom() but in tests.
    """

    engine: Engine
    assurance: Assurance
    challenge: str = "dot"
    relief: Parallax | None = None
    passive: Passive | None = None
    awake: Callable[[Frame, Sample], bool] | None = None
    source: random.Random = field(default_factory=secrets.SystemRandom)
