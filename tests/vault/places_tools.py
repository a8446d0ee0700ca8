"""What the tests of races and places share: a folder that another user may enter, a vault in it, the keyring."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.places import Place

from facesdk import _core


def keyring_works() -> bool:
    try:
        _core.keyring_put("facesdk-test-races", b"x", 60)
        return _core.keyring_forget("facesdk-test-races")
    except OSError:
        return False


needs_keyring = pytest.mark.skipif(not keyring_works(), reason="the kernel's keyring cannot be used here")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory, where fsync costs nothing, and which another user may enter."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="races-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def place(root: Path) -> Place:
    return Place(root)
