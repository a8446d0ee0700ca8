"""The keys that a program gives to its verifier: which is whose, and none that two people share by accident."""

from __future__ import annotations

import os
from pathlib import Path

from facesdk.errors import InputError
from facesdk.vault.keys.key_file import KeyFileKey
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind, KeyProvider

KNOWN_BY_HEART = (KeyKind.PASSPHRASE, KeyKind.TPM)


class GivenKeys:
    """The key that a verifier was made with, and those that were given for one user.

    A passphrase that the verifier was made with belongs to the first user whom it enrolls or unlocks: who knows it
    could open another user's template too. Key files and the desktop's keyring are the machine's and may serve several.
    """

    def __init__(self, common: KeyProvider | None) -> None:
        self._common, self._whose = common, ""
        self._own: dict[str, KeyProvider] = {}

    def of(self, user: str) -> KeyProvider | None:
        """This user's key, where there is one."""
        if user in self._own:
            return self._own[user]
        return self._common if self._whose in ("", user) else None

    def needed(self, user: str) -> KeyProvider:
        """This user's key. InputError where none was given, or only one that is another user's."""
        key = self.of(user)
        if key is not None:
            return key
        if self._common is None:
            raise InputError("a passphrase, key file or other key is needed for this: none was given")
        raise InputError(
            f"the passphrase given seals the template of {self._whose!r}, and who knows it could unlock {user!r} too",
            hint=f"give {user!r} a passphrase of their own: enroll(..., passphrase=...), unlock(..., passphrase=...)",
        )

    def keep(self, user: str, key: KeyProvider) -> None:
        """Remember that this key opens this user's template."""
        if key is not self._common:
            self._own[user] = key
        elif key.kind in KNOWN_BY_HEART:
            self._whose = user

    def forget(self, user: str) -> None:
        """Forget this user's secret; other users' stay."""
        key = self.of(user)
        if key is not None:
            key.forget()

    def forget_all(self) -> None:
        """Forget every secret."""
        for key in (self._common, *self._own.values()):
            if key is not None:
                key.forget()


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
