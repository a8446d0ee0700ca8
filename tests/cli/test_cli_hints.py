"""The second line of an error helps against its cause; removing a template is proposed where nothing else helps."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_tools import CALLS, FACESDK, facesdk, lines_of, portrait_file, refusing, secret_file
from vault_tools import Bench

from facesdk import errors
from facesdk.cli import hints
from facesdk.errors import FaceSdkError, KeyUnavailableError
from facesdk.vault import KeyFileKey, causes

needs_seccomp = pytest.mark.skipif(CALLS is None, reason="the numbers of the calls are known for x86-64 and aarch64")
needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="giving up CAP_IPC_LOCK needs root and setpriv"
)
KEYRING = ("keyctl", "add_key", "request_key")


class Said:
    """What a command said, after the check that it was an error of ours with a hint that costs nobody a template."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        assert done.returncode not in (0, 70), done.stderr
        self.code = done.returncode
        error, self.hint = [line for line in lines_of(done) if not line.startswith("warning:")]
        assert self.hint.startswith("hint: ")
        assert not {"enroll again", "facesdk remove"} & {
            w for w in ("enroll again", "facesdk remove") if w in self.hint
        }
        self.error = error


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("hints")
    options = ["--vault", str(folder / "vault"), "--passphrase-file", secret_file(folder / "words")]
    assert (
        facesdk(
            "enroll", "--allow-few-samples", "--yes", "--embedder", "sface", *options, portrait_file("obama_2005")
        ).returncode
        == 0
    )
    return options


def verify(vault: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    return facesdk("verify", *vault, portrait_file("obama_2009"), **options)


def test_the_good_case_first(vault: list[str]) -> None:
    done = verify(vault)
    assert (done.returncode, lines_of(done)) == (0, [])


# --- passphrase files, before anybody is enrolled and after


@pytest.mark.parametrize("command", [["enroll", "--allow-few-samples", "--yes"], ["verify"]])
def test_passphrase_files(vault: list[str], tmp_path: Path, command: list[str]) -> None:
    words = tmp_path / "words"
    where = ["--vault", str(tmp_path / "new")] if command[0] == "enroll" else vault[:2]

    def said() -> Said:
        return Said(facesdk(*command, *where, "--passphrase-file", str(words), portrait_file("obama_2009")))

    assert "check the path" in said().hint
    words.write_bytes(b"some words to open it")
    words.chmod(0o644)
    assert said().hint == f"hint: run `chmod 600 {words}`"
    words.unlink()
    words.mkdir()
    assert "holds the passphrase" in said().hint
    words.rmdir()
    words.symlink_to(words)
    assert said().hint


def test_passphrases_through_pipes(vault: list[str]) -> None:
    words = Path(vault[3]).read_bytes()
    picture = portrait_file("obama_2009")
    for option in (["--passphrase-file", "-"], ["--passphrase-fd", "0"], ["--passphrase-file", "/dev/stdin"]):
        done = facesdk("verify", *vault[:2], *option, picture, input=words + b"\n", stdin=None)
        assert done.returncode == 0, done.stderr
    shell = f'"$@" --passphrase-file <(cat {vault[3]}) {picture}'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *FACESDK, "verify", *vault[:2]], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "3< file" in Said(facesdk("verify", *vault[:2], "--passphrase-fd", "9", picture)).hint
    done = facesdk("rekey", *vault[:2], "--passphrase-file", "-", "--new-passphrase-fd", "0", input=words, stdin=None)
    assert "each its own" in Said(done).hint
    assert verify(vault).returncode == 0


def test_every_passphrase_has_a_descriptor(vault: list[str], tmp_path: Path) -> None:
    words, exported = vault[3], str(tmp_path / "exported")
    for command in (
        f"export --passphrase-fd 3 --recovery-passphrase-fd 4 --vault {vault[1]} {exported} 3< {words} 4< {words}",
        f"import --passphrase-fd 3 --recovery-passphrase-fd 4 --vault {tmp_path}/v {exported} 3< {words} 4< {words}",
        f"rekey --passphrase-fd 3 --new-passphrase-fd 4 --vault {tmp_path}/v 3< {words} 4< {words}",
        f"renew --passphrase-fd 3 --vault {tmp_path}/v 3< {words}",
    ):
        done = subprocess.run(["bash", "-c", f'"$@" {command}', "bash", *FACESDK], capture_output=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)


