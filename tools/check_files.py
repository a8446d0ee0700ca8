"""Files that must not get into the repository: private keys, and large ones that are not listed here.

python tools/check_files.py [FILE...]      without files, all that git tracks; exit code 1 and a line for each fault
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 500_000
# What the package is made of; a picture, a recording or a wheel by mistake is not here.
LARGE = re.compile(r"models/[a-z_0-9]+\.tflite|facesdk/portraits/.*\.(jpg|png)|tests/(.*/)?portraits/.*\.jpg")
# PEM of every kind (PKCS#1, PKCS#8, SEC 1, OpenSSH, OpenPGP), PuTTY's, and age's, as their formats begin.
KEYS = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d|AGE-SECRET-KEY-1[0-9A-Z]{58}"
)


def tracked() -> list[Path]:
    """All files of the index."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    return [Path(name.decode()) for name in listed.split(b"\0") if name]


def faults(path: Path) -> Iterator[str]:
    """What is wrong with a file; nothing where it was deleted."""
    if path.is_symlink() or not path.is_file():
        return
    data = path.read_bytes()
    if len(data) > MAX_BYTES and not LARGE.fullmatch(path.as_posix()):
        yield f"{path}: {len(data)} bytes, at most {MAX_BYTES} are allowed; LARGE in check_files.py may list it"
    if KEYS.search(data):
        yield f"{path}: a private key; take it out, and use another from now on: it was on disk in a repository"


def main(names: list[str]) -> int:
    """Exit code."""
    found = [fault for path in ([Path(n) for n in names] or tracked()) for fault in faults(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
