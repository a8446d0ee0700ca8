"""File operations a vault rests on: lock, whole-file writes, guarded reads, destruction. POSIX only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from facesdk._core import process_token
from facesdk.errors import VaultError, VaultIntegrityError
from facesdk.vault.causes import name_of, store_error
from facesdk.vault.folder import LOCK_NAME, TEMP_NAME, sync_folder, temporary_name
from facesdk.vault.folder import is_ours as is_ours

LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.005
# O_NONBLOCK: opening a pipe somebody put there must not wait for its other end.
MAX_NOTE = 1 << 20  # bytes; notes are far shorter
_GUARDED = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def read_at_most(descriptor: int, limit: int) -> bytes:
    """The bytes up to the end of the file, or limit + 1 of them when it is longer."""
    content = bytearray()
    try:
        while (size := len(content)) <= limit:
            content += os.read(descriptor, limit + 1 - size)
            if len(content) == size:
                break
        return bytes(content)
    finally:
        del content  # it may be a secret, and a traceback that records local variables goes further than we know


def pread_exactly(descriptor: int, size: int, position: int) -> bytes:
    """`size` bytes from `position`, however the system cuts them. OSError (EIO) where the file ends before."""
    content = bytearray()
    while len(content) < size:
        piece = os.pread(descriptor, size - len(content), position + len(content))
        if not piece:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        content += piece
    return bytes(content)


@contextlib.contextmanager
def locked(folder: int, *, shared: bool = False) -> Iterator[None]:
    """Hold the folder's lock within, among threads and processes. The kernel frees it when one is killed.

    VaultError after 10 s. A shared lock needs no write permission, and is skipped when nobody ever wrote here.
    """
    with contextlib.ExitStack() as stack:
        flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
        may_be_missing = (FileNotFoundError,) if shared else ()
        with contextlib.suppress(*may_be_missing):
            descriptor = os.open(LOCK_NAME, flags | _GUARDED, 0o600, dir_fd=folder)
            stack.callback(_release, descriptor, process_token())
            _acquire(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def _release(descriptor: int, process: int) -> None:
    """Gives the lock back; closing alone would leave it to a child that another thread has forked meanwhile. Such a
    child only closes its descriptor: the lock is its parent's."""
    try:
        if process == process_token():
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, operation: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise VaultError(
                    f"another process has held the vault's lock for {LOCK_TIMEOUT_S:.0f} s",
                    hint=f"end it and try again: `fuser {LOCK_NAME}` in the vault's folder names it",
                ) from None
        time.sleep(_LOCK_POLL_S)


def create_file(name: str, content: bytes, *, folder: int | Path) -> None:
    """Creates a durable file of mode 0600, or none at all. FileExistsError when the name is taken."""
    with contextlib.ExitStack() as stack:
        if isinstance(folder, Path):
            folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
        _write_new(name, content, folder)
        sync_folder(folder)


def _write_new(name: str, content: bytes, folder: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _GUARDED, 0o600, dir_fd=folder)
    try:
        try:
            os.fchmod(descriptor, 0o600)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to report; `sweep` tries again
            os.unlink(name, dir_fd=folder)
        raise


def replace_file(folder: int, name: str, content: bytes, *, durable_name: bool = True) -> None:
    """Puts a durable file of mode 0600 under `name`; a reader or a power cut sees the whole old or the whole new one.

    durable_name: without it a power cut soon after may bring the old one back, which then must be as good.

    An OSError leaves the old file and no temporary one, except from the last step, the fsync of the folder: then the
    new file is in place, and may not be after a power cut. Call it under the lock.
    """
    temporary = temporary_name()
    _write_new(temporary, content, folder)
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):  # as in _write_new
            os.unlink(temporary, dir_fd=folder)
        raise
    if durable_name:
        sync_folder(folder)


