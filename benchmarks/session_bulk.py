"""The real session, verification and challenge, fed with scripted observations instead of pictures.

Scripted are: what the mesh reports (facesdk.liveness.simulator.bulk), whose features a crop has, the relief, and that
pixels stop to be carried where one face takes the place of another. All else is what runs behind a camera.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from facesdk.capture.appearance import LOST_AFTER_S, View
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import Probe
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.liveness.challenge import Path, Pursuit
from facesdk.liveness.simulator.acting import Screen, place_of
from facesdk.liveness.simulator.bulk import Actor, Observation, Takeover
from facesdk.liveness.simulator.people import Place, Prompt
from facesdk.types import Assurance, Decision, Face, Features, Outcome, Pose, Quality, Sample, SessionPhase

OWNER, STRANGER = 1, 2
SAME = 0.95  # of the owner's features; those of two people score under .1
TRACKS = 60
Reliefs = dict[str, list[list[tuple[float, float]]]]  # by kind of actor: of each recorded session, frame by frame
_FRAME = np.zeros((64, 64), np.uint8)
_GRID = np.linspace(-0.5, 0.5, 468, dtype=np.float32)
_POINTS = np.stack([_GRID, _GRID[::-1] * (1 - 2 * (np.arange(468) % 2)), 0 * _GRID], axis=1)


class Embedder:
    """Engine's double: features of whoever the crop says."""

    embedder = "sface"

    def embed(self, sample: Sample) -> Features:
        vector = np.zeros(64, np.float32)
        vector[int(sample.crop[0, 0, 0])], vector[0] = SAME, math.sqrt(1 - SAME**2)
        return Features(self.embedder, sample.face, sample.quality, sample.runner_up, vector)


class Relief:
    """Parallax's double: the relief of who is there now; points are lost where another face is in its place."""

    def __init__(self, recorded: Reliefs, source: random.Random) -> None:
        self._recorded, self._source = recorded, source
        self._series: dict[str, tuple[list[tuple[float, float]], int]] = {}
        self._person: int | None = None
        self.now: Observation | None = None
        self.kind = "live"
        self.followed = 0
        self.points = TRACKS

    def reset(self) -> None:
        self._person = None

    def feed(self, _image: object, _points: object, _pose: object) -> SimpleNamespace | None:
        now = self.now
        if now is None:
            return None
        other = self._person not in (None, now.person)
        self.followed = 0 if other else TRACKS
        self._person = now.person
        if now.rho is None:
            return None
        rho, bent = self._next() if self.kind in self._recorded else now.rho
        return SimpleNamespace(rho=rho, rho_bent=bent)

    def _next(self) -> tuple[float, float]:
        series, at = self._series.get(self.kind) or (self._source.choice(self._recorded[self.kind]), 0)
        self._series[self.kind] = series, at + 1
        return series[at % len(series)]


@dataclass
class Shown:
    """What a session shows, as prompts of the simulator: those since the last challenge began, from its start on.

    A dot is what was shown frame by frame; only an operator who foresees is told of the path that it will go.
    """

    goal: LiveVerification
    foreseen: bool = False

    def __post_init__(self) -> None:
        self.screen, self.prompts, self.challenges = Screen(), list[Prompt](), 0
        self.path: Path | None = None
        self._challenge: object | None = None
        self._place: Place | None = None

    def show(self, time_s: float, session: Session) -> None:
        progress, challenge = session.progress, self.goal._challenge
        asked = progress.phase is SessionPhase.CHALLENGE and progress.fraction < 1 and challenge is not None
        self.screen.show(time_s, progress.prompt)
        if asked and challenge is not self._challenge:
            self._challenge, self._place = challenge, None
            self.challenges += 1
            self.prompts = []
            if isinstance(challenge, Pursuit):
                path = self.path = challenge._path
                known = lambda t: path.at(t - time_s)  # noqa: E731
                self.prompts = [Prompt.dot(time_s, known if self.foreseen else self.screen)]
        place = (0.0, 0.0) if not asked or progress.prompt is None else place_of(progress.prompt)
        dot = asked and isinstance(challenge, Pursuit)
        if dot:
            self._place = None
        elif place != self._place and self.challenges:
            self.prompts.append(Prompt(time_s, lambda _t: place))
            self._place = place


