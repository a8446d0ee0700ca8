"""Sessions: who opens and who does not, how long it takes, what it costs; simulated and recorded.

python benchmarks/sessions.py [--data DATA] [--parts bulk rendered real cost wrong] [--write docs/liveness.md] [--quick]

bulk: the real session without pictures (session_bulk.py). rendered: with the real engine before rendered people and
things (session_rendered.py), as many as run within --minutes. real: recordings of DATA (session_real.py). cost, wrong:
session_checks.py. Each part writes its own tables. Bounds were chosen on seeds under 100,000, what is reported runs on
seeds from --seed on. --reliefs FILE keeps what reliefs were measured of rendered sessions, and bulk takes its reliefs
from there instead of from the simulator's assumed spread. Intervals: Clopper-Pearson, 95 %.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import session_bulk as bulk
import session_casts as casts
from readme import write_between_markers
from session_checks import cost, wrong
from session_real import real, share
from session_rendered import Run, Somebody, runs

from facesdk import Engine, portraits
from facesdk.liveness import challenge as challenges
from facesdk.liveness.challenge import MAX_PATH_ERROR, path_error
from facesdk.liveness.challenge import Path as DotPath
from facesdk.liveness.simulator.people import Person, Prompt

KINDS = ("dot", "directions")
PARTS = ("bulk", "rendered", "real", "cost", "wrong")
UNTIL_S = {"dot": 6.0, "directions": 3.5}  # within which the place is taken
TAKEOVERS = {
    "another begins, the owner ends": {"who": (2, 1)}, "the owner begins, another ends": {"who": (1, 2)},
    "another in between": {"who": (1, 2, 1)}, "another in between, .4 s of nobody": {"who": (1, 2, 1), "gone_s": 0.4},
    "the owner's photo, another follows, the photo": {"who": (1, 2, 1), "photo_ends": True},
}  # fmt: skip
# What relief of the rendered stands for an actor's.
RENDERED_KIND = {"live": ("live",), "replay": ("live",), "flat": ("flat print, moved", "phone, moved"),
                 "bent": ("bent 8 cm", "bent 12 cm", "bent 20 cm")}  # fmt: skip


def played(cast: bulk.Cast, seeds: Sequence[int], reliefs: bulk.Reliefs, **ways: Any) -> list[bulk.End]:
    return [bulk.play(cast, seed, recorded=reliefs, **ways) for seed in seeds]


def times(ends: Sequence[bulk.End]) -> str:
    """Median and 99th percentile of the seconds of those that opened."""
    took = [end.seconds for end in ends if end.opened]
    return " / ".join(f"{v:.1f}" for v in np.percentile(took, (50, 99))) if took else "-"


def reasons(ends: Sequence[bulk.End]) -> str:
    counts = Counter(end.outcome.reason for end in ends if not end.opened)
    return "; ".join(f"{count} {reason}" for reason, count in counts.most_common(3)) or "-"


def people_table(seeds: Sequence[int], reliefs: bulk.Reliefs, say: Callable[[str], None]) -> list[str]:
    """Living people who follow, and what refuses some of them."""
    lines = ["| living people | challenge | passed, one retry | at the first try | seconds, median / 99 % | else |",
             "|---|---|---:|---:|---:|---|"]  # fmt: skip
    for kind in KINDS:
        ends = played(casts.live, seeds, reliefs, challenge=kind)
        opened, first = (sum(e.opened and e.challenges <= most for e in ends) for most in (9, 1))
        lines.append(f"| who follow | {kind} | {share(opened, len(ends))} | {first} | {times(ends)} |"
                     f" {reasons(ends)} |")  # fmt: skip
        say(lines[-1])
    return lines


def attacks_table(seeds: Sequence[int], reliefs: bulk.Reliefs, say: Callable[[str], None]) -> list[str]:
    """What must not pass."""
    lines = ["| attack | challenge | opened | said |", "|---|---|---:|---|"]
    for kind in KINDS:
        others: dict[str, bulk.Cast] = {
            "print or phone, held still": casts.photo,
            "flat print or phone, moved": lambda s, shown: casts.photo(s, shown, moved=True),
            "bent print, moved": lambda s, shown: casts.photo(s, shown, moved=True, bent=True),
            "replay of an old challenge, started at the prompt, both tries": casts.replayed(kind),
        }
        for name, cast in others.items():
            ends = played(cast, seeds, reliefs, challenge=kind)
            lines.append(f"| {name} | {kind} | {share(sum(e.opened for e in ends), len(ends))} | {reasons(ends)} |")
            say(lines[-1])
        every: list[bulk.End] = []
        for name, ways in TAKEOVERS.items():
            cast = casts.takeover(until_s=UNTIL_S[kind], **ways)
            ends = played(cast, seeds[: -(-len(seeds) // 4)], reliefs, challenge=kind)
            ends = [end for end in ends if len(end.people) > 1 and bulk.STRANGER in end.people]
            lines.append(f"| {name} | {kind} | {share(_stranger_opened(ends), len(ends))} | {reasons(ends)} |")
            say(lines[-1])
            every += ends
        lines.append(f"| **second person, all** | {kind} | {share(_stranger_opened(every), len(every))} | |")
    return lines


def _stranger_opened(ends: Sequence[bulk.End]) -> int:
    """Sessions that opened though somebody else was there since the last challenge began."""
    return sum(end.opened and bulk.STRANGER in end.answered for end in ends)


def reported_table(seeds: Sequence[int], reliefs: bulk.Reliefs, say: Callable[[str], None]) -> list[str]:
    """What the challenge does not stop, how often."""
    lines = ["| measured, not promised | " + " | ".join(f"opened, {kind}" for kind in KINDS) + " |", "|---|---:|---:|"]
    others: dict[str, tuple[bulk.Cast, bool]] = {
        f"puppet led by a person's head, {s:g} s later": (casts.puppet(s), False) for s in (0.1, 0.2, 0.3)
    }
    others["puppet led by the dot itself, .2 s later"] = casts.puppet(0.2, automatic=True), False
    for clips in (4, 8, 16):
        for foresees in (True, False):
            name = (
                f"operator, {clips} clips a segment, {'foresees where it ends' if foresees else 'sees its direction'}"
            )
            others[name] = casts.operator(clips, foresees=foresees), True
    for name, (cast, foreseen) in others.items():
        cells = []
        for kind in KINDS:
            ends = played(cast, seeds, reliefs, challenge=kind, foreseen=foreseen)
            cells.append(share(sum(e.opened for e in ends), len(ends)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
        say(lines[-1])
    return lines


def conditions_table(seeds: Sequence[int], reliefs: bulk.Reliefs, say: Callable[[str], None]) -> list[str]:
    """Living people where the camera is slow, frames are dropped, or the mesh is unsure."""
    lines = ["| living people, one retry | " + " | ".join(f"passed, {kind} | seconds" for kind in KINDS) + " |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    ways: dict[str, dict[str, Any]] = {f"{fps} frames a second": {"fps": float(fps)} for fps in (5, 10, 15, 30, 60)}
    ways |= {f"15 a second, {part:.0%} dropped": {"dropped": part} for part in (0.1, 0.3)}
    ways |= {f"mesh unsure by {noise:g} degrees": {"noise_deg": noise} for noise in (0.1, 0.2, 0.4, 0.6)}
    for name, way in ways.items():
        noise, cells = way.pop("noise_deg", None), []
        cast = casts.live if noise is None else (lambda s, shown, noise=noise: casts.live(s, shown, noise_deg=noise))
        for kind in KINDS:
            ends = played(cast, seeds, reliefs, challenge=kind, **way)
            cells += [share(sum(e.opened for e in ends), len(ends)), times(ends)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        say(lines[-1])
    return lines


def followed(who: Person, path: DotPath, fps: float = 15.0) -> tuple[np.ndarray, np.ndarray]:
    """Times and turns of a person who follows a dot, as the mesh reports them, from its start on."""
    screen = Prompt.dot(0.0, lambda t: path.at(np.floor(t * fps + 1e-9) / fps))
    noise = np.random.default_rng(who.seed)
    at = np.arange(1, round((path.duration_s + 0.6) * fps)) / fps
    turns = [(0.0, 0.0), *(np.add(who.pose(float(t), [screen])[:2], noise.normal(0, who.noise_deg, 2)) for t in at)]
    return np.concatenate([[0.0], at]), np.array(turns)


def errors_table(seed: int, tries: int) -> list[str]:
    """The path error alone: of who follows, and of recordings of other paths."""
    many = max(1, tries // 40)
    paths = [DotPath.fresh(random.Random(seed + number)) for number in range(many)]
    gone = [followed(Person(seed + number), path) for number, path in enumerate(paths)]
    own = np.array([path_error(path, *one) for path, one in zip(paths, gone, strict=True)])
    fresh = random.Random(seed - 1)
    blind = np.array([path_error(DotPath.fresh(fresh), *one) for one in gone for _ in range(40)])
    lines = ["| path error | n | 1 % | 50 % | 90 % | 95 % | 99 % | up to the bound |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, values in (("living people, a try", own), ("recordings of other paths, a try", blind)):
        points = " | ".join(f"{v:.2f}" for v in np.percentile(values, (1, 50, 90, 95, 99)))
        within = share(int((values <= MAX_PATH_ERROR).sum()), len(values))
        lines.append(f"| {name} | {len(values)} | {points} | {within} |")
    return lines


def bounds_table(seeds: Sequence[int], reliefs: bulk.Reliefs, say: Callable[[str], None]) -> list[str]:
    """What other bounds of the path error would let pass: the trade between people and operators."""
    lines = ["| bound of the path error | living people | operator, 16 clips, foresees | sees direction |",
             "|---:|---:|---:|---:|"]  # fmt: skip
    operators = {foresees: casts.operator(16, foresees=foresees) for foresees in (True, False)}
    for bound in (0.20, 0.25, 0.30, 0.35, 0.40):
        challenges.MAX_PATH_ERROR = bound
        cells = [
            share(sum(e.opened for e in played(cast, seeds, reliefs, foreseen=foreseen)), len(seeds))
            for cast, foreseen in ((casts.live, False), (operators[True], True), (operators[False], True))
        ]
        lines.append(f"| {bound:.2f} | {' | '.join(cells)} |")
        say(lines[-1])
    challenges.MAX_PATH_ERROR = MAX_PATH_ERROR
    return lines


def bulk_part(seed: int, reliefs: bulk.Reliefs, *, quick: bool, say: Callable[[str], None]) -> list[str]:
    """All tables of sessions without pictures."""
    many, few = (range(seed, seed + count) for count in ((100, 40) if quick else (2000, 250)))
    source = "measured of rendered sessions" if reliefs else "the simulator's means with an assumed spread"
    return [f"Seeds from {seed} on, 15 frames a second; reliefs: {source}.", "", *people_table(many, reliefs, say), "",
            *attacks_table(many, reliefs, say), "", *errors_table(seed, 2000 if quick else 20000), "",
            *reported_table(few, reliefs, say), "", *bounds_table(few, reliefs, say), "",
            *conditions_table(few, reliefs, say)]  # fmt: skip


def rendered_part(found: Sequence[Run]) -> list[str]:
    """Sessions before rendered people and things, by what they were."""
    lines = ["| what stands there | opened | seconds, median / longest | path error, first try, 10 / 50 / 90 % |"
             " rho; without what paper shows: medians | ends |", "|---|---:|---:|---:|---:|---|"]  # fmt: skip
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in found:
        if run.cut:
            kinds[run.kind].append(run)
    for kind, of in kinds.items():
        errors = [run.errors[0] for run in of if run.errors]
        error = " / ".join(f"{v:.2f}" for v in np.percentile(errors, (10, 50, 90))) if errors else "-"
        pairs = [pair for run in of for pair in run.reliefs]
        relief = "; ".join(f"{v:.2f}" for v in np.median(pairs, axis=0)) if pairs else "-"
        took = [run.seconds for run in of]
        ends = Counter(run.outcome.reason for run in of)
        said = "; ".join(f"{count} {reason}" for reason, count in ends.most_common(3))
        lines.append(f"| {kind} | {share(sum(bool(run.outcome) for run in of), len(of))} | {np.median(took):.1f} /"
                     f" {max(took):.1f} | {error} | {relief} | {said} |")  # fmt: skip
    return lines


def render(
    engine: Engine, people: Sequence[Somebody], seed: int, minutes: float, say: Callable[[str], None]
) -> list[Run]:
    """As many sessions as there is time for."""
    found: list[Run] = []
    end_s = time.monotonic() + 60 * minutes
    for run in runs(engine, people, range(seed % 1000, seed % 1000 + 50)):
        found.append(run)
        say(f"{run.kind}: {run.outcome.decision.name}, {run.outcome.reason}, {run.seconds:.1f} s")
        if time.monotonic() > end_s:
            break
    return found


def reliefs_of(found: Sequence[Run]) -> bulk.Reliefs:
    """By kind of actor."""
    return {
        kind: series for kind, names in RENDERED_KIND.items()
        if (series := [run.reliefs for run in found if run.kind in names and run.reliefs])
    }  # fmt: skip


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--seed", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--reliefs", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    engine = Engine(threads=1)
    reliefs: bulk.Reliefs = {}
    if options.reliefs and options.reliefs.exists():
        reliefs = json.loads(options.reliefs.read_text())
    people = [Somebody.of(name, engine) for name in portraits.names()[: 3 if options.quick else None]] \
        if {"rendered", "cost", "wrong"} & set(options.parts) else []  # fmt: skip
    for part in ("rendered", "bulk", "real", "cost", "wrong"):
        if part not in options.parts or (part == "real" and options.data is None):
            continue
        begin = time.monotonic()
        if part == "rendered":
            found = render(engine, people, options.seed, 0.5 if options.quick else options.minutes, say)
            reliefs = reliefs_of(found)
            if options.reliefs:
                options.reliefs.write_text(json.dumps(reliefs))
            lines = rendered_part(found)
        elif part == "bulk":
            lines = bulk_part(options.seed, reliefs, quick=options.quick, say=say)
        elif part == "real":
            lines = real(engine, options.data, quick=options.quick, say=say)
        else:
            lines = cost(engine, people, quick=options.quick) if part == "cost" else wrong(engine, people)
        load = os.getloadavg()[0]
        head = (f"{platform.machine()}, {os.cpu_count()} cores (load {load:.1f}), {datetime.date.today()},"
                f" `benchmarks/sessions.py --parts {part}`, {(time.monotonic() - begin) / 60:.0f} min.")  # fmt: skip
        text = "\n".join([head, "", *lines])
        print(text + "\n", flush=True)
        if options.write:
            write_between_markers(options.write, f"sessions-{part}", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
