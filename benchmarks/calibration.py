"""Operating points by way of use: thresholds for so many samples of a reference and so many frames of a verification.

python benchmarks/calibration.py --data DATA [--embedder NAME ...] [--write] [--json FILE]

DATA: see photo_sets.py; lfw_exclusions.csv, beside this file, lists which labels of LFW are wrong. A point holds for
every group of people that there is data for: LFW's women and men, East Asian celebrities, and adults in eight groups by
sex and skin colour. The rate of each is a tail fit's (tails.py) with its upper 95 % limit over people. A point's
estimate in the worst group is at most its target, the limit at most a quarter more.

Of the eight groups nobody knows who is who, so a group's rate for several samples is its rate for one photo times the
ratio of the two rates among the same people of LFW, of women or of men, whichever comes out higher; the limit is that
of the product over resamples of both. That the ratio carries over is an assumption.
References are scored as they are made at enrollment (with the mirrored crop) and plain: a point holds for both.
--write puts the points into models/manifest.toml and docs/contract.md; those of an accelerator stay.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import photo_sets
from operating_points import write_points
from photo_sets import ROOT, PhotoSet, of_embedder
from readme import write_between_markers
from tails import GRID, UPPER, Scores, Tail, tail_over_people, threshold_for

from facesdk.engine.networks import load_manifest
from facesdk.engine.operating_points import BUCKETS
from facesdk.evaluation import fused_scores

TARGETS = (1e-3, 1e-4, 2e-5, 1e-5)
SLACK = 1.25  # the upper limit over the target
SHOWN = (1, 2, 3, 5, 7)  # samples and frames of the documents' tables; the manifest has them all
EMBEDDERS = ("sface", "joint", "mobilefacenet")
RESTS = {"sface": (0.54, 0.68), "joint": (0.56, 0.70), "mobilefacenet": (0.70, 0.80)}
MOST = 1_500_000  # scores of a protocol in one set, about
LEAST_PHOTOS = 8  # of a person whose FNMR is measured
EXCLUSIONS = Path(__file__).with_name("lfw_exclusions.csv")
COMMENT = """: written by benchmarks/calibration.py on %s. Rows: samples of the reference, 1 to 6, 7 and more;
# columns: frames, likewise. estimates, bounds: of the worst group's false match rate and its upper 95 %% limit
# over people; fnmr: of the people of LFW with eight photos and more, each weighing the same. inf: not offered."""


