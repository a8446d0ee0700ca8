"""A whole process: what it held is in its memory while open, never in a core, and nowhere after it is closed."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesdk import FaceVerifier, Policy, _core, matching
from facesdk._core import Secret
from facesdk.errors import PassphraseRequiredError
from facesdk.types import Decision, Face, Features, Pose, Quality, Sample
from facesdk.vault import PassphraseKey, crypto

MASK = 0xA5


class Spy:
    """Notes every secret that goes through facesdk.vault.crypto, each byte masked, so that no copy of ours is found."""

    def __init__(self) -> None:
        self.seen: dict[str, set[bytes]] = {}

    def note(self, name: str, buffer: Any) -> None:
        masked = np.bitwise_xor(np.frombuffer(memoryview(buffer).cast("B"), np.uint8), np.uint8(MASK))
        self.seen.setdefault(name, set()).add(masked.tobytes())

    def note_vector(self, name: str, vector: np.ndarray) -> None:
        """In both precisions that sums are made in."""
        self.note(name, vector)
        wide = vector.astype(np.float64)
        self.note(f"{name}, double", wide)
        _core.wipe(wide)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Puts itself before the functions of crypto."""
        seal, unseal, argon2id = crypto.seal, crypto.unseal, crypto.argon2id
        hkdf, chacha = crypto.hkdf_sha256, crypto.chacha20_stream

        def spy_seal(key: Any, plaintext: Any, **options: Any) -> bytes:
            self.note("key", key)
            self._content(plaintext)
            return seal(key, plaintext, **options)

        def spy_unseal(key: Any, sealed: bytes, **options: Any) -> Secret:
            self.note("key", key)
            content = unseal(key, sealed, **options)
            self._content(content)
            return content

        def spy_argon2id(secret: Any, salt: bytes, **options: Any) -> Secret:
            derived = argon2id(secret, salt, **options)
            self.note("passphrase", secret)
            self.note("wrapping key", memoryview(derived)[:32])  # the other half is stored in the file
            return derived

        def spy_hkdf(secret: Any, salt: bytes, **options: Any) -> Secret:
            derived = hkdf(secret, salt, **options)
            self.note("KEK", secret)
            if len(derived) == 32:  # a key's public id has eight bytes
                self.note(options["info"].decode(), derived)
            return derived

        def spy_chacha(key: Any, size: int) -> Secret:
            random = chacha(key, size)
            self.note("rotation stream", memoryview(random)[:512])
            return random

        for name, spy in (("seal", spy_seal), ("unseal", spy_unseal), ("argon2id", spy_argon2id),
                          ("hkdf_sha256", spy_hkdf), ("chacha20_stream", spy_chacha)):  # fmt: skip
            patch.setattr(crypto, name, spy)

    def _content(self, content: Any) -> None:
        view = memoryview(content).cast("B")
        if view.nbytes == 32:
            self.note("wrapped key", view)
        elif view.nbytes > 512:  # a record: its features, which are turned, without the texts behind them
            self.note("turned features", view[64 : 64 + 4 * 128 * 3])


class PlantedEngine:
    """An engine whose pictures are numbers, and whose features come from them. It keeps nothing."""

    embedder = "sface"
    model_ids = ("ab" * 32,)

    def __init__(self, spy: Spy) -> None:
        self._spy = spy

    def observe(self, image: np.ndarray) -> tuple[Sample, list[Face]]:
        box, points = np.array([100, 100, 300, 300], np.float32), np.zeros((6, 2), np.float32)
        face = Face(box, points, 0.99, Pose(0.0, 0.0, 0.0))
        return Sample(face, Quality(80.0, 120.0, 40.0, 0.0, 200.0, 1.0), 0.0, image), [face]

    def embed(self, sample: Sample) -> Features:
        base, own = np.random.default_rng(1), np.random.default_rng(int(sample.crop[0, 0, 0]))
        vector = base.standard_normal(128, dtype=np.float32)
        vector += np.float32(0.3) * own.standard_normal(128, dtype=np.float32)
        vector /= np.sqrt(np.dot(vector, vector))
        self._spy.note_vector("features", vector)
        return Features("sface", sample.face, sample.quality, sample.runner_up, vector)


def picture(seed: int) -> np.ndarray:
    return np.full((64, 64, 3), seed, np.uint8)


