"""Who does the work: processes and threads of this machine, or a Dask cluster. What is done is the same."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Any, Protocol, TypeVar

from facesdk.errors import FaceSdkError, InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkersLostError(FaceSdkError, RuntimeError):
    """A worker process or the cluster ended before its work was done."""


class Workers(Protocol):
    """Calls function(common, job) for every job; results come in the order of the jobs."""

    count: int

    def map(
        self, function: Callable[[Any, Job], Result], common: Any, jobs: Sequence[Job], *, threads: bool = False
    ) -> Iterator[Result]:
        """threads: the function is native code that leaves Python to others, so that memory can be shared."""
        ...


class LocalWorkers:
    """`count` processes, or threads where that is enough; one alone is this process itself."""

    def __init__(self, count: int | None = None) -> None:
        self.count = len(os.sched_getaffinity(0)) if count is None else count
        if self.count < 1:
            raise InputError(f"expected at least one worker, not {self.count}")

    def map(
        self, function: Callable[[Any, Job], Result], common: Any, jobs: Sequence[Job], *, threads: bool = False
    ) -> Iterator[Result]:
        """As Workers says. WorkersLostError where a process was killed."""
        call = partial(function, common)
        if self.count == 1 or len(jobs) < 2:
            yield from map(call, jobs)
            return
        # Spawned, not forked: an engine and its threads do not survive a fork.
        pool: Executor = ThreadPoolExecutor(self.count) if threads else ProcessPoolExecutor(
            self.count, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
        )  # fmt: skip
        try:
            yield from _in_order(pool, call, jobs, ahead=2 * self.count)
        except BrokenProcessPool as error:
            raise WorkersLostError(
                "a worker process was ended from outside, perhaps for lack of memory",
                hint="run it again: what is in the cache is not computed again; --workers 1 needs the least memory",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(pool: Executor, call: Callable[[Job], Result], jobs: Sequence[Job], *, ahead: int) -> Iterator[Result]:
    """The results, with only some of the jobs handed out ahead, so that little is lost and little is held."""
    rest = iter(jobs)
    waiting: list[Future[Result]] = [pool.submit(call, job) for job in islice(rest, ahead)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(call, job) for job in islice(rest, 1)]


def _end_with_parent() -> None:
    """Ends this worker when its parent is gone, however that ended: a killed one cannot tell it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            wait_for([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


class DaskWorkers:
    """The workers of a Dask cluster at this address; they must see the pictures under the same paths."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError("--scheduler needs Dask", hint="pip install 'facesdk-unlock[dask]'") from error
        try:
            self._client = Client(address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(f"no Dask scheduler answers at {address!r} ({error})") from error
        self.count = len(self._client.scheduler_info()["workers"])
        if not self.count:
            raise InputError(f"the Dask scheduler at {address!r} has no workers: start some with `dask worker`")

    def map(
        self, function: Callable[[Any, Job], Result], common: Any, jobs: Sequence[Job], *, threads: bool = False
    ) -> Iterator[Result]:
        """As Workers says."""
        shared = self._client.scatter([common], broadcast=True, hash=False)[0]
        for future in [self._client.submit(function, shared, job, pure=False) for job in jobs]:
            yield future.result()

    def close(self) -> None:
        """Leaves the cluster."""
        self._client.close()
