"""The kernel's cameras on a machine made of files: who they are, who holds them, which are virtual."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
from pathlib import Path

import pytest
from camera_tools import METADATA, PLANES, Capture, Driver, Fake, bgr

from facesdk.camera import CameraIdentity, CameraSource, list_cameras, open_camera, open_source, v4l2
from facesdk.errors import CameraError, InputError
from facesdk.vault.audit.entry import check_labels


def test_identity_of_a_camera(cameras: Fake) -> None:
    cameras.plug(Driver(3, by_id="usb-Maker_HD_0001-video-index0"))
    node = v4l2.node_of(3, cameras.machine)
    expected = CameraIdentity("uvcvideo", "HD Webcam", "usb-0000:00:14.0-1", "usb-Maker_HD_0001-video-index0")
    assert (node.identity, node.formats, node.virtual, node.problem) == (expected, ("YUYV", "MJPG"), False, "")
    assert str(node.identity).startswith("uvcvideo HD Webcam #")


def test_names_that_fill_their_fields(cameras: Fake) -> None:
    """A driver may leave out the zero at the end, and what follows is not the name's."""
    cameras.plug(Driver(0, card="c" * 32, driver="d" * 16, bus="b" * 32))
    node = v4l2.node_of(0, cameras.machine)
    assert node.identity == CameraIdentity("d" * 16, "c" * 32, "b" * 32)
    check_labels(str(node.identity), "")


def test_a_camera_by_its_number_alone_is_looked_at_too(cameras: Fake) -> None:
    with pytest.raises(CameraError, match="no such device"):
        CameraSource(97)
    (cameras.root / "dev" / "video5").mkdir()
    with pytest.raises(CameraError, match="a device, but not a camera"):
        CameraSource(5)


def test_an_identity_stays_and_differs() -> None:
    there = CameraIdentity("uvcvideo", "HD Webcam", "usb-1", "usb-Maker-1")
    assert str(there) == str(CameraIdentity("uvcvideo", "HD Webcam", "usb-2", "usb-Maker-1")), "another port"
    others = [
        CameraIdentity("uvcvideo", "HD Webcam", "usb-1", "usb-Maker-2"),
        CameraIdentity("uvcvideo", "HD Webcam", "usb-1"),
        CameraIdentity("uvcvideo", "HD Webcam", "usb-2"),
        CameraIdentity("uvcvideo", "HD Webca", "m", "usb-Maker-1"),
        CameraIdentity("gspca", "HD Webcam", "usb-1", "usb-Maker-1"),
    ]
    assert len({identity.mark for identity in [there, *others]}) == 6


def test_the_text_form_is_never_made_anew() -> None:
    """What an enrollment or a log has recorded must be found again by every later version."""
    there = CameraIdentity("uvcvideo", "HD Webcam", "usb-1", "usb-Maker-1")
    assert str(there) == "uvcvideo HD Webcam #0c3509bd3b54"
    assert str(CameraIdentity("uvcvideo", "HD Webcam", "usb-1")) == "uvcvideo HD Webcam #96fb5c94fd33"
    longest = str(CameraIdentity("d" * 99, "c" * 99, ""))
    assert longest.split(" #")[0] == "d" * 15 + " " + "c" * 31
    assert len(longest) == 61
    with pytest.raises(dataclasses.FrozenInstanceError):
        there.card = "other"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", 'a"b\\c', "Kam\u00e9ra \U0001f4f7", "x" * 80, "a\nb", "\udcff"])
def test_the_text_form_fits_the_audit_log(text: str) -> None:
    check_labels(str(CameraIdentity(text, text, text)), "")
    assert "  " not in str(CameraIdentity("", "", ""))


def test_nodes_are_in_the_order_of_their_numbers(cameras: Fake) -> None:
    for number in (10, 2, 0):
        cameras.plug(Driver(number))
    (cameras.root / "dev" / "video0x").touch()
    assert [node.number for node in v4l2.nodes(cameras.machine)] == [0, 2, 10]


