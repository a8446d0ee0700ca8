"""Operating points: what is counted at a threshold, and where they stand in the manifest of a models folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np

from facesdk.errors import InputError
from facesdk.models import tomllib

MARKER = "# operating points"
Scores = tuple[np.ndarray, int]  # the high scores of non-mated pairs, and the number of all such pairs


def upper_bound(errors: int, count: int) -> float:
    """One-sided 95 % upper bound of a proportion. Source: Wilson 1927. Pairs share photos, so it is somewhat low."""
    z, p = NormalDist().inv_cdf(0.95), errors / count
    centre, spread = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return (centre + spread) / (1 + z * z / count)


def threshold_at(tail: np.ndarray, count: int, target: float) -> float:
    """The lowest threshold (score >= threshold matches) with a false match rate of at most target."""
    allowed = math.floor(target * count)
    return float(np.nextafter(tail[allowed], np.float32(2)))


def lowest_threshold(groups: Mapping[str, Scores], target: float) -> float:
    """The lowest threshold, in steps of 1e-5, at which no group has a false match rate above target."""
    return math.ceil(max(threshold_at(*scores, target) for scores in groups.values()) * 1e5) / 1e5


def point_at(
    threshold: float, *, target: float, mated: np.ndarray, groups: Mapping[str, Scores], models: list[str]
) -> dict:
    """What a threshold comes to in the group with the higher rate of false matches, as the manifest has it."""
    errors = {name: int((tail >= threshold).sum()) for name, (tail, _) in groups.items()}
    worst = max(groups, key=lambda name: errors[name] / groups[name][1])
    count = groups[worst][1]
    return {
        "target_fmr": target, "threshold": threshold, "group": worst, "comparisons": count,
        "fmr": errors[worst] / count, "fmr_bound": upper_bound(errors[worst], count),
        "fnmr": float(np.mean(mated < threshold)), "models": models,
    }  # fmt: skip


def write_points(manifest: Path, points: Mapping[str, list[dict]], *, comment: str | None = None) -> None:
    """Replaces the operating points of these names, an empty list removes them; all else in the manifest is kept.

    They stand behind a marker, to the end of the file. comment: what stands in front of them from now on. InputError,
    and nothing is written, where something else would be lost.
    """
    text = manifest.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKER)
    before = tomllib.loads(text)
    tables = {name: listed for name, listed in {**before.get("operating_points", {}), **points}.items() if listed}
    comment = rest.partition("[[")[0].rstrip("\n") if comment is None else comment
    lines = [head.rstrip("\n"), "", MARKER + comment]
    for name, listed in tables.items():
        for point in listed:
            lines += ["", f"[[operating_points.{name}]]", *(f"{k} = {json.dumps(v)}" for k, v in point.items())]
    written = "\n".join(lines) + "\n"
    if tomllib.loads(written) != {**before, "operating_points": tables}:
        raise InputError(f"{manifest}: operating points belong behind the line {MARKER!r}, all else in front of it")
    new = manifest.with_name(f"{manifest.name}.new")
    new.write_text(written, encoding="utf-8")
    os.replace(new, manifest)
