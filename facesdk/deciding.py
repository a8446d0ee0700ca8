"""One verification's way to the vault: attempts that are paid for, and what a match teaches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facesdk.errors import PassphraseRequiredError
from facesdk.learning import Comparison
from facesdk.policy import Policy

if TYPE_CHECKING:
    from facesdk.capture.samples import Probe
    from facesdk.engine import Engine
    from facesdk.engines import Engines
    from facesdk.learning import Learner
    from facesdk.vault import Template, Vault
    from facesdk.vault.keys.given import GivenKeys


@dataclass(frozen=True)
class Decider:
    """Each call of matches or refuse is an attempt that is paid for.

    generation: of the template that the comparison was made for. camera, label: of the entry in the audit log. closed:
    called where the key turns out to be closed. template: the template itself, while it stays open.
    """

    vault: Vault
    user: str
    comparison: Comparison
    generation: int
    camera: str
    label: str
    learned: bool
    closed: Callable[[], None] = lambda: None
    template: Template | None = None

    def matches(self, probe: Probe) -> bool:
        """Whether the probe is the owner's, the attempt paid for; what a match teaches is learned."""
        match = self._attempt(lambda template: self.comparison.matches(template, probe), self.label)
        if match:
            self.comparison.learn(
                self.vault, self.user, generation=self.generation, camera=self.camera, label=self.label
            )
        return match

    def refuse(self) -> None:
        """An attempt that is paid for and compared with nothing; the log's entry says so."""
        self._attempt(lambda _template: False, f"{self.label} refused")

    def _attempt(self, compare: Callable[[Any], bool], label: str) -> bool:
        try:
            return self.vault.attempt(
                self.user, compare, generation=self.generation, camera=self.camera, label=label, learned=self.learned,
                known=self.template,
            )  # fmt: skip
        except PassphraseRequiredError:
            self.closed()
            raise


class Deciding:
    """Begins verifications, each with the policy and the engine that its template binds to.

    Args:
        vault: has the templates.
        keys: what is forgotten where a key turns out to be closed.
        engines: by embedder.
        learner: what may be learned after matches.
        chosen: the policy given; None for the defaults, tightened to what the enrollment sealed.
    """

    def __init__(
        self, vault: Vault, keys: GivenKeys, engines: Engines, learner: Learner, chosen: Policy | None
    ) -> None:
        self._vault, self._keys, self._engines, self._learner = vault, keys, engines, learner
        self._chosen = None if chosen is None else Policy(
            target_fmr=chosen.target_fmr, quality=chosen.quality, attempts=chosen.attempts, liveness=chosen.liveness,
            attention=chosen.attention,
        )  # fmt: skip  # not by what a subclass makes of it

    def binding(self, template: Template) -> tuple[Policy, Engine]:
        """The policy and engine to verify with: at least what the enrollment sealed. PolicyFloorError."""
        if self._chosen is None:
            return Policy().tightened(template.policy), self._engines.matching(template)
        self._chosen.check_not_looser(template.policy)
        return self._chosen, self._engines.matching(template)

    def begin(self, user: str, *, frames: int, camera: str, label: str = "") -> tuple[Decider, Policy, Engine]:
        """The way to the vault for one verification of at most so many frames. Errors of FaceVerifier.verify."""
        with self.at_once(user, frames=frames, camera=camera, label=label) as (decider, policy, engine):
            return replace(decider, template=None), policy, engine

    @contextlib.contextmanager
    def at_once(
        self, user: str, *, frames: int, camera: str, label: str = ""
    ) -> Iterator[tuple[Decider, Policy, Engine]]:
        """As begin, for a verification that ends within: the template is opened once, and wiped at the end."""
        with self._vault.opened(user, learned=self._learner.active) as template:
            policy, engine = self.binding(template)
            comparison = Comparison(template, policy, engine, self._learner, frames=frames)
            decider = Decider(
                self._vault, user, comparison, template.generation, camera, f"{label_of(policy)} {label}".rstrip(),
                self._learner.active, lambda: self._keys.forget(user), template,
            )  # fmt: skip
            yield decider, policy, engine


def label_of(policy: Policy) -> str:
    """The policy as the audit log names it, behind the attempt rules."""
    return f"{policy.target_fmr:g}"
