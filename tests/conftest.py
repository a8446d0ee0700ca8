"""What all tests share: the network is blocked, portraits are read once, engines are made once."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from facesdk import Engine, FaceVerifier
from facesdk.images import load_rgb
from facesdk.types import Features, Sample

PORTRAITS = Path(__file__).resolve().parent.parent / "facesdk" / "portraits"
TESTS = Path(__file__).resolve().parent
TESTS_OWN = TESTS / "portraits"

settings.register_profile("facesdk", deadline=None)  # how long something takes is measured, never asserted
settings.load_profile("facesdk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what tests/slow.txt lists: tests by name, or all of a file."""
    lines = (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines()
    slow = {line for line in lines if not line.startswith("#")}
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        file = item.path.relative_to(TESTS).as_posix()
        if slow & {file, f"{file}::{getattr(item, 'originalname', item.name)}"}:
            item.add_marker(pytest.mark.slow)


class NetworkUsedError(AssertionError):
    """A test tried to reach another machine, or this one through the network."""


def _guarded(name: str):
    """The socket method, for sockets of this machine's file system only."""
    original = getattr(socket.socket, name)

    def method(self: socket.socket, *arguments: object) -> object:
        if self.family != socket.AF_UNIX:
            raise NetworkUsedError("the suite runs with the network blocked")
        return original(self, *arguments)

    return method


def _refuse(*_arguments: object, **_options: object) -> None:
    raise NetworkUsedError("the suite runs with the network blocked")


@pytest.fixture(autouse=True, scope="session")
def blocked_network():
    """Every way out through Python's socket module raises."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "bind"):
            patch.setattr(socket.socket, name, _guarded(name))
        patch.setattr(socket, "getaddrinfo", _refuse)
        yield


@pytest.fixture
def own_names_in_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that make the code forget whatever of ours is in the keyring: other workers' keys stay."""
    own = os.urandom(8).hex()
    monkeypatch.setattr("facesdk.vault.keyring._RINGS", f"facesdk-{own}:")
    monkeypatch.setattr("facesdk.vault.keyring._WHYS", f"facesdk-why-{own}:")


@cache
def portrait(name: str) -> np.ndarray:
    """A portrait, bundled or the tests' own, uint8 (H, W, 3)."""
    found = [p for p in (*PORTRAITS.iterdir(), *TESTS_OWN.iterdir()) if p.stem == name]
    assert len(found) == 1, name
    return load_rgb(found[0])


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The default engine."""
    return Engine()


@pytest.fixture(scope="session")
def joint() -> Engine:
    """An engine of two networks."""
    return Engine("joint")


@pytest.fixture(scope="session")
def sface() -> Engine:
    """The same, by its name."""
    return Engine("sface")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A fresh key file."""
    from facesdk.vault import KeyFileKey

    path = tmp_path / "key"
    KeyFileKey.create(path)
    return path


@pytest.fixture
def verifier(tmp_path: Path, key_file: Path, engine: Engine) -> FaceVerifier:
    """A verifier with an empty vault."""
    return FaceVerifier(tmp_path / "vault", key_file=key_file, engine=engine)


@pytest.fixture
def keyring() -> None:
    """Skips where the kernel's keyring is refused, as in many containers."""
    from facesdk import _core

    try:
        _core.keyring_put("facesdk-test", b"x", 1)
    except OSError as error:
        pytest.skip(f"the kernel's keyring cannot be used here: {error.strerror}")
    _core.keyring_forget("facesdk-test")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The vectors that engines made, as the test goes on."""
    vectors: list[np.ndarray] = []
    embed = Engine.embed

    def embedding(self: Engine, sample: Sample) -> Features:
        features = embed(self, sample)
        vectors.append(features._vector)
        return features

    monkeypatch.setattr(Engine, "embed", embedding)
    return vectors


@pytest.fixture
def cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine whose cameras the test plugs in, in this one's place; OpenCV plays what Capture.plays says."""
    import cv2
    from camera_tools import Capture, Fake, reset_capture

    from facesdk.camera import v4l2

    made = Fake(tmp_path / "machine")
    monkeypatch.setattr(v4l2, "HERE", made.machine)
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    reset_capture()
    return made


@pytest.fixture
def no_thread_stays():
    """Every thread of a camera ends with the test that started it."""
    from camera_tools import facesdk_threads

    yield
    end_s = time.monotonic() + 5
    while facesdk_threads() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert facesdk_threads() == []
