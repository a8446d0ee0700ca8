"""The demo of sessions: a simulated head that follows the dot opens; a print, a bent print and a replay do not."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facesdk import portraits
from facesdk.engine import Engine
from facesdk.evaluation import contact_sheet
from facesdk.evaluation.contact_sheet import Kind, Tile
from facesdk.evaluation.demo import LATER, OWNER, PASSPHRASE, Demo
from facesdk.liveness.simulator.acting import Screen, acted, frames
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.head import Head
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Motion, Print, Replay, Scene, still, swing, tremble
from facesdk.portraits.credits import credit_line, credits
from facesdk.types import Decision, Outcome, SessionPhase
from facesdk.verifier import FaceVerifier

if TYPE_CHECKING:
    from facesdk.types import Frame

TITLE = "facesdk demo: is somebody there?"
SUBTITLE = "What a simulated camera saw of four sessions, each in the middle of its challenge: the nose follows a dot."
NOTE = "Simulated heads and prints: real ones are to be tried with facesdk redteam."
AT = (0.0, 0.0, 50.0)
SEED = 2  # of people and cameras; the paths of the dot are new each time


@dataclass(frozen=True)
class Shown:
    """One session of the demo: what stood before the camera, a frame of it, how it ended."""

    name: str
    frame: Frame
    outcome: Outcome
    recorded: list[Frame]


def run_live_demo(say: Callable[[str], None], *, picture: Path | None = None) -> bool:
    """True if the head alone opened. picture: where to make a file of the drawing, if anywhere."""
    demo = Demo(say)
    with tempfile.TemporaryDirectory(prefix="facesdk-demo-") as temporary:
        engine = demo.step("make the engine", Engine)
        verifier = FaceVerifier(Path(temporary) / "vault", passphrase=PASSPHRASE, engine=engine)
        samples = [portraits.load(name) for name in OWNER]
        demo.step("enroll the owner", lambda: verifier.enroll("owner", samples, allow_few_samples=True))
        head = demo.step("make a head of a photograph of 2012", lambda: Head.of(portraits.load(LATER), engine))
        shown = [_session(demo, verifier, "a head that follows", lambda pose: LiveHead(head, pose, still(*AT)))]
        demo.expect(bool(shown[0].outcome), f"{shown[0].outcome.decision.name}: {shown[0].outcome.reason}")
        for name, scene in _attacks(engine, head, shown[0].recorded).items():
            shown.append(_session(demo, verifier, name, scene))
            outcome = shown[-1].outcome
            refused = outcome.decision in (Decision.ATTACK_SUSPECTED, Decision.NOT_COMPLETED)
            demo.expect(refused, f"{outcome.decision.name}: {outcome.reason}")
        if picture is not None:
            demo.step(f"draw {picture}", lambda: _draw(picture, engine, shown))
    say("demo passed" if not demo.failed else f"demo FAILED: {'; '.join(demo.failed)}")
    return not demo.failed


def _attacks(engine: Engine, head: Head, recorded: list[Frame]) -> dict[str, Callable[[Motion], Scene]]:
    """What plays the owner, by its name: each of the pose of somebody who follows the dot."""
    picture = portraits.load(LATER)
    x0, y0, x1, y1 = (float(v) for v in engine.detect(picture)[0].box_px)
    half = 1.1 * (x1 - x0)
    left, top = (max(0, int((low + high) / 2 - half)) for low, high in ((x0, x1), (y0, y1)))
    face = np.ascontiguousarray(picture[top : int((y0 + y1) / 2 + half), left : int((x0 + x1) / 2 + half)])
    width_cm = head.portrait_cm * face.shape[1] / picture.shape[1]

    def bent(pose: Motion) -> Motion:
        return lambda time_s: tuple(2.5 * v for v in pose(time_s))  # type: ignore[return-value]

    at = tremble(0.5, seed=SEED, about=AT)
    return {
        "a photograph, moved": lambda _: Print(face, swing((35, 20, 5), period_s=1.7), at, width_cm=width_cm),
        "a bent print that follows": lambda pose: Print(face, bent(pose), at, bend_cm=12.0, width_cm=width_cm),
        "the head's session, replayed": lambda _: Replay(recorded, still(), still(0, 0, 25), fps=15, width_cm=26),
    }


def _session(demo: Demo, verifier: FaceVerifier, name: str, scene_of: Callable[[Motion], Scene]) -> Shown:
    """One session with a person who follows what is shown, as far as the scene lets him."""
    screen, camera = Screen(), Camera(seed=SEED)
    scene = scene_of(acted(Person(SEED), screen))
    recorded: list[Frame] = []
    challenged: list[int] = []

    def feed() -> Outcome:
        with verifier.session("owner", purpose="demo", camera="simulated") as session:
            for image, time_s in frames(scene, camera):
                progress = session.feed(image, time_s=time_s)
                screen.show(time_s, progress.prompt)
                if progress.phase is SessionPhase.CHALLENGE:
                    challenged.append(len(recorded))
                recorded.append(image)
                if progress.done:
                    break
        assert session.outcome is not None
        return session.outcome

    outcome = demo.step(f"a session before {name}", feed)
    middle = random.Random(SEED).choice(challenged) if challenged else len(recorded) // 2
    return Shown(name, recorded[middle], outcome, recorded)


def _draw(path: Path, engine: Engine, shown: list[Shown]) -> None:
    tiles = []
    for one in shown:
        kind = Kind.MATCH if one.outcome else Kind.REFUSED
        words = "Opens" if one.outcome else "Refused"
        sample = engine.sample(one.frame)
        detail = f"{one.outcome.reason} ({one.outcome.elapsed_ms / 1e3:.1f} s)"
        tiles.append(
            Tile(one.frame, None if sample is None else sample.face, one.name, words, kind, detail, "Sessions")
        )
    known = credits()
    contact_sheet.draw(path, tiles, title=TITLE, subtitle=SUBTITLE, note=NOTE, credit=credit_line([known[LATER]]))
