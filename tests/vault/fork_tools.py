"""A forked child that tells by its exit code whether what it tried held; one that hangs is killed."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable

DEADLINE_S = 60.0


def in_child(body: Callable[[], object]) -> int:
    """The exit code of a forked child that runs body: 0 for True, 1 for False, 2 for an error; minus the signal it died
    by, -SIGKILL for one that hung."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            for number in (signal.SIGSEGV, signal.SIGBUS):  # faulthandler, which pytest turns on, would print it all
                signal.signal(number, signal.SIG_DFL)
            code = 0 if body() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
