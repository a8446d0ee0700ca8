"""What a session costs on top of following a face, and what it says where something is wrong."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import session_bulk
import session_casts as casts
from session_rendered import AT, FPS, Somebody, Stage, live

from facesdk import Engine, FaceVerifier, portraits
from facesdk.engine.tracking import Tracker
from facesdk.liveness.challenge import Following
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.scenes import (
    LiveHead,
    Scene,
    before_poster,
    mirrored,
    night,
    still,
    tremble,
    two_people,
    upside_down,
)
from facesdk.types import Guidance, SessionPhase
from facesdk.vault import KeyFileKey

SAID_AFTER_S = 2.0


def added_ms(engine: Engine, people: Sequence[Somebody]) -> tuple[float, float, float, int]:
    """Medians of Tracker.observe, of Session.feed in a challenge, of feed's surplus a frame, in ms; and how many.

    Both look at the same frame, one after the other, in turns.
    """
    alone, fed, surplus = [], [], []
    for owner in people:
        stage = Stage(engine, owner, 41)
        scene = live(stage)
        frames = stage.run("live", lambda t: scene.render(t, stage.camera), keep=True).frames  # noqa: B023
        again, tracker = Stage(engine, owner, 41), Tracker(engine)
        with again.session as session:
            for number, frame in enumerate(frames):
                challenged = session.progress.phase is SessionPhase.CHALLENGE
                took = {}
                steps = [
                    ("alone", lambda frame=frame: tracker.observe(frame)),  # noqa: B023
                    ("fed", lambda frame=frame, t=number / FPS: session.feed(frame, time_s=t)),
                ]
                for name, step in steps if number % 2 else steps[::-1]:
                    begin = time.perf_counter()
                    step()
                    took[name] = 1e3 * (time.perf_counter() - begin)
                if challenged and session.progress.phase is SessionPhase.CHALLENGE:
                    alone.append(took["alone"])
                    fed.append(took["fed"])
                    surplus.append(took["fed"] - took["alone"])
    return float(np.median(alone)), float(np.median(fed)), float(np.median(surplus)), len(fed)


def start_ms(engine: Engine, count: int) -> list[float]:
    """Milliseconds of verifier.session() and of its end, the vault included; the first ones are not counted."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        KeyFileKey.create(key)
        verifier = FaceVerifier(Path(folder) / "vault", key_file=key, engine=engine)
        verifier.enroll("owner", [portraits.load(f"obama_{year}.jpg") for year in (2005, 2009, 2012)])
        for _ in range(count + 3):
            begin = time.perf_counter()
            session = verifier.session("owner")
            times.append(1e3 * (time.perf_counter() - begin))
            session.close()
    return times[3:]


def grown_kb(frames: int) -> tuple[int, int]:
    """How much memory is taken more after so many scripted frames in session after session, and how many they were."""

    def rss_kb() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    def fed(least: int) -> int:
        seen, seed = 0, 0
        while seen < least:
            seen += round(15 * session_bulk.play(casts.live, seed).seconds) + 1
            seed += 1
        return seen

    fed(frames // 20)
    before = rss_kb()
    seen = fed(frames)
    return rss_kb() - before, seen


def cost(engine: Engine, people: Sequence[Somebody], *, quick: bool) -> list[str]:
    """The table."""
    alone, fed, surplus, count = added_ms(engine, people[: 1 if quick else 4])
    starts = start_ms(engine, 10 if quick else 100)
    grown, seen = grown_kb(5_000 if quick else 100_000)
    return [
        "| what | figure | bound | n |", "|---|---:|---:|---:|",
        f"| Tracker.observe alone, a frame of a challenge | {alone:.2f} ms | | {count} |",
        f"| Session.feed | {fed:.2f} ms | | {count} |",
        f"| on top, frame by frame | {surplus:.2f} ms | 1 ms | {count} |",
        f"| verifier.session(), warm, median (longest) | {np.median(starts):.1f} ms ({max(starts):.1f}) | 50 ms |"
        f" {len(starts)} |",
        f"| memory taken more after sessions of scripted frames | {grown / 1024:.1f} MB | flat | {seen} frames |",
    ]  # fmt: skip


Wrong = tuple[str, str, Callable[[Stage], Scene]]


def situations(people: Sequence[Somebody], index: int) -> Iterator[Wrong]:
    """What is wrong, what is to be said, and the scene."""
    owner, other = people[index], people[(index + 5) % len(people)]
    alone = LiveHead(owner.head, tremble(0.5, seed=index), still(*AT))
    poster = portraits.load(other.name)
    yield "two people", Guidance.BE_ALONE.name, lambda _s: two_people(owner.head, other.head)
    yield "a poster in the background", "goes on", lambda _s: before_poster(alone, poster)
    yield "upside-down camera", Guidance.HOLD_UPRIGHT.name, lambda _s: upside_down(alone)
    yield "night", Guidance.MORE_LIGHT.name, lambda _s: night(alone)
    far = LiveHead(owner.head, tremble(0.5, seed=index), still(0, 0, 200))
    yield "too far: 2 m", Guidance.COME_CLOSER.name, lambda _s: far
    yield (
        "turned away by 40 degrees",
        Guidance.LOOK_STRAIGHT.name,
        lambda _s: LiveHead(owner.head, still(40, 0, 0), still(*AT)),
    )
    yield "nobody", Guidance.SHOW_FACE.name, lambda _s: Scene()
    yield "mirroring camera, at the end", Following.MIRRORED.value, lambda stage: mirrored(live(stage))


def said(engine: Engine, owner: Somebody, expected: str, scene_of: Callable[[Stage], Scene], seed: int) -> str:
    """The guidance after SAID_AFTER_S, or the reason at the end where that is what is expected."""
    stage = Stage(engine, owner, seed)
    scene, camera = scene_of(stage), Camera(seed=seed)
    if expected == Following.MIRRORED.value:
        return stage.run("wrong", lambda t: scene.render(t, camera)).outcome.reason
    with stage.session as session:
        for number in range(round(SAID_AFTER_S * FPS) + 1):
            progress = session.feed(scene.render(number / FPS, camera), time_s=number / FPS)
        if progress.phase in (SessionPhase.CHALLENGE, SessionPhase.RETURN):
            return "goes on"
        return progress.guidance.name


def wrong(engine: Engine, people: Sequence[Somebody]) -> list[str]:
    """The table, a row for each situation."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for index, owner in enumerate(people):
        for name, expected, scene_of in situations(people, index):
            answer = said(engine, owner, expected, scene_of, 60 + index)
            found.setdefault((name, expected), Counter())[answer] += 1
    lines = [f"| situation | expected after {SAID_AFTER_S:g} s | as expected | else |", "|---|---|---:|---|"]
    for (name, expected), answers in found.items():
        others = "; ".join(f"{count} {answer}" for answer, count in answers.items() if answer != expected)
        lines.append(f"| {name} | {expected} | {answers[expected]} of {answers.total()} | {others or '-'} |")
    return lines
