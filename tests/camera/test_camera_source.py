"""Sources of frames by their names: device nodes and links to them, videos, folders, and what is none of these."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import PORTRAITS, portrait

from facesdk import Engine
from facesdk.camera import open_source, source
from facesdk.errors import CameraError, InputError


class Capture:
    """What OpenCV opened."""

    opened: list[object] = []  # noqa: RUF012

    def __init__(self, name: object) -> None:
        self.opened.append(name)

    def isOpened(self) -> bool:
        return True

    def release(self) -> None:
        """Nothing is held."""


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the node of camera 2: no container has a real one."""
    node = tmp_path / "video2"
    node.touch()
    whole_stat = Path.stat

    def looked_at(path: Path, **options: Any) -> os.stat_result:
        found = whole_stat(path, **options)
        if path.is_relative_to(tmp_path) and os.path.basename(os.path.realpath(path)) in ("video2", "vbi0"):
            fields = list(found)
            fields[0] = stat.S_IFCHR | 0o660
            return os.stat_result(fields, {"st_rdev": os.makedev(81, 2)})
        return found

    monkeypatch.setattr(Path, "stat", looked_at)
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    Capture.opened.clear()
    return node


def answering(capabilities: int) -> Any:
    """An ioctl as a driver with these capabilities has it."""

    def ioctl(_device: int, request: int, answer: bytearray) -> int:
        assert request == 0x80685600
        answer[88:92] = struct.pack("=I", capabilities)
        return 0

    return ioctl


def test_a_camera_by_number_node_or_link(camera: Path, tmp_path: Path) -> None:
    (tmp_path / "by-id").mkdir()
    link = tmp_path / "by-id" / "usb-Camera-index0"
    link.symlink_to("../video2")
    for name in ("2", 2, np.int64(2), str(camera), camera, str(link), link):
        with open_source(name):
            assert Capture.opened.pop() == 2


def test_a_node_that_gives_no_pictures_says_so(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, gives in ((0x04200001, True), (0x1000, True), (0x04A00000, False), (0x2, False)):
        monkeypatch.setattr(source.fcntl, "ioctl", answering(capabilities))
        if gives:
            with open_source(str(camera)):
                assert Capture.opened.pop() == 2
        else:
            with pytest.raises(CameraError, match="gives no pictures"):
                open_source(str(camera))
    other = camera.with_name("vbi0")
    other.touch()
    with pytest.raises(CameraError, match="not a camera"):
        open_source(str(other))


def test_a_camera_that_this_user_may_not_use(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source.os, "access", lambda *_: False)
    with pytest.raises(CameraError, match="group video"):
        open_source(str(camera))


def test_other_devices_and_files_are_called_by_their_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("/dev/null", "a device, but not a camera"), ("/dev/zero", "a device, but not a camera"),
        ("/dev/video97", "no such device"), ("/dev/v4l/by-id/usb-none-index0", "no such device"),
        (str(tmp_path / "pipe"), "neither a camera nor a video file"),
        (str(tmp_path / "none.mp4"), "no such video file"),
    ):  # fmt: skip
        with pytest.raises(CameraError, match=words) as caught:
            open_source(name)
        assert ("no such video" in str(caught.value)) == name.endswith("none.mp4")


def test_messages_name_the_cameras_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/video1"), Path("/dev/video0")]))
    with pytest.raises(CameraError, match="/dev/video0, /dev/video1"):
        open_source("/dev/video97")


@pytest.mark.parametrize(
    "name", ["rtsp://user:secret@10.0.0.1/a", "http://x/a.mp4", "RTSPS://x", "udp://@:1234", "file:///a"]
)
def test_network_addresses_are_refused_without_repeating_them(name: str) -> None:
    with pytest.raises(CameraError, match="no network code") as caught:
        open_source(name)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [None, -1, True, 2.0, b"0", "", "a\0b", [0]])
def test_what_is_no_name_is_an_input_error(name: object) -> None:
    with open_source(PORTRAITS) as frames:
        assert next(iter(frames)).image.ndim == 3
    with pytest.raises(InputError, match="device node"):
        open_source(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_source_turns_its_pictures_clockwise(tmp_path: Path, degrees: int) -> None:
    picture = np.zeros((80, 100, 3), np.uint8)
    picture[:40, :50] = 255  # the corner at the top left
    cv2.imwrite(str(tmp_path / "one.png"), picture)
    (frame,) = open_source(tmp_path, rotate=degrees)
    assert frame.image.flags.c_contiguous
    height, width = frame.image.shape[:2]
    assert (height, width) == ((80, 100) if degrees in (0, 180) else (100, 80))
    corners = frame.image[0, 0, 0], frame.image[0, -1, 0], frame.image[-1, -1, 0], frame.image[-1, 0, 0]
    assert [bool(corner) for corner in corners] == [degrees == at for at in (0, 90, 180, 270)]


def test_a_camera_upside_down_is_put_right_by_its_source(tmp_path: Path, sface: Engine) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.rot90(portrait("obama_2012"), 2)[:, :, ::-1])
    (upside_down,), (upright,) = open_source(tmp_path), open_source(tmp_path, rotate=180)
    assert sface.observe(upside_down.image)[0].turned
    assert np.array_equal(upright.image, portrait("obama_2012"))


@pytest.mark.parametrize("wrong", [45, -90, 360, 90.0, True, "90", None])
def test_other_rotations_are_refused(tmp_path: Path, wrong: Any) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((80, 100, 3), np.uint8))
    with pytest.raises(InputError, match="rotate must be one of 0, 90, 180, 270"):
        open_source(tmp_path, rotate=wrong)
