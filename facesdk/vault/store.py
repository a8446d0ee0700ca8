"""Vault: the files of a folder, one sealed template and one sealed head of its audit log per user."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from facesdk.errors import FaceSdkError, InputError, NotEnrolledError
from facesdk.vault import files
from facesdk.vault.audit.entry import MAX_ATTEMPT_SIZE, MAX_HEAD_SIZE
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.causes import reporting
from facesdk.vault.folder import open_folder, sync_folder
from facesdk.vault.format import DESTROY_REGION, MAGIC, MAX_FILE_SIZE, parse_header
from facesdk.vault.keys.provider import KeyKind
from facesdk.vault.learned import MAX_LEARNED_SIZE
from facesdk.vault.record import check_user

_SUFFIX = ".face"
_HEAD, _ATTEMPT, _LEARNED = ".head-", ".attempt-", ".learned-"


class LockedFolder:
    """A vault's folder, open and locked. Names are checked; what is read is a regular file of ours with mode 0600."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self._path = path

    def exists(self, user: str) -> bool:
        """Whether the user has a file, intact or not."""
        return _is_there(self.descriptor, _file_name(user))

    def read(self, user: str) -> bytes:
        """The bytes of the user's file. NotEnrolledError, VaultIntegrityError, VaultError as in files.read_guarded."""
        try:
            return files.read_guarded(self.descriptor, _file_name(user), limit=MAX_FILE_SIZE)
        except FileNotFoundError:
            raise not_enrolled(user, self._path) from None

    def sweep(self) -> None:
        """Removes what killed writers left. Call under the lock."""
        files.sweep(self.descriptor)

    def write(self, user: str, sealed: bytes) -> None:
        """Puts the file in place in one durable step; after a failure the old one is there. Call under the lock."""
        self.sweep()
        files.replace_file(self.descriptor, _file_name(user), sealed)

    def read_head(self, user: str, key_id: bytes) -> bytes:
        """The sealed head of the user's log under this KEK; empty where there is none."""
        try:
            return files.read_guarded(self.descriptor, _head_name(user, key_id), limit=MAX_HEAD_SIZE)
        except FileNotFoundError:
            return b""

    def write_head(self, user: str, key_id: bytes, sealed: bytes, *, durable_name: bool = True) -> None:
        """Like write, of the head under this KEK; the heads of other KEKs stay."""
        files.replace_file(self.descriptor, _head_name(user, key_id), sealed, durable_name=durable_name)

    def read_attempt(self, user: str, key_id: bytes) -> bytes:
        """What note_attempt wrote last; empty where there is nothing that can be it."""
        try:
            return files.read_guarded(self.descriptor, _attempt_name(user, key_id), limit=MAX_ATTEMPT_SIZE)
        except (FileNotFoundError, FaceSdkError):
            return b""

    def note_attempt(self, user: str, key_id: bytes, content: bytes) -> None:
        """Notes an attempt that is about to be decided, for who comes after a kill."""
        files.note(self.descriptor, _attempt_name(user, key_id), content)

    def read_learned(self, user: str, key_id: bytes) -> bytes:
        """The sealed samples that were learned under this KEK; empty where there are none."""
        try:
            return files.read_guarded(self.descriptor, _learned_name(user, key_id), limit=MAX_LEARNED_SIZE)
        except FileNotFoundError:
            return b""

    def write_learned(self, user: str, key_id: bytes, sealed: bytes) -> None:
        """Like write, of what was learned under this KEK."""
        files.replace_file(self.descriptor, _learned_name(user, key_id), sealed)

    def drop_learned(self, user: str) -> None:
        """Removes what was learned under any KEK."""
        self._drop(re.escape(check_user(user) + _LEARNED) + "[0-9a-f]{16}")

    def drop_heads(self, user: str, *, but: bytes | None = None) -> None:
        """Removes the heads, and what was learned, of KEKs that seal nothing any more."""
        ours = re.escape(check_user(user)) + f"({'|'.join(map(re.escape, (_HEAD, _ATTEMPT, _LEARNED)))})"
        self._drop(ours + ("" if but is None else f"(?!{but.hex()})") + "[0-9a-f]{16}")

    def destroy(self, user: str) -> None:
        """Overwrites and removes the user's file. NotEnrolledError."""
        try:
            files.destroy(self.descriptor, _file_name(user), magic=MAGIC, region=DESTROY_REGION)
        except FileNotFoundError:
            raise not_enrolled(user, self._path) from None

    def log(self, user: str, *, boot_ns: Callable[[], int]) -> AuditLog:
        """The user's audit log, its entries timed by this clock."""
        return AuditLog(self.descriptor, user, boot_ns=boot_ns)

    def drop_log(self, user: str) -> None:
        """Removes every file of the user's audit log."""
        self._drop(re.escape(check_user(user) + ".audit") + r"(\.[0-9]+|\.broken-[0-9]+|\.kept-[0-9a-f]{16})?")

    def _drop(self, pattern: str) -> None:
        for name in os.listdir(self.descriptor):
            if re.fullmatch(pattern, name):
                os.unlink(name, dir_fd=self.descriptor)
        sync_folder(self.descriptor)


