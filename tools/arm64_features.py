"""What every model answers on an emulated board, and how far that is from this processor's answers to the same pixels.

python tools/arm64_features.py inputs INPUTS             pictures made of the portraits
python tools/arm64_features.py answers INPUTS ANSWERS    on the board: what it answers to them
python tools/arm64_features.py compare INPUTS ANSWERS    here again: exits 1 if a bound is broken
With --sface-only the last two take the fixed crops and SFace alone.

int8 answers must be equal to the last bit; float ones may differ by the bounds below, and with them a few crops and
decisions. The pixels travel in the files, so that no JPEG decoder has a part in what is compared. A crop that the board
made of a frame comes back with its features, and is embedded here again.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from facesdk import Engine, _core
from facesdk.engine.networks import load_manifest, load_model
from facesdk.engine.runtime import choose_runtime
from facesdk.portraits import __path__ as portraits_path

Bytes = NDArray[np.uint8]
Arrays = dict[str, NDArray]

# 46 frames have 1,035 pairs; with the crops made of them, 54 others are 100.
FRAMES, OTHER_CROPS = 46, 54
EMBEDDERS = {"sface": FRAMES + OTHER_CROPS, "mobilefacenet": FRAMES}  # crops that each embeds
LONGER_SIDE_PX = 480
MESH_MARGIN = 1.5
DETECTOR, MESH = "blazeface_short_range", "face_mesh"
# Greatest allowed difference from x86-64; of a raw output ("model:output") relative to the value where that is over 1.
# Measured on Cortex-A72 and A76 at most a third of it: docs/wheels.md.
BOUNDS = {
    f"{DETECTOR}:regressors": 1e-3, f"{DETECTOR}:classificators": 1e-4, f"{MESH}:conv2d_21": 1e-4,
    f"{MESH}:conv2d_31": 1e-4, "box_px": 1e-3, "score": 1e-5, "landmarks_px": 0.02, "pose_deg": 0.01,
}  # fmt: skip
# Of the crops so many are the same bytes: a face is aligned on a grid, which landmarks 0.003 px away seldom leave.
SAME_CROPS = 0.9
# Of a comparison score where a crop is not: a few bytes of it differ by 1, and int8 features with them.
SCORE_BOUND = 0.06
# Of decisions: some pairs of disturbed portraits lie at any threshold, where a crop that differs can decide.
DECISION_BOUND = 0.001


def _warped(picture: Bytes, *, scale: float, shift: tuple[float, float], size: int) -> Bytes:
    """The square of `size` that shows the picture from `shift` on, reduced by `scale`; black outside."""
    return _core.warp_u8("scalar", picture, (scale, 0.0, shift[0], 0.0, scale, shift[1]), (size, size))


def _brighter(picture: Bytes, factor: float) -> Bytes:
    return np.clip(np.round(picture * factor), 0, 255).astype(np.uint8)


def _crop_variants(crop: Bytes) -> list[Bytes]:
    """One aligned crop moved, smaller, darker, lighter and mirrored."""
    moved = _warped(crop, scale=1.0, shift=(0.5, 3), size=112)
    smaller = _warped(crop, scale=1.08, shift=(-4.5, -4.5), size=112)
    return [moved, smaller, _brighter(crop, 0.5), _brighter(crop, 1.4), np.ascontiguousarray(crop[:, ::-1])]


def _frame_variants(picture: Image.Image) -> list[Bytes]:
    """One portrait plain, mirrored, darker, closer and lighter, its longer side reduced to LONGER_SIDE_PX."""
    width, height = picture.size
    closer = picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))
    for image in (picture, closer):
        image.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
    plain, near = np.array(picture), np.array(closer)
    return [plain, np.ascontiguousarray(plain[:, ::-1]), _brighter(plain, 0.6), near, _brighter(plain, 1.3)]


def make_inputs() -> Arrays:
    """Frames of the portraits, each float network's input of the plain ones, and 100 crops, all uint8."""
    paths = sorted(p for folder in portraits_path for p in Path(folder).iterdir() if p.suffix in (".jpg", ".png"))
    pictures = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]
    frames = [frame for kind in zip(*map(_frame_variants, pictures), strict=True) for frame in kind][:FRAMES]
    engine, samples, meshes = Engine("mobilefacenet"), [], []
    for frame in frames:
        sample = engine.sample(frame)
        samples.append(sample)
        x0, y0, x1, y1 = sample.face.box_px
        side = MESH_MARGIN * max(x1 - x0, y1 - y0)
        corner = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2)
        meshes.append(_warped(frame, scale=side / 192, shift=corner, size=192))
    plain = len(pictures)
    crops = [variant for sample in samples[:plain] for variant in _crop_variants(sample.crop)][:OTHER_CROPS]
    if (len(frames), len(crops)) != (FRAMES, OTHER_CROPS):
        raise ValueError(f"{plain} portraits are too few: {len(frames)} frames, {len(crops)} other crops")
    detector = [_warped(frame, scale=max(frame.shape) / 128, shift=(0, 0), size=128) for frame in frames[:plain]]
    named = {f"frame{i:02}": frame for i, frame in enumerate(frames)}
    crops += [sample.crop for sample in samples]
    return {"crops": np.stack(crops), "detector": np.stack(detector), "mesh": np.stack(meshes[:plain]), **named}


