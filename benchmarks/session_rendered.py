"""The real session, engine and parallax before rendered people, prints, phones and those who take their place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from simulator import cut_out

from facesdk import Engine, Policy, evaluation, portraits
from facesdk.capture.appearance import Follower
from facesdk.capture.limits import DECIDING
from facesdk.capture.samples import Probe
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.learning.rule import Rule
from facesdk.liveness.challenge import Pursuit, path_error
from facesdk.liveness.parallax import Relief
from facesdk.liveness.simulator.acting import Screen, acted
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.head import Head
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Motion, Print, Replay, Scene, still, swing, tremble
from facesdk.sessions import means_for
from facesdk.types import Assurance, Frame, Outcome, SessionPhase

FPS = 15.0
AT = (0.0, 0.0, 50.0)
POSES = ((0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, -9, 0), (0, 8, 0))  # of the pictures that are enrolled
# Turned so much further than the dot asks: the mesh hardly sees paper turn.
GAINS = {"bent 8 cm": 1.5, "bent 12 cm": 2.5, "bent 20 cm": 3.0}
WIPE_S = 1.0


@dataclass(frozen=True, eq=False)
class Somebody:
    """One portrait: the head, a print of the face and its width, and the features that are enrolled."""

    name: str
    head: Head
    cut: Frame
    width_cm: float
    enrolled: list[np.ndarray] = field(repr=False)

    @property
    def who(self) -> str:
        return self.name.split("_")[0].split(".")[0]

    @classmethod
    def of(cls, name: str, engine: Engine) -> Somebody:
        picture = portraits.load(name)
        head = Head.of(picture, engine)
        cut, width_cm = cut_out(head, picture)
        scenes = [LiveHead(head, still(*pose), still(0, 0, 46 + 2 * i)) for i, pose in enumerate(POSES)]
        frames = [scene.render(0.0, Camera(seed=90 + i)) for i, scene in enumerate(scenes)]
        enrolled = [evaluation.vector(engine.features(frame)) for frame in frames]
        return cls(name, head, np.ascontiguousarray(cut), width_cm, enrolled)


class Recorder:
    """A Parallax whose answers are kept."""

    def __init__(self, relief: Any) -> None:
        self._relief, self.found = relief, list[Relief]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relief, name)

    def feed(self, *arguments: Any) -> Relief | None:
        relief: Relief | None = self._relief.feed(*arguments)
        if relief is not None:
            self.found.append(relief)
        return relief


@dataclass(frozen=True, eq=False)
class Run:
    """One session. cut: whether the place was taken before it ended. errors: of each path that was gone to its end."""

    kind: str
    name: str
    outcome: Outcome
    seconds: float
    tries: int
    reliefs: list[tuple[float, float]]
    errors: list[float]
    series: list[tuple[Any, np.ndarray, np.ndarray]]
    cut: bool = True
    frames: list[Frame] = field(default_factory=list, repr=False)


class Stage:
    """A session of the owner's, with what is shown so far; `render` is asked for each frame."""

    def __init__(self, engine: Engine, owner: Somebody, seed: int, *, challenge: str = "dot") -> None:
        policy = Policy()
        means = means_for(engine, policy, Assurance.RGB_CHALLENGE, challenge, None)
        self.relief = Recorder(means.relief)
        means = replace(means, relief=self.relief, source=random.Random(seed))  # type: ignore[arg-type]
        rule = Rule.of(policy, engine.embedder, owner.enrolled, [], frames=DECIDING)

        def compare(probe: Probe) -> bool:
            return rule.decide(owner.enrolled, [], probe.vectors)

        self.goal = LiveVerification(means, compare=compare, refuse=lambda: None)
        self.session = Session(self.goal, Follower(engine, policy.quality))
        self.screen, self.owner, self.seed = Screen(), owner, seed
        draw = np.random.default_rng((seed, 21))
        self.camera = Camera(noise=float(draw.uniform(2, 6)), blur_px=float(draw.uniform(0.4, 1.1)),
                             jpeg=int(draw.integers(70, 96)), seed=seed)  # fmt: skip
        self.series = list[tuple[Any, np.ndarray, np.ndarray]]()

    def run(self, kind: str, render: Callable[[float], Frame], *, keep: bool = False) -> Run:
        number, tries, last, frames = 0, 0, None, []
        with self.session as session:
            while not session.done:
                time_s = number / FPS
                number += 1
                image = render(time_s)
                if keep:
                    frames.append(image)
                progress = session.feed(image, time_s=time_s)
                self.screen.show(time_s, progress.prompt)
                challenge = self.goal._challenge
                if challenge is not None and challenge is not last:
                    last, tries = challenge, tries + 1
                if isinstance(last, Pursuit) and (session.done or progress.phase is SessionPhase.RETURN):
                    self._note(last)
        errors = [path_error(*one) for one in self.series]
        outcome = session.outcome
        if outcome is None:
            raise RuntimeError("a session ended without an outcome")
        reliefs = [(r.rho, r.rho_bent) for r in self.relief.found]
        return Run(kind, self.owner.name, outcome, time_s, tries, reliefs, errors, self.series, True, frames)

    def _note(self, challenge: Pursuit) -> None:
        path = challenge._path
        if challenge._times and challenge._times[-1] >= path.duration_s and all(path is not p for p, *_ in self.series):
            times, turns = np.array([0.0, *challenge._times]), np.array([(0.0, 0.0), *challenge._turns])
            self.series.append((path, times, turns))


