"""The cameras of this machine, each with a hint: what `facesdk cameras` shows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from facesdk.camera import v4l2
from facesdk.camera.identity import CameraIdentity
from facesdk.camera.picamera import VIRTUAL_ID, picamera_identities
from facesdk.errors import CameraError

# Formats without colour: GREY and its kin with more bits a pixel, as infrared cameras have them.
GRAY_FORMATS = ("GREY", "Y8", "Y8I", "Y10", "Y10B", "Y12", "Y16", "Y16I")


@dataclass(frozen=True)
class ListedCamera:
    """One camera: the name that opens it, who it is, its pixel formats, whether it can be used, and what to know."""

    name: str
    identity: CameraIdentity
    formats: tuple[str, ...]
    virtual: bool
    usable: bool
    hint: str


def list_cameras(machine: v4l2.Machine | None = None) -> list[ListedCamera]:
    """The cameras of this machine, those of the kernel first; nodes without pictures (metadata, outputs) are left out.

    Args:
        machine: the system to look at; this one if None.

    Returns:
        One entry a camera. Nothing is opened for longer than it takes to ask its driver; no picture is taken.
    """
    found = [_of_node(node) for node in v4l2.nodes(machine or v4l2.HERE) if node.gives_pictures]
    return found + (_modules() if find_spec("picamera2") else [])


def _of_node(node: v4l2.Node) -> ListedCamera:
    usable, hint = True, "can be used"
    if node.problem:
        usable, hint = False, node.problem
    elif node.virtual:
        opens = f"allow_virtual=({node.identity.card!r},) opens it"
        usable, hint = False, f"virtual, its pictures come from a program: {opens}"
    elif node.formats and all(code in GRAY_FORMATS for code in node.formats):
        hint = "gray only, so most likely infrared: take the colour camera beside it"
    return ListedCamera(str(node.path), node.identity, node.formats, node.virtual, usable, hint)


def _modules() -> list[ListedCamera]:
    """The camera modules that Picamera2 finds; those on USB are in the kernel's list already."""
    try:
        identities = picamera_identities()
    except CameraError as error:
        return [ListedCamera("picamera", CameraIdentity("", "", ""), (), False, False, error.message)]
    rows = []
    for number, identity in enumerate(identities):
        virtual = identity.bus_info.startswith(VIRTUAL_ID)
        if identity.card and "/usb" not in identity.bus_info:
            hint = "virtual, its pictures come from a program" if virtual else "a camera module; can be used"
            rows.append(ListedCamera(f"picamera:{number}", identity, (), virtual, not virtual, hint))
    return rows
