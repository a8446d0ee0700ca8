"""Secrets that are handed to us: in a file that nobody else can use, or, a passphrase, through a pipe or descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from facesdk._core import wipe
from facesdk.errors import InputError, KeyUnavailableError
from facesdk.vault.causes import as_owner, hint_for, make_private, name_of
from facesdk.vault.files import read_at_most
from facesdk.vault.folder import is_ours
from facesdk.vault.keys import terminal

# A pipe that nobody writes to must not keep a program waiting for ever.
STREAM_TIMEOUT_S = 30.0
# Opened anew by these names, a pipe would be another one without its writer, and a socket cannot be opened at all.
_DESCRIPTOR = re.compile(r"/dev/(?:stdin|fd/([0-9]{1,9}))|/proc/self/fd/([0-9]{1,9})")
_ACL = "system.posix_acl_access"
# Source: Linux, include/uapi/linux/posix_acl.h and posix_acl_xattr.h: a version, then tag, rights and id of each entry.
_ACL_VERSION_SIZE, _ACL_ENTRY = 4, struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP_OBJ, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 0x02, 0x04, 0x08, 0x10, 0x20
_READ_WRITE, _ALL = 6, 7


def descriptor_in(path: Path) -> int | None:
    """The descriptor of this process that a path such as /dev/stdin or /dev/fd/3 stands for, or None."""
    found = _DESCRIPTOR.fullmatch(os.fspath(path))
    return int(found[1] or found[2] or 0) if found else None


def read_secret(path: Path, *, limit: int, ours: bool) -> bytes:
    """The bytes of a regular file that group and others cannot use; `ours` also refuses symlinks and other owners.

    An access list may name this user and root beside its owner, as that of a service manager's credential does.
    """
    # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (os.O_NOFOLLOW if ours else 0)
    try:
        with _opened(path, flags) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyUnavailableError(f"{path} is not a regular file", hint="give the path of the file itself")
            if ours and not is_ours(status):
                raise KeyUnavailableError(f"{path} belongs to user id {status.st_uid}", hint=as_owner(status.st_uid))
            _check_private(descriptor, status, str(path), _ALL if ours else _READ_WRITE)
            return _within(read_at_most(descriptor, limit), limit, str(path))
    except OSError as error:
        raise _unreadable(f"cannot read {path}", error) from error


def read_handed_over(source: Path | int, *, limit: int) -> bytes:
    """The bytes of a private file, or what comes through a pipe, a socket, a terminal or a descriptor until it ends.

    A descriptor is whoever started us handing something over; what is opened by its path must be ours and private. A
    pipe or socket has 30 s to end. KeyUnavailableError, InputError for a descriptor that is not open.
    """
    path = Path(source) if not isinstance(source, int) else Path(f"/dev/fd/{source}")
    number = descriptor_in(path)
    try:
        if number is not None:
            return _content(number, os.fstat(number), f"descriptor {number}", limit, given=True)
        with _opened(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY) as descriptor:
            return _content(descriptor, os.fstat(descriptor), str(path), limit, given=False)
    except OSError as error:
        if number is not None and error.errno == errno.EBADF:
            hint = "the shell opens one so: `facesdk unlock --passphrase-fd 3 3< file`"
            raise InputError(f"descriptor {number} is not open for reading", hint=hint) from error
        raise _unreadable(f"cannot read {path}", error) from error


def _content(descriptor: int, status: os.stat_result, label: str, limit: int, *, given: bool) -> bytes:
    if os.isatty(descriptor):
        if not given:  # opened without waiting, which a person needs
            os.set_blocking(descriptor, True)
        return terminal.read_line(descriptor, "passphrase: ", echo=False)
    mode = status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or (given and stat.S_ISSOCK(mode))):
        raise KeyUnavailableError(
            f"{label} is neither a file nor a pipe nor a terminal", hint="give one that holds the passphrase"
        )
    if stat.S_ISREG(mode):
        if status.st_nlink or not given:  # without a name nobody else can open it, whatever its mode
            _check_private(descriptor, status, label, _READ_WRITE)
        return _within(read_at_most(descriptor, limit), limit, label)
    if not given:
        if not is_ours(status):
            raise KeyUnavailableError(
                f"the pipe {label} belongs to {name_of(status.st_uid)}", hint="make one of your own"
            )
        _check_private(descriptor, status, label, _READ_WRITE)
    return _streamed(descriptor, limit, label)


def _streamed(descriptor: int, limit: int, label: str) -> bytes:
    """What comes until the writer closes its end."""
    content = bytearray()
    poll, end_s = select.poll(), time.monotonic() + STREAM_TIMEOUT_S
    poll.register(descriptor, select.POLLIN)
    try:
        while len(content) <= limit:
            if not poll.poll(max(0.0, end_s - time.monotonic()) * 1e3):
                raise KeyUnavailableError(
                    f"{label} did not end within {STREAM_TIMEOUT_S:.0f} s",
                    hint="its writer must write the passphrase and close it; without one, give a file",
                )
            size = len(content)
            content += os.read(descriptor, limit + 1 - size)
            if len(content) == size:
                break
        return _within(bytes(content), limit, label)
    finally:
        wipe(content)


def _within(content: bytes, limit: int, label: str) -> bytes:
    try:
        if len(content) > limit:
            raise KeyUnavailableError(
                f"{label} is longer than {limit} bytes",
                hint="it is not what was expected there: check which file it is",
            )
        return content
    finally:
        del content


def _check_private(descriptor: int, status: os.stat_result, label: str, rights: int) -> None:
    """KeyUnavailableError where anybody but its owner, this user and root has one of these rights to the file."""
    if not is_ours(status) and os.geteuid() != 0:
        raise KeyUnavailableError(
            f"{label} belongs to {name_of(status.st_uid)}, who knows what is in it", hint="give a file of your own"
        )
    others, listed = _rights_of_others(descriptor, status)
    if others & rights:
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}{', with an access list' if listed else ''}"
        hint = make_private(label, status.st_uid)
        raise KeyUnavailableError(
            f"{label} can be used by others ({mode})", hint=f"run `setfacl -b {label}`, then {hint}" if listed else hint
        )


def _rights_of_others(descriptor: int, status: os.stat_result) -> tuple[int, bool]:
    """Read, write and execute bits of all but the owner, this user and root; whether an access list says so.

    With an access list, the group's bits of the mode are its mask: what anybody named in it may have at most.
    """
    try:
        acl = os.getxattr(descriptor, _ACL)
    except OSError:  # none, or a file system without: the mode is all there is
        return (status.st_mode >> 3 | status.st_mode) & _ALL, False
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_VERSION_SIZE:]))
    mask = next((rights for tag, rights, _ in entries if tag == _ACL_MASK), _ALL)
    others = 0
    for tag, rights, who in entries:
        if tag == _ACL_OTHER:
            others |= rights
        elif tag in (_ACL_GROUP_OBJ, _ACL_GROUP) or (tag == _ACL_USER and who not in (os.geteuid(), 0)):
            others |= rights & mask
    return others, True


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyUnavailableError(f"{path} is a symlink", hint="give the path of the file itself") from error
        raise _unreadable(f"cannot open {path}", error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unreadable(what: str, error: OSError) -> KeyUnavailableError:
    hints = {
        errno.ENOENT: "check the path: there is no such file",
        errno.EACCES: "give a file that this user can read",
        errno.EPERM: "give a file that this user can read",
        errno.ENXIO: "it is a socket or has no other end: give a file or a pipe",
    }
    hint = hints.get(error.errno or 0) or hint_for(error.errno)
    return KeyUnavailableError(f"{what}: {error.strerror}", hint=hint)
