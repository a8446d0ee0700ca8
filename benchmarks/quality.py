"""What each measure of quality refuses, by group: undisturbed faces, dark ones, sunglasses, masks, blur; and what for.

python benchmarks/quality.py --data DATA [--of N]

DATA: see photo_sets.py; every N-th picture (default 4) of the eight groups and of LFW is used. Dark: pixels times 0.4
and 0.3, with and without noise, and the misses that follow in LFW by signal to noise. Sunglasses (two ellipses and a
bridge, opaque or 85 %), masks (from cheekbones to chin: white, blue, black) and blur are drawn into the picture where
the mesh has eyes and chin; refused is what an enrollment would refuse, hinted the share of it with the right guidance.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import photo_sets
from calibration import cleaned_lfw
from PIL import Image, ImageDraw, ImageFilter

from facesdk import Engine, Guidance, Policy
from facesdk.capture import crop_measures
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import observed
from facesdk.evaluation import vector

EYES = ((33, 133), (362, 263))
MASK = (93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 280, 195, 50)
RIGHT = {
    "sunglasses": Guidance.TAKE_OFF_GLASSES, "sunglasses 85 %": Guidance.TAKE_OFF_GLASSES,
    "white mask": Guidance.TAKE_OFF_MASK, "blue mask": Guidance.TAKE_OFF_MASK, "black mask": Guidance.TAKE_OFF_MASK,
    "out of focus": Guidance.HOLD_STILL, "motion 7 px": Guidance.HOLD_STILL, "motion 11 px": Guidance.HOLD_STILL,
    "light x 0.4": Guidance.MORE_LIGHT, "light x 0.3": Guidance.MORE_LIGHT,
}  # fmt: skip
LIGHTS = ((1.0, 0), (0.4, 0), (0.3, 0), (0.15, 0), (0.08, 0), (0.3, 3), (0.3, 6), (0.3, 10), (0.15, 3), (0.15, 6))
BANDS = ((0, 2), (2, 4), (4, 6), (6, 10), (10, 20), (20, 1000))


def sunglasses(frame: np.ndarray, points: np.ndarray, *, opacity: float) -> np.ndarray:
    """The frame with dark glasses."""
    plain, width = Image.fromarray(frame), float(np.linalg.norm(points[33] - points[263]))
    drawn, centres = plain.copy(), [points[list(corners)].mean(axis=0) for corners in EYES]
    pen = ImageDraw.Draw(drawn)
    for x, y in centres:
        pen.ellipse((x - 0.27 * width, y - 0.17 * width, x + 0.27 * width, y + 0.25 * width), fill=(20, 18, 18))
    pen.line([tuple(map(float, points[i])) for i in (133, 362)], fill=(20, 18, 18), width=max(1, int(0.06 * width)))
    return np.asarray(Image.blend(plain, drawn, opacity))


def mask(frame: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The frame with a mask over nose, mouth and chin."""
    drawn = Image.fromarray(frame)
    ImageDraw.Draw(drawn).polygon([tuple(map(float, points[i])) for i in MASK], fill=colour)
    return np.asarray(drawn)


def motion(frame: np.ndarray, length: int, angle: float) -> np.ndarray:
    """The mean of the frame moved along a line of this length in pixels."""
    along = np.linspace(-length / 2, length / 2, 2 * length)
    shifts = {(round(t * np.sin(angle)), round(t * np.cos(angle))) for t in along}
    edge = length
    wide = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge").astype(np.float32)
    height, width = frame.shape[:2]
    total = sum(wide[edge + y : edge + y + height, edge + x : edge + x + width] for y, x in shifts)
    return np.round(total / len(shifts)).astype(np.uint8)


def disturbed(frame: np.ndarray, points: np.ndarray, angle: float) -> Iterator[tuple[str, np.ndarray]]:
    """Each disturbance of a frame with the mesh's points (468, 2)."""
    yield "sunglasses", sunglasses(frame, points, opacity=1.0)
    yield "sunglasses 85 %", sunglasses(frame, points, opacity=0.85)
    for name, colour in (("white", (235, 235, 230)), ("blue", (120, 170, 200)), ("black", (25, 25, 28))):
        yield f"{name} mask", mask(frame, points, colour)
    yield "out of focus", np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(3)))
    for length in (7, 11):
        yield f"motion {length} px", motion(frame, length, angle)
    for factor in (0.4, 0.3):
        yield f"light x {factor}", np.round(frame * factor).astype(np.uint8)


