"""Several processes at one vault, clocks that jump, files that others move, links, owners, modes, full disks.

Whatever happens is an outcome or an error of ours, no count of failures is lost, and what was sealed opens afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults.places import (
    FOREIGN,
    HOUR_NS,
    OPERATIONS,
    RULES,
    USER,
    Place,
    as_nobody,
    fill,
    hand_over,
    join_new_session_keyring,
    make_record,
    mounted,
    plant,
    remount,
)  # fmt: skip

from facesdk import _core
from facesdk.errors import (
    FaceSdkError,
    KeyUnavailableError,
    NotEnrolledError,
    PassphraseRequiredError,
    RollbackError,
    StoreError,
    StoreIntegrityError,
)
from facesdk.policy import AttemptRules
from facesdk.types import Decision
from facesdk.vault import Keeper, KeyFileKey, KeyringSessions, ProcessSessions, Vault
from facesdk.vault.attempts import Reason, Required
from facesdk.vault.audit import AuditLog
from facesdk.vault.audit_entry import Event
from facesdk.vault.session import Held

RACER = Path(__file__).resolve().parent / "faults" / "racer.py"
PROCESSES = 8
TIMEOUT_S = 120  # for a few hundred operations that take some milliseconds each
YEAR_S = 365 * 86400


def keyring_works() -> bool:
    try:
        _core.keyring_put("facesdk-test-races", b"x", 60)
        return _core.keyring_forget("facesdk-test-races")
    except OSError:
        return False


needs_keyring = pytest.mark.skipif(not keyring_works(), reason="the kernel's keyring cannot be used here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory, where fsync costs nothing, and which another user may enter."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="races-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def place(root: Path) -> Place:
    return Place(root)


# --- processes


def race(root: Path, *, operations: int, what: str) -> list[list[str]]:
    """What each of the processes said it did, all started at once."""
    racers = [
        subprocess.Popen(
            [sys.executable, str(RACER), str(root), str(seed), str(operations), what],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        for seed in range(PROCESSES)
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=TIMEOUT_S) for racer in racers]
    finally:
        for racer in racers:
            if racer.poll() is None:
                racer.kill()
                racer.communicate()
    assert [racer.returncode for racer in racers] == [0] * PROCESSES, said[0][1]
    return [out.split("\n")[:-1] for out, _ in said]


@contextlib.contextmanager
def raced(root: Path, *, rules: AttemptRules) -> Iterator[Keeper]:
    """A vault with one user whose key is open, for all processes."""
    sessions = KeyringSessions(root / "vault")
    keeper = Keeper(Vault(root / "vault"), sessions)
    KeyFileKey.create(root / "b")
    keeper.enroll(make_record(), KeyFileKey.create(root / "a"), replace=False, rules=rules)
    try:
        yield keeper
    finally:
        sessions.forget(USER, Reason.REMOVED)


FREE = AttemptRules(passphrase_every_s=3600, idle_s=None, free_attempts=20, first_delay_s=1, passphrase_after=20)


@needs_keyring
@pytest.mark.parametrize(("each", "compared"), [(2, 16), (5, 20)])
def test_no_failure_is_lost_among_processes(root: Path, each: int, compared: int) -> None:
    with raced(root, rules=FREE) as keeper:
        said = Counter(word for words in race(root, operations=each, what="fail") for word in words)
        refused = each * PROCESSES - compared
        assert said == Counter({"non_match": compared, "PassphraseRequiredError": refused})
        state, held = keeper.state(USER)
        if refused:
            assert state == Required(Reason.FAILURES)
        else:
            assert held is not None
            assert held.state.failures == compared
        report, entries, _ = keeper.audit(USER, KeyFileKey(root / "a"))
    assert report.problem is None
    counted = Counter(entry.event for entry in entries)
    assert counted[Event.VERIFIED] == compared
    assert counted[Event.LOCKED_OUT] == bool(refused)


EVENTS = {
    "unlock": Event.UNLOCKED, "rekey": Event.REKEYED, "renew": Event.RENEWED, "enroll": Event.REPLACED,
}  # fmt: skip


@needs_keyring
def test_everything_at_once(root: Path) -> None:
    with raced(root, rules=FREE) as keeper:
        said = [word for words in race(root, operations=50, what="all") for word in words]
        assert len(said) == 50 * PROCESSES
        key = working_key(root, keeper)
        report, entries, sealed = keeper.audit(USER, key)
        assert (report.problem, report.unsealed, sealed) == (None, 0, True)
        _, held = keeper.state(USER)
        check_log(said, entries, failures=held.state.failures if held else None)
        assert not [name for name in os.listdir(root / "vault") if name.startswith(".tmp-")]
        assert len([name for name in os.listdir(root / "vault") if ".head-" in name]) == 1
        keeper.unlock(USER, key, rules=FREE, reference_of=lambda samples: samples[0])
        held = keeper.state(USER)[1]
        assert held is not None
        assert keeper.attempt(USER, lambda _: True, generation=held.generation, camera="files", label="")


def working_key(root: Path, keeper: Keeper) -> KeyFileKey:
    """The one that opens the file; the other is refused, which is an entry more."""
    for name in "ab":
        with contextlib.suppress(KeyUnavailableError):
            keeper.audit(USER, KeyFileKey(root / name))
            return KeyFileKey(root / name)
    raise AssertionError("neither key opens the file")


def check_log(said: list[str], entries: list[Any], *, failures: int | None) -> None:
    """The log has what the processes said, no more and no less, and its order gives the failures of the session."""
    outcomes = Counter(entry.outcome for entry in entries if entry.event is Event.VERIFIED)
    assert outcomes[Decision.MATCH] == said.count("match")
    assert outcomes[Decision.NON_MATCH] == said.count("non_match")
    events = Counter(entry.event for entry in entries)
    for word, event in EVENTS.items():
        assert events[event] == sum(line.startswith(word) for line in said), word
    assert min(outcomes.values()) > 5
    assert min(events[event] for event in EVENTS.values()) > 0
    counted = 0
    for entry in entries:
        counted += entry.outcome is Decision.NON_MATCH
        if entry.outcome is Decision.MATCH or entry.event in (*EVENTS.values(), Event.ENROLLED):
            counted = 0
    assert failures in (None, counted)


# --- clocks


@pytest.mark.parametrize("years", [-60, -20, 20, 200])
def test_the_wall_clock_changes_nothing(place: Place, years: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    shown = time.time() + years * YEAR_S
    monkeypatch.setattr(time, "time", lambda: shown)
    monkeypatch.setitem(AuditLog.__init__.__kwdefaults__, "wall", lambda: shown)  # type: ignore[index]
    for path in place.path.iterdir():
        os.utime(path, (max(0, shown), max(0, shown)))
    place.fail(1)
    assert place.failures() == 3
    assert place.attempt()
    assert place.is_well()
    assert place.keeper.audit(USER)[1][-1].time_unix_s == max(0, int(shown))


@pytest.mark.parametrize(("hours", "reason"), [(80, Reason.EXPIRED), (72, Reason.EXPIRED), (-1, Reason.NOT_UNLOCKED)])
def test_suspended_time_counts(place: Place, hours: int, reason: Reason) -> None:
    assert place.attempt()
    start = place.now_ns
    place.now_ns += 71 * HOUR_NS
    assert place.attempt()
    place.now_ns = start + hours * HOUR_NS
    with pytest.raises(PassphraseRequiredError, match=reason.value):
        place.attempt()
    place.now_ns = start
    with pytest.raises(PassphraseRequiredError):
        place.attempt()
    assert place.held() is None
    assert place.is_well()


@needs_keyring
def test_a_key_of_another_boot_is_of_no_use(root: Path) -> None:
    place = Place(root, keyring=True)
    place.now_ns = HOUR_NS
    with pytest.raises(PassphraseRequiredError, match="not unlocked"):
        place.attempt()
    assert place.keeper.state(USER) == (Required(Reason.NOT_UNLOCKED), None)
    place.keeper.remove(USER)


# --- files that others delete or replace


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("face", NotEnrolledError),
        ("audit", StoreIntegrityError),
        ("head", None),
        ("lock", None),
        ("all", NotEnrolledError),
    ],
)
def test_a_deleted_file(place: Place, what: str, error: type[FaceSdkError] | None) -> None:
    away = place.root / "away"
    chosen = place.path if what == "all" else place.files()[what]
    chosen.rename(away)
    if error is None:
        assert not place.attempt(matches=False)
    else:
        with pytest.raises(error):
            place.attempt()
        if chosen != place.path:
            assert place.failures() == 2
        away.rename(chosen)
        assert place.failures() == 2
        place.fail(1)
    assert place.failures() == 3
    assert place.is_well()


def test_a_deleted_head_is_noticed_by_the_passphrase(place: Place) -> None:
    place.files()["head"].unlink()
    with pytest.raises(StoreIntegrityError, match="head"):
        place.unlock()
    place.keeper.restart_log(USER, place.a)
    assert place.is_well()


def older(place: Place, change: Callable[[], object]) -> dict[str, bytes]:
    """The files as they were before a change."""
    before = {what: path.read_bytes() for what, path in place.files().items()}
    change()
    return before


def put_back(place: Place, what: str, content: bytes) -> None:
    place.files()[what].write_bytes(content)


def test_an_older_file_of_the_same_key(place: Place) -> None:
    before = older(place, lambda: place.keeper.rekey(USER, place.a, place.b, rules=RULES))
    assert place.attempt()
    put_back(place, "face", before["face"])
    with pytest.raises(RollbackError):
        place.attempt()
    with pytest.raises(PassphraseRequiredError):
        place.attempt()


def test_an_older_file_of_another_key(place: Place) -> None:
    before = older(place, lambda: place.keeper.renew(USER, place.a, rules=RULES))
    assert place.attempt()
    put_back(place, "face", before["face"])
    with pytest.raises(PassphraseRequiredError):
        place.attempt()
    with pytest.raises(StoreIntegrityError, match="head"):
        place.unlock()


def test_an_older_log(place: Place) -> None:
    before = older(place, lambda: place.fail(1))
    assert place.attempt()
    newest = place.files()["head"].read_bytes()
    put_back(place, "audit", before["audit"])
    for head in (newest, before["head"]):  # with the older head too: the session knows
        put_back(place, "head", head)
        with pytest.raises(StoreIntegrityError, match="audit log"):
            place.attempt()
    put_back(place, "head", newest)
    with pytest.raises(StoreIntegrityError, match="audit log"):
        place.unlock()
    with pytest.raises(PassphraseRequiredError):  # and the key is forgotten
        place.attempt()


@pytest.mark.parametrize("content", [b"", b"\0" * 400, None])
def test_a_replaced_file(place: Place, content: bytes | None) -> None:
    place.keeper.enroll(make_record("bob"), place.b, replace=False, rules=RULES)
    good = place.files()
    bob = (place.path / "bob.face").read_bytes()
    alice = (place.path / "alice.face").read_bytes()
    assert good
    (place.path / "alice.face").write_bytes(bob if content is None else content)
    for call in (place.attempt, place.unlock):
        with pytest.raises(StoreIntegrityError):
            call()
    assert place.failures() == 2
    (place.path / "alice.face").write_bytes(alice)
    assert place.attempt()


# --- links, pipes and folders in the place of files


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("how", ["symlink", "dangling", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("what", ["lock", "face", "audit", "head"])
def test_what_is_planted_is_not_followed(place: Place, what: str, how: str, operation: str) -> None:
    target = place.root / "foreign"
    target.write_bytes(FOREIGN)
    target.chmod(0o640)
    planted = place.files()[what]
    away = planted.read_bytes()
    plant(planted, how, target)
    matched = False
    with contextlib.suppress(FaceSdkError):
        matched = OPERATIONS[operation](place) is True
    assert target.read_bytes() == FOREIGN
    assert target.stat().st_mode & 0o777 == 0o640
    assert not (place.root / "nothing").exists()
    held = place.held()
    if operation == "attempt":
        assert held is None or held.state.failures >= (0 if matched else 2)
    if operation in ("attempt", "unlock", "renew", "rekey", "audit", "state", "lock", "panic"):
        mended(place, planted, away)


def mended(place: Place, planted: Path, content: bytes) -> None:
    """With the file in its place again, the user's key opens as before, or the log wants to be restarted."""
    if planted.suffix == ".face" or not planted.is_file() or planted.is_symlink() or planted.stat().st_nlink > 1:
        shutil.rmtree(planted) if planted.is_dir() and not planted.is_symlink() else planted.unlink(missing_ok=True)
        if not planted.exists():
            planted.write_bytes(content)
            planted.chmod(0o600)
    for key in (place.a, place.b):
        try:
            place.unlock(key)
        except StoreIntegrityError:
            place.keeper.restart_log(USER, key)
            place.unlock(key)
        except KeyUnavailableError:
            continue
        assert place.attempt()
        return
    raise AssertionError("no key opens the file any more")


