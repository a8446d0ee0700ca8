"""The command that lists cameras."""

from __future__ import annotations

import json

import pytest
from camera_tools import METADATA, Driver, Fake

from facesdk.cli import main


def test_no_cameras(cameras: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras"]) == 5
    assert capsys.readouterr().out.startswith("no cameras: is one plugged in?")
    assert main(["cameras", "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "cameras": []}


def test_cameras_with_a_hint_each(cameras: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    cameras.plug(Driver(0, by_id="usb-Maker_Camera_1-video-index0"))
    cameras.plug(Driver(1, capabilities=METADATA))
    cameras.plug(Driver(2, "OBS Virtual Camera", driver="v4l2 loopback", bus="platform:v4l2loopback-002"))
    assert main(["cameras"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok  ")
    assert "video0" in lines[0]
    assert [line.strip() for line in lines[1:4]] == ["usb-Maker_Camera_1-video-index0", "YUYV MJPG", "can be used"]
    assert lines[4].startswith("no  ")
    assert "allow_virtual=('OBS Virtual Camera',)" in lines[6]
    assert len(lines) == 7
    assert main(["cameras", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["cameras"]
    assert first["label"] in lines[0]
    assert first["identity"] == {
        "driver": "uvcvideo", "card": "HD Webcam", "bus_info": "usb-0000:00:14.0-1",
        "by_id": "usb-Maker_Camera_1-video-index0",
    }  # fmt: skip
    assert (second["virtual"], second["usable"]) == (True, False)


def test_only_cameras_that_cannot_be_used(cameras: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    cameras.plug(Driver(0, "Cam\x1b[31m\n", opening=13))
    assert main(["cameras"]) == 5
    out = capsys.readouterr().out
    assert "group video" in out
    cameras.plug(Driver(1, "Cam\x1b[31m\n"))
    assert main(["cameras"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Cam?[31m?" in out