def live(stage: Stage, somebody: Somebody | None = None, seed: int | None = None) -> Scene:
    """A head that follows what is shown."""
    seed = stage.seed if seed is None else seed
    who = (somebody or stage.owner).head
    return LiveHead(who, acted(Person(seed), stage.screen), tremble(0.4, seed=seed, about=AT))


def paper(stage: Stage, pose: Motion, *, bend_cm: float = np.inf) -> Scene:
    at = tremble(0.5, seed=stage.seed, about=AT)
    return Print(stage.owner.cut, pose, at, bend_cm=bend_cm, width_cm=stage.owner.width_cm)


def phone(stage: Stage, pose: Motion, *, shaken_cm: float) -> Scene:
    """A phone that shows the portrait's face, 14 cm wide."""
    at = tremble(shaken_cm, seed=stage.seed, about=(0, 0, 32))
    cut = stage.owner.cut
    side = max(256, min(cut.shape[:2]))
    top, left = (cut.shape[0] - side) // 2, (cut.shape[1] - side) // 2
    shown = cut[max(top, 0) :, max(left, 0) :][:side, :side]
    return Replay([np.ascontiguousarray(shown)], pose, at)


def swung(stage: Stage, most: float) -> Motion:
    """Tilted to and fro, at the seed's own reach and pace."""
    draw = np.random.default_rng((stage.seed, 22))
    reach = (float(draw.uniform(0.5, 1) * most), float(draw.uniform(0.2, 0.6) * most), 5.0)
    return swing(reach, period_s=float(draw.uniform(1.2, 2.4)))


def sheets(stage: Stage) -> Iterator[tuple[str, Scene]]:
    """What is flat or bent, whatever it does."""
    yield "print, still", paper(stage, tremble(0.3, seed=stage.seed))
    yield "flat print, moved", paper(stage, swung(stage, 45))
    for kind, gain in GAINS.items():
        follow = acted(Person(stage.seed), stage.screen)
        bend = float(kind.split()[1])
        yield kind, paper(stage, lambda t, gain=gain, follow=follow: tuple(gain * v for v in follow(t)), bend_cm=bend)
    yield "phone, still", phone(stage, tremble(0.3, seed=stage.seed), shaken_cm=0.3)
    yield "phone, moved", phone(stage, swung(stage, 35), shaken_cm=1.5)


def run_kinds(engine: Engine, owner: Somebody, other: Somebody, seed: int) -> Iterator[Run]:
    """One session of every kind."""
    stage = Stage(engine, owner, seed)
    scene = live(stage)
    true = stage.run("live", lambda t: scene.render(t, stage.camera), keep=True)
    yield replace(true, frames=[])
    stage = Stage(engine, owner, seed, challenge="directions")
    scene = live(stage)
    yield replace(stage.run("live, directions", lambda t: scene.render(t, stage.camera)), series=[], errors=[])
    for index in range(len(list(sheets(Stage(engine, owner, seed))))):
        stage = Stage(engine, owner, seed + 1)
        kind, sheet = list(sheets(stage))[index]
        yield stage.run(kind, lambda t: sheet.render(t, stage.camera))  # noqa: B023
    stage = Stage(engine, owner, seed + 2)
    replay = Replay(true.frames, tremble(0.3, seed=seed), tremble(0.2, about=(0, 0, 25)), fps=FPS, width_cm=26)
    yield stage.run("replay of another path", lambda t: replay.render(t, stage.camera))
    for kind in ("owner, then another", "another, then the owner", "photo, another follows, photo", "the same, wiped"):
        stage = Stage(engine, owner, seed + 3)
        yield taken_over(stage, kind, other)


def taken_over(stage: Stage, kind: str, other: Somebody) -> Run:
    """Somebody in the same place as another before: cut from frame to frame, or wiped across within WIPE_S."""
    pose = acted(Person(stage.seed), stage.screen)
    one, two = (LiveHead(who.head, pose, tremble(0.4, seed=stage.seed, about=AT)) for who in (stage.owner, other))
    at_s = random.Random(stage.seed).uniform(0.5, 5.0)
    photo, camera = paper(stage, tremble(0.3, seed=stage.seed)), stage.camera
    changed: list[float] = []

    def phase_ends(time_s: float) -> Frame:
        """The owner's photo but for the challenge."""
        active = stage.session.progress.phase is SessionPhase.CHALLENGE and stage.session.progress.fraction < 1
        if active == (len(changed) % 2 == 0):
            changed.append(time_s)
        if not changed:
            return photo.render(time_s, camera)
        before, now = (photo, two) if len(changed) % 2 else (two, photo)
        part = (time_s - changed[-1] + 1 / FPS) / WIPE_S if "wiped" in kind else 1.0
        frame = now.render(time_s, camera)
        if part < 1:
            edge = int(frame.shape[1] * (0.25 + 0.5 * part))
            frame[:, edge:] = before.render(time_s, camera)[:, edge:]
        return frame

    first, second = (one, two) if kind.startswith("owner") else (two, one)
    render = phase_ends if "photo" in kind or "wiped" in kind else (
        lambda t: (first if t < at_s else second).render(t, camera))  # fmt: skip
    run = stage.run(kind, render)
    return replace(run, cut=bool(changed) if render is phase_ends else run.seconds > at_s)


def runs(engine: Engine, people: Sequence[Somebody], seeds: Sequence[int]) -> Iterator[Run]:
    """Every kind for every portrait and seed; who takes over is another person."""
    for seed in seeds:
        for number, owner in enumerate(people):
            others = [one for one in people if one.who != owner.who]
            yield from run_kinds(engine, owner, others[(number + seed) % len(others)], 1000 * seed + 10 * number)
