"""The thresholds that the package ships, where an evaluation asks for them."""

from __future__ import annotations

from facesdk.models import load_manifest


def shipped_points(embedder: str, protocol: tuple[int, int]) -> list[tuple[float, float]]:
    """(target FMR, threshold) of each operating point that is offered for so many samples and frames."""
    entry, (samples, frames) = load_manifest().embedder(embedder), protocol
    points = [entry.point(target, samples=samples, frames=frames) for target in entry.targets]
    return [(point.target_fmr, point.threshold) for point in points if point.offered]
