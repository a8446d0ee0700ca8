"""What sessions say of recordings of living people, of prints and of screens: DATA/nuaa-dev.tar, pad-clips-dev.tar.

No prompts were shown to anybody in them.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pad_sets import Recording, clips, nuaa

from facesdk import Engine, Policy
from facesdk.capture.appearance import Follower
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.engine.optional.adding import add
from facesdk.engine.tracking import Tracker
from facesdk.evaluation.intervals import clopper_pearson
from facesdk.liveness.evidence import ENOUGH_TURNS, MIN_BENT_RELIEF, MIN_RELIEF
from facesdk.liveness.parallax import Parallax
from facesdk.liveness.passive import Passive
from facesdk.sessions import means_for
from facesdk.types import Assurance, Decision, Frame, Outcome, SessionPhase

STEP_S = 0.1  # between frames of a recording: clips are read every third frame, the sequences' rate is not known
TOGETHER = 30  # reliefs whose medians stand for a challenge's


def share(count: int, total: int) -> str:
    """A count with its 95 % interval (Clopper-Pearson)."""
    low, high = clopper_pearson(count, total) or (0.0, 1.0)
    return f"{count} of {total} ({100 * low:.1f} to {100 * high:.1f} %)" if total else "none"


def sessions_of(
    engine: Engine, recording: Recording, passive: Passive | None, tier: Assurance
) -> Iterator[Outcome | SessionPhase]:
    """The outcomes of one session after another; who is compared, matches. The recording ends the last: its phase."""
    policy = Policy()
    frames = iter(recording.frames)
    number = 0
    while True:
        means = means_for(engine, policy, Assurance.NONE if tier is Assurance.RGB_PASSIVE else tier, "dot", None)
        means = replace(means, assurance=tier, passive=passive)
        goal = LiveVerification(means, compare=lambda _probe: True, refuse=lambda: None)
        with Session(goal, Follower(engine, policy.quality)) as session:
            for frame in frames:
                number += 1
                if session.feed(frame, time_s=number * STEP_S).done:
                    break
            if not session.done:
                yield session.progress.phase
                return
            if session.outcome is not None:
                yield session.outcome


def passive_tier(engine: Engine, recordings: Sequence[Recording], passive: Passive) -> list[str]:
    """By person: sessions of living people that were denied, and of prints and screens that passed."""
    lines = ["| RGB_PASSIVE, by person | live sessions denied | print or screen sessions passed | neither |",
             "|---|---:|---:|---:|"]  # fmt: skip
    total: dict[bool, Counter[Decision]] = {True: Counter(), False: Counter()}
    for person in dict.fromkeys((r.kind, r.person) for r in recordings):
        found: dict[bool, Counter[Decision]] = {True: Counter(), False: Counter()}
        for one in recordings:
            if (one.kind, one.person) == person:
                ends = sessions_of(engine, one, passive, Assurance.RGB_PASSIVE)
                found[one.live].update(end.decision for end in ends if isinstance(end, Outcome))
        for live in (True, False):
            total[live] += found[live]
        lines.append(f"| {person[1]} ({person[0]}) | {_wrong(found)} |")
    return [*lines, f"| **all** | {_wrong(total)} |"]


def _wrong(found: dict[bool, Counter[Decision]]) -> str:
    told = {live: counts[Decision.MATCH] + counts[Decision.ATTACK_SUSPECTED] for live, counts in found.items()}
    neither = sum(counts.total() for counts in found.values()) - sum(told.values())
    denied, passed = found[True][Decision.ATTACK_SUSPECTED], found[False][Decision.MATCH]
    return f"{share(denied, told[True])} | {share(passed, told[False])} | {neither}"


def challenge_tier(engine: Engine, recordings: Sequence[Recording]) -> list[str]:
    """How sessions of the highest tier end, without the passive networks, on all of a person one after another.

    Nobody in the recordings was shown a dot.
    """
    lines = ["| RGB_CHALLENGE, no dot was shown | sessions | passed | ends |", "|---|---:|---:|---|"]
    for kind, live in dict.fromkeys((r.kind, r.live) for r in recordings):
        ends = Counter[str]()
        for person in dict.fromkeys(r.person for r in recordings if (r.kind, r.live) == (kind, live)):
            frames = [f for r in recordings if (r.kind, r.live, r.person) == (kind, live, person) for f in r.frames]
            for end in sessions_of(engine, Recording(kind, person, live, frames), None, Assurance.RGB_CHALLENGE):
                told = isinstance(end, Outcome)
                ends[f"{end.decision.name}: {end.reason}" if told else f"the recording ended: {end.value}"] += 1
        passed = sum(count for end, count in ends.items() if end.startswith("MATCH"))
        said = "; ".join(f"{count} {end}" for end, count in ends.most_common())
        name = f"{kind}, {'live' if live else 'print' if kind == 'webcam' else 'screen'}"
        lines.append(f"| {name} | {ends.total()} | {passed} | {said or '-'} |")
    return lines


def reliefs(engine: Engine, recordings: Sequence[Recording]) -> list[str]:
    """By person: what Parallax says wherever a face turned far enough."""
    lines = [f"| relief, by person | frames with one | rho 5 / 50 / 95 % | without what paper shows |"
             f" {TOGETHER} in a row above both bounds |", "|---|---:|---:|---:|---:|"]  # fmt: skip
    found: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    for one in recordings:
        kind = "live" if one.live else "print" if one.kind == "webcam" else "screen"
        found[f"{one.person} ({one.kind}), {kind}"].append(_reliefs_of(engine, one.frames))
    for name, series in found.items():
        values = np.array([pair for one in series for pair in one]).reshape(-1, 2)
        if len(values) < ENOUGH_TURNS:
            lines.append(f"| {name} | {len(values)} | - | - | - |")
            continue
        runs = [one[at : at + TOGETHER] for one in series for at in range(0, len(one) - TOGETHER + 1, TOGETHER)]
        above = sum(bool((np.median(run, axis=0) > (MIN_RELIEF, MIN_BENT_RELIEF)).all()) for run in runs)
        columns = (" / ".join(f"{v:.2f}" for v in np.percentile(values[:, i], (5, 50, 95))) for i in (0, 1))
        lines.append(f"| {name} | {len(values)} | {' | '.join(columns)} | {above} of {len(runs)} |")
    return lines


def _reliefs_of(engine: Engine, frames: Sequence[Frame]) -> list[tuple[float, float]]:
    tracker, parallax, found = Tracker(engine), Parallax(), []
    for frame in frames:
        sample, _ = tracker.observe(frame)
        if sample is None or sample.face.landmarks_px is None or not sample.quality.presence >= 0.9:
            parallax.reset()
            continue
        relief = parallax.feed(frame, sample.face.landmarks_px, sample.face.pose)
        if relief is not None:
            found.append((relief.rho, relief.rho_bent))
    return found


def real(engine: Engine, data: Path, *, quick: bool, say: Callable[[str], None]) -> list[str]:
    """All tables of recordings."""
    with tempfile.TemporaryDirectory() as folder:
        add(sorted((data / "pad-weights").glob("*.pth")), Path(folder))
        passive = Passive.load([Path(folder)])
    if passive is None:
        raise SystemExit("error: pad-weights/ lacks a network")
    recordings = [*nuaa(data), *clips(data)]
    recordings = recordings[::8] if quick else recordings
    say(f"{len(recordings)} recordings")
    frames = sum(len(one.frames) for one in recordings)
    return [f"{len(recordings)} recordings of {len({(r.kind, r.person) for r in recordings})} people, {frames} frames;"
            f" a frame counts as {STEP_S:g} s.", "", *passive_tier(engine, recordings, passive), "",
            *challenge_tier(engine, recordings), "", *reliefs(engine, recordings)]  # fmt: skip
