"""Relief by parallax: how heads, flat prints and bent ones come out, what passes a session, what it costs.

    python benchmarks/parallax.py [--portraits N] [--seeds N] [--data DATA] [--seed N]

Rendered: every bundled portrait as a live head and as prints, five turns of 1.5 s in random directions at 15 fps,
cameras of random noise (2 to 6), blur (.4 to 1.1 px) and JPEG (70 to 95). A turn is a run of frames in which the mesh
has turned by 12 degrees or more since the anchors; its figures are the medians of its frames. A session passes if it
has three such turns, and the medians over all its turns are above .35 (rho) and .25 (rho without the quadratic part).
With --data also the clips and sequences of DATA (pad-clips-dev.tar, nuaa-dev.tar), which were not made for this: few
heads turn in them, at unknown frame rates. Prints no frame and no name of a person.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from recorded_frames import nuaa, pad_clips

from facesdk import Engine, _core
from facesdk.engine.tracking import Tracker
from facesdk.liveness.parallax import MIN_TRACKS, Parallax, Relief
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.geometry import Surface
from facesdk.liveness.simulator.head import Head
from facesdk.liveness.simulator.scenes import LiveHead, Print, Scene, clip
from facesdk.portraits import load, names
from facesdk.types import Frame

MIN_TURN_DEG, TURNS = 12.0, 3
RHO, RHO_BENT = 0.35, 0.25
FPS, TURN_S, COUNT = 15.0, 1.5, 5
REAL_GAP = 4  # frames without a turn that end one
Three = tuple[float, float, float]


@dataclass
class Tally:
    """Turns and sessions of one kind, and what frames took."""

    turns: list[tuple[float, float]] = field(default_factory=list)
    sessions: list[list[tuple[float, float]]] = field(default_factory=list)
    frames: int = 0
    fits: int = 0

    def add(self, reliefs: list[Relief | None]) -> None:
        found = turns_of(reliefs)
        self.turns += found
        self.sessions.append(found)
        self.frames += len(reliefs)
        self.fits += sum(r is not None for r in reliefs)

    def passed(self) -> int:
        return sum(passes(s) for s in self.sessions)

    def decided(self) -> int:
        return sum(len(s) >= TURNS for s in self.sessions)


def passes(turns: list[tuple[float, float]]) -> bool:
    """Whether a session with these turns shows a relief."""
    if len(turns) < TURNS:
        return False
    rho, rho_bent = np.median(np.array(turns), axis=0)
    return bool(rho > RHO and rho_bent > RHO_BENT)


def turns_of(reliefs: Iterable[Relief | None]) -> list[tuple[float, float]]:
    """rho and rho_bent of each turn."""
    found: list[list[Relief]] = [[]]
    gap = 0
    for relief in reliefs:
        if relief is not None and relief.turn_deg >= MIN_TURN_DEG:
            found[-1].append(relief)
            gap = 0
        else:
            gap += 1
            if gap == REAL_GAP and found[-1]:
                found.append([])
    return [
        (float(np.median([r.rho for r in turn])), float(np.median([r.rho_bent for r in turn])))
        for turn in found
        if turn
    ]


def path(random: np.random.Generator, low: float, high: float) -> Callable[[float], Three]:
    """Out to a random direction and back, again and again: yaw, pitch (0.7 of it) and a little roll."""
    angles, radii = random.uniform(0, 2 * math.pi, COUNT), random.uniform(low, high, COUNT)
    if COUNT > 1:  # not all of them up and down
        angles[0], angles[1] = random.uniform(-0.4, 0.4), math.pi + random.uniform(-0.4, 0.4)

    def at(time_s: float) -> Three:
        number = min(int(time_s / TURN_S), COUNT - 1)
        phase = min(time_s / TURN_S - number, 1.0)
        out = min(phase, 1 - phase, 0.4) / 0.4
        radius = radii[number] * (3 * out**2 - 2 * out**3)
        yaw, pitch = radius * math.cos(angles[number]), 0.7 * radius * math.sin(angles[number])
        return yaw, pitch, 0.1 * yaw

    return at


def upright(motion: Callable[[float], Three]) -> Callable[[float], Three]:
    """The same of a print on its side: a quarter turn clockwise."""

    def at(time_s: float) -> Three:
        yaw, pitch, roll = motion(time_s)
        return yaw, pitch, roll + 90

    return at


def moved(random: np.random.Generator, reach_cm: float, distance_cm: float = 50.0) -> Callable[[float], Three]:
    """To and fro before the camera, and nearer and further."""
    rates, phases = random.uniform(0.2, 0.6, 3), random.uniform(0, 2 * math.pi, 3)

    def at(time_s: float) -> Three:
        x, y, z = np.sin(2 * math.pi * rates * time_s + phases) * reach_cm * np.array([1.0, 0.5, 1.0])
        return float(x), float(y), distance_cm + float(z)

    return at


@dataclass(frozen=True, eq=False)
class Flexed(Scene):
    """A print that is bent and straightened while it is turned."""

    print: Print
    bend_at: Callable[[float], float]

    def surfaces(self, time_s: float) -> list[Surface]:
        p = self.print
        return Print(p.picture, p.pose_at, p.position_at, self.bend_at(time_s), p.width_cm).surfaces(time_s)


def scenes(picture: Frame, head: Head, random: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    """Every kind, by name."""
    width = head.portrait_cm
    yield "live head, turned", LiveHead(head, path(random, 18, 32), moved(random, 1.0))
    yield "live head, 35 cm away", LiveHead(head, path(random, 18, 32), moved(random, 1.0, 35.0))
    yield "flat print, turned", Print(picture, path(random, 40, 65), moved(random, 1.0), width_cm=width)
    yield "flat print, moved", Print(picture, path(random, 10, 40), moved(random, 8.0), width_cm=width)
    for radius in (8.0, 12.0, 20.0):
        scene = Print(picture, path(random, 25, 60), moved(random, 1.0), radius, width)
        yield f"bent print, {radius:.0f} cm, turned", scene
    on_its_side = np.ascontiguousarray(np.rot90(picture))
    tall = width * picture.shape[0] / picture.shape[1]
    scene = Print(on_its_side, upright(path(random, 25, 60)), moved(random, 1.0), 10.0, tall)
    yield "bent print, 10 cm, axis level", scene
    yield "bent print, 10 cm, moved", Print(picture, path(random, 15, 45), moved(random, 8.0), 10.0, width)
    rate, phase = random.uniform(0.2, 0.8), random.uniform(0, 2 * math.pi)
    yield (
        "bent and straightened",
        Flexed(
            Print(picture, path(random, 25, 55), moved(random, 2.0), width_cm=width),
            lambda t: 11.0 / (1.05 + math.sin(2 * math.pi * rate * t + phase)) ** 0.5 + 1.0,
        ),
    )


def reliefs_of(frames: Iterable[Frame], engine: Engine, times_ms: list[float]) -> list[Relief | None]:
    """What Parallax says of each frame; None without a face."""
    tracker, parallax, found = Tracker(engine), Parallax(), []
    for frame in frames:
        sample, _ = tracker.observe(frame)
        if sample is None or sample.face.landmarks_px is None or sample.quality.presence < 0.9:
            parallax.reset()
            found.append(None)
            continue
        start = time.perf_counter()
        found.append(parallax.feed(frame, sample.face.landmarks_px, sample.face.pose))
        times_ms.append((time.perf_counter() - start) * 1e3)
    return found


def interval(k: int, n: int) -> str:
    """Wilson's 95 % interval of a share, in percent."""
    if n == 0:
        return "-"
    z = 1.96
    middle, half = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return f"{max(middle - half, 0):.1%} to {min(middle + half, 1):.1%}"


