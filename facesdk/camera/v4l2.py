"""The cameras of the kernel: their nodes, what each is, who uses one. All of the machine is handed in as a Machine."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from facesdk.camera.identity import CameraIdentity
from facesdk.errors import CameraError

# linux/videodev2.h and Documentation/admin-guide/devices.txt.
V4L_MAJOR = 81
VIDIOC_QUERYCAP, CAPABILITY_BYTES, DEVICE_CAPS_AT = 0x80685600, 104, 88
VIDIOC_ENUM_FMT, FORMAT_BYTES, PIXEL_FORMAT_AT = 0xC0405602, 64, 44
VIDIOC_REQBUFS, MAPPED = 0xC0145608, 1  # V4L2_MEMORY_MMAP
CAPTURE, CAPTURE_PLANES = 0x1, 0x1000  # V4L2_CAP_VIDEO_CAPTURE, and its multi-planar kind
CAPTURE_TYPES = {CAPTURE: 1, CAPTURE_PLANES: 9}  # V4L2_BUF_TYPE_VIDEO_CAPTURE and ..._MPLANE
MAX_FORMATS = 64
# Drivers whose pictures come from a program: v4l2loopback and the kernel's own test devices.
VIRTUAL_DRIVERS = ("v4l2 loopback", "akvcam", "vivid", "vimc")
VIRTUAL_BUS = "platform:v4l2loopback"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


@dataclass(frozen=True)
class Machine:
    """The parts of the system that this module looks at; others take their place in tests."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    stat: Callable[[Path], os.stat_result] = os.stat
    open: Callable[[Path], int] = _open
    ioctl: Callable[[int, int, bytearray], object] = fcntl.ioctl


HERE = Machine()


@dataclass(frozen=True)
class Node:
    """A node of a camera: path and number, who it is, its pixel formats (four characters each, none if unknown).

    problem: in words, why no pictures can be had from it, or empty. virtual: its pictures come from a program.
    """

    path: Path
    number: int
    identity: CameraIdentity
    formats: tuple[str, ...]
    virtual: bool
    gives_pictures: bool
    problem: str = ""


def number_of(path: Path, machine: Machine) -> int:
    """The number of the camera whose node this is, or a link to it; CameraError for anything else."""
    try:
        found = machine.stat(path)
    except OSError as error:
        raise CameraError(f"{path}: no such device ({error.strerror}); {cameras_here(machine)}") from error
    number = re.fullmatch(r"video([0-9]+)", path.resolve().name)
    if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) != V4L_MAJOR or number is None:
        raise CameraError(f"{path}: a device, but not a camera; {cameras_here(machine)}")
    return int(number[1])


def node_of(number: int, machine: Machine) -> Node:
    """What the driver says of a camera. A node that cannot be asked is one with a problem."""
    path = machine.dev / f"video{number}"
    try:
        with _opened(path, machine) as device:
            answer = bytearray(CAPABILITY_BYTES)
            machine.ioctl(device, VIDIOC_QUERYCAP, answer)
            (capabilities,) = struct.unpack_from("=I", answer, DEVICE_CAPS_AT)
            kind = next((kind for bit, kind in CAPTURE_TYPES.items() if capabilities & bit), None)
            formats = tuple(_formats(device, kind, machine)) if kind else ()
            problem = _busy(device, kind, path, machine) if kind else ""
    except OSError as error:
        return Node(path, number, CameraIdentity("", "", ""), (), False, True, _why(error, path, machine))
    driver, card, bus = (_text(answer[at:end]) for at, end in ((0, 16), (16, 48), (48, 80)))
    identity = CameraIdentity(driver, card, bus, _by_id(path, machine))
    return Node(path, number, identity, formats, _is_virtual(identity, number, machine), kind is not None, problem)


def nodes(machine: Machine) -> list[Node]:
    """All camera nodes of this machine by their numbers, those without pictures among them."""
    numbers = sorted(int(found[1]) for path in machine.dev.glob("video[0-9]*")
                     if (found := re.fullmatch(r"video([0-9]+)", path.name)))  # fmt: skip
    return [node_of(number, machine) for number in numbers]


def checked_node(number: int, allow_virtual: tuple[str, ...], machine: Machine) -> Node:
    """The camera of this number, if it can be used; CameraError that says why not."""
    path = machine.dev / f"video{number}"
    number_of(path, machine)
    node = node_of(number, machine)
    if node.problem:
        raise CameraError(f"{path}: {node.problem}")
    if not node.gives_pictures:
        raise CameraError(f"{path}: a node of a camera that gives no pictures (metadata, or an output); try the "
                          f"camera's other nodes; {cameras_here(machine)}")  # fmt: skip
    if node.virtual and node.identity.card not in allow_virtual:
        said = f"{path}: {node.identity.card!r} is a virtual camera: its pictures come from a program, not from a lens"
        raise CameraError(said, hint=f"if that is meant: allow_virtual=({node.identity.card!r},)")
    return node


