"""Policy: what a verification must meet, and how often it may be tried.

Asked for as a target false match rate, never as a raw threshold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from facesdk.engine.networks import OperatingPoint, load_manifest
from facesdk.errors import InputError, PolicyFloorError, VaultIntegrityError

BOUNDS = {
    "min_eye_distance_px": (8.0, 1000.0),
    "max_yaw_deg": (1.0, 90.0),
    "max_pitch_deg": (1.0, 90.0),
    "min_brightness": (0.0, 255.0),
    "max_overexposed": (0.0, 1.0),
    "min_sharpness": (0.0, 1e4),
    "min_signal_to_noise": (0.0, 1e3),
    "max_sample_similarity": (0.5, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What a sample must be to be used. Frozen and checked when made (InputError).

    min_eye_distance_px: faces smaller than this are refused at enrollment; verification takes three quarters of it.
        ISO/IEC 19794-5 asks for 90 px in passports; networks with 112 px crops have their eyes 35 px apart.
    max_yaw_deg, max_pitch_deg: the face may be turned this far. min_brightness (of a picture that is black),
        max_overexposed, min_sharpness, min_signal_to_noise: see Quality; no bundled portrait is refused at
        verification, and the README says how much of LFW is.
    max_sample_similarity: two samples of an enrollment more alike than this are near copies.
    """

    min_eye_distance_px: float = 32.0
    max_yaw_deg: float = 35.0
    max_pitch_deg: float = 35.0
    min_brightness: float = 4.0
    max_overexposed: float = 0.45
    min_sharpness: float = 20.0
    min_signal_to_noise: float = 3.8
    max_sample_similarity: float = 0.985

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")


MAX_DELAY_S = 3600
ATTEMPT_BOUNDS = {
    "passphrase_every_s": (1, 156 * 3600),
    "idle_s": (1, 156 * 3600),
    "free_attempts": (1, 20),
    "first_delay_s": (1, MAX_DELAY_S),
    "passphrase_after": (1, 20),
}


@dataclass(frozen=True, kw_only=True)
class AttemptRules:
    """How often a face may be tried, and when only the passphrase helps. Frozen and checked when made (InputError).

    All are whole numbers, within ATTEMPT_BOUNDS. Failures are consecutive, of faces of adequate quality only.

    passphrase_every_s: the passphrase opens for this long and no match extends it. Phone 72 h: Android Compatibility
        Definition (CDD), class 3. Strict 24 h: CDD, classes 1 and 2. Convenience 156 h: Apple Platform Security, which
        asks only if there was no match in the last 4 h either; here 156 h end it in any case. Nothing is above 156 h.
    idle_s: without a match for this long, the passphrase; None for no limit. Phone None: CDD, class 3 has none. Strict
        4 h: CDD, classes 1 and 2. Convenience 48 h: Apple Platform Security.
    free_attempts: the failure with this number is the first that is followed by a delay; not above passphrase_after,
        and equal to it there is never a delay. Phone 5: CDD, class 3, and NIST SP 800-63B-3, 5.2.3.
    first_delay_s: the first delay; each further failure doubles it, up to MAX_DELAY_S. Phone 30 s: CDD, class 3, and
        NIST SP 800-63B-3, 5.2.3, which doubles it too. MAX_DELAY_S, 1 h, is ours: the phone preset's longest is 480 s.
    passphrase_after: failures that end it. Phone 10: NIST SP 800-63B-3, 5.2.3, allows 5, or 10 with attack detection,
        and a delay after that; Android's own code stops at 20 (MAX_FAILED_ATTEMPTS_LOCKOUT_PERMANENT), the bound here.
        Strict 3: CDD, classes 1 and 2. Convenience 5, without delays: Apple Platform Security.
    """

    passphrase_every_s: int
    idle_s: int | None
    free_attempts: int
    first_delay_s: int
    passphrase_after: int

    def __post_init__(self) -> None:
        for name, (low, high) in ATTEMPT_BOUNDS.items():
            value = getattr(self, name)
            if name == "idle_s" and value is None:
                continue
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"{name} must be a whole number between {low} and {high}, not {value!r}")
        if self.free_attempts > self.passphrase_after:
            raise InputError(
                f"free_attempts must not be above passphrase_after ({self.passphrase_after}), not {self.free_attempts}"
            )

    @classmethod
    def preset(cls, name: str) -> AttemptRules:
        """The rules of this name in PRESETS. InputError for another name."""
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError(f"attempt rules must be one of {', '.join(PRESETS)}, not {name!r}")
        return PRESETS[name]

    @property
    def name(self) -> str:
        """The preset's name, or "custom"."""
        return next((name for name, preset in PRESETS.items() if preset == self), "custom")

    def delay_s(self, failures: int) -> int:
        """Seconds to wait after the failure with this number, 0 while attempts are free.

        first_delay_s * 2 ** (failures - free_attempts), at most MAX_DELAY_S.
        """
        doublings = failures - self.free_attempts
        if doublings < 0:
            return 0
        return min(MAX_DELAY_S, self.first_delay_s << min(doublings, MAX_DELAY_S.bit_length()))


