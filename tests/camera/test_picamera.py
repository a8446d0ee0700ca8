"""Camera modules through a module in Picamera2's place, which has the calls of its manual in their order."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from facesdk.camera import PicameraSource, list_cameras, open_camera, open_source, v4l2
from facesdk.errors import CameraError

pytestmark = pytest.mark.usefixtures("no_thread_stays")
MODULES = [
    {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0},
    {"Model": "imx219", "Location": 2, "Rotation": 0, "Id": "/base/soc/i2c0mux/i2c@0/imx219@10", "Num": 1},
]


class Request:
    def __init__(self, camera: Picamera2) -> None:
        self._camera = camera
        camera.requests += 1

    def make_array(self, name: str) -> np.ndarray:
        assert name == "main"
        self._camera.frames += 1
        if self._camera.frames in self._camera.breaks:
            self._camera.breaks.clear()
            raise RuntimeError("Camera frontend has timed out!")
        picture = np.full((64, 80, 3), 90, np.uint8)
        picture[..., 0] = self._camera.frames % 256  # red, as BGR888 has it
        return picture

    def release(self) -> None:
        self._camera.requests -= 1


class Picamera2:
    modules: ClassVar[list[dict[str, Any]]] = []
    made: ClassVar[list[Picamera2]] = []
    fails: ClassVar[set[str]] = set()
    breaks: ClassVar[set[int]] = set()

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        if "info" in Picamera2.fails:
            raise RuntimeError("no media controller")
        return list(reversed(Picamera2.modules))

    def __init__(self, camera_num: int = 0) -> None:
        if "open" in self.fails:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self.number, self.state, self.requests, self.frames = camera_num, "open", 0, 0
        self.made.append(self)

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return {"main": main}

    def configure(self, configuration: dict[str, Any]) -> None:
        assert self.state == "open"
        self.configuration, self.state = configuration, "configured"

    def start(self) -> None:
        assert self.state == "configured"
        if "start" in self.fails:
            raise RuntimeError("start failed")
        self.state = "started"

    def capture_request(self) -> Request:
        assert self.state == "started"
        return Request(self)

    def stop(self) -> None:
        if "stop" in self.fails:
            raise RuntimeError("stop failed")
        self.state = "stopped"

    def close(self) -> None:
        self.state = "closed"


@pytest.fixture(autouse=True)
def picamera2(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    from importlib.machinery import ModuleSpec

    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec("picamera2", None)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    Picamera2.modules, Picamera2.made, Picamera2.fails, Picamera2.breaks = [dict(m) for m in MODULES], [], set(), set()
    return Picamera2


def test_frames_of_a_module_by_its_number() -> None:
    for name, number in (("picamera", 0), ("picamera:1", 1)):
        with open_source(name) as source:
            frames = iter(source)
            first, second = next(frames), next(frames)
            camera = Picamera2.made[-1]
            assert (camera.number, camera.requests, camera.state) == (number, 0, "started")
            assert camera.configuration == {"main": {"size": (1280, 720), "format": "BGR888"}}
            assert (first.sequence, second.sequence, first.camera) == (0, 1, f"picamera {number}")
            assert second.image[0, 0].tolist() == [2, 90, 90]
        assert camera.state == "closed"


def test_libcamera_sees_no_variable_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LIBCAMERA_IPA_MODULE_PATH would load libraries from a folder of somebody's choice."""
    monkeypatch.setenv("LIBCAMERA_IPA_MODULE_PATH", str(tmp_path))
    seen: list[object] = []
    for name in ("global_camera_info", "__init__", "configure", "start"):
        whole = getattr(Picamera2, name)

        def looking(*arguments: Any, whole: Any = whole, **options: Any) -> Any:
            seen.append(os.environ.get("LIBCAMERA_IPA_MODULE_PATH"))
            return whole(*arguments, **options)

        monkeypatch.setattr(Picamera2, name, staticmethod(looking) if name == "global_camera_info" else looking)
    with open_source("picamera"):
        assert seen == [None] * 4
    assert os.environ["LIBCAMERA_IPA_MODULE_PATH"] == str(tmp_path)


