"""What the vault's tests share: records, a clock to turn, a provider with a counter, and the layout of version 2."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyKind, ProcessOpenKeys, Record, Template, Vault, VaultFolder, crypto
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.rules import PRESETS

ROOT = Path(__file__).resolve().parents[2]
CHEAP: dict[str, Any] = {"memory_kib": 19 * 1024, "passes": 2}
RULES = PRESETS["phone"]
SECOND_NS = 1_000_000_000

# Offsets as docs/vault-format.md has them, written again here so that a change of the layout fails. From KEY_ID on they
# count from the end of the provider's section.
MAGIC, VERSION, KIND, USER_LENGTH, USER, SECTION_SIZE, SECTION = 0, 8, 10, 11, 12, 76, 78
KEY_ID, WRAP_NONCE, WRAPPED_KEY, PAYLOAD_NONCE, PAYLOAD_SIZE, CHECKSUM, PAYLOAD = 0, 8, 20, 68, 80, 84, 116


def section_end(data: bytes) -> int:
    """Where the provider's section ends and the fixed fields begin."""
    return SECTION + int.from_bytes(data[SECTION_SIZE:SECTION], "little")


def forge(data: bytes, offset: int, replacement: bytes) -> bytes:
    """The file with some bytes of its header replaced and the checksum made valid again."""
    end = section_end(data) + CHECKSUM
    head = data[:offset] + replacement + data[offset + len(replacement) : end]
    assert len(head) == end
    return head + hashlib.sha256(head).digest() + data[end + 32 :]


def make_record(user: str = "alice", *, count: int = 3, dimension: int = 8, seed: int = 0, **changes: Any) -> Record:
    """A record with random features."""
    samples = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    mean = samples.mean(axis=0)
    fields: dict[str, Any] = {
        "user": user,
        "embedder": "joint",
        "model_ids": ("ab" * 32,),
        "reference": (mean / np.linalg.norm(mean)).astype(np.float32),
        "samples": samples,
        "created_unix_s": 1_700_000_000,
        "consent": "ticked the box",
    }
    return Record(**{**fields, **changes})


