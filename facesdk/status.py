"""What holds for one user: which state and why, what protects the template, and what the opened template says."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.engine.networks import load_manifest
from facesdk.errors import LockedOutError, PassphraseRequiredError, Reason
from facesdk.learning import learned_of, moving_of
from facesdk.policy import Policy, floor_of
from facesdk.vault.attempts import NS, PassphraseRequired, Phase, State
from facesdk.vault.keys.kinds import Protection, protection

if TYPE_CHECKING:
    from facesdk.vault import KeyKind, Template, Vault


@dataclass(frozen=True)
class Enrollment:
    """What an opened template says of itself, without features.

    Attributes:
        embedder: which network made the samples.
        samples: how many it holds.
        differing: how many of them count, as near copies count once.
        learned: samples learned since.
        moving_to: samples there are of the embedder that it moves to, by its name.
        learned_unusable: what is wrong with what was learned, if anything is.
        target_fmr: false match rate of `policy`.
        misses: share of the owner's own attempts that are refused, by number of frames; empty where this release has no
            operating points for the template.
        created_unix_s: when it was enrolled, seconds since 1970.
        consent: how it was given, as it was sealed.
        policy: what a verification is held to: the verifier's own, or the defaults tightened to the floor.
        floor: the fields that the enrollment sealed, under which no verification may go.
    """

    embedder: str
    samples: int
    differing: int
    learned: int
    moving_to: Mapping[str, int]
    learned_unusable: str | None
    target_fmr: float
    misses: Mapping[int, float]
    created_unix_s: int
    consent: str
    policy: Policy
    floor: Mapping[str, float]

    @property
    def text(self) -> str:
        """For whom the false match rate holds and how often the owner is refused, in one sentence."""
        if not self.misses:
            return f"{self.embedder!r} has no operating points in this release: enroll again"
        shares = ", ".join(f"{100 * share:.1f} % with {frames} frame(s)" for frames, share in self.misses.items())
        held = f"at most 1 false match in {1 / self.target_fmr:,.0f} (FMR {self.target_fmr:g}) in the worst-off group"
        text = f"{held}; {self.differing} of {self.samples} samples count; the owner is refused in {shares}"
        text += f"; {self.learned} learned since" if self.learned else ""
        text += "".join(f"; {count} to move to {name}" for name, count in self.moving_to.items())
        return text + (f"; what was learned is of no use: {self.learned_unusable}" if self.learned_unusable else "")


@dataclass(frozen=True)
class Status:
    """What holds for one user now. Holds no secret and no score.

    Attributes:
        user: whose status.
        phase: READY, DELAYED or PASSPHRASE_REQUIRED.
        why: that in words.
        reason: why the passphrase is required; None where it is not.
        wait_s: seconds until the next attempt is accepted.
        failures: attempts without a match since the last match; None where the key is closed.
        kind: of the key that seals the template.
        protection: what that stops and what not, in sentences.
        enrollment: what the template says of itself; None where no face can match now.
    """

    user: str
    phase: Phase
    why: str
    reason: Reason | None
    wait_s: int
    failures: int | None
    kind: KeyKind
    protection: Protection = field(repr=False)
    enrollment: Enrollment | None = field(repr=False)

    @property
    def ready(self) -> bool:
        """Whether a face can match now."""
        return self.phase is Phase.READY


def status_of(vault: Vault, user: str, *, policy: Policy | None = None, tcti: str | None = None) -> Status:
    """The user's status.

    Args:
        vault: the vault.
        user: whose status.
        policy: what a verification is given; None for the defaults, tightened to what the enrollment sealed.
        tcti: how the TPM of the key is reached.

    Raises:
        NotEnrolledError: there is no template of this user.
        FaceSdkError: the errors of a vault that cannot be read or trusted.
    """
    kind = vault.kind(user)
    state, _ = vault.state(user)
    enrollment = None
    try:
        phase, why, reason, wait_s = _phase(vault, state)
        if phase is Phase.READY:
            with vault.opened(user, learned=True) as template:
                enrollment = enrollment_of(template, policy)
    except PassphraseRequiredError as error:  # sealed anew since the key was opened
        reason = Reason(error.reason)
        phase, why, wait_s = Phase.PASSPHRASE_REQUIRED, reason.value, 0
    except LockedOutError as error:  # another program's attempt did not match meanwhile
        wait_s = math.ceil(error.retry_after_s)
        phase, why, reason = Phase.DELAYED, error.message, None
    failures = None
    if phase is not Phase.PASSPHRASE_REQUIRED and not isinstance(state, PassphraseRequired):
        failures = state.failures
    return Status(user, phase, why, reason, wait_s, failures, kind, protection(kind, tcti=tcti), enrollment)


def _phase(vault: Vault, state: State) -> tuple[Phase, str, Reason | None, int]:
    if isinstance(state, PassphraseRequired):
        return Phase.PASSPHRASE_REQUIRED, state.reason.value, state.reason, 0
    wait_s = -(-(state.not_before_ns - vault.now_ns()) // NS)
    if wait_s > 0:
        return Phase.DELAYED, f"{state.failures} attempts did not match: wait {wait_s} s", None, wait_s
    where = f"the key is {vault.open_keys.where}"
    return Phase.READY, f"{where}, {state.failures} attempts did not match since the last match", None, 0


def enrollment_of(template: Template, policy: Policy | None = None) -> Enrollment:
    """What an opened template says of itself. policy: as in status_of."""
    now = int(time.time())
    moving = moving_of(template, now_unix_s=now)
    policy = policy or Policy().tightened(template.policy)
    differing = len(matching.near_copies(list(template.samples)))
    return Enrollment(
        embedder=template.embedder, samples=template.count, differing=differing,
        learned=len(learned_of(template, now_unix_s=now)),
        moving_to={} if moving is None else {moving[0].embedder: len(moving[1])},
        learned_unusable=None if template.learned is None else template.learned.problem,
        target_fmr=policy.target_fmr, misses=_misses(template, policy, differing),
        created_unix_s=template.created_unix_s, consent=template.consent, policy=policy,
        floor=floor_of(template.policy),
    )  # fmt: skip


def _misses(template: Template, policy: Policy, differing: int) -> dict[int, float]:
    manifest = load_manifest()
    entry = manifest.embedders.get(template.embedder)
    # The detector's id comes first, and may be another's; points belong to the networks.
    known = entry is not None and template.model_ids[1:] == manifest.model_ids(template.embedder)[1:]
    if entry is None or not known or policy.target_fmr not in entry.targets:
        return {}
    points = {frames: entry.point(policy.target_fmr, samples=differing, frames=frames) for frames in (1, 3)}
    return {frames: point.fnmr for frames, point in points.items() if point.offered}
