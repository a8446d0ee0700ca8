"""Files that others move, links, owners, modes, full disks: an outcome or an error of ours, and the vault opens."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import places_tools
import pytest
from faults.places import (
    FOREIGN,
    OPERATIONS,
    RULES,
    USER,
    Place,
    as_nobody,
    fill,
    hand_over,
    make_record,
    mounted,
    plant,
    remount,
)  # fmt: skip

from facesdk.errors import (
    FaceSdkError,
    KeyUnavailableError,
    NotEnrolledError,
    PassphraseRequiredError,
    RollbackError,
    VaultError,
    VaultIntegrityError,
)
from facesdk.vault import KeyFileKey, ProcessOpenKeys, Vault, VaultFolder

root, place = places_tools.root, places_tools.place
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

# --- files that others delete or replace


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("face", NotEnrolledError),
        ("audit", VaultIntegrityError),
        ("head", VaultIntegrityError),
        ("lock", None),
        ("all", NotEnrolledError),
    ],
)
def test_a_deleted_file(place: Place, what: str, error: type[FaceSdkError] | None) -> None:
    away = place.root / "away"
    chosen = place.path if what == "all" else place.files()[what]
    chosen.rename(away)
    if error is None:
        assert not place.attempt(matches=False)
    else:
        with pytest.raises(error):
            place.attempt()
        if chosen != place.path:
            assert place.failures() == 2
        away.rename(chosen)
        assert place.failures() == 2
        place.fail(1)
    assert place.failures() == 3
    assert place.is_well()


def test_a_deleted_head_is_noticed_by_the_passphrase(place: Place) -> None:
    place.files()["head"].unlink()
    with pytest.raises(VaultIntegrityError, match="head"):
        place.unlock()
    place.vault.restart_log(USER, place.a)
    assert place.is_well()


def older(place: Place, change: Callable[[], object]) -> dict[str, bytes]:
    """The files as they were before a change."""
    before = {what: path.read_bytes() for what, path in place.files().items()}
    change()
    return before


def put_back(place: Place, what: str, content: bytes) -> None:
    place.files()[what].write_bytes(content)


def test_an_older_file_of_the_same_key(place: Place) -> None:
    before = older(place, lambda: place.vault.rekey(USER, place.a, place.b, rules=RULES))
    assert place.attempt()
    put_back(place, "face", before["face"])
    with pytest.raises(RollbackError):
        place.attempt()
    with pytest.raises(PassphraseRequiredError):
        place.attempt()


def test_an_older_file_of_another_key(place: Place) -> None:
    before = older(place, lambda: place.vault.renew(USER, place.a, rules=RULES))
    assert place.attempt()
    put_back(place, "face", before["face"])
    with pytest.raises(PassphraseRequiredError):
        place.attempt()
    with pytest.raises(VaultIntegrityError, match="head"):
        place.unlock()


def test_an_older_log(place: Place) -> None:
    before = older(place, lambda: place.fail(1))
    assert place.attempt()
    newest = place.files()["head"].read_bytes()
    put_back(place, "audit", before["audit"])
    for head in (newest, before["head"]):  # with the older head too: the session knows
        put_back(place, "head", head)
        with pytest.raises(VaultIntegrityError, match="audit log"):
            place.attempt()
    put_back(place, "head", newest)
    with pytest.raises(VaultIntegrityError, match="audit log"):
        place.unlock()
    with pytest.raises(PassphraseRequiredError):  # and the key is forgotten
        place.attempt()


@pytest.mark.parametrize("content", [b"", b"\0" * 400, None])
def test_a_replaced_file(place: Place, content: bytes | None) -> None:
    place.vault.enroll(make_record("bob"), place.b, replace=False, rules=RULES)
    good = place.files()
    bob = (place.path / "bob.face").read_bytes()
    alice = (place.path / "alice.face").read_bytes()
    assert good
    (place.path / "alice.face").write_bytes(bob if content is None else content)
    for call in (place.attempt, place.unlock):
        with pytest.raises(VaultIntegrityError):
            call()
    assert place.failures() == 2
    (place.path / "alice.face").write_bytes(alice)
    assert place.attempt()


# --- links, pipes and folders in the place of files


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("how", ["symlink", "dangling", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("what", ["lock", "face", "audit", "head"])
def test_what_is_planted_is_not_followed(place: Place, what: str, how: str, operation: str) -> None:
    target = place.root / "foreign"
    target.write_bytes(FOREIGN)
    target.chmod(0o640)
    planted = place.files()[what]
    away = planted.read_bytes()
    plant(planted, how, target)
    matched = False
    with contextlib.suppress(FaceSdkError):
        matched = OPERATIONS[operation](place) is True
    assert target.read_bytes() == FOREIGN
    assert target.stat().st_mode & 0o777 == 0o640
    assert not (place.root / "nothing").exists()
    held = place.held()
    if operation == "attempt":
        assert held is None or held.state.failures >= (0 if matched else 2)
    if operation in ("attempt", "unlock", "renew", "rekey", "audit", "state", "lock", "panic"):
        mended(place, planted, away)


def mended(place: Place, planted: Path, content: bytes) -> None:
    """With the file in its place again, the user's key opens as before, or the log wants to be restarted."""
    if planted.suffix == ".face" or not planted.is_file() or planted.is_symlink() or planted.stat().st_nlink > 1:
        shutil.rmtree(planted) if planted.is_dir() and not planted.is_symlink() else planted.unlink(missing_ok=True)
        if not planted.exists():
            planted.write_bytes(content)
            planted.chmod(0o600)
    for key in (place.a, place.b):
        try:
            place.unlock(key)
        except VaultIntegrityError:
            place.vault.restart_log(USER, key)
            place.unlock(key)
        except KeyUnavailableError:
            continue
        assert place.attempt()
        return
    raise AssertionError("no key opens the file any more")


