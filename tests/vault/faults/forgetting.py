"""Operations that seal, while something takes the key away: a fork, or another thread that forgets it.

After each, whatever lies in the vault opens with the key that was meant and with no other, zeros least of all.
"""

from __future__ import annotations

import base64
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from facesdk.errors import FaceSdkError, KeyUnavailableError, NotEnrolledError, PassphraseRequiredError
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, ProcessOpenKeys, Record, Vault, VaultFolder
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.rules import PRESETS

CHEAP: dict[str, Any] = {"memory_kib": 19 * 1024, "passes": 2}
RULES = PRESETS["phone"]
PASSPHRASE = "p" * 16
OPERATIONS = ("enroll", "replace", "import", "rekey", "renew")
USER = "owner"


def record(seed: int = 0) -> Record:
    """One sample of random features."""
    vector = np.random.default_rng(seed).standard_normal(128).astype(np.float32)
    vector /= np.linalg.norm(vector)
    return Record(USER, "mobilefacenet", ("0" * 64,), vector, vector[None], 1, "a test")


class Trial:
    """A vault in its own folder, an operation on it, and what its files open with afterwards.

    make: a provider with the secret that is meant, each time it is called. wrong: providers with zeros in its place.
    """

    def __init__(
        self, folder: Path, operation: str, make: Callable[[], KeyProvider], wrong: Callable[[], list[KeyProvider]]
    ) -> None:
        self.folder, self.operation = folder, operation
        self.make, self.wrong = make, wrong
        self.old = PassphraseKey("old" * 4, **CHEAP)
        self.recovery = PassphraseKey("r" * 12, kind=KeyKind.RECOVERY, **CHEAP)
        self.key = make()
        self.vault = Vault(VaultFolder(folder), ProcessOpenKeys())
        self.exported = b""
        if operation == "import":
            elsewhere = Vault(VaultFolder(folder.with_name(folder.name + "-elsewhere")), ProcessOpenKeys())
            elsewhere.enroll(record(), self.old, replace=False, rules=RULES)
            self.exported = elsewhere.export(USER, self.old, self.recovery)
        elif operation == "rekey":
            self.vault.enroll(record(), self.old, replace=False, rules=RULES)
        elif operation in ("renew", "replace"):
            self.vault.enroll(record(), make(), replace=False, rules=RULES)

    def run(self) -> bool:
        """Whether the operation was done; False where it was refused for want of its key."""
        calls: dict[str, Callable[[], object]] = {
            "enroll": lambda: self.vault.enroll(record(1), self.key, replace=False, rules=RULES),
            "replace": lambda: self.vault.enroll(record(1), self.key, replace=True, rules=RULES),
            "import": lambda: self.vault.import_(self.exported, self.recovery, self.key, replace=False, rules=RULES),
            "rekey": lambda: self.vault.rekey(USER, self.old, self.key, rules=RULES),
            "renew": lambda: self.vault.renew(USER, self.key, rules=RULES),
        }
        try:
            calls[self.operation]()
        except PassphraseRequiredError:
            return False
        return True

    def _opens(self, key: KeyProvider) -> bool:
        try:
            Vault(VaultFolder(self.folder), ProcessOpenKeys()).unlock(USER, key, rules=RULES)
        except (KeyUnavailableError, NotEnrolledError):
            return False
        return True

    def fault(self, done: bool) -> str:
        """What is wrong with the files, empty if they are as they must be."""
        if any(self._opens(key) for key in self.wrong()):
            return "zeros open it"
        if not self.vault.folder.exists(USER):
            return "no file, though it was done" if done else ""
        meant = self.make() if done or self.operation in ("renew", "replace") else self.old
        return "" if self._opens(meant) else "the key that was meant does not open it"

    def clear(self) -> None:
        """Frees what a provider keeps elsewhere."""
        with suppress(FaceSdkError):
            self.vault.remove(USER, self.make())


def passphrase(folder: Path) -> tuple[Callable[[], KeyProvider], Callable[[], list[KeyProvider]]]:
    """Providers by passphrase: the one that is meant, and zeros of its length."""
    return lambda: PassphraseKey(PASSPHRASE, **CHEAP), lambda: [PassphraseKey(bytes(len(PASSPHRASE)), **CHEAP)]


def key_file(folder: Path) -> tuple[Callable[[], KeyProvider], Callable[[], list[KeyProvider]]]:
    """Providers by key file: a fresh one, and one of 32 zeros."""
    KeyFileKey.create(folder / "key")
    (folder / "zeros").write_bytes(b"facesdk-key-1:" + base64.b64encode(bytes(32)) + b"\n")
    (folder / "zeros").chmod(0o600)
    return lambda: KeyFileKey(folder / "key"), lambda: [KeyFileKey(folder / "zeros")]


PROVIDERS = {"passphrase": passphrase, "key file": key_file}


def under_a_forgetting_thread(trial: Trial, *, within_s: float, rng: random.Random) -> bool:
    """Runs the operation while a thread forgets its key at a random moment; whether it was done."""
    wait_s = rng.uniform(0, within_s)

    def forget() -> None:
        time.sleep(wait_s)
        trial.key.forget()

    with ExitStack() as stack:
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=forget)
        stack.callback(thread.join)
        thread.start()
        return trial.run()


def in_a_child(trial: Trial) -> bool:
    """Runs the operation in a forked child; whether it was done there. RuntimeError for any other error."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if trial.run() else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 1):
        raise RuntimeError(f"{trial.operation} in a child ended with {code}")
    return code == 0
