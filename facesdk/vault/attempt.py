"""The paid comparison: charged, logged, compared, and then given back by a match that nothing overtook."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from facesdk._core import process_token
from facesdk.errors import FaceSdkError, PassphraseRequiredError, Reason
from facesdk.vault.attempts import Charged, PassphraseRequired, State, charge
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.heads import Heads
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.opening import Openings
from facesdk.vault.userfiles import UserFiles


class PaidAttempt:
    """One attempt with an opened key, under the vault's exclusive lock. Making it charges and logs it.

    A kill from then on leaves the attempt spent and in the log, as one that was never decided. Raises
    PassphraseRequiredError and LockedOutError where none may be made, and VaultIntegrityError.
    """

    def __init__(
        self, file: UserFiles, held: OpenKey, heads: Heads, openings: Openings, *, now_ns: Callable[[], int],
        camera: str, label: str,
    ) -> None:  # fmt: skip
        self._file, self._held, self._heads, self._openings, self._now_ns = file, held, heads, openings, now_ns
        self._open_keys = openings.open_keys
        self._process = process_token()
        head = heads.newest(held.head)
        self._charged: Charged = charge(held.state, now_ns=now_ns(), rules=held.rules)
        self._mark = self._pay(self._charged.after)
        self._head, self._attempt = file.log.attempted(head, camera=camera, policy=label)
        heads.note(self._attempt)

    def _pay(self, after: State) -> int:
        """Saves the state after the charge. The last attempt's by forgetting the key; the mark to give it back with."""
        user = self._file.user
        if isinstance(after, PassphraseRequired):
            mark = self._open_keys.spend(user, after.reason)
            if not mark:  # locked since it was loaded
                raise PassphraseRequiredError(self._openings.why_closed(user))
            return mark
        if not self._open_keys.save(user, replace(self._held, state=after)):
            raise PassphraseRequiredError(self._openings.why_closed(user))
        return 0

    def matched(self) -> bool:
        """True once the match is logged and the state saved; what a lock or panic overtook is logged as undecided.

        So is a match whose saving ends with an error, unless the failures may have been given back already.
        """
        self._check_process()
        file, held = self._file, self._held
        saved = self._saved()
        state = self._charged.match(saved, now_ns=self._now_ns(), rules=held.rules)
        if isinstance(state, PassphraseRequired):
            self._open_keys.forget(file.user, state.reason)
            raise PassphraseRequiredError(state.reason)
        file.log.check(self._head)  # who breaks it does not wait for the lock
        head = file.log.matched(self._head, self._attempt)
        self._heads.write(head)
        # The last attempt's key was forgotten by its charge: it comes back as a new opening.
        ticket = 0 if isinstance(saved, PassphraseRequired) else held.ticket
        new = replace(held, state=state, head=head, ticket=ticket)
        before = self._head.open if head.count == self._head.count else ()
        undecided = replace(head, open=(*before, self._attempt))
        try:
            saved_it = self._open_keys.save(file.user, new, mark=self._mark)
        except BaseException:
            if self._is_still(saved):
                self._heads.write(undecided)
            raise
        if saved_it:
            return True
        self._heads.write(undecided)
        raise PassphraseRequiredError(self._openings.why_closed(file.user))

    def mismatched(self) -> bool:
        """False, once it is logged, and the state saved that is left after it; what a lock overtook leaves none."""
        self._check_process()
        file, held = self._file, self._held
        head = file.log.mismatched(self._head, self._attempt)
        self._heads.write(head, durable_name=False)
        state = self._charged.mismatch(self._saved(), now_ns=self._now_ns(), rules=held.rules)
        if isinstance(state, PassphraseRequired):
            self._open_keys.forget(file.user, state.reason)
            if state.reason is Reason.FAILURES:
                file.record(AuditEvent.LOCKED_OUT, held.kek, head)
        else:
            self._open_keys.save(file.user, replace(held, state=state, head=head))
        return False

    def _check_process(self) -> None:
        """PassphraseRequiredError in a child that the comparison has forked: the attempt is its parent's."""
        if self._process != process_token():
            raise PassphraseRequiredError(Reason.FORKED)

    def _is_still(self, state: State) -> bool:
        """Whether this is the state that is saved; False also where that cannot be told."""
        try:
            return self._saved() == state
        except FaceSdkError:
            return False

    def _saved(self) -> State:
        """The state as it is saved now."""
        found = self._open_keys.load(self._file.user)
        if isinstance(found, PassphraseRequired):
            return found
        with contextlib.closing(found):
            return found.state
