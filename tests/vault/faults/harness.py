"""Runs the operations under faults: `harness.py FOLDER WORKER WORKERS NAMES...` prints what it found as JSON.

shim.c is loaded (LD_PRELOAD). For each operation one run without faults names its system calls; then, for each call
and each fault that fits it, a forked process does the operation with that fault, and this process, which has none,
looks at what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from examine import Finding, Run, examine
from operations import OPERATIONS, Operation
from world import World, small_log, usual_log

from facesdk.errors import FaceSdkError
from facesdk.vault import ProcessOpenKeys
from facesdk.vault import keyring as keyring_module
from facesdk.vault.open_keys import OpenKey

# The numbers of shim.c.
MODES = (
    "none", "kill before", "kill after", "no space", "i/o error", "i/o error after", "partial write", "torn write",
    "short", "interrupted", "disk full from here", "disk dead from here", "no keyring from here",
    "no locked memory from here",
)  # fmt: skip
_KILLS = ("kill before", "kill after")
_CHANGE = (*_KILLS, "no space", "i/o error", "i/o error after", "disk dead from here")
_KEYS = (*_KILLS, "no space", "i/o error", "i/o error after", "no keyring from here")
FITTING = {
    "open": ("i/o error",),
    "create": (*_KILLS, "no space", "i/o error", "interrupted", "disk full from here"),
    "read": ("i/o error", "short"),
    "pread": ("i/o error", "short"),
    "write": (*_CHANGE, "partial write", "torn write", "short", "interrupted", "disk full from here"),
    "pwrite": (*_CHANGE, "partial write", "torn write", "short", "interrupted", "disk full from here"),
    "fsync": (*_KILLS, "no space", "i/o error", "interrupted", "disk dead from here"),
    "rename": _CHANGE,
    "unlink": _CHANGE,
    "ftruncate": (*_CHANGE, "interrupted"),
    "fchmod": (*_CHANGE, "interrupted"),
    "mkdir": (*_CHANGE, "disk full from here"),
    "flock": ("kill after", "i/o error", "interrupted"),
    "close": ("i/o error after",),
    "stat": ("i/o error",),
    "opendir": ("i/o error",),
    "readdir": ("i/o error",),
    "add_key": _KEYS,
    "keyctl search": ("no space", "i/o error", "no keyring from here"),
    "keyctl read": ("no space", "i/o error", "no keyring from here"),
    "keyctl describe": ("i/o error", "no keyring from here"),
    "keyctl update": _KEYS,
    "keyctl setperm": _KEYS,
    "keyctl timeout": _KEYS,
    "keyctl revoke": _KEYS,
    "keyctl unlink": _KEYS,
    "mlock": ("no space",),
    "madvise": (),
}
SLOW = ("kill before", "kill after", "torn write")  # of operations with Argon2id
HANGS_S = 20


class Shim:
    """The library that is loaded already."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.arm = library.fault_arm
        self.arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self.disarm = library.fault_disarm
        self.disarm.restype = ctypes.c_long
        self._name = library.fault_name
        self._name.restype = ctypes.c_char_p
        self._name.argtypes = [ctypes.c_long]

    def name(self, n: int) -> str:
        return str(self._name(n).decode())

    def names(self, calls: int) -> list[str]:
        return [self.name(n) for n in range(1, calls + 1)]


@dataclass
class Found:
    """points: how many by (operation, mode). calls: how many by (operation, call)."""

    points: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)


