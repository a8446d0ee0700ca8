"""Accuracy on Labeled Faces in the Wild: 10-fold, FMR and FNMR over all pairs, and the operating points by group.

python benchmarks/lfw.py --data DATA [--write]

DATA holds lfw-deepfunneled.tar, lfw_pairs.txt and lfw_attributes.csv. --write puts the table into README.md and the
operating points into models/manifest.toml, where those of an accelerator stay. In LFW the labelled face is the one
nearest the photo's centre. A group is compared with itself (women with women, men with men), harder than across.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import multiprocessing
import os
import platform
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from operating_points import Scores, lowest_threshold, point_at, threshold_at, write_points
from readme import write_between_markers

from facesdk import Engine
from facesdk.evaluation import vector
from facesdk.images import decode_rgb
from facesdk.matching import make_reference
from facesdk.models import Manifest, load_manifest
from facesdk.policy import QualityLimits
from facesdk.quality import assess
from facesdk.runtime import choose_runtime

ROOT = Path(__file__).resolve().parent.parent
TARGETS = (1e-3, 1e-4, 2e-5, 1e-5)
ARCHIVE = "lfw-deepfunneled.tar"
EMBEDDERS = ("sface", "mobilefacenet", "joint")
COMMENT = """: written by benchmarks/lfw.py on %s. Each holds the worse of women and men to its target.
# fmr and fmr_bound (95 %%, one-sided): of that group; fnmr: of all mated pairs, one photo against one."""
GROUPS = {"f": "women", "m": "men"}
Found = dict[str, tuple[np.ndarray | None, str]]


@dataclass(frozen=True)
class Photos:
    """Paths, subjects, group of each ("f", "m" or ""), and features by embedder, (n, d) of unit length.

    refused: what a verification would have answered instead of comparing, "" where it would compare.
    """

    paths: list[str]
    subjects: np.ndarray
    groups: np.ndarray
    features: dict[str, np.ndarray]
    refused: np.ndarray
    missed: int


def _centre_face(engine: Engine, frame: np.ndarray):
    middle = np.array([frame.shape[1] / 2, frame.shape[0] / 2])
    faces = engine.detect(frame)
    return min(faces, key=lambda f: np.linalg.norm((f.box_px[:2] + f.box_px[2:]) / 2 - middle), default=None)


def extract(engine: Engine, archive: Path, *, first: int = 0, step: int = 1) -> Found:
    """Joint features (None where no face was found) and refusal, by path, of every `step`-th photo from `first` on."""
    limits, result = QualityLimits(), {}
    with tarfile.open(archive) as tar:
        members = [m for m in tar if m.name.endswith(".jpg")]
        for member in sorted(members, key=lambda m: m.name)[first::step]:
            file = tar.extractfile(member)
            assert file is not None
            frame = decode_rgb(file.read(), name=member.name)
            face = _centre_face(engine, frame)
            sample = None if face is None else engine.sample(frame, face)
            refusal = assess(sample, face is not None, limits, enrolling=False)
            features = None if sample is None else np.array(vector(engine.embed(sample)))
            result[member.name] = (features, "" if refusal is None else refusal.reason.split(":")[0])
    return result


def _extract_part(job: tuple[Path, int, int]) -> Found:
    archive, first, step = job
    processor = choose_runtime().name  # "auto" would take an accelerator too
    return extract(Engine("joint", runtime=processor), archive, first=first, step=step)


def _features_of_archive(archive: Path, cache: Path) -> Found:
    if cache.exists():
        with np.load(cache) as stored:
            rows = zip(stored["paths"].tolist(), stored["vectors"], stored["refused"].tolist(), strict=True)
            return {path: (v if v.any() else None, refused) for path, v, refused in rows}
    workers = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        parts = pool.map(_extract_part, [(archive, i, workers) for i in range(workers)])
    found = {path: row for part in parts for path, row in part.items()}
    cache.parent.mkdir(parents=True, exist_ok=True)
    size = next(v for v, _ in found.values() if v is not None).shape[0]
    vectors = np.stack([np.zeros(size, np.float32) if v is None else v for v, _ in found.values()])
    np.savez(cache, paths=np.array(list(found)), vectors=vectors, refused=np.array([r for _, r in found.values()]))
    return found


def load(data: Path) -> Photos:
    """All photos with a face, their labels and features by the processor."""
    manifest = load_manifest()
    key = "-".join(i[:8] for i in manifest.model_ids("joint"))
    return labelled(_features_of_archive(data / ARCHIVE, ROOT / ".cache" / f"lfw-{key}.npz"), data, manifest)