def _part(job: tuple[Path, str, int, int]) -> list[tuple[str, str, Guidance | None]]:
    data, name, first, step = job
    engine, limits, rows = Engine("sface"), QualityLimits(), []
    for path, frame in photo_sets.frames(data, name, first=first, step=step):
        sample = photo_sets.labelled_face(engine, frame, name)
        if sample is None or sample.turned:
            continue
        group = path.split("/")[-2] if name == "groups" else "lfw"
        refusal = assess(sample, 1, limits, enrolling=True)
        rows.append((group, "undisturbed", None if refusal is None else refusal.guidance))
        assert sample.face.landmarks_px is not None
        angle = np.random.default_rng(zlib.crc32(path.encode())).uniform(0, np.pi)
        for kind, changed in disturbed(frame, sample.face.landmarks_px[:, :2], angle):
            seen, faces = observed(engine, changed)
            refusal = assess(seen, len(faces), limits, enrolling=not kind.startswith("light"))
            rows.append((group, kind, None if refusal is None else refusal.guidance))
    return rows


def refusals(data: Path, name: str, step: int) -> None:
    """Prints what an enrollment refuses of a set, by group (light: what a verification refuses)."""
    workers = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        parts = pool.map(_part, [(data, name, step * i, step * workers) for i in range(workers)])
    found: dict[str, dict[str, Counter]] = defaultdict(lambda: defaultdict(Counter))
    for part in parts:
        for group, kind, guidance in part:
            found[kind][group][guidance] += 1
    for kind, groups in found.items():
        all_of = sum(groups.values(), Counter())
        count, refused = sum(all_of.values()), sum(n for g, n in all_of.items() if g is not None)
        right = RIGHT.get(kind)
        text = f"{name}, {kind}: refused {refused} of {count} ({100 * refused / count:.1f} %)"
        if right is not None:
            text += f", hinted {100 * all_of[right] / count:.1f} %"
        worst = {g: 100 * sum(n for k, n in c.items() if k is not None) / sum(c.values()) for g, c in groups.items()}
        if right is Guidance.MORE_LIGHT:
            worst = {g: 100 * c[right] / sum(c.values()) for g, c in groups.items()}
        if kind == "undisturbed":
            text += f" { {k.name: n for k, n in all_of.items() if k is not None} }"
        print(f"{text}; by group {', '.join(f'{g} {v:.1f}' for g, v in sorted(worst.items()))}", flush=True)


def usual_detail(data: Path, step: int) -> None:
    """Prints the medians of what undisturbed faces have in each direction: the constants of crop_measures."""
    engine, rows = Engine("sface"), []
    for name, each in (("groups", 2 * step), ("lfw", 6 * step)):
        for _, frame in photo_sets.frames(data, name, step=each):
            sample = photo_sets.labelled_face(engine, frame, name)
            if sample is not None and not sample.turned:
                rows.append(np.stack(crop_measures.detail_by_direction(sample.crop)))
    for kind, medians in zip(("finest", "fine", "middle"), np.median(np.array(rows), axis=0), strict=True):
        print(f"usual detail, {kind}, n = {len(rows)}: {', '.join(f'{m:.2f}' for m in medians)}")


def light(data: Path, count: int) -> None:
    """Prints the misses of one photo against another, made dark and noisy, by signal to noise and brightness."""
    lfw, _ = cleaned_lfw(photo_sets.load(data, "lfw"))
    vectors, random = photo_sets.of_embedder(lfw.joint, "sface"), np.random.default_rng(0)
    counts = np.bincount(lfw.people)
    chosen = random.permutation(np.flatnonzero(counts >= 2))[:count]
    pairs = {
        str(lfw.paths[b]): a
        for a, b in (random.choice(np.flatnonzero(lfw.people == p), 2, replace=False) for p in chosen)
    }
    engine, limit, rows = Engine("sface"), Policy().operating_point("sface", samples=3, frames=1).threshold, []
    for path, frame in photo_sets.frames(data, "lfw"):
        if path not in pairs:
            continue
        for factor, noise in LIGHTS:
            dark = np.clip(np.round(frame * factor + random.normal(0, noise, frame.shape)), 0, 255).astype(np.uint8)
            sample, _ = engine.observe(dark)
            if sample is not None and not sample.turned:
                missed = float(vectors[pairs[path]] @ vector(engine.embed(sample))) < limit
                rows.append((sample.quality.signal_to_noise, sample.quality.brightness, missed))
    found = np.array(rows)
    for low, high in BANDS:
        band = found[(found[:, 0] >= low) & (found[:, 0] < high)]
        dim = band[:, 1] < 35
        shown = [f"{100 * b[:, 2].mean():.1f} % of {len(b)}" if len(b) else "-" for b in (band, band[dim], band[~dim])]
        print(f"signal to noise {low} to {high}: misses {shown[0]}; brightness below 35 {shown[1]}, above {shown[2]}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--of", type=int, default=4)
    arguments = parser.parse_args()
    refusals(arguments.data, "groups", arguments.of)
    refusals(arguments.data, "lfw", 2 * arguments.of)
    usual_detail(arguments.data, arguments.of)
    light(arguments.data, 400)


if __name__ == "__main__":
    main()