def note(folder: int, name: str, content: bytes) -> None:
    """Puts content under `name`, for who comes after a kill: not durable, and after a power cut it may be anything."""
    descriptor = open_guarded(folder, name, os.O_WRONLY | os.O_CREAT, limit=MAX_NOTE, private=False)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        rest = memoryview(content)
        while rest:
            rest = rest[os.pwrite(descriptor, rest, len(content) - len(rest)) :]
        if status.st_size > len(content):
            os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def stamp(path: str, *, folder: int | None = None) -> tuple[int, ...]:
    """Another one whenever the file is written or replaced or its mode changes; empty where there is none."""
    try:
        status = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def sweep(folder: int) -> None:
    """Removes what a killed writer of ours left. Call it under the lock: no other writer has one then."""
    with os.scandir(folder) as entries:
        left = [e.name for e in entries if TEMP_NAME.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
    for name in left:
        os.unlink(name, dir_fd=folder)


def read_guarded(folder: int, name: str, *, limit: int) -> bytes:
    """The bytes of a regular file of ours with one name and mode 0600 or stricter.

    FileNotFoundError when missing. VaultIntegrityError when something else is there or it is longer than `limit`, which
    is seen before anything is read. VaultError when group or others may use it.
    """
    descriptor = open_guarded(folder, name, limit=limit)
    try:
        content = read_at_most(descriptor, limit)
        if len(content) > limit:
            raise VaultIntegrityError(f"{name} grew while it was read, at most {limit} bytes were expected")
        return content
    finally:
        os.close(descriptor)


def open_guarded(folder: int, name: str, flags: int = os.O_RDONLY, *, limit: int, private: bool = True) -> int:
    """A descriptor of a file as we keep it: regular, ours, with one name, at most `limit` bytes, mode 0600 or stricter.

    flags: as os.open takes them; a new file has mode 0600. private: whether the mode is looked at. Raises as
    read_guarded.
    """
    try:
        descriptor = os.open(name, flags | _GUARDED, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a symlink; a socket; a folder
            raise _not_a_file(name) from error
        raise
    try:
        status = os.fstat(descriptor)
        _check_kept(status, name, private=private)
        if status.st_size > limit:
            raise VaultIntegrityError(f"{name} has {status.st_size} bytes, at most {limit} were expected")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kept(status: os.stat_result, name: str, *, private: bool) -> None:
    """The errors of open_guarded for what is not a file as we keep it."""
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(name)
    if status.st_nlink != 1:
        raise VaultIntegrityError(
            f"{name} has a second name (a hard link, as `cp -al` makes): who writes to that one writes here",
            hint=f"copy backups without -l, and break the link of each file: `cp -p {name} x && mv x {name}`",
        )
    if not is_ours(status):
        owner, me = name_of(status.st_uid), name_of(os.geteuid())
        raise VaultIntegrityError(
            f"{name} belongs to {owner}, the vault's folder does not",
            hint=f"where a backup was put back under the wrong name, run `sudo chown {me} {name}` in the folder",
        )
    if private and stat.S_IMODE(status.st_mode) & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise VaultError(
            f"others can use {name} (mode {mode:04o})", hint=f"run `chmod 600 {name}` in the vault's folder"
        )


def _not_a_file(name: str) -> VaultIntegrityError:
    return VaultIntegrityError(
        f"{name} is not a regular file", hint="move it away, and put the file back from a backup of the vault"
    )


def destroy(folder: int, name: str, *, magic: bytes, region: range) -> None:
    """Overwrites a region of the file with random bytes, makes that durable, then removes the name, durably.

    Whatever is there goes, except a folder. A file with several names is overwritten only when it begins with `magic`:
    else it may be somebody's other file. When the overwriting fails the name is removed all the same, and a VaultError
    is raised after it. On flash and copy-on-write storage the old blocks may outlive this.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    failure: OSError | None = None
    if stat.S_ISREG(status.st_mode):
        try:
            _overwrite(folder, name, magic=magic, region=region)
        except OSError as error:
            failure = error
    os.unlink(name, dir_fd=folder)
    sync_folder(folder)
    if failure is not None:
        raise store_error(f"{name} was removed, but its key could not be overwritten", failure) from failure


def _overwrite(folder: int, name: str, *, magic: bytes, region: range) -> None:
    descriptor = os.open(name, os.O_RDWR | _GUARDED, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        named_twice = status.st_nlink != 1
        if named_twice and (status.st_size < len(magic) or pread_exactly(descriptor, len(magic), 0) != magic):
            return
        position, end = region.start, min(region.stop, status.st_size)
        while position < end:
            position += os.pwrite(descriptor, os.urandom(end - position), position)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