def watch_vectors(spy: Spy, patch: pytest.MonkeyPatch, function: str, name: str) -> None:
    """Notes what a function of facesdk.matching returns."""
    original = getattr(matching, function)

    def spying(samples: Any) -> Any:
        vector = original(samples)
        spy.note_vector(name, vector)
        return vector

    patch.setattr(matching, function, spying)


def stage(name: str, spy: Spy) -> None:
    """Tells the parent what was seen so far, and waits until it has searched."""
    seen = {key: sorted(value.hex() for value in values) for key, values in spy.seen.items()}
    print(json.dumps({"stage": name, "seen": seen}), flush=True)
    sys.stdin.readline()


def flow(folder: str, *, keyring: bool) -> None:
    """Enrolls, unlocks, verifies, and closes, in a process of its own."""
    spy = Spy()
    with pytest.MonkeyPatch.context() as patch:
        spy.watch(patch)
        watch_vectors(spy, patch, "make_reference", "reference")
        passphrase = os.urandom(24)
        key = PassphraseKey(passphrase, memory_kib=19 * 1024, passes=2)
        _core.wipe(passphrase)
        verifier = FaceVerifier(
            Path(folder) / "vault", key=key, keyring=keyring, policy=Policy(), engine=PlantedEngine(spy)  # type: ignore[arg-type]
        )  # fmt: skip
        verifier.enroll("alice", [picture(1), picture(2)], allow_few_samples=True)
        assert verifier.verify("alice", picture(3)).decision is Decision.MATCH
        verifier.unlock("alice")
        assert verifier.verify("alice", [picture(4), picture(5)]).decision is Decision.MATCH
        with verifier.vault.opened("alice") as template:
            assert template.count == 2
            stage("open", spy)
        # Every pattern in ordinary memory: shows that the search finds it there.
        planted = np.frombuffer(b"".join(v for values in spy.seen.values() for v in values), np.uint8).copy()
        planted ^= np.uint8(MASK)
        stage("planted", spy)
        _core.wipe(planted)
        verifier.lock("alice")
        try:
            verifier.verify("alice", picture(6))
        except PassphraseRequiredError:
            stage("closed", spy)


