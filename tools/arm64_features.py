"""What every model answers on this processor, and how far that is from another's answers to the same pixels.

python tools/arm64_features.py reference FILE    pictures made of the portraits, and the answers here
python tools/arm64_features.py compare FILE      the answers here against those of FILE; exits 1 if a bound is broken

int8 answers must be equal to the last bit; float ones may differ by the bounds below, and no decision may differ. The
pixels travel in the file, so that neither a JPEG decoder nor a warp has a part in what is compared.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from facesdk import Engine, _core
from facesdk.models import load_manifest, load_model
from facesdk.portraits import __path__ as portraits_path
from facesdk.runtime import Runtime, choose_runtime

Bytes = NDArray[np.uint8]
Arrays = dict[str, NDArray]

CROPS, FEWER_CROPS, PORTRAITS, FRAMES = 100, 24, 12, 48
LONGER_SIDE_PX = 480
MESH_MARGIN = 1.5
DETECTOR, MESH = "blazeface_short_range", "face_mesh"
# Greatest allowed difference from x86-64; of a raw output ("model:output") relative to the value where that is over 1.
# Measured on Cortex-A72 and A76 at most a third of it: docs/wheels.md.
BOUNDS = {
    f"{DETECTOR}:regressors": 1e-3, f"{DETECTOR}:classificators": 1e-4, f"{MESH}:conv2d_21": 1e-4,
    f"{MESH}:conv2d_31": 1e-4, "sface:features": 0, "mobilefacenet:features": 0,
    "box_px": 1e-3, "score": 1e-5, "landmarks_px": 0.02, "pose_deg": 0.01,
}  # fmt: skip
# Of a comparison score: a landmark 0.001 px away changes a few bytes of the crop by 1, and int8 features with them.
SCORE_BOUND = 0.06


def _warped(picture: Bytes, *, scale: float, shift: tuple[float, float], size: int) -> Bytes:
    """The square of `size` that shows the picture from `shift` on, reduced by `scale`; black outside."""
    return _core.warp_u8("scalar", picture, (scale, 0.0, shift[0], 0.0, scale, shift[1]), (size, size))


def _crop_variants(crop: Bytes) -> list[Bytes]:
    """One aligned crop plain, mirrored, moved, scaled, darker and lighter."""
    moved = [_warped(crop, scale=1.0, shift=shift, size=112) for shift in ((2, -1), (-2, 1), (0.5, 3))]
    scaled = [_warped(crop, scale=s, shift=(56 * (1 - s), 56 * (1 - s)), size=112) for s in (0.93, 1.08)]
    lit = [np.clip(np.round(crop * factor), 0, 255).astype(np.uint8) for factor in (0.5, 1.4)]
    plain = [crop, *moved, *scaled, *lit]
    return [*plain, np.ascontiguousarray(crop[:, ::-1])]


def _frame_variants(picture: Image.Image) -> list[Bytes]:
    """One portrait plain, mirrored, darker and closer, its longer side reduced to LONGER_SIDE_PX."""
    width, height = picture.size
    closer = picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))
    result = []
    for image in (picture, ImageOps.mirror(picture), picture.point(lambda v: v * 0.6), closer):
        small = image.copy()
        small.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
        result.append(np.ascontiguousarray(small))
    return result


def make_inputs(engine: Engine) -> Arrays:
    """Frames of the portraits and each network's input made of them, uint8; the first crops are those of the frames."""
    paths = sorted(p for folder in portraits_path for p in Path(folder).iterdir() if p.suffix in (".jpg", ".png"))
    pictures = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]
    frames = [frame for picture in pictures for frame in _frame_variants(picture)]
    crops, meshes = [], []
    for frame in frames:
        face = engine.detect(frame)[0]
        crops.append(engine.crop(frame, face))
        x0, y0, x1, y1 = face.box_px
        side = MESH_MARGIN * max(x1 - x0, y1 - y0)
        corner = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2)
        meshes.append(_warped(frame, scale=side / 192, shift=corner, size=192))
    more = zip(*(_crop_variants(crop) for crop in crops[::4]), strict=True)
    crops += [crop for kind in more for crop in kind]
    if len(pictures) != PORTRAITS or len(frames) != FRAMES or len(crops) < CROPS:
        raise ValueError(f"{len(pictures)} portraits, {len(frames)} frames, {len(crops)} crops")
    detector = [_warped(frame, scale=max(frame.shape) / 128, shift=(0, 0), size=128) for frame in frames[::4]]
    named = {f"frame{i:02}": frame for i, frame in enumerate(frames)}
    return {"crops": np.stack(crops[:CROPS]), "detector": np.stack(detector), "mesh": np.stack(meshes[::4]), **named}


def raw(runtime: Runtime, name: str, pictures: Bytes) -> Arrays:
    """What a model answers to each picture through the C library of LiteRT, "model:output" -> (n, ...)."""
    entry, session = load_manifest().models[name], runtime.make_session(load_model(name))
    rows = []
    for picture in pictures:
        if entry.input["dtype"] == "int8":
            tensor = (picture.astype(np.int16) - 128).astype(np.int8)
        else:
            tensor = (picture.astype(np.float32) - np.float32(entry.mean)) / np.float32(entry.scale)
        rows.append([output.copy() for output in session.run(tensor[None])])
    columns = zip(entry.outputs, zip(*rows, strict=True), strict=True)
    return {f"{name}:{output['name']}": np.concatenate(values) for output, values in columns}


