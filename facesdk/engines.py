"""The engines of a verifier: the one given, or one of each embedder that is needed, and the optional networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from facesdk._core import process_token
from facesdk.engine import DEFAULT_EMBEDDER
from facesdk.engine.networks import load_manifest
from facesdk.errors import EngineMismatchError, InputError

if TYPE_CHECKING:
    from facesdk.engine import Engine
    from facesdk.liveness.passive import Passive
    from facesdk.vault import Template


class Engines:
    """Makes each when it is first needed, anew in a child process.

    Args:
        given: is used for all; None where `make` makes them.
        make: makes an engine of the embedder of this name.
    """

    def __init__(self, given: Engine | None, make: Callable[[str], Engine]) -> None:
        self._given, self._make = given, make
        self._process = process_token()
        self.clear()

    def clear(self) -> None:
        """Let go of what was made."""
        self._made: dict[str, Engine] = {}
        self._passive: Passive | None = None

    @property
    def default(self) -> Engine:
        """The one that enrolls."""
        return self.of(DEFAULT_EMBEDDER)

    def of(self, embedder: str) -> Engine:
        """The engine given, or else one of this embedder."""
        if self._given is not None:
            return self._given
        self._check_process()
        if embedder not in self._made:
            self._made[embedder] = checked_engine(self._make(embedder), "what make_engine gives")
        return self._made[embedder]

    def matching(self, template: Template) -> Engine:
        """The engine that made the template's features. EngineMismatchError where there is none like it."""
        known = self._given is not None or template.embedder in load_manifest().embedders
        engine = self.of(template.embedder) if known else self.default
        if (template.embedder, template.model_ids) != (engine.embedder, engine.model_ids):
            same = template.embedder == engine.embedder
            other = f"embedder {template.embedder!r}, not {engine.embedder!r}"
            what = "other models or another detector" if same else other
            raise EngineMismatchError(f"{template.user!r} was enrolled with {what}: use that engine, or enroll again")
        return engine

    def passive(self) -> Passive | None:
        """The networks that tell prints and screens from faces, loaded once; None while they are not there."""
        from facesdk.liveness.passive import Passive

        self._check_process()
        if self._passive is None:
            self._passive = Passive.load()
        return self._passive

    def _check_process(self) -> None:
        if self._process != process_token():  # a child's: what the parent made does not work here
            self.clear()
            self._process = process_token()


def checked_engine(engine: Any, what: str) -> Engine:
    """The engine. InputError for what is none, or the class of one."""
    if isinstance(engine, type) or not hasattr(engine, "observe"):
        raise InputError(f"{what} must be made by facesdk.Engine(...), not {engine!r:.80}")
    return engine  # type: ignore[no-any-return]
