"""The clock that rules go by: nobody can set it."""

import time


def boot_ns() -> int:
    """Nanoseconds since the machine started, suspend included (CLOCK_BOOTTIME); the wall clock has no part in it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
