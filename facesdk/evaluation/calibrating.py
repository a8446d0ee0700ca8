"""Operating points from a user's own photos, in the manifest's form: each holds its target in the worst of the groups.

A threshold is the lowest at which the upper 95 % limit over people of every group's FMR, by person, is at most the
target. What the photos cannot show is not offered, with a sentence that says how many people would be needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.engine.networks import load_manifest
from facesdk.engine.operating_points import BUCKETS, matrix_text
from facesdk.errors import InputError
from facesdk.evaluation.comparing import Compared, Group
from facesdk.evaluation.features import Records
from facesdk.evaluation.pairs import NON_MATED
from facesdk.evaluation.protocols import Fused, fused
from facesdk.evaluation.rates import CrossCounts, Draws, OwnCounts, own_rates, upper_limits
from facesdk.evaluation.study import Say, Settings, compared_of, people_of, usable_of
from facesdk.evaluation.workers import LocalWorkers

if TYPE_CHECKING:
    from facesdk.evaluation.photos import Photos
    from facesdk.types import Float32Array

# Without an error, n comparisons say at 95 % that the rate is below 3 / n. Source: Hanley and Lippman-Hand 1983.
RULE_OF_THREE = 3
_CANDIDATES = 48


@dataclass(frozen=True)
class Cell:
    """A threshold for so many samples and frames, infinite where there is none and `why` says so; its worst group."""

    threshold: float = math.inf
    group: str = ""
    estimate: float = math.inf
    bound: float = math.inf
    fnmr: float = math.inf
    why: str = ""


@dataclass(frozen=True)
class Points:
    """The matrix of one target, a row for each of BUCKETS samples, a column for each of BUCKETS frames."""

    target: float
    cells: tuple[tuple[Cell, ...], ...]

    def lines(self) -> Iterator[str]:
        """What was found, in sentences."""
        for samples, row in zip(BUCKETS, self.cells, strict=True):
            for frames, cell in zip(BUCKETS, row, strict=True):
                found = (f"threshold {cell.threshold:.5f}, worst group {cell.group or 'everybody'}, FMR at most "
                         f"{cell.bound:.2g}, FNMR {100 * cell.fnmr:.2f} %")  # fmt: skip
                yield f"FMR {self.target:g}, {samples} + {frames}: {cell.why or found}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: None."""
        rows = [
            [{k: None if v == math.inf else v for k, v in vars(cell).items()} for cell in row] for row in self.cells
        ]
        return {"target_fmr": self.target, "samples": list(BUCKETS), "frames": list(BUCKETS), "cells": rows}


@dataclass(frozen=True)
class _Group:
    """What a protocol has of one group: non-mated scores, the highest first, and counts at thresholds."""

    label: str
    people: int
    comparisons: int
    scores: Float32Array
    non_mated: Callable[[Sequence[float]], CrossCounts]
    mated: Callable[[Sequence[float]], OwnCounts]


def operating_points(
    photos: Photos, records: Records, settings: Settings, *, say: Say = lambda text: None
) -> list[Points]:
    """The points of every target. InputError where the photos can support none of them."""
    draws = Draws(settings.draws, settings.seed)
    usable = usable_of(records, settings)
    compared, _ = compared_of(photos, records, usable, settings, LocalWorkers())
    vectors = records.rows["vector"][usable]
    found: dict[tuple[int, int], list[_Group]] = {}
    for samples in BUCKETS:
        for frames in BUCKETS:
            found[samples, frames] = _groups(compared, vectors, (samples, frames), settings.seed)
    points = []
    for target in sorted(settings.targets, reverse=True):
        say(f"FMR {target:g}")
        cells = tuple(tuple(_cell(found[k, m], target, draws) for m in BUCKETS) for k in BUCKETS)
        points.append(Points(target, cells))
    if all(cell.why for p in points for row in p.cells for cell in row):
        raise InputError(f"these photos support no operating point: {points[0].cells[0][0].why}")
    return points


def write_points(file: Path, embedder: str, points: Sequence[Points]) -> None:
    """Makes a file with the points as the manifest has them. InputError where it cannot be made."""
    least = ", ".join(map(str, BUCKETS))
    lines = [
        f"# Operating points by `facesdk calibrate`. Rows: samples of the reference, at least {least};",
        "# columns: frames, likewise. estimates, bounds: of the worst group's false match rate by person and its upper",
        "# 95 % limit over people; fnmr: of the group where it is worst. inf: not offered.",
    ]
    for point in points:
        lines += ["", f"[[operating_points.{embedder}]]", *_fields(point, embedder)]
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})", hint="name a new file with --out") from error


