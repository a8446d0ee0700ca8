"""Unlocking: which users' keys a program has opened, and when its own key may open one again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from facesdk.errors import FaceSdkError, PassphraseRequiredError, Reason
from facesdk.vault.attempts import PassphraseRequired

if TYPE_CHECKING:
    from facesdk.vault.keys.given import GivenKeys
    from facesdk.vault.keys.provider import KeyProvider
    from facesdk.vault.moving import MayMove
    from facesdk.vault.rules import AttemptRules
    from facesdk.vault.vault import Vault

T = TypeVar("T")


class Unlocking:
    """Opens users' keys with those that a program gave.

    The key that it gave for everybody opens a user's once: what is closed after it was open, somebody has closed.
    """

    def __init__(self, vault: Vault, keys: GivenKeys) -> None:
        self._vault, self._keys = vault, keys
        self._opened: set[str] = set()

    def opened(self, user: str) -> None:
        """The user's key is open: if it is closed from now on, somebody has closed it."""
        self._opened.add(user)

    def unlock(
        self, user: str, given: KeyProvider | None, *, rules: AttemptRules, label: str, may_move: MayMove
    ) -> bool:  # fmt: skip
        """Whether the key was opened now, by the provider given or, with none, by the program's own if that still may.

        False where it was open already, with none given. PassphraseRequiredError where the own one may not; errors of
        Vault.unlock.
        """
        if given is None:
            state, _ = self._vault.state(user)
            if not isinstance(state, PassphraseRequired):
                return False
            if not self._may(user, state.reason):
                raise PassphraseRequiredError(state.reason)
        with self._keys.using(user, given) as key:
            self._vault.unlock(
                user, key, rules=rules, label=label, opening=self._vault.begin(user), may_move=may_move
            )  # fmt: skip
        self.opened(user)
        return True

    def with_key(self, user: str, use: Callable[[], T], *, unlock: Callable[[str], None]) -> T:
        """What `use` gives with the user's key, opened by `unlock` where the program's own key may.

        use: raises PassphraseRequiredError where the key is closed.
        """
        own = self._keys.of(user) is not None
        try:
            found = use()
        except PassphraseRequiredError as error:
            if not own or not self._may(user, error.reason):
                raise
        except FaceSdkError:
            with contextlib.suppress(FaceSdkError):  # the first error is the one to report
                if own and not isinstance(self._vault.state(user)[0], PassphraseRequired):
                    self._found_open(user)
            raise
        else:
            if own:
                self._found_open(user)
            return found
        unlock(user)
        return use()

    def _may(self, user: str, reason: object) -> bool:
        return reason is Reason.NOT_UNLOCKED and user not in self._opened

    def _found_open(self, user: str) -> None:
        self.opened(user)
        self._keys.found_open(user)