class VaultFolder:
    """The sealed templates of a folder. Making one does no I/O; the folder is created, mode 0700, by the first write.

    Every method raises VaultError for a folder that another user owns or can write to, and for what the system refuses
    (`errno` says which); InputError for a name that is not 1 to 64 of A-Z a-z 0-9 . _ - or begins with a dot, and for a
    folder with other things in it that is no vault. Threads and processes may use one folder at once.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @contextlib.contextmanager
    def locked(self, doing: str, *, user: str, create: bool = False, shared: bool = False) -> Iterator[LockedFolder]:
        """The folder, while this holds its lock. A missing folder is NotEnrolledError unless it is to be made."""
        check_user(user)
        with reporting(self.path, doing), contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(open_folder(self.path, create=create))
            except FileNotFoundError:
                if create:  # it was made just now: a symlink to nowhere is in its place
                    raise
                raise not_enrolled(user, self.path) from None
            stack.enter_context(files.locked(descriptor, shared=shared))
            yield LockedFolder(descriptor, self.path)

    def users(self) -> list[str]:
        """The names with a file in the vault, sorted; whether a file is intact is only known by opening it."""
        with reporting(self.path, "list the vault"):
            try:
                with open_folder(self.path) as folder:
                    names = os.listdir(folder)
            except FileNotFoundError:
                return []
        return sorted(name.removesuffix(_SUFFIX) for name in names if _is_user_file(name))

    def exists(self, user: str) -> bool:
        """Whether the user has a file in the vault, intact or not."""
        try:
            with self.locked("look into the vault", user=user, shared=True) as folder:
                return folder.exists(user)
        except NotEnrolledError:
            return False

    def kinds(self) -> dict[str, KeyKind | str]:
        """Each name of `users` with the kind of key that wraps its file's KEK, or with what is wrong with the file."""
        found: dict[str, KeyKind | str] = {}
        for user in self.users():
            try:
                with self.locked("read the vault", user=user, shared=True) as folder:
                    found[user] = kind_of(folder.read(user))
            except FaceSdkError as error:
                found[user] = str(error)
        return found

    def __repr__(self) -> str:
        return f"VaultFolder({str(self.path)!r})"


def kind_of(data: bytes) -> KeyKind:
    """Which kind of key a sealed file asks for. VaultIntegrityError, VaultVersionError."""
    return parse_header(data).kind


def not_enrolled(user: str, path: Path) -> NotEnrolledError:
    """The error for a user without a file there."""
    return NotEnrolledError(f"{user!r} is not enrolled in {path}", hint="enroll first")


def _file_name(user: str) -> str:
    return check_user(user) + _SUFFIX


def _head_name(user: str, key_id: bytes) -> str:
    return check_user(user) + _HEAD + key_id.hex()


def _attempt_name(user: str, key_id: bytes) -> str:
    return check_user(user) + _ATTEMPT + key_id.hex()


def _learned_name(user: str, key_id: bytes) -> str:
    return check_user(user) + _LEARNED + key_id.hex()


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
