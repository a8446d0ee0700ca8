"""The whole evaluation: photos and their records in, one result out that a report is made of. Nothing is written here.

The result is the same to the byte for the same records and settings, whoever computed them in which order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from facesdk.capture.quality import QualityLimits
from facesdk.engine.engine import DEFAULT_EMBEDDER
from facesdk.engine.networks import load_manifest
from facesdk.errors import InputError
from facesdk.evaluation import discarding
from facesdk.evaluation.comparing import Compared, Group, classes_of, curve, rates_at
from facesdk.evaluation.features import Records, made_by, refusals
from facesdk.evaluation.pairs import MATED, NON_MATED, all_pairs, bin_edges, listed_pairs
from facesdk.evaluation.protocols import Fused, fused
from facesdk.evaluation.rates import Draws, OwnCounts, own_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.evaluation.photos import Photos
    from facesdk.evaluation.workers import Workers

    Result = dict[str, Any]

SCHEMA = "facesdk-evaluation/1"
TARGETS = (1e-3, 1e-4, 2e-5, 1e-5)
TOP = 50
_HISTOGRAM = 256  # bins shown
_ERRORS = ("fmr", "fnmr")
Say = Callable[[str], None]
Point = tuple[str, float | None, float]  # how a threshold was chosen, for which FMR, and the threshold


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured. Frozen and checked when made (InputError).

    targets: false match rates that thresholds are found for; thresholds: fixed ones besides the shipped. protocols:
    (samples, frames) besides one photo against one. with_refused: compare also the pictures that a verification
    refuses. draws, seed: of the bootstrap and of the choice of photos.
    """

    embedder: str = DEFAULT_EMBEDDER
    targets: tuple[float, ...] = TARGETS
    thresholds: tuple[float, ...] = ()
    protocols: tuple[tuple[int, int], ...] = ()
    with_refused: bool = False
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        load_manifest().embedder(self.embedder)
        for name, low, high in (("targets", 0.0, 1.0), ("thresholds", -1.0, 1.0)):
            for value in getattr(self, name):
                if not low < value < high:
                    raise InputError(f"{name} lie between {low:g} and {high:g}, not {value!r}")
        if not 100 <= self.draws <= 100_000:
            raise InputError(f"the bootstrap draws 100 to 100000 times, not {self.draws}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the seed is a whole number from 0 on, not {self.seed}")


def evaluate(
    photos: Photos, records: Records, settings: Settings, *, workers: Workers, say: Say = lambda text: None
) -> Result:
    """Everything that a report shows. InputError where no picture could be read."""
    if not len(records.rows):
        first = next(iter(records.unreadable.values()), "there is none")
        raise InputError(f"none of the {len(photos.names)} pictures could be read ({first})")
    draws = Draws(settings.draws, settings.seed)
    usable = usable_of(records, settings)
    say(f"comparing {int(usable.sum())} pictures")
    compared, names = compared_of(photos, records, usable, settings, workers)
    vectors = records.rows["vector"][usable]
    say("rates, intervals and groups")
    result: Result = {
        "schema": SCHEMA,
        "settings": {**asdict(settings), "made_by": made_by(settings.embedder),
                     "models": list(load_manifest().model_ids(settings.embedder)),
                     "quality_limits": asdict(QualityLimits())},
        "photos": _photos(photos, records, usable),
        "fta": _refused(photos, records, refusals(records.rows, enrolling=False), draws),
        "fte": _refused(photos, records, refusals(records.rows, enrolling=True), draws),
        "one_to_one": _one_to_one(compared, settings, draws),
        "protocols": [_protocol(p, vectors, compared, settings, draws) for p in settings.protocols],
    }  # fmt: skip
    threshold = next((r["threshold"] for r in result["one_to_one"]["groups"][0]["rates"]), None)
    tail = compared.tail(compared.groups[0], MATED)
    edc = discarding.curves(tail, records.rows[usable], threshold) if threshold is not None and not tail.cut else []
    result["error_versus_discard"] = {"threshold": threshold, "curves": edc}
    result["top_non_mated"] = _top(compared, names)
    return result


def usable_of(records: Records, settings: Settings) -> NDArray[np.bool_]:
    """Which pictures are compared: those that a verification would not refuse, or all with features."""
    import numpy as np

    refused = np.array(refusals(records.rows, enrolling=False))
    usable: NDArray[np.bool_] = records.rows["sampled"] & (settings.with_refused | (refused == ""))
    return usable


