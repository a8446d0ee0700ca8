"""Lock, panic and remove: keys are forgotten before anything that could wait or fail, and then that is logged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from facesdk.errors import (
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    NotEnrolledError,
    NotLoggedError,
    Reason,
    VaultIntegrityError,
)
from facesdk.vault import identity
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.causes import reporting
from facesdk.vault.folder import open_folder
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.open_keys import OpenKeys
from facesdk.vault.opening import loaded
from facesdk.vault.record import check_user
from facesdk.vault.store import VaultFolder, not_enrolled
from facesdk.vault.userfiles import UserFiles


class Locked(Protocol):
    """A user's files under the vault's lock; doing says in an error what was being done."""

    def __call__(
        self, doing: str, user: str, *, shared: bool = False
    ) -> contextlib.AbstractContextManager[UserFiles]: ...


class Closing:
    """Closes the keys of a vault's users, with its open keys."""

    def __init__(self, vault: VaultFolder, open_keys: OpenKeys, locked: Locked) -> None:
        self._vault, self._open_keys, self._locked = vault, open_keys, locked

    def lock(self, user: str) -> bool:
        """As Vault.lock."""
        return self._close(user, Reason.LOCKED, AuditEvent.LOCKED)

    def panic(self) -> int:
        """As Vault.panic."""
        closed: list[int] = []
        with contextlib.ExitStack() as rest:  # run backwards, each whatever became of those before
            rest.callback(self._panic_users, closed)
            rest.callback(self._mark_panic, closed)
            rest.callback(lambda: closed.append(self._open_keys.forget_all(Reason.PANIC)))
        return sum(closed)

    def remove(self, user: str, provider: KeyProvider | None) -> None:
        """As Vault.remove."""
        self._open_keys.forget(user, Reason.REMOVED)
        with self._locked("remove from the vault", user) as file, contextlib.ExitStack() as rest:
            section = None if provider is None else file.section(provider.kind)
            try:
                file.folder.destroy(user)
            finally:
                if not file.exists():
                    if provider is not None and section is not None:
                        rest.callback(_free, provider, section, user)
                    rest.callback(file.folder.drop_log, user)
                    rest.callback(file.folder.drop_heads, user)
                    rest.callback(self._open_keys.forget, user, Reason.REMOVED)

    def _mark_panic(self, closed: list[int]) -> None:
        path = self._vault.path
        missing = contextlib.suppress(FileNotFoundError)
        with _not_logged(closed), reporting(path, "mark the panic"), missing, open_folder(path) as folder:
            identity.renew_panic_mark(folder)

    def _panic_users(self, closed: list[int]) -> None:
        def close(user: str) -> None:
            closed.append(self._close(user, Reason.PANIC, AuditEvent.PANIC, before=closed))

        with contextlib.ExitStack() as rest:
            barrier = self._locked("lock the vault", "panic", shared=True)
            with contextlib.suppress(NotEnrolledError), _not_logged(closed), barrier:
                for user in self._vault.users():  # under the lock: who was being enrolled has a file now
                    rest.callback(close, user)

    def _close(self, user: str, reason: Reason, event: AuditEvent, *, before: Sequence[int] = ()) -> bool:
        """Forgets the key; then, under the lock, logs it, sealed where the key was there to seal it. before: how many
        keys were forgotten by the same panic already."""
        check_user(user)
        with contextlib.ExitStack() as keys:
            held = keys.enter_context(loaded(self._open_keys, user))
            closed = [self._open_keys.forget(user, reason)]
            with _not_logged([*closed, *before]), self._locked("lock the vault", user) as file:
                # An unlock or an attempt under way may have opened it in between.
                held = keys.enter_context(loaded(self._open_keys, user)) or held
                closed.append(self._open_keys.forget(user, reason))
                if not file.exists():
                    raise not_enrolled(user, self._vault.path)
                if held is not None:
                    with contextlib.suppress(VaultIntegrityError):  # outdated by another process: logged without it
                        file.record(event, held.kek, file.newest_head(held.kek, held.head))
                        return any(closed)
                file.note(event)
        return any(closed)


@contextlib.contextmanager
def _not_logged(closed: Sequence[int]) -> Iterator[None]:
    """Raise what stops a lock's entry in the log as that: by then sum(closed) keys are gone."""
    try:
        yield
    except (NotEnrolledError, InputError):
        raise
    except FaceSdkError as error:
        done = "locked, the key is forgotten" if any(closed) else "no key was open here"
        failure = NotLoggedError(
            f"{done}; but that could not be written to the vault: {error.message}", hint=error.hint
        )
        failure.errno = getattr(error, "errno", None)
        raise failure from error


def _free(provider: KeyProvider, section: bytes, user: str) -> None:
    """Frees what the section of a removed file holds elsewhere; KeyUnavailableError says that the file is gone."""
    try:
        provider.destroy(section)
    except KeyUnavailableError as error:
        raise KeyUnavailableError(f"{user!r} is removed, but {error.message}", hint=error.hint) from error
