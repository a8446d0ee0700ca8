"""Accuracy on Labeled Faces in the Wild, by person and by group, at the operating points in use.

python benchmarks/lfw.py --data DATA [--write] [--json FILE]

DATA: see photo_sets.py. Labels that are wrong are left out (lfw_exclusions.csv), in the ten folds too. FNMR is of
people with eight photos and more, each weighing the same: random photos enroll as an enrollment does, others verify;
the interval is a bootstrap over people. A group is compared with itself. In LFW the labelled face is the one nearest
the photo's centre. --write puts the tables into docs/measurements.md.
"""

from __future__ import annotations

import csv
import datetime
import json
import platform
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import photo_sets
from calibration import EMBEDDERS, LEAST_PHOTOS, cleaned_lfw, identities, mirrored
from photo_sets import ROOT, PhotoSet, of_embedder
from readme import write_between_markers

from facesdk.evaluation import fused_scores, threshold

TARGET = 2e-5
PROTOCOLS = ((1, 1), (1, 3), (3, 1), (3, 3), (5, 1), (5, 3), (5, 5))
DRAWS, RESAMPLES = 100, 2000


def ten_fold(photos: PhotoSet, embedder: str, pairs_file: Path) -> float:
    """Mean accuracy over the standard ten folds, each with the threshold that is best on the other nine."""
    lines = [line.split() for line in pairs_file.read_text().splitlines()]
    each = int(lines[0][1])
    index = {Path(p).stem: i for i, p in enumerate(photos.paths)}
    named = [(f"{p[0]}_{int(p[1]):04d}", f"{p[0] if len(p) == 3 else p[2]}_{int(p[-1]):04d}") for p in lines[1:]]
    usable = np.array([a in index and b in index for a, b in named])
    features = of_embedder(photos.joint, embedder)
    scores = np.array(
        [features[index[a]] @ features[index[b]] if ok else 0.0 for (a, b), ok in zip(named, usable, strict=True)]
    )
    same = np.array([len(p) == 3 for p in lines[1:]])
    fold = np.arange(len(named)) // (2 * each)
    accuracies = []
    for k in range(int(lines[0][0])):
        train, test = usable & (fold != k), usable & (fold == k)
        best = max((np.mean((scores[train] >= t) == same[train]), t) for t in np.unique(scores[train]))[1]
        accuracies.append(np.mean((scores[test] >= best) == same[test]))
    return 100 * float(np.mean(accuracies))