def compared_of(
    photos: Photos, records: Records, usable: NDArray[np.bool_], settings: Settings, workers: Workers
) -> tuple[Compared, list[tuple[str, str]]]:
    """The comparisons, and name and person of each picture in them."""
    import numpy as np

    places = records.places[usable].tolist()
    names = [(photos.names[p], photos.people[p]) for p in places]
    number = {person: i for i, person in enumerate(sorted({person for _, person in names}))}
    people = np.array([number[person] for _, person in names], np.int32)
    classes, groups = classes_of({c: [v[p] for p in places] for c, v in photos.groups.items()}, len(places))
    vectors = np.ascontiguousarray(records.rows["vector"][usable])
    thresholds = sorted({t for _, t in shipped_points(settings.embedder, (1, 1))} | set(settings.thresholds))
    if photos.pairs is None:
        found = all_pairs(vectors, people, classes, thresholds=thresholds, workers=workers)
    else:
        at = {place: i for i, place in enumerate(places)}
        pairs = [(at[a], at[b]) for a, b in photos.pairs if a in at and b in at]
        found = listed_pairs(vectors, people, classes, thresholds=thresholds, pairs=pairs)
    return Compared(found, people, groups, photos.pairs is not None), names


def _photos(photos: Photos, records: Records, usable: NDArray[np.bool_]) -> Result:
    keys = Counter(records.rows["key"].tolist())
    return {
        "listed": len(photos.names), "people": len(set(photos.people)), "read": len(records.rows),
        "compared": int(usable.sum()), "same_bytes_as_another": sum(n for n in keys.values() if n > 1),
        "unreadable": [{"picture": photos.names[p], "why": why} for p, why in records.unreadable.items()],
        "notes": list(photos.notes),
    }  # fmt: skip


def _refused(photos: Photos, records: Records, reasons: Sequence[str], draws: Draws) -> Result:
    """How many pictures are refused, why, and for each group."""
    import numpy as np

    owners = [photos.people[p] for p in records.places.tolist()]
    number = {person: i for i, person in enumerate(sorted(set(owners)))}
    people = np.array([number[o] for o in owners])
    wrong = np.array([reason != "" for reason in reasons])
    groups = []
    for label, members in _labels(photos, records):
        errors = np.bincount(people[members & wrong], minlength=len(number))
        rate = own_rates(OwnCounts(errors[:, None], np.bincount(people[members], minlength=len(number))), draws)[0]
        groups.append({"group": label, **rate})
    reasons_found = Counter(reason for reason in reasons if reason)
    return {
        "reasons": dict(sorted(reasons_found.items())),
        "groups": groups,
        "ratio": _ratio([(g["group"], g) for g in groups]),
    }


def _labels(photos: Photos, records: Records) -> list[tuple[str, NDArray[np.bool_]]]:
    places = records.places.tolist()
    _, groups = classes_of({c: [v[p] for p in places] for c, v in photos.groups.items()}, len(places))
    return [(group.label, group.members) for group in groups]


def _swept(name: str, target: float | None, threshold: float, rates: Result) -> Result:
    return {"chosen": name, "target_fmr": target, **rates, "threshold": threshold}


def _one_to_one(compared: Compared, settings: Settings, draws: Draws) -> Result:
    everybody = compared.groups[0]
    points: list[Point] = [("shipped", target, x) for target, x in shipped_points(settings.embedder, (1, 1))]
    points += [("fixed", None, threshold) for threshold in settings.thresholds]
    found = [(target, compared.threshold_at(everybody, target)) for target in settings.targets]
    points += [("swept", target, threshold) for target, threshold in found if threshold is not None]
    unsupported = [target for target, _ in found if target * compared.count(everybody, NON_MATED) < 1]
    groups = []
    for group in compared.groups:
        rates = rates_at(compared, group, [t for _, _, t in points], draws) if points else []
        groups.append({
            "group": group.label,
            "mated": compared.count(group, MATED), "non_mated": compared.count(group, NON_MATED),
            "rates": [_swept(*point, rate) for point, rate in zip(points, rates, strict=True)],
            "curve": curve(compared, group), "histogram": _shown(compared, group),
        })  # fmt: skip
    return {"groups": groups, "worst_to_overall": _ratios(groups, points), "targets_below_one_error": unsupported}


