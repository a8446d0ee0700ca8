"""Faces far away: who is found, what a person is told, what is found where nobody is, and what it costs.

    python benchmarks/distance.py [--data DATA] [--repeat 4]

The bundled portraits, scaled to so many pixels between the eyes, in four made backgrounds of 640 x 480, REPEAT times
at random places with other noise; backgrounds in which short range sees a face are drawn anew. "found": short range
alone, and with full range (facesdk/engine/distance.py); elsewhere: frames in which short range sees a face, but not
where it is, and is believed unless that is small; error: of the eye distance that quality is given. "told": Guidance of
a verification, "used" where the face would be compared. Turned pictures must not be compared. With DATA: also the clip
without a face of pad-clips-dev.tar (read with OpenCV), and LFW with its faces painted over, every 6th person (some have
others in the background). Times are to be taken on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import photo_sets
from PIL import Image

from facesdk import Engine
from facesdk.capture.quality import QualityLimits, assess
from facesdk.engine.distance import is_distant
from facesdk.engine.tracking import Tracker
from facesdk.evaluation.intervals import clopper_pearson
from facesdk.images import load_rgb
from facesdk.types import Frame

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 640, 480
EYES_PX = (40, 32, 28, 24, 20, 16, 14, 12, 10)
EYES = ((33, 133, 159, 145), (362, 263, 386, 374))  # the mesh's points of each
CLIP = "videos/intel_bottle-detection_noface.mp4"


def backgrounds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Float pictures of 480 x 640: a slope, soft blobs, gray noise, rectangles."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    slope = np.stack([80 + x / 8, 100 + y / 8, 140 - x / 16], -1)
    few = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    noise = rng.integers(60, 200, (HEIGHT, WIDTH, 1)) * np.ones(3)
    boxes = np.full((HEIGHT, WIDTH, 3), 150.0)
    for _ in range(60):
        top, left = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
        h, w = rng.integers(10, 160, 2)
        boxes[top : top + h, left : left + w] = rng.integers(0, 256, 3)
    blobs = np.asarray(few.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(float)
    return {"slope": slope, "blobs": blobs, "noise": noise, "boxes": boxes}


def as_frame(picture: np.ndarray, rng: np.random.Generator) -> Frame:
    """With a camera's noise, two gray levels."""
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


