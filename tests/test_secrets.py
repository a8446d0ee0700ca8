"""Secrets in memory: what a Secret promises, and a search of a whole process's memory and core for what it held."""

from __future__ import annotations

import copy
import gc
import json
import mmap
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesdk import FaceVerifier, Policy, _core, matching
from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError
from facesdk.types import Decision, Face, Features, Pose, Quality, Sample
from facesdk.vault import PassphraseKey, crypto

PAGE = mmap.PAGESIZE
MASK = 0xA5
NOBODY = 65534


# --- the contract of Secret


def address_of(secret: Secret) -> int:
    return int(np.frombuffer(memoryview(secret), np.uint8).ctypes.data)


def mapping_of(address: int) -> tuple[str, dict[str, str]]:
    """Permissions and smaps fields of the mapping that holds this address."""
    permissions, fields, inside = "", {}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        begins = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if begins:
            inside = int(begins[1], 16) <= address < int(begins[2], 16)
            permissions = begins[3] if inside else permissions
        elif inside:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return permissions, fields


def status_kib(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def in_child(body: Callable[[], object]) -> int:
    """The exit code of a forked child that runs body: 0 for True, 1 for False; minus the signal it died by."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            for number in (signal.SIGSEGV, signal.SIGBUS):  # faulthandler, which pytest turns on, would print it all
                signal.signal(number, signal.SIG_DFL)
            code = 0 if body() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("size", [1, 15, 16, 32, 33, PAGE, PAGE + 1, 100_000])
def test_zero_writable_and_wiped(size: int) -> None:
    secret = Secret(size)
    assert len(secret) == size
    assert not secret.closed
    view = memoryview(secret)
    assert (view.format, view.itemsize, view.nbytes, view.readonly, view.contiguous) == ("B", 1, size, False, True)
    assert bytes(view) == bytes(size)
    view[:] = b"\xee" * size
    assert bytes(memoryview(secret)) == b"\xee" * size
    secret.close()
    assert secret.closed
    assert bytes(view) == bytes(size)  # the view that is still held sees zeros, not freed memory
    secret.close()
    with pytest.raises(BufferError):
        memoryview(secret)


def test_of_copies() -> None:
    source = bytearray(range(200))
    with Secret.of(source) as secret:
        source[:] = bytes(200)
        assert bytes(memoryview(secret)) == bytes(range(200))
    assert secret.closed
    assert Secret.of(np.arange(4, dtype=np.float32)).__len__() == 16


def test_context_wipes_on_an_error() -> None:
    views = []

    def fail() -> None:
        with Secret.of(b"\x77" * 40) as secret:
            views.append(memoryview(secret))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert bytes(views[0]) == bytes(40)


def test_a_view_outlives_its_name() -> None:
    view = memoryview(Secret.of(b"\x77" * 40))
    gc.collect()
    assert bytes(view) == b"\x77" * 40
    array = np.frombuffer(Secret.of(b"\x01" * 64), np.float32)
    gc.collect()
    assert array.tobytes() == b"\x01" * 64


def test_freed_memory_goes_back() -> None:
    before = status_kib("VmLck")
    secrets = [Secret(PAGE) for _ in range(50)]
    assert status_kib("VmLck") - before == 50 * PAGE // 1024
    del secrets
    assert status_kib("VmLck") == before
    # A Secret that is closed is wiped, and still locked until it is freed.
    closed = Secret(PAGE)
    closed.close()
    assert status_kib("VmLck") - before == PAGE // 1024


def test_locked_undumped_and_wiped_on_fork() -> None:
    with Secret(3 * PAGE) as secret:
        permissions, fields = mapping_of(address_of(secret))
        assert permissions == "rw-p"
        assert fields["Locked"].split()[0] == fields["Size"].split()[0] == str(3 * PAGE // 1024)
        flags = fields["VmFlags"].split()
        assert {"lo", "dd", "wf"} <= set(flags)


def test_guards_on_both_sides() -> None:
    with Secret(2 * PAGE) as secret:
        address = address_of(secret)
        for guard in (address - 1, address + 2 * PAGE):
            permissions, fields = mapping_of(guard)
            assert permissions == "---p"
            assert int(fields["Size"].split()[0]) >= PAGE // 1024


@pytest.mark.parametrize("size", [32, PAGE, PAGE + 100])
def test_reading_past_the_end_is_a_fault(size: int) -> None:
    import ctypes

    with Secret(size) as secret:
        address = address_of(secret)
        end = address + -(-size // 16) * 16
        assert in_child(lambda: ctypes.string_at(address, size) == bytes(size)) == 0
        assert in_child(lambda: ctypes.string_at(end, 1)) == -signal.SIGSEGV
        before = address // PAGE * PAGE - 1
        assert in_child(lambda: ctypes.string_at(before, 1)) == -signal.SIGSEGV
        assert in_child(lambda: ctypes.memset(end, 1, 1)) == -signal.SIGSEGV


def test_a_child_sees_zeros() -> None:
    with Secret.of(b"\x77" * 64) as secret:
        view = memoryview(secret)
        plain = bytearray(b"\x77" * 64)
        assert in_child(lambda: bytes(view) == bytes(64) and bytes(memoryview(secret)) == bytes(64)) == 0
        assert in_child(lambda: plain == b"\x77" * 64) == 0
        assert bytes(view) == b"\x77" * 64


def test_no_more_threads_than_one_wipe() -> None:
    secrets = [Secret.of(b"\x77" * 32) for _ in range(200)]
    views = [memoryview(secret) for secret in secrets]
    threads = [threading.Thread(target=lambda: [secret.close() for secret in secrets]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bytes(view) == bytes(32) for view in views)


@pytest.mark.parametrize("size", [0, (64 << 20) + 1, 2**62])
def test_sizes_are_bounded(size: int) -> None:
    with pytest.raises(ValueError, match="1 byte to 64 MiB"):
        Secret(size)
    assert len(Secret(1)) == 1


@pytest.mark.parametrize("size", [-1, 2**64, 1.5, "16", None])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(TypeError):
        Secret(size)


@pytest.mark.parametrize("source", ["text", 5, None, [1, 2]])
def test_of_needs_a_buffer(source: Any) -> None:
    with pytest.raises(TypeError):
        Secret.of(source)


def test_of_nothing() -> None:
    with pytest.raises(ValueError, match="1 byte to 64 MiB"):
        Secret.of(b"")


def test_no_look_inside() -> None:
    secret = Secret.of(b"correct horse battery staple")
    assert repr(secret) == str(secret) == "Secret(28 bytes)"
    secret.close()
    assert repr(secret) == "Secret(28 bytes, closed)"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)


def test_refused_memory_is_an_error_with_a_way_out() -> None:
    def body() -> bool:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (2 * PAGE, 2 * PAGE))
        if os.getuid() == 0:  # root's limit is not enforced
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        first = Secret(PAGE)
        try:
            Secret(8 * PAGE)
        except KeyUnavailableError as error:
            wanted = ("memory for keys cannot be protected: mlock: ", "raise the limit of locked memory", "ulimit -l")
            return len(first) == PAGE and all(text in str(error) for text in wanted)
        return False

    import facesdk.errors  # noqa: F401  what the child needs must be loaded: it may not read the files

    assert in_child(body) == 0


# --- wipe, equal, rotate


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(b"\x77" * 40),
        lambda: b"\x77" * 20 + bytes(os.getpid() % 2) + b"\x77" * 20,  # not a constant, which the compiler shares
        lambda: np.full(10, 7, np.float32),
        lambda: memoryview(bytearray(b"\x77" * 40)),
        lambda: Secret.of(b"\x77" * 40),
    ],
)
def test_wipe(make: Callable[[], Any]) -> None:
    target = make()
    _core.wipe(target)
    assert not any(memoryview(target).cast("B"))


def test_wipe_takes_read_only_arrays_and_wipes_what_a_slice_shows() -> None:
    array = np.full(10, 7, np.float32)
    array.flags.writeable = False
    _core.wipe(array)
    assert not array.any()
    whole = bytearray(b"\x77" * 40)
    _core.wipe(memoryview(whole)[10:20])
    assert whole == b"\x77" * 10 + bytes(10) + b"\x77" * 20
    _core.wipe(b"")
    _core.wipe(np.zeros(0, np.float32))


@pytest.mark.parametrize("target", ["text", None, 5])
def test_wipe_needs_a_buffer(target: Any) -> None:
    with pytest.raises(TypeError):
        _core.wipe(target)


@pytest.mark.parametrize("target", [np.ones((4, 4), np.float32)[:, ::2], np.ones(8, np.float32)[::-1]])
def test_wipe_refuses_what_has_holes(target: Any) -> None:
    with pytest.raises((ValueError, BufferError)):
        _core.wipe(target)
    assert target.all()


@pytest.mark.parametrize("size", [0, 1, 16, 31, 32, 1000])
def test_equal(size: int) -> None:
    a = bytes(i % 251 for i in range(size))
    assert _core.equal(a, bytearray(a))
    assert not _core.equal(a, a + b"\0")
    for position in range(size):
        b = bytearray(a)
        b[position] ^= 1 << position % 8
        assert not _core.equal(a, b)
    if size:
        with Secret.of(a) as secret:
            assert _core.equal(secret, a)
        with pytest.raises(BufferError):
            _core.equal(secret, bytes(size))


@pytest.mark.parametrize(("a", "b"), [("x", b"x"), (b"x", "x"), (None, b""), (b"", 1)])
def test_equal_needs_buffers(a: Any, b: Any) -> None:
    with pytest.raises(TypeError):
        _core.equal(a, b)


def stream(dimension: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(_core.rotation_stream_size(dimension))


def slow_rotation(random: bytes, vector: np.ndarray) -> np.ndarray:
    """The readable twin of native/core/rotation.cpp."""
    n, v = len(vector), vector.astype(np.float64)
    for words in np.frombuffer(random, "<u4").reshape(32, n + n // 2).tolist():
        order = list(range(n))
        for i in range(n, 1, -1):
            j = words[i - 1] * i >> 32
            order[i - 1], order[j] = order[j], order[i - 1]
        for pair in range(n // 2):
            angle = 2 * np.pi * words[n + pair] / 2**32
            i, j = order[2 * pair], order[2 * pair + 1]
            v[i], v[j] = np.cos(angle) * v[i] - np.sin(angle) * v[j], np.sin(angle) * v[i] + np.cos(angle) * v[j]
    return v.astype(np.float32)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 33, 128])
def test_rotate_is_its_slow_twin(dimension: int) -> None:
    random = stream(dimension, dimension)
    vectors = np.random.default_rng(1).standard_normal((3, dimension)).astype(np.float32)
    turned = vectors.copy()
    _core.rotate(random, turned, dimension)
    assert np.allclose(turned, [slow_rotation(random, v) for v in vectors], atol=1e-6)
    assert np.allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-4)
    _core.rotate(random, turned, dimension, inverse=True)
    assert np.allclose(turned, vectors, atol=2e-6)


def test_rotate_in_a_secret() -> None:
    random = stream(4)
    plain = np.array([1, 2, 3, 4], np.float32)
    with Secret.of(plain) as secret, Secret.of(random) as locked:
        _core.rotate(locked, secret, 4)
        _core.rotate(random, plain, 4)
        assert np.array_equal(np.frombuffer(memoryview(secret), np.float32), plain)
    for arguments in ((random, secret), (locked, plain)):
        with pytest.raises(BufferError):
            _core.rotate(*arguments, 4)


@pytest.mark.parametrize(
    ("random", "vectors", "dimension", "says"),
    [
        (stream(4)[:-1], np.ones(4, np.float32), 4, "rotation_stream_size"),
        (stream(4) + b"\0", np.ones(4, np.float32), 4, "rotation_stream_size"),
        (b"", np.ones(4, np.float32), 0, "rotation_stream_size"),
        (stream(4), np.ones(5, np.float32), 4, "whole, aligned vectors"),
        (stream(4), bytearray(15), 4, "whole, aligned vectors"),
        (stream(4), memoryview(bytearray(64))[1:17], 4, "whole, aligned vectors"),
        (stream(4), np.ones((4, 4), np.float32)[:, ::2], 4, "contiguous"),
    ],
)
def test_rotate_refuses(random: bytes, vectors: Any, dimension: int, says: str) -> None:
    with pytest.raises((ValueError, BufferError), match=says):
        _core.rotate(random, vectors, dimension)


def test_rotate_refuses_what_is_read_only() -> None:
    vectors = np.ones(4, np.float32)
    vectors.flags.writeable = False
    for target in (vectors, bytes(16)):
        with pytest.raises((ValueError, BufferError)):
            _core.rotate(stream(4), target, 4)
    assert vectors.all()


@pytest.mark.parametrize("dimension", [-1, "4", None, 1.5])
def test_rotate_needs_a_dimension(dimension: Any) -> None:
    with pytest.raises(TypeError):
        _core.rotate(stream(4), np.ones(4, np.float32), dimension)


# --- a whole process: what it held is in its memory while it is open, never in a core, and nowhere after it is closed


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
        verifier.enroll("alice", [picture(1), picture(2)])
        assert verifier.verify("alice", picture(3)).decision is Decision.MATCH
        verifier.unlock("alice")
        assert verifier.verify("alice", [picture(4), picture(5)]).decision is Decision.MATCH
        with verifier.keeper.opened("alice") as template:
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


def test_open_secrets_are_found_in_memory(searched: dict[str, dict[str, int]]) -> None:
    assert {kind for kind, count in searched["open"].items() if count} >= OPEN


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