def labelled(found: Found, data: Path, manifest: Manifest) -> Photos:
    """The photos with a face, their labels, and the features of each embedder out of the joint ones."""
    with open(data / "lfw_attributes.csv", newline="") as file:
        labels = {row["path"]: row for row in csv.DictReader(file)}
    paths = sorted(p for p, (v, _) in found.items() if v is not None)
    joint = np.stack([found[p][0] for p in paths])
    weights = manifest.embedder("joint").weights
    dimension = manifest.models["sface"].outputs[0]["shape"][-1]
    features = {
        "sface": joint[:, :dimension] / math.sqrt(weights[0]),
        "mobilefacenet": joint[:, dimension:] / math.sqrt(weights[1]),
        "joint": joint,
    }
    subjects = np.array([p.split("/")[1] for p in paths])
    groups = np.array([labels.get(p, {}).get("gender", "") for p in paths])
    refused = np.array([found[p][1] for p in paths])
    return Photos(paths, subjects, groups, features, refused, len(found) - len(paths))


def all_scores(features: np.ndarray, subjects: np.ndarray, *, floor: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all mated pairs, of the non-mated pairs over `floor`, and the number of non-mated pairs."""
    _, person = np.unique(subjects, return_inverse=True)
    mated, tail, count = [], [], 0
    for start in range(0, len(features), 1024):
        block = features[start : start + 1024] @ features.T
        rows = np.arange(start, start + len(block))[:, None]
        later = np.arange(len(features))[None] > rows
        same = (person[start : start + 1024, None] == person[None]) & later
        other = ~same & later
        mated.append(block[same])
        count += int(other.sum())
        tail.append(block[other & (block > floor)])
    return np.concatenate(mated), np.sort(np.concatenate(tail))[::-1], count


def ten_fold(photos: Photos, embedder: str, pairs_file: Path) -> float:
    """Mean accuracy over the standard ten folds, each with the threshold that is best on the other nine."""
    lines = [line.split() for line in pairs_file.read_text().splitlines()]
    folds, each = int(lines[0][0]), int(lines[0][1])
    index = {p: i for i, p in enumerate(photos.paths)}

    def at(name: str, number: str) -> int:
        return index[f"lfw-deepfunneled/{name}/{name}_{int(number):04d}.jpg"]

    pairs = [(at(p[0], p[1]), at(p[0] if len(p) == 3 else p[2], p[-1])) for p in lines[1:]]
    features = photos.features[embedder]
    scores = np.array([float(features[a] @ features[b]) for a, b in pairs])
    same = np.array([len(p) == 3 for p in lines[1:]])
    fold = np.arange(len(pairs)) // (2 * each)
    accuracies = []
    for k in range(folds):
        train, test = fold != k, fold == k
        candidates = np.unique(scores[train])
        correct = [(np.mean((scores[train] >= t) == same[train]), t) for t in candidates]
        best = max(correct)[1]
        accuracies.append(np.mean((scores[test] >= best) == same[test]))
    return 100 * float(np.mean(accuracies))


def several(photos: Photos, embedder: str, *, samples: int, points: list[dict]) -> dict:
    """FMR by group and FNMR at the operating points for people enrolled with their first `samples` photos.

    Every other photo of the group is a probe of its own, for mated comparisons at most ten of a person.
    """
    features = photos.features[embedder]
    people = [np.flatnonzero(photos.subjects == s) for s in np.unique(photos.subjects)]
    people = [rows for rows in people if len(rows) > samples]
    references = np.stack([make_reference(list(features[rows[:samples]])) for rows in people])
    mated = np.concatenate(
        [features[r[samples : samples + 10]] @ ref for r, ref in zip(people, references, strict=True)]
    )
    result: dict = {"samples": samples, "people": len(people), "mated": len(mated), "groups": {}}
    owners = np.array([photos.subjects[rows[0]] for rows in people])
    for group, name in GROUPS.items():
        own = np.array([photos.groups[rows[0]] == group for rows in people])
        probes = photos.groups == group
        scores = references[own] @ features[probes].T
        others = scores[owners[own][:, None] != photos.subjects[probes][None]]
        rates = [float(np.mean(others >= p["threshold"])) for p in points]
        result["groups"][name] = {"people": int(own.sum()), "non_mated": len(others), "fmr": rates}
    result["fnmr"] = [float(np.mean(mated < p["threshold"])) for p in points]
    return result


def group_scores(photos: Photos, embedder: str) -> dict[str, Scores]:
    """Of women and of men, the scores of the non-mated pairs over 0.1 and the number of all."""
    features, groups = photos.features[embedder], {}
    for group, name in GROUPS.items():
        chosen = photos.groups == group
        groups[name] = all_scores(features[chosen], photos.subjects[chosen], floor=0.1)[1:]
    return groups


def measure(photos: Photos, embedder: str, pairs_file: Path) -> dict:
    """Everything reported of one embedder."""
    features = photos.features[embedder]
    mated, tail, count = all_scores(features, photos.subjects, floor=0.2)
    result: dict = {
        "embedder": embedder, "photos": len(features), "mated": len(mated), "non_mated": count,
        "ten_fold": ten_fold(photos, embedder, pairs_file), "overall": [], "operating_points": [],
    }  # fmt: skip
    groups = group_scores(photos, embedder)
    manifest = load_manifest()
    ids = [manifest.models[m].sha256[:16] for m in ("face_mesh", *manifest.embedder(embedder).models)]
    for target in TARGETS:
        overall = threshold_at(tail, count, target)
        result["overall"].append({"fmr": target, "threshold": overall, "fnmr": float(np.mean(mated < overall))})
        threshold = lowest_threshold(groups, target)
        result["operating_points"].append(point_at(threshold, target=target, mated=mated, groups=groups, models=ids))
    points = result["operating_points"]
    result["several"] = [several(photos, embedder, samples=n, points=points) for n in (1, 3, 5)]
    return result


def table(results: list[dict], missed: int, refused: np.ndarray) -> str:
    """The README's table."""
    machine = f"{platform.machine()}, {datetime.date.today().isoformat()}"
    first = results[0]
    lines = [
        f"LFW deep-funneled, {first['photos'] + missed:,} photos, faces found: {first['photos']:,}; "
        f"{first['mated']:,} mated and {first['non_mated']:,} non-mated pairs, one photo against one ({machine}).",
        "",
        "| embedder | 10-fold | FNMR at FMR 1e-4 / 2e-5 / 1e-5, all pairs "
        "| FNMR with the worse of women and men held to 2e-5 | its FMR, 95 % bound |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for r in results:
        fnmr = " / ".join(f"{100 * o['fnmr']:.2f} %" for o in r["overall"][1:])
        point = next(p for p in r["operating_points"] if p["target_fmr"] == 2e-5)
        lines.append(
            f"| {r['embedder']} | {r['ten_fold']:.2f} % | {fnmr} | {100 * point['fnmr']:.2f} % | "
            f"{point['fmr']:.1e} ({point['group']}), < {point['fmr_bound']:.1e} of {point['comparisons']:,} |"
        )
    lines += [
        "",
        "The same threshold (target 2e-5) for people enrolled with several photos, joint, one probe at a time:",
        "",
        "| enrolled with | FMR among women | FMR among men | FNMR |",
        "|---|---|---|---|",
    ]
    for row in results[-1]["several"]:
        at = TARGETS.index(2e-5)
        groups = row["groups"].values()
        cells = [f"{g['fmr'][at]:.1e} of {g['non_mated']:,}, {g['people']} people" for g in groups]
        lines.append(f"| {row['samples']} | {' | '.join(cells)} | {100 * row['fnmr'][at]:.2f} % of {row['mated']:,} |")
    refusals = ", ".join(f"{name} {n}" for name, n in sorted(Counter(refused[refused != ""].tolist()).items()))
    share = f"{100 * np.mean(refused != ''):.2f} %"
    lines += [
        "",
        f"A verification asks for a better picture for {share} of the photos ({refusals}).",
        "Bounds take comparisons as independent; they share photos and people (brothers and sisters too), so the truth",
        "is less certain than they say.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, and with --write updates README.md and the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    photos = load(arguments.data)
    results = [measure(photos, e, arguments.data / "lfw_pairs.txt") for e in EMBEDDERS]
    print(table(results, photos.missed, photos.refused))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        points = {r["embedder"]: r["operating_points"] for r in results}
        write_points(ROOT / "models" / "manifest.toml", points, comment=COMMENT % datetime.date.today())
        write_between_markers(ROOT / "README.md", "lfw", table(results, photos.missed, photos.refused))
    return 0


if __name__ == "__main__":
    sys.exit(main())
