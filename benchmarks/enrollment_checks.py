"""What the constants of an enrollment come to: near copies, and two people enrolled as one.

python benchmarks/enrollment_checks.py --data DATA

DATA: see photo_sets.py; also nuaa-dev.tar, live sequences of four people at a webcam. Near copies
(matching.NEAR_COPY): how alike frames of one session, of different sessions and different photos are, and the false
match rate of three frames at one frame's threshold. Two people in one enrollment (the manifest's same_person): how
many mixtures pass, and how many genuine enrollments are refused, with features as enrollment makes them.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

import numpy as np
import photo_sets
from calibration import cleaned_lfw, mirrored
from photo_sets import of_embedder

from facesdk import Engine
from facesdk.engine.networks import load_manifest
from facesdk.evaluation import fused_scores, vector
from facesdk.images import decode_rgb
from facesdk.matching import NEAR_COPY

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def sessions(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the live frames, and the session and person of each."""
    engine, rows = Engine("sface"), []
    with tarfile.open(data / "nuaa-dev.tar") as tar:
        for member in sorted((m for m in tar if "/ClientRaw/" in m.name and m.isfile()), key=lambda m: m.name):
            file = tar.extractfile(member)
            assert file is not None
            sample, _ = engine.observe(decode_rgb(file.read(), name=member.name))
            if sample is not None:
                stem = Path(member.name).stem.split("_")
                rows.append(
                    (int(stem[-1]), "_".join(stem[:4]), member.name.split("/")[2], vector(engine.embed(sample)))
                )
    rows.sort(key=lambda row: (row[1], row[0]))
    return np.stack([r[3] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])


def near_copies(data: Path, references: np.ndarray) -> None:
    """Prints how alike frames are, and what three of them gain; references: unit vectors (n, 3, d) of other people."""
    frames, session, person = sessions(data)
    alike = frames @ frames.T
    upper = np.triu(np.ones(alike.shape, bool), 1)
    one_session = upper & (session[:, None] == session[None])
    one_person = upper & (person[:, None] == person[None]) & ~one_session
    for name, chosen in (("one session", one_session), ("another session", one_person)):
        shown = ", ".join(f"{v:.2f}" for v in np.quantile(alike[chosen], QUANTILES))
        print(
            f"{name}: {shown} (quantiles {QUANTILES}); "
            f"above {NEAR_COPY}: {100 * np.mean(alike[chosen] > NEAR_COPY):.1f} %"
        )
    single, random = fused_scores(references, frames[:, None]), np.random.default_rng(0)
    for name in ("neighbours", "one session", "different sessions"):
        triples = []
        for _ in range(1000):
            if name == "different sessions":
                own = np.unique(session[person == random.choice(np.unique(person))])
                picked = random.choice(own, 3, replace=len(own) < 3)
                triples.append([random.choice(np.flatnonzero(session == s)) for s in picked])
                continue
            rows = np.flatnonzero(session == random.choice(np.unique(session)))
            start = random.integers(0, len(rows) - 2)
            triples.append(rows[start : start + 3] if name == "neighbours" else random.choice(rows, 3, replace=False))
        fused = fused_scores(references, frames[np.array(triples)])
        gains = [float(np.mean(fused >= np.quantile(single, 1 - rate))) / rate for rate in (1e-2, 1e-3, 1e-4)]
        print(f"three frames, {name}: false match rate over that of one frame, at 1e-2, 1e-3, 1e-4: "
              + ", ".join(f"{g:.2f}" for g in gains))  # fmt: skip


def mixtures(data: Path, embedder: str) -> None:
    """Prints how many mixtures of two people of one sex pass, and how many genuine enrollments are refused."""
    lfw, _ = cleaned_lfw(photo_sets.load(data, "lfw"))
    lfw = lfw.chosen(np.flatnonzero((lfw.refused == "") & (lfw.group != "")))
    vectors = mirrored(of_embedder(lfw.joint, embedder), of_embedder(lfw.mirrored, embedder))
    limit, random = load_manifest().embedder(embedder).same_person, np.random.default_rng(0)
    everybody = [np.flatnonzero(lfw.people == i) for i in range(lfw.people.max() + 1)]
    for count in (3, 5):
        people = [rows for rows in everybody if len(rows) >= count]
        group = np.array([lfw.group[rows[0]] for rows in people])
        genuine, mixed = [], []
        for number, rows in enumerate(people):
            others = np.setdiff1d(np.flatnonzero(group == group[number]), [number])
            for _ in range(4):
                genuine.append(random.choice(rows, count, replace=False))
                stranger = random.choice(people[random.choice(others)], 1)
                mixed.append(np.concatenate([random.choice(rows, count - 1, replace=False), stranger]))
        refused, passed = (
            np.einsum("nkd,nld->nkl", vectors[np.array(drawn)], vectors[np.array(drawn)]).min(axis=(1, 2)) < limit
            for drawn in (genuine, mixed)
        )
        print(f"{embedder}, {count} samples, {len(people)} people: "
              f"genuine refused {int(refused.sum())} of {len(refused)}, "
              f"mixtures passed {int((~passed).sum())} of {len(passed)}")  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    lfw, _ = cleaned_lfw(photo_sets.load(data, "lfw"))
    plain = of_embedder(lfw.joint, "sface")
    people = [np.flatnonzero(lfw.people == i) for i in range(lfw.people.max() + 1)]
    near_copies(data, plain[np.array([rows[:3] for rows in people if len(rows) >= 3])])
    for embedder in ("sface", "joint", "mobilefacenet"):
        mixtures(data, embedder)


if __name__ == "__main__":
    main()