class Portraits:
    """The bundled portraits and where their eyes are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.all: list[tuple[np.ndarray, np.ndarray]] = []
        for path in sorted(ROOT.glob("facesdk/portraits/*.*g")) + sorted(ROOT.glob("tests/portraits/*.*g")):
            picture = load_rgb(path)
            sample = engine.sample(picture)
            assert sample is not None
            assert sample.face.landmarks_px is not None
            points = sample.face.landmarks_px[:, :2]
            eyes = [points[list(eye)].mean(axis=0) for eye in EYES]
            self.all.append((picture, np.stack(eyes)))

    def _empty(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Backgrounds in which short range sees no face itself."""
        while True:
            drawn = backgrounds(rng)
            if not any(
                self._engine._pipeline.detect(picture.clip(0, 255).astype(np.uint8)) for picture in drawn.values()
            ):
                return drawn

    def scenes(self, eyes_px: float, rng: np.random.Generator, turns: int = 0) -> Iterator[tuple[Frame, np.ndarray]]:
        """Each portrait in each background, and the middle between its eyes (of turned ones without meaning)."""
        for picture, eyes in self.all:
            scale = eyes_px / float(np.linalg.norm(eyes[1] - eyes[0]))
            size = [max(1, round(n * scale)) for n in picture.shape[1::-1]]
            small = np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.LANCZOS))
            middle = eyes.mean(axis=0) * scale
            for background in self._empty(rng).values():
                cut = np.clip(middle - [WIDTH / 2, HEIGHT / 2], 0, np.maximum(np.array(size) - [WIDTH, HEIGHT], 0))
                left, top = cut.astype(int)
                piece = np.rot90(small[top : top + HEIGHT, left : left + WIDTH], turns)[:HEIGHT, :WIDTH]
                x, y = (int(rng.integers(0, room + 1)) for room in (WIDTH - piece.shape[1], HEIGHT - piece.shape[0]))
                scene = background.copy()
                scene[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
                yield as_frame(scene, rng), middle - [left, top] + [x, y]


def told(engine: Engine, frame: Frame) -> str:
    """Name of the guidance; "used" where the face would be compared."""
    sample, faces = engine.observe(frame)
    refusal = assess(sample, len(faces), QualityLimits(), enrolling=False)
    return "used" if refusal is None else refusal.guidance.name


def interval(count: int, n: int) -> str:
    """`count of n (share, 95 % interval of Clopper and Pearson)`."""
    low, high = clopper_pearson(count, n) or (0.0, 1.0)
    return f"{count} of {n} ({count / max(n, 1):.1%}, {low:.1%} to {high:.1%})"


def found(engine: Engine, portraits: Portraits, rng: np.random.Generator, repeat: int) -> None:
    """A row for each distance: short range alone, both, error of the eye distance, guidance."""
    print(
        "| eyes apart, px | short range | both | short range elsewhere | error | told |\n|---:|---|---|---:|---:|---|"
    )
    for eyes_px in EYES_PX:
        near = both = elsewhere = n = 0
        errors, guidance = [], Counter[str]()
        for _ in range(repeat):
            for frame, middle in portraits.scenes(eyes_px, rng):
                n += 1

                def is_there(points: np.ndarray, middle: np.ndarray = middle, px: float = eyes_px) -> bool:
                    return bool(np.linalg.norm(points[:2].mean(axis=0) - middle) < 0.6 * px)

                seen = [is_there(points) for _, points, *_ in engine._pipeline.detect(frame)]
                near, elsewhere = near + any(seen), elsewhere + (bool(seen) and not any(seen))
                sample, faces = engine.observe(frame)
                there = any(is_there(face.keypoints_px) for face in faces)
                both += there
                if there and sample is not None:
                    errors.append(abs(sample.quality.eye_distance_px / eyes_px - 1))
                guidance[told(engine, frame)] += 1
        error = f"{np.mean(errors):.0%}" if errors else "-"
        print(f"| {eyes_px} | {near} of {n} | {interval(both, n)} | {elsewhere} | {error} | {dict(guidance)} |")


def turned(portraits: Portraits, engine: Engine, rng: np.random.Generator) -> None:
    """What becomes of turned faces that are large enough to be compared but far away."""
    for turns in (1, 2, 3):
        guidance = Counter(told(engine, f) for px in (36, 32, 28, 24) for f, _ in portraits.scenes(px, rng, turns))
        print(f"turned by {90 * turns} deg, eyes 24 to 36 px apart: {dict(guidance)}")


def nobody(engine: Engine, name: str, frames: Iterable[Frame]) -> None:
    """Frames in which somebody is found where nobody is."""
    near = both = n = looks = 0
    for frame in frames:
        n += 1
        near += bool(engine._pipeline.detect(frame))
        both += bool(engine.detect(frame))
        looks += any(is_distant(frame, seen) for seen in engine._far._loaded().detect(frame))
    print(f"nobody there, {name}: short range {near}, both {interval(both, n)}; looked at again {interval(looks, n)}")


def made_without(portraits: Portraits, rng: np.random.Generator) -> Mapping[str, Callable[[], Iterator[Frame]]]:
    """Made frames without a face: backgrounds, portraits in pieces."""

    def plain() -> Iterator[Frame]:
        for _ in range(60):
            yield from (as_frame(b, rng) for b in backgrounds(rng).values())

    def pieces() -> Iterator[Frame]:
        for eyes_px in (60, 40, 24, 16):
            for frame, _ in portraits.scenes(eyes_px, rng):
                tiles = frame.reshape(HEIGHT // 8, 8, WIDTH // 8, 8, 3).swapaxes(1, 2).reshape(-1, 8, 8, 3)
                mixed = tiles[rng.permutation(len(tiles))].reshape(HEIGHT // 8, WIDTH // 8, 8, 8, 3)
                yield np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(HEIGHT, WIDTH, 3))

    def negatives() -> Iterator[Frame]:
        for eyes_px in (40, 24, 16):
            yield from (255 - frame for frame, _ in portraits.scenes(eyes_px, rng))

    return {"made backgrounds": plain, "portraits in pieces of 8 x 8": pieces, "negatives of portraits": negatives}


def clip(data: Path) -> Iterator[Frame]:
    """Frames of the clip without a face."""
    import cv2

    with tarfile.open(data / "pad-clips-dev.tar") as tar, tempfile.TemporaryDirectory() as folder:
        file = tar.extractfile(CLIP)
        assert file is not None
        path = Path(folder) / "clip.mp4"
        path.write_bytes(file.read())
        capture = cv2.VideoCapture(str(path))
        while (read := capture.read())[0]:
            yield np.ascontiguousarray(read[1][:, :, ::-1])


def painted_over(engine: Engine, data: Path) -> Iterator[Frame]:
    """LFW's photos, what short range finds painted over in their mean colour."""
    paths = [frame for path, frame in photo_sets.frames(data, "lfw") if path.endswith("_0001.jpg")]
    for original in paths[::6]:
        frame = original.copy()
        for box, *_ in engine._pipeline.detect(original):
            grown = 0.3 * (box[2] - box[0])
            x0, y0, x1, y1 = np.concatenate([box[:2] - grown, box[2:] + grown]).clip(0, 250).astype(int)
            frame[y0:y1, x0:x1] = original.reshape(-1, 3).mean(axis=0)
        yield frame


def times(engine: Engine, portraits: Portraits, rng: np.random.Generator, n: int = 300) -> None:
    """Median milliseconds of frames, one thread, short range alone in turn with both."""
    empty = as_frame(backgrounds(rng)["slope"], rng)
    near, far = (next(iter(portraits.scenes(px, rng)))[0] for px in (90, 20))
    tracker = Tracker(engine)

    def before(frame: Frame) -> object:
        return engine._pipeline.detect_and_look(frame)

    def both(frame: Frame) -> object:
        return engine.observe(frame)

    for name, frame, way in (
        ("nobody", empty, both), ("nobody, Tracker", empty, tracker.observe), ("near", near, both), ("far", far, both)
    ):  # fmt: skip
        taken: list[list[float]] = [[], []]
        for _ in range(n):
            for kind, call in enumerate((before, way)):
                start = time.perf_counter()
                call(frame)
                taken[kind].append((time.perf_counter() - start) * 1e3)
        was, now = np.median(taken[0]), np.median(taken[1])
        ratios = f"{now / was:.2f} x, means {np.mean(taken[1]) / np.mean(taken[0]):.2f} x"
        print(f"time, {name}: short range {was:.2f} ms, now {now:.2f} ms ({ratios}), n = {n}")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repeat", type=int, default=4)
    arguments = parser.parse_args()
    engine, rng = Engine(threads=1), np.random.default_rng(7)
    portraits = Portraits(engine)
    print(f"{len(portraits.all)} portraits, {platform.machine()}, {time.strftime('%Y-%m-%d')}")
    times(engine, portraits, rng)
    found(engine, portraits, rng, arguments.repeat)
    turned(portraits, engine, rng)
    for name, frames in made_without(portraits, rng).items():
        nobody(engine, name, frames())
    if arguments.data:
        nobody(engine, "clip", clip(arguments.data))
        nobody(engine, "LFW, faces painted over", painted_over(engine, arguments.data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
