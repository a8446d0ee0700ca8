"""Passive liveness: what the two optional networks say of living people, prints and screens, by person.

python benchmarks/passive.py --data DATA [--write docs/optional-models.md]

DATA has nuaa-dev.tar (live webcam sequences, prints before the same webcam), pad-clips-dev.tar (a live clip and one of
a screen for each of two people) and pad-weights/ (the files that `facesdk models add` takes). Each frame is looked at
as a session does: Engine.observe, then the networks on the detector's box. A window is five consecutive frames of one
sequence, of the clips every third frame; its verdict is facesdk.liveness.passive's. Windows are made of frames near the
neutral pose, as a session samples them (yaw within 12 deg, pitch within 25, presence >= .9), unless a row says
otherwise. Windows of one sequence are
much alike, so that the interval (Clopper-Pearson, 95 %) is of sequences with a wrong verdict. "Dark" frames are
multiplied. Networks fed wrongly, and with rounded weights, are measured by the area under the ROC curve of single
frames.
"""

from __future__ import annotations

import argparse
import datetime
import mmap
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pad_sets import Recording, clips, nuaa
from readme import write_between_markers

from facesdk import Engine
from facesdk.capture.quality import MIN_PRESENCE
from facesdk.engine.building.network import Conv
from facesdk.engine.building.writer import write
from facesdk.engine.optional.adding import add
from facesdk.engine.optional.catalogue import catalogue
from facesdk.engine.optional.golden import network_input
from facesdk.engine.optional.minifasnet import minifasnet
from facesdk.engine.optional.pth import read_state_dict
from facesdk.engine.runtime import choose_runtime, network_of
from facesdk.evaluation.intervals import clopper_pearson
from facesdk.liveness.passive import (
    LIVE,
    MIN_BRIGHTNESS,
    MIN_COLOUR,
    NEEDED,
    Passive,
    PassiveSample,
    PassiveVerdict,
    passive_verdict,
    patch,
)  # fmt: skip
from facesdk.types import Frame, Sample

