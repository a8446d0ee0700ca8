"""What the tests of sessions share: an opened key, a vault, and both kinds of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import Reason
from facesdk.policy import PRESETS
from facesdk.vault import KeyringSessions, ProcessSessions, folder, identity, session
from facesdk.vault.attempts import Ready, Required
from facesdk.vault.audit_entry import Head
from facesdk.vault.session import Held

KEK = bytes(range(1, 33))


def make_held(**changes: Any) -> Held:
    fields = {
        "kek": Secret.of(KEK),
        "state": Ready(opened_ns=11, active_ns=12, failures=3, not_before_ns=14),
        "generation": 5,
        "head": Head(6, 7, bytes(range(32))),
        "rules": PRESETS["strict"],
    }
    return Held(**{**fields, **changes})


def assert_same(found: Held | Required, held: Held) -> None:
    assert isinstance(found, Held)
    assert bytes(memoryview(found.kek)) == bytes(memoryview(held.kek))
    for name in ("state", "generation", "head", "rules"):
        assert getattr(found, name) == getattr(held, name)


def make_vault(path: Path) -> Path:
    path.mkdir(mode=0o700)
    with folder.open_folder(path) as descriptor:
        identity.ensure(descriptor)
    return path


def save_new(sessions: Any, user: str, held: Held) -> bool:
    return bool(sessions.save(user, held, mark=sessions.begin(user)))


def keyring_or_skip(vault: Path) -> KeyringSessions:
    try:
        _core.keyring_put("facesdk-test", b"x", 1)
    except OSError as error:
        pytest.skip(f"no kernel keyring here: {error}")
    return KeyringSessions(vault)


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[KeyringSessions]:
    sessions = keyring_or_skip(make_vault(tmp_path / "vault"))
    yield sessions
    sessions.forget_all(Reason.LOCKED)
    for user in ("alice", "bob"):
        _core.keyring_forget(session._why(sessions._known(), user))


@pytest.fixture(params=["process", "keyring"])
def sessions(request: pytest.FixtureRequest) -> Any:
    return ProcessSessions() if request.param == "process" else request.getfixturevalue("keyring")
