"""Error against discard: what refusing pictures by each measure of quality does to misses and to false matches.

python benchmarks/discard.py --data DATA [--write]

DATA: see photo_sets.py. Misses: pairs of two photos of a person of LFW, cleaned, at the threshold for one photo against
one and 2e-5; each person weighs the same. False matches: pairs of two people of one of the eight groups, at the
threshold for 1e-3, where there are enough to count. A picture is discarded by the measure alone, the worst first.
--write puts the tables into docs/contract.md.
"""

from __future__ import annotations

import datetime
import math
import platform
import sys
from dataclasses import dataclass

import numpy as np
import photo_sets
from calibration import cleaned_lfw
from photo_sets import MEASURES, ROOT, PhotoSet, of_embedder
from readme import write_between_markers

from facesdk.capture import quality
from facesdk.capture.quality import QualityLimits
from facesdk.evaluation import threshold

EMBEDDER, TARGET, COUNTED = "sface", 2e-5, 1e-3
SHARES = (0.01, 0.05, 0.2)
LIMITS = QualityLimits()


@dataclass(frozen=True)
class Measure:
    """A measure, the limit in use, whether more of it is worse, and whether only an enrollment asks for it."""

    name: str
    limit: float
    more_is_worse: bool = False
    enrolling: bool = False

    def badness(self, photos: PhotoSet) -> np.ndarray:
        """float64 (n,): higher for worse pictures. Of an angle its size, of sharpness by the contrast there is."""
        values = photos.measures[:, MEASURES.index(self.name)].astype(np.float64)
        if self.name == "sharpness":
            contrast = photos.measures[:, MEASURES.index("contrast")].astype(np.float64)
            values = values / np.minimum(1.0, (contrast / quality.USUAL_CONTRAST) ** 2)
        if self.name in ("yaw", "pitch", "roll"):
            values = np.abs(values)
        return values if self.more_is_worse else -values

    def refused(self, photos: PhotoSet) -> np.ndarray:
        """bool (n,): what the limit in use refuses."""
        return ~(self.badness(photos) <= (self.limit if self.more_is_worse else -self.limit))


IN_USE = (
    Measure("eye_distance_px", LIMITS.min_eye_distance_px * quality.VERIFY_SIZE),
    Measure("yaw", LIMITS.max_yaw_deg, more_is_worse=True),
    Measure("pitch", LIMITS.max_pitch_deg, more_is_worse=True),
    Measure("roll", quality.MAX_ROLL_DEG, more_is_worse=True),
    Measure("presence", quality.MIN_PRESENCE),
    Measure("signal_to_noise", LIMITS.min_signal_to_noise),
    Measure("brightness", LIMITS.min_brightness),
    Measure("overexposed", LIMITS.max_overexposed, more_is_worse=True),
    Measure("sharpness", LIMITS.min_sharpness),
    Measure("eye_brightness", quality.MIN_EYE_BRIGHTNESS, enrolling=True),
    Measure("mouth_detail", quality.MIN_MOUTH_DETAIL, enrolling=True),
    Measure("chin_colour", quality.MAX_CHIN_COLOUR, more_is_worse=True, enrolling=True),
    Measure("fine_detail", quality.MIN_FINE_DETAIL, enrolling=True),
)


class Pairs:
    """The mated pairs of a set, or the non-mated ones within each group: two numbers of pictures, and whether wrong."""

    def __init__(self, first: np.ndarray, second: np.ndarray, wrong: np.ndarray, of: np.ndarray) -> None:
        self.first, self.second, self.wrong, self.of = first, second, wrong, of

    def rate(self, kept: np.ndarray) -> float:
        """Mean over people, or groups, of the share that is wrong among the pairs of kept pictures."""
        both = kept[self.first] & kept[self.second]
        counts = np.bincount(self.of[both])
        wrong = np.bincount(self.of[both], weights=self.wrong[both])
        there = counts > 0
        return float((wrong[there] / counts[there]).mean()) if there.any() else math.nan

    def of_refused(self, refused: np.ndarray) -> tuple[float, int]:
        """The share of wrong ones among the pairs with a refused picture, and their number."""
        any_of = refused[self.first] | refused[self.second]
        return (float(self.wrong[any_of].mean()) if any_of.any() else math.nan), int(any_of.sum())

    def within(self, chosen: np.ndarray) -> Pairs:
        """The pairs of two chosen pictures."""
        both = chosen[self.first] & chosen[self.second]
        return Pairs(self.first[both], self.second[both], self.wrong[both], self.of[both])


