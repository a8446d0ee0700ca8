"""The keys that a program gives to its verifier: which is whose, and none that two people share by accident."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from facesdk.errors import InputError
from facesdk.vault.keys.key_file import KeyFileKey
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind, KeyProvider
from facesdk.vault.record import check_user

KNOWN_BY_HEART = (KeyKind.PASSPHRASE, KeyKind.TPM)


class GivenKeys:
    """The key that a verifier was made with, and those that were given for one user. Safe to use from several threads.

    A passphrase that the verifier was made with belongs to the first user whom it enrolls, unlocks or finds unlocked:
    who knows it could open another user's template too. Key files and the desktop's keyring are the machine's and may
    serve several.
    """

    def __init__(self, common: KeyProvider | None) -> None:
        self._common, self._whose = common, ""
        self._own: dict[str, KeyProvider] = {}
        self._lock = threading.RLock()
        self._closed = False

    def of(self, user: str) -> KeyProvider | None:
        """This user's key, where there is one. InputError for what is no user's name."""
        check_user(user)
        with self._lock:
            if user in self._own:
                return self._own[user]
            return self._common if self._whose in ("", user) else None

    @contextlib.contextmanager
    def using(self, user: str, given: KeyProvider | None) -> Iterator[KeyProvider]:
        """The key to work with, given or known. It is this user's from now on, unless the work fails.

        So a lock, panic or close that comes meanwhile reaches it. Raises InputError where no key was given, the one
        known is another user's, or all is closed.
        """
        with self._lock:
            if self._closed:
                raise InputError("this verifier is closed: make another one")
            key = self._needed(user) if given is None else given
            if key is self._common and self._whose not in ("", user):
                raise self._of_another(user)
            before = self._own.get(user), self._whose
            self._remember(user, key)
        try:
            yield key
        except BaseException:
            with self._lock:
                if self._own.get(user) is key:
                    del self._own[user]
                    if before[0] is not None and not self._closed:
                        self._own[user] = before[0]
                elif self._whose == user:
                    self._whose = before[1]
            raise

    def found_open(self, user: str) -> None:
        """The user's key is open: a passphrase that the verifier was made with is theirs, where it is nobody's yet."""
        with self._lock:
            if user not in self._own and not self._whose and self._common is not None:
                self._remember(user, self._common)

    def forget(self, user: str) -> None:
        """Forget this user's secret; other users' stay."""
        key = self.of(user)
        if key is not None:
            key.forget()

    def drop(self, user: str) -> None:
        """Forget a key that was given for a user who is gone."""
        with self._lock:
            key = self._own.pop(user, None)
        if key is not None:
            key.forget()

    def forget_all(self) -> None:
        """Forget every secret, whatever one of them raises."""
        with self._lock, contextlib.ExitStack() as every:
            for key in (self._common, *self._own.values()):
                if key is not None:
                    every.callback(key.forget)

    def close(self) -> None:
        """Forget every secret, and take no key any more."""
        with self._lock:
            self._closed = True
        self.forget_all()

    def check_open(self) -> None:
        """InputError once it is closed."""
        if self._closed:
            raise InputError("this verifier is closed: make another one")

    def check_kind(self, kind: KeyKind) -> None:
        """InputError where this verifier's key is of another kind: a template would be sealed less well, unnoticed."""
        if self._common is not None and self._common.kind is not kind:
            label = self._common.kind.label
            raise InputError(f"this verifier was made with a {label}, not with a {kind.label}: give key= in its place")

    def _needed(self, user: str) -> KeyProvider:
        key = self.of(user)
        if key is not None:
            return key
        if self._common is None:
            raise InputError("a passphrase, key file or other key is needed for this: none was given")
        raise self._of_another(user)

    def _of_another(self, user: str) -> InputError:
        own = "key=TpmKey(...)" if self._common is not None and self._common.kind is KeyKind.TPM else "passphrase=..."
        return InputError(
            f"the passphrase given seals the template of {self._whose!r}, and who knows it could unlock {user!r} too",
            hint=f"give {user!r} one of their own: enroll(..., {own}), unlock(..., {own})",
        )

    def _remember(self, user: str, key: KeyProvider) -> None:
        if key is not self._common:
            self._own[user] = key
        elif key.kind in KNOWN_BY_HEART:
            self._whose = user


def given_key(
    passphrase: str | bytes | None, key_file: Path | str | None, key: KeyProvider | None, *, may_lack: bool
) -> KeyProvider | None:
    """The provider of what a caller gave. InputError unless it is exactly one, or none where that may lack."""
    try:
        given = sum(value is not None for value in (passphrase, key_file, key))
        if given > 1 or (given == 0 and not may_lack):
            raise InputError("give exactly one of passphrase, key_file and key (none is needed with keyring=True)")
        if passphrase is not None:
            return PassphraseKey(passphrase)
    finally:
        del passphrase  # not in the local variables of a traceback
    if key is not None and not isinstance(getattr(key, "kind", None), KeyKind):
        came = type(key).__name__
        raise InputError(f"key must be a provider of facesdk.vault, such as PassphraseKey(...), not {came}")
    if key_file is None:
        return key
    try:
        return KeyFileKey(os.fsdecode(key_file))
    except TypeError:
        raise InputError(f"key_file must be the path of a key file, not {type(key_file).__name__}") from None