PRESETS: Mapping[str, AttemptRules] = MappingProxyType(
    {
        "phone": AttemptRules(
            passphrase_every_s=72 * 3600, idle_s=None, free_attempts=5, first_delay_s=30, passphrase_after=10
        ),
        "strict": AttemptRules(
            passphrase_every_s=24 * 3600, idle_s=4 * 3600, free_attempts=3, first_delay_s=30, passphrase_after=3
        ),
        "convenience": AttemptRules(
            passphrase_every_s=156 * 3600, idle_s=48 * 3600, free_attempts=5, first_delay_s=30, passphrase_after=5
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class Policy(QualityLimits):
    """Quality limits, the false match rate to hold and the attempt rules. Frozen and checked when made (InputError).

    target_fmr: what the worst-off group must meet; one of the manifest's operating points. Source of the default,
        1 in 50,000: Android Compatibility Definition, class 3 biometrics.
    attempts: when a face may be tried and when the passphrase is needed; the phone preset unless another is given.
    """

    target_fmr: float = 2e-5
    attempts: AttemptRules = PRESETS["phone"]

    def sealed(self) -> str:
        """What an enrollment under this policy seals as the least that a verification must meet."""
        return json.dumps({name: getattr(self, name) for name in FLOOR}, sort_keys=True, separators=(",", ":"))

    def check_not_looser(self, sealed: str) -> None:
        """PolicyFloorError where any field asks for less than the sealed floor. Attempt rules are for who unlocks."""
        for name, floor in _floor_of(sealed).items():
            value = getattr(self, name)
            if _stricter(name, value, floor) != value:
                raise PolicyFloorError(
                    f"{name} {value:g} is looser than the {floor:g} that the owner's enrollment sealed: a verification"
                    " may tighten it, not loosen it; leave the policy out, or enroll again"
                )

    def tightened(self, sealed: str) -> Policy:
        """This policy, or the sealed floor wherever that is stricter."""
        floor = _floor_of(sealed)
        strict: dict[str, Any] = {name: _stricter(name, getattr(self, name), value) for name, value in floor.items()}
        wanted = strict.get("target_fmr", self.target_fmr)
        if wanted not in _offered():  # sealed by a release with other operating points: the next stricter one
            strict["target_fmr"] = max((fmr for fmr in _offered() if fmr <= wanted), default=wanted)
        return replace(self, **strict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.attempts, AttemptRules):
            raise InputError(
                f"attempts must be AttemptRules, such as AttemptRules.preset('phone'), not {self.attempts!r}"
            )
        offered = _offered()
        if self.target_fmr not in offered:
            listed = ", ".join(f"{value:g}" for value in offered)
            raise InputError(f"target_fmr must be a measured operating point ({listed}), not {self.target_fmr!r}")

    def operating_point(
        self, embedder: str, *, samples: int, frames: int, target_fmr: float | None = None
    ) -> OperatingPoint:
        """The embedder's point for so many samples and frames, at this policy's target_fmr or another.

        InputError where that was not measured, or where the data cannot support it.
        """
        wanted = self.target_fmr if target_fmr is None else target_fmr
        point = load_manifest().embedder(embedder).point(wanted, samples=samples, frames=frames)
        if not point.offered:
            raise InputError(
                f"no threshold is known to hold FMR {wanted:g} in every group of people for {samples} sample(s) and "
                f"{frames} frame(s) of {embedder!r}",
                hint="enroll again with three or more pictures that differ, or verify with more frames",
            )
        return point

    def points_of_a_verification(
        self, embedder: str, *, samples: int, frames: int, target_fmr: float | None = None
    ) -> list[OperatingPoint]:
        """The points for 1 to `frames` frames that count; one that is not offered has a threshold that nothing reaches.

        target_fmr: as in operating_point. InputError where even the most frames have none.
        """
        wanted = self.target_fmr if target_fmr is None else target_fmr
        self.operating_point(embedder, samples=samples, frames=frames, target_fmr=wanted)
        entry = load_manifest().embedder(embedder)
        return [entry.point(wanted, samples=samples, frames=count + 1) for count in range(frames)]

    def next_target(self, embedder: str, *, stricter: bool) -> float:
        """The next stricter or looser target that the embedder has points for, or this policy's own if it is the last.

        InputError for an embedder that there is not.
        """
        targets = load_manifest().embedder(embedder).targets
        if stricter:
            return max((t for t in targets if t < self.target_fmr), default=self.target_fmr)
        return min((t for t in targets if t > self.target_fmr), default=self.target_fmr)


# What an enrollment seals; the similarity of samples matters at enrollment alone.
FLOOR = ("target_fmr", *(name for name in BOUNDS if name != "max_sample_similarity"))


SINCE = {"min_signal_to_noise"}  # what floors that were sealed before there was such a field lack
REPLACED = {"min_brightness": 35.0, "max_overexposed": 0.35}  # the defaults that it took the place of


def _offered() -> list[float]:
    return sorted({target for embedder in load_manifest().embedders.values() for target in embedder.targets})


def _stricter(name: str, one: float, other: float) -> float:
    return max(one, other) if name.startswith("min_") else min(one, other)


def _floor_of(sealed: str) -> dict[str, float]:
    """The fields of `sealed`, none for a template from before there was a floor. VaultIntegrityError."""
    if not sealed:
        return {}
    try:
        floor = json.loads(sealed)
        bounds = {**BOUNDS, "target_fmr": (0.0, 1.0)}
        if not set(FLOOR) - SINCE <= set(floor) <= set(FLOOR):
            raise ValueError
        if not all(bounds[name][0] <= value <= bounds[name][1] for name, value in floor.items()):
            raise ValueError
    except (ValueError, TypeError, RecursionError) as error:
        raise VaultIntegrityError("the policy sealed with the template is not one this release writes") from error
    if not set(floor) & SINCE:  # the limits for light that were replaced do not bind as they did by default
        floor = {name: value for name, value in floor.items() if REPLACED.get(name) != value}
    return {name: float(value) for name, value in floor.items()}