def found_again(identity: CameraIdentity, machine: Machine) -> int:
    """The number that a camera has now; CameraError while it is not there."""
    for node in nodes(machine):
        if node.gives_pictures and node.identity.mark == identity.mark:
            return node.number
    raise CameraError(f"{identity} is not connected; {cameras_here(machine)}")


def cameras_here(machine: Machine) -> str:
    """What the cameras of this machine are called, for a message."""
    paths = sorted(machine.dev.glob("video[0-9]*"))
    if not paths:
        return "cameras are /dev/video0, ... or their number, but this machine has none"
    return f"cameras are given by node or number, here are {', '.join(map(str, paths))}"


def holders(path: Path, machine: Machine) -> list[str]:
    """The processes that hold this node open, as `name (pid 1234)`; those of other users may be hidden."""
    target, found = str(path.resolve()), []
    for process in sorted(machine.proc.glob("[0-9]*"), key=lambda process: int(process.name)):
        own = int(process.name) == os.getpid()  # one handle of ours may be the one that asks
        try:
            if _links(process / "fd").count(target) > own:
                name = re.sub(r"[^ -~]", "?", (process / "comm").read_text(errors="replace").strip())
                found.append(f"{'this program itself' if own else name} (pid {process.name})")
        except OSError:
            continue  # it has ended, or is another user's
    return found


def in_use(path: Path, machine: Machine) -> str:
    """In words, who holds the camera."""
    who = holders(path, machine)
    if who:
        return f"the camera is busy: {', '.join(who)} uses it; end that program first"
    return "the camera is busy: a process that this user may not look into uses it; `fuser -v` as root names it"


def _links(folder: Path) -> list[str]:
    """What the open files of a process are; a file that was closed meanwhile is left out."""
    found = []
    for link in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


@contextmanager
def _opened(path: Path, machine: Machine) -> Iterator[int]:
    device = machine.open(path)
    try:
        yield device
    finally:
        os.close(device)


def _busy(device: int, kind: int, path: Path, machine: Machine) -> str:
    """Words where another handle streams from it. The driver says so when it is asked for no buffers at all."""
    try:
        machine.ioctl(device, VIDIOC_REQBUFS, bytearray(struct.pack("=5I", 0, kind, MAPPED, 0, 0)))
    except OSError as error:
        return in_use(path, machine) if error.errno == errno.EBUSY else ""
    return ""


def _why(error: OSError, path: Path, machine: Machine) -> str:
    """In words, why a node cannot be opened or asked."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return ("this user may not use the camera; most systems allow it to the group video (sudo usermod -aG video "
                "USER, then log in again)")  # fmt: skip
    if error.errno == errno.EBUSY:
        return in_use(path, machine)
    if error.errno in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
        return "the camera is not connected any more"
    return f"the driver does not say what it is ({error.strerror}); is it a camera?"


def _formats(device: int, kind: int, machine: Machine) -> Iterator[str]:
    """The pixel formats that the driver lists."""
    for index in range(MAX_FORMATS):
        answer = bytearray(struct.pack("=2I", index, kind)) + bytearray(FORMAT_BYTES - 8)
        try:
            machine.ioctl(device, VIDIOC_ENUM_FMT, answer)
        except OSError:
            return
        yield _text(answer[PIXEL_FORMAT_AT : PIXEL_FORMAT_AT + 4]).strip()


def _text(raw: bytearray) -> str:
    return bytes(raw).split(b"\0")[0].decode("utf-8", "replace")


def _by_id(path: Path, machine: Machine) -> str:
    """The name below /dev/v4l/by-id that leads to this node, the first if there are several."""
    try:
        links = sorted((machine.dev / "v4l" / "by-id").iterdir())
    except OSError:  # no camera with a name is plugged in, or the last one was unplugged just now
        return ""
    return next((link.name for link in links if link.resolve() == path.resolve()), "")


def _is_virtual(identity: CameraIdentity, number: int, machine: Machine) -> bool:
    """By its driver and bus, and by the place that the kernel gives it, which no option of a module changes."""
    place = (machine.sys / "class" / "video4linux" / f"video{number}").resolve()
    named = identity.driver in VIRTUAL_DRIVERS or identity.bus_info.startswith(VIRTUAL_BUS)
    return named or place.is_relative_to(machine.sys.resolve() / "devices" / "virtual")
