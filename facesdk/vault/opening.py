"""An opening of a user's key: it begins, is saved unless a lock overtook it, and is found again as long as it holds."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from facesdk.errors import FaceSdkError, KeyUnavailableError, PassphraseRequiredError, Reason, RollbackError
from facesdk.vault import identity
from facesdk.vault.attempts import AttemptEvent, PassphraseRequired, step
from facesdk.vault.audit.entry import AuditEvent, Head
from facesdk.vault.crypto import TagMismatchError
from facesdk.vault.open_keys import OpenKey, OpenKeys
from facesdk.vault.template import Template
from facesdk.vault.userfiles import UserFiles

_CLOSES = {AuditEvent.LOCKED: Reason.LOCKED, AuditEvent.PANIC: Reason.PANIC}


@dataclass(frozen=True)
class Opening:
    """An opening that has begun. What locks or panics from then on keeps its key from being opened.

    mark: of the open keys; panic: the vault's panic mark; entries: how many the user's log had.
    """

    mark: int
    panic: bytes
    entries: int


class Openings:
    """The openings of a vault's users, in open_keys. now_ns: CLOCK_BOOTTIME. Call it under the vault's lock."""

    def __init__(self, open_keys: OpenKeys, now_ns: Callable[[], int]) -> None:
        self.open_keys, self._now_ns = open_keys, now_ns
        # The stamp of each user's log, and the head, at which nothing had closed the key.
        self._seen: dict[str, tuple[tuple[int, ...], Head]] = {}
        # The vault's panic mark at which each user's key was opened here.
        self._marks: dict[str, bytes] = {}

    def begin(self, file: UserFiles) -> Opening:
        """An opening that begins now, under the exclusive lock."""
        folder = file.folder.descriptor
        identity.ensure(folder)
        newest = next(file.log.recent(), None)
        return Opening(self.open_keys.begin(file.user), identity.panic_mark(folder), newest.n + 1 if newest else 0)

    def save(self, file: UserFiles, held: OpenKey, opening: Opening | None) -> bool:
        """Whether the key is open now: not where anybody locked it since the opening began."""
        opening = opening or self.begin(file)  # the vault was made in between
        overtaken = Reason.PANIC if identity.panic_mark(file.folder.descriptor) != opening.panic else None
        for entry in itertools.takewhile(lambda entry: entry.n >= opening.entries, file.log.recent()):
            overtaken = overtaken or _CLOSES.get(entry.event)
        if overtaken is not None:
            self.open_keys.forget(file.user, overtaken)
            return False
        self._marks[file.user] = opening.panic
        return self.open_keys.save(file.user, held, mark=opening.mark)

    def held(self, file: UserFiles) -> OpenKey:
        """The opened key, to be used as a context. PassphraseRequiredError where there is none that still holds."""
        found = self.open_keys.load(file.user)
        if isinstance(found, PassphraseRequired):
            # Whoever was removed and is enrolled again was not removed since.
            raise PassphraseRequiredError(Reason.NOT_UNLOCKED if found.reason is Reason.REMOVED else found.reason)
        try:
            state = step(found.state, AttemptEvent.TIME, now_ns=self._now_ns(), rules=found.rules)
            reason = state.reason if isinstance(state, PassphraseRequired) else self._closed_since(file, found.head)
            if reason is not None:
                self.open_keys.forget(file.user, reason)
                raise PassphraseRequiredError(reason)
        except BaseException:
            found.close()
            raise
        return found

    def _closed_since(self, file: UserFiles, head: Head) -> Reason | None:
        """The lock or panic of a process that has no way to this key, where the log has one behind the key's head, or
        where a panic has left its mark and could not wait for the log."""
        if self._marks.get(file.user, mark := identity.panic_mark(file.folder.descriptor)) != mark:
            return Reason.PANIC
        stamp = file.log.stamp()
        if self._seen.get(file.user) == (stamp, head):
            return None
        reason = next((_CLOSES[event] for event in file.log.events_since(head) if event in _CLOSES), None)
        if reason is None:
            self._seen[file.user] = stamp, head
        return reason

    def template(self, file: UserFiles, held: OpenKey, *, known: Template | None = None) -> Template:
        """The template that the held key was opened for; anything else needs the passphrase.

        known: one that was opened before, which it is where neither file nor opening have changed.
        """
        data = file.read()
        if known is not None and known.is_of(data, held.ticket) and known.generation == held.generation:
            return known
        try:
            template = Template.opened(data, held.kek, user=file.user)
            template.ticket = held.ticket
        except KeyUnavailableError as error:
            if not isinstance(error.__cause__, TagMismatchError):  # no memory for it, say: the key is the right one
                raise
            self.open_keys.forget(file.user, Reason.CHANGED)
            raise PassphraseRequiredError(Reason.CHANGED) from None
        if template.generation == held.generation:
            return template
        template.close()
        self.open_keys.forget(file.user, Reason.CHANGED)
        if template.generation < held.generation:
            raise RollbackError(
                f"an older file of {file.user!r} was put back: give the passphrase, or remove it and enroll again"
            )
        raise PassphraseRequiredError(Reason.CHANGED)

    def why_closed(self, user: str) -> Reason:
        """Why an opening that was loaded before is not there any more."""
        found = self.open_keys.load(user)
        if isinstance(found, PassphraseRequired):
            return found.reason
        found.close()
        return Reason.OVERTAKEN


@contextlib.contextmanager
def loaded(open_keys: OpenKeys, user: str) -> Iterator[OpenKey | None]:
    """The opened key, or None where there is none or it cannot be read: who locks forgets it all the same."""
    found: OpenKey | PassphraseRequired = PassphraseRequired(Reason.NOT_UNLOCKED)
    with contextlib.suppress(FaceSdkError):
        found = open_keys.load(user)
    if isinstance(found, PassphraseRequired):
        yield None
    else:
        with found:
            yield found