def misses(photos: PhotoSet, embedder: str, samples: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each person with enough photos the share of misses at the point in use, and the first of his photos."""
    plain = of_embedder(photos.joint, embedder)
    enrolled = mirrored(plain, of_embedder(photos.mirrored, embedder))
    limit = threshold(embedder, TARGET, samples, frames)
    counts = np.bincount(photos.people)
    people = np.flatnonzero(counts >= max(LEAST_PHOTOS, samples + frames))
    random, shares, first = np.random.default_rng((samples, frames)), [], []
    for person in people:
        rows = np.flatnonzero(photos.people == person)
        drawn = np.stack([random.choice(rows, samples + frames, replace=False) for _ in range(DRAWS)])
        scores = [fused_scores(enrolled[d[None, :samples]], plain[d[None, samples:]])[0, 0] for d in drawn]
        shares.append(np.mean(np.array(scores) < limit))
        first.append(rows[0])
    return np.array(shares), np.array(first)


def interval(shares: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean by a bootstrap over people."""
    random = np.random.default_rng(0)
    means = shares[random.integers(0, len(shares), (RESAMPLES, len(shares)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def false_matches(photos: PhotoSet, pairs: list[tuple[str, str]], embedder: str, samples: int, frames: int) -> dict:
    """Of women and of men, false matches at the point in use, and comparisons."""
    found = {}
    for group in ("women", "men"):
        scores = identities(photos, embedder, group=group, pairs=pairs).scores(samples, frames, mirror=True)
        found[group] = int((scores.values >= threshold(embedder, TARGET, samples, frames)).sum()), len(scores.values)
    return found


def measure(
    photos: PhotoSet, pairs: list[tuple[str, str]], races: dict[str, str], embedder: str, pairs_file: Path
) -> dict:
    """Everything reported of one embedder."""
    result: dict = {"embedder": embedder, "ten_fold": ten_fold(photos, embedder, pairs_file), "protocols": []}
    for samples, frames in PROTOCOLS:
        shares, first = misses(photos, embedder, samples, frames)
        groups = {"women": photos.group[first] == "women", "men": photos.group[first] == "men"}
        race = np.array([races.get(photos.paths[i], "") for i in first])
        groups |= {name: race == name for name in sorted(set(race) - {""})}
        result["protocols"].append({
            "samples": samples, "frames": frames, "threshold": threshold(embedder, TARGET, samples, frames),
            "people": len(shares), "fnmr": float(shares.mean()), "interval": interval(shares),
            "groups": {n: {"people": int(c.sum()), "fnmr": float(shares[c].mean())}
                       for n, c in groups.items() if c.any()},
            "false_matches": false_matches(photos, pairs, embedder, samples, frames),
        })  # fmt: skip
    return result


def table(results: list[dict], photos: PhotoSet) -> str:
    """The table of docs/measurements.md."""
    lines = [
        f"LFW deep-funneled, cleaned: {len(photos.paths):,} photos of {photos.people.max() + 1:,} people;",
        f"FNMR of those with {LEAST_PHOTOS} photos and more, each weighing the same ({platform.machine()}, "
        f"{datetime.date.today()}).",
        "Points of target 2e-5, for the worst group: see docs/contract.md.",
        "",
        "| embedder | 10-fold | " + " | ".join(f"{k} + {m}" for k, m in PROTOCOLS) + " |",
        "|---" * (2 + len(PROTOCOLS)) + "|",
    ]  # fmt: skip
    for r in results:
        cells = [f"{100 * p['fnmr']:.2f} %" for p in r["protocols"]]
        lines.append(f"| {r['embedder']} | {r['ten_fold']:.2f} % | {' | '.join(cells)} |")
    lines += ["", f"By group, {results[0]['embedder']}:", "",
              "| samples + frames | people | FNMR, 95 % interval | women, men | worst group over all "
              "| false matches of women, men |", "|---|---|---|---|---|---|"]  # fmt: skip
    for p in results[0]["protocols"]:
        low, high = p["interval"]
        groups = {n: g for n, g in p["groups"].items() if g["people"] >= 20}
        worst = max(groups, key=lambda n: groups[n]["fnmr"])
        ratio = f"{groups[worst]['fnmr'] / p['fnmr']:.1f} ({worst}, {groups[worst]['people']})" if p["fnmr"] else "-"
        sexes = ", ".join(f"{100 * p['groups'][n]['fnmr']:.2f} %" for n in ("women", "men"))
        false = ", ".join(f"{n} of {of:,}" for n, of in p["false_matches"].values())
        fnmr = f"{100 * p['fnmr']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
        way = f"{p['samples']} + {p['frames']}"
        lines.append(f"| {way} | {p['people']} | {fnmr} | {sexes} | {ratio} | {false} |")
    refused = photos.refused
    refusals = ", ".join(f"{name} {n}" for name, n in sorted(Counter(refused[refused != ""].tolist()).items()))
    share = f"{100 * np.mean(refused != ''):.2f} %"
    lines += ["", f"A verification asks for a better picture for {share} of the photos ({refusals});",
              "they count above all the same."]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, and with --write updates docs/measurements.md."""
    parser = photo_sets.parser(__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    photos, pairs = cleaned_lfw(photo_sets.load(arguments.data, "lfw"))
    with open(arguments.data / "lfw_attributes.csv", newline="") as file:
        races = {row["path"]: row.get("race", "") for row in csv.DictReader(file)}
    results = [measure(photos, pairs, races, e, arguments.data / "lfw_pairs.txt") for e in EMBEDDERS]
    print(table(results, photos))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        write_between_markers(ROOT / "docs" / "measurements.md", "lfw", table(results, photos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
