"""What tells a vault from every other, however its path is written, and what tells of a panic in between.

`.vault` holds a random name, made once: opened keys go by it, so that a bind mount, a rename, another locale and a copy
of the folder reach the same key. `.panic` holds random bytes, new at each panic: an enrollment or unlock of any process
that began before it opens nothing. Neither is a secret.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from facesdk.errors import VaultIntegrityError
from facesdk.vault import files
from facesdk.vault.folder import IDENTITY_NAME

PANIC = ".panic"
_LINE = re.compile(rb"facesdk vault 1 ([0-9a-f]{32})\n")
_PANIC_SIZE = 16


def read(folder: int | Path) -> str | None:
    """The vault's identity, 32 hexadecimal digits; None where nobody ever wrote here. VaultIntegrityError."""
    content = _content(folder, IDENTITY_NAME)
    if content is None:
        return None
    found = _LINE.fullmatch(content)
    if not found:
        raise VaultIntegrityError(
            f"{IDENTITY_NAME}, the vault's identity, is damaged",
            hint="facesdk panic, so that no key stays open under it; then restore it, or remove that file",
        )
    return found[1].decode()


def stamp(folder: Path) -> tuple[int, ...]:
    """Another one whenever the identity in this folder may be another one; empty where there is none."""
    return files.stamp(os.path.join(folder, IDENTITY_NAME))


def ensure(folder: int) -> str:
    """The vault's identity, made where there is none. Call it under the exclusive lock."""
    found = read(folder)
    if found is None:
        found = os.urandom(16).hex()
        files.replace_file(folder, IDENTITY_NAME, f"facesdk vault 1 {found}\n".encode())
    return found


def panic_mark(folder: int) -> bytes:
    """What the last panic left; empty where there was none."""
    return _content(folder, PANIC) or b""


def renew_panic_mark(folder: int) -> None:
    """Makes every mark that was read before another one's. Needs no lock, and no file that a sweep could take away."""
    files.note(folder, PANIC, os.urandom(_PANIC_SIZE))


def _content(folder: int | Path, name: str) -> bytes | None:
    """At most 100 bytes of a regular file of ours; its mode does not matter, who locks must be able to."""
    path, within = (name, folder) if isinstance(folder, int) else (os.path.join(folder, name), None)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=within)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not files.is_ours(status):
            raise VaultIntegrityError(f"{name} is not a regular file of this user", hint="move it away")
        return files.read_at_most(descriptor, 100)
    finally:
        os.close(descriptor)