# --- owners, modes and disks


def opened_by_nobody(root: Path, operation: str) -> object:
    """The operation on a session of its own process, opened first where that can be."""
    vault = Vault(VaultFolder(root / "vault"), ProcessOpenKeys())
    place = Place.__new__(Place)
    place.root, place.path, place.vault, place.open_keys = root, root / "vault", vault, vault.open_keys
    place.a, place.b = KeyFileKey(root / "a"), KeyFileKey(root / "b")
    if operation == "attempt":
        place.unlock()
    return OPERATIONS[operation](place)


@needs_root
@pytest.mark.parametrize("operation", ["unlock", "attempt", "renew", "rekey", "enroll", "state", "remove"])
def test_owners_and_modes(place: Place, operation: str) -> None:
    """As another user: all that is theirs works, and each thing that is not gives a named error."""
    hand_over(place.root)
    place.path.chmod(0o700)
    saved = place.root / "saved"
    shutil.copytree(place.path, saved)

    def again(change: Callable[[], object]) -> dict[str, Any]:
        shutil.rmtree(place.path)
        shutil.copytree(saved, place.path)
        hand_over(place.root)
        change()
        return as_nobody(lambda: opened_by_nobody(place.root, operation))

    good = again(lambda: None)
    assert "result" in good, good
    assert again(lambda: os.chown(place.path, 0, 0))["error"] == "VaultError"
    assert again(lambda: os.chown(place.path, 1234, 1234))["error"] == "VaultError"
    assert again(lambda: place.path.chmod(0o777))["error"] == "VaultError"
    assert again(lambda: place.path.chmod(0))["error"] == "VaultError"
    read_only_lock = again(lambda: place.files()["lock"].chmod(0o400))
    # Looking at the state takes the lock to read, and needs no more than that.
    assert ("result" in read_only_lock) if operation == "state" else read_only_lock["error"] == "VaultError"
    for what in ("face", "audit", "head"):
        for change in (
            lambda what=what: place.files()[what].chmod(0o644),
            lambda what=what: place.files()[what].chmod(0),
            lambda what=what: os.chown(place.files()[what], 1234, 1234),
            lambda what=what: os.chown(place.files()[what], 0, 0),
        ):
            said = again(change)
            assert "result" in said or said["ours"], said
            if what == "face" and operation in ("unlock", "attempt", "renew", "rekey"):
                assert said["error"] in ("VaultError", "VaultIntegrityError"), said


WRITING = ("attempt", "unlock", "renew", "rekey", "enroll", "remove", "restart_log")


def test_a_read_only_disk(root: Path) -> None:
    with mounted(root, "size=4m,mode=755"):
        place = Place(root)
        assert place.is_well()
        place.fail(2)
        remount(root, "ro")
        for name in WRITING:
            if name != "remove":
                with pytest.raises(VaultError, match="read-only"):
                    OPERATIONS[name](place)
        assert place.failures() == 2
        with pytest.raises(VaultError, match="read-only"):
            place.vault.panic()
        assert place.held() is None
        with pytest.raises(VaultError, match="read-only"):
            place.vault.remove(USER)
        remount(root, "rw")
        assert place.is_well()


@needs_root
@pytest.mark.parametrize("operation", WRITING)
def test_a_folder_that_cannot_be_written_to(place: Place, operation: str) -> None:
    hand_over(place.root)
    place.path.chmod(0o500)
    before = {path.name: path.read_bytes() for path in place.path.iterdir()}
    said = as_nobody(lambda: opened_by_nobody(place.root, operation))
    place.path.chmod(0o700)
    hand_over(place.root, 0)
    if operation == "remove":  # the key is overwritten first, which needs no right to the folder
        assert said["error"] == "VaultError"
        return
    assert said.get("error") == "VaultError", said
    assert before["alice.face"] == place.files()["face"].read_bytes()
    assert place.is_well()


def test_a_full_disk(root: Path) -> None:
    with mounted(root, "size=256k,mode=755"):
        place = Place(root)
        held = place.held()
        assert held is not None
        page = place.files()["audit"]
        while page.stat().st_size % 4096 < 3700:  # the next entry or two need a new block
            assert place.attempt()
            place.fail(1)
        assert place.attempt()
        place.fail(2)
        ballast = fill(root)
        for name in ("renew", "rekey", "enroll"):
            with pytest.raises(VaultError, match="full"):
                OPERATIONS[name](place)
        charged = place.failures()
        with pytest.raises(VaultError, match="full"):
            place.attempt()
        assert place.failures() == charged + 1
        with pytest.raises(VaultError, match="full"):
            place.unlock()
        assert place.held() is None  # an unlock that is not in the log does not hold
        ballast.unlink()
        assert not [name for name in os.listdir(place.path) if name.startswith(".facesdk-tmp-")]
        assert place.is_well()