def _shown(compared: Compared, group: Group) -> Result:
    """The histogram in fewer bins, as counts."""
    step = len(bin_edges()) // _HISTOGRAM
    return {
        "lower_ends": bin_edges()[::step].tolist(),
        "mated": compared.histogram(group, MATED).reshape(-1, step).sum(axis=1).tolist(),
        "non_mated": compared.histogram(group, NON_MATED).reshape(-1, step).sum(axis=1).tolist(),
    }


def _ratios(groups: Sequence[Result], points: Sequence[Point]) -> list[Result]:
    """At each threshold the worst group's rates over everybody's."""
    return [
        {
            "threshold": threshold,
            **{name: _ratio([(g["group"], g["rates"][i][name]) for g in groups]) for name in _ERRORS},
        }
        for i, (_, _, threshold) in enumerate(points)
    ]


def _ratio(rates: Sequence[tuple[str, Result]]) -> Result | None:
    """The worst group's rate over everybody's, the first, by person; None without groups or without errors."""
    (_, overall), *others = [(label, rate["by_person"]["rate"]) for label, rate in rates]
    known = [(rate, label) for label, rate in others if rate is not None]
    if not known or not overall:
        return None
    rate, label = max(known)
    return {"group": label, "ratio": rate / overall}


def _protocol(protocol: tuple[int, int], vectors: Any, compared: Compared, settings: Settings, draws: Draws) -> Result:
    """The rates of one protocol for everybody and for each group; a person belongs to a group with all photos."""
    import numpy as np

    head = {"samples": protocol[0], "frames": protocol[1]}
    scores = fused(vectors, compared.people, protocol, seed=settings.seed)
    if scores is None:
        return {**head, "people": 0, "groups": [], "worst_to_overall": [],
                "note": f"fewer than two people have {sum(protocol)} pictures that can be used"}  # fmt: skip
    size = int(compared.people.max()) + 1
    members = [people_of(group, compared.people, size) for group in compared.groups]
    points = _protocol_points(scores, protocol, settings, members[0])
    groups = []
    for group, inside in zip(compared.groups, members, strict=True):
        rates = scores.rates([t for _, _, t in points], inside, draws) if points else []
        groups.append({
            "group": group.label, "people": int(np.isin(scores.people, np.flatnonzero(inside)).sum()),
            "rates": [_swept(*point, rate) for point, rate in zip(points, rates, strict=True)],
        })  # fmt: skip
    return {
        **head,
        "people": len(scores.people),
        "groups": groups,
        "worst_to_overall": _ratios(groups, points),
        "note": "",
    }


def _protocol_points(
    scores: Fused, protocol: tuple[int, int], settings: Settings, everybody: NDArray[np.bool_]
) -> list[Point]:
    points: list[Point] = [("shipped", t, x) for t, x in shipped_points(settings.embedder, protocol)]
    points += [("fixed", None, threshold) for threshold in settings.thresholds]
    swept = [(target, scores.threshold_at(target, everybody)) for target in settings.targets]
    return points + [("swept", target, x) for target, x in swept if x is not None and math.isfinite(x)]


def people_of(group: Group, people: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    """Who belongs to a group with all pictures, bool (size,)."""
    import numpy as np

    inside = np.bincount(people[group.members], minlength=size)
    members: NDArray[np.bool_] = (inside > 0) & (inside == np.bincount(people, minlength=size))
    return members


def _top(compared: Compared, names: Sequence[tuple[str, str]]) -> list[Result]:
    """The non-mated pairs that look most alike: often one person under two names."""
    tail = compared.comparisons.highest
    return [
        {"score": min(1.0, float(score)), "a": names[a][0], "b": names[b][0], "people": [names[a][1], names[b][1]]}
        for score, (a, b) in zip(tail.scores[:TOP].tolist(), tail.pairs[:TOP].tolist(), strict=True)
    ]


def shipped_points(embedder: str, protocol: tuple[int, int]) -> list[tuple[float, float]]:
    """(target FMR, threshold) of each operating point that the package offers for so many samples and frames."""
    entry, (samples, frames) = load_manifest().embedder(embedder), protocol
    points = [entry.point(target, samples=samples, frames=frames) for target in entry.targets]
    return [(point.target_fmr, point.threshold) for point in points if point.offered]