def test_a_busy_camera_is_named_with_who_holds_it(cameras: Fake) -> None:
    node = cameras.plug(Driver(0, busy=True))
    with pytest.raises(CameraError, match=r"busy: a process that this user may not look into"):
        open_source(0)
    cameras.hold(0, 4711, "guvcview")
    cameras.hold(0, 23, "two\x1bfaced")
    (cameras.root / "proc" / "99").mkdir()  # has ended
    with pytest.raises(CameraError, match=r"busy: two\?faced \(pid 23\), guvcview \(pid 4711\) uses it"):
        open_source(0)
    cameras.drivers[0].busy = False
    cameras.drivers[0].opening = errno.EBUSY
    with pytest.raises(CameraError, match=r"guvcview \(pid 4711\)"), open_camera(0):
        pytest.fail("it was opened")
    assert Capture.opened == []
    assert v4l2.holders(node, cameras.machine) == ["two?faced (pid 23)", "guvcview (pid 4711)"]


def test_our_own_question_is_no_holder_and_another_handle_of_ours_is(cameras: Fake) -> None:
    node = cameras.plug(Driver(0))
    cameras.hold(0, os.getpid(), "python")
    assert v4l2.holders(node, cameras.machine) == []
    (cameras.root / "proc" / str(os.getpid()) / "fd" / "9").symlink_to(node)
    assert v4l2.holders(node, cameras.machine) == [f"this program itself (pid {os.getpid()})"]


def test_the_machines_own_processes_are_found(tmp_path: Path) -> None:
    held = tmp_path / "video0"
    with held.open("w"), held.open():
        assert v4l2.holders(held, v4l2.Machine()) == [f"this program itself (pid {os.getpid()})"]


