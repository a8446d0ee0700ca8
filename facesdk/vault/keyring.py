"""Opened keys in the kernel's keyring: for all processes of this user, until a restart or an expiry."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesdk import _core
from facesdk._core import Secret
from facesdk.digest import sha256
from facesdk.errors import KeyUnavailableError, Reason, VaultError, VaultIntegrityError
from facesdk.vault import identity
from facesdk.vault.attempts import NS, PassphraseRequired
from facesdk.vault.causes import reporting
from facesdk.vault.clock import boot_ns
from facesdk.vault.open_keys import LAYOUT, OpenKey, foreign, packed, unpacked

REMOVED_WHY_S = 3600  # the kernel counts keys by user: nothing stays for ever of somebody who was removed


_RINGS, _WHYS = "facesdk:", "facesdk-why:"  # what the names in the keyring begin with


class KeyringOpenKeys:
    """Opened keys in the user's keyring of the kernel: for all processes of this user, until a restart or an expiry.

    Each user's key lies in a ring of its own, named by the vault's identity; the ring's number is the mark of an
    opening, and to forget revokes the ring, so that the kernel refuses whatever would still be put into it.
    The kernel's expiry follows the wall clock, so it only bounds what it forgets; the rules use CLOCK_BOOTTIME.
    Other programs of the same user can read the keyring, as can root. Where the kernel forbids its keyring altogether
    (ENOSYS, EPERM), nothing of ours can lie in it: load finds nothing, forget has nothing to do.
    """

    where = "in the kernel's keyring of this user"

    def __init__(self, vault: Path) -> None:
        self._path = vault
        self._read: tuple[object, str | None] = None, None

    def _vault(self) -> str | None:
        """The vault's identity; None where there is no vault yet, so that no key can be open. VaultError."""
        with reporting(self._path, "read the vault's identity"):
            stamp = identity.stamp(self._path)  # taken first: what is read may be newer, and is then read again
            if not stamp or self._read[0] != stamp:
                self._read = stamp, identity.read(self._path)
            return self._read[1]

    def _vault_to_lock(self) -> str | None:
        """The vault's identity, empty for one that nobody can tell from the others; None where there is no vault.

        VaultError for a path that leads to no folder: nothing is forgotten then.
        """
        try:
            found = self._vault()
        except (VaultError, VaultIntegrityError):
            if not os.path.isdir(self._path):
                raise
            return ""
        if found is None and any(self._path.glob("*.face")):  # its identity was moved away
            return ""
        return found

    def begin(self, user: str) -> int:
        """As in OpenKeys."""
        return int(self._call(_core.keyring_ring, _ring(self._known(), user)))

    def _known(self) -> str:
        vault = self._vault()
        if vault is None:
            raise VaultIntegrityError("the vault has lost its identity (.vault) meanwhile: try again")
        return vault

    def load(self, user: str) -> OpenKey | PassphraseRequired:
        """As in OpenKeys."""
        vault = self._vault()
        if vault is None:
            return PassphraseRequired(Reason.NOT_UNLOCKED)
        ring = self._call(_core.keyring_find_ring, _ring(vault, user), else_none=True)
        found = self._call(_core.keyring_get_in, ring, "key", LAYOUT.size, else_none=True) if ring else None
        if found is not None:
            serial, memory = found
            with memory:
                return unpacked(memory, serial)
        why = self._call(_core.keyring_get, _why(vault, user), 1, else_none=True)
        return PassphraseRequired(Reason.NOT_UNLOCKED if why is None else _reason_of(why[1]))

    def save(self, user: str, held: OpenKey, *, mark: int = 0) -> bool:
        """As in OpenKeys."""
        with packed(held) as memory:
            if held.ticket:
                return bool(self._call(_core.keyring_update, held.ticket, memory, _left_s(held)))
            if not self._call(_core.keyring_put_into, mark, "key", memory, held.rules.passphrase_every_s):
                return False
            self._call(_core.keyring_forget, _why(self._known(), user))
            return True

    def spend(self, user: str, reason: Reason) -> int:
        """As in OpenKeys. The ring stays: who locks or panics from now on revokes it."""
        ring = self._call(_core.keyring_find_ring, _ring(self._known(), user))
        if not ring or not self._call(_core.keyring_forget_in, ring, "key"):
            return 0
        self._say_why(_why(self._known(), user), reason)
        return int(ring)

    def forget(self, user: str, reason: Reason) -> bool:
        """As in OpenKeys."""
        vault = self._vault_to_lock()
        if vault is None:
            return False
        if not vault:  # nobody can tell which are this vault's: all of this user's go
            return self._forget_rings(_RINGS, reason) > 0
        ring = self._call(_core.keyring_find_ring, _ring(vault, user), else_none=True)
        was_open = bool(self._call(_core.keyring_forget_ring, ring)) if ring else False
        # Where nothing was ever opened, and nobody is about to, the reason stays that it was not unlocked.
        if ring or self._call(_core.keyring_get, _why(vault, user), 1, else_none=True) is not None:
            self._say_why(_why(vault, user), reason)
        return was_open

    def forget_all(self, reason: Reason) -> int:
        """As in OpenKeys."""
        vault = self._vault_to_lock()
        if vault is None:
            return 0
        return self._forget_rings(_ring(vault, None) if vault else _RINGS, reason)

    def close(self) -> None:
        """As in OpenKeys: nothing is open in this process alone."""

    def _forget_rings(self, beginning: str, reason: Reason) -> int:
        count, failure = 0, None
        for name, ring in self._call(_core.keyring_rings, beginning, else_none=True) or []:
            try:
                count += bool(self._call(_core.keyring_forget_ring, ring))
                self._say_why(name.replace(_RINGS, _WHYS, 1), reason)
            except KeyUnavailableError as error:  # the others first
                failure = error
        if failure is not None:
            raise failure
        return count

    def _say_why(self, name: str, reason: Reason) -> None:
        timeout_s = REMOVED_WHY_S if reason is Reason.REMOVED else 0  # 0: until the machine is started again
        try:
            self._call(_core.keyring_put, name, bytes([list(Reason).index(reason)]), timeout_s)
        except KeyUnavailableError:
            # The key is gone, which is what matters; a full quota leaves no room to say why, and no older word stays.
            self._call(_core.keyring_forget, name, else_none=True)

    def _call(self, call: Callable[..., Any], *arguments: object, else_none: bool = False) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            if else_none and error.errno in (errno.ENOSYS, errno.EPERM):  # forbidden altogether: nothing is held there
                return None
            hint = (
                "it is full (keyctl show @u)"
                if error.errno in (errno.EDQUOT, errno.ENOMEM)
                else "containers often forbid it"
            )
            raise KeyUnavailableError(f"the kernel's keyring cannot be used ({error.strerror})", hint=hint) from error
        except ValueError as error:
            raise foreign(str(error)) from error


def _ring(vault: str, user: str | None) -> str:
    """The ring's name, or with no user what all of the vault begin with. Digests: others can read the list of keys."""
    return f"{_RINGS}{vault}:" + (_digest(user) if user is not None else "")


def _why(vault: str, user: str) -> str:
    return f"{_WHYS}{vault}:{_digest(user)}"


def _left_s(held: OpenKey) -> int:
    """Seconds that the kernel may keep the key: what is left of the rule, within 1 and the whole of it."""
    every_s = held.rules.passphrase_every_s
    end_ns = held.state.opened_ns + every_s * NS
    return max(1, min(every_s, -(-(end_ns - boot_ns()) // NS)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hex()[:32]


def _reason_of(why: Secret) -> Reason:
    number = memoryview(why)[0]
    reasons = list(Reason)
    return reasons[number] if number < len(reasons) else Reason.NOT_UNLOCKED
