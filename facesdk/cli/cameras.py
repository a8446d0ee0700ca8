"""The command that lists cameras."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from facesdk.cli.context import Context
from facesdk.cli.options import add_command
from facesdk.cli.output import painted, show


def add(commands: Any) -> None:
    """The command of this module."""
    text = "List the cameras of this machine, with a hint each; takes no picture."
    add_command(commands, "cameras", cameras, text)


def cameras(context: Context, options: argparse.Namespace) -> int:
    """Lists the cameras; 0 if one can be used, else 5."""
    from facesdk.camera import list_cameras

    found = list_cameras()
    rows = [{
        "name": camera.name, "label": str(camera.identity), "identity": asdict(camera.identity),
        "formats": list(camera.formats), "virtual": camera.virtual, "usable": camera.usable, "hint": camera.hint,
    } for camera in found]  # fmt: skip
    lines = []
    for camera in found:
        mark = painted("ok ", "green") if camera.usable else painted("no ", "yellow")
        known = camera.identity.card or camera.identity.driver
        lines.append(f"{mark} {camera.name:14} {camera.identity if known else ''}".rstrip())
        lines += [f"    {text}" for text in (camera.identity.by_id, " ".join(camera.formats), camera.hint) if text]
    if not found:
        lines = ["no cameras: is one plugged in? There is no /dev/video*; a Raspberry Pi's modules need picamera2"]
    show(context, {"cameras": rows}, lines)
    return 0 if any(camera.usable for camera in found) else 5
