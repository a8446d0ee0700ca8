"""The sealed head of a user's audit log on the disk, and the note of an attempt that is not decided yet."""

from __future__ import annotations

from dataclasses import replace

from facesdk._core import Secret
from facesdk.errors import (
    VaultIntegrityError,
)  # fmt: skip
from facesdk.vault import crypto
from facesdk.vault.audit.entry import (
    HINT,
    Entry,
    Head,
    attempt_note,
    open_head,
    seal_head,
    undecided,
)  # fmt: skip
from facesdk.vault.keys.provider import KEY_SIZE
from facesdk.vault.store import LockedFolder

_HEAD_INFO = b"facesdk 2 audit head"


class Heads:
    """The sealed head of one user's log under one KEK, while its key is derived."""

    def __init__(self, folder: LockedFolder, user: str, key: Secret, key_id: bytes) -> None:
        self._folder, self._user, self._key, self._key_id = folder, user, key, key_id
        self._sealed = b""

    def newest(self, at_least: Head | None = None) -> Head:
        """The sealed head on the disk, an attempt that was never decided among its open entries.

        VaultIntegrityError where it is missing, damaged or older than one seen before.
        """
        self._sealed = self._folder.read_head(self._user, self._key_id)
        head = open_head(self._key, self._sealed, user=self._user)
        if at_least is not None and head.count < at_least.count:
            raise VaultIntegrityError(f"an older head of the audit log of {self._user!r} was put back; {HINT}")
        attempt = undecided(self._folder.read_attempt(self._user, self._key_id), self._sealed)
        return head if attempt is None else replace(head, open=(*head.open, attempt))

    def note(self, attempt: Entry) -> None:
        """Notes an attempt before it is decided: writing the head decides it."""
        self._folder.note_attempt(self._user, self._key_id, attempt_note(self._sealed, attempt))

    def write(self, head: Head, *, durable_name: bool = True) -> None:
        """Seals the head. durable_name: not needed where an older head fits what the log holds too."""
        self._sealed = seal_head(self._key, head, user=self._user)
        self._folder.write_head(self._user, self._key_id, self._sealed, durable_name=durable_name)


def head_key(kek: Secret) -> Secret:
    return crypto.hkdf_sha256(kek, b"", info=_HEAD_INFO, size=KEY_SIZE)
