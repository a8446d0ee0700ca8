"""Cameras through OpenCV: the formats that a driver gives, what fails and how it is said, addresses."""

from __future__ import annotations

import builtins
import sys
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pytest
from camera_tools import Capture, Driver, Fake, bgr, code

from facesdk import _core
from facesdk.camera import open_camera, open_source
from facesdk.errors import CameraError, InputError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def one(cameras: Fake, name: str, *pictures: Any, count: int = 1) -> list[np.ndarray]:
    """The first pictures of a camera whose driver has this format."""
    cameras.plug(Driver(0))
    Capture.plays, Capture.properties = [list(pictures)], {cv2.CAP_PROP_FOURCC: code(name)}
    with open_source(0) as source:
        return [frame.image for frame in islice(source, count)]


@pytest.mark.parametrize(
    ("name", "raw", "convert"),
    [
        ("YUYV", noise(64, 64, 2), _core.yuyv_to_rgb), ("NV12", noise(96, 64), _core.nv12_to_rgb),
        ("GREY", noise(64, 64), lambda raw: raw), ("MJPG", noise(64, 64, 3), lambda raw: raw[..., ::-1]),
        ("BGR3", noise(64, 64, 3), lambda raw: raw[..., ::-1]), ("", noise(64, 64), lambda raw: raw),
    ],
)  # fmt: skip
def test_formats_become_rgb_or_gray(cameras: Fake, name: str, raw: np.ndarray, convert: Any) -> None:
    (image,) = one(cameras, name, raw)
    assert np.array_equal(image, convert(raw))
    if raw.ndim == 2 and name != "NV12":
        assert np.shares_memory(image, raw), "gray is not copied"


def test_a_format_that_is_not_what_it_was_called_is_left_to_opencv(cameras: Fake) -> None:
    for wrong in (noise(1, 999), noise(64, 64, 3), noise(48, 64, 2), noise(64, 64, 2).astype(np.uint16),
                  noise(64, 128, 2)[:, ::2]):  # fmt: skip
        (image,) = one(cameras, "YUYV", wrong, bgr(9))
        assert np.array_equal(image, bgr(9)[..., ::-1])
        cameras.unplug(0)


def test_a_driver_that_refuses_both(cameras: Fake) -> None:
    Capture.refused = {1}
    with pytest.raises(CameraError, match=r"gives \(1, 9\) of uint8, which is no YUYV"):
        one(cameras, "YUYV", noise(1, 9))
    cameras.unplug(0)
    Capture.refused = {0}
    (image,) = one(cameras, "YUYV", bgr(9))
    assert image[0, 0].tolist() == [11, 10, 9]


def test_frames_are_numbered_and_timed(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    Capture.plays = [[bgr(level) for level in range(5)]]
    with open_source(0) as source:
        frames = list(islice(source, 5))
        assert [frame.sequence for frame in frames] == list(range(5))
        assert sorted(frame.time_s for frame in frames) == [frame.time_s for frame in frames]
        with pytest.raises(CameraError, match="camera 0 gave no frame"):
            list(source)


def test_what_fails_says_why_as_far_as_anybody_knows(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    with pytest.raises(CameraError, match=r"camera 0 cannot be opened: .*does not say why"):
        open_source(0)
    assert Capture.released == 1
    cameras.hold(0, 12, "cheese")
    with pytest.raises(CameraError, match=r"cannot be opened: it may be in use by cheese \(pid 12\)"):
        open_source(0)
    Capture.plays = [[], [bgr(1)], [bgr(1)]]
    with open_source(0) as source, pytest.raises(CameraError, match=r"gave no frame: it may be in use by cheese"):
        list(source)
    with open_source(0) as source, pytest.raises(CameraError, match=r"stopped giving frames: it may be in use"):
        list(source)
    with open_source(0) as source:
        cameras.unplug(0)
        with pytest.raises(CameraError, match="stopped giving frames: the camera is not connected any more"):
            list(source)


def test_our_own_handle_is_not_what_keeps_it_busy(cameras: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver calls a camera busy as long as our own stream runs: it must have ended when the driver is asked."""
    cameras.plug(Driver(0))
    Capture.plays = [[bgr(1)]]
    with open_source(0) as source:
        cameras.drivers[0].busy = True
        whole = Capture.release

        def release(self: Capture) -> None:
            whole(self)
            cameras.drivers[0].busy = False

        monkeypatch.setattr(Capture, "release", release)
        with pytest.raises(CameraError, match="stopped giving frames: the driver does not say why"):
            list(source)


def test_without_opencv_the_package_is_named(cameras: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    cameras.plug(Driver(0))
    (tmp_path / "clip.avi").write_bytes(b"x")
    whole = builtins.__import__

    def without_cv2(name: str, *rest: Any) -> Any:
        if name == "cv2":
            raise ImportError("No module named 'cv2'")
        return whole(name, *rest)

    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(builtins, "__import__", without_cv2)
    for name in (0, tmp_path / "clip.avi"):
        with pytest.raises(CameraError, match=r"OpenCV is needed .*pip install 'facesdk-unlock\[camera\]'"):
            open_source(name)
    with pytest.raises(CameraError, match="OpenCV is needed"):
        open_source("rtsp://10.0.0.1/a", network=True)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://10.0.0.1/stream", "rtsp://10.0.0.1"), ("RTSPS://cam.example:554", "rtsps://cam.example:554"),
        ("rtsp://me:secret@door/path?key=secret", "rtsp://door"), ("rtsp://me:sec@ret@[fe80::1]:8554/", "rtsp://[fe80::1]:8554"),
    ],
)  # fmt: skip
def test_an_address_is_opened_only_where_that_is_asked_for(cameras: Fake, address: str, shown: str) -> None:
    Capture.plays = [[bgr(9)], []]
    with open_source(address, network=True) as source:
        frames = iter(source)
        frame = next(frames)
        assert (frame.camera, frame.image[0, 0].tolist()) == (shown, [11, 10, 9])
        with pytest.raises(CameraError, match="stopped giving frames") as caught:
            next(frames)
    assert shown in str(caught.value)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]
    assert Capture.opened == [(address, cv2.CAP_FFMPEG, limits)]
    with open_source(address, network=True) as source, pytest.raises(CameraError, match="gave no frame"):
        next(iter(source))
    for opens in (lambda: open_source(address, network=True), open_camera(address, network=True).__enter__):
        with pytest.raises(CameraError, match="cannot be opened: is it reachable") as caught:
            opens()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://x/a.mp4", "file:///etc/passwd", "rtsp://", "rtsp:///a", "rtsp://a b/c",
                                     "rtsp://x:y/", "concat://rtsp://x/", "rtsp://x/\nrtsp"])  # fmt: skip
def test_other_addresses_are_refused_even_then(cameras: Fake, address: str) -> None:
    for opens in (open_source, open_camera):
        with pytest.raises(InputError, match="no other scheme"):
            opens(address, network=True)  # type: ignore[operator]
    assert Capture.opened == []
