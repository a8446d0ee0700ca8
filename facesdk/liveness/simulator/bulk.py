"""Sessions by the thousand, without pictures: what would be observed of a person or an attacker, frame by frame."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from facesdk.liveness.challenge import PITCH_SHARE, RADIUS_DEG
from facesdk.liveness.directions import SHOWN_DEG
from facesdk.liveness.simulator.people import Person, Place, Prompt, smooth

# Means of (rho, rhoQ) at turns of 12 degrees and more are the project's measurements of rendered heads, sheets and
# replays (rhoQ of flat sheets and replays was not measured); there is no spread in them: the last number is assumed.
RHO = {
    "live": (0.98, 0.96, 0.12), "flat": (0.04, 0.04, 0.08), "bent": (0.21, -0.01, 0.10), "replay": (0.95, 0.93, 0.12),
}  # fmt: skip
RHO_FROM_DEG = 10.0
# What the mesh reports of a sheet's tilt: at 45 degrees 6 of a flat one, 18 of one bent to a radius of 12 cm.
FLAT_PART, BENT_PART = 6 / 45, 18 / 45


@dataclass(frozen=True)
class Observation:
    """What liveness code takes from one frame.

    Attributes:
        time_s: of the frame.
        yaw_deg: as the mesh reports it; NaN where nobody is there.
        pitch_deg: likewise.
        roll_deg: likewise.
        eye_distance_px: between the eye centres.
        rho: (rho, rhoQ) where the mesh reports a turn that is far enough for the parallax to say something, else None.
        person: who is seen; another number is another person.
    """

    time_s: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    eye_distance_px: float
    rho: tuple[float, float] | None = None
    person: int = 0


class Actor(ABC):
    """Somebody or something before the camera: `_pose` says how the mesh sees it turned, this adds what measuring adds.

    Args:
        seed: of noise and size.
        kind: of RHO.
        noise_deg: standard deviation of each angle.
        person: who is seen.
    """

    def __init__(self, seed: int, kind: str, *, noise_deg: float = 0.3, person: int = 0) -> None:
        self._random = np.random.default_rng((seed, 13))
        self._kind, self._noise_deg, self._person = kind, noise_deg, person
        self._eyes_px = float(self._random.uniform(50, 110))

    def observe(self, time_s: float, prompts: Sequence[Prompt]) -> Observation:
        """What is seen at this time, after all prompts until then. Times come in order, each once."""
        pose = self._pose(time_s, prompts)
        yaw, pitch, roll = (pose + self._random.normal(0, self._noise_deg, 3)).tolist()
        tilt = math.radians(pose[0] * {"flat": 1 / FLAT_PART, "bent": 1 / BENT_PART}.get(self._kind, 1.0))
        eyes_px = self._eyes_px * math.cos(tilt) * float(self._random.normal(1, 0.005))
        *means, spread = RHO[self._kind]
        rho, rho_q = self._random.normal(means, spread).tolist()
        known = math.hypot(yaw, pitch) >= RHO_FROM_DEG
        return Observation(time_s, yaw, pitch, roll, eyes_px, (rho, rho_q) if known else None, self._person)

    @abstractmethod
    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        """Yaw, pitch and roll as the mesh sees them, in degrees, before what measuring adds."""


def stream(actor: Actor, prompts: Sequence[Prompt], *, seconds: float, fps: float = 15.0) -> Iterator[Observation]:
    """All observations of a session whose prompts do not depend on the answers."""
    for time_s in np.arange(round(seconds * fps)) / fps:
        yield actor.observe(float(time_s), [prompt for prompt in prompts if prompt.time_s <= time_s])


class Live(Actor):
    """A person who answers the prompts, late by latency_s: 0, or .1 to .3 for software that makes a puppet follow."""

    def __init__(self, who: Person, *, person: int = 0, latency_s: float = 0.0) -> None:
        super().__init__(who.seed, "live", noise_deg=who.noise_deg, person=person)
        self._who, self._latency_s = who, latency_s

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        return self._who.pose(max(time_s - self._latency_s, 0.0), prompts)


class Photo(Actor):
    """A print: held still by a hand, or moved: tilted by up to 60 degrees in turns of .4 to 1.2 s, whatever is asked.

    bent: to a radius of 12 cm about an upright axis, so that it shows a turn but no more of a nod than a flat one.
    """

    def __init__(self, seed: int, *, moved: bool = False, bent: bool = False) -> None:
        super().__init__(seed, "bent" if bent else "flat")
        times = [0.0, *np.cumsum(self._random.uniform(0.4, 1.2, 100)).tolist()]
        reach = (
            np.array([60.0 * (BENT_PART if bent else FLAT_PART), 60.0 * FLAT_PART]) if moved else np.array([0.3, 0.3])
        )
        self._path = smooth(times, self._random.uniform(-reach, reach, (len(times), 2)).tolist())

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        return (*self._path(time_s), 0.0)


class BlindReplay(Actor):
    """A recording of somebody's answer to other prompts, whose times are from the first on, started at the first."""

    def __init__(self, who: Person, recorded: Sequence[Prompt]) -> None:
        super().__init__(who.seed, "replay", noise_deg=who.noise_deg)
        self._who, self._recorded = who, tuple(recorded)

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        return self._who.pose(max(time_s - prompts[0].time_s, 0.0) if prompts else 0.0, self._recorded)


