"""Sources of frames by their names: device nodes and links to them, videos, folders, and what is none of these."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera_tools import METADATA, OUTPUT, PLANES, Capture, Driver, Fake, bgr
from conftest import PORTRAITS, portrait

from facesdk import Engine
from facesdk.camera import open_camera, open_source
from facesdk.errors import CameraError, InputError


def test_a_camera_by_number_node_or_link(cameras: Fake, tmp_path: Path) -> None:
    node = cameras.plug(Driver(2, by_id="usb-Maker_Camera_1-video-index0"))
    link = tmp_path / "a link"
    link.symlink_to(node)
    by_id = cameras.root / "dev/v4l/by-id/usb-Maker_Camera_1-video-index0"
    for name in ("2", "02", 2, np.int64(2), str(node), node, str(link), link, by_id, by_id.name):
        Capture.plays = [[bgr(9)]]
        with open_source(name) as source:
            assert Capture.opened.pop() == (2, cv2.CAP_V4L2)
            assert next(iter(source)).image[0, 0].tolist() == [11, 10, 9]
        Capture.plays = [[bgr(9)] * 50]
        with open_camera(name) as camera:
            assert camera.identity is not None
            assert camera.identity.by_id == by_id.name
        assert Capture.opened.pop() == (2, cv2.CAP_V4L2)
    assert Capture.released == 20


def test_a_node_that_gives_no_pictures_says_so(cameras: Fake) -> None:
    for number, capabilities in enumerate((0x04A00000 | METADATA, OUTPUT)):
        cameras.plug(Driver(number, capabilities=capabilities))
        with pytest.raises(CameraError, match=r"gives no pictures.*/dev/video0"):
            open_source(number)
    cameras.plug(Driver(5, capabilities=PLANES))
    Capture.plays = [[]]
    with open_source(5):
        assert Capture.opened == [(5, cv2.CAP_V4L2)]


def test_other_devices_and_files_are_called_by_their_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("/dev/null", "a device, but not a camera"), ("/dev/zero", "a device, but not a camera"),
        ("/dev/video97", "no such device"), ("97", "no such device"),
        ("/dev/v4l/by-id/usb-none-index0", "no such device"),
        (str(tmp_path / "pipe"), "neither a camera nor a video file"),
        (str(tmp_path / "none.mp4"), "no such video file"), ("usb-none-index0", "no such video file"),
        ("9999999", "no such video file"),
    ):  # fmt: skip
        with pytest.raises(CameraError, match=words) as caught:
            open_source(name)
        assert ("no such video file" in str(caught.value)) == (words == "no such video file")


def test_a_device_of_the_same_kind_that_is_no_camera(cameras: Fake) -> None:
    other = cameras.root / "dev" / "vbi0"
    other.touch()
    with pytest.raises(CameraError, match="not a camera"):
        open_source(str(other))


def test_messages_name_the_cameras_that_are_here(cameras: Fake) -> None:
    with pytest.raises(CameraError, match="this machine has none"):
        open_source(97)
    for number in (0, 1):
        cameras.plug(Driver(number))
    with pytest.raises(CameraError, match=r"/dev/video0, .*/dev/video1"):
        open_source(97)


@pytest.mark.parametrize(
    "name", ["rtsp://user:secret@10.0.0.1/a", "http://x/a.mp4", "RTSPS://x", "udp://@:1234", "file:///a"]
)
def test_network_addresses_are_refused_without_repeating_them(name: str) -> None:
    for opens in (open_source, open_camera):
        with pytest.raises(CameraError, match="no network code") as caught:
            opens(name)
        assert "secret" not in str(caught.value)
        assert "network=True" in str(caught.value)


@pytest.mark.parametrize("name", [None, -1, True, 2.0, b"0", "", "a\0b", [0]])
def test_what_is_no_name_is_an_input_error(name: object) -> None:
    with open_source(PORTRAITS) as frames:
        assert next(iter(frames)).image.ndim == 3
    for opens in (open_source, open_camera):
        with pytest.raises(InputError, match="device node"):
            opens(name)  # type: ignore[operator]


def test_a_recording_is_no_camera_to_stand_in_front_of(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"x")
    for name in (tmp_path, tmp_path / "clip.avi", tmp_path / "none", "none"):
        with pytest.raises(InputError, match="open_source"):
            open_camera(name)


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
    for name in (tmp_path, 0, "picamera"):
        with pytest.raises(InputError, match="rotate must be one of 0, 90, 180, 270"):
            open_source(name, rotate=wrong)
    with pytest.raises(InputError, match="rotate must be one of 0, 90, 180, 270"):
        open_camera(0, rotate=wrong)


def test_a_video_has_its_own_times_and_numbers(tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for level in range(0, 250, 50):
        writer.write(np.full((64, 64, 3), (level, 0, 0), np.uint8))
    writer.release()
    with open_source(clip) as source:
        frames = list(source)
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert np.allclose(np.diff([frame.time_s for frame in frames]), 0.1)
    assert [frame.dropped for frame in frames] == [0] * 5
    assert frames[4].image[32, 32, 2] > 180  # blue is last
    assert frames[4].image[32, 32, 0] < 20


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no JPEG or PNG files in this folder"):
        open_source(tmp_path)


def test_a_video_without_a_frame(cameras: Fake, tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"x")
    Capture.plays = [[]]
    with open_source(tmp_path / "clip.avi") as source, pytest.raises(CameraError, match="gave no frame"):
        next(iter(source))
    with pytest.raises(CameraError, match="is it a video"):
        open_source(tmp_path / "clip.avi")
