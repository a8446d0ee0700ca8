"""One verification's comparison with a template, and what a match leaves in it."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk.capture.quality import assess
from facesdk.capture.samples import Probe
from facesdk.engine.networks import load_manifest
from facesdk.errors import FaceSdkError, InputError, PassphraseRequiredError
from facesdk.learning.rule import Rule

if TYPE_CHECKING:
    from facesdk.engine import Engine
    from facesdk.learning.sets import Due, Moving
    from facesdk.policy import Policy
    from facesdk.types import Float32Array, Sample
    from facesdk.vault import Template, Vault


@dataclass(frozen=True)
class Learner:
    """What may be learned after matches.

    learn: with the template's own embedder. migrate_to: with another one, which then takes over. engine_for: the engine
    of an embedder.
    """

    learn: bool
    migrate_to: str | None
    engine_for: Callable[[str], Engine]

    @property
    def active(self) -> bool:
        """Whether anything may be learned at all."""
        return self.learn or self.migrate_to is not None

    def known(self, template: Template) -> tuple[list[Float32Array], list[Float32Array]]:
        """What a verification compares with: the enrolled samples, and what was learned where that counts."""
        if not self.learn:
            return list(template.samples), []
        from facesdk.learning.sets import learned_of

        return list(template.samples), [one.vector for one in learned_of(template, now_unix_s=int(time.time()))]


class Comparison:
    """Compares one probe with one template, by the policy's rule.

    Made with the template at hand before a picture is read, so that what cannot be decided is said first: InputError
    where no threshold is known for so many samples and frames.
    """

    def __init__(self, template: Template, policy: Policy, engine: Engine, learner: Learner, *, frames: int) -> None:
        self._policy, self._engine, self._learner, self._frames = policy, engine, learner, frames
        self._rule = self._rule_for(template)
        self._sure: list[Sample] = []
        self._due: Due | None = None

    def _rule_for(self, template: Template) -> Rule:
        return Rule.of(self._policy, self._engine.embedder, *self._learner.known(template), frames=self._frames)

    def matches(self, template: Template, probe: Probe) -> bool:
        """Whether the probe is of the template's owner; remembers what of it is worth learning."""
        turned = template.turned(probe.vectors)
        enrolled, learned = self._learner.known(template)
        if self._learner.active:  # another program may have learned something since
            self._rule = self._rule_for(template)
        match = self._rule.decide(enrolled, learned, turned)
        if match and self._learner.active:
            numbers = self._rule.to_learn(enrolled, learned, turned)
            self._sure = [probe.samples[i] for i in numbers]
            if self._sure:
                from facesdk.learning.sets import due

                self._due = due(
                    template, turned[numbers[0]], learning=self._learner.learn, migrate_to=self._learner.migrate_to,
                    now_unix_s=int(time.time()),
                )  # fmt: skip
        return match

    def learn(self, vault: Vault, user: str, *, generation: int, camera: str, label: str) -> None:
        """After a match: learn what is wanted of the first sure sample fit for an enrollment; the match stands.

        A warning says where something could not be learned.
        """
        limits = self._policy.quality
        sample = next((one for one in self._sure if assess(one, 1, limits, enrolling=True) is None), None)
        if sample is None or self._due is None or not (self._due.own or self._due.moving):
            return
        from facesdk.learning.sets import sets_with

        with contextlib.ExitStack() as wiped:
            own, moving = self._made(sample, self._due, wiped)
            if own is None and moving is None:
                return
            try:
                vault.learn(
                    user, lambda template: sets_with(template, own, moving, now_unix_s=int(time.time())),
                    generation=generation, camera=camera, label=label,
                )  # fmt: skip
            except PassphraseRequiredError:
                return  # locked meanwhile: then there is nothing to learn for
            except FaceSdkError as error:
                _not_learned(error, stacklevel=5)

    def _made(self, sample: Sample, due: Due, wiped: contextlib.ExitStack) -> tuple[Float32Array | None, Moving | None]:
        """The sample's features by the template's own embedder and by the one it moves to, wiped by `wiped`."""
        own = moving = None
        try:
            if due.own:
                own = wiped.enter_context(Probe([sample], self._engine, mirror=True)).vectors[0]
            if due.moving and self._learner.migrate_to is not None:
                moving = self._moving(self._learner.migrate_to, sample, wiped)
        except Exception as error:  # another embedder's engine can fail in many ways
            _not_learned(error, stacklevel=6)
        return own, moving

    def _moving(self, embedder: str, sample: Sample, wiped: contextlib.ExitStack) -> Moving:
        """What this embedder makes of the sample. InputError where the policy cannot use it."""
        from facesdk.learning.sets import LEAST_TO_MOVE, Moving

        self._policy.operating_point(embedder, samples=LEAST_TO_MOVE, frames=1)  # what it needs once it has taken over
        engine = self._learner.engine_for(embedder)
        if engine.embedder != embedder:
            raise InputError(f"make_engine gave an engine of {engine.embedder!r} for {embedder!r}")
        probe = wiped.enter_context(Probe([sample], engine, mirror=True))
        same_person = load_manifest().embedder(embedder).same_person
        return Moving(embedder, engine.model_ids, probe.vectors[0], same_person)


def _not_learned(error: Exception, *, stacklevel: int) -> None:
    """Says so, to who called verify(): the match stands, it is in the log already."""
    warnings.warn(f"the match stands, but not all of it was learned: {error}", RuntimeWarning, stacklevel=stacklevel)