class Operator(Actor):
    """Somebody who plays, for each segment or prompt, of k recorded turns to random places the one that fits best.

    Strong on purpose: each clip is taken to begin where the last one ended, he never errs, and he always has one that
    looks straight. Only his fingers take time.

    Args:
        seed: of the clips, new ones for each segment.
        clips: k.
        begins_s: when each segment of a dot's path begins, and the last one ends; for dots only.
        foresees: he knows where a segment will end as soon as it begins, else only its direction.
        reaction_s: from what is shown to the clip that plays.
    """

    def __init__(
        self, seed: int, *, clips: int, begins_s: Sequence[float] = (), foresees: bool = True, reaction_s: float = 0.25
    ) -> None:
        super().__init__(seed, "replay")
        self._clips, self._begins_s, self._foresees, self._reaction_s = clips, tuple(begins_s), foresees, reaction_s
        self._times, self._places = [0.0], [(0.0, 0.0)]
        self._known = 0

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        for prompt in prompts[self._known :]:
            begins = self._begins_s if prompt.moving else (prompt.time_s, prompt.time_s + 0.6)
            for begin, end in pairwise(begins):
                place = self._chosen(prompt.target(end), random_places=prompt.moving)
                self._times += [max(begin + self._reaction_s, self._times[-1] + 0.01), end + self._reaction_s]
                self._places += [self._places[-1], place]
        self._known = len(prompts)
        return (*smooth(self._times, self._places)(time_s), 0.0)

    def _chosen(self, wanted: Place, *, random_places: bool) -> Place:
        if not random_places and wanted == (0.0, 0.0):
            return wanted
        angle, radius = (
            self._random.uniform(0, 2 * math.pi, self._clips),
            self._random.uniform(*RADIUS_DEG, self._clips),
        )
        if not random_places:
            angle = np.floor(angle * 4 / math.pi) * math.pi / 4
            radius = np.array(SHOWN_DEG)[self._random.integers(0, 2, self._clips)]
        places = np.stack([radius * np.cos(angle), radius * np.sin(angle) * PITCH_SHARE], axis=1)
        moves, move = places - self._places[-1], np.subtract(wanted, self._places[-1])
        if not self._foresees:
            lengths = np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-9)  # a clip may lead nowhere
            moves, move = moves / lengths, move / max(float(np.hypot(*move)), 1e-9)
        x, y = places[np.argmin(np.linalg.norm(moves - move, axis=1))].tolist()
        return x, y


class Takeover(Actor):
    """One actor until at_s, then, after gone_s of nobody, another: who begins is not who ends."""

    def __init__(self, first: Actor, second: Actor, *, at_s: float, gone_s: float = 0.0) -> None:
        self._first, self._second, self._at_s, self._gone_s = first, second, at_s, gone_s

    def observe(self, time_s: float, prompts: Sequence[Prompt]) -> Observation:
        """As the one who is there; nobody in between."""
        if self._at_s <= time_s < self._at_s + self._gone_s:
            return Observation(time_s, math.nan, math.nan, math.nan, math.nan)
        return self._now(time_s).observe(time_s, prompts)

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        return self._now(time_s)._pose(time_s, prompts)

    def _now(self, time_s: float) -> Actor:
        return self._first if time_s < self._at_s else self._second
