"""What a Secret promises, and what wipe, equal and rotate do with it and with other buffers."""

from __future__ import annotations

import copy
import gc
import mmap
import os
import pickle
import re
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fork_tools import in_child

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError

PAGE = mmap.PAGESIZE
CANARY = 16  # at the start of a secret's pages: tells zeros of a fork from a secret of zeros
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
    secrets = [Secret(PAGE - CANARY) for _ in range(50)]
    assert status_kib("VmLck") - before == 50 * PAGE // 1024
    del secrets
    assert status_kib("VmLck") == before
    # A Secret that is closed is wiped, and still locked until it is freed.
    closed = Secret(PAGE - CANARY)
    closed.close()
    assert status_kib("VmLck") - before == PAGE // 1024


def test_locked_undumped_and_wiped_on_fork() -> None:
    with Secret(3 * PAGE - CANARY) as secret:
        permissions, fields = mapping_of(address_of(secret))
        assert permissions == "rw-p"
        assert fields["Locked"].split()[0] == fields["Size"].split()[0] == str(3 * PAGE // 1024)
        flags = fields["VmFlags"].split()
        assert {"lo", "dd", "wf"} <= set(flags)


def test_guards_on_both_sides() -> None:
    with Secret(2 * PAGE - CANARY) as secret:
        address = address_of(secret)
        for guard in (address - CANARY - 1, address - CANARY + 2 * PAGE):
            permissions, fields = mapping_of(guard)
            assert permissions == "---p"
            assert int(fields["Size"].split()[0]) >= PAGE // 1024


@pytest.mark.parametrize("size", [32, PAGE - CANARY, PAGE, PAGE + 100])
def test_reading_past_the_end_is_a_fault(size: int) -> None:
    import ctypes

    with Secret(size) as secret:
        address = address_of(secret)
        end = address + -(-size // 16) * 16
        assert in_child(lambda: ctypes.string_at(address, size) == bytes(size)) == 0
        assert in_child(lambda: ctypes.string_at(end, 1)) == -signal.SIGSEGV
        before = (address - CANARY) // PAGE * PAGE - 1
        assert in_child(lambda: ctypes.string_at(before, 1)) == -signal.SIGSEGV
        assert in_child(lambda: ctypes.memset(end, 1, 1)) == -signal.SIGSEGV


def refuses_to_be_read(secret: Secret) -> bool:
    try:
        memoryview(secret)
    except BufferError:
        return secret.closed
    return False


@pytest.mark.parametrize("content", [b"\x77" * 64, bytes(64)])
def test_a_child_has_a_closed_secret(content: bytes) -> None:
    with Secret.of(content) as secret:
        view = memoryview(secret)
        plain = bytearray(b"\x77" * 64)
        assert in_child(lambda: not refuses_to_be_read(Secret.of(content))) == 0
        assert in_child(lambda: bytes(view) == bytes(64) and secret.forked and refuses_to_be_read(secret)) == 0
        assert in_child(lambda: plain == b"\x77" * 64) == 0
        assert bytes(view) == content
        assert not secret.closed


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