@pytest.mark.parametrize(
    ("opening", "asking", "words"),
    [
        (errno.EACCES, 0, "group video"), (errno.EPERM, 0, "group video"), (errno.ENODEV, 0, "not connected any more"),
        (errno.ENXIO, 0, "not connected any more"), (0, errno.ENODEV, "not connected any more"),
        (0, errno.ENOTTY, "does not say what it is"), (errno.EIO, 0, "does not say what it is"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be_asked(cameras: Fake, opening: int, asking: int, words: str) -> None:
    cameras.plug(Driver(0, opening=opening, asking=asking))
    with pytest.raises(CameraError, match=words):
        open_source(0)
    (listed,) = list_cameras(cameras.machine)
    assert (listed.usable, words in listed.hint, str(listed.identity)) == (False, True, str(listed.identity))


@pytest.mark.parametrize(
    "driver",
    [
        Driver(0, "Cam", driver="v4l2 loopback", bus="platform:v4l2loopback-000"),
        Driver(0, "Cam", driver="v4l2 loopback", bus="other"), Driver(0, "Cam", bus="platform:v4l2loopback-010"),
        Driver(0, "Cam", driver="vivid", bus="platform:vivid-000"), Driver(0, "Cam", virtual=True),
    ],
    ids=["both", "driver", "bus", "vivid", "place"],
)  # fmt: skip
def test_virtual_cameras_are_refused_unless_allowed_by_name(cameras: Fake, driver: Driver) -> None:
    cameras.plug(driver)
    for allowed in ((), ("cam",), ("Cam ", "0")):
        with pytest.raises(CameraError, match=r"'Cam' is a virtual camera.*allow_virtual=\('Cam',\)"):
            open_source(0, allow_virtual=allowed)
        with pytest.raises(CameraError, match="virtual"), open_camera(0, allow_virtual=allowed):
            pytest.fail("it was opened")
    assert Capture.opened == []
    Capture.plays = [[bgr(9)]]
    with open_source(0, allow_virtual=("other", "Cam")) as source:
        assert next(iter(source)).camera == "camera 0"


@pytest.mark.parametrize("wrong", ["Cam", (1,), [None], None, 3])
def test_allowed_names_are_a_tuple_of_names(cameras: Fake, wrong: object) -> None:
    with pytest.raises(InputError, match="allow_virtual must be a tuple"):
        open_source(0, allow_virtual=wrong)  # type: ignore[arg-type]


def test_the_list_leaves_metadata_nodes_out_and_has_a_hint_for_each(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    cameras.plug(Driver(1, capabilities=METADATA))
    cameras.plug(Driver(2, "IR Camera", formats=("GREY",)))
    cameras.plug(Driver(3, "OBS Virtual Camera", driver="v4l2 loopback"))
    cameras.plug(Driver(4, "Taken", busy=True))
    cameras.plug(Driver(5, "Planes", capabilities=PLANES, formats=("NV12",)))
    cameras.plug(Driver(6, "Silent", formats=()))
    cameras.hold(4, 7, "zoom")
    rows = {row.name.rpartition("/")[2]: row for row in list_cameras(cameras.machine)}
    assert list(rows) == ["video0", "video2", "video3", "video4", "video5", "video6"]
    assert [row.usable for row in rows.values()] == [True, True, False, False, True, True]
    assert rows["video0"].hint == "can be used"
    assert "infrared" in rows["video2"].hint
    assert "allow_virtual=('OBS Virtual Camera',)" in rows["video3"].hint
    assert "zoom (pid 7)" in rows["video4"].hint
    assert (rows["video5"].formats, rows["video6"].formats) == (("NV12",), ())


@pytest.mark.parametrize("bit", range(32))
def test_two_capabilities_alone_mean_pictures(cameras: Fake, bit: int) -> None:
    cameras.plug(Driver(0, capabilities=1 << bit))
    node = v4l2.node_of(0, cameras.machine)
    assert node.gives_pictures == (bit in (0, 12))
    assert bool(node.formats) == node.gives_pictures
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.virtual = False  # type: ignore[misc]


def test_a_driver_that_lists_formats_without_end(cameras: Fake) -> None:
    cameras.plug(Driver(0, formats=tuple(["YUYV"] * 200)))
    assert len(v4l2.node_of(0, cameras.machine).formats) == 64


def test_the_real_calls_on_a_file_that_is_no_camera(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    opened = v4l2.HERE.open(tmp_path / "video0")
    flags = fcntl.fcntl(opened, fcntl.F_GETFL)
    assert (flags & os.O_ACCMODE, bool(flags & os.O_NONBLOCK)) == (os.O_RDWR, True), "as drivers want to be asked"
    assert fcntl.fcntl(opened, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(opened)
    (node,) = v4l2.nodes(v4l2.Machine(dev=tmp_path))
    assert node.problem.startswith("the driver does not say what it is (Inappropriate ioctl for device)")


def test_a_machine_without_names(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    (cameras.root / "dev/v4l/by-id").rmdir()
    assert v4l2.node_of(0, cameras.machine).identity.by_id == ""


def test_a_camera_is_found_again_by_what_stays(cameras: Fake) -> None:
    cameras.plug(Driver(0, by_id="usb-1"))
    identity = v4l2.node_of(0, cameras.machine).identity
    cameras.unplug(0)
    with pytest.raises(CameraError, match=r"uvcvideo HD Webcam #.* is not connected; .*has none"):
        v4l2.found_again(identity, cameras.machine)
    cameras.plug(Driver(0, by_id="usb-2"))
    cameras.plug(Driver(1, by_id="usb-1", capabilities=METADATA))
    cameras.plug(Driver(2, by_id="usb-3"))
    with pytest.raises(CameraError, match=r"is not connected; .*video0, .*video1, .*video2"):
        v4l2.found_again(identity, cameras.machine)
    cameras.unplug(1)
    cameras.plug(Driver(7, bus="usb-another-port", by_id="usb-1"))
    assert v4l2.found_again(identity, cameras.machine) == 7


def test_no_descriptor_stays_open(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    cameras.plug(Driver(1, asking=errno.ENOTTY))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        v4l2.nodes(cameras.machine)
    assert len(os.listdir("/proc/self/fd")) == before
