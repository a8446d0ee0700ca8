"""Policy: what a verification must meet. Asked for as a target false match rate, never as a raw threshold."""

from __future__ import annotations

from dataclasses import dataclass

from facesdk.errors import InputError
from facesdk.models import OperatingPoint, load_manifest

BOUNDS = {
    "min_eye_distance_px": (8.0, 1000.0),
    "max_yaw_deg": (1.0, 90.0),
    "max_pitch_deg": (1.0, 90.0),
    "min_brightness": (0.0, 255.0),
    "max_overexposed": (0.0, 1.0),
    "min_sharpness": (0.0, 1e4),
    "max_sample_similarity": (0.5, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What a sample must be to be used. Frozen and checked when made (InputError).

    min_eye_distance_px: faces smaller than this are refused at enrollment; verification takes three quarters of it.
        ISO/IEC 19794-5 asks for 90 px in passports; networks with 112 px crops have their eyes 35 px apart.
    max_yaw_deg, max_pitch_deg: the face may be turned this far. min_brightness, max_overexposed, min_sharpness: see
        Quality; no bundled portrait is refused at verification, and the README says how much of LFW is.
    max_sample_similarity: two samples of an enrollment more alike than this are near copies.
    """

    min_eye_distance_px: float = 32.0
    max_yaw_deg: float = 35.0
    max_pitch_deg: float = 35.0
    min_brightness: float = 35.0
    max_overexposed: float = 0.35
    min_sharpness: float = 20.0
    max_sample_similarity: float = 0.985

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Policy(QualityLimits):
    """Quality limits and the false match rate to hold. Frozen and checked when made (InputError).

    target_fmr: what the worse-off group must meet; one of the manifest's operating points. Source of the default,
        1 in 50,000: Android Compatibility Definition, class 3 biometrics.
    """

    target_fmr: float = 2e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        offered = sorted({p.target_fmr for e in load_manifest().embedders.values() for p in e.operating_points})
        if self.target_fmr not in offered:
            listed = ", ".join(f"{value:g}" for value in offered)
            raise InputError(f"target_fmr must be a measured operating point ({listed}), not {self.target_fmr!r}")

    def operating_point(self, embedder: str, *, target_fmr: float | None = None) -> OperatingPoint:
        """The embedder's operating point for this policy's target_fmr or another. InputError if not measured."""
        wanted = self.target_fmr if target_fmr is None else target_fmr
        for point in load_manifest().embedder(embedder).operating_points:
            if point.target_fmr == wanted:
                return point
        raise InputError(f"embedder {embedder!r} was not measured at FMR {wanted:g}: choose another target_fmr")
