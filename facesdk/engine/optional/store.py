"""Where optional networks are kept: the user's folder and the system's, what is checked there, how it is written."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from facesdk.engine.networks import checked_copy
from facesdk.engine.optional.catalogue import KnownNetwork
from facesdk.errors import InputError, ModelIntegrityError

FOLDER = "facesdk-models"
# What the system's administrator adds for every user; the hierarchy's place for that.
SYSTEM = Path("/usr/local/share") / FOLDER
_AGAIN = "`facesdk models add FILE` makes it again"
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NO_FOLDER_FSYNC = (errno.EINVAL, errno.EOPNOTSUPP)
_HINTS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "the system's folder is written to by root alone (sudo); without --system it is your own",
    errno.EPERM: "the system's folder is written to by root alone (sudo); without --system it is your own",
}


@dataclass(frozen=True)
class Kept:
    """A network that is there: the file, and what is wrong with it, "" where nothing is."""

    known: KnownNetwork
    path: Path
    problem: str


def user_folder() -> Path:
    """$XDG_DATA_HOME/facesdk-models, or ~/.local/share/facesdk-models: beside the vault, which shares its folder with
    nothing. InputError where there is no home."""
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / FOLDER
    except RuntimeError as error:
        raise InputError(f"no home folder to keep models in ({error}): set XDG_DATA_HOME") from error


def usual_folders() -> tuple[Path, ...]:
    """Where networks are looked for: the user's folder, if there is a home, then the system's."""
    with contextlib.suppress(InputError):
        return user_folder(), SYSTEM
    return (SYSTEM,)


def load(known: KnownNetwork, folders: Sequence[Path]) -> mmap.mmap | None:
    """A private copy of a kept network, found to have the size and sha256 that the list says; None where there is none.

    The first folder that has it decides. ModelIntegrityError where what is there is not a regular file, could be
    written by others than root and this user, or is not what the list says.
    """
    found = _find(known, folders)
    return None if found is None else _checked(known, found)


def kept(known: KnownNetwork, folders: Sequence[Path]) -> Kept | None:
    """The network as `load` would find it; None where there is none."""
    found = _find(known, folders)
    if found is None:
        return None
    try:
        _checked(known, found).close()
    except ModelIntegrityError as error:
        return Kept(known, found / known.model.file, str(error))
    return Kept(known, found / known.model.file, "")


def keep(folder: Path, name: str, content: bytes) -> Path:
    """Put a file of mode 0644 into a folder, durably: a reader or a power cut sees the whole old or the whole new one.

    The folder is made where it is missing. InputError, with the cause, where that cannot be done.
    """
    temporary = f".{name}-{os.urandom(8).hex()}"
    try:
        made = not folder.exists()
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _opened(folder) as descriptor:
            if made:
                os.fchmod(descriptor, 0o755)  # whatever the umask: the system's folder is for every user
            try:
                _write(temporary, content, descriptor)
                os.replace(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            except BaseException:
                with contextlib.suppress(OSError):  # the first error is the one to report
                    os.unlink(temporary, dir_fd=descriptor)
                raise
            _sync(descriptor)
    except ModelIntegrityError as error:
        raise InputError(error.message, hint=error.hint) from error
    except OSError as error:
        _cannot("be kept", folder / name, error)
    return folder / name


def remove(known: KnownNetwork, folder: Path) -> Path:
    """Remove a network from a folder; the path that it had. InputError where it is not there or cannot be removed."""
    path = folder / known.model.file
    try:
        with _opened(folder) as descriptor:
            os.unlink(known.model.file, dir_fd=descriptor)
            _sync(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{known.name} is not in {folder}: facesdk models says where it is") from None
    except OSError as error:
        _cannot("be removed", path, error)
    return path


def _cannot(what: str, path: Path, error: OSError) -> NoReturn:
    raise InputError(f"{path} cannot {what} ({error.strerror})", hint=_HINTS.get(error.errno or 0)) from error


def _find(known: KnownNetwork, folders: Sequence[Path]) -> Path | None:
    """The first folder in which something has the network's name."""
    return next((folder for folder in folders if os.path.lexists(folder / known.model.file)), None)


def _checked(known: KnownNetwork, folder: Path) -> mmap.mmap:
    path = folder / known.model.file
    try:
        with _opened(folder) as descriptor:
            file = os.open(known.model.file, os.O_RDONLY | _FLAGS, dir_fd=descriptor)
            with open(file, "rb", buffering=0) as opened:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise ModelIntegrityError(f"{path} is not a regular file: remove it, {_AGAIN}")
                _check_safe(status, path)
                return checked_copy(opened, known.model, path=path, hint=_AGAIN)
    except OSError as error:
        raise ModelIntegrityError(f"model {path} cannot be read ({error.strerror}): {_AGAIN}") from error


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder that only root and this user can write to; else ModelIntegrityError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_safe(os.fstat(descriptor), folder)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_safe(status: os.stat_result, path: Path) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise ModelIntegrityError(
            f"{path} belongs to user id {status.st_uid}, neither to root nor to this user", hint="use one of your own"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise ModelIntegrityError(f"others can write to {path} (mode {mode:04o})", hint=f"chmod go-w {path}")


def _write(name: str, content: bytes, folder: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=folder)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, 0o644)  # nothing secret: other users of this machine may use what is kept for them
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: int) -> None:
    """Makes the folder's names durable, where its file system can do that apart from the files."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FSYNC:
            raise