def _fields(point: Points, embedder: str) -> Iterator[str]:
    """One table of the manifest; the one place that knows its form."""
    manifest = load_manifest()
    ids = [manifest.models[name].sha256[:16] for name in ("face_mesh", *manifest.embedder(embedder).models)]
    yield f"target_fmr = {point.target!r}"
    for key, name in (("thresholds", "threshold"), ("groups", "group"), ("estimates", "estimate"), ("bounds", "bound"),
                      ("fnmr", "fnmr")):  # fmt: skip
        rows = [[getattr(cell, name) for cell in row] for row in point.cells]
        if key == "groups":  # names of the user's, which may have spaces
            yield f"{key} = [{', '.join('[' + ', '.join(map(_toml, row)) + ']' for row in rows)}]"
        else:
            yield f'{key} = """\n{matrix_text(rows)}"""'
    yield f"models = [{', '.join(map(_toml, ids))}]"


def _toml(value: float | str) -> str:
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in value)
        return f'"{escaped}"'
    return repr(value)


def _groups(compared: Compared, vectors: Float32Array, protocol: tuple[int, int], seed: int) -> list[_Group]:
    """The groups that must hold: all that there are, everybody where there is none. One photo each: all pairs."""
    chosen = compared.groups[1:] or compared.groups
    if protocol == (1, 1):
        return [_of_compared(compared, group) for group in chosen]
    scores = fused(vectors, compared.people, protocol, seed=seed)
    size = int(compared.people.max(initial=0)) + 1
    return [_of_fused(scores, group.label, people_of(group, compared.people, size)) for group in chosen]


def _of_compared(compared: Compared, group: Group) -> _Group:
    people = len(set(compared.people[group.members].tolist()))
    scores = compared.tail(group, NON_MATED).scores
    count = compared.count(group, NON_MATED)
    return _Group(
        group.label, people, count, scores, partial(compared.non_mated, group), partial(compared.mated, group)
    )


def _of_fused(scores: Fused | None, label: str, members: Any) -> _Group:
    import numpy as np

    if scores is None:
        nobody = np.zeros(0, np.float32)
        return _Group(label, 0, 0, nobody, lambda t: _nothing(), lambda t: _nothing())
    found = scores.non_mated_scores(members)
    people = int(members[scores.people].sum())
    return _Group(label, people, len(found), found, lambda t: scores.non_mated(t, members),
                  lambda t: scores.mated(t, members))  # fmt: skip


def _nothing() -> Any:
    raise InputError("nobody was compared")


def _cell(groups: Sequence[_Group], target: float, draws: Draws) -> Cell:
    for group in groups:
        why = _unsupported(group, target)
        if why:
            return Cell(why=why)
    threshold = max(_lowest(group, target, draws) for group in groups)
    if not math.isfinite(threshold):
        return Cell(why="not offered: the photos have false matches at every score, perhaps a person under two names")
    worst = Cell()
    for group in groups:
        (estimate,), (bound,) = upper_limits(group.non_mated([threshold]), draws)
        if worst.bound == math.inf or bound > worst.bound:
            worst = Cell(threshold, group.label, estimate, bound)
    fnmr = [own_rates(group.mated([threshold]), Draws(100, draws.seed))[0]["by_person"]["rate"] for group in groups]
    return replace(worst, fnmr=max((rate for rate in fnmr if rate is not None), default=math.inf))


def _unsupported(group: _Group, target: float) -> str:
    """Why a group says nothing about a rate; "" where it does. Pairs of people are what is independent, if anything."""
    pairs = group.people * (group.people - 1) // 2
    needed = math.ceil(RULE_OF_THREE / target)
    if pairs >= needed:
        return ""
    people = math.ceil((1 + math.sqrt(1 + 8 * needed)) / 2)
    who = f"group {group.label} has" if group.label else "there are"
    return (f"not offered: {who} {group.people} people with enough pictures, {pairs:,} pairs of people; to show this "
            f"rate takes {needed:,} pairs, {people:,} people")  # fmt: skip


def _lowest(group: _Group, target: float, draws: Draws) -> float:
    """The lowest of thresholds just above non-mated scores from which on the limit is at most the target."""
    import numpy as np

    # Four times as many errors as the target allows: by person it may allow more than by picture.
    most = min(len(group.scores) - 1, math.ceil(4 * target * group.comparisons))
    ranks = np.unique(np.geomspace(1, most + 1, _CANDIDATES).astype(int) - 1)
    thresholds = sorted({min(1.0, float(np.nextafter(s, np.float32(2)))) for s in group.scores[ranks]}, reverse=True)
    lowest = math.inf
    for threshold, limit in zip(thresholds, upper_limits(group.non_mated(thresholds), draws)[1], strict=True):
        if limit > target:
            break
        lowest = threshold
    return lowest