class Flow:
    """The child that runs `flow`, stage by stage."""

    def __init__(self, folder: Path, *, keyring: bool) -> None:
        command = [sys.executable, __file__, str(folder), "keyring" if keyring else "process"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2),
        )  # fmt: skip
        self.seen: dict[str, list[bytes]] = {}

    def reach(self, name: str) -> None:
        """Waits for the stage of this name, the next one."""
        assert self.process.stdin
        assert self.process.stdout
        if self.seen:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        told = json.loads(line)
        assert told["stage"] == name
        unmask = bytes(i ^ MASK for i in range(256))
        self.seen = {key: [bytes.fromhex(v).translate(unmask) for v in vs] for key, vs in told["seen"].items()}

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def windows(secret: bytes) -> list[bytes]:
    """Pieces of 16 bytes of a secret: all of a key, about twenty of a long one."""
    step = max(16, len(secret) // 20 // 16 * 16)
    return [secret[i : i + 16] for i in range(0, len(secret) - 15, step)]


def found_in(chunks: Iterator[bytes], seen: dict[str, list[bytes]]) -> dict[str, int]:
    """How often pieces of each kind of secret occur, at any offset."""
    names: dict[bytes, set[str]] = {}
    for name, values in seen.items():
        for piece in {piece for value in values for piece in windows(value)}:
            names.setdefault(piece, set()).add(name)
    # Bytes 4 to 7 of a piece, as two pairs, leave few places to look at; in floats they are never all zero.
    tables = np.zeros((2, 1 << 16), bool)
    for piece in names:
        tables[0, int.from_bytes(piece[4:6], "little")] = tables[1, int.from_bytes(piece[6:8], "little")] = True
    counts = dict.fromkeys(seen, 0)
    for chunk in chunks:
        for odd in (0, 1):
            pairs = np.frombuffer(chunk, "<u2", (len(chunk) - odd) // 2, odd)
            for place in np.flatnonzero(tables[0][pairs[:-1]] & tables[1][pairs[1:]]).tolist():
                at = 2 * place + odd - 4
                for name in names.get(chunk[at : at + 16], ()) if at >= 0 else ():
                    counts[name] += 1
    return counts


def memory_of(process: int) -> Iterator[bytes]:
    """Everything that can be read of the memory of a process."""
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            begin, end, permissions = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()  # type: ignore[union-attr]
            if not permissions.startswith("r") or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            yield os.pread(memory.fileno(), int(end, 16) - int(begin, 16), int(begin, 16))


def core_by_gdb(process: int, folder: Path) -> bytes:
    """The core that gdb writes of a running process; it honours the kernel's filter and MADV_DONTDUMP."""
    done = subprocess.run(["gcore", "-o", str(folder / "core"), str(process)], capture_output=True, text=True)
    path = folder / f"core.{process}"
    if not path.exists():
        pytest.skip(f"gcore cannot attach here: {done.stderr.strip()[-200:]}")
    core = path.read_bytes()
    path.unlink()
    return core


WHERE = ("process", "keyring")
# What is in Secrets while the key is open, and must be found there: else the search would prove nothing.
OPEN = {"KEK", "passphrase", "facesdk 2 rotation", "turned features"}
KINDS = {
    "KEK", "key", "wrapped key", "wrapping key", "passphrase", "facesdk 2 rotation", "facesdk 2 audit head",
    "rotation stream", "turned features", "features", "features, double", "reference", "reference, double",
}  # fmt: skip
BY_KIND = sorted(KINDS)


@pytest.fixture(scope="module", params=WHERE)
def searched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """What was found at each stage in memory, and in cores by gdb where that is installed."""
    folder, found = tmp_path_factory.mktemp(request.param), {}
    if request.param == "keyring":
        try:
            _core.keyring_put("facesdk-test", b"x", 5)
        except OSError as error:
            pytest.skip(f"the keyring cannot be used here: {error.strerror}")
    child = Flow(folder, keyring=request.param == "keyring")
    try:
        for name in ("open", "planted", "closed"):
            child.reach(name)
            found[name] = found_in(memory_of(child.process.pid), child.seen)
            if shutil.which("gcore") and name != "closed":
                found[f"core, {name}"] = found_in(iter([core_by_gdb(child.process.pid, folder)]), child.seen)
    finally:
        child.stop()
    return found


def test_every_kind_of_secret_was_searched_for(searched: dict[str, dict[str, int]]) -> None:
    assert set(searched["closed"]) == KINDS


def test_planted_secrets_are_found(searched: dict[str, dict[str, int]]) -> None:
    assert {kind for kind, count in searched["planted"].items() if count} == KINDS


def test_open_secrets_are_found_in_memory(searched: dict[str, dict[str, int]], request: pytest.FixtureRequest) -> None:
    # With the keyring the process has no KEK any more once the template is open.
    there = OPEN - {"KEK"} if request.node.callspec.params["searched"] == "keyring" else OPEN
    found = {kind for kind, count in searched["open"].items() if count}
    assert found >= there
    assert ("KEK" in found) is ("KEK" in there)


@pytest.mark.parametrize("kind", BY_KIND)
def test_nothing_is_found_after_closing(searched: dict[str, dict[str, int]], kind: str) -> None:
    assert searched["closed"][kind] == 0


def test_planted_secrets_are_found_in_a_core(searched: dict[str, dict[str, int]]) -> None:
    if "core, planted" not in searched:
        pytest.skip("gdb is not installed (apt: gdb)")
    assert {kind for kind, count in searched["core, planted"].items() if count} == KINDS


@pytest.mark.parametrize("kind", BY_KIND)
def test_nothing_is_found_in_a_core_while_open(searched: dict[str, dict[str, int]], kind: str) -> None:
    if "core, open" not in searched:
        pytest.skip("gdb is not installed (apt: gdb)")
    assert searched["core, open"][kind] == 0


def test_nothing_is_found_in_the_core_of_a_crash(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"the system sends cores elsewhere (core_pattern {pattern})")
    child = Flow(tmp_path, keyring=False)
    try:
        child.reach("open")
        assert found_in(memory_of(child.process.pid), child.seen)["KEK"] > 0
        child.process.send_signal(signal.SIGABRT)
        child.process.communicate()
    finally:
        child.stop()
    cores = [path for path in tmp_path.iterdir() if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    if not cores:
        pytest.skip(f"the system wrote no core (core_pattern {pattern})")
    found = found_in(iter([cores[0].read_bytes()]), child.seen)
    assert not {kind for kind, count in found.items() if count}


if __name__ == "__main__":
    flow(sys.argv[1], keyring=sys.argv[2] == "keyring")
