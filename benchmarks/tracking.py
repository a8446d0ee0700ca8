"""Continuous frames: the face followed (facesdk.tracking) against the detector in every frame; do decisions agree?

    python benchmarks/tracking.py [--clips FOLDER] [--write README.md]

Without --clips, on a clip that this script makes of a bundled portrait; with it, on every video of the folder too
(needs OpenCV). Frames take turns, one thread; means over the frames of a clip, as few are detected. "look" is
detection and mesh alone, what every frame of a live picture needs; the others make features of every frame.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps
from readme import write_between_markers

from facesdk import Engine, Policy, matching
from facesdk.images import load_rgb
from facesdk.tracking import MIN_PRESENCE, Tracker, face_of
from facesdk.types import Face

PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
EVERY = 5
T = TypeVar("T")


def made_clip(count: int = 90) -> list[np.ndarray]:
    """A portrait that drifts, grows and tilts in a 640 x 480 picture."""
    image = ImageOps.pad(Image.fromarray(load_rgb(PORTRAITS / "obama_2012.jpg")), (640, 480), color=(90, 90, 90))
    frames = []
    for number in range(count):
        swing = np.sin(number / 9)
        turned = image.rotate(3 * swing, resample=Image.Resampling.BILINEAR, translate=(round(40 * swing), number // 9))
        frames.append(np.ascontiguousarray(np.asarray(turned)))
    return frames


def read_clip(path: Path, count: int = 90) -> list[np.ndarray]:
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


class Looker:
    """Detection and mesh, the face followed as Tracker does, without features."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.last, self.since = engine, None, 0

    def look(self, frame: np.ndarray) -> Face | None:
        if self.last is not None and self.since < EVERY - 1:
            self.since += 1
            self.last = self.engine._with_mesh(frame, face_of(self.last))
            return self.last
        found = self.engine.detect(frame)
        self.since, self.last = 0, self.engine._with_mesh(frame, found[0]) if found else None
        return self.last


def measure_look(engine: Engine, frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """Median milliseconds of looking by detection in every frame, and by tracking."""
    looker = Looker(engine)

    def detect(frame: np.ndarray) -> None:
        found = engine.detect(frame)
        if found:
            engine._with_mesh(frame, found[0])

    pairs = [(timed(lambda f=f: detect(f))[0], timed(lambda f=f: looker.look(f))[0]) for f in frames]
    return statistics.mean(p[0] for p in pairs), statistics.mean(p[1] for p in pairs)


def measure_features(engine: Engine, frames: Sequence[np.ndarray], threshold: float) -> tuple[float, float, int, int]:
    """Mean milliseconds by detection and by tracking, decisions that differ, and frames compared."""
    tracker, reference = Tracker(engine, detect_every=EVERY), None
    detected_ms, tracked_ms, differ, compared = [], [], 0, 0
    for frame in frames:
        detected_one, detected = timed(lambda f=frame: engine.observe(f)[0])
        tracked_one, tracked = timed(lambda f=frame: tracker.observe(f)[0])
        detected_ms.append(detected_one)
        tracked_ms.append(tracked_one)
        there = [f for f in (detected, tracked) if f is not None and f.quality.presence >= MIN_PRESENCE]
        if len(there) == 2 and reference is None:
            reference = there[0]._vector
        if len(there) == 2:
            compared += 1
            scores = [matching.score(reference, f._vector) >= threshold for f in there]
            differ += scores[0] != scores[1]
    return statistics.mean(detected_ms), statistics.mean(tracked_ms), differ, compared


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of videos, searched through")
    parser.add_argument("--write", type=Path, metavar="README.md")
    arguments = parser.parse_args()
    clips = {"made of a portrait": made_clip()}
    for path in sorted(arguments.clips.rglob("*.m*")) if arguments.clips else []:
        frames = read_clip(path)
        if len(frames) > 10:
            clips[path.stem] = frames
    rows = [
        "| clip | frames | look | sface | mobilefacenet | joint | decisions that differ |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    engines = {name: Engine(name) for name in ("sface", "mobilefacenet", "joint")}
    for name, frames in clips.items():
        before, after = measure_look(engines["sface"], frames)
        cells, differ, compared = [f"{after / before:.2f} x"], 0, 0
        for embedder, engine in engines.items():
            a, b, d, n = measure_features(engine, frames, Policy().operating_point(embedder).threshold)
            cells.append(f"{b / a:.2f} x")
            differ, compared = differ + d, compared + n
        rows.append(f"| {name} | {len(frames)} | {' | '.join(cells)} | {differ} of {compared} |")
    text = "\n".join(
        [f"Time of a frame with tracking (detector in one of {EVERY}) against detection in every frame; means over the"
         f" clip, frames taking turns, one thread ({platform.machine()}, {time.strftime('%Y-%m-%d')}).", "", *rows]
    )  # fmt: skip
    print(text)
    if arguments.write:
        write_between_markers(arguments.write, "tracking", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
