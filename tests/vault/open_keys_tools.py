"""What the tests of open_keys share: an opened key, a vault, and both kinds of open_keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import Reason
from facesdk.vault import KeyringOpenKeys, ProcessOpenKeys, folder, identity
from facesdk.vault import keyring as keyring_module
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.audit.entry import Head
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import PRESETS

KEK = bytes(range(1, 33))


def make_held(**changes: Any) -> OpenKey:
    fields = {
        "kek": Secret.of(KEK),
        "state": Ready(opened_ns=11, active_ns=12, failures=3, not_before_ns=14),
        "generation": 5,
        "head": Head(6, 7, bytes(range(32))),
        "rules": PRESETS["strict"],
    }
    return OpenKey(**{**fields, **changes})


def assert_same(found: OpenKey | PassphraseRequired, held: OpenKey) -> None:
    assert isinstance(found, OpenKey)
    assert bytes(memoryview(found.kek)) == bytes(memoryview(held.kek))
    for name in ("state", "generation", "head", "rules"):
        assert getattr(found, name) == getattr(held, name)


def make_vault(path: Path) -> Path:
    path.mkdir(mode=0o700)
    with folder.open_folder(path) as descriptor:
        identity.ensure(descriptor)
    return path


def save_new(open_keys: Any, user: str, held: OpenKey) -> bool:
    return bool(open_keys.save(user, held, mark=open_keys.begin(user)))


def keyring_or_skip(vault: Path) -> KeyringOpenKeys:
    try:
        _core.keyring_put("facesdk-test", b"x", 1)
    except OSError as error:
        pytest.skip(f"no kernel keyring here: {error}")
    return KeyringOpenKeys(vault)


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[KeyringOpenKeys]:
    open_keys = keyring_or_skip(make_vault(tmp_path / "vault"))
    yield open_keys
    open_keys.forget_all(Reason.LOCKED)
    for user in ("alice", "bob"):
        _core.keyring_forget(keyring_module._why(open_keys._known(), user))


@pytest.fixture(params=["process", "keyring"])
def open_keys(request: pytest.FixtureRequest) -> Any:
    return ProcessOpenKeys() if request.param == "process" else request.getfixturevalue("keyring")
