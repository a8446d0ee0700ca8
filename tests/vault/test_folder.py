"""Which folders become a vault, which are read as one, and that nothing else is touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import places_tools
import pytest
from cli_tools import facesdk, lines_of, portrait_file, secret_file
from faults.places import as_nobody, hand_over
from vault_tools import Bench, failing_with, make_record, mode_of

from facesdk.errors import FaceSdkError, InputError, VaultError, VaultIntegrityError
from facesdk.vault import KeyFileKey, folder

root = places_tools.root
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's folder needs root")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"))


def listing(path: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.lstat().st_mode, p.read_bytes() if p.is_file() else b"") for p in (path, *path.iterdir())}


@pytest.mark.parametrize("name", ["notes.txt", ".tmp-notes", ".face", "alice.face.bak", ".lock"])
def test_a_folder_with_other_things_stays_as_it_is(bench: Bench, name: str) -> None:
    bench.folder.mkdir(0o755)
    (bench.folder / name).write_bytes(b"precious")
    before = listing(bench.folder)
    calls = {
        "enroll": bench.enroll, "unlock": bench.unlock, "users": bench.vault.folder.users,
        "state": lambda: bench.vault.state("alice"), "remove": lambda: bench.vault.remove("alice"),
        "audit": lambda: bench.vault.audit("alice"), "lock": lambda: bench.vault.lock("alice"),
    }  # fmt: skip
    for what, call in calls.items():
        with pytest.raises(InputError, match="is no vault"):
            call()
        assert listing(bench.folder) == before, what
    (bench.folder / ".vault").mkdir()  # a folder of that name is another program's
    with pytest.raises(InputError, match="is no vault"):
        bench.enroll()
    (bench.folder / ".vault").rmdir()
    (bench.folder / name).unlink()  # one thing changed: an empty folder becomes a vault, and private
    bench.enroll()
    assert mode_of(bench.folder) == 0o700
    bench.unlock()


def test_a_vault_with_other_things_stays_a_vault(bench: Bench) -> None:
    bench.enroll()
    for name in (".tmp-notes", "readme.txt", ".facesdk-tmp-notes", ".facesdk-tmp-" + "0" * 31, "x.face.bak"):
        (bench.folder / name).write_bytes(b"precious")
    left = bench.folder / (".facesdk-tmp-" + "0" * 32)
    left.write_bytes(b"half a file")
    bench.enroll(replace=True)
    bench.vault.remove("alice")
    assert not left.exists()
    assert sorted(p.name for p in bench.folder.iterdir() if p.read_bytes() == b"precious") == [
        ".facesdk-tmp-" + "0" * 31, ".facesdk-tmp-notes", ".tmp-notes", "readme.txt", "x.face.bak",
    ]  # fmt: skip
    bench.enroll()
    assert bench.attempt()


def unhidden(bench: Bench) -> None:
    """What a copy by `cp vault/* elsewhere` lacks."""
    for name in (".lock", ".vault"):
        (bench.folder / name).unlink()


def test_a_copy_without_hidden_files_is_a_vault(bench: Bench) -> None:
    bench.enroll()
    unhidden(bench)
    bench.unlock()
    bench.enroll(make_record("bob"))
    unhidden(bench)
    (bench.folder / "letters.txt").write_bytes(b"precious")
    bench.unlock()  # it may be read, and what is there opened; but nobody new is put beside somebody's letters
    unhidden(bench)
    with pytest.raises(InputError, match="is no vault"):
        bench.enroll(make_record("carol"))


def test_a_second_name_says_how_to_break_the_link(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    (tmp_path / "backup").hardlink_to(bench.path())
    with pytest.raises(VaultIntegrityError, match="hard link") as caught:
        bench.unlock()
    assert "enroll" not in str(caught.value)
    command = caught.value.hint.split("`")[1]
    assert os.system(f"cd {bench.folder} && {command}") == 0
    bench.unlock()
    assert (tmp_path / "backup").exists()


# --- other people's folders


@needs_root
def test_root_makes_nothing_in_a_users_home(root: Path) -> None:
    """The good case first, in root's own; then one thing changed: whose home it is."""
    words = secret_file(root / "words")
    command = [
        "enroll",
        "--allow-few-samples",
        "--yes",
        "--embedder",
        "sface",
        "--passphrase-file",
        words,
        portrait_file("obama_2005"),
    ]
    for name, owner in (("own", 0), ("theirs", 65534)):
        home = root / name
        home.mkdir()
        os.chown(home, owner, owner)
        done = facesdk(*command, env={"HOME": str(home), "XDG_DATA_HOME": ""})
        assert (done.returncode == 0) == (owner == 0), done.stderr
        assert (home / ".local").exists() == (owner == 0)
    assert lines_of(done)[0].startswith("error: ")
    assert "sudo -u nobody facesdk" in lines_of(done)[1]
    # The folders that lead to it are root's already, by an accident of another program: the home still is not.
    (root / "theirs" / ".local" / "share").mkdir(parents=True)
    done = facesdk(*command, env={"HOME": str(root / "theirs"), "XDG_DATA_HOME": ""})
    assert (done.returncode, list((root / "theirs" / ".local" / "share").iterdir())) == (6, [])
    for place in ({"XDG_DATA_HOME": str(root / "theirs")}, {"HOME": str(root / "own"), "XDG_DATA_HOME": ""}):
        done = facesdk(*command, env=place)
        assert done.returncode == (6 if "theirs" in place["XDG_DATA_HOME"] else 2), done.stderr


@needs_root
def test_root_on_a_users_vault_is_told_to_be_that_user(root: Path) -> None:
    key = KeyFileKey.create(root / "vault.key")
    bench = Bench(root / "vault", key)
    bench.enroll()
    bench.unlock()
    hand_over(root / "vault")
    for call in (bench.unlock, bench.enroll, bench.vault.folder.users):
        with pytest.raises(VaultError, match="sudo -u nobody facesdk") as caught:
            call()
        assert "chown" not in str(caught.value)


@needs_root
def test_a_user_makes_no_vault_in_anothers_folder(root: Path) -> None:
    root.chmod(0o777)
    (root / "open").mkdir()
    (root / "open").chmod(0o777)
    KeyFileKey.create(root / "vault.key")
    os.chown(root / "vault.key", 65534, 65534)
    os.chown(root / "open", 65534, 65534)
    said = as_nobody(lambda: Bench(root / "open" / "vault", KeyFileKey(root / "vault.key")).enroll())
    assert said.get("result", "missing") is None
    os.chown(root / "open", 1234, 1234)
    said = as_nobody(lambda: Bench(root / "open" / "second", KeyFileKey(root / "vault.key")).enroll())
    assert said["error"] == "VaultError"
    assert not (root / "open" / "second").exists()


# --- file systems


def test_a_file_system_without_fsync_of_folders(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = os.fsync

    def without_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        genuine(descriptor)

    monkeypatch.setattr(os, "fsync", without_folders)
    descriptor = os.open(bench.folder.parent, os.O_RDONLY)
    folder.sync_folder(descriptor)
    monkeypatch.setattr(os, "fsync", failing_with(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        folder.sync_folder(descriptor)
    os.close(descriptor)
    monkeypatch.setattr(os, "fsync", failing_with(errno.EINVAL))
    with pytest.raises(VaultError, match=r"the file system there \(\w+\) cannot do that") as caught:
        bench.enroll()
    assert caught.value.errno == errno.EINVAL
    assert not isinstance(caught.value.__cause__, FaceSdkError)
