"""How many threads a network is run by where nobody says a number; and work that is done on another one."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from facesdk.errors import InputError

ROOT = Path("/")
MOST = 16
# A guess: networks as small as these gain little by more, and a board has others to run.
MOST_AUTO = 4
# A core counts as big from this share of the largest core's capacity; x86-64's favoured cores differ by less.
BIG_SHARE = 0.8
# Degrees Celsius at which a Raspberry Pi begins to slow down.
HOT_C = 80
BROKEN_C = 150
PROCESSOR_ZONES = ("cpu", "soc", "pkg", "core", "proc")

T = TypeVar("T")


def checked_threads(threads: Any) -> int:
    """The number as int, numpy's integers too, for "auto" what auto_threads says; InputError for anything else."""
    if isinstance(threads, str) and threads == "auto":
        return auto_threads()
    try:
        number = 0 if isinstance(threads, bool) else operator.index(threads)
    except TypeError:
        number = 0
    if not 1 <= number <= MOST:
        raise InputError(f'threads must be "auto" or a whole number from 1 to {MOST}, not {threads!r}')
    return number


def auto_threads(root: Path = ROOT) -> int:
    """One for each big core that this process may use and that is idle, four at most; one where the processor is hot.

    Two logical processors of one core count once. What the system does not say counts for nothing: all cores are big
    then, and none is busy.
    """
    if _hot(root):
        return 1
    cores = big_cores(root, os.sched_getaffinity(0))
    cores = min(cores, _allowed(root))
    with contextlib.suppress(OSError, ValueError, IndexError, OverflowError):
        busy = float((root / "proc/loadavg").read_text(encoding="ascii").split()[0])
        return max(1, min(MOST_AUTO, round(cores - busy)))
    return max(1, min(MOST_AUTO, cores))


def big_cores(root: Path, processors: set[int]) -> int:
    """How many cores with the largest capacity these processors are on, by the kernel's cpu_capacity and topology."""
    folder = root / "sys/devices/system/cpu"
    capacities = {number: _number(folder / f"cpu{number}/cpu_capacity") or 0 for number in processors}
    largest = max(capacities.values(), default=0)
    cores = set()
    for number in (n for n, capacity in capacities.items() if capacity >= BIG_SHARE * largest):
        siblings = folder / f"cpu{number}/topology/thread_siblings_list"
        try:
            cores.add(siblings.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            cores.add(str(number))
    return len(cores)


def _hot(root: Path) -> bool:
    """Whether a zone of the processor is where it is made slower; other zones and broken sensors say nothing."""
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        with contextlib.suppress(OSError, ValueError):
            kind = (zone / "type").read_text(encoding="ascii").lower()
            degrees = (_number(zone / "temp") or 0) / 1000
            if HOT_C <= degrees < BROKEN_C and any(word in kind for word in PROCESSOR_ZONES):
                return True
    return False


def _allowed(root: Path) -> int:
    """Processors that a container may use at a time, by its control group's quota."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    return MOST


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class Later(Generic[T]):
    """Work that another thread has begun, and what comes of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._found: list[T] = []
        self._failure: BaseException | None = None
        self._work = work
        self._thread: threading.Thread | None = threading.Thread(target=self._do, name="facesdk")
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had
            self._thread = None
            self._do()

    def _do(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as error:  # raised in the thread that asks for the result
            self._failure = error

    def wait(self) -> None:
        """Waits until it has ended, in whichever way."""
        if self._thread is not None:
            self._thread.join()

    def result(self) -> T:
        """Waits for it; raises what the work raised."""
        self.wait()
        if self._failure is not None:
            raise self._failure
        return self._found[0]
