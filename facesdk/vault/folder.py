"""The vault's folder: opened, checked, made where it may be made; and how a vault is told from any other folder."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from facesdk.errors import InputError, VaultError
from facesdk.vault.causes import as_owner, close_folder, name_of

LOCK_NAME, IDENTITY_NAME = ".lock", ".vault"
# 32 hexadecimal digits behind a prefix that no other program has: what is swept away cannot be somebody's file.
TEMP_NAME = re.compile(r"\.facesdk-tmp-[0-9a-f]{32}")
_USER = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}"
_FACE = re.compile(_USER + r"\.face")
_OURS = re.compile(
    _USER + r"\.(face|audit(\.[0-9]+|\.broken-[0-9]+|\.kept-[0-9a-f]{16})?|(head|attempt|learned)-[0-9a-f]{16})"
    r"|\.(lock|vault|panic)"
)
# What file systems answer that cannot make the change of a folder durable by itself: they write it with the files.
_NO_FOLDER_FSYNC = (errno.EINVAL, errno.EOPNOTSUPP)


def is_ours(status: os.stat_result) -> bool:
    """Whether a file belongs to the user of this process or to root."""
    return status.st_uid in (os.geteuid(), 0)


def temporary_name() -> str:
    """A fresh name that `TEMP_NAME` matches."""
    return f".facesdk-tmp-{os.urandom(16).hex()}"


def folder_path(vault: Path | str) -> Path:
    """The path of a vault's folder, as a caller gave it. InputError."""
    try:
        folder = Path(os.fsdecode(vault))
    except TypeError:
        raise InputError(f"vault must be the path of a folder, not {type(vault).__name__}") from None
    if not os.fspath(vault) or b"\0" in os.fsencode(folder):
        raise InputError("vault must be the path of a folder, not an empty name or one with a zero byte in it")
    return folder


@contextlib.contextmanager
def open_folder(path: Path, *, create: bool = False) -> Iterator[int]:
    """A descriptor of the folder; checks and uses through it are of the same folder, whatever happens to the path.

    FileNotFoundError when missing. VaultError when it belongs to another user or others can write to it. InputError
    when it holds other things and no vault: nothing is ever put, or made private, in a folder with somebody's files.
    """
    if create:
        _make_folders(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = _checked_mode(descriptor, path, create=create)
        if create and mode & 0o077:
            os.fchmod(descriptor, 0o700)  # a folder made beforehand with the usual mode would show who is enrolled
        yield descriptor
    finally:
        os.close(descriptor)


def check_usable(path: Path) -> None:
    """The errors that making or using a vault at this path would raise, before anything is made or asked for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        check_owner(_missing(path)[0])
        return
    try:
        _checked_mode(descriptor, path, create=True)
    finally:
        os.close(descriptor)


def _checked_mode(descriptor: int, path: Path, *, create: bool) -> int:
    status = os.fstat(descriptor)
    if not is_ours(status):
        raise VaultError(f"the folder {path} belongs to user id {status.st_uid}", hint=as_owner(status.st_uid))
    _check_is_vault(descriptor, path, create=create)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise VaultError(f"others can write to the folder {path} (mode {mode:04o})", hint=close_folder(path))
    return mode


def _check_is_vault(descriptor: int, path: Path, *, create: bool) -> None:
    """InputError for a folder that is neither empty nor a vault."""
    if _is_marked(descriptor, [IDENTITY_NAME]):  # nearly always; listing a folder takes longer
        return
    names = os.listdir(descriptor)
    if not names or _is_marked(descriptor, names):
        return
    # Templates alone are a vault that was copied without its hidden files; beside other things, they may be exported.
    if any(map(_FACE.fullmatch, names)) and (not create or all(map(_OURS.fullmatch, names))):
        return
    if create:
        raise InputError(
            f"{path} is no vault, and is not empty: nothing was changed in it",
            hint="give a new or an empty folder, such as one below it",
        )
    raise InputError(f"{path} is no vault: no template lies in it", hint="give the folder that was given to enroll")


def _is_marked(descriptor: int, names: list[str]) -> bool:
    """Whether a file is there that only a vault has."""
    if any(map(TEMP_NAME.fullmatch, names)):
        return True
    for name in {LOCK_NAME, IDENTITY_NAME}.intersection(names):
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and (name == IDENTITY_NAME or status.st_size == 0):
                return True
    return False


def _make_folders(path: Path) -> None:
    """Creates the folder and the missing ones above it, mode 0700, each made durable in the one that holds it."""
    there, missing = _missing(path)
    if missing:
        check_owner(there)
    for folder in missing:
        with contextlib.suppress(FileExistsError):  # another process may have made it since; opening it checks it
            folder.mkdir(mode=0o700)
        descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder(descriptor)
        finally:
            os.close(descriptor)


def _missing(path: Path) -> tuple[Path, list[Path]]:
    """The nearest folder that is there, and those below it that are not, the uppermost first."""
    missing: list[Path] = []
    while not path.is_dir() and path != path.parent:
        missing.insert(0, path)
        path = path.parent
    return path, missing


def check_owner(path: Path, *, made: str = "vault") -> None:
    """VaultError where a new folder in this one would lie in another user's, who could then not use it any more.

    made: what the folder is for.
    """
    status = os.stat(path)
    if not is_ours(status):
        raise VaultError(
            f"{path} belongs to {name_of(status.st_uid)}, and this runs as {name_of(os.geteuid())}: no {made} is made"
            " there",
            hint=as_owner(status.st_uid),
        )


def sync_folder(descriptor: int) -> None:
    """Makes the folder's names durable, where its file system can do that apart from the files."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FSYNC:
            raise
