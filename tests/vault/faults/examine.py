"""What must hold of a vault after an operation that met a fault. Every rule has a name, which a finding carries."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from operations import Operation
from world import FAILURES, OTHER, RULES, USER, World

from facesdk.errors import (
    FaceSdkError,
    KeyUnavailableError,
    LockedOutError,
    NotEnrolledError,
    PassphraseRequiredError,
    RollbackError,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.types import Decision
from facesdk.vault import ProcessOpenKeys
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.audit.verify import ProblemKind, Report
from facesdk.vault.format import parse_header, unseal
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.template import Template


class Finding(Exception):
    """A rule that does not hold."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(what)
        self.rule = rule


@dataclass(frozen=True)
class Run:
    """One run of an operation in a process of its own: how it ended, and what it said of itself."""

    mode: str
    call: str
    where: str
    status: int
    compared: bool
    report: dict[str, object]

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL


def require(holds: object, rule: str, what: str) -> None:
    if not holds:
        raise Finding(rule, what)


def examine(world: World, operation: Operation, run: Run, *, complete: bool) -> None:
    """Nothing; Finding for the first rule that does not hold. complete: there was no fault."""
    _ending(operation, run, complete=complete)
    unchanged = world.is_unchanged()
    place = f"sessions in the {run.where}"
    end = _file(world, operation)
    if complete and operation.ends and not operation.name.startswith(("remove",)):
        require(end is None or end == operation.ends[-1], "good case", f"there is {end}, not {operation.ends[-1]}")
    if operation.name.startswith("remove") and "error" in run.report:
        _gone(world, operation, run)
        return
    matches = 0
    if end is not None:
        matches = _log(world, operation, run, end)
    _matched(operation, run, matches)
    _counter(world, operation, run, matches=matches, place=place)
    if operation.name in ("lock", "panic"):
        _forgets(run)
    if run.where == "keyring":
        _held_still_works(world, operation, end)
    if end is None:
        _gone(world, operation, run)
    elif not (unchanged and world.goes_on):
        _goes_on(world, operation, end)
        world.goes_on = world.goes_on or unchanged


def _ending(operation: Operation, run: Run, *, complete: bool) -> None:
    """An operation is killed, done, or raises an error of ours."""
    if run.killed:
        require(run.mode in ("kill before", "kill after", "torn write"), "killed", "nobody killed it")
        return
    require(not os.WIFSIGNALED(run.status), "hangs or crashes", f"signal {run.status & 127}")
    require(run.report, "hangs or crashes", f"it said nothing, status {run.status}")
    require("foreign" not in run.report, "errors are ours", str(run.report.get("foreign")))
    result = run.report.get("error", run.report.get("result"))
    if complete:
        require(result == operation.result, "good case", f"{result!r}, {operation.result!r} was expected")
    elif "result" in run.report:
        require(result == operation.result, "result", f"{result!r} without an error")
    elif run.mode in ("short", "interrupted"):
        require(result == operation.result, "harmless", f"{run.report['error']}: {run.report.get('message')}")


def _file(world: World, operation: Operation) -> tuple[str, int] | None:
    """Key and generation of the file that is there; None for no file, or one whose key a removal destroyed."""
    if not world.file().exists():
        require(operation.may_be_gone, "old or new", "there is no file any more")
        return None
    data = world.file().read_bytes()
    if operation.name.startswith("remove") and data != world.old_file():
        return None
    try:
        header = parse_header(data)
        for name in dict.fromkeys(name for name, _ in operation.ends):
            end = name, _generation(world, name, data)
            if end[1]:
                require(end in operation.ends, "old or new", f"{end} is there, one of {operation.ends} was expected")
                require(header.user == world.user, "old or new", "another user's file")
                return end
    except FaceSdkError as error:
        raise Finding("old or new", f"the file cannot be opened: {error}") from error
    raise Finding("old or new", f"no key of {operation.ends} opens the file")


def _generation(world: World, name: str, data: bytes) -> int:
    header, key = parse_header(data), world.key(name)
    if header.kind is not key.kind:
        return 0
    try:
        with key.unwrap(header.section, binding=header.binding) as kek:
            template = Template(unseal(data, kek, user=world.user), kek, user=world.user)
    except KeyUnavailableError:
        return 0
    template.close()
    return template.generation


def _log(world: World, operation: Operation, run: Run, end: tuple[str, int]) -> int:
    """How many matches the log holds that it did not before; it fits its sealed head before anything repairs it."""
    try:
        report, entries, _ = world.vault(ProcessOpenKeys()).audit(world.user, world.key(end[0]))
    except VaultIntegrityError as error:
        require(operation.needs_restart, "log", str(error))
        return 0
    if operation.needs_restart:
        return 0
    _whole(report, torn_allowed=run.killed or run.mode == "disk dead from here")
    if run.report.get("result") is True and operation.name.startswith(("attempt", "audit rotation, attempt")):
        require(report.unsealed == 0, "match is logged", f"{report.unsealed} entries are not sealed")
        require(entries[-1].event is AuditEvent.VERIFIED, "match is logged", f"the last entry is {entries[-1].event}")
    return sum(e.outcome is Decision.MATCH for e in entries if e.n >= world.logged)


def _whole(report: Report, *, torn_allowed: bool) -> None:
    problem = report.problem
    torn = problem is not None and problem.kind is ProblemKind.TORN and not problem.sealed
    require(problem is None or (torn and torn_allowed), "log", f"the log has a problem: {problem}")


