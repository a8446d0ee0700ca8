"""Continuous frames: the face followed (engine/tracking.py) against the detector in every frame; do decisions agree?

    python benchmarks/tracking.py [--clips FOLDER] [--write docs/measurements.md]

Without --clips, on a clip that this script makes of a bundled portrait; with it, on every video of the folder too
(needs OpenCV); what is written names no video. Both ways take turns, one thread; means over the frames of a clip, as
few frames are detected.

"look": detection, mesh, alignment and quality, what every frame of a live picture needs; the detector looks in one of
five. "features of every frame": the same and the embedding networks. "verify": bursts of frames as FaceVerifier.verify
takes them, consecutive=True (one detection in a burst, features of the sharper half) against consecutive=False. A
decision is that of a frame, or of a burst, against features of the first usable
frame of every clip and of every bundled portrait.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps
from readme import write_between_markers

from facesdk import Engine, Policy, matching
from facesdk.capture.quality import MIN_PRESENCE, QualityLimits
from facesdk.capture.samples import Probe, usable_samples
from facesdk.engine.tracking import Tracker
from facesdk.images import load_rgb
from facesdk.types import Face, Float32Array, Frame, Sample

PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
EVERY = 5
MADE = "made of a portrait"
BURSTS = (3, 5)
T = TypeVar("T")
Observe = Callable[[Frame], tuple[Sample | None, list[Face]]]


def made_clip(count: int = 90) -> list[Frame]:
    """A portrait that drifts, grows and tilts in a 640 x 480 picture."""
    image = ImageOps.pad(Image.fromarray(load_rgb(PORTRAITS / "obama_2012.jpg")), (640, 480), color=(90, 90, 90))
    frames = []
    for number in range(count):
        swing = np.sin(number / 9)
        turned = image.rotate(3 * swing, resample=Image.Resampling.BILINEAR, translate=(round(40 * swing), number // 9))
        frames.append(np.ascontiguousarray(np.asarray(turned)))
    return frames


def read_clip(path: Path, count: int = 150) -> list[Frame]:
    """The first frames of a video, RGB."""
    import cv2

    capture, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < count:
        found, frame = capture.read()
        if not found:
            break
        frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
    return frames


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds, and what came."""
    start = time.perf_counter()
    result = call()
    return (time.perf_counter() - start) * 1e3, result


def in_turn(first: Callable[[], T], second: Callable[[], T], number: int) -> tuple[tuple[float, T], tuple[float, T]]:
    """Both timed, the second first every other time: what runs later finds the frame in the cache."""
    if number % 2:
        later = timed(second)
        return timed(first), later
    return timed(first), timed(second)


class Tally:
    """Times of both ways, and their decisions against every reference."""

    def __init__(self, references: Sequence[Float32Array], threshold: float) -> None:
        self._references, self._threshold = references, threshold
        self.before_ms: list[float] = []
        self.after_ms: list[float] = []
        self.differ, self.compared = 0, 0
        self.opened: tuple[set[int], set[int]] = (set(), set())  # references that matched at least once, both ways

    def add(self, before: tuple[float, list[Float32Array]], after: tuple[float, list[Float32Array]]) -> None:
        self.before_ms.append(before[0])
        self.after_ms.append(after[0])
        probes = [vectors for _, vectors in (before, after)]
        for number, reference in enumerate(self._references):
            decisions = [bool(p) and matching.fused_score([reference], p) >= self._threshold for p in probes]
            for opened, match in zip(self.opened, decisions, strict=True):
                opened |= {number} if match else set()
            self.compared += 1
            self.differ += decisions[0] != decisions[1]


def measure_look(engine: Engine, frames: Sequence[Frame]) -> Tally:
    """Looking by tracking against looking by detection."""
    tracker, tally = Tracker(engine, detect_every=EVERY), Tally([], 0.0)
    for number, frame in enumerate(frames):
        before, after = in_turn(partial(engine.observe, frame), partial(tracker.observe, frame), number)
        tally.add((before[0], []), (after[0], []))
    return tally


