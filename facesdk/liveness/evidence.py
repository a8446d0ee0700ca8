"""What a session has seen of a person, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from facesdk.liveness.challenge import Following
from facesdk.types import Frame

# Of the relief that turns show, in the median over a challenge: 1 for a head, 0 for a sheet (liveness/parallax.py).
MIN_RELIEF, MIN_BENT_RELIEF = 0.35, 0.25
# Neighbouring frames say the same: those of so long are one turn, and some single turns of bent paper look like a head.
TURN_S, ENOUGH_TURNS = 0.5, 3
# Features against those of the start: takeovers are at 0.32 at most, live people at 0.61 at least (SFace, n = 11).
SAME_PERSON = 0.5
UNTRIED = frozenset({Following.STILL, Following.LOST})
# A camera's noise makes frames differ; live streams had up to 5 alike in a row, a picture that is fed in has more.
MAX_IDENTICAL = 12


class Life(Enum):
    """What a verdict is."""

    LIVE = "alive"
    SLIP = "not followed"  # may be tried once more
    ATTACK = "attack suspected"  # ends the session, and costs an attempt


@dataclass(frozen=True)
class Verdict:
    """Whether what was seen is a living person.

    Attributes:
        life: the verdict.
        reason: a sentence for a log.
        tried: something moved as if to answer: then a failure costs an attempt, so that answers cannot be tried out.
    """

    life: Life
    reason: str
    tried: bool = True


@dataclass(frozen=True)
class Seen:
    """The relief in one frame.

    Attributes:
        time_s: of the frame.
        rho: as a share of a head's.
        rho_bent: the same without what bent paper imitates.
    """

    time_s: float
    rho: float
    rho_bent: float


def turns_of(reliefs: Sequence[Seen]) -> list[tuple[float, float]]:
    """Both measures of each turn, the medians of its frames; what is no number does not count."""
    turns: dict[int, list[Seen]] = {}
    for seen in reliefs:
        if math.isfinite(seen.rho) and math.isfinite(seen.rho_bent):
            turns.setdefault(int((seen.time_s - reliefs[0].time_s) / TURN_S), []).append(seen)
    return [(median(s.rho for s in turn), median(s.rho_bent for s in turn)) for turn in turns.values()]


def judge(following: Following, reliefs: Sequence[Seen]) -> Verdict:
    """The verdict on a challenge.

    Args:
        following: how the prompts were followed.
        reliefs: of each frame in which it could be measured.

    Returns:
        ATTACK for a sheet, whatever it followed; LIVE for what followed and has a head's relief; else SLIP.
    """
    measured = turns_of(reliefs)
    if len(measured) >= ENOUGH_TURNS:
        rho, bent = (median(values) for values in zip(*measured, strict=True))
        if rho <= MIN_RELIEF:
            return Verdict(Life.ATTACK, "what turned is flat: a picture")
        if bent <= MIN_BENT_RELIEF:
            return Verdict(Life.ATTACK, "what turned has no face's relief: a bent picture")
    if following is not Following.FOLLOWED:
        return Verdict(Life.SLIP, following.value, tried=following not in UNTRIED)
    if len(measured) < ENOUGH_TURNS:
        return Verdict(Life.SLIP, "the turns did not show whether this is a head or a picture")
    return Verdict(Life.LIVE, "a head followed the prompts")


class Identical:
    """Counts frames that are the same to the byte, one after another."""

    def __init__(self) -> None:
        self._last = b""
        self._run = 0

    def feed(self, crop: Frame) -> bool:
        """Whether these are more than a camera gives. crop: uint8, of the face."""
        pixels = crop.tobytes()
        self._run = self._run + 1 if pixels == self._last else 0
        self._last = pixels
        return self._run >= MAX_IDENTICAL