# --- the kernel, the disk and the limits


@needs_seccomp
@pytest.mark.parametrize(("code", "words"), [(errno.EPERM, "forbidden here"), (errno.ENOSYS, "has no keyring")])
def test_no_keyring(vault: list[str], code: int, words: str) -> None:
    for done in (
        verify(vault[:2], preexec_fn=lambda: refusing(code, *KEYRING)),
        facesdk("unlock", *vault, preexec_fn=lambda: refusing(code, *KEYRING)),
    ):
        said = Said(done)
        assert said.code == 4
        assert words in said.hint
        assert "--passphrase-file" in said.hint
    assert verify(vault, preexec_fn=lambda: refusing(code, *KEYRING)).returncode == 0
    done = facesdk("status", *vault[:2], "--json", preexec_fn=lambda: refusing(code, *KEYRING))
    assert words in json.loads(done.stdout)["keyring"]


@pytest.mark.usefixtures("keyring")
def test_status_is_silent_about_a_keyring_that_works(vault: list[str]) -> None:
    assert json.loads(facesdk("status", *vault[:2], "--json").stdout)["keyring"] is None


@needs_seccomp
@pytest.mark.usefixtures("keyring")
def test_a_full_keyring(vault: list[str]) -> None:
    said = Said(facesdk("unlock", *vault, preexec_fn=lambda: refusing(errno.EDQUOT, "add_key")))
    assert "quota" in said.hint
    assert "keyctl show @u" in said.hint


@needs_seccomp
@pytest.mark.parametrize(
    ("code", "call", "words"),
    [
        (errno.ENOLCK, "flock", "no lock server"),
        (errno.EOPNOTSUPP, "flock", "cannot do that"),
        (errno.EINVAL, "fsync", "cannot do that"),
        (errno.EIO, "fsync", "reports errors"),
        (errno.EDQUOT, "fsync", "quota is used up"),
        (errno.ENOSPC, "fsync", "disk is full"),
    ],
)
def test_file_systems(vault: list[str], code: int, call: str, words: str) -> None:
    said = Said(facesdk("renew", *vault, preexec_fn=lambda: refusing(code, call)))
    assert said.code == 6
    assert words in said.hint
    assert verify(vault).returncode == 0


@needs_setpriv
def test_too_little_locked_memory(vault: list[str]) -> None:
    unprivileged = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock"]

    def limited(kib: int) -> subprocess.CompletedProcess[bytes]:
        shell = ["bash", "-c", f'ulimit -l {kib}; exec "$@"', "bash", *unprivileged, *FACESDK, "renew", *vault]
        return subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    assert limited(hints.LOCKED_MEMORY_KIB).returncode == 0
    said = Said(limited(16))
    assert f"needs {hints.LOCKED_MEMORY_KIB} KiB, the limit is 16 KiB" in said.hint
    assert "ulimit -l" in said.hint


def test_too_many_open_files(vault: list[str]) -> None:
    def limited(number: int) -> subprocess.CompletedProcess[bytes]:
        command = ["bash", "-c", f'ulimit -n {number}; exec "$@"', "bash", *FACESDK, "renew", *vault]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    assert limited(64).returncode == 0
    said = [Said(done) for done in map(limited, (5, 6)) if lines_of(done)]
    assert said, "neither limit let the interpreter start and stopped the command"
    assert all("ulimit -n" in each.hint for each in said)