class Bench:
    """One worker's world, and what it found."""

    def __init__(self, root: Path, *, worker: int, workers: int) -> None:
        self.world = World(root)
        self.shim = Shim()
        self.found = Found()
        self._worker, self._workers = worker, workers
        self._names: list[str] = []

    def operation(self, operation: Operation, where: str) -> None:
        """Every point of one operation with its open_keys in one place."""
        world, open_keys = self.world, self.world.keyring if where == "keyring" else ProcessOpenKeys()
        small_log(*operation.log) if operation.log else usual_log()
        world.clear()
        world.user = "alice"
        operation.prepare(world, world.vault(open_keys))
        world.keep(open_keys)
        kept = self.world.keyring if where == "keyring" else None
        label = operation.name if len(operation.open_keys) == 1 else f"{operation.name} ({where})"
        warm = operation.call(world, os.open(os.devnull, os.O_WRONLY))
        world.reset(kept)
        if not operation.needs_restart:  # so that the forked processes import nothing
            self._warm(operation, warm, where)
        world.reset(kept)
        gc.freeze()  # what a forked process would otherwise copy
        good = self._run(operation, where, 0, 0)
        self._judge(operation, label, good, "without a fault", complete=True)
        names = self._names = good.report.get("names", [])
        points = [(n, mode) for n, name in enumerate(names, 1) for mode in FITTING.get(name, ())]
        if operation.slow:
            points = [(n, mode) for n, mode in points if mode in SLOW]
        for n, mode in points[self._worker :: self._workers]:
            world.reset(kept)
            run = self._run(operation, where, n, MODES.index(mode))
            # Keys of other programs in the user's keyring move the numbers of the calls that look through it.
            if run.report.get("name", names[n - 1]) != names[n - 1]:
                continue
            self.found.points[label, mode] += 1
            self.found.calls[label, names[n - 1]] += 1
            self._judge(operation, label, run, f"call {n} of {len(names)} ({names[n - 1]}): {mode}")

    def _warm(self, operation: Operation, call: object, where: str) -> None:
        open_keys = self.world.keyring if where == "keyring" else ProcessOpenKeys()
        if where == "process":
            self.world.open(open_keys)
        with contextlib.suppress(Exception):  # the run without a fault reports it
            call(self.world.vault(open_keys))  # type: ignore[operator]

    def _run(self, operation: Operation, where: str, n: int, mode: int) -> Run:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                self._child(operation, where, (n, mode, writer))
            finally:
                os._exit(9)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        compared = said.startswith(b"c")
        said = said.lstrip(b"c")
        call = self._names[n - 1] if n else "none"
        return Run(MODES[mode], call, where, status, compared, json.loads(said) if said else {})

    def _child(self, operation: Operation, where: str, point: tuple[int, int, int]) -> None:
        n, mode, writer = point
        signal.alarm(HANGS_S)
        gc.disable()
        open_keys = self.world.keyring if where == "keyring" else ProcessOpenKeys()
        if where == "process":
            self.world.open(open_keys)
        vault, call = self.world.vault(open_keys), operation.call(self.world, writer)
        report: dict[str, object] = {}
        self.shim.arm(n, mode, writer)
        try:
            report["result"] = call(vault)
        except FaceSdkError as error:
            report["error"] = type(error).__name__
            report["message"] = str(error)
        except BaseException as error:
            report["foreign"] = f"{type(error).__name__}: {error}"
        calls = self.shim.disarm()
        if n == 0:
            report["names"] = self.shim.names(calls)
        elif n <= calls:
            report["name"] = self.shim.name(n)
        found = {user: open_keys.load(user) for user in ("alice", "bob")}
        report["failures"] = {u: f.state.failures for u, f in found.items() if isinstance(f, OpenKey)}
        os.write(writer, json.dumps(report).encode())
        os._exit(0)

    def _judge(self, operation: Operation, label: str, run: Run, point: str, *, complete: bool = False) -> None:
        try:
            examine(self.world, operation, run, complete=complete)
        except (Finding, FaceSdkError) as finding:
            rule = finding.rule if isinstance(finding, Finding) else "it can be looked at"
            said = run.report.get("foreign") or run.report.get("error") or run.report.get("result", "killed")
            self.found.findings.append(
                {"operation": label, "point": point, "rule": rule, "what": f"{finding} (it ended: {said})"}
            )


def main(root: str, worker: str, workers: str, *names: str) -> None:
    """Prints points, calls, findings and seconds by operation."""
    # Where nobody can tell a vault from another, all of them are locked: the other worker's is not to be one of them.
    keyring_module._RINGS, keyring_module._WHYS = f"facesdk-test-{worker}:", f"facesdk-test-why-{worker}:"
    bench = Bench(Path(root), worker=int(worker), workers=int(workers))
    seconds = {}
    try:
        for operation in OPERATIONS:
            for where in operation.open_keys:
                if where in names or operation.name in names:
                    start = time.monotonic()
                    bench.operation(operation, where)
                    seconds[f"{operation.name} ({where})"] = round(time.monotonic() - start, 2)
    finally:
        bench.world.clear()
    found = bench.found
    points, calls = ([[*key, count] for key, count in c.items()] for c in (found.points, found.calls))
    print(json.dumps({"points": points, "calls": calls, "findings": found.findings, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
