"""A file that takes another one's place: only who can open a template may replace it."""

from __future__ import annotations

from facesdk.errors import AlreadyEnrolledError
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.userfiles import UserFiles


def replaced(file: UserFiles, provider: KeyProvider, *, replace: bool) -> tuple[bytes | None, int]:
    """Section and generation of the user's file, which go on in the one that takes its place; None and 0 without one.

    Raises AlreadyEnrolledError where it may not be replaced, and the errors of Vault.unlock where the provider does not
    open it: who cannot open a template may remove it, which is seen, and no more.
    """
    if not file.exists():
        return None, 0
    if not replace:
        raise already_enrolled(file.user)
    with file.opened(provider) as (header, _, template):
        return header.section, template.generation


def already_enrolled(user: str) -> AlreadyEnrolledError:
    """The error for a user who has a file, even a damaged one."""
    return AlreadyEnrolledError(f"{user!r} is enrolled already", hint="give replace=True to enroll again")
