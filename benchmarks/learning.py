"""What learning wins for the owner, and what it could give a stranger: simulated on people of LFW.

python benchmarks/learning.py --data DATA [--write] [--json FILE]

DATA: see photo_sets.py. People with 15 photos and more enroll with three of them, and unlock with the others one
after the other, in random order, by the rule of a verification (facesdk.learning). A photo is an unlock an hour after
the one before. FNMR is of people, each weighing the same. --write puts the table into docs/learning.md. LFW tells
nothing of years: its photos of a person are of a few.
"""

from __future__ import annotations

import datetime
import json
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import photo_sets
from calibration import cleaned_lfw, mirrored
from lfw import interval
from photo_sets import ROOT, PhotoSet, of_embedder
from readme import write_between_markers

from facesdk import Policy, learning, matching
from facesdk.learning import EVERY_S, Rule, sets, sets_with
from facesdk.vault import SampleSet

EMBEDDER, SAMPLES, LEAST_PHOTOS, MOST_UNLOCKS, DRAWS = "sface", 3, 15, 57, 8
PARTS = ((0, 6), (6, 12), (12, 18))
NEAREST = 20  # strangers of each person whose photos are put into his template


@dataclass
class Sets:
    """The learned samples as a template has them opened."""

    sets: list[SampleSet]

    def of(self, *_: object) -> SampleSet | None:
        """The one set."""
        return self.sets[0] if self.sets else None


