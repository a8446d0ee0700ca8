"""Raw frames from pipes and descriptors, with writers that are late, slow, gone or wrong."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_tools import LIMIT_S

from facesdk import _core
from facesdk.camera import PipeSource, open_camera
from facesdk.errors import CameraError, InputError

pytestmark = pytest.mark.usefixtures("no_thread_stays")
SIZE = (64, 80)  # width, height


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def expected(data: bytes, name: str) -> np.ndarray:
    width, height = SIZE
    raw = np.frombuffer(data, np.uint8)
    if name == "grey":
        return raw.reshape(height, width)
    if name == "yuyv":
        return _core.yuyv_to_rgb(raw.reshape(height, width, 2))
    if name == "nv12":
        return _core.nv12_to_rgb(raw.reshape(height * 3 // 2, width))
    return raw.reshape(height, width, 3)[..., :: 1 if name == "rgb24" else -1]


def writing(descriptor: int, *chunks: bytes, pause_s: float = 0.0) -> threading.Thread:
    """A thread that writes and closes."""

    def write() -> None:
        with open(descriptor, "wb", buffering=0) as file:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
                time.sleep(pause_s)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("name", "size"), [("grey", 5120), ("yuyv", 10240), ("nv12", 7680), ("rgb24", 15360),
                                            ("bgr24", 15360)])  # fmt: skip
def test_frames_of_each_format(name: str, size: int) -> None:
    data = [noise(size, seed) for seed in range(3)]
    whole = b"".join(data)
    reads, writes = os.pipe()
    thread = writing(writes, *(whole[at : at + 977] for at in range(0, len(whole), 977)))
    with PipeSource(reads, size=SIZE, format=name) as source:
        frames = list(source)
    thread.join(LIMIT_S)
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert all(np.array_equal(frame.image, expected(part, name)) for frame, part in zip(frames, data, strict=True))
    assert all(frame.image.flags.c_contiguous for frame in frames)
    os.close(reads)  # still the caller's


def test_rotated_frames() -> None:
    reads, writes = os.pipe()
    data = noise(5120)
    thread = writing(writes, data)
    with PipeSource(reads, size=SIZE, format="grey", rotate=90) as source:
        (frame,) = source
    thread.join(LIMIT_S)
    os.close(reads)
    assert np.array_equal(frame.image, np.rot90(expected(data, "grey"), -1))


def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    with PipeSource(fifo, size=SIZE, format="grey", timeout_s=LIMIT_S) as source:

        def later() -> None:
            time.sleep(0.3)
            fifo.write_bytes(noise(5120) * 2)

        thread = threading.Thread(target=later, daemon=True)
        thread.start()
        frames = list(source)
        thread.join(LIMIT_S)
    assert len(frames) == 2
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with PipeSource(fifo, size=SIZE, format="grey"):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "camera")
    words = r"nothing came for 0\.2 s; is a program writing"
    with (
        PipeSource(tmp_path / "camera", size=SIZE, format="grey", timeout_s=0.2) as source,
        pytest.raises(CameraError, match=words),
    ):
        next(iter(source))
    reads, writes = os.pipe()
    with (
        PipeSource(reads, size=SIZE, format="grey", timeout_s=0.2) as source,
        pytest.raises(CameraError, match=f"descriptor {reads}: {words}"),
    ):
        next(iter(source))
    os.close(reads)
    os.close(writes)


def test_a_writer_that_ends_in_the_middle_of_a_frame() -> None:
    reads, writes = os.pipe()
    thread = writing(writes, noise(5120) + b"half")
    with PipeSource(reads, size=SIZE, format="grey") as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(CameraError, match="in the middle of frame 1, after 4 of 5120 bytes; are size and format"):
            next(frames)
    thread.join(LIMIT_S)
    os.close(reads)


def test_a_writer_that_stops_for_too_long() -> None:
    reads, writes = os.pipe()
    os.write(writes, noise(100))
    with (
        PipeSource(reads, size=SIZE, format="grey", timeout_s=0.2) as source,
        pytest.raises(CameraError, match=r"nothing came for 0\.2 s"),
    ):
        next(iter(source))
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "mjpeg"}, "format must be one of grey"), ({"format": None}, "format must be one of"),
        ({"size": [64, 64]}, r"size must be \(width, height\)"), ({"size": (64,)}, r"size must be"),
        ({"size": (64.0, 64)}, "whole pixels"), ({"size": (True, 64)}, "whole pixels"),
        ({"size": (63, 64)}, "64 to 8192"), ({"size": (64, 8193)}, "64 to 8192"),
        ({"size": (65, 64), "format": "yuyv"}, "yuyv has an even width, not 65 x 64"),
        ({"size": (64, 65), "format": "nv12"}, "even width and height, not 64 x 65"),
        ({"rotate": 45}, "rotate must be"),
    ],
)  # fmt: skip
def test_sizes_and_formats_that_no_frame_has(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PipeSource(0, **{"size": (64, 64), "format": "grey", **options})


def test_what_is_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for source, kind, words in (
        (tmp_path / "file", InputError, "not a pipe"), (tmp_path / "none", CameraError, "cannot be opened: No such"),
        (-1, InputError, "not an open descriptor"), (True, InputError, "not an open descriptor"),
        (987, CameraError, "descriptor 987 is not open"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            PipeSource(source, size=SIZE, format="grey")
    writes = os.open(tmp_path / "file", os.O_WRONLY)
    with PipeSource(writes, size=SIZE, format="grey") as source, pytest.raises(CameraError, match="cannot be read"):
        next(iter(source))
    os.close(writes)


def test_a_reader_that_is_woken_for_nothing_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another reader of the same pipe may have taken the bytes."""
    reads, writes = os.pipe()
    os.write(writes, noise(5120))
    whole, calls = os.readv, list[int]()

    def readv(descriptor: int, buffers: Any) -> int:
        calls.append(descriptor)
        if len(calls) == 1:
            raise BlockingIOError
        return whole(descriptor, buffers)

    monkeypatch.setattr(os, "readv", readv)
    with PipeSource(reads, size=SIZE, format="grey") as source:
        assert next(iter(source)).image.shape == (80, 64)
    assert len(calls) > 1
    os.close(reads)
    os.close(writes)


def test_a_source_that_was_stopped_ends() -> None:
    reads, writes = os.pipe()
    with PipeSource(reads, size=SIZE, format="grey") as source:
        source.interrupt()
        assert list(source) == []
    assert list(source) == []
    os.close(reads)
    os.close(writes)


def test_a_pipe_as_a_live_camera_ends_and_is_interrupted() -> None:
    reads, writes = os.pipe()
    thread = writing(writes, *[noise(5120, seed) for seed in range(8)], pause_s=0.05)
    with open_camera(PipeSource(reads, size=SIZE, format="grey")) as camera:
        frames = list(camera)
        assert camera.ended
    thread.join(LIMIT_S)
    os.close(reads)
    assert 1 <= len(frames) <= 8
    reads, writes = os.pipe()
    with open_camera(PipeSource(reads, size=SIZE, format="grey", timeout_s=60)) as camera:
        assert camera.read(timeout_s=0.1) is None
        started = time.monotonic()
    assert time.monotonic() - started < 2
    os.close(reads)
    os.close(writes)
