"""What the process and the machine do with memory that holds keys: core dumps, debuggers, swap, hibernation.

Secrets lie in locked memory (native/core/secret.h): it is never written to swap while the machine runs. Hibernation
writes all of memory to the swap device, locked pages too; only encryption of that device protects them then.
"""

from __future__ import annotations

import os
from pathlib import Path

from facesdk import _core


def protect_process() -> None:
    """Make this process leave no core dump and refuse debuggers of the same user.

    Sets PR_SET_DUMPABLE to 0 (prctl(2)) and RLIMIT_CORE to 0, which also closes /proc/PID/mem to this user's other
    programs. Root can still read it. The command `facesdk` does this at its start; a program that holds an opened key
    may call it, and cannot be traced or profiled from outside after that. Raises OSError where the system refuses.
    """
    _core.protect_process()


def unencrypted_swap(*, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> list[str]:
    """The active swap files and devices on a disk that is not known to be encrypted. proc, sys: for tests."""
    try:
        lines = (proc / "swaps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]
    except OSError:
        return []
    paths = [line.split()[0].encode().decode("unicode_escape") for line in lines if line.strip()]
    return [path for path in paths if not _stays_or_is_encrypted(Path(path), sys)]


def _stays_or_is_encrypted(path: Path, sys: Path) -> bool:
    if path.name.startswith("zram"):  # compressed memory, unless it has a disk behind it
        return _read(sys / "block" / path.name / "backing_dev") in ("none", "")
    try:
        status = path.stat()
    except OSError:
        return False
    number = status.st_rdev or status.st_dev
    return _is_encrypted(sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}")


def _is_encrypted(device: Path) -> bool:
    """Whether the device is made by dm-crypt, or lies on such ones alone."""
    if _read(device / "dm" / "uuid").startswith("CRYPT-"):
        return True
    try:
        below = list((device / "slaves").iterdir())
    except OSError:
        return False
    return bool(below) and all(map(_is_encrypted, below))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