@dataclass(frozen=True)
class Identities:
    """People with several photos: unit vectors as probes, the same as references are made, and the rows of each."""

    name: str
    plain: np.ndarray
    mirrored: np.ndarray
    rows: list[np.ndarray]
    excluded: frozenset[tuple[int, int]]

    def scores(self, samples: int, frames: int, *, mirror: bool, like: tuple[int, int] | None = None) -> Scores:
        """Non-mated scores for random photos of everybody who has enough, so often that there are about MOST.

        like: the samples and frames that people must have enough for, if not for these.
        """
        needed, wanted = like or (samples, frames)
        owners = np.array([i for i, rows in enumerate(self.rows) if len(rows) >= needed])
        others = np.array([i for i, rows in enumerate(self.rows) if len(rows) >= wanted])
        random = np.random.default_rng((int(mirror), samples, frames))
        one, other = np.meshgrid(owners, others, indexing="ij")
        counted = one != other
        for a, b in self.excluded:
            counted &= ~(((one == a) & (other == b)) | ((one == b) & (other == a)))
        references, found = self.mirrored if mirror else self.plain, []
        draws = max(1, min(40, MOST // counted.size))
        for _ in range(draws):
            chosen = references[_draw([self.rows[i] for i in owners], samples, random)]
            probes = self.plain[_draw([self.rows[i] for i in others], frames, random)]
            found.append(fused_scores(chosen, probes, foreign=False)[counted])
        return Scores(
            np.concatenate(found), np.tile(one[counted], draws), np.tile(other[counted], draws), owners, others,
            len(self.rows),
        )  # fmt: skip


def _draw(rows: Sequence[np.ndarray], count: int, random: np.random.Generator) -> np.ndarray:
    return np.stack([random.choice(r, count, replace=False) for r in rows])


def mirrored(plain: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Unit vectors of the mean of crop and mirrored crop, as an enrollment makes them."""
    both = plain + mirror
    return both / np.linalg.norm(both, axis=1, keepdims=True)


def cleaned_lfw(lfw: PhotoSet) -> tuple[PhotoSet, list[tuple[str, str]]]:
    """LFW without the photos that show somebody else, and the pairs of names that are not of two strangers."""
    with open(EXCLUSIONS, newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = {row["a"] for row in rows if row["kind"] == "mislabelled"}
    right = np.array([Path(p).stem not in wrong for p in lfw.paths])
    return lfw.chosen(np.flatnonzero(right)), [(r["a"], r["b"]) for r in rows if r["kind"] != "mislabelled"]


def identities(
    photos: PhotoSet, embedder: str, *, group: str = "", pairs: Sequence[tuple[str, str]] = ()
) -> Identities:
    """The people of a set, or of one group of it."""
    if group:
        photos = photos.chosen(np.flatnonzero(photos.group == group))
    plain, mirror = of_embedder(photos.joint, embedder), of_embedder(photos.mirrored, embedder)
    names = np.unique(photos.names)
    number = {name: i for i, name in enumerate(names)}
    excluded = frozenset((number[a], number[b]) for a, b in pairs if a in number and b in number)
    rows = [np.flatnonzero(photos.people == i) for i in range(len(names))]
    return Identities(group or photos.name, plain, mirrored(plain, mirror), rows, excluded)


def tail_of(
    people: Identities, samples: int, frames: int, *, mirror: bool, like: tuple[int, int] | None = None,
    wider: Tail | None = None,
) -> Tail:  # fmt: skip
    """The tail of one protocol among these people, or among those who could take part in the protocol `like`."""
    return tail_over_people(people.scores(samples, frames, mirror=mirror, like=like), to=0.9995, wider=wider)


def group_tails(groups: PhotoSet, embedder: str, *, mirror: bool) -> dict[str, Tail]:
    """The tail of one photo against one in each group without identities."""
    plain = of_embedder(groups.joint, embedder)
    references = mirrored(plain, of_embedder(groups.mirrored, embedder)) if mirror else plain
    tails = {}
    for group in np.unique(groups.group):
        rows = np.flatnonzero(groups.group == group)
        one, other = np.nonzero(~np.eye(len(rows), dtype=bool)) if mirror else np.triu_indices(len(rows), 1)
        scores = np.einsum("nd,nd->n", references[rows][one], plain[rows][other])
        everybody = np.arange(len(rows))
        found = Scores(scores, one, other, everybody, everybody, len(rows))
        tails[str(group)] = tail_over_people(found, to=0.994, rest=RESTS[embedder], seed=1)
    return tails


class Calibration:
    """Rates of every group at every threshold, by embedder and protocol."""

    def __init__(self, sets: Mapping[str, PhotoSet], embedder: str, models: Sequence[str]) -> None:
        """sets: those of photo_sets.SETS by name; models: ids of the models that their features were made with."""
        lfw, self.pairs = cleaned_lfw(sets["lfw"])
        self.embedder, self.lfw, self.models = embedder, lfw, list(models)
        self.sets = [identities(lfw, embedder, group=g, pairs=self.pairs) for g in ("women", "men")]
        self.sets.append(identities(sets["eastasian"], embedder))
        self.groups = [group_tails(sets["groups"], embedder, mirror=m) for m in (False, True)]

    def rates(self, samples: int, frames: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By group, estimate and upper limit at GRID: of plain and mirrored references the higher."""
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for mirror in (False, True):
            rows = []
            for people in self.sets:
                tail = one = tail_of(people, 1, 1, mirror=mirror, like=(samples, frames))
                if (samples, frames) != (1, 1):
                    tail = tail_of(people, samples, frames, mirror=mirror, wider=one)
                rows.append((people.name, tail.fitted, tail.upper))
                if people is self.sets[-1]:
                    continue
                # Women and men of LFW: what several samples are worth to the same people.
                ratio, ratios = tail.fitted / one.fitted, tail.resampled / one.resampled
                for name, single in self.groups[mirror].items():
                    estimate = single.fitted * ratio
                    limit = np.percentile(single.resampled * ratios, UPPER, axis=0)
                    rows.append((name, estimate, np.maximum(limit, estimate)))
            for name, estimate, limit in rows:
                before = found.get(name, (estimate, limit))
                found[name] = np.maximum(before[0], estimate), np.maximum(before[1], limit)
        return found

    def fnmr(self, samples: int, frames: int, thresholds: Sequence[float], *, group: str = "") -> list[float]:
        """Of the people with LEAST_PHOTOS and more, each weighing the same; references as enrollment makes them."""
        people = identities(self.lfw, self.embedder, group=group)
        rows = [r for r in people.rows if len(r) >= max(LEAST_PHOTOS, samples + frames)]
        random = np.random.default_rng((7, samples, frames))
        scores = []
        for _ in range(100):
            drawn = _draw(rows, samples + frames, random)
            references, probes = people.mirrored[drawn[:, :samples]], people.plain[drawn[:, samples:]]
            scores += [fused_scores(r[None], p[None])[0, 0] for r, p in zip(references, probes, strict=True)]
        return [float(np.mean(np.array(scores) < threshold)) for threshold in thresholds]

    def points(self) -> list[dict]:
        """The operating points, as the manifest has them."""
        cells: dict[tuple[int, int], list[dict]] = {}
        for k, m in itertools.product(BUCKETS, BUCKETS):
            cells[k, m] = self._cell(k, m)
            for number, fnmr in enumerate(self.fnmr(k, m, [c["thresholds"] for c in cells[k, m]])):
                cells[k, m][number]["fnmr"] = round(fnmr, 5)
        points = []
        for number, target in enumerate(TARGETS):
            table = {name: [[cells[k, m][number][name] for m in BUCKETS] for k in BUCKETS]
                     for name in ("thresholds", "groups", "estimates", "bounds", "fnmr")}  # fmt: skip
            points.append({"target_fmr": target, **table, "models": self.models})
        return points

    def _cell(self, samples: int, frames: int) -> list[dict]:
        """For each target the threshold for so many samples and frames, and what it comes to."""
        rates, cell = self.rates(samples, frames), []
        for target in TARGETS:
            needed = {n: max(threshold_for(e, target), threshold_for(u, SLACK * target)) for n, (e, u) in rates.items()}
            group = max(needed, key=lambda name: needed[name])
            at = min(round(needed[group] * 1000), len(GRID) - 1) if np.isfinite(needed[group]) else -1
            estimate, bound = (_rounded_up(float(rate[at])) for rate in rates[group])
            cell.append(
                {"thresholds": round(needed[group], 3), "groups": group, "estimates": estimate, "bounds": bound}
            )
        return cell


def _rounded_up(rate: float) -> float:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1) if rate > 0 else 1.0
    return float(f"{math.ceil(rate / unit - 1e-9) * unit:.2g}")


def table(embedder: str, points: Sequence[dict]) -> str:
    """A row for each of the SHOWN numbers of samples and frames."""
    lines = [f"| {embedder}: samples + frames | " + " | ".join(f"{p['target_fmr']:g}" for p in points) + " |",
             "|---" * (1 + len(points)) + "|"]  # fmt: skip
    for i, k in enumerate(BUCKETS):
        for j, m in enumerate(BUCKETS):
            if k not in SHOWN or m not in SHOWN:
                continue
            cells = []
            for p in points:
                at, group, bound, fnmr = (p[name][i][j] for name in ("thresholds", "groups", "bounds", "fnmr"))
                cells.append(f"{at:.3f} ({group}, < {bound:.1e}), FNMR {100 * fnmr:.2f} %")
            lines.append(f"| {k} + {m} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, and with --write updates the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", action="append", choices=EMBEDDERS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    points, manifest = {}, load_manifest()
    sets = {name: photo_sets.load(arguments.data, name) for name in photo_sets.SETS}
    for name in arguments.embedder or EMBEDDERS:
        ids = [manifest.models[n].sha256[:16] for n in ("face_mesh", *manifest.embedder(name).models)]
        points[name] = Calibration(sets, name, ids).points()
        print(table(name, points[name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(points, indent=1) + "\n")
    if arguments.write:
        write_points(ROOT / "models" / "manifest.toml", points, comment=COMMENT % datetime.date.today())
        tables = "\n\n".join(table(name, listed) for name, listed in points.items())
        write_between_markers(ROOT / "docs" / "contract.md", "points", f"{datetime.date.today()}.\n\n{tables}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
