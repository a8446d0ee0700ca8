"""Where an opened key lives between commands: with its attempt state, in one piece, in this process or in the kernel.

Whoever could set the failures back to none would have to have the key, and whoever drops the key drops the counter.
"""

from __future__ import annotations

import itertools
import struct
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import InputError, Reason, VaultIntegrityError
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.audit.entry import Head
from facesdk.vault.keys.provider import KEY_SIZE
from facesdk.vault.rules import AttemptRules

_VERSION = 1
# version; opened, active, failures, not before; generation of the file; head of the audit log; attempt rules (idle: 0
# is none); then the KEK
LAYOUT = struct.Struct("<Q QQQQ Q QQ32s QQQQQ 32s".replace(" ", ""))


@dataclass(frozen=True, repr=False)
class OpenKey:
    """An opened key and all that lives and dies with it; a context, at whose end its copy of the key is wiped.

    kek: 32 bytes. generation: of the file that it opened. ticket: which opening this was loaded from, 0 for a new one.
    Saving it needs that opening to be there still: a key that was forgotten meanwhile does not come back.
    """

    kek: Secret
    state: Ready
    generation: int
    head: Head
    rules: AttemptRules
    ticket: int = 0

    def close(self) -> None:
        """Wipes this copy of the key; the opening stays."""
        self.kek.close()

    def __enter__(self) -> OpenKey:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"OpenKey(state={self.state!r}, generation={self.generation})"


def packed(held: OpenKey) -> Secret:
    state, head, rules = held.state, held.head, held.rules
    memory = Secret(LAYOUT.size)
    view = memoryview(memory)
    LAYOUT.pack_into(
        view, 0, _VERSION, state.opened_ns, state.active_ns, state.failures, state.not_before_ns, held.generation,
        head.first, head.count, head.digest, rules.passphrase_every_s, rules.idle_s or 0, rules.free_attempts,
        rules.first_delay_s, rules.passphrase_after, bytes(KEY_SIZE),
    )  # fmt: skip
    view[LAYOUT.size - KEY_SIZE :] = memoryview(held.kek)
    return memory


def unpacked(memory: Secret, ticket: int) -> OpenKey:
    """VaultIntegrityError when these bytes are not what `packed` writes."""
    view = memoryview(memory)
    if len(view) != LAYOUT.size:
        raise foreign(f"{len(view)} bytes")
    try:
        (version, opened, active, failures, not_before, generation, first, count, digest, every, idle, free, delay,
         after) = struct.unpack_from(LAYOUT.format.removesuffix("32s"), view)  # fmt: skip
        if version != _VERSION:
            raise InputError(f"version {version}")
        rules = AttemptRules(
            passphrase_every_s=every, idle_s=idle or None, free_attempts=free, first_delay_s=delay,
            passphrase_after=after,
        )  # fmt: skip
        state = Ready(opened_ns=opened, active_ns=active, failures=failures, not_before_ns=not_before)
        head = Head(first, count, digest)
    except (InputError, struct.error) as error:
        raise foreign(str(error)) from error
    return OpenKey(Secret.of(view[LAYOUT.size - KEY_SIZE :]), state, generation, head, rules, ticket)


class OpenKeys(Protocol):
    """Opened keys by user. begin, load and save are called under the vault's lock, the others wait for nobody.

    where: the words for a person.
    """

    @property
    def where(self) -> str: ...

    def begin(self, user: str) -> int:
        """The mark of an opening that begins now: what forgets from here on keeps it from being saved."""

    def load(self, user: str) -> OpenKey | PassphraseRequired:
        """The opened key, or why there is none."""

    def save(self, user: str, held: OpenKey, *, mark: int = 0) -> bool:
        """Puts key and state in place of what was there, in one step. KeyUnavailableError when it cannot.

        False, and nothing saved, where the opening that `held` was loaded from has been forgotten since; or, for a new
        one, where anything was forgotten since `mark`.
        """

    def spend(self, user: str, reason: Reason) -> int:
        """Like forget, and in the same step the mark of an opening that may take its place; 0 where no key was open."""

    def forget(self, user: str, reason: Reason) -> bool:
        """Whether a key was open and is wiped now; `load` gives the reason from now on. KeyUnavailableError."""

    def forget_all(self, reason: Reason) -> int:
        """Like forget, for every user of the vault, whatever has become of the files. How many keys were open."""

    def close(self) -> None:
        """Wipe what is open in this process alone."""


class ProcessOpenKeys:
    """Opened keys in locked memory of this process: they end with it. Safe to use from several threads.

    In a child after fork there are none: load says so, until the child opens its own.
    """

    where = "in locked memory of this process"

    def __init__(self) -> None:
        self._marks = itertools.count(1)
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._process = _core.process_token()
        self._lock = threading.RLock()
        self._held: dict[str, tuple[int, Secret]] = {}
        self._reasons: dict[str, Reason] = {}
        self._forgotten: dict[str, int] = {}
        self._all_forgotten = 0

    def _here(self) -> Any:
        """The lock; in a child a new one, as nobody there would ever give back the parent's."""
        if self._process != _core.process_token():
            left = dict.fromkeys(self._held, Reason.FORKED)
            self._start()
            self._reasons = left
        return self._lock

    def begin(self, user: str) -> int:
        """As in OpenKeys."""
        with self._here():
            return next(self._marks)

    def load(self, user: str) -> OpenKey | PassphraseRequired:
        """As in OpenKeys."""
        with self._here():
            if user not in self._held:
                return PassphraseRequired(self._reasons.get(user, Reason.NOT_UNLOCKED))
            ticket, memory = self._held[user]
            return unpacked(memory, ticket)

    def save(self, user: str, held: OpenKey, *, mark: int = 0) -> bool:
        """As in OpenKeys."""
        with self._here():
            if self._closed:
                return False
            before = self._held.get(user)
            if held.ticket and (before is None or before[0] != held.ticket):
                return False
            if not held.ticket and max(self._forgotten.get(user, 0), self._all_forgotten) >= mark:
                return False
            self._held[user] = (held.ticket or next(self._marks), packed(held))
            if before is not None:
                before[1].close()
            return True

    def forget(self, user: str, reason: Reason) -> bool:
        """As in OpenKeys."""
        with self._here():
            self._reasons[user] = reason
            self._forgotten[user] = next(self._marks)
            _, memory = self._held.pop(user, (0, None))
            if memory is not None:
                memory.close()
            return memory is not None

    def spend(self, user: str, reason: Reason) -> int:
        """As in OpenKeys."""
        with self._here():
            return next(self._marks) if self.forget(user, reason) else 0

    def forget_all(self, reason: Reason) -> int:
        """As in OpenKeys."""
        with self._here():
            self._all_forgotten = next(self._marks)
            return sum(self.forget(user, reason) for user in list(self._held))

    def close(self) -> None:
        """As in OpenKeys; none is taken any more."""
        with self._here():
            self._closed = True
            self.forget_all(Reason.NOT_UNLOCKED)


def foreign(what: str) -> VaultIntegrityError:
    return VaultIntegrityError(
        f"what the keyring holds is not an opened key of ours ({what})", hint="facesdk lock, then facesdk unlock"
    )