class Person:
    """A template that is not sealed: enrolled features, and what they learn."""

    embedder, model_ids = EMBEDDER, ("ab" * 32,)

    def __init__(self, samples: np.ndarray) -> None:
        self.samples, self.learned = samples, Sets([])

    def turned(self, vectors: list[np.ndarray], **_: object) -> list[np.ndarray]:
        """By no rotation."""
        return vectors

    def known(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Enrolled and learned vectors."""
        found = self.learned.of()
        return list(self.samples), [] if found is None else list(found.vectors)

    def learn(self, vector: np.ndarray, number: int) -> None:
        """Learns it if it is due and new."""
        sets = sets_with(self, vector, None, now_unix_s=number * EVERY_S)  # type: ignore[arg-type]
        self.learned.sets = self.learned.sets if sets is None else sets


@dataclass(frozen=True)
class Way:
    """Whether sure matches are learned, near misses too (as if the passphrase followed each), how many samples, and how
    many photos there are to an unlock."""

    name: str
    sure: bool
    near: bool = False
    most: int = learning.MAX_LEARNED
    frames: int = 1


WAYS = (
    Way("nothing is learned", sure=False),
    Way("sure matches (in use)", sure=True),
    Way("sure matches, two samples", sure=True, most=2),
    Way("near misses before the passphrase alone", sure=False, near=True),
    Way("both", sure=True, near=True),
    Way("three photos an unlock, nothing is learned", sure=False, frames=3),
    Way("three photos an unlock, sure matches (in use)", sure=True, frames=3),
)


def unlocks(way: Way, person: Person, plain: np.ndarray, image: np.ndarray, policy: Policy) -> list[bool]:
    """Whether each unlock opened; plain and image: (n, frames, d), of the crops and with their mirror images."""
    opened, frames = [], plain.shape[1]
    near_policy = replace(policy, target_fmr=policy.next_target(EMBEDDER, stricter=False))
    for number, (probes, better) in enumerate(zip(plain, image, strict=True), start=1):
        enrolled, learned = person.known()
        rule = Rule.of(policy, EMBEDDER, enrolled, learned, frames=frames)
        opened.append(rule.decide(enrolled, learned, list(probes)))
        wanted: list[int] = []
        if opened[-1]:
            wanted = rule.to_learn(enrolled, learned, list(probes)) if way.sure else []
        elif way.near and Rule.of(near_policy, EMBEDDER, enrolled, [], frames=frames).decide(
            enrolled, [], list(probes)
        ):
            wanted = [0]
        if wanted:
            person.learn(better[wanted[0]], number)
    return opened


def scores_with(person: Person, others: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Whether each stranger's photo opens, and the rule: as Rule.decide, for many photos at once."""
    enrolled, learned = person.known()
    rule = Rule.of(Policy(), EMBEDDER, enrolled, learned, frames=1)
    opens = _fused([*enrolled, *learned], others) >= rule.match[0]
    if rule.anchor is not None:
        opens &= _fused(enrolled, others) >= rule.anchor[0]
    return opens, rule


def _fused(samples: list[np.ndarray], others: np.ndarray) -> np.ndarray:
    rows = matching.near_copies(samples)
    means = np.stack([np.mean([others @ samples[i] for i in row], axis=0) for row in rows])
    fused = np.sort(means, axis=0)[::-1][: len(rows) // 2 + 1].mean(axis=0)
    return np.where(means.max(axis=0) < matching.FOREIGN, means.max(axis=0), fused)


def simulated(way: Way, photos: PhotoSet, plain: np.ndarray, image: np.ndarray, people: np.ndarray) -> dict:
    """FNMR of the owners over their unlocks, and what strangers open at the end."""
    sets.MAX_LEARNED = way.most
    policy, shares, parts, false, tried, sure = Policy(), [], [], 0, 0, 0
    for who in people:
        rows, misses = np.flatnonzero(photos.people == who), []
        for draw in range(DRAWS):
            order = np.random.default_rng((draw, int(who))).permutation(rows)[: SAMPLES + MOST_UNLOCKS]
            person, rest = Person(image[order[:SAMPLES]]), order[SAMPLES:]
            rest = rest[: len(rest) // way.frames * way.frames].reshape(-1, way.frames)
            misses.append([not ok for ok in unlocks(way, person, plain[rest], image[rest], policy)])
            if draw == 0:
                others = plain[photos.people != who]
                opens, rule = scores_with(person, others)
                false, tried = false + int(opens.sum()), tried + len(others)
                sure += int((opens & (_fused(list(person.samples), others) >= rule.strong)).sum())
        shares.append(np.mean([np.mean(one) for one in misses]))
        parts.append([np.mean([m for one in misses for m in one[a:b]]) if len(rows) >= SAMPLES + b * way.frames
                      else np.nan for a, b in PARTS])  # fmt: skip
    sets.MAX_LEARNED = WAYS[0].most
    full = np.array(parts)[~np.isnan(np.array(parts)).any(axis=1)]
    return {
        "way": way.name, "people": len(people), "fnmr": float(np.mean(shares)), "interval": interval(np.array(shares)),
        "people_of_parts": len(full), "parts": full.mean(axis=0).tolist(), "false": false, "tried": tried, "sure": sure,
    }  # fmt: skip


def poisoned(photos: PhotoSet, plain: np.ndarray, image: np.ndarray, people: np.ndarray) -> dict:
    """Strangers put into templates by force: how often their other photos open, with the anchor and without."""
    counts = np.bincount(photos.people)
    result = {"pairs": 0, "before": 0, "after": 0, "without_anchor": 0, "photos": 0, "opened": set()}
    owner: dict[str, list[float]] = {"before": [], "after": []}
    for who in people:
        rows = np.random.default_rng(int(who)).permutation(np.flatnonzero(photos.people == who))[:SAMPLES]
        person = Person(image[rows])
        score = _fused(list(person.samples), plain)
        best = np.full(len(counts), -1.0)
        np.maximum.at(best, photos.people, score)
        best[who] = -1.0
        best[counts < learning.MAX_LEARNED + 4] = -1.0
        for stranger in np.argsort(-best)[:NEAREST]:
            his = np.random.default_rng(int(stranger)).permutation(np.flatnonzero(photos.people == stranger))
            taken, rest = his[: learning.MAX_LEARNED], his[learning.MAX_LEARNED :]
            before, _ = scores_with(person, plain[rest])
            person.learned.sets = [SampleSet(EMBEDDER, ("ab" * 32,), (1, 2, 3, 4), image[taken])]
            after, rule = scores_with(person, plain[rest])
            if stranger == np.argmax(best):
                own = plain[np.setdiff1d(np.flatnonzero(photos.people == who), rows)]
                owner["after"].append(1 - scores_with(person, own)[0].mean())
                owner["before"].append(1 - scores_with(Person(person.samples), own)[0].mean())
            free = _fused([*person.samples, *image[taken]], plain[rest]) >= rule.match[0]
            person.learned.sets = []
            result["pairs"] += 1
            result["photos"] += len(rest)
            result["before"] += int(before.sum())
            result["after"] += int(after.sum())
            result["without_anchor"] += int(free.sum())
            if after.any():
                result["opened"].add((int(who), int(stranger)))
    shares = {f"owner_{when}": float(np.mean(found)) for when, found in owner.items()}
    return {**result, **shares, "opened": len(result["opened"])}


def table(rows: list[dict], forced: dict) -> str:
    """The rows of docs/learning.md."""
    lines = [
        f"LFW, {rows[0]['people']} people with {LEAST_PHOTOS} photos and more, {DRAWS} orders each, one photo an",
        f"unlock, {EMBEDDER}, target 2e-5 ({platform.machine()}, {datetime.date.today()}, `benchmarks/learning.py`).",
        "",
        "| what is learned | FNMR, 95 % interval "
        "| unlocks 1 to 6, 7 to 12, 13 to 18 (people with so many) "
        "| strangers' photos that open at the end | of them sure enough to be learned |",
        "|---|---|---|---|---|",
    ]
    for r in rows:
        low, high = r["interval"]
        parts = ", ".join(f"{100 * share:.2f} %" for share in r["parts"]) + f" ({r['people_of_parts']})"
        lines.append(
            f"| {r['way']} | {100 * r['fnmr']:.2f} % ({100 * low:.2f} to {100 * high:.2f}) | {parts} "
            f"| {r['false']} of {r['tried']:,} | {r['sure']} |"
        )
    lines += [
        "",
        f"By force: four photos of each of the {NEAREST} most alike strangers put into the template. Of their "
        f"{forced['photos']:,} other photos ({forced['pairs']:,} pairs of people) {forced['before']} opened before, "
        f"{forced['after']} after (in {forced['opened']} pairs); without the bound by the enrolled samples it would be "
        f"{forced['without_anchor']:,}. The owner himself is missed {100 * forced['owner_before']:.1f} % before, and "
        f"{100 * forced['owner_after']:.1f} % with the likest stranger's photos in it, until `facesdk unlearn`.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Simulates and prints."""
    parser = photo_sets.parser(__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    photos, _ = cleaned_lfw(photo_sets.load(arguments.data, "lfw"))
    plain = of_embedder(photos.joint, EMBEDDER)
    image = mirrored(plain, of_embedder(photos.mirrored, EMBEDDER))
    people = np.flatnonzero(np.bincount(photos.people) >= LEAST_PHOTOS)
    rows = [simulated(way, photos, plain, image, people) for way in WAYS]
    forced = poisoned(photos, plain, image, people)
    print(table(rows, forced))
    if arguments.write:
        write_between_markers(ROOT / "docs" / "learning.md", "learning", table(rows, forced))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "forced": forced}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
