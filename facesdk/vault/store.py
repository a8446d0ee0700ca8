"""Vault: one sealed file per user in one folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from facesdk.errors import AlreadyEnrolledError, FaceSdkError, InputError, KeyUnavailableError, NotEnrolledError
from facesdk.vault import files
from facesdk.vault.format import DESTROY_REGION, MAGIC, MAX_FILE_SIZE, key_kind, seal, unseal
from facesdk.vault.keys import KeySource
from facesdk.vault.record import Record, check_user

_SUFFIX = ".face"


class Vault:
    """The sealed records of a folder. Making one does no I/O; the folder is created, mode 0700, by the first `put`.

    `key` may be None for what needs none: users, exists, remove. Every method raises StoreError for a folder that
    another user owns or can write to, and for what the system refuses (`errno` says which); InputError for a name that
    is not 1 to 64 of A-Z a-z 0-9 . _ - or begins with a dot. Threads and processes may use one folder at once.
    Root on the running machine, and whoever has the key and the files, can read everything.
    """

    def __init__(self, path: Path | str, key: KeySource | None = None) -> None:
        self._path = Path(path)
        self._key = key

    def put(self, record: Record, *, replace: bool = False) -> None:
        """Seals the record under fresh keys and makes it durable: after any failure, the old file still opens.

        The one exception is a failing fsync of the folder at the very end, which is reported with the new record in
        place. AlreadyEnrolledError when the user has a file, even a damaged one, and `replace` is not given. The file
        replaced is not overwritten: to destroy it, `remove` first.
        """
        name = _file_name(record.user)
        key = self._need_key()
        if not replace and self.exists(record.user):
            raise already_enrolled(record.user)
        # Before the lock: deriving a key takes long enough that others should not wait for it.
        sealed = seal(record, key)
        with (
            files.reporting(self._path, "write the vault"),
            files.open_folder(self._path, create=True) as folder,
            files.locked(folder),
        ):
            if not replace and _is_there(folder, name):
                raise already_enrolled(record.user)
            files.sweep(folder)
            files.replace_file(folder, name, sealed)

    def get(self, user: str) -> Record:
        """The record of the user, if every byte of the file is what was sealed for this user under this key.

        NotEnrolledError, StoreIntegrityError, StoreVersionError or KeyUnavailableError otherwise. Whether it is the
        newest file ever written for the user is not checked.
        """
        name = _file_name(user)
        key = self._need_key()
        with self._folder_of(user, "read the vault") as folder, files.locked(folder, shared=True):
            sealed = files.read_guarded(folder, name, limit=MAX_FILE_SIZE)
        return unseal(sealed, key, user=user)

    def remove(self, user: str) -> None:
        """Overwrites the wrapped key, then removes the file; needs no key and works on a damaged one. NotEnrolledError.

        When only the overwriting fails, the file is removed all the same and a StoreError says so. Flash and
        copy-on-write storage may keep the old blocks.
        """
        name = _file_name(user)
        with self._folder_of(user, "remove from the vault") as folder, files.locked(folder):
            files.destroy(folder, name, magic=MAGIC, region=DESTROY_REGION)

    def users(self) -> list[str]:
        """The names with a file in the vault, sorted; whether a file is intact is only known by `get`."""
        with files.reporting(self._path, "list the vault"):
            try:
                with files.open_folder(self._path) as folder:
                    names = os.listdir(folder)
            except FileNotFoundError:
                return []
        return sorted(name.removesuffix(_SUFFIX) for name in names if _is_user_file(name))

    def status(self) -> dict[str, str]:
        """Each name of `users` with the kind of key its file is sealed by, or with what is wrong with the file."""
        found = {}
        for user in self.users():
            try:
                with self._folder_of(user, "read the vault") as folder:
                    data = files.read_guarded(folder, _file_name(user), limit=MAX_FILE_SIZE)
                found[user] = f"sealed by {key_kind(data).label}"
            except FaceSdkError as error:
                found[user] = f"unusable: {error}"
        return found

    def exists(self, user: str) -> bool:
        """Whether the user has a file in the vault, intact or not."""
        name = _file_name(user)
        try:
            with self._folder_of(user, "look into the vault") as folder:
                return _is_there(folder, name)
        except NotEnrolledError:
            return False

    def __repr__(self) -> str:
        return f"Vault({str(self._path)!r}, key={self._key!r})"

    def _need_key(self) -> KeySource:
        if self._key is None:
            raise KeyUnavailableError("this vault was opened without a key: give a PassphraseKey or a KeyFileKey")
        return self._key

    @contextlib.contextmanager
    def _folder_of(self, user: str, doing: str) -> Iterator[int]:
        """A descriptor of the folder; a folder or a file that is missing becomes NotEnrolledError."""
        with files.reporting(self._path, doing):
            try:
                with files.open_folder(self._path) as folder:
                    yield folder
            except FileNotFoundError:
                raise NotEnrolledError(f"{user!r} is not enrolled in {self._path}: enroll first") from None


def _file_name(user: str) -> str:
    return check_user(user) + _SUFFIX


def _is_user_file(name: str) -> bool:
    try:
        return name.endswith(_SUFFIX) and bool(check_user(name.removesuffix(_SUFFIX)))
    except InputError:
        return False


def _is_there(folder: int, name: str) -> bool:
    """Whether anything has this name, a dangling symlink included."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def already_enrolled(user: str) -> AlreadyEnrolledError:
    return AlreadyEnrolledError(f"{user!r} is enrolled already: give replace=True to enroll again")
