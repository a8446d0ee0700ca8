"""The measurements. Contestants take turns within each round, so that a slow moment of the machine meets them all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from contestants import ROOT, Contestant, Installed, NotMeasured, child_environment

ENROLLED = ROOT / "facesdk" / "portraits" / "obama_2005.jpg"
WARM_UPS = 5
T = TypeVar("T")


@dataclass
class Row:
    """Everything measured of one contestant; `problem` says why there is less."""

    contestant: Contestant
    problem: str = ""
    decisions: dict[str, str] = field(default_factory=dict)
    warm_ms: list[float] = field(default_factory=list)
    cold_ms: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    import_ms: list[float] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(frozen=True)
class Probes:
    """The two photos asked about."""

    mated: Path
    nonmated: Path


class Server:
    """A contestant's process kept alive, asked one photo at a time."""

    def __init__(self, installed: Installed, log: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [*installed.command, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=child_environment(),
        )

    def ask(self, photo: Path) -> tuple[str, float]:
        """Decision, and milliseconds from the file to it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise NotMeasured("its process has no pipes")
        try:
            print(photo, file=stdin, flush=True)
        except BrokenPipeError:
            raise NotMeasured("its process ended early; see log.txt in the cache") from None
        return _answer(stdout.readline())

    def close(self) -> None:
        """End the process and wait for it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def enroll(installed: Installed, log: IO[bytes]) -> None:
    """Make the reference anew. Raises NotMeasured when the contestant fails."""
    state = Path(installed.command[2])
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    command = [*installed.command, "enroll", str(ENROLLED)]
    if subprocess.run(command, stdout=log, stderr=log, env=child_environment(), check=False).returncode:
        raise NotMeasured("enrollment failed; see log.txt in the cache")


def measure_warm(rows: dict[str, Row], ready: list[Installed], probes: Probes, *, rounds: int, log: IO[bytes]) -> None:
    """Decisions on both photos, then file to decision in living processes, which are started on an idle machine."""
    wait_until_idle()
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for installed in ready:
            server = Server(installed, log)
            stack.callback(server.close)
            servers[installed.contestant.name] = server
        for installed in list(ready):
            name = installed.contestant.name
            with _reason_into(rows[name], ready, installed):
                rows[name].decisions = {
                    "mated": servers[name].ask(probes.mated)[0],
                    "nonmated": servers[name].ask(probes.nonmated)[0],
                }
                for _ in range(WARM_UPS):
                    servers[name].ask(probes.mated)
        for turn in progress(range(rounds), "warm"):
            for installed in _rotated(ready, turn):
                name = installed.contestant.name
                with _reason_into(rows[name], ready, installed):
                    rows[name].warm_ms.append(servers[name].ask(probes.mated)[1])


def wait_until_idle() -> None:
    """Waits, three minutes at most, until what ran before is out of the load, by which some choose their threads."""
    end = time.monotonic() + 180
    while os.getloadavg()[0] > 0.4 and time.monotonic() < end:
        time.sleep(1)


def measure_cold(rows: dict[str, Row], ready: list[Installed], probes: Probes, *, rounds: int, log: IO[bytes]) -> None:
    """Process start to decision, and the peak memory of that process."""
    for turn in progress(range(rounds), "cold"):
        for installed in _rotated(ready, turn):
            row = rows[installed.contestant.name]
            with _reason_into(row, ready, installed):
                elapsed_ms, peak_bytes = cold_run(installed, probes.mated, log)
                row.cold_ms.append(elapsed_ms)
                row.peak_bytes.append(peak_bytes)


def cold_run(installed: Installed, photo: Path, log: IO[bytes]) -> tuple[float, int]:
    """Milliseconds to the decision and peak bytes of one fresh process.

    Linux counts the memory of the forking process into the child's peak: this one stays below 40 MB, under all of them.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*installed.command, "verify", str(photo)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=child_environment(),
    )
    with process:
        line = process.stdout.readline() if process.stdout else ""
        elapsed_ms = (time.perf_counter() - begin) * 1e3
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    _answer(line)
    return elapsed_ms, usage.ru_maxrss * 1024


def measure_imports(rows: dict[str, Row], ready: list[Installed], *, rounds: int) -> None:
    """Wall time of a process that imports the contestant less that of one that imports numpy, once per environment."""
    first = {installed.contestant.environment: installed for installed in reversed(ready)}
    for turn in progress(range(rounds), "import"):
        for installed in _rotated(list(first.values()), turn):
            row = rows[installed.contestant.name]
            with _reason_into(row, ready, installed):
                base_ms = _import_ms(installed.python, "import numpy")
                row.import_ms.append(_import_ms(installed.python, installed.contestant.imports) - base_ms)
    for row in rows.values():
        if row.contestant.environment in first:
            row.import_ms = rows[first[row.contestant.environment].contestant.name].import_ms


def _import_ms(python: Path, statement: str) -> float:
    begin = time.perf_counter()
    command = [str(python), "-c", statement]
    if subprocess.run(command, capture_output=True, env=child_environment(), check=False).returncode:
        raise NotMeasured(f"{statement} fails in its environment")
    return (time.perf_counter() - begin) * 1e3


def _answer(line: str) -> tuple[str, float]:
    """Decision and milliseconds in a contestant's line."""
    try:
        answer = json.loads(line)
        return str(answer["decision"]), float(answer["elapsed_ms"])
    except (ValueError, KeyError, TypeError):
        raise NotMeasured("its process gave no decision; see log.txt in the cache") from None


class _reason_into:
    """Turns NotMeasured into the reason of a row, and takes the contestant out of what is measured next."""

    def __init__(self, row: Row, ready: list[Installed], installed: Installed) -> None:
        self._row, self._ready, self._installed = row, ready, installed

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, NotMeasured):
            return False
        self._row.problem = str(error)
        self._ready.remove(self._installed)
        return True


def _rotated(ready: list[Installed], turn: int) -> list[Installed]:
    """A copy of the list, begun one further each turn, so that nobody always follows the same neighbour."""
    start = turn % len(ready) if ready else 0
    return ready[start:] + ready[:start]


def progress(items: Sequence[T], label: str) -> Iterator[T]:
    """The items, with a counter on stderr where that is a terminal."""
    for index, item in enumerate(items, start=1):
        if sys.stderr.isatty():
            print(f"\r{label} {index}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if sys.stderr.isatty():
        print(file=sys.stderr)