# --- owners, modes and disks


def opened_by_nobody(root: Path, operation: str) -> object:
    """The operation on a session of its own process, opened first where that can be."""
    keeper = Keeper(Vault(root / "vault"), ProcessSessions())
    place = Place.__new__(Place)
    place.root, place.path, place.keeper, place.sessions = root, root / "vault", keeper, keeper.sessions
    place.a, place.b = KeyFileKey(root / "a"), KeyFileKey(root / "b")
    if operation == "attempt":
        place.unlock()
    return OPERATIONS[operation](place)


@needs_root
@pytest.mark.parametrize("operation", ["unlock", "attempt", "renew", "rekey", "enroll", "state", "remove"])
def test_owners_and_modes(place: Place, operation: str) -> None:
    """As another user: all that is theirs works, and each thing that is not gives a named error."""
    hand_over(place.root)
    place.path.chmod(0o700)
    saved = place.root / "saved"
    shutil.copytree(place.path, saved)

    def again(change: Callable[[], object]) -> dict[str, Any]:
        shutil.rmtree(place.path)
        shutil.copytree(saved, place.path)
        hand_over(place.root)
        change()
        return as_nobody(lambda: opened_by_nobody(place.root, operation))

    good = again(lambda: None)
    assert "result" in good, good
    assert again(lambda: os.chown(place.path, 0, 0))["error"] == "StoreError"
    assert again(lambda: os.chown(place.path, 1234, 1234))["error"] == "StoreError"
    assert again(lambda: place.path.chmod(0o777))["error"] == "StoreError"
    assert again(lambda: place.path.chmod(0))["error"] == "StoreError"
    read_only_lock = again(lambda: place.files()["lock"].chmod(0o400))
    # Looking at the state takes the lock to read, and needs no more than that.
    assert ("result" in read_only_lock) if operation == "state" else read_only_lock["error"] == "StoreError"
    for what in ("face", "audit", "head"):
        for change in (
            lambda what=what: place.files()[what].chmod(0o644),
            lambda what=what: place.files()[what].chmod(0),
            lambda what=what: os.chown(place.files()[what], 1234, 1234),
            lambda what=what: os.chown(place.files()[what], 0, 0),
        ):
            said = again(change)
            assert "result" in said or said["ours"], said
            if what == "face" and operation in ("unlock", "attempt", "renew", "rekey"):
                assert said["error"] in ("StoreError", "StoreIntegrityError"), said