def test_a_hard_linked_backup(vault: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(vault[1], copy)
    options = ["--vault", str(copy), *vault[2:]]
    assert verify(options).returncode == 0
    shutil.copytree(copy, tmp_path / "backup", copy_function=os.link)
    said = Said(verify(options))
    assert "hard link" in said.error
    assert "without -l" in said.hint


@pytest.mark.parametrize("command", ["list", "status", "unlock", "verify", "remove", "renew", "audit", "enroll"])
def test_a_folder_that_is_no_vault(tmp_path: Path, vault: list[str], command: str) -> None:
    (tmp_path / "letters").mkdir(0o755)
    (tmp_path / "letters" / "to_anna.txt").write_text("precious")
    more = {"verify": ["x.jpg"], "enroll": ["--yes", "--allow-few-samples", portrait_file("obama_2005")]}.get(
        command, []
    )
    key = vault[2:] if command in ("unlock", "renew", "enroll", "verify") else []
    said = Said(facesdk(command, "--vault", str(tmp_path / "letters"), *key, *more))
    assert "is no vault" in said.error
    assert said.code == 2
    assert os.listdir(tmp_path / "letters") == ["to_anna.txt"]
    assert (tmp_path / "letters").stat().st_mode & 0o777 == 0o755


def test_a_mistyped_folder_is_seen(tmp_path: Path, vault: list[str]) -> None:
    assert b"sealed by" in facesdk("status", *vault[:2]).stdout
    assert b"no one is enrolled here" in facesdk("status", "--vault", str(tmp_path / "typo")).stdout
    assert not (tmp_path / "typo").exists()


# --- every class, and JSON


def test_json_has_the_hint(vault: list[str]) -> None:
    done = facesdk("verify", *vault[:2], "--passphrase-file", "/nowhere", "--json", portrait_file("obama_2009"))
    result = json.loads(done.stdout)
    assert result["error"] == "KeyUnavailableError"
    assert "check the path" in result["hint"]
    assert result["hint"] not in result["message"]


def test_a_wrong_passphrase_costs_nobody_a_template(vault: list[str], tmp_path: Path) -> None:
    wrong = secret_file(tmp_path / "wrong", b"other words to open it")
    assert "try again" in Said(verify([*vault[:2], "--passphrase-file", wrong])).hint


def test_the_last_resort_never_removes_for_a_missing_key() -> None:
    """Removing helps against damage where there is no backup, and against nothing else."""
    for kind in (k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, FaceSdkError)):
        if kind in (errors.PassphraseRequiredError,):
            continue
        error = errors.LockedOutError(3) if kind is errors.LockedOutError else kind("broken")
        hint = hints.hint_of(error) or ""
        assert ("facesdk remove" in hint) == issubclass(kind, errors.VaultIntegrityError), kind
    own = KeyUnavailableError("broken", hint="mend it")
    assert hints.hint_of(own) == "mend it"


def test_what_the_system_refuses_has_a_hint() -> None:
    """For each errno that opening, locking, writing and syncing are known to end with."""
    known = (
        "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM ENOENT EEXIST ENOTDIR EISDIR ELOOP ENAMETOOLONG EIO EMFILE ENFILE"
        " ENOMEM EINTR EBUSY ENOLCK ESTALE ETIMEDOUT ENOTCONN ENODEV ENXIO EINVAL EOPNOTSUPP ENOSYS ENOTTY"
        " EUCLEAN ENOKEY"
    )
    found = {name: causes.hint_for(getattr(errno, name), Path("/proc/self")) for name in known.split()}
    assert not [name for name, hint in found.items() if not hint or "enroll" in hint]
    assert "(proc)" in str(found["EINVAL"])
    assert causes.hint_for(errno.EXDEV) is None


def test_file_system_of(tmp_path: Path) -> None:
    assert causes.file_system_of(Path("/proc")) == "proc"
    assert causes.file_system_of(tmp_path / "not" / "there") == causes.file_system_of(tmp_path)
    assert causes.file_system_of(Path("relative/not/there")) == causes.file_system_of(Path.cwd())


def test_modes_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"))
    bench.enroll()
    bench.folder.chmod(0o777)
    for kind, words in (("ext4", "chmod 700"), ("vfat", "keeps no modes")):
        monkeypatch.setattr(causes, "file_system_of", lambda _, kind=kind: kind)
        with pytest.raises(errors.VaultError, match=words):
            bench.unlock()
