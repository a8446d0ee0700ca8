"""Lock and panic hold by whatever path, for whichever process, and say what they did."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from faults.places import RULES, mounted, remount
from places_tools import needs_keyring, root
from vault_tools import CHEAP, make_record

from facesdk.errors import (
    FaceSdkError,
    InputError,
    NotEnrolledError,
    NotLoggedError,
    PassphraseRequiredError,
    Reason,
)  # fmt: skip
from facesdk.vault import Keeper, KeyFileKey, KeyringSessions, PassphraseKey, ProcessSessions, Vault
from facesdk.vault.attempts import Ready, Required
from facesdk.vault.audit_entry import Event

root = root


def keeper_of(folder: Path, where: str) -> Keeper:
    return Keeper(Vault(folder), KeyringSessions(folder) if where == "keyring" else ProcessSessions())


@pytest.fixture(params=["keyring", pytest.param("process")])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def key(tmp_path: Path) -> KeyFileKey:
    return KeyFileKey.create(tmp_path / "key")


@pytest.fixture
def enrolled(tmp_path: Path, where: str, key: KeyFileKey) -> Any:
    keeper = keeper_of(tmp_path / "vault", where)
    keeper.enroll(make_record(), key, replace=False, rules=RULES)
    assert attempt(keeper)
    yield keeper
    keeper.sessions.forget_all(Reason.REMOVED)


def attempt(keeper: Keeper) -> bool:
    return keeper.attempt("alice", lambda _: True, generation=1, camera="files", label="")


def reason_of(keeper: Keeper) -> Reason | None:
    state, _ = keeper.state("alice")
    return state.reason if isinstance(state, Required) else None


CLOSE = """
import sys
from pathlib import Path
from facesdk.vault import Keeper, KeyringSessions, ProcessSessions, Vault
path = Path(sys.argv[1])
keeper = Keeper(Vault(path), KeyringSessions(path) if sys.argv[2] == "keyring" else ProcessSessions())
print(keeper.panic() if sys.argv[3] == "panic" else keeper.lock("alice"))
"""


def close_elsewhere(path: Path, where: str, what: str) -> str:
    """Another process locks or panics by this path; what it says that it did."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSE, os.fsencode(path), where, what], capture_output=True, check=True,
        env={**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    return done.stdout.decode().strip()


@pytest.mark.parametrize("what", ["lock", "panic"])
@pytest.mark.parametrize("closer", ["keyring", "process"])
def test_another_process_by_another_path(enrolled: Keeper, where: str, closer: str, what: str, tmp_path: Path) -> None:
    """A key in a process's own memory is closed at its next use, one in the keyring at once."""
    other = tmp_path / "b\udcfcro"
    other.symlink_to(tmp_path / "vault")
    said = close_elsewhere(other, closer, what)
    reached = where == closer == "keyring"
    assert said == str(int(reached) if what == "panic" else reached)
    assert reason_of(enrolled) is (Reason.PANIC if what == "panic" else Reason.LOCKED)
    with pytest.raises(PassphraseRequiredError):
        attempt(enrolled)


@pytest.mark.parametrize("what", ["lock", "panic"])
def test_a_renamed_folder(enrolled: Keeper, where: str, what: str, tmp_path: Path, key: KeyFileKey) -> None:
    moved = (tmp_path / "vault").rename(tmp_path / "elsewhere")
    close_elsewhere(moved, "keyring", what)
    moved.rename(tmp_path / "vault")
    assert isinstance(enrolled.state("alice")[0], Required)
    enrolled.unlock("alice", key, rules=RULES, reference_of=lambda samples: samples[0])
    assert attempt(enrolled)


def test_a_copy_of_the_folder_has_the_same_keys(tmp_path: Path, key: KeyFileKey) -> None:
    import shutil

    keeper = keeper_of(tmp_path / "vault", "keyring")
    keeper.enroll(make_record(), key, replace=False, rules=RULES)
    shutil.copytree(tmp_path / "vault", tmp_path / "copy")
    assert keeper_of(tmp_path / "copy", "keyring").lock("alice") is True
    assert reason_of(keeper) is Reason.LOCKED
    keeper.remove("alice")


def test_two_vaults_have_nothing_in_common(tmp_path: Path, key: KeyFileKey) -> None:
    keepers = [keeper_of(tmp_path / name, "keyring") for name in ("one", "two")]
    for keeper in keepers:
        keeper.enroll(make_record(), key, replace=False, rules=RULES)
    assert keepers[0].panic() == 1
    assert reason_of(keepers[0]) is Reason.PANIC
    assert attempt(keepers[1])
    for keeper in keepers:
        keeper.remove("alice")


def test_nothing_open_is_not_forgotten(enrolled: Keeper) -> None:
    assert enrolled.lock("alice") is True
    assert enrolled.lock("alice") is False
    assert enrolled.panic() == 0
    with pytest.raises(NotEnrolledError):
        enrolled.lock("nobody")


@pytest.mark.parametrize("wrong", [None, 3, b"alice", ["alice"], "../alice", ""])
def test_what_is_no_user_is_told_before_anything_is_forgotten(enrolled: Keeper, wrong: Any) -> None:
    with pytest.raises(InputError):
        enrolled.lock(wrong)
    assert attempt(enrolled)


def test_panic_counts(enrolled: Keeper, key: KeyFileKey) -> None:
    enrolled.enroll(make_record("bob"), key, replace=False, rules=RULES)
    assert enrolled.panic() == 2


def test_panic_during_the_first_enrollment_of_a_vault(tmp_path: Path, where: str) -> None:
    """The enrollment is done, and opens nothing."""
    keeper = keeper_of(tmp_path / "new", where)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(PassphraseKey):
        def wrap(self, *arguments: Any, **options: Any) -> bytes:
            begun.set()
            assert go_on.wait(20)
            return super().wrap(*arguments, **options)

    enroll = threading.Thread(
        target=keeper.enroll, args=(make_record(), Slow("x", **CHEAP)), kwargs={"replace": False, "rules": RULES}
    )
    enroll.start()
    assert begun.wait(20)
    panic = threading.Thread(target=keeper.panic)
    panic.start()
    threading.Event().wait(0.1)
    go_on.set()
    enroll.join(20)
    panic.join(20)
    assert reason_of(keeper) is Reason.PANIC
    assert [entry.event for entry in keeper.audit("alice")[1]] == [Event.ENROLLED, Event.PANIC]
    keeper.remove("alice")


def test_removed_and_enrolled_again_is_not_removed(tmp_path: Path, key: KeyFileKey) -> None:
    keeper = keeper_of(tmp_path / "vault", "keyring")
    keeper.enroll(make_record(), key, replace=False, rules=RULES)
    keeper.remove("alice")
    keeper_of(tmp_path / "vault", "process").enroll(make_record(), key, replace=False, rules=RULES)
    assert reason_of(keeper) is Reason.NOT_UNLOCKED
    with pytest.raises(PassphraseRequiredError) as caught:
        attempt(keeper)
    assert caught.value.reason is Reason.NOT_UNLOCKED
    keeper.remove("alice")


@pytest.mark.parametrize("what", ["lock", "panic"])
def test_a_read_only_disk_is_told_from_a_key_that_stays(root: Path, what: str) -> None:
    with mounted(root, "size=1m,mode=755"):
        keeper = keeper_of(root / "vault", "keyring")
        key = KeyFileKey.create(root / "key")
        keeper.enroll(make_record(), key, replace=False, rules=RULES)
        assert isinstance(keeper.state("alice")[0], Ready)
        remount(root, "ro")
        try:
            with pytest.raises(NotLoggedError, match="the key is forgotten") as caught:
                keeper.panic() if what == "panic" else keeper.lock("alice")
            assert caught.value.errno == errno.EROFS
            assert reason_of(keeper) is (Reason.PANIC if what == "panic" else Reason.LOCKED)
            report, entries, _ = keeper.audit("alice")
            assert (report.problem, len(entries)) == (None, 1)
            assert keeper.audit("alice", key)[2] is True  # with the key too
        finally:
            remount(root, "rw")
        keeper.remove("alice")


def test_panic_during_the_pictures_of_a_vaults_first_enrollment(tmp_path: Path, where: str, key: KeyFileKey) -> None:
    """The opening begins before the pictures are looked at, in a vault that is made for it."""
    keeper = keeper_of(tmp_path / "new", where)
    opening = keeper.begin("alice", enrolling=True)
    assert opening is not None
    keeper_of(tmp_path / "new", "process").enroll(make_record("bob"), key, replace=False, rules=RULES)
    assert close_elsewhere(tmp_path / "new", "keyring", "panic") == "0"
    keeper.enroll(make_record(), key, replace=False, rules=RULES, opening=opening)
    assert reason_of(keeper) is Reason.PANIC
    keeper.sessions.forget_all(Reason.REMOVED)


@pytest.mark.parametrize("what", ["lock", "panic"])
@pytest.mark.parametrize("path", ["a file", "a loop", "nothing", "an empty folder", "a long name"])
def test_a_path_that_is_no_vault_forgets_nothing(enrolled: Keeper, tmp_path: Path, path: str, what: str) -> None:
    wrong = tmp_path / "wrong"
    if path == "a file":
        wrong.write_text("not a folder")
    elif path == "a loop":
        wrong.symlink_to(wrong)
    elif path == "an empty folder":
        wrong.mkdir()
    elif path == "a long name":
        wrong = tmp_path / ("x" * 300)
    keeper = keeper_of(wrong, "keyring")
    said: list[object] = []
    try:
        said.append(int(keeper.panic() if what == "panic" else keeper.lock("alice")))
    except FaceSdkError as error:
        said.append(str(error))
    assert said == [0] or "the key is forgotten" not in str(said)
    assert attempt(enrolled)


@pytest.mark.parametrize("how", ["moved", "damaged", "a folder", "a pipe"])
@pytest.mark.parametrize("what", ["lock", "panic"])
def test_a_vault_whose_identity_is_gone_is_locked_all_the_same(
    tmp_path: Path, key: KeyFileKey, how: str, what: str
) -> None:
    keeper = keeper_of(tmp_path / "vault", "keyring")
    keeper.enroll(make_record(), key, replace=False, rules=RULES)
    assert attempt(keeper)
    identity = tmp_path / "vault" / ".vault"
    identity.rename(tmp_path / "identity")
    if how == "damaged":
        identity.write_bytes(b"facesdk vault 1 what\n")
    elif how == "a folder":
        identity.mkdir()
    elif how == "a pipe":
        os.mkfifo(identity)
    closed = 0
    with contextlib.suppress(FaceSdkError):
        closed = keeper.panic() if what == "panic" else keeper.lock("alice")
    identity.rmdir() if how == "a folder" else identity.unlink(missing_ok=True)
    (tmp_path / "identity").rename(identity)
    assert closed >= 0
    assert isinstance(keeper.sessions.load("alice"), Required), "the key is still in the keyring"
    keeper.remove("alice")


pytestmark = needs_keyring
