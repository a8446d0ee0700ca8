"""The bundled portraits of public figures; CREDITS.md says who made them and under which licence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.images import decode_rgb

if TYPE_CHECKING:
    from facesdk.types import Frame


def names() -> tuple[str, ...]:
    """The file names of all portraits, sorted."""
    from importlib.resources import files

    listed = (entry.name for entry in files("facesdk.portraits").iterdir())
    return tuple(sorted(name for name in listed if name.endswith((".jpg", ".png"))))


def load(name: str) -> Frame:
    """One portrait as uint8 (H, W, 3), RGB. FileNotFoundError for a name that `names` does not list."""
    from importlib.resources import files

    return decode_rgb(files("facesdk.portraits").joinpath(name).read_bytes())
