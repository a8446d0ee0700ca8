"""The labelled photo sets that are measured with: features of each picture, with who is on it and of which group.

DATA holds the archives named in SETS, and lfw_attributes.csv. A set without identities counts every picture as a person
of its own. Features are kept in .cache, by the hashes of the models and of the code: made again where either changed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import multiprocessing
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facesdk import Engine
from facesdk.capture import crop_measures
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import observed
from facesdk.engine.networks import load_manifest
from facesdk.engine.runtime import choose_runtime
from facesdk.evaluation import vector
from facesdk.images import decode_rgb

if TYPE_CHECKING:
    from facesdk.types import Sample

ROOT = Path(__file__).resolve().parent.parent
SETS = {"lfw": "lfw-deepfunneled.tar", "groups": "groups-dev.tar", "eastasian": "eastasian-dev.tar"}
QUALITY = ("eye_distance_px", "brightness", "contrast", "overexposed", "sharpness", "presence", "signal_to_noise")
OF_CROP = ("eye_brightness", "mouth_detail", "chin_colour", "fine_detail")  # of facesdk.capture.crop_measures
MEASURES = (*QUALITY, "yaw", "pitch", "roll", "score", "runner_up", *OF_CROP)


@dataclass(frozen=True)
class PhotoSet:
    """Pictures with a face.

    people: who is on each, by number; group: as the set labels it, "" where it does not; joint, mirrored: unit vectors
    float32 (n, 320) of the crop and of the mirrored crop, refused: why a verification would not compare, "" where it
    would; measures: float32 (n, len(MEASURES)); missed: pictures without one.
    """

    name: str
    paths: np.ndarray
    names: np.ndarray
    group: np.ndarray
    joint: np.ndarray
    mirrored: np.ndarray
    refused: np.ndarray
    measures: np.ndarray
    missed: tuple[str, ...]

    @cached_property
    def people(self) -> np.ndarray:
        """int (n,), who is on each picture."""
        return np.unique(self.names, return_inverse=True)[1]

    def chosen(self, rows: np.ndarray) -> PhotoSet:
        """The same set with these pictures only."""
        arrays = {k: getattr(self, k)[rows] for k in ("paths", "names", "group", "joint", "mirrored", "refused",
                                                      "measures")}  # fmt: skip
        return PhotoSet(self.name, missed=self.missed, **arrays)


def parser(doc: str) -> argparse.ArgumentParser:
    """A benchmark's command line: --data, and --write for its tables in the documents."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, required=True)
    found.add_argument("--write", action="store_true")
    return found


def of_embedder(joint: np.ndarray, embedder: str) -> np.ndarray:
    """An embedder's unit vectors out of the joint ones."""
    if embedder == "joint":
        return joint
    manifest = load_manifest()
    entry = manifest.embedder("joint")
    size = manifest.models["sface"].outputs[0]["shape"][-1]
    part = joint[:, :size] if embedder == "sface" else joint[:, size:]
    return np.ascontiguousarray(part / np.float32(math.sqrt(entry.weights[entry.models.index(embedder)])))


def frames(data: Path, name: str, *, first: int = 0, step: int = 1) -> Iterator[tuple[str, np.ndarray]]:
    """Path and RGB frame of every `step`-th picture of a set, in the order of their paths."""
    with tarfile.open(data / SETS[name]) as tar:
        members = [m for m in tar if m.name.lower().endswith((".jpg", ".jpeg", ".png"))]
        for member in sorted(members, key=lambda m: m.name)[first::step]:
            file = tar.extractfile(member)
            assert file is not None
            yield member.name, decode_rgb(file.read(), name=member.name)


def labelled_face(engine: Engine, frame: np.ndarray, name: str) -> Sample | None:
    """The sample of the person that the set names: of LFW the face nearest the centre, else the largest one."""
    if name == "lfw":
        middle = np.array([frame.shape[1] / 2, frame.shape[0] / 2])
        faces = engine.detect(frame)
        face = min(faces, key=lambda f: np.linalg.norm((f.box_px[:2] + f.box_px[2:]) / 2 - middle), default=None)
        return None if face is None else engine.sample(frame, face)
    return observed(engine, frame)[0]