def _matched(operation: Operation, run: Run, matches: int) -> None:
    if run.report.get("result") is True and operation.name.startswith("attempt"):
        require(run.compared, "match is compared", "a match without a comparison")
        require(matches > 0, "match is logged", "a match that the log does not have")


def _failures(world: World, run: Run) -> int | None:
    """As the session has them now; None where the key is forgotten, or died with its process."""
    if run.where == "process":
        held = run.report.get("failures", {})
        assert isinstance(held, dict)
        return held.get(USER)
    found = world.keyring.load(world.user)
    return found.state.failures if isinstance(found, OpenKey) else None


def _counter(world: World, operation: Operation, run: Run, *, matches: int, place: str) -> None:
    """Failures are never fewer than before, but after a match or with the key given."""
    before = 9 if operation.name.startswith("attempt, the last") else FAILURES
    try:
        now = _failures(world, run)
    except FaceSdkError as error:
        raise Finding("keyring is usable", str(error)) from error
    if now is None or operation.key_given or matches:
        return
    least = before + 1 if run.compared else before
    require(now >= least, "counter", f"{now} failures, at least {least} were expected; {place}")


def _forgets(run: Run) -> None:
    """Lock and panic forget all they can, also when they then raise an error."""
    if run.killed or run.mode == "no keyring from here":
        return
    left = run.report.get("failures", {})
    assert isinstance(left, dict)
    refused = run.call in ("keyctl search", "keyctl revoke") and "error" in run.report
    require(len(left) <= refused, "forgets all it can", f"still open: {sorted(left)}, {run.report.get('message')}")


def _held_still_works(world: World, operation: Operation, end: tuple[str, int] | None) -> None:
    """With the session as it was left, an attempt is charged or the passphrase is asked for."""
    try:
        found = world.keyring.load(world.user)
        if not isinstance(found, OpenKey):
            return
        before = found.state.failures
        world.vault(world.keyring).attempt(
            world.user, lambda _: False, generation=found.generation, camera="files", label=""
        )
    except (PassphraseRequiredError, LockedOutError):
        return
    except NotEnrolledError:
        require(end is None, "session fits", "the attempt does not find the file")
        return
    except FaceSdkError as error:
        excused = operation.needs_restart or (end is None and isinstance(error, VaultIntegrityError))
        require(excused, "session fits", f"{type(error).__name__}: {error}")
        return
    found = world.keyring.load(world.user)
    require(
        not isinstance(found, OpenKey) or found.state.failures == before + 1, "counter", "an attempt was not charged"
    )


def _gone(world: World, operation: Operation, run: Run) -> None:
    """What is removed is gone once the removal is done again, also after an error, which may have left a part of it;
    what was never there can be enrolled."""
    if operation.name.startswith("remove"):
        vault = world.vault(world.keyring)
        first = not run.killed and "error" not in run.report
        if not first:
            try:
                vault.remove(world.user)
            except NotEnrolledError:
                first = True
        left = sorted(p.name for p in world.path.iterdir() if p.name.startswith(f"{world.user}."))
        require(not left, "removal can be completed", f"left for good: {left}")
        open_ = run.where == "keyring" and isinstance(world.keyring.load(world.user), OpenKey)
        require(not open_, "removal can be completed", "the key is still in the keyring")
        return
    vault = world.vault(ProcessOpenKeys())
    operation.call(world, -1)(vault)
    _clean(world)


def _goes_on(world: World, operation: Operation, end: tuple[str, int]) -> None:
    """The key opens, the log is whole again, the next write leaves nothing behind, and a match is a match."""
    open_keys = ProcessOpenKeys()
    vault, key = world.vault(open_keys), world.key(end[0])
    try:
        if operation.needs_restart and not _log_is_whole(world, end):
            vault.restart_log(world.user, key)
        vault.unlock(world.user, key, rules=RULES)
        new = world.file().read_bytes()
        if end == operation.ends[-1] != operation.ends[0] and end[0] == "tpm":
            _rolled_back(world, new)
        if operation.slow:
            return
        vault.renew(world.user, world.key(end[0]), rules=RULES)
        held = open_keys.load(world.user)
        assert isinstance(held, OpenKey)
        matched = vault.attempt(world.user, lambda _: True, generation=held.generation, camera="files", label="")
        require(matched, "goes on", "an attempt that matches is none")
        _whole(vault.audit(world.user)[0], torn_allowed=False)
    except FaceSdkError as error:
        raise Finding("goes on", f"{type(error).__name__}: {error}") from error
    _clean(world)


def _log_is_whole(world: World, end: tuple[str, int]) -> bool:
    try:
        return world.vault(ProcessOpenKeys()).audit(world.user, world.key(end[0]))[0].problem is None
    except VaultIntegrityError:
        return False


def _rolled_back(world: World, new: bytes) -> None:
    """With a counter, the old file put back is refused."""
    world.file().write_bytes(world.old_file())
    try:
        world.vault(ProcessOpenKeys()).unlock(world.user, world.key("tpm"), rules=RULES)
    except RollbackError:
        world.file().write_bytes(new)
        return
    raise Finding("rollback", "the old file was put back and opens")


def _clean(world: World) -> None:
    """After a write there is no temporary file, and one head for each user."""
    names = os.listdir(world.path)
    left = [name for name in names if name.startswith(".facesdk-tmp-")]
    require(not left, "no temporary file", f"left: {left}")
    for user in (world.user, OTHER):
        heads = [name for name in names if name.startswith(f"{user}.head-")]
        require(len(heads) <= 1, "one head", f"heads: {heads}")
