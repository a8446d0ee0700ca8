"""A file that takes another one's place: only who can open a template may replace it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from facesdk.errors import AlreadyEnrolledError, KeyUnavailableError
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.userfiles import UserFiles


@contextlib.contextmanager
def replacing(file: UserFiles, provider: KeyProvider, *, replace: bool) -> Iterator[bool]:
    """Whether the user has a file, which is replaced inside; what its section holds elsewhere is freed afterwards.

    Its counter does not go on. Raises AlreadyEnrolledError where it may not be replaced, and the errors of Vault.unlock
    where the provider does not open it: who cannot open a template may remove it, which is seen, and no more.
    """
    there = file.exists()
    if there:
        if not replace:
            raise already_enrolled(file.user)
        with file.opened(provider):
            old = file.section(provider.kind)
    yield there
    if there and old is not None:
        with contextlib.suppress(KeyUnavailableError):  # cleared, or another machine's: there is nothing to free
            provider.destroy(old)


def already_enrolled(user: str) -> AlreadyEnrolledError:
    return AlreadyEnrolledError(f"{user!r} is enrolled already", hint="give replace=True to enroll again")
