"""What helps against an error of the system, by its errno and its file system, and the VaultError that says so."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from facesdk.errors import FaceSdkError, VaultError

_HINTS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space, or ask for a larger one",
    errno.EFBIG: "the limit of a file's size is too low: raise it (ulimit -f)",
    errno.EROFS: "the file system is mounted read-only: remount it or choose another folder",
    errno.EACCES: "run as the user who owns it, or choose another folder",
    errno.EPERM: "run as the user who owns it, or choose another folder; lsattr shows whether it was made immutable",
    errno.ENOENT: "a folder on the way is missing, or a symlink there leads nowhere: check the path",
    errno.EEXIST: "something else has that name: choose another path",
    errno.ENOTDIR: "a file is where a folder was expected: choose another path",
    errno.EISDIR: "a folder is where a file was expected: move it away",
    errno.ELOOP: "a symlink is where a file was expected: remove it",
    errno.ENAMETOOLONG: "the path is too long: choose a shorter one",
    errno.EIO: "the disk reports errors: check it and restore from a backup",
    errno.EUCLEAN: "the file system is damaged: unmount it and run fsck",
    errno.ENOKEY: "the folder is encrypted and not opened: log in as its owner, or open it, and try again",
    errno.EMFILE: "this program has too many files open: close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open: close programs, or raise fs.file-max",
    errno.ENOMEM: "there is too little memory: close programs and try again",
    errno.EINTR: "a signal interrupted it: try again",
    errno.EBUSY: "another program uses it: close that and try again",
    errno.ENOLCK: "the network file system there has no lock server: keep the vault on a local disk",
    errno.ESTALE: "the network file system changed under it: mount it again, or keep the vault on a local disk",
    errno.ETIMEDOUT: "the network file system does not answer: try again, or keep the vault on a local disk",
    errno.EHOSTDOWN: "the network file system does not answer: try again, or keep the vault on a local disk",
    errno.ENOTCONN: "the program behind this file system has ended: mount it again",
    errno.ENODEV: "the disk was taken away: put it back",
    errno.ENXIO: "the disk was taken away: put it back",
}
# What a file system answers to a call that it does not have.
_UNABLE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY)
# They keep no owner and no mode, so chmod has no effect there.
_WITHOUT_MODES = ("vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "9p", "drvfs", "cifs", "smb3", "vboxsf")


def hint_for(code: int | None, path: Path | None = None) -> str | None:
    """What helps against this errno at this path; None where only the system's own words are known."""
    if code in _UNABLE:
        kind = file_system_of(path) if path is not None else None
        return (
            f"the file system there{f' ({kind})' if kind else ''} cannot do that, which a vault needs (locks, durable"
            " writes): keep it on another local disk"
        )
    return _HINTS.get(code or 0)


@contextlib.contextmanager
def reporting(path: Path, doing: str) -> Iterator[None]:
    """Make an OSError within a VaultError with the same errno and a hint. Our own errors pass."""
    try:
        yield
    except FaceSdkError:
        raise
    except OSError as error:
        raise store_error(f"cannot {doing} at {path}", error, path) from error


def store_error(what: str, error: OSError, path: Path | None = None) -> VaultError:
    """The VaultError for an error of the system, with its errno."""
    failure = VaultError(f"{what}: {error.strerror or error}", hint=hint_for(error.errno, path))
    failure.errno = error.errno
    return failure


def file_system_of(path: Path) -> str | None:
    """The kind of file system that a path, or the nearest folder above it, lies on; None where that is not known."""
    try:
        at = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
        device = os.stat(at).st_dev
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except (OSError, StopIteration):
        return None
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    for line in mounts.splitlines():
        fields, _, rest = line.partition(b" - ")
        if fields.split()[2] == number:
            return rest.split()[0].decode("ascii", "backslashreplace")
    return None


def name_of(uid: int) -> str:
    """The name of a user, or `#` and the number where it has none: sudo takes both."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def as_owner(uid: int) -> str:
    """The hint for what belongs to another user than this process's."""
    name = name_of(uid)
    if os.geteuid() == 0:
        return f"run as that user: `sudo -u {name if name[0] != '#' else repr(name)} facesdk ...`"
    return f"run as {name}, or choose another path"


def make_private(path: Path | str, uid: int) -> str:
    """The hint for a file that others can use."""
    if kind := without_modes(Path(path)):
        return f"the file system there ({kind}) keeps no modes: copy the file to another disk, then `chmod 600` it"
    if os.geteuid() not in (0, uid):
        return f"it is {name_of(uid)}'s, who alone may change that: copy it to a file of your own with mode 600"
    return f"run `chmod 600 {path}`"


def close_folder(path: Path) -> str:
    """The hint for a folder that others can write to."""
    if kind := without_modes(path):
        return f"the file system there ({kind}) keeps no modes: keep the vault on a disk that does, such as ext4"
    return f"run `chmod 700 {path}`"


def without_modes(path: Path) -> str | None:
    """The kind of file system there, if it is one on which chmod has no effect."""
    kind = file_system_of(path)
    return kind if kind in _WITHOUT_MODES else None
