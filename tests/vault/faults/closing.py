"""Stops what opens a key at every system call, lets another process lock or panic there, and lets it go on.

`closing.py FOLDER WORKER WORKERS` prints what it found as JSON. shim.c is loaded (LD_PRELOAD). The vault is reached by
another path than the one that the operation uses. Afterwards no key may be open, whatever the operation said.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import HANGS_S, Shim
from operations import enrolled, exported
from world import RULES, USER, World, record

from facesdk.errors import FaceSdkError, NotEnrolledError, Reason
from facesdk.vault import KeyringOpenKeys, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.attempts import PassphraseRequired
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.opening import Opening

STOP = 14  # of shim.c
HEAD_START_S = 0.02  # for a closer, which forgets first and then waits for the vault's lock

Call = Callable[[World, Vault, Opening | None], object]
OPENINGS: dict[str, tuple[Callable[[World, Vault], object], Call]] = {
    "enroll": (
        lambda _world, vault: None,
        lambda world, vault, opening: vault.enroll(
            record(), world.key("a"), replace=False, rules=RULES, opening=opening
        ),
    ),
    "enroll, replace": (
        enrolled(),
        lambda world, vault, opening: vault.enroll(
            record(), world.key("a"), replace=True, rules=RULES, opening=opening
        ),
    ),
    "unlock": (
        enrolled(),
        lambda world, vault, opening: vault.unlock(USER, world.key("a"), rules=RULES, opening=opening),
    ),
    "import": (
        exported,
        lambda world, vault, opening: vault.import_(
            (world.path / "exported").read_bytes(),
            world.key("recovery"),
            world.key("a"),
            replace=False,
            rules=RULES,
            opening=opening,
        ),
    ),
    "rekey": (
        enrolled(),
        lambda world, vault, opening: vault.rekey(USER, world.key("a"), world.key("b"), rules=RULES, opening=opening),
    ),
    "renew": (
        enrolled(),
        lambda world, vault, opening: vault.renew(USER, world.key("a"), rules=RULES, opening=opening),
    ),
}
CLOSERS: dict[str, Callable[[Vault], object]] = {
    "panic": lambda vault: vault.panic(),
    "lock": lambda vault: vault.lock(USER),
}


@dataclass(frozen=True)
class Point:
    """Where an operation is stopped, and what is done then."""

    name: str
    where: str
    closer: str
    n: int


class Bench:
    """One worker's world, and what it found."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.shim = Shim()
        self.other = root / "another path"
        self.other.symlink_to(self.world.path)
        self.points: Counter[str] = Counter()
        self.findings: list[str] = []

    def _sessions(self, where: str) -> KeyringOpenKeys | ProcessOpenKeys:
        return self.world.keyring if where == "keyring" else ProcessOpenKeys()

    def prepare(self, name: str, where: str) -> None:
        """The vault beforehand, with an identity, so that a panic has something to mark, and no key open."""
        world, open_keys = self.world, self._sessions(where)
        world.clear()
        vault = world.vault(open_keys)
        if name == "enroll":
            vault.enroll(record("bob"), world.key("b"), replace=False, rules=RULES)
        OPENINGS[name][0](world, vault)
        for user in (USER, "bob"):
            open_keys.forget(user, Reason.REMOVED)
        world.keep(open_keys)

    def calls(self, name: str, where: str) -> int:
        """How many system calls the operation makes where nobody stops it; it must leave its key open."""
        said = self._run(Point(name, where, "", 0))
        assert said["open"], f"{name} ({where}) leaves no key open: {said}"
        return int(said["calls"])

    def point(self, point: Point) -> None:
        """One operation, stopped, closed and let go on."""
        said = self._run(point)
        if not said.get("stopped"):
            return
        self.points[f"{point.name}, {point.closer} ({point.where})"] += 1
        if said["open"]:
            self.findings.append(f"{point}: the key is open afterwards; it ended: {said}")

    def _run(self, point: Point) -> dict[str, object]:
        self.world.reset(None)
        said_end, said = os.pipe()
        go, go_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self._child(point, said, go)
            finally:
                os._exit(9)
        os.close(said), os.close(go)
        stopped = self._close(point, child) if point.n else False
        with os.fdopen(said_end, "rb") as pipe, os.fdopen(go_end, "wb") as tell:
            first = pipe.readline()
            tell.write(b"g")
            tell.flush()
            last = pipe.readline()
        os.waitpid(child, 0)
        if not last:
            raise RuntimeError(f"{point}: it hung or crashed after {first!r}")
        return {**json.loads(first), **json.loads(last), "stopped": stopped}

    def _close(self, point: Point, child: int) -> bool:
        """Whether the child stopped; the vault is closed then, by the other path, and the child goes on."""
        while True:
            found, status = os.waitpid(child, os.WUNTRACED | os.WNOHANG)
            if found and os.WIFSTOPPED(status):
                break
            if self._is_done(child):
                return False
            time.sleep(0.0005)
        vault = Vault(VaultFolder(self.other), KeyringOpenKeys(self.other))
        answers: list[str] = []
        thread = threading.Thread(target=_answer, args=(CLOSERS[point.closer], vault, answers))
        thread.start()
        thread.join(HEAD_START_S)
        os.kill(child, signal.SIGCONT)
        thread.join()
        if answers == ["nobody of this name is enrolled"]:  # what was refused in words promises nothing
            return False
        assert answers == ["closed"], f"{point}: {answers}"
        return True

    def _is_done(self, child: int) -> bool:
        """Whether the child waits to be told to look, which it does once its operation is over."""
        return (self.world.root / f"done-{child}").exists()

    def _child(self, point: Point, said: int, go: int) -> None:
        signal.alarm(HANGS_S)
        vault = self.world.vault(self._sessions(point.where))
        _, call = OPENINGS[point.name]
        opening = vault.begin(USER)
        report: dict[str, object] = {}
        self.shim.arm(point.n, STOP, said)
        try:
            call(self.world, vault, opening)
        except FaceSdkError as error:
            report["error"] = f"{type(error).__name__}: {error}"
        report["calls"] = self.shim.disarm()
        (self.world.root / f"done-{os.getpid()}").touch()
        os.write(said, json.dumps(report).encode() + b"\n")
        os.read(go, 1)
        state, _ = vault.state(USER)
        raw = vault.open_keys.load(USER) if point.where == "keyring" else None
        is_open = not isinstance(state, PassphraseRequired) or isinstance(raw, OpenKey)
        os.write(said, json.dumps({"open": is_open, "state": repr(state)}).encode() + b"\n")
        os._exit(0)


def _answer(closer: Callable[[Vault], object], vault: Vault, answers: list[str]) -> None:
    try:
        closer(vault)
        answers.append("closed")
    except NotEnrolledError:
        answers.append("nobody of this name is enrolled")
    except BaseException as error:
        answers.append(f"{type(error).__name__}: {error}")


def main(root: str, worker: str, workers: str) -> None:
    """Prints points and findings."""
    bench = Bench(Path(root))
    try:
        for name in OPENINGS:
            for where in ("keyring", "process"):
                bench.prepare(name, where)
                calls = bench.calls(name, where)
                for closer in CLOSERS:
                    for n in range(1, calls + 1)[int(worker) :: int(workers)]:
                        bench.point(Point(name, where, closer, n))
    finally:
        bench.world.clear()
    print(json.dumps({"points": bench.points, "findings": bench.findings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
