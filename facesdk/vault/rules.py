"""AttemptRules: how often a face may be tried, and when only the passphrase helps; presets with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from facesdk.errors import InputError

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

    Attributes:
        passphrase_every_s: the passphrase opens for this long and no match extends it. Phone 72 h: Android
            Compatibility Definition (CDD), class 3. Strict 24 h: CDD, classes 1 and 2. Convenience 156 h: Apple
            Platform Security, which asks only if there was no match in the last 4 h either; here 156 h end it in any
            case. Nothing is above 156 h.
        idle_s: without a match for this long, the passphrase; None for no limit. Phone None: CDD, class 3 has none.
            Strict 4 h: CDD, classes 1 and 2. Convenience 48 h: Apple Platform Security.
        free_attempts: the failure with this number is the first that is followed by a delay; not above
            passphrase_after, and equal to it there is never a delay. Phone 5: CDD, class 3, and NIST SP 800-63B-3,
            5.2.3.
        first_delay_s: the first delay; each further failure doubles it, up to MAX_DELAY_S. Phone 30 s: CDD, class 3,
            and NIST SP 800-63B-3, 5.2.3, which doubles it too. MAX_DELAY_S, 1 h, is ours: the phone preset's longest is
            480 s.
        passphrase_after: failures that end it. Phone 10: NIST SP 800-63B-3, 5.2.3, allows 5, or 10 with attack
            detection, and a delay after that; Android's own code stops at 20 (MAX_FAILED_ATTEMPTS_LOCKOUT_PERMANENT),
            the bound here. Strict 3: CDD, classes 1 and 2. Convenience 5, without delays: Apple Platform Security.
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
