"""The vault that operations are done to under faults, brought back before each, and keys for it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from facesdk._core import Secret
from facesdk.errors import Reason
from facesdk.vault import KeyFileKey, KeyKind, KeyringOpenKeys, PassphraseKey, Record, Vault, VaultFolder
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.keys.provider import Counter, Kdf
from facesdk.vault.open_keys import OpenKey, OpenKeys
from facesdk.vault.rules import AttemptRules
from facesdk.vault.store import LockedFolder

USER, OTHER = "alice", "bob"
RULES = AttemptRules.preset("phone")
FAILURES = 2  # charged before every operation
CHEAP = {"memory_kib": 19 * 1024, "passes": 2}
MIGRATED = "bert_k-2"


class _SizeCounter:
    """A counter that is the size of a file: raising it is one system call, as it is one command of a TPM."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int:
        return self._path.stat().st_size

    def increment(self) -> int:
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            size = os.fstat(descriptor).st_size + 1
            os.ftruncate(descriptor, size)
            return size
        finally:
            os.close(descriptor)


class StandIn(KeyFileKey):
    """A key file's key in the place of another kind: RECOVERY without its Argon2id, TPM with a counter in a folder."""

    def __init__(self, path: Path, *, kind: KeyKind, counters: Path) -> None:
        super().__init__(path)
        self.kind = kind  # type: ignore[misc]
        self._counters = counters

    def derive(self, kdf: Kdf) -> Secret:
        return super().derive(Kdf(KeyKind.KEY_FILE, kdf.salt))

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        name = keep[:4] if keep else os.urandom(2).hex().encode()
        if not keep and self.kind is KeyKind.TPM:
            (self._counters / name.decode()).touch()
        self.kind, kind = KeyKind.KEY_FILE, self.kind  # type: ignore[misc]
        try:
            return name + super().wrap(kek, binding=binding + name)
        finally:
            self.kind = kind  # type: ignore[misc]

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        self.kind, kind = KeyKind.KEY_FILE, self.kind  # type: ignore[misc]
        try:
            return super().unwrap(section[4:], binding=binding + section[:4])
        finally:
            self.kind = kind  # type: ignore[misc]

    def counter(self, section: bytes) -> Counter | None:
        return _SizeCounter(self._counters / section[:4].decode()) if self.kind is KeyKind.TPM else None

    def destroy(self, section: bytes) -> None:
        if self.kind is KeyKind.TPM:
            (self._counters / section[:4].decode()).unlink(missing_ok=True)


class World:
    """A folder with keys and one vault in it, as an operation finds it; `reset` brings that back, keyring and all."""

    def __init__(self, root: Path) -> None:
        self.root, self.path, self.counters = root, root / "vault", root / "counters"
        self.user = USER
        self.keyring = KeyringOpenKeys(self.path)
        self._files: dict[Path, bytes] = {}
        self._held: dict[str, tuple[OpenKey, bytes]] = {}
        self.logged = 0  # entries in the log beforehand
        self.goes_on = False  # whether it is known that all goes on where nothing was changed
        self.folders: list[Path] = []
        for name in ("a", "b", "recovery", "tpm"):
            KeyFileKey.create(root / name)

    def key(self, name: str) -> KeyFileKey | PassphraseKey:
        """The key of this name: a and b are key files, recovery and tpm stand-ins, the rest passphrases."""
        if name in ("recovery", "tpm"):
            kind = KeyKind.RECOVERY if name == "recovery" else KeyKind.TPM
            return StandIn(self.root / name, kind=kind, counters=self.counters)
        return KeyFileKey(self.root / name) if len(name) == 1 else PassphraseKey(name, **CHEAP)

    def vault(self, open_keys: OpenKeys) -> Vault:
        return Vault(VaultFolder(self.path), open_keys)

    def clear(self) -> None:
        """No vault, no counters, no keys in the keyring."""
        for user in (USER, OTHER, MIGRATED):  # first, as it is the folder that tells which keys are its own
            forget(self.keyring, user)
        for folder in (self.path, self.counters):
            shutil.rmtree(folder, ignore_errors=True)
        self.counters.mkdir()

    def keep(self, open_keys: OpenKeys) -> None:
        """Remembers what is there now."""
        self.goes_on = False
        self._files = {p: p.read_bytes() for f in (self.path, self.counters) if f.exists() for p in f.iterdir()}
        self.folders = [self.path] if self.path.exists() else []
        log = self.path / f"{USER}.audit"
        last = log.read_bytes().splitlines()[-1:] if log.exists() else []
        self.logged = json.loads(last[0])["n"] + 1 if last else 0
        self._held = {}
        for user in (USER, OTHER, MIGRATED):
            found = open_keys.load(user)
            if isinstance(found, OpenKey):
                self._held[user] = replace(found, ticket=0), bytes(found.kek)

    def reset(self, open_keys: KeyringOpenKeys | None) -> None:
        """What was remembered is there again; in the keyring too if that is where the open_keys are."""
        self.clear()
        for folder in self.folders:
            folder.mkdir(mode=0o700)
        for path, content in self._files.items():
            path.write_bytes(content)
            path.chmod(0o600)
        if open_keys is not None:
            self.open(open_keys)

    def open(self, open_keys: OpenKeys) -> None:
        """Puts the remembered open_keys there: in a forked process, whose parent's secrets it does not have."""
        for user, (held, kek) in self._held.items():
            open_keys.save(user, replace(held, kek=Secret.of(kek)), mark=open_keys.begin(user))

    def file(self, user: str = "") -> Path:
        return self.path / f"{user or self.user}.face"

    def is_unchanged(self) -> bool:
        """Whether every file is as it was beforehand."""
        found = {p: p.read_bytes() for f in (self.path, self.counters) if f.exists() for p in f.iterdir()}
        return found == self._files

    def old_file(self) -> bytes:
        return self._files[self.file()]


def forget(open_keys: OpenKeys, user: str) -> None:
    """Nothing of the user is left there, not even why."""
    open_keys.forget(user, Reason.REMOVED)


def record(user: str = USER) -> Record:
    unit = np.eye(8, dtype=np.float32)
    return Record(
        user=user, embedder="sface", model_ids=("ab" * 32,), reference=unit[0], samples=unit[:2],
        created_unix_s=1_700_000_000, consent="yes",
    )  # fmt: skip


_LOG = LockedFolder.log


def small_log(max_segment: int, keep: int) -> None:
    """From now on segments have this size, and this many are kept: rotation is what the log does most."""
    LockedFolder.log = lambda self, user, *, boot_ns: AuditLog(  # type: ignore[method-assign]
        self.descriptor, user, boot_ns=boot_ns, max_segment=max_segment, keep=keep
    )


def usual_log() -> None:
    LockedFolder.log = _LOG  # type: ignore[method-assign]