def spread(values: list[float]) -> str:
    return " / ".join(f"{v:.2f}" for v in np.percentile(values, [5, 50, 95])) if values else "-"


def table(tallies: dict[str, Tally]) -> str:
    rows = [
        "| what | sessions | turns | rho 5 / 50 / 95 % | rho_bent 5 / 50 / 95 % | with 3 turns | pass | 95 % of pass |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, t in tallies.items():
        rho, bent = ([turn[i] for turn in t.turns] for i in (0, 1))
        n, k = len(t.sessions), t.passed()
        figures = f"{n} | {len(t.turns)} | {spread(rho)} | {spread(bent)} | {t.decided()} | {k} | {interval(k, n)}"
        rows.append(f"| {name} | {figures} |")
    return "\n".join(rows)


def rendered(
    engine: Engine, portraits: int, seeds: int, seed: int
) -> tuple[dict[str, Tally], dict[str, Tally], list[float]]:
    """By kind, live heads by portrait (numbered), and milliseconds of a frame."""
    kinds: dict[str, Tally] = {}
    people: dict[str, Tally] = {}
    times: list[float] = []
    for number, name in enumerate(names()[:portraits]):
        picture = load(name)
        head = Head.of(picture, engine)
        for round_ in range(seeds):
            random = np.random.default_rng((seed, number, round_))
            for kind, scene in scenes(picture, head, random):
                camera = Camera(
                    noise=float(random.uniform(2, 6)), blur_px=float(random.uniform(0.4, 1.1)),
                    jpeg=int(random.integers(70, 96)), seed=int(random.integers(1 << 30)),
                )  # fmt: skip
                frames = (frame for frame, _ in clip(scene, COUNT * TURN_S, fps=FPS, camera=camera))
                reliefs = reliefs_of(frames, engine, times)
                kinds.setdefault(kind, Tally()).add(reliefs)
                if kind.startswith("live"):
                    people.setdefault(f"portrait {number + 1}, live", Tally()).add(reliefs)
                elif not kind.startswith("flat"):
                    people.setdefault(f"portrait {number + 1}, bent", Tally()).add(reliefs)
    return kinds, people, times


def recorded(engine: Engine, data: Path) -> dict[str, Tally]:
    """By kind; a session is a clip or a person's sequence."""
    kinds: dict[str, Tally] = {}
    for source, read in (("pad-clips-dev.tar", pad_clips), ("nuaa-dev.tar", nuaa)):
        for kind, frames in read(data / source):
            kinds.setdefault(kind, Tally()).add(reliefs_of(frames, engine, []))
    return kinds


def timing(engine: Engine, repeats: int = 300) -> str:
    """Medians of the steps alone, one thread: faces far and near in 640 x 480, turned by 14 degrees in ten frames."""
    lines = []
    for distance_cm in (62.0, 30.0):
        head = Head.of(load(names()[0]), engine)
        scene = LiveHead(head, lambda t: (15 * t, 0.0, 0.0), lambda _t, z=distance_cm: (0.0, 0.0, z))
        seen = [(frame, engine.observe(frame)[0]) for frame, _ in clip(scene, 1.0, fps=10)]
        looks = [(f, s.face.landmarks_px) for f, s in seen if s is not None and s.face.landmarks_px is not None]
        tracks, follow, start, fit = _core.FaceTracks(), [], [], []
        for _ in range(repeats // 9):
            begin = time.perf_counter()
            tracks.start(*looks[0])
            start.append(time.perf_counter() - begin)
            for look in looks[1:]:
                begin = time.perf_counter()
                left = tracks.follow(*look)
                follow.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            turn = _core.mesh_turn(looks[0][1], looks[-1][1])
            if turn is not None and left >= MIN_TRACKS:
                _core.relief(*tracks.take(), _core.eye_distance(looks[0][1]), turn[1])
            fit.append(time.perf_counter() - begin)
        wide = float(np.ptp(looks[0][1][:, 0]))
        ms = ", ".join(
            f"{name} {np.median(values) * 1e3:.3f} (n {len(values)})"
            for name, values in (("carry", follow), ("choose", start), ("turn and fit", fit))
        )
        lines.append(f"face {wide:.0f} px wide, {left} tracks at the end: {ms} ms")
    return "\n".join(lines)


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=99)
    parser.add_argument("--seeds", type=int, default=1, help="sessions of each kind a portrait")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, metavar="DATA")
    arguments = parser.parse_args()
    engine = Engine()
    print(timing(engine), flush=True)
    if arguments.portraits:
        kinds, people, times = rendered(engine, arguments.portraits, arguments.seeds, arguments.seed)
        print(f"\n{table(kinds)}\n\n{table(people)}\n")
        print(f"Parallax.feed: median {np.median(times):.2f}, 95 % {np.percentile(times, 95):.2f} ms, n {len(times)}")
    if arguments.data:
        print(f"\n{table(recorded(engine, arguments.data))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