def raw(name: str, pictures: Bytes) -> Arrays:
    """What a model answers to each picture through the C library of LiteRT, "model:output" -> (n, ...)."""
    entry, network = load_manifest().models[name], choose_runtime("litert-native").make_network(load_model(name))
    rows = []
    for picture in pictures:
        if entry.input["dtype"] == "int8":
            tensor = (picture.astype(np.int16) - 128).astype(np.int8)
        else:
            tensor = (picture.astype(np.float32) - np.float32(entry.mean)) / np.float32(entry.scale)
        rows.append([output.copy() for output in network.run(tensor[None])])
    columns = zip(entry.outputs, zip(*rows, strict=True), strict=True)
    return {f"{name}:{output['name']}": np.concatenate(values) for output, values in columns}


def samples_of(inputs: Arrays) -> Arrays:
    """The largest face of each frame with its mesh, and its aligned crop."""
    columns: dict[str, list] = {"box_px": [], "score": [], "landmarks_px": [], "pose_deg": [], "crops": []}
    engine = Engine("mobilefacenet")
    for i in range(FRAMES):
        sample = engine.sample(inputs[f"frame{i:02}"])
        face, pose = sample.face, sample.face.pose
        angles = (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
        row = (face.box_px, face.score, face.landmarks_px, angles, sample.crop)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return {name: np.array(values) for name, values in columns.items()}


def answers(inputs: Arrays, *, sface_only: bool = False) -> Arrays:
    """Everything that is compared. The crops are those of the frames as they come out here, then the other 54."""
    if sface_only:
        return {"crops": inputs["crops"], **raw("sface", inputs["crops"])}
    found = samples_of(inputs)
    own = found["crops"]
    found["crops"] = np.concatenate([own, inputs["crops"][:OTHER_CROPS]])
    return {
        **found, **raw(DETECTOR, inputs["detector"]), **raw(MESH, inputs["mesh"]),
        **raw("sface", found["crops"]), **raw("mobilefacenet", own),
    }  # fmt: skip


def _equal(there: Arrays, names: Iterable[str]) -> list[str]:
    """Prints how many of the board's features are those of the same crops here; returns the embedders that differ."""
    broken = []
    for name in names:
        count, theirs = EMBEDDERS[name], there[f"{name}:features"]
        ours = raw(name, there["crops"][:count])[f"{name}:features"]
        same = int(np.all(ours == theirs, axis=(1, 2, 3)).sum())
        print(f"  {name + ':features':38} equal {same} of {count}")
        if same != count:
            broken.append(name)
    return broken


def _bounded(here: Arrays, there: Arrays) -> list[str]:
    """Prints how far each float answer is from the other's; returns what is over its bound."""
    broken = []
    for name, bound in BOUNDS.items():
        a, b = (x[name].astype(np.float64) for x in (here, there))
        unit = np.maximum(1.0, np.abs(a)) if ":" in name else 1.0
        difference = float((np.abs(a - b) / unit).max())
        rows = int(np.all(a.reshape(len(a), -1) == b.reshape(len(b), -1), axis=1).sum())
        print(f"  {name:38} greatest difference {difference:.3g} (bound {bound:g}), equal {rows} of {len(a)}")
        if not difference <= bound:
            broken.append(name)
    apart = np.abs(here["crops"][:FRAMES].astype(np.int16) - there["crops"][:FRAMES])
    share = (apart > 0).mean(axis=(1, 2, 3))
    same = int((share == 0).sum())
    print(
        f"  aligned crops: {same} of {FRAMES} are the same bytes; at most {share.max():.2%} of the bytes "
        f"of one differ, by at most {apart.max()}"
    )
    if same < SAME_CROPS * FRAMES:
        broken.append("aligned crops")
    return broken


def scores(found: Arrays) -> dict[str, NDArray[np.float64]]:
    """For each embedder the scores of all pairs of frames."""
    manifest, units = load_manifest(), {}
    for name in EMBEDDERS:
        zero_point = manifest.models[name].outputs[0]["zero_point"]
        values = found[f"{name}:features"][:FRAMES].reshape(FRAMES, -1).astype(np.float64) - zero_point
        units[name] = values / np.linalg.norm(values, axis=1, keepdims=True)
    result = {}
    for name, entry in manifest.embedders.items():
        pairs = zip(entry.models, entry.weights, strict=True)
        vectors = np.concatenate([math.sqrt(weight) * units[model] for model, weight in pairs], axis=1)
        result[name] = (vectors @ vectors.T)[np.triu_indices(FRAMES, 1)]
    return result


def _decided(here: Arrays, there: Arrays) -> list[str]:
    """Prints how decisions compare at the points for one photo; returns what differs more than it may."""
    broken = []
    mine, theirs = scores(here), scores(there)
    for name, entry in load_manifest().embedders.items():
        thresholds = [entry.point(target, samples=1, frames=1).threshold for target in entry.targets]
        changed = sum(int(((mine[name] >= t) != (theirs[name] >= t)).sum()) for t in thresholds)
        matches = [int((mine[name] >= t).sum()) for t in thresholds]
        apart = float(np.abs(mine[name] - theirs[name]).max())
        print(
            f"  {name:13} {len(mine[name])} pairs, {len(thresholds)} operating points (matches {matches}): "
            f"{changed} decisions differ, scores differ by at most {apart:.2g}"
        )
        most = DECISION_BOUND * len(mine[name]) * len(thresholds)
        if not thresholds or not changed <= most or not apart <= SCORE_BOUND:
            broken.append(f"decisions of {name}")
    return broken


def compare(inputs: Arrays, there: Arrays, *, where: str, sface_only: bool) -> list[str]:
    """Prints how the board's answers compare with those here; returns what differs more than it may."""
    print(f"{where}: {there['machine']} against {platform.machine()} {_core.variant()}")
    digest = hashlib.sha256(there["crops"].tobytes() + there["sface:features"].tobytes()).hexdigest()
    print(f"  sha256 of {len(there['crops'])} crops and their SFace features: {digest}")
    if sface_only:
        return _equal(there, ("sface",))
    here = answers(inputs)
    return _equal(there, EMBEDDERS) + _bounded(here, there) + _decided(here, there)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("inputs", "answers", "compare"))
    parser.add_argument("inputs", type=Path)
    parser.add_argument("answers", type=Path, nargs="?")
    parser.add_argument("--sface-only", action="store_true", help="SFace on the fixed crops alone")
    given = parser.parse_args()
    if (given.answers is None) != (given.action == "inputs"):
        parser.error("answers and compare take two files, inputs one")
    if given.action == "inputs":
        np.savez(given.inputs, **make_inputs())
        return
    inputs = dict(np.load(given.inputs))
    if given.action == "answers":
        found = answers(inputs, sface_only=given.sface_only)
        machine = f"{platform.machine()} {_core.variant()} ({time.process_time():.0f} s of processor)"
        np.savez(given.answers, machine=np.array(machine), **found)
        return
    broken = compare(inputs, dict(np.load(given.answers)), where=given.answers.stem, sface_only=given.sface_only)
    sys.exit(f"differs more than it may: {', '.join(broken)}" if broken else 0)


if __name__ == "__main__":
    main()