WRITING = ("attempt", "unlock", "renew", "rekey", "enroll", "remove", "restart_log")


def test_a_read_only_disk(root: Path) -> None:
    with mounted(root, "size=4m,mode=755"):
        place = Place(root)
        assert place.is_well()
        place.fail(2)
        remount(root, "ro")
        for name in WRITING:
            if name != "remove":
                with pytest.raises(StoreError, match="read-only"):
                    OPERATIONS[name](place)
        assert place.failures() == 2
        with pytest.raises(StoreError, match="read-only"):
            place.keeper.panic()
        assert place.held() is None
        with pytest.raises(StoreError, match="read-only"):
            place.keeper.remove(USER)
        remount(root, "rw")
        assert place.is_well()


@needs_root
@pytest.mark.parametrize("operation", WRITING)
def test_a_folder_that_cannot_be_written_to(place: Place, operation: str) -> None:
    hand_over(place.root)
    place.path.chmod(0o500)
    before = {path.name: path.read_bytes() for path in place.path.iterdir()}
    said = as_nobody(lambda: opened_by_nobody(place.root, operation))
    place.path.chmod(0o700)
    hand_over(place.root, 0)
    if operation == "remove":  # the key is overwritten first, which needs no right to the folder
        assert said["error"] == "StoreError"
        return
    assert said.get("error") == "StoreError", said
    assert before["alice.face"] == place.files()["face"].read_bytes()
    assert place.is_well()


