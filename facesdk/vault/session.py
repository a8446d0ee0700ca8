"""Where an opened key lives between commands: with its attempt state, in one piece, in this process or in the kernel.

Whoever could set the failures back to none would have to have the key, and whoever drops the key drops the counter.
"""

from __future__ import annotations

import errno
import itertools
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from facesdk import _core
from facesdk._core import Secret
from facesdk.digest import sha256
from facesdk.errors import InputError, KeyUnavailableError, Reason, StoreIntegrityError
from facesdk.policy import AttemptRules
from facesdk.vault.attempts import NS, Ready, Required
from facesdk.vault.audit_entry import Head
from facesdk.vault.keys import KEY_SIZE

WHY_S = 7 * 24 * 3600  # how long the kernel remembers why a key was forgotten

_VERSION = 1
# version; opened, active, failures, not before; generation of the file; head of the audit log; attempt rules (idle: 0
# is none); then the KEK
_LAYOUT = struct.Struct("<Q QQQQ Q QQ32s QQQQQ 32s".replace(" ", ""))


@dataclass(frozen=True, repr=False)
class Held:
    """An opened key and all that lives and dies with it. kek: 32 bytes. generation: of the file that it opened.

    ticket: which opening this was loaded from, 0 for a new one. Saving it needs that opening to be there still: a key
    that was forgotten meanwhile does not come back.
    """

    kek: Secret
    state: Ready
    generation: int
    head: Head
    rules: AttemptRules
    ticket: int = 0

    def __repr__(self) -> str:
        return f"Held(state={self.state!r}, generation={self.generation})"


def _packed(held: Held) -> Secret:
    state, head, rules = held.state, held.head, held.rules
    memory = Secret(_LAYOUT.size)
    view = memoryview(memory)
    _LAYOUT.pack_into(
        view, 0, _VERSION, state.opened_ns, state.active_ns, state.failures, state.not_before_ns, held.generation,
        head.first, head.count, head.digest, rules.passphrase_every_s, rules.idle_s or 0, rules.free_attempts,
        rules.first_delay_s, rules.passphrase_after, bytes(KEY_SIZE),
    )  # fmt: skip
    view[_LAYOUT.size - KEY_SIZE :] = memoryview(held.kek)
    return memory


def _unpacked(memory: Secret, ticket: int) -> Held:
    """StoreIntegrityError when these bytes are not what `_packed` writes."""
    view = memoryview(memory)
    if len(view) != _LAYOUT.size:
        raise StoreIntegrityError("what the keyring holds is not an opened key of ours")
    try:
        (version, opened, active, failures, not_before, generation, first, count, digest, every, idle, free, delay,
         after) = struct.unpack_from(_LAYOUT.format.removesuffix("32s"), view)  # fmt: skip
        if version != _VERSION:
            raise InputError(f"version {version}")
        rules = AttemptRules(
            passphrase_every_s=every, idle_s=idle or None, free_attempts=free, first_delay_s=delay,
            passphrase_after=after,
        )  # fmt: skip
        state = Ready(opened_ns=opened, active_ns=active, failures=failures, not_before_ns=not_before)
        head = Head(first, count, digest)
    except (InputError, struct.error) as error:
        raise StoreIntegrityError(f"what the keyring holds is not an opened key of ours ({error})") from error
    return Held(Secret.of(view[_LAYOUT.size - KEY_SIZE :]), state, generation, head, rules, ticket)


class Sessions(Protocol):
    """Opened keys by user. load and save are called under the vault's lock, the others wait for nobody.

    where: the words for a person.
    """

    @property
    def where(self) -> str: ...

    def load(self, user: str) -> Held | Required:
        """The opened key, or why there is none."""

    def save(self, user: str, held: Held, *, after: Reason | None = None) -> bool:
        """Puts key and state in place of what was there, in one step. KeyUnavailableError when it cannot.

        False, and nothing saved, where the opening that `held` was loaded from has been forgotten since; and, with
        `after`, where the key is not forgotten for that very reason (the last attempt's, which a match gives back).
        """

    def forget(self, user: str, reason: Reason) -> None:
        """Wipes the key; `load` gives the reason from now on. KeyUnavailableError when it cannot."""

    def forget_all(self, reason: Reason) -> None:
        """Like forget, for every user of the vault whose key is open, whatever has become of the files."""