class Watcher:
    """Follower's double: the view of what the actor is at this time."""

    def __init__(self, relief: Relief) -> None:
        self.actor: Actor | None = None
        self.shown: Shown | None = None
        self._relief, self._limits = relief, QualityLimits()
        self._track, self._seen_s, self._number = 0, -math.inf, 0

    def close(self) -> None:
        """Nobody is followed."""

    def look(self, image: Any, time_s: float) -> View:
        if self.actor is None or self.shown is None:
            raise RuntimeError("nobody is there yet")
        now = self.actor.observe(time_s, self.shown.prompts)
        if math.isnan(now.yaw_deg):
            if time_s - self._seen_s > LOST_AFTER_S:
                self._track += 1
            return View(image, time_s, None, assess(None, 0, self._limits, enrolling=False), self._track)
        self._seen_s, self._number = time_s, self._number + 1
        self._relief.now, self._relief.kind = now, kind_of(self.actor, time_s)
        sample = self._sample(now)
        return View(image, time_s, sample, assess(sample, 1, self._limits, enrolling=False), self._track)

    def _sample(self, now: Observation) -> Sample:
        crop = np.zeros((2, 2, 3), np.uint8)
        crop[0, 0, 0], crop[1, 0, :2] = now.person, (self._number % 256, self._number // 256 % 256)
        box, keypoints = np.array([10, 10, 50, 50], np.float32), np.zeros((6, 2), np.float32)
        face = Face(box, keypoints, 0.95, Pose(now.yaw_deg, now.pitch_deg, now.roll_deg), _POINTS)
        return Sample(face, Quality(now.eye_distance_px, 120.0, 50.0, 0.0, 500.0, 1.0, 20.0), 0.0, crop)


def kind_of(actor: Actor, time_s: float) -> str:
    """Of an actor, what relief he has then."""
    if isinstance(actor, Takeover):
        return kind_of(actor._first if time_s < actor._at_s else actor._second, time_s)
    return actor._kind


@dataclass(frozen=True)
class End:
    """How a session ended.

    Attributes:
        outcome: its.
        challenges: how many it took.
        seconds: from the first frame.
        people: who was seen in all of it.
        answered: who was seen since the last challenge began.
    """

    outcome: Outcome
    challenges: int
    seconds: float
    people: frozenset[int]
    answered: frozenset[int]

    @property
    def opened(self) -> bool:
        return self.outcome.decision is Decision.MATCH


Cast = Callable[[int, Shown], Actor]


def play(
    cast: Cast, seed: int, *, challenge: str = "dot", fps: float = 15.0, dropped: float = 0.0, foreseen: bool = False,
    recorded: Reliefs | None = None,
) -> End:  # fmt: skip
    """One session.

    Args:
        cast: makes who is there.
        seed: of the path, who is there and the frames that are dropped.
        challenge: "dot" or "directions".
        fps: frames a second.
        dropped: share of frames that do not arrive.
        foreseen: an operator is told the path.
        recorded: reliefs of rendered sessions, instead of the simulator's normal ones.
    """
    source = random.Random(seed)
    relief = Relief(recorded or {}, random.Random(seed + 1))
    means = Means(engine=Embedder(), assurance=Assurance.RGB_CHALLENGE, challenge=challenge, relief=relief,
                  source=source)  # type: ignore[arg-type]  # fmt: skip
    goal = LiveVerification(means, compare=_is_owner, refuse=lambda: None)
    watcher, shown = Watcher(relief), Shown(goal, foreseen)
    watcher.shown, watcher.actor = shown, cast(seed, shown)
    session, number, missing = Session(goal, watcher), 0, random.Random(seed + 2)  # type: ignore[arg-type]
    people, answered, challenges = set[int](), set[int](), 0
    with session:
        while not session.done:
            time_s, number = number / fps, number + 1
            if number > 1 and missing.random() < dropped:
                continue
            session.feed(_FRAME, time_s=time_s)
            shown.show(time_s, session)
            if shown.challenges != challenges:
                challenges, answered = shown.challenges, set()
            if relief.now is not None:
                people.add(relief.now.person)
                answered.add(relief.now.person)
    if session.outcome is None:
        raise RuntimeError("a session ended without an outcome")
    return End(session.outcome, shown.challenges, time_s, frozenset(people), frozenset(answered))


def _is_owner(probe: Probe) -> bool:
    return all(vector[OWNER] > SAME / 2 for vector in probe.vectors)
