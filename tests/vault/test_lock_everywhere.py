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
from facesdk.vault import KeyFileKey, KeyringOpenKeys, PassphraseKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.audit.entry import AuditEvent

root = root


def vault_at(folder: Path, where: str) -> Vault:
    return Vault(VaultFolder(folder), KeyringOpenKeys(folder) if where == "keyring" else ProcessOpenKeys())


@pytest.fixture(params=["keyring", pytest.param("process")])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def key(tmp_path: Path) -> KeyFileKey:
    return KeyFileKey.create(tmp_path / "key")


@pytest.fixture
def enrolled(tmp_path: Path, where: str, key: KeyFileKey) -> Any:
    vault = vault_at(tmp_path / "vault", where)
    vault.enroll(make_record(), key, replace=False, rules=RULES)
    assert attempt(vault)
    yield vault
    vault.open_keys.forget_all(Reason.REMOVED)


def attempt(vault: Vault) -> bool:
    return vault.attempt("alice", lambda _: True, generation=1, camera="files", label="")


def reason_of(vault: Vault) -> Reason | None:
    state, _ = vault.state("alice")
    return state.reason if isinstance(state, PassphraseRequired) else None


CLOSE = """
import sys
from pathlib import Path
from facesdk.vault import Vault, KeyringOpenKeys, ProcessOpenKeys, VaultFolder
path = Path(sys.argv[1])
vault = Vault(VaultFolder(path), KeyringOpenKeys(path) if sys.argv[2] == "keyring" else ProcessOpenKeys())
print(vault.panic() if sys.argv[3] == "panic" else vault.lock("alice"))
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
def test_another_process_by_another_path(enrolled: Vault, where: str, closer: str, what: str, tmp_path: Path) -> None:
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
def test_a_renamed_folder(enrolled: Vault, where: str, what: str, tmp_path: Path, key: KeyFileKey) -> None:
    moved = (tmp_path / "vault").rename(tmp_path / "elsewhere")
    close_elsewhere(moved, "keyring", what)
    moved.rename(tmp_path / "vault")
    assert isinstance(enrolled.state("alice")[0], PassphraseRequired)
    enrolled.unlock("alice", key, rules=RULES)
    assert attempt(enrolled)


def test_a_copy_of_the_folder_has_the_same_keys(tmp_path: Path, key: KeyFileKey) -> None:
    import shutil

    vault = vault_at(tmp_path / "vault", "keyring")
    vault.enroll(make_record(), key, replace=False, rules=RULES)
    shutil.copytree(tmp_path / "vault", tmp_path / "copy")
    assert vault_at(tmp_path / "copy", "keyring").lock("alice") is True
    assert reason_of(vault) is Reason.LOCKED
    vault.remove("alice")


def test_two_vaults_have_nothing_in_common(tmp_path: Path, key: KeyFileKey) -> None:
    vaults = [vault_at(tmp_path / name, "keyring") for name in ("one", "two")]
    for vault in vaults:
        vault.enroll(make_record(), key, replace=False, rules=RULES)
    assert vaults[0].panic() == 1
    assert reason_of(vaults[0]) is Reason.PANIC
    assert attempt(vaults[1])
    for vault in vaults:
        vault.remove("alice")


def test_nothing_open_is_not_forgotten(enrolled: Vault) -> None:
    assert enrolled.lock("alice") is True
    assert enrolled.lock("alice") is False
    assert enrolled.panic() == 0
    with pytest.raises(NotEnrolledError):
        enrolled.lock("nobody")


@pytest.mark.parametrize("wrong", [None, 3, b"alice", ["alice"], "../alice", ""])
def test_what_is_no_user_is_told_before_anything_is_forgotten(enrolled: Vault, wrong: Any) -> None:
    with pytest.raises(InputError):
        enrolled.lock(wrong)
    assert attempt(enrolled)


def test_panic_counts(enrolled: Vault, key: KeyFileKey) -> None:
    enrolled.enroll(make_record("bob"), key, replace=False, rules=RULES)
    assert enrolled.panic() == 2


def test_panic_during_the_first_enrollment_of_a_vault(tmp_path: Path, where: str) -> None:
    """The enrollment is done, and opens nothing."""
    vault = vault_at(tmp_path / "new", where)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(PassphraseKey):
        def wrap(self, *arguments: Any, **options: Any) -> bytes:
            begun.set()
            assert go_on.wait(20)
            return super().wrap(*arguments, **options)

    enroll = threading.Thread(
        target=vault.enroll, args=(make_record(), Slow("x", **CHEAP)), kwargs={"replace": False, "rules": RULES}
    )
    enroll.start()
    assert begun.wait(20)
    panic = threading.Thread(target=vault.panic)
    panic.start()
    threading.Event().wait(0.1)
    go_on.set()
    enroll.join(20)
    panic.join(20)
    assert reason_of(vault) is Reason.PANIC
    assert [entry.event for entry in vault.audit("alice")[1]] == [AuditEvent.ENROLLED, AuditEvent.PANIC]
    vault.remove("alice")


def test_removed_and_enrolled_again_is_not_removed(tmp_path: Path, key: KeyFileKey) -> None:
    vault = vault_at(tmp_path / "vault", "keyring")
    vault.enroll(make_record(), key, replace=False, rules=RULES)
    vault.remove("alice")
    vault_at(tmp_path / "vault", "process").enroll(make_record(), key, replace=False, rules=RULES)
    assert reason_of(vault) is Reason.NOT_UNLOCKED
    with pytest.raises(PassphraseRequiredError) as caught:
        attempt(vault)
    assert caught.value.reason is Reason.NOT_UNLOCKED
    vault.remove("alice")


@pytest.mark.parametrize("what", ["lock", "panic"])
def test_a_read_only_disk_is_told_from_a_key_that_stays(root: Path, what: str) -> None:
    with mounted(root, "size=1m,mode=755"):
        vault = vault_at(root / "vault", "keyring")
        key = KeyFileKey.create(root / "key")
        vault.enroll(make_record(), key, replace=False, rules=RULES)
        assert isinstance(vault.state("alice")[0], Ready)
        remount(root, "ro")
        try:
            with pytest.raises(NotLoggedError, match="the key is forgotten") as caught:
                vault.panic() if what == "panic" else vault.lock("alice")
            assert caught.value.errno == errno.EROFS
            assert reason_of(vault) is (Reason.PANIC if what == "panic" else Reason.LOCKED)
            report, entries, _ = vault.audit("alice")
            assert (report.problem, len(entries)) == (None, 1)
            assert vault.audit("alice", key)[2] is True  # with the key too
        finally:
            remount(root, "rw")
        vault.remove("alice")


def test_panic_during_the_pictures_of_a_vaults_first_enrollment(tmp_path: Path, where: str, key: KeyFileKey) -> None:
    """The opening begins before the pictures are looked at, in a vault that is made for it."""
    vault = vault_at(tmp_path / "new", where)
    opening = vault.begin("alice", enrolling=True)
    assert opening is not None
    vault_at(tmp_path / "new", "process").enroll(make_record("bob"), key, replace=False, rules=RULES)
    assert close_elsewhere(tmp_path / "new", "keyring", "panic") == "0"
    vault.enroll(make_record(), key, replace=False, rules=RULES, opening=opening)
    assert reason_of(vault) is Reason.PANIC
    vault.open_keys.forget_all(Reason.REMOVED)


@pytest.mark.parametrize("what", ["lock", "panic"])
@pytest.mark.parametrize("path", ["a file", "a loop", "nothing", "an empty folder", "a long name"])
def test_a_path_that_is_no_vault_forgets_nothing(enrolled: Vault, tmp_path: Path, path: str, what: str) -> None:
    wrong = tmp_path / "wrong"
    if path == "a file":
        wrong.write_text("not a folder")
    elif path == "a loop":
        wrong.symlink_to(wrong)
    elif path == "an empty folder":
        wrong.mkdir()
    elif path == "a long name":
        wrong = tmp_path / ("x" * 300)
    vault = vault_at(wrong, "keyring")
    said: list[object] = []
    try:
        said.append(int(vault.panic() if what == "panic" else vault.lock("alice")))
    except FaceSdkError as error:
        said.append(str(error))
    assert said == [0] or "the key is forgotten" not in str(said)
    assert attempt(enrolled)


@pytest.mark.usefixtures("own_names_in_the_keyring")
@pytest.mark.parametrize("how", ["moved", "damaged", "a folder", "a pipe"])
@pytest.mark.parametrize("what", ["lock", "panic"])
def test_a_vault_whose_identity_is_gone_is_locked_all_the_same(
    tmp_path: Path, key: KeyFileKey, how: str, what: str
) -> None:
    vault = vault_at(tmp_path / "vault", "keyring")
    vault.enroll(make_record(), key, replace=False, rules=RULES)
    assert attempt(vault)
    identity = tmp_path / "vault" / ".vault"
    identity.rename(tmp_path / "identity")
    if how == "damaged":
        identity.write_bytes(b"facesdk vault 1 what\n")
    elif how == "a folder":
        identity.mkdir()
    elif how == "a pipe":
        os.mkfifo(identity)
    with contextlib.suppress(FaceSdkError):
        vault.panic() if what == "panic" else vault.lock("alice")
    identity.rmdir() if how == "a folder" else identity.unlink(missing_ok=True)
    (tmp_path / "identity").rename(identity)
    assert isinstance(vault.open_keys.load("alice"), PassphraseRequired), "the key is still in the keyring"
    vault.remove("alice")


pytestmark = needs_keyring