def unit_vectors(count: int, dimension: int, *, seed: int = 9) -> list[np.ndarray]:
    """Random float32 vectors of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def assert_holds(template: Template, record: Record) -> None:
    """The template is that of the record: every field, and every score with every probe."""
    for name in ("user", "embedder", "model_ids", "created_unix_s", "consent"):
        assert getattr(template, name) == getattr(record, name)
    assert (template.count, template.dimension) == record.samples.shape
    probes = [*unit_vectors(5, template.dimension), record.reference]
    for probe, turned in zip(probes, template.turned(probes), strict=True):
        assert abs(float(template.reference @ turned) - float(record.reference @ probe)) < 1e-5
    for sample, turned in zip(template.samples, template.turned(list(record.samples)), strict=True):
        assert np.allclose(sample, turned, rtol=1e-5, atol=1e-5 * np.abs(record.samples).max())


class Clock:
    """CLOCK_BOOTTIME as the test turns it."""

    def __init__(self, now_ns: int = 1_000_000 * SECOND_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def turn(self, seconds: float) -> None:
        """Moves the clock; backwards for negative seconds."""
        self.now_ns += round(seconds * SECOND_NS)


class Bench:
    """A vault of one folder, with what a test needs to use and to attack it."""

    def __init__(self, folder: Path, key: KeyProvider, *, open_keys: Any = None) -> None:
        self.folder = folder
        self.key = key
        self.clock = Clock()
        self.open_keys = open_keys or ProcessOpenKeys()
        self.vault = Vault(VaultFolder(folder), self.open_keys, now_ns=self.clock)

    def path(self, user: str = "alice") -> Path:
        return self.folder / f"{user}.face"

    def enroll(
        self, record: Record | None = None, *, replace: bool = False, key: Any = None, rules: Any = RULES
    ) -> None:
        self.vault.enroll(record or make_record(), key or self.key, replace=replace, rules=rules)

    def unlock(self, user: str = "alice", *, key: Any = None, rules: Any = RULES) -> None:
        self.vault.unlock(user, key or self.key, rules=rules)

    def generation(self, user: str = "alice") -> int:
        with self.vault.opened(user) as template:
            return template.generation

    def attempt(self, answer: Any = True, user: str = "alice") -> bool:
        """One attempt with this answer of the comparison, or with this comparison."""
        compare = answer if callable(answer) else lambda template: answer
        return self.vault.attempt(user, compare, generation=self.generation(user), camera="test", label="phone")

    def failures(self, user: str = "alice") -> int:
        held = self.open_keys.load(user)
        return int(held.state.failures)

    def reason(self, user: str = "alice") -> Any:
        """Why the passphrase is required."""
        return self.open_keys.load(user).reason

    def events(self, user: str = "alice", key: Any = None) -> list[str]:
        """What the audit log tells, after a check that it is whole."""
        report, entries, _ = self.vault.audit(user, key or self.key)
        assert report.problem is None
        return [entry.event.value for entry in entries]


def enrolled_bench(folder: Path) -> Bench:
    """A bench with alice in it, her key open, under a key file of its own."""
    bench = Bench(folder / "vault", KeyFileKey.create(folder / "key"))
    bench.enroll()
    return bench


class CountingKey:
    """A provider with a monotonic counter outside the file, as a TPM is one."""

    kind = KeyKind.TPM
    stops = does_not_stop = ""
    _SIZE = 8 + 12 + 48

    def __init__(self) -> None:
        self._key: bytes | None = os.urandom(32)
        self.counters: dict[bytes, int] = {}
        self.broken = False

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        name = os.urandom(8) if keep is None else self._name(keep)
        self.counters.setdefault(name, 7)
        nonce = os.urandom(12)
        return name + nonce + crypto.seal(self._secret(), kek, nonce=nonce, aad=binding + name)

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        name = self._name(section)
        try:
            return crypto.unseal(self._secret(), section[20:], nonce=section[8:20], aad=binding + name)
        except crypto.TagMismatchError:
            raise KeyUnavailableError("wrong key") from None

    def counter(self, section: bytes) -> _Counter:
        return _Counter(self, self._name(section))

    def destroy(self, section: bytes) -> None:
        self.counters.pop(self._name(section), None)

    def forget(self) -> None:
        self._key = None

    def count(self, name: bytes) -> int:
        if name not in self.counters:
            raise KeyUnavailableError("the counter is gone")
        return self.counters[name]

    def _secret(self) -> bytes:
        if self._key is None:
            raise PassphraseRequiredError("this key was forgotten")
        return self._key

    def _name(self, section: bytes) -> bytes:
        if len(section) != self._SIZE:
            raise VaultIntegrityError(f"the key section has {len(section)} bytes, {self._SIZE} were expected")
        return section[:8]


class _Counter:
    def __init__(self, owner: CountingKey, name: bytes) -> None:
        self._owner, self._name = owner, name

    def read(self) -> int:
        return self._owner.count(self._name)

    def increment(self) -> int:
        if self._owner.broken:
            raise KeyUnavailableError("the counter cannot be reached")
        self._owner.counters[self._name] = self._owner.count(self._name) + 1
        return self.read()


def disown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `path` belong to neither this user nor root, as far as the code can see."""
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


def fork() -> int:
    """os.fork(), where Python 3.12 warns of other threads: none of ours holds a lock here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing_with(code: int) -> Callable[..., Any]:
    """A system call that fails with this errno."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def killed_at(point: int, call: Callable[[], None]) -> bool:
    """Runs the call in a child that is killed before its system call of this number; False when it ends before that."""
    child = fork()
    if child == 0:
        left = [point]

        def counted(genuine: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*arguments: Any, **options: Any) -> Any:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return genuine(*arguments, **options)

            return counting

        try:
            for name in ("write", "fsync", "replace", "unlink", "fchmod", "ftruncate", "rename", "pwrite"):
                setattr(os, name, counted(getattr(os, name)))
            call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def fresh(folder: Path) -> tuple[Vault, KeyFileKey]:
    """A vault and key made in this process, whose locked memory a fork does not take over."""
    return Vault(VaultFolder(folder), ProcessOpenKeys(), now_ns=Clock()), KeyFileKey(folder.parent / "vault.key")


def seed_of(bench: Bench, *, seeds: tuple[int, ...] = (0, 1, 2, 3)) -> int:
    """Which record lies in the file: the seed it was made from, by its score. Opens the key."""
    bench.unlock()
    with bench.vault.opened("alice") as template:
        records = {seed: make_record(seed=seed) for seed in seeds}
        scores = {s: float(template.reference @ template.turned([r.reference])[0]) for s, r in records.items()}
    seed = max(scores, key=lambda s: scores[s])
    assert scores[seed] > 0.9999
    return seed
