"""Forgetting the key: by lock, panic and removal, whatever the files are like, and by the kernel."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import places_tools
import pytest
from faults.places import RULES, USER, Place, join_new_session_keyring, make_record, mounted, remount
from places_tools import needs_keyring

from facesdk import _core
from facesdk.errors import FaceSdkError, NotLoggedError, Reason
from facesdk.vault import KeyringOpenKeys
from facesdk.vault import keyring as keyring_module
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.open_keys import OpenKey

root, place = places_tools.root, places_tools.place


def test_lock_forgets_on_a_read_only_disk(root: Path) -> None:
    with mounted(root, "size=4m,mode=755"):
        place = Place(root)
        remount(root, "ro")
        with contextlib.suppress(FaceSdkError):
            place.vault.lock(USER)
        remount(root, "rw")
        assert place.held() is None


def test_panic_forgets_a_user_whose_file_was_moved_away(place: Place) -> None:
    away = place.root / "away"
    place.files()["face"].rename(away)
    place.vault.panic()
    away.rename(place.path / f"{USER}.face")
    assert place.held() is None


def test_panic_reaches_every_user_past_a_broken_one(place: Place) -> None:
    place.vault.enroll(make_record("bob"), place.b, replace=False, rules=RULES)
    log = place.path / "alice.audit"
    log.write_bytes(b"not an entry\n")
    with pytest.raises(NotLoggedError, match="the key is forgotten"):
        place.vault.panic()
    entries = place.vault.audit("bob", place.b)[1]
    assert entries[-1].event is AuditEvent.PANIC


@needs_keyring
def test_the_kernel_forgets_an_opened_key_after_an_attempt_too(root: Path) -> None:
    place = Place(root, keyring=True)
    ring = _core.keyring_find_ring(keyring_module._ring(place.open_keys._known(), USER))
    serial, _ = _core.keyring_get_in(ring, "key", 168)  # type: ignore[misc]
    line = next(line for line in Path("/proc/keys").read_text().splitlines() if line.startswith(f"{serial:08x}"))
    place.vault.remove(USER)
    assert line.split()[3] != "perm"


@needs_keyring
@pytest.mark.parametrize("login", [True, False])
def test_the_keyring_serves_processes_without_a_login_session(root: Path, login: bool) -> None:
    open_keys = KeyringOpenKeys(root / "vault")
    held = Place(root).held()
    assert held is not None
    pid = os.fork()
    if pid == 0:
        status = 3
        with contextlib.suppress(BaseException):
            if not login:
                join_new_session_keyring()
            status = 1
            fresh = replace(held, kek=_core.Secret(32), ticket=0)  # a forked process has no secrets
            open_keys.save(USER, fresh, mark=open_keys.begin(USER))
            status = 0 if isinstance(open_keys.load(USER), OpenKey) else 2
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    open_keys.forget(USER, Reason.REMOVED)
    assert status != 3
    assert status == 0