def measure_features(engine: Engine, frames: Sequence[Frame], tally: Tally) -> Tally:
    """Features of every frame with a face, which is followed or detected."""
    tracker = Tracker(engine, detect_every=EVERY)

    def features(observe: Observe, frame: Frame) -> list[Float32Array]:
        sample, _ = observe(frame)
        if sample is None or sample.turned or sample.quality.presence < MIN_PRESENCE:
            return []
        return matching.vectors_of([engine.embed(sample)])

    for number, f in enumerate(frames):
        tally.add(*in_turn(partial(features, engine.observe, f), partial(features, tracker.observe, f), number))
    return tally


def measure_verify(engine: Engine, frames: Sequence[Frame], size: int, tally: Tally) -> Tally:
    """Bursts as FaceVerifier.verify takes them."""

    def probes(burst: Sequence[Frame], *, consecutive: bool) -> list[Float32Array]:
        samples, _ = usable_samples(burst, engine, QualityLimits(), consecutive=consecutive)
        return Probe(samples, engine).vectors

    for number, start in enumerate(range(0, len(frames) - size + 1, size)):
        one = partial(probes, frames[start : start + size])
        tally.add(*in_turn(partial(one, consecutive=False), partial(one, consecutive=True), number))
    return tally


def references(engine: Engine, clips: Mapping[str, Sequence[Frame]]) -> list[Float32Array]:
    """Of every clip its first usable frame, and the bundled portraits."""
    pictures = [load_rgb(path) for path in sorted(PORTRAITS.glob("*.*g"))]
    firsts = [usable_samples(frames, engine, QualityLimits())[0][:1] for frames in clips.values()]
    samples = [s for s in map(engine.sample, pictures) if s is not None] + [s for first in firsts for s in first]
    return Probe(samples, engine).vectors


def row(cells: Sequence[Sequence[Tally]]) -> str:
    """Time over time, decisions that differ, references that one way alone matched; of one clip or of several."""
    parts = []
    for tallies in cells:
        before, after = (sum(sum(getattr(t, way)) for t in tallies) for way in ("before_ms", "after_ms"))
        text = f"{after / before:.2f} x"
        if compared := sum(t.compared for t in tallies):
            otherwise = sum(len(t.opened[0] ^ t.opened[1]) for t in tallies)
            text += f", {sum(t.differ for t in tallies)} of {compared}, {otherwise}"
        parts.append(text)
    return " | ".join(parts)


def table(clips: Mapping[str, Sequence[Frame]]) -> str:
    """A row for each clip and embedder, and one for all clips."""
    rows = [
        "| clip | frames | embedder | look | features of every frame |"
        + "".join(f" verify, {n} frames |" for n in BURSTS),
        "|---|---:|---|---:|---:|" + "---:|" * len(BURSTS),
    ]
    for embedder in ("sface", "mobilefacenet", "joint"):
        engine = Engine(embedder, threads=1)
        threshold = Policy().operating_point(embedder, samples=1, frames=1).threshold
        known = references(engine, clips)
        columns: list[list[Tally]] = [[] for _ in range(2 + len(BURSTS))]
        for name, frames in clips.items():
            cells = [measure_look(engine, frames), measure_features(engine, frames, Tally(known, threshold))]
            cells += [measure_verify(engine, frames, size, Tally(known, threshold)) for size in BURSTS]
            for column, cell in zip(columns, cells, strict=True):
                column.append(cell)
            rows.append(f"| {name} | {len(frames)} | {embedder} | {row([[cell] for cell in cells])} |")
        if len(clips) > 1:
            name = f"all with {len(clips) - 1} videos"
            rows.append(f"| {name} | {sum(map(len, clips.values()))} | {embedder} | {row(columns)} |")
    return "\n".join(rows)


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of videos, searched through")
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    clips = {MADE: made_clip()}
    for path in sorted(arguments.clips.rglob("*.m*")) if arguments.clips else []:
        frames = read_clip(path)
        if len(frames) > 10:
            clips[path.stem] = frames
    made = f"{platform.machine()}, {time.strftime('%Y-%m-%d')}"
    head = (
        "Time of a frame over that with detection in every frame; decisions that differ; references that one way alone"
        f" matched anywhere in the clip. Means, both ways in turn, one thread ({made})."
    )
    text = f"{head}\n\n{table(clips)}"
    print(text)
    if arguments.write:
        videos = tuple(f"| {name} |" for name in clips if name != MADE)
        written = "\n".join(line for line in text.splitlines() if not line.startswith(videos))
        write_between_markers(arguments.write, "tracking", written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