def test_a_full_disk(root: Path) -> None:
    with mounted(root, "size=256k,mode=755"):
        place = Place(root)
        held = place.held()
        assert held is not None
        page = place.files()["audit"]
        while page.stat().st_size % 4096 < 3700:  # the next entry or two need a new block
            assert place.attempt()
        place.fail(2)
        ballast = fill(root)
        for name in ("renew", "rekey", "enroll", "unlock"):
            with pytest.raises(StoreError, match="full"):
                OPERATIONS[name](place)
        charged = place.failures()
        with pytest.raises(StoreError, match="full"):
            place.attempt()
        assert place.failures() == charged + 1
        ballast.unlink()
        assert not [name for name in os.listdir(place.path) if name.startswith(".tmp-")]
        assert place.is_well()


# --- forgetting the key


def test_lock_forgets_on_a_read_only_disk(root: Path) -> None:
    with mounted(root, "size=4m,mode=755"):
        place = Place(root)
        remount(root, "ro")
        with contextlib.suppress(FaceSdkError):
            place.keeper.lock(USER)
        remount(root, "rw")
        assert place.held() is None


def test_panic_forgets_a_user_whose_file_was_moved_away(place: Place) -> None:
    away = place.root / "away"
    place.files()["face"].rename(away)
    place.keeper.panic()
    away.rename(place.path / f"{USER}.face")
    assert place.held() is None


