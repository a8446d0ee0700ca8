"""Who a camera says it is, in a form that stays the same when it is unplugged, and that an audit log can hold."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# Characters of the text form. The kernel's fields hold 31 and 15 characters; a log's label takes 64.
_CARD, _DRIVER, _MARK = 31, 15, 12


@dataclass(frozen=True)
class CameraIdentity:
    """What the kernel and the camera say of it.

    driver and bus_info come from the kernel, card and by_id from the device itself, which can claim any name: an
    identity tells two honest cameras apart and proves nothing about a dishonest one. by_id is the name below
    /dev/v4l/by-id, with the maker, the model and often a serial number, or empty.
    """

    driver: str
    card: str
    bus_info: str
    by_id: str = ""

    @property
    def mark(self) -> str:
        """Twelve hexadecimal digits of all that stays: the place on the bus counts only where there is no by_id."""
        kept = "\0".join((self.driver, self.card, self.by_id or self.bus_info))
        return hashlib.sha256(kept.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK]

    def __str__(self) -> str:
        """At most 61 printable ASCII characters, the same for the same camera: `uvcvideo HD Webcam #0a1b2c3d4e5f`."""
        driver, card = _printable(self.driver)[:_DRIVER], _printable(self.card)[:_CARD]
        return f"{driver or 'unknown'} {card or 'camera'} #{self.mark}"


def _printable(text: str) -> str:
    """The text without what a log's label cannot hold."""
    return re.sub(r"[^ -~]|[\"\\]", "?", text).strip()