def measured(engine: Engine, data: Path, name: str, *, first: int = 0, step: int = 1) -> list[tuple]:
    """A row for every `step`-th picture, by an engine of the joint embedder; of its path alone for a miss."""
    rows: list[tuple] = []
    for path, frame in frames(data, name, first=first, step=step):
        sample = labelled_face(engine, frame, name)
        if sample is None or sample.turned:
            rows.append((path,))
            continue
        refusal = assess(sample, 1, QualityLimits(), enrolling=False)
        mirrored = vector(engine.embed(replace(sample, crop=np.ascontiguousarray(sample.crop[:, ::-1]))))
        quality, pose = sample.quality, sample.face.pose
        measures = [*(getattr(quality, m) for m in QUALITY), pose.yaw_deg, pose.pitch_deg, pose.roll_deg,
                    sample.face.score, sample.runner_up,
                    *(getattr(crop_measures, m)(sample.crop) for m in OF_CROP)]  # fmt: skip
        reason = "" if refusal is None else refusal.reason.split(":")[0]
        rows.append((path, vector(engine.embed(sample)), mirrored, reason, measures))
    return rows


def photo_set(data: Path, name: str, rows: list[tuple]) -> PhotoSet:
    """A set of what was measured of its pictures."""
    return _labelled(data, name, _arrays(rows))


def load(data: Path, name: str) -> PhotoSet:
    """One of SETS, by the processor. Its features come out of .cache, or are made on all cores and put there."""
    key = "-".join([*(i[:8] for i in load_manifest().model_ids("joint")), _code()])
    cache = ROOT / ".cache" / f"{name}-{key}.npz"
    if not cache.exists():
        workers = os.cpu_count() or 1
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            parts = pool.map(_part, [(data, name, i, workers) for i in range(workers)])
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, **_arrays([row for part in parts for row in part]))
    with np.load(cache) as stored:
        return _labelled(data, name, dict(stored))


def _code() -> str:
    """A digest of the sources that features and measures come from."""
    folders = [ROOT / "facesdk" / name for name in ("engine", "images", "capture")] + [ROOT / "native" / "core"]
    sources = (path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".h", ".cpp"))
    digest = hashlib.sha256()
    for path in (Path(__file__), *sorted(sources)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _part(job: tuple[Path, str, int, int]) -> list[tuple]:
    data, name, first, step = job
    engine = Engine("joint", threads=1, runtime=choose_runtime().name)  # "auto" would take an accelerator too
    return measured(engine, data, name, first=first, step=step)


def _arrays(rows: list[tuple]) -> dict[str, np.ndarray]:
    rows = sorted(rows, key=lambda row: row[0])
    found = [row for row in rows if len(row) > 1]
    return {
        "paths": np.array([r[0] for r in found]), "joint": np.stack([r[1] for r in found]),
        "mirrored": np.stack([r[2] for r in found]), "refused": np.array([r[3] for r in found]),
        "measures": np.array([r[4] for r in found], np.float32),
        "missed": np.array([r[0] for r in rows if len(r) == 1], str),
    }  # fmt: skip


def _labelled(data: Path, name: str, arrays: Mapping[str, np.ndarray]) -> PhotoSet:
    genders = _genders(data) if name == "lfw" else {}
    paths = arrays["paths"]
    names = np.array([p.split("/")[-2] for p in paths]) if name != "groups" else paths
    group = np.array([_group_of(name, p, genders) for p in paths])
    return PhotoSet(name, paths, names, group, arrays["joint"], arrays["mirrored"], arrays["refused"],
                    arrays["measures"], tuple(arrays["missed"].tolist()))  # fmt: skip


def _genders(data: Path) -> dict[str, str]:
    with open(data / "lfw_attributes.csv", newline="") as file:
        return {row["path"]: row.get("gender", "") for row in csv.DictReader(file)}


def _group_of(name: str, path: str, genders: Mapping[str, str]) -> str:
    if name == "lfw":
        return {"f": "women", "m": "men"}.get(genders.get(path, ""), "")
    return path.split("/")[-2] if name == "groups" else "east asian"
