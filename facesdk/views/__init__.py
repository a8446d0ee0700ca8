"""What shows a session's progress to the person in front of the camera: text, a terminal, a window, LEDs."""

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.views.leds import LedView
    from facesdk.views.opening import open_view
    from facesdk.views.terminal import TerminalView
    from facesdk.views.text import TextView
    from facesdk.views.view import View
    from facesdk.views.window import WindowView

__all__ = ["LedView", "TerminalView", "TextView", "View", "WindowView", "open_view"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "LedView": "leds", "TerminalView": "terminal", "TextView": "text", "View": "view", "WindowView": "window",
        "open_view": "opening",
    },
)  # fmt: skip