def mated(photos: PhotoSet) -> Pairs:
    """All pairs of a person's photos; wrong: missed."""
    vectors, limit, found = of_embedder(photos.joint, EMBEDDER), threshold(EMBEDDER, TARGET, 1, 1), []
    for person in np.flatnonzero(np.bincount(photos.people) > 1):
        rows = np.flatnonzero(photos.people == person)
        i, j = np.triu_indices(len(rows), 1)
        score = (vectors[rows] @ vectors[rows].T)[i, j]
        found.append((rows[i], rows[j], score < limit, np.full(len(i), person)))
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def non_mated(photos: PhotoSet) -> Pairs:
    """All pairs of a group's people, of whom each is on one picture, but those that score as one; wrong: matched."""
    vectors, limit, found = of_embedder(photos.joint, EMBEDDER), threshold(EMBEDDER, COUNTED, 1, 1), []
    for number, group in enumerate(sorted(set(photos.group))):
        rows = np.flatnonzero(photos.group == group)
        i, j = np.triu_indices(len(rows), 1)
        score = (vectors[rows] @ vectors[rows].T)[i, j]
        two = score < threshold(EMBEDDER, TARGET, 1, 1)  # above that it is one person on two pictures as a rule
        found.append((rows[i][two], rows[j][two], score[two] >= limit, np.full(int(two.sum()), number)))
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def kept_of(badness: np.ndarray, share: float) -> np.ndarray:
    """All but the worst share; of equal ones the first come are kept."""
    order = np.argsort(badness, kind="stable")
    kept = np.zeros(len(badness), bool)
    kept[order[: len(order) - round(share * len(order))]] = True
    return kept


def row(measure: Measure, lfw: PhotoSet, misses: Pairs, groups: PhotoSet, false: Pairs) -> str:
    """A measure's line of the table."""
    bad, bad_of_groups = measure.badness(lfw), measure.badness(groups)
    curve = [misses.rate(kept_of(bad, share)) for share in SHARES]
    fmr = [false.rate(kept_of(bad_of_groups, share)) for share in SHARES]
    refused, refused_of_groups = measure.refused(lfw), measure.refused(groups)
    share, pairs = misses.of_refused(refused)
    by_group = {g: refused_of_groups[groups.group == g].mean() for g in sorted(set(groups.group))}
    worst, best = (choose(by_group, key=lambda g: by_group[g]) for choose in (max, min))
    cells = [
        measure.name + (" (enrollment)" if measure.enrolling else ""),
        ", ".join(f"{100 * r:.1f}" for r in curve),
        ", ".join(f"{1e3 * r:.2f}" for r in fmr),
        f"{100 * refused.mean():.2f} %",
        f"{100 * share:.0f} % of {pairs:,}" if pairs else "-",
        f"{100 * by_group[best]:.1f} ({best}) to {100 * by_group[worst]:.1f} % ({worst})",
    ]
    return f"| {' | '.join(cells)} |"


def by_sex(measure: Measure, lfw: PhotoSet, misses: Pairs) -> str:
    """Misses of women and of men, with nothing and with the worst twentieth discarded."""
    cells = []
    for sex in ("women", "men"):
        own = misses.within(lfw.group == sex)
        rates = own.rate(np.ones(len(lfw.paths), bool)), own.rate(kept_of(measure.badness(lfw), 0.05))
        cells.append(f"{100 * rates[0]:.1f} to {100 * rates[1]:.1f}")
    return f"| {measure.name} | {' | '.join(cells)} |"


def table(lfw: PhotoSet, groups: PhotoSet) -> str:
    """The tables of docs/contract.md."""
    misses, false = mated(lfw), non_mated(groups)
    everything = misses.rate(np.ones(len(lfw.paths), bool)), false.rate(np.ones(len(groups.paths), bool))
    lines = [
        f"{platform.machine()}, {datetime.date.today()}, `benchmarks/discard.py`: {len(misses.wrong):,} pairs of"
        f" {len(set(misses.of)):,} people of LFW, {len(false.wrong):,} pairs of strangers in eight groups, {EMBEDDER},"
        f" one photo against one. With nothing discarded {100 * everything[0]:.1f} % miss, and"
        f" {1e3 * everything[1]:.2f} of 1,000 strangers match at the point for 1e-3.",
        "",
        "| measure | misses (%) with the worst 1, 5, 20 % discarded | false matches (of 1,000), the same | the limit in"
        " use refuses, of LFW | misses of pairs with such a picture | refused in the groups, fewest to most |",
        "|---|---|---|---|---|---|",
        *(row(measure, lfw, misses, groups, false) for measure in IN_USE),
        "",
        "Misses (%) by sex, with nothing and with the worst twentieth discarded:",
        "",
        "| measure | women | men |",
        "|---|---|---|",
        *(by_sex(measure, lfw, misses) for measure in IN_USE),
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, and with --write updates docs/contract.md."""
    arguments = photo_sets.parser(__doc__).parse_args()
    lfw, _ = cleaned_lfw(photo_sets.load(arguments.data, "lfw"))
    text = table(lfw, photo_sets.load(arguments.data, "groups"))
    print(text)
    if arguments.write:
        write_between_markers(ROOT / "docs" / "contract.md", "discard", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