class ProcessSessions:
    """Opened keys in locked memory of this process: they end with it. Safe to use from several threads."""

    where = "in locked memory of this process"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[str, tuple[int, Secret]] = {}
        self._reasons: dict[str, Reason] = {}
        self._tickets = itertools.count(1)

    def load(self, user: str) -> Held | Required:
        """As in Sessions."""
        with self._lock:
            if user not in self._held:
                return Required(self._reasons.get(user, Reason.NOT_UNLOCKED))
            ticket, memory = self._held[user]
            return _unpacked(memory, ticket)

    def save(self, user: str, held: Held, *, after: Reason | None = None) -> bool:
        """As in Sessions."""
        with self._lock:
            before = self._held.get(user)
            if after is not None and (before is not None or self._reasons.get(user) is not after):
                return False
            if held.ticket and (before is None or before[0] != held.ticket):
                return False
            self._held[user] = (held.ticket or next(self._tickets), _packed(held))
            if before is not None:
                before[1].close()
            return True

    def forget(self, user: str, reason: Reason) -> None:
        """As in Sessions."""
        with self._lock:
            self._reasons[user] = reason
            _, memory = self._held.pop(user, (0, None))
            if memory is not None:
                memory.close()

    def forget_all(self, reason: Reason) -> None:
        """As in Sessions."""
        with self._lock:
            for user in list(self._held):
                self.forget(user, reason)


class KeyringSessions:
    """Opened keys in the user's keyring of the kernel: for all processes of this user, until a restart or an expiry.

    The kernel's expiry follows the wall clock, so it only bounds what it forgets; the rules use CLOCK_BOOTTIME.
    Other programs of the same user can read the keyring, as can root. Where the kernel forbids its keyring altogether
    (ENOSYS, EPERM), nothing of ours can lie in it: load finds nothing, forget has nothing to do.
    """

    where = "in the kernel's keyring of this user"

    def __init__(self, vault: Path) -> None:
        self._vault = _digest(str(vault.resolve()))

    def _name(self, user: str, what: str) -> str:
        # Digests: the list of keys is readable by others and should not name who is enrolled where.
        return f"facesdk-{what}:{self._vault}:{_digest(user)}"

    def load(self, user: str) -> Held | Required:
        """As in Sessions."""
        found = self._call(_core.keyring_get, self._name(user, "key"), _LAYOUT.size, else_none=True)
        if found is not None:
            serial, memory = found
            with memory:
                return _unpacked(memory, serial)
        return Required(self._reason(user) or Reason.NOT_UNLOCKED)

    def _reason(self, user: str) -> Reason | None:
        why = self._call(_core.keyring_get, self._name(user, "why"), 1, else_none=True)
        return None if why is None else _reason_of(why[1])

    def save(self, user: str, held: Held, *, after: Reason | None = None) -> bool:
        """As in Sessions."""
        with _packed(held) as memory:
            if held.ticket:
                return bool(self._call(_core.keyring_update, held.ticket, memory, _left_s(held)))
            if after is not None and self._reason(user) is not after:
                return False
            # A key of its own, with a number of its own: what was loaded before cannot be saved over it.
            self._call(_core.keyring_forget, self._name(user, "key"))
            self._call(_core.keyring_put, self._name(user, "key"), memory, held.rules.passphrase_every_s)
            if after is not None and self._reason(user) is not after:  # forgotten in between, for another reason
                self._call(_core.keyring_forget, self._name(user, "key"))
                return False
            self._call(_core.keyring_forget, self._name(user, "why"))
            return True

    def forget(self, user: str, reason: Reason) -> None:
        """As in Sessions."""
        self._call(_core.keyring_forget, self._name(user, "key"), else_none=True)
        self._say_why(self._name(user, "why"), reason)

    def forget_all(self, reason: Reason) -> None:
        """As in Sessions."""
        keys = f"facesdk-key:{self._vault}:"
        for name in self._call(_core.keyring_forget_all, keys, else_none=True) or []:
            self._say_why(name.replace("facesdk-key:", "facesdk-why:", 1), reason)

    def _say_why(self, name: str, reason: Reason) -> None:
        # The kernel counts keys by user: nothing stays for ever of somebody who was removed.
        timeout_s = 3600 if reason is Reason.REMOVED else WHY_S
        self._call(_core.keyring_put, name, bytes([list(Reason).index(reason)]), timeout_s, else_none=True)

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
            raise KeyUnavailableError(f"the kernel's keyring cannot be used ({error.strerror}): {hint}") from error
        except ValueError as error:
            raise StoreIntegrityError(f"what the keyring holds is not an opened key of ours ({error})") from error


def _left_s(held: Held) -> int:
    """Seconds that the kernel may keep the key: what is left of the rule, within 1 and the whole of it."""
    every_s = held.rules.passphrase_every_s
    end_ns = held.state.opened_ns + every_s * NS
    return max(1, min(every_s, -(-(end_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // NS)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hex()[:32]


def _reason_of(why: Secret) -> Reason:
    number = memoryview(why)[0]
    reasons = list(Reason)
    return reasons[number] if number < len(reasons) else Reason.NOT_UNLOCKED
