"""Sessions that cost nobody an attempt: the challenge's path comes from a seed, and who compares is handed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facesdk.capture.appearance import Follower
from facesdk.capture.limits import DECIDING, TIMEOUT_S
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.errors import EngineMismatchError
from facesdk.learning import Comparison, Learner
from facesdk.liveness.passive import Passive
from facesdk.policy import Policy
from facesdk.sessions import means_for
from facesdk.types import Assurance

if TYPE_CHECKING:
    from facesdk.capture.means import Means
    from facesdk.capture.samples import Probe
    from facesdk.engine import Engine
    from facesdk.vault import KeyProvider, Vault


class Looking:
    """What sessions of one tier look with, made once for all of them; one session at a time.

    Args:
        engine: makes features.
        policy: what frames must be.
        liveness: the tier.
        without_networks: leave the passive networks out, so that nothing but the challenge ends a session early.

    Raises:
        ModelIntegrityError: RGB_PASSIVE without its networks.
    """

    def __init__(self, engine: Engine, policy: Policy, liveness: Assurance, *, without_networks: bool = False) -> None:
        self.engine, self.policy, self.liveness = engine, policy, liveness
        self._passive = None if without_networks or liveness is Assurance.NONE else Passive.load()
        self._means("dot")  # says at once what is not there

    @property
    def passive(self) -> bool:
        """Whether the passive networks are there and look."""
        return self._passive is not None

    def _means(self, challenge: str) -> Means:
        return means_for(self.engine, self.policy, self.liveness, challenge, self._passive)

    def session(
        self, challenge: str, seed: str, compare: Callable[[Probe], bool], *, timeout_s: float = TIMEOUT_S
    ) -> Session:
        """A session whose paths are those of the seed: for tests alone, since who knows the seed knows the path."""
        means = replace(self._means(challenge), source=random.Random(seed.encode("utf-8", "surrogateescape")))
        goal = LiveVerification(means, compare=compare, refuse=lambda: None)
        return Session(goal, Follower(self.engine, self.policy.quality), timeout_s=timeout_s)


@dataclass(frozen=True)
class Matcher:
    """A comparison with one template that is no attempt: nothing is charged, logged or learned, no key stays open.

    vault, user, provider: as Vault.read. engine: of the template. policy: the default, tightened to what was sealed.
    generation: of the template.
    """

    vault: Vault
    user: str
    provider: KeyProvider
    engine: Engine
    policy: Policy
    generation: int

    @classmethod
    def of(
        cls, vault: Vault, user: str, provider: KeyProvider, make_engine: Callable[[str], Engine]
    ) -> Matcher:  # fmt: skip
        """The matcher for this user's template. EngineMismatchError; the errors of Vault.read."""
        with vault.read(user, provider) as template:
            engine = make_engine(template.embedder)
            if (engine.embedder, engine.model_ids) != (template.embedder, template.model_ids):
                raise EngineMismatchError(f"{user!r} was enrolled with other models: use that engine, or enroll again")
            return cls(vault, user, provider, engine, Policy().tightened(template.policy), template.generation)

    def matches(self, probe: Probe) -> bool:
        """Whether the probe is the owner's, by the rule of a verification."""
        learner = Learner(learn=False, migrate_to=None, engine_for=lambda _embedder: self.engine)
        with self.vault.read(self.user, self.provider) as template:
            if template.generation != self.generation:
                raise EngineMismatchError(f"the template of {self.user!r} was replaced meanwhile: begin again")
            return Comparison(template, self.policy, self.engine, learner, frames=DECIDING).matches(template, probe)