FACTORS = (1.0, 0.7, 0.5, 0.35, 0.25)
BINS = (0, 15, 30, 45, 60, 75, 90, 110, 256)
WRONG = ((True, PassiveVerdict.DENIED), (False, PassiveVerdict.LIVE))
YAW, PITCH = 12.0, 25.0  # degrees that are near the neutral pose; the cameras look up or down at their people
FED = {
    "BGR, 0..255, as they want it": network_input,
    "RGB, 0..255": lambda crop: network_input(crop[..., ::-1]),
    "BGR, divided by 255": lambda crop: network_input(crop) / np.float32(255),
    "gray, 0..255": lambda crop: network_input(
        np.repeat(crop.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    ),
}


def _int8(weights: np.ndarray) -> np.ndarray:
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    return np.round(weights / np.maximum(scale, 1e-12)) * scale


ROUNDED = {
    "the same, weights rounded to float16": lambda weights: weights.astype(np.float16).astype(np.float64),
    "the same, weights rounded to int8, a scale for each channel": _int8,
}


@dataclass(frozen=True)
class Seen:
    """What was made of one frame at one factor. answers: the probability as each of FED and ROUNDED gives it."""

    sequence: int
    factor: float
    answers: tuple[float, ...]
    sample: PassiveSample
    neutral: bool
    colour: float


def rounded(folder: Path, rounding: Callable[[np.ndarray], np.ndarray]) -> Passive:
    """The networks with other weights."""
    runtime, networks = choose_runtime(), []
    for known in catalogue().values():
        network = minifasnet(known.name, read_state_dict((folder / known.source.file).read_bytes()))
        network.nodes = [replace(n, weights=rounding(n.weights)) if isinstance(n, Conv) else n for n in network.nodes]
        content = write(network)
        model = mmap.mmap(-1, len(content))
        model.write(content)
        networks.append((network_of(runtime, known.model, model), known.scale))
    return Passive(networks)


def look(engine: Engine, passive: Passive, others: Sequence[Passive], sequences: Sequence[Recording]) -> list[Seen]:
    """Every frame with a face, at every factor."""
    seen = []
    for number, sequence in enumerate(sequences):
        for frame in sequence.frames:
            for factor in FACTORS:
                dark = frame if factor == 1 else np.round(frame * factor).astype(np.uint8)
                sample, _ = engine.observe(dark)
                if sample is None:
                    continue
                box = sample.face.box_px
                answers = [
                    float(np.mean([
                        network.run(feed(patch(dark, box, scale)))[0].ravel()[LIVE]
                        for network, scale in passive._networks
                    ]))
                    for feed in (FED.values() if factor == 1 else [network_input])
                ]  # fmt: skip
                planes = patch(dark, box, 1.0).astype(np.int16)
                colour = float(np.abs(planes - np.roll(planes, 1, axis=2)).mean())
                answers += [other.live_probability(dark, box) for other in others if factor == 1]
                evidence = passive.look(dark, sample)
                seen.append(Seen(number, factor, tuple(answers), evidence, is_neutral(sample), colour))
    return seen


def is_neutral(sample: Sample) -> bool:
    """Whether a session would take the frame for this."""
    pose = sample.face.pose
    straight = abs(pose.yaw_deg) <= YAW and abs(pose.pitch_deg) <= PITCH
    return straight and not sample.turned and sample.quality.presence >= MIN_PRESENCE


def windows(seen: Sequence[Seen], number: int, factor: float, *, turned: bool = False) -> list[PassiveVerdict]:
    """The verdict of each window of a sequence; with `turned` of frames in any pose."""
    samples = [s.sample for s in seen if s.sequence == number and s.factor == factor and (turned or s.neutral)]
    return [passive_verdict(samples[at : at + NEEDED]) for at in range(len(samples) - NEEDED + 1)]


def auc(live: Sequence[float], spoofed: Sequence[float]) -> float:
    """Area under the ROC curve: how often a live frame has the higher probability."""
    a, b = np.asarray(live)[:, None], np.asarray(spoofed)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def counted(verdicts: Sequence[PassiveVerdict], wrong: PassiveVerdict) -> str:
    pending = sum(v is PassiveVerdict.PENDING for v in verdicts)
    told = f"{sum(v is wrong for v in verdicts)} of {len(verdicts) - pending}"
    return f"{told}, {pending} too dark" if pending else told


def by_person(sequences: Sequence[Recording], seen: Sequence[Seen]) -> list[str]:
    """A row for each person: windows with a wrong verdict; then the totals with the interval of sequences."""
    lines = ["| | live windows denied | print or screen windows passed |", "|---|---:|---:|"]
    groups = dict.fromkeys((s.kind, s.person) for s in sequences)
    for kind, person in groups:
        cells = []
        for live, wrong in WRONG:
            of = [n for n, s in enumerate(sequences) if (s.kind, s.person, s.live) == (kind, person, live)]
            cells.append(counted([v for n in of for v in windows(seen, n, 1.0)], wrong))
        lines.append(f"| {person} ({kind}) | {' | '.join(cells)} |")
    for kind, turned in ((kind, turned) for kind in ("webcam", "clip") for turned in (False, True)):
        cells = []
        for live, wrong in WRONG:
            numbers = [n for n, s in enumerate(sequences) if (s.kind, s.live) == (kind, live)]
            of = [windows(seen, n, 1.0, turned=turned) for n in numbers]
            errors = sum(wrong in verdicts for verdicts in of)
            low, high = clopper_pearson(errors, len(of)) or (0.0, 1.0)
            total = counted([v for verdicts in of for v in verdicts], wrong)
            cells.append(f"{total}; sequences {errors} of {len(of)} ({100 * low:.0f} to {100 * high:.0f} %)")
        lines.append(f"| **all, {kind}{', in any pose' if turned else ''}** | {' | '.join(cells)} |")
    return lines


def fed(sequences: Sequence[Recording], seen: Sequence[Seen]) -> list[str]:
    """How well single frames are told apart by what the networks are given."""
    plain = [s for s in seen if s.factor == 1 and s.neutral]
    lines = ["| given to the networks | AUC of frames | live frames under 0.5 | print or screen frames over 0.5 |",
             "|---|---:|---:|---:|"]  # fmt: skip
    for index, name in enumerate((*FED, *ROUNDED)):
        live, spoofed = (
            [s.answers[index] for s in plain if sequences[s.sequence].live is kind] for kind in (True, False)
        )
        lines.append(f"| {name} | {auc(live, spoofed):.4f} | {sum(v <= 0.5 for v in live)} of {len(live)} |"
                     f" {sum(v > 0.5 for v in spoofed)} of {len(spoofed)} |")  # fmt: skip
    return lines


def dark(sequences: Sequence[Recording], seen: Sequence[Seen]) -> list[str]:
    """How dark a face may be, from frames at all factors; and the windows of each factor."""
    lines = ["| brightness of the face | live frames under 0.5 | print or screen frames over 0.5 |", "|---|---:|---:|"]
    for low, high in pairwise(BINS):
        cells = []
        for kind in (True, False):
            of = [s for s in seen if s.neutral and low <= s.sample.brightness < high]
            values = [s.answers[0] for s in of if sequences[s.sequence].live is kind]
            wrong = sum((v <= 0.5) is kind for v in values)
            cells.append(f"{wrong} of {len(values)}")
        lines.append(f"| {low} to {high} | {' | '.join(cells)} |")
    lines += ["", "| frames multiplied by | live windows denied | print or screen windows passed |", "|---|---:|---:|"]
    for factor in FACTORS:
        cells = []
        for live, wrong in WRONG:
            of = [v for n, s in enumerate(sequences) if s.live is live for v in windows(seen, n, factor)]
            cells.append(counted(of, wrong))
        lines.append(f"| {factor:g} | {' | '.join(cells)} |")
    return lines


def timed(passive: Passive, frame: Frame, box: np.ndarray) -> float:
    """Milliseconds of live_probability, the median of 200."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        passive.live_probability(frame, box)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> int:
    """Measures, prints, and with --write puts the tables into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        add(sorted((options.data / "pad-weights").glob("*.pth")), Path(folder))
        passive, engine = Passive.load([Path(folder)]), Engine()
    if passive is None:
        raise SystemExit("error: pad-weights/ lacks a network")
    sequences = [*nuaa(options.data), *clips(options.data)]
    others = [rounded(options.data / "pad-weights", rounding) for rounding in ROUNDED.values()]
    seen = look(engine, passive, others, sequences)
    plain = [s for s in seen if s.factor == 1]
    colour = min(s.colour for s in plain)
    darkest = min(s.sample.brightness for s in plain if sequences[s.sequence].live)
    first = sequences[0].frames[0]
    ms = timed(passive, first, engine.detect(first)[0].box_px)
    text = "\n".join([
        f"{platform.machine()}, {datetime.date.today()}, `benchmarks/passive.py`: {len(plain)} frames with a face in"
        f" {len(sequences)} sequences of 6 people; both networks {ms:.1f} ms a frame, one thread, cropping included."
        f" The least colour of a frame (MIN_COLOUR is {MIN_COLOUR:g}): {colour:.1f}. The darkest living face:"
        f" {darkest:.0f}.",
        "", *by_person(sequences, seen), "", *fed(sequences, seen), "", *dark(sequences, seen), "",
        f"A face under {MIN_BRIGHTNESS:g} is too dark to tell.",
    ])  # fmt: skip
    print(text)
    if options.write:
        write_between_markers(options.write, "passive", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