def test_panic_reaches_every_user_past_a_broken_one(place: Place) -> None:
    place.keeper.enroll(make_record("bob"), place.b, replace=False, rules=RULES)
    log = place.path / "alice.audit"
    log.write_bytes(b"not an entry\n")
    with pytest.raises(StoreIntegrityError):
        place.keeper.panic()
    entries = place.keeper.audit("bob", place.b)[1]
    assert entries[-1].event is Event.PANIC


@needs_keyring
def test_the_kernel_forgets_an_opened_key_after_an_attempt_too(root: Path) -> None:
    place = Place(root, keyring=True)
    name = place.sessions._name(USER, "key")
    line = next(line for line in Path("/proc/keys").read_text().splitlines() if name in line)
    place.keeper.remove(USER)
    assert line.split()[3] != "perm"


@needs_keyring
@pytest.mark.parametrize("login", [True, False])
def test_the_keyring_serves_processes_without_a_login_session(root: Path, login: bool) -> None:
    sessions = KeyringSessions(root / "vault")
    held = Place(root).held()
    assert held is not None
    pid = os.fork()
    if pid == 0:
        status = 3
        with contextlib.suppress(BaseException):
            if not login:
                join_new_session_keyring()
            status = 1
            sessions.save(USER, replace(held, kek=_core.Secret(32), ticket=0))  # secrets are zeros in a forked process
            status = 0 if isinstance(sessions.load(USER), Held) else 2
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sessions.forget(USER, Reason.REMOVED)
    assert status != 3
    assert status == 0
