"""The thresholds that the package ships, where an evaluation asks for them."""

from __future__ import annotations

from facesdk.models import load_manifest


def shipped_points(embedder: str, protocol: tuple[int, int]) -> list[tuple[float, float]]:
    """(target FMR, threshold) of each operating point for so many samples and frames, in the manifest's order."""
    return [(point.target_fmr, point.threshold) for point in load_manifest().embedder(embedder).operating_points]
