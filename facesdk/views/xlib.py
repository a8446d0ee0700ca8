"""An X server that goes away: Xlib then ends the whole program at once, so that nothing behind a `finally` is done."""

from __future__ import annotations

import atexit
import ctypes
from collections.abc import Callable
from typing import Any

from facesdk.log import happened

_HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_EXIT_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_kept: list[Any] = []  # Xlib calls them as long as the process is there


def survive(pygame: Any, lost: Callable[[], object]) -> None:
    """Have Xlib come back from a lost connection instead of ending the program.

    Does nothing where SDL does not use X11, or its Xlib is older than 1.7, which has no such function.

    Args:
        pygame: the module, with a window open.
        lost: called by the thread that noticed; after it, nothing of pygame's display may be called any more.
    """
    if pygame.display.get_driver() != "x11":
        return
    try:
        xlib = ctypes.CDLL("libX11.so.6")
        set_exit, set_error = xlib.XSetIOErrorExitHandler, xlib.XSetIOErrorHandler
    except (OSError, AttributeError) as error:
        happened("a lost X server will end this program: %s", error)
        return
    set_exit.argtypes, set_error.argtypes = (ctypes.c_void_p, _EXIT_HANDLER, ctypes.c_void_p), (_HANDLER,)
    on_exit = _EXIT_HANDLER(lambda display, data: None)

    def on_error(display: int | None) -> int:
        atexit.unregister(pygame.quit)  # it would wait for the lost server for ever
        lost()
        return 0

    _kept.extend((on_exit, handler := _HANDLER(on_error)))
    set_exit(_pointer(pygame.display.get_wm_info()["display"]), on_exit, None)
    set_error(handler)


def _pointer(capsule: Any) -> int | None:
    """The Display* that pygame hands out."""
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    pointer: int | None = pointer_of(capsule, name_of(capsule))
    return pointer