def faces_of(engine: Engine, inputs: Arrays) -> Arrays:
    """The largest face of each frame with its mesh, and its aligned crop."""
    columns: dict[str, list] = {"box_px": [], "score": [], "landmarks_px": [], "pose_deg": [], "frame_crops": []}
    for i in range(FRAMES):
        frame = inputs[f"frame{i:02}"]
        face = engine.detect(frame, landmarks=True)[0]
        pose = (face.pose.yaw_deg, face.pose.pitch_deg, face.pose.roll_deg)
        row = (face.box_px, face.score, face.landmarks_px, pose, engine.crop(frame, face))
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return {name: np.array(values) for name, values in columns.items()}


def answers(engine: Engine, inputs: Arrays) -> Arrays:
    """Everything that is compared: raw outputs, faces, and the features of each frame's own crop on this processor."""
    runtime = choose_runtime("litert-native")
    result = raw(runtime, DETECTOR, inputs["detector"]) | raw(runtime, MESH, inputs["mesh"])
    result |= faces_of(engine, inputs) | raw(runtime, "sface", inputs["crops"])
    result |= raw(runtime, "mobilefacenet", inputs["crops"][:FEWER_CROPS])
    for name in ("sface", "mobilefacenet"):  # of the crops as they come out here
        result[f"{name}:frames"] = raw(runtime, name, result["frame_crops"])[f"{name}:features"]
    return result


def scores(found: Arrays) -> dict[str, NDArray[np.float64]]:
    """For each embedder the scores of all pairs of frames."""
    manifest, units = load_manifest(), {}
    for name in ("sface", "mobilefacenet"):
        zero_point = manifest.models[name].outputs[0]["zero_point"]
        values = found[f"{name}:frames"].reshape(FRAMES, -1).astype(np.float64) - zero_point
        units[name] = values / np.linalg.norm(values, axis=1, keepdims=True)
    result = {}
    for name, entry in manifest.embedders.items():
        pairs = zip(entry.models, entry.weights, strict=True)
        vectors = np.concatenate([math.sqrt(weight) * units[model] for model, weight in pairs], axis=1)
        result[name] = (vectors @ vectors.T)[np.triu_indices(FRAMES, 1)]
    return result


def _bounded(here: Arrays, there: Arrays) -> list[str]:
    """Prints how far each answer is from the other's; returns what is over its bound."""
    broken = []
    for name, bound in BOUNDS.items():
        a, b = (x[name].astype(np.float64) for x in (here, there))
        unit = np.maximum(1.0, np.abs(b)) if ":" in name else 1.0
        difference = float((np.abs(a - b) / unit).max())
        rows = int(np.all(a.reshape(len(a), -1) == b.reshape(len(b), -1), axis=1).sum())
        print(f"  {name:38} greatest difference {difference:.3g} (bound {bound:g}), equal {rows} of {len(a)}")
        if not difference <= bound:
            broken.append(name)
    apart = np.abs(here["frame_crops"].astype(np.int16) - there["frame_crops"])
    share = (apart > 0).mean(axis=(1, 2, 3))
    print(
        f"  aligned crops: {(share == 0).sum()} of {FRAMES} are the same bytes; at most {share.max():.2%} of the bytes "
        f"of one differ, by at most {apart.max()}"
    )
    return broken


def _decided(here: Arrays, there: Arrays) -> list[str]:
    """Prints how decisions at every operating point compare; returns those that differ."""
    broken = []
    mine, theirs = scores(here), scores(there)
    for name, entry in load_manifest().embedders.items():
        thresholds = [point.threshold for point in entry.operating_points]
        changed = sum(int(((mine[name] >= t) != (theirs[name] >= t)).sum()) for t in thresholds)
        matches = [int((mine[name] >= t).sum()) for t in thresholds]
        apart = float(np.abs(mine[name] - theirs[name]).max())
        print(
            f"  {name:13} {len(mine[name])} pairs, {len(thresholds)} operating points (matches {matches}): "
            f"{changed} decisions differ, scores differ by at most {apart:.2g}"
        )
        if changed or not thresholds or not apart <= SCORE_BOUND:
            broken.append(f"decisions of {name}")
    return broken


def _title(started: float, there: Arrays) -> None:
    taken = time.process_time() - started
    print(f"{platform.machine()}, kernels {_core.variant()}, against {there['machine']} ({taken:.0f} s of processor)")


def compare(file: Path, *, sface_only: bool) -> list[str]:
    """Runs everything, or SFace alone, on the pixels of the file and returns what differs more than it may."""
    with np.load(file) as stored:
        there = dict(stored)
    started, name = time.process_time(), "sface:features"
    if sface_only:
        found = raw(choose_runtime("litert-native"), "sface", there["crops"])[name]
        _title(started, there)
        same = int(np.all(found == there[name], axis=(1, 2, 3)).sum())
        print(f"  {name}: equal {same} of {len(found)}, sha256 {hashlib.sha256(found.tobytes()).hexdigest()}")
        return [] if same == len(found) else [name]
    here = answers(Engine("mobilefacenet"), there)
    _title(started, there)
    print(f"  sha256 of the {CROPS} x 128 {name}: {hashlib.sha256(here[name].tobytes()).hexdigest()}")
    return _bounded(here, there) + _decided(here, there)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("reference", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--sface-only", action="store_true", help="compare the features of SFace alone")
    given = parser.parse_args()
    if given.action == "compare":
        broken = compare(given.file, sface_only=given.sface_only)
        sys.exit(f"differs more than it may: {', '.join(broken)}" if broken else 0)
    engine = Engine("mobilefacenet")
    inputs = make_inputs(engine)
    machine = np.array(f"{platform.machine()} {_core.variant()}")
    np.savez(given.file, machine=machine, **inputs, **answers(engine, inputs))


if __name__ == "__main__":
    main()
