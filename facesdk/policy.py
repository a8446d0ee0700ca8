"""Policy: what a verification must meet, and how often it may be tried.

Asked for as a target false match rate, never as a raw threshold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from facesdk.capture.quality import BOUNDS, QualityLimits
from facesdk.engine.networks import load_manifest
from facesdk.engine.operating_points import OperatingPoint
from facesdk.errors import InputError, PolicyFloorError, VaultIntegrityError
from facesdk.types import Assurance
from facesdk.vault.rules import PRESETS, AttemptRules


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Quality limits, the false match rate to hold and the attempt rules. Frozen and checked when made (InputError).

    Attributes:
        target_fmr: false match rate that the worst-off group must meet; one of the manifest's operating points. Source
            of the default, 1 in 50,000: Android Compatibility Definition, class 3 biometrics.
        quality: what a sample must be to be used.
        attempts: when a face may be tried and when the passphrase is needed; the phone preset unless another is given.
        liveness: the least that a match must say about life. With more than NONE pictures do not open any more, only
            sessions do (docs/liveness.md).
        attention: sessions want both eyes open at the end; not for who cannot open them.
    """

    target_fmr: float = 2e-5
    quality: QualityLimits = field(default_factory=QualityLimits)
    attempts: AttemptRules = PRESETS["phone"]
    liveness: Assurance = Assurance.NONE
    attention: bool = True

    def sealed(self) -> str:
        """What an enrollment under this policy seals as the least that a verification must meet."""
        floor = {name: value for name, value in _floor(self).items() if UNSAID.get(name) != value}
        return json.dumps(floor, sort_keys=True, separators=(",", ":"))

    def check_not_looser(self, sealed: str) -> None:
        """PolicyFloorError where any field asks for less than the sealed floor. Attempt rules are for who unlocks."""
        own = _floor(self)
        for name, floor in floor_of(sealed).items():
            value = own[name]
            if _stricter(name, value, floor) != value:
                raise PolicyFloorError(
                    f"{name} {value:g} is looser than the {floor:g} that the owner's enrollment sealed: a verification"
                    " may tighten it, not loosen it; leave the policy out, or enroll again"
                )

    def tightened(self, sealed: str) -> Policy:
        """This policy, or the sealed floor wherever that is stricter; attention as it was sealed."""
        floor, own = floor_of(sealed), _floor(self)
        strict = {name: _stricter(name, own[name], value) for name, value in floor.items()}
        wanted = strict.pop("target_fmr", self.target_fmr)
        if wanted not in _offered():  # sealed by a release with other operating points: the next stricter one
            wanted = max((fmr for fmr in _offered() if fmr <= wanted), default=wanted)
        liveness = Assurance(int(strict.pop("liveness", 0)))
        attention = bool(strict.pop("attention", 1.0)) and bool(floor.get("attention", 1.0))
        return replace(
            self, target_fmr=wanted, quality=replace(self.quality, **strict), liveness=liveness, attention=attention
        )

    def __post_init__(self) -> None:
        if not isinstance(self.quality, QualityLimits):
            raise InputError(f"quality must be QualityLimits(...), not {self.quality!r:.80}")
        if not isinstance(self.attempts, AttemptRules):
            raise InputError(
                f"attempts must be AttemptRules, such as AttemptRules.preset('phone'), not {self.attempts!r}"
            )
        if not isinstance(self.liveness, Assurance):
            raise InputError(
                f"liveness must be an Assurance, such as Assurance.RGB_CHALLENGE, not {self.liveness!r:.80}"
            )
        if not isinstance(self.attention, bool):
            raise InputError(f"attention must be True or False, not {self.attention!r:.80}")
        offered = _offered()
        if self.target_fmr not in offered:
            listed = ", ".join(f"{value:g}" for value in offered)
            raise InputError(f"target_fmr must be a measured operating point ({listed}), not {self.target_fmr!r}")

    def operating_point(
        self, embedder: str, *, samples: int, frames: int, target_fmr: float | None = None
    ) -> OperatingPoint:
        """Look up the threshold that holds a false match rate.

        Args:
            embedder: which network made the features.
            samples: of the reference that count; 1 or more.
            frames: of the verification that count; 1 or more.
            target_fmr: None for this policy's own.

        Returns:
            The embedder's point for so many samples and frames.

        Raises:
            InputError: that was not measured, or the data cannot support it.
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
        """Look up the thresholds for as many frames as may turn out to count.

        Args:
            embedder: as in operating_point.
            samples: as in operating_point.
            frames: the most that can count.
            target_fmr: as in operating_point.

        Returns:
            The points for 1 to `frames` frames; one that is not offered has a threshold that nothing reaches.

        Raises:
            InputError: even the most frames have none.
        """
        wanted = self.target_fmr if target_fmr is None else target_fmr
        self.operating_point(embedder, samples=samples, frames=frames, target_fmr=wanted)
        entry = load_manifest().embedder(embedder)
        return [entry.point(wanted, samples=samples, frames=count + 1) for count in range(frames)]

    def next_target(self, embedder: str, *, stricter: bool) -> float:
        """Find a neighbouring false match rate.

        Args:
            embedder: which network made the features.
            stricter: the lower neighbour, else the higher one.

        Returns:
            The next target that the embedder has points for, or this policy's own if it is the last.

        Raises:
            InputError: an embedder that there is not.
        """
        targets = load_manifest().embedder(embedder).targets
        if stricter:
            return max((t for t in targets if t < self.target_fmr), default=self.target_fmr)
        return min((t for t in targets if t > self.target_fmr), default=self.target_fmr)


# What an enrollment seals; the similarity of samples matters at enrollment alone.
LIMITS = tuple(name for name in BOUNDS if name != "max_sample_similarity")
FLOOR = ("target_fmr", *LIMITS)


UNSAID = {"liveness": float(Assurance.NONE), "attention": 1.0}  # what a floor means that does not say otherwise
SINCE = {"min_signal_to_noise"}  # what floors that were sealed before there was such a field lack
REPLACED = {"min_brightness": 35.0, "max_overexposed": 0.35}  # the defaults that it took the place of


def _floor(policy: Policy) -> dict[str, float]:
    """The fields that a floor has, as they stand in the policy: not by what a subclass makes of it."""
    own = {"target_fmr": policy.target_fmr, **{name: getattr(policy.quality, name) for name in LIMITS}}
    return {**own, "liveness": float(policy.liveness), "attention": float(policy.attention)}


def _offered() -> list[float]:
    return sorted({target for embedder in load_manifest().embedders.values() for target in embedder.targets})


def _stricter(name: str, one: float, other: float) -> float:
    return max(one, other) if name.startswith("min_") or name in UNSAID else min(one, other)


def floor_of(sealed: str) -> dict[str, float]:
    """The fields of a sealed floor, none for a template from before there was a floor. VaultIntegrityError."""
    if not sealed:
        return {}
    try:
        floor = json.loads(sealed)
        bounds = {**BOUNDS, "target_fmr": (0.0, 1.0), "liveness": (0.0, 100.0), "attention": (0.0, 1.0)}
        if not set(FLOOR) - SINCE <= set(floor) <= {*FLOOR, *UNSAID}:
            raise ValueError
        if not all(bounds[name][0] <= value <= bounds[name][1] for name, value in floor.items()):
            raise ValueError
        Assurance(int(floor.get("liveness", 0)))
    except (ValueError, TypeError, RecursionError) as error:
        raise VaultIntegrityError("the policy sealed with the template is not one this release writes") from error
    if not set(floor) & SINCE:  # the limits for light that were replaced do not bind as they did by default
        floor = {name: value for name, value in floor.items() if REPLACED.get(name) != value}
    return {**UNSAID, **{name: float(value) for name, value in floor.items()}}
