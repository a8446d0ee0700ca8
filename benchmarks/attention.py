"""Open eyes, closed eyes, and where they look: what facesdk/liveness/attention.py refuses.

    python benchmarks/attention.py --data DATA [--step 6]

DATA: see photo_sets.py, besides nuaa-dev.tar (four people before a webcam, live and printed) and pad-clips-dev.tar
(read with OpenCV; the first live clip has blinks). Only what quality takes for a verification is counted. Of LFW the
first photo of every STEP-th person. None of these sets says whose eyes are closed: a refusal on LFW may be right.
"usual" is the median of the person's, or the clip's, frames. Intervals: Clopper-Pearson, 95 %, frames of one person
taken as independent.

Drawn lids (closed_eyes.py) do not close for the network, in any manner: they show what drawings are worth, not what
closed eyes measure.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import photo_sets
from closed_eyes import MANNERS, closed

from facesdk import Engine
from facesdk.capture.quality import QualityLimits, assess
from facesdk.engine.eyes import Eyes
from facesdk.engine.tracking import Tracker
from facesdk.evaluation.intervals import clopper_pearson
from facesdk.images import decode_rgb, load_rgb
from facesdk.liveness.attention import MAX_ASIDE, MIN_OPENNESS, SHARE_OF_USUAL, eyes_open, eyes_straight
from facesdk.types import Frame, Sample

PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
STRAIGHT_DEG = 8.0
CLIPS = ("pad_videos/tranvanluyt_real.mp4", "pad_videos/zubair_real.mov")


def interval(count: int, n: int) -> str:
    """`count of n (share, 95 % interval)`."""
    low, high = clopper_pearson(count, n) or (0.0, 1.0)
    return f"{count} of {n} ({count / max(n, 1):.2%}, {low:.2%} to {high:.2%})"


def used(engine: Engine, frame: Frame) -> Sample | None:
    """The sample of a frame that a verification would compare."""
    sample, faces = engine.observe(frame)
    return sample if assess(sample, len(faces), QualityLimits(), enrolling=False) is None else None


def webcam(data: Path, folder: str) -> Iterator[tuple[str, Frame]]:
    """Person and frame of one class of nuaa-dev.tar."""
    with tarfile.open(data / "nuaa-dev.tar") as tar:
        for member in sorted((m for m in tar if f"/{folder}/" in m.name and m.isfile()), key=lambda m: m.name):
            file = tar.extractfile(member)
            assert file is not None
            yield member.name.split("/")[-2], decode_rgb(file.read(), name=member.name)


def lesser(eyes: Eyes) -> float:
    """Openness of the eye that is less open; NaN if either is."""
    return float(np.minimum(eyes.right_openness, eyes.left_openness))


def report(engine: Engine, name: str, frames: Iterable[tuple[str, Frame]], *, repeated: bool = False) -> None:
    """What is refused of a set; repeated: several frames a person, so that there is a usual openness."""
    found: list[tuple[str, Eyes, Sample]] = []
    for person, frame in frames:
        if (sample := used(engine, frame)) is not None:
            found.append((person, engine.eyes(frame, sample), sample))
    least = np.array([lesser(eyes) for _, eyes, _ in found])
    percentiles = np.nanpercentile(least, [0.5, 1, 5, 50]).round(3).tolist()
    refused = sum(not eyes_open(eyes) for _, eyes, _ in found)
    print(f"{name}: lesser eye's openness, 0.5, 1, 5, 50 %: {percentiles}; refused {interval(refused, len(found))}")
    if repeated:
        people = np.array([person for person, _, _ in found])
        usual = {person: float(np.nanmedian(least[people == person])) for person in set(people.tolist())}
        refused = sum(not eyes_open(eyes, usual[person]) for person, eyes, _ in found)
        print(f"  with what is usual for each of {len(usual)}: refused {interval(refused, len(found))}")
    ahead = [eyes for _, eyes, s in found if max(abs(s.face.pose.yaw_deg), abs(s.face.pose.roll_deg)) < STRAIGHT_DEG]
    aside = np.array([(eyes.right_gaze[0] + eyes.left_gaze[0]) / 2 for eyes in ahead])
    away = sum(not eyes_straight(eyes) for eyes in ahead)
    print(f"  heads straight: gaze to the side, sd {np.nanstd(aside):.3f}; look away {interval(away, len(ahead))}")


def drawn(engine: Engine, sizes: tuple[int, ...] = (40, 80)) -> None:
    """Openness of drawn closed eyes on the portraits, scaled to so many pixels between the eyes."""
    from PIL import Image

    for manner in MANNERS:
        openness, refused, n = [], 0, 0
        for path in sorted(PORTRAITS.glob("*.*g")):
            whole = load_rgb(path)
            first = used(engine, whole)
            if first is None:
                continue
            for size in sizes:
                scale = size / first.quality.eye_distance_px
                scaled = (round(whole.shape[1] * scale), round(whole.shape[0] * scale))
                frame = np.asarray(Image.fromarray(whole).resize(scaled, Image.Resampling.LANCZOS))
                if min(frame.shape[:2]) < 64 or (sample := used(engine, frame)) is None:
                    continue
                assert sample.face.landmarks_px is not None
                for _, contour, _ in engine._eyes._loaded().look(frame, sample.face.landmarks_px):
                    frame = np.ascontiguousarray(closed(frame, contour[:16].astype(float), manner))
                if (sample := used(engine, frame)) is None:
                    continue
                eyes = engine.eyes(frame, sample)
                openness += [eyes.right_openness, eyes.left_openness]
                refused, n = refused + (not eyes_open(eyes)), n + 1
        print(f"drawn, {manner}: median openness {np.median(openness):.3f}; refused {interval(refused, n)}")


def clips(engine: Engine, data: Path) -> None:
    """Live clips: frames refused, and the runs of frames that they make."""
    import cv2

    with tarfile.open(data / "pad-clips-dev.tar") as tar, tempfile.TemporaryDirectory() as folder:
        for name in CLIPS:
            file = tar.extractfile(name)
            assert file is not None
            path = Path(folder) / Path(name).name
            path.write_bytes(file.read())
            capture, tracker, found = cv2.VideoCapture(str(path)), Tracker(engine), []
            while (read := capture.read())[0]:
                frame = np.ascontiguousarray(read[1][:, :, ::-1])
                sample, faces = tracker.observe(frame)
                if sample is not None and assess(sample, len(faces), QualityLimits(), enrolling=False) is None:
                    found.append(engine.eyes(frame, sample))
            usual = float(np.nanmedian([lesser(eyes) for eyes in found]))
            for what, closes in (("", None), (" with usual", usual)):
                shut = np.array([not eyes_open(eyes, closes) for eyes in found])
                runs = int((np.diff(np.concatenate([[0], shut.astype(int)])) == 1).sum())
                print(f"{Path(name).name}{what}: refused {interval(int(shut.sum()), len(shut))}, in {runs} runs")


def times(engine: Engine, n: int = 300) -> None:
    """Milliseconds of an eye."""
    frame = load_rgb(PORTRAITS / "obama_2012.jpg")
    sample = engine.sample(frame)
    assert sample is not None
    taken = []
    for _ in range(n):
        start = time.perf_counter()
        engine.eyes(frame, sample)
        taken.append((time.perf_counter() - start) * 1e3 / 2)
    print(f"an eye: median {np.median(taken):.2f} ms, one thread, n = {n}")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--step", type=int, default=6)
    arguments = parser.parse_args()
    engine, data = Engine(threads=1), arguments.data
    print(f"closed below {MIN_OPENNESS}, or {SHARE_OF_USUAL} of what is usual; away beyond {MAX_ASIDE}")
    times(engine)
    report(engine, "NUAA, live", webcam(data, "ClientRaw"), repeated=True)
    report(engine, "NUAA, prints", webcam(data, "ImposterRaw"), repeated=True)
    first = [(path, frame) for path, frame in photo_sets.frames(data, "lfw") if path.endswith("_0001.jpg")]
    report(engine, "LFW", first[:: arguments.step])
    groups: dict[str, list[tuple[str, Frame]]] = {}
    for path, frame in photo_sets.frames(data, "groups", step=2):
        if min(frame.shape[:2]) >= 64:
            groups.setdefault(path.split("/")[-2], []).append((path, frame))
    for name, frames in sorted(groups.items()):
        report(engine, name, frames)
    clips(engine, data)
    drawn(engine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