def test_size_and_rotation() -> None:
    with PicameraSource(size=(640, 480), rotate=90) as source:
        assert next(iter(source)).image.shape == (80, 64, 3)
    assert Picamera2.made[0].configuration["main"]["size"] == (640, 480)


def test_identity_and_label() -> None:
    with open_camera("picamera:1") as camera:
        assert camera.identity is not None
        assert (camera.identity.driver, camera.identity.card) == ("libcamera", "imx219")
        assert camera.label == str(camera.identity)
        assert next(iter(camera)).image.shape == (64, 80, 3)
    assert Picamera2.made[-1].state == "closed"


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(CameraError, match="no such camera module; libcamera finds 0: imx708, 1: imx219"):
        open_source("picamera:2")
    Picamera2.modules.clear()
    with pytest.raises(CameraError, match="libcamera finds none: is the ribbon cable in"):
        open_source("picamera")
    assert Picamera2.made == []


@pytest.mark.parametrize("fails", [{"open"}, {"start"}, {"start", "stop"}])
def test_a_module_that_cannot_be_started_is_let_go(fails: set[str]) -> None:
    Picamera2.fails = fails
    with pytest.raises(CameraError, match=r"picamera 0 cannot be started: .*another program may be using it"):
        open_source("picamera")
    assert all(camera.state == "closed" for camera in Picamera2.made)


def test_a_module_that_stops_giving_frames_is_opened_again() -> None:
    Picamera2.breaks = {3}
    with open_source("picamera") as source, pytest.raises(CameraError, match="stopped giving frames: Camera frontend"):
        list(source)
    assert Picamera2.made[0].requests == 0
    Picamera2.breaks = {9}
    with open_camera("picamera") as camera:
        kinds = []
        while "back" not in kinds:
            assert camera.read(timeout_s=10) is not None
            kinds = [event.kind.value for event in camera.events]
        assert [kind for kind in kinds if kind != "picture"] == ["opened", "lost", "back"]
    assert len(Picamera2.made) == 3
    assert all(camera.state == "closed" for camera in Picamera2.made)


def test_a_virtual_module_is_refused_unless_allowed_by_name() -> None:
    Picamera2.modules[0].update(Id="Virtual0", Model="Virtual Video Device")
    with pytest.raises(CameraError, match="'Virtual Video Device' is a virtual camera"):
        open_source("picamera")
    with open_source("picamera", allow_virtual=("Virtual Video Device",)) as source:
        next(iter(source))
    assert [row.usable for row in list_cameras(v4l2.Machine(dev=v4l2.Path("/none")))] == [False, True]


def test_without_picamera2_or_with_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"Picamera2 is needed .*apt install python3-picamera2"):
        open_source("picamera")


def test_a_libcamera_that_lists_nothing_is_a_hint_of_the_list() -> None:
    Picamera2.fails = {"info"}
    with pytest.raises(CameraError, match="libcamera does not list its cameras: no media controller"):
        open_source("picamera")
    (row,) = list_cameras(v4l2.Machine(dev=v4l2.Path("/none")))
    assert (row.name, row.usable, "no media controller" in row.hint) == ("picamera", False, True)


def test_modules_are_listed_and_cameras_on_usb_only_once() -> None:
    Picamera2.modules.append(
        {"Model": "HD Webcam", "Id": "/base/scb/pcie@7d500000/usb@0,0-1.4:1.0-046d:0825", "Num": 2}
    )
    rows = list_cameras(v4l2.Machine(dev=v4l2.Path("/none")))
    assert [row.name for row in rows] == ["picamera:0", "picamera:1"]
    assert all(row.usable and "module" in row.hint for row in rows)
