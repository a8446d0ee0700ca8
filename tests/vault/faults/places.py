"""What the tests of races, places and forgetting work in: an open key, other users, file systems, planted files."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesdk.errors import FaceSdkError
from facesdk.vault import KeyFileKey, KeyringOpenKeys, ProcessOpenKeys, Record, Vault, VaultFolder
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import AttemptRules

USER = "alice"
RULES = AttemptRules.preset("phone")
HOUR_NS = 3600 * 10**9
NOBODY = 65534


def make_record(user: str = USER) -> Record:
    unit = np.eye(8, dtype=np.float32)
    return Record(
        user=user, embedder="sface", model_ids=("ab" * 32,), reference=unit[0], samples=unit[:2],
        created_unix_s=1_700_000_000, consent="yes",
    )  # fmt: skip


class Place:
    """A vault with one user, whose key is open with two failures."""

    def __init__(self, root: Path, *, keyring: bool = False) -> None:
        self.root, self.path = root, root / "vault"
        self.now_ns = 1000 * HOUR_NS
        self.open_keys: Any = KeyringOpenKeys(self.path) if keyring else ProcessOpenKeys()
        self.vault = Vault(VaultFolder(self.path), self.open_keys, now_ns=lambda: self.now_ns)
        self.a, self.b = (KeyFileKey.create(root / name) for name in "ab")
        self.vault.enroll(make_record(), self.a, replace=False, rules=RULES)
        self.fail(2)

    def fail(self, times: int) -> None:
        for _ in range(times):
            assert not self.attempt(matches=False)

    def attempt(self, *, matches: bool = True) -> bool:
        held = self.held()
        return self.vault.attempt(
            USER, lambda _: matches, generation=held.generation if held else 1, camera="files", label=""
        )

    def held(self) -> OpenKey | None:
        found = self.open_keys.load(USER)
        return found if isinstance(found, OpenKey) else None

    def failures(self) -> int:
        held = self.held()
        assert held is not None
        return held.state.failures

    def unlock(self, key: KeyFileKey | None = None) -> None:
        self.vault.unlock(USER, key or self.a, rules=RULES)

    def is_well(self, key: KeyFileKey | None = None) -> bool:
        """The key opens, an attempt matches, the log is whole."""
        self.unlock(key)
        return self.attempt() and self.vault.audit(USER)[0].problem is None

    def files(self) -> dict[str, Path]:
        """The user's files by what they are."""
        kinds = {".face": "face", ".audit": "audit", ".lock": "lock"}
        files = [p for p in self.path.iterdir() if p.name not in (".vault", ".panic") and ".attempt-" not in p.name]
        return {kinds.get(p.suffix, "head") if p.name != ".lock" else "lock": p for p in files}


FOREIGN = b"somebody's own words"
OPERATIONS: dict[str, Callable[[Place], object]] = {
    "attempt": lambda p: p.attempt(),
    "unlock": lambda p: p.unlock(),
    "renew": lambda p: p.vault.renew(USER, p.a, rules=RULES),
    "rekey": lambda p: p.vault.rekey(USER, p.a, p.b, rules=RULES),
    "enroll": lambda p: p.vault.enroll(make_record(), p.a, replace=True, rules=RULES),
    "audit": lambda p: p.vault.audit(USER, p.a),
    "state": lambda p: p.vault.state(USER),
    "lock": lambda p: p.vault.lock(USER),
    "panic": lambda p: p.vault.panic(),
    "restart_log": lambda p: p.vault.restart_log(USER, p.a),
    "remove": lambda p: p.vault.remove(USER, p.a),
}


def plant(path: Path, how: str, target: Path) -> None:
    path.unlink()
    if how == "symlink":
        path.symlink_to(target)
    elif how == "dangling":
        path.symlink_to(target.with_name("nothing"))
    elif how == "hard link":
        path.hardlink_to(target)
    elif how == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir(0o700)
        (path / "inside").write_bytes(FOREIGN)


def as_nobody(call: Callable[[], object]) -> dict[str, Any]:
    """What became of the call in a process of another user: its result, or its error and whether that is ours."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                said = {"result": call()}
            except BaseException as error:
                ours = isinstance(error, FaceSdkError)
                said = {"error": type(error).__name__, "ours": ours, "message": str(error)}
            os.write(writer, json.dumps(said, default=repr).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    result: dict[str, Any] = json.loads(text)
    return result


def hand_over(root: Path, owner: int = NOBODY) -> None:
    """Everything below belongs to that user."""
    for path in [root, *root.rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory, mounted there."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root and mount(8)")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the space there is."""
    path = folder / "ballast"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def join_new_session_keyring() -> None:
    """As a service has it: a session keyring of its own, without a link to the user's."""
    library = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    if library.syscall(number, 1, None) < 0:
        raise OSError(ctypes.get_errno(), "keyctl")
