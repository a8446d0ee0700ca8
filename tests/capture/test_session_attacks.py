"""What an attacker with fresh eyes found in sessions and in the watch, each as he showed it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from session_tools import NOBODY, ScriptedEngine, Seen, frame
from test_watch import OWNER, STRANGER, Bench

from facesdk import Engine, FaceVerifier, Policy
from facesdk.capture.appearance import Follower
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.capture.watch import Watch
from facesdk.capture.watcher import WatchKind
from facesdk.errors import ForkedError, InputError, KeyUnavailableError, PassphraseRequiredError, PolicyFloorError
from facesdk.liveness.passive import PassiveSample
from facesdk.types import Assurance, Decision


class Looks:
    """The passive networks' double: every frame is of a living face."""

    def look(self, _image: object, _sample: object) -> PassiveSample:
        return PassiveSample(120.0, 0.99)


def play(script, *, assurance: Assurance, seconds: float = 20.0, passive: object = None) -> tuple[Session, list[str]]:
    engine, did = ScriptedEngine(script), list[str]()
    goal = LiveVerification(
        Means(engine=engine, assurance=assurance, passive=passive),
        compare=lambda probe: did.append(f"compared {probe.samples[0].crop[0, 0, 0]}") or True,
        refuse=lambda: did.append("refused"),
    )
    session = Session(goal, Follower(engine, QualityLimits()))
    with session:
        for number in range(round(15 * seconds)):
            if session.feed(frame(number), time_s=number / 15).done:
                break
    return session, did


def test_who_was_looked_at_is_who_is_compared() -> None:
    """A living stranger moves a little for the passive networks, then holds the owner's photo up."""

    def script(number: int) -> Seen:
        return Seen(STRANGER, yaw=6.0 * (number % 2)) if number < 14 else Seen(OWNER)

    session, did = play(script, assurance=Assurance.RGB_PASSIVE, passive=Looks())
    assert not session.outcome
    assert f"compared {OWNER}" not in did


def test_a_face_that_changes_with_every_frame_is_not_compared() -> None:
    session, did = play(lambda number: Seen(1 + number % 2), assurance=Assurance.NONE)
    assert (session.outcome.decision, did) == (Decision.ATTACK_SUSPECTED, ["refused"])


@pytest.mark.parametrize("hides", ["before the end", "by a jump", "and leaves"])
def test_answers_are_not_tried_out_for_nothing(hides: str) -> None:
    """The head turns as it likes, and hides before it could be judged."""

    def script(number: int) -> Seen:
        begun = number % 60
        if begun < 12:
            return Seen(OWNER)
        if hides == "before the end" and begun > 45:
            return NOBODY
        at = (20.0, 48.0) if hides == "by a jump" and begun > 40 else (48.0, 48.0)
        return Seen(OWNER, yaw=25.0, at=at)

    session, did = play(script, assurance=Assurance.RGB_CHALLENGE, seconds=3 if hides == "and leaves" else 30)
    assert not session.outcome
    assert did == ["refused"]


def test_an_error_does_not_forgive_what_was_tried() -> None:
    engine, did = ScriptedEngine(lambda number: Seen(yaw=0.0 if number < 12 else 25.0)), list[str]()
    goal = LiveVerification(
        Means(engine=engine, assurance=Assurance.RGB_CHALLENGE), compare=lambda _p: True, refuse=lambda: did.append("x")
    )
    session = Session(goal, Follower(engine, QualityLimits()))
    for number in range(40):
        session.feed(frame(number), time_s=number / 15)
    engine.script = lambda _number: 1 // 0  # type: ignore[assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        session.feed(frame(41), time_s=41 / 15)
    assert (did, session.charged, session.done) == (["x"], True, True)


def test_two_threads_with_the_last_frame_pay_once() -> None:
    engine, did = ScriptedEngine(lambda _n: Seen()), list[int]()

    def slow(_probe: object) -> bool:
        did.append(1)
        time.sleep(0.2)
        return False

    goal = LiveVerification(Means(engine=engine, assurance=Assurance.NONE), compare=slow, refuse=lambda: None)
    session = Session(goal, Follower(engine, QualityLimits()))
    threads = [threading.Thread(target=lambda: [session.feed(frame(n), time_s=n / 15) for n in range(20)])
               for _ in range(2)]  # fmt: skip
    for thread in threads:
        thread.start()
    session.close()
    for thread in threads:
        thread.join()
    assert len(did) <= 1
    assert goal._probes == []


def test_a_time_that_no_clock_has_is_refused() -> None:
    session, _ = play(lambda _n: NOBODY, assurance=Assurance.NONE, seconds=0.1)
    session = Session(session._goal, Follower(ScriptedEngine(lambda _n: Seen()), QualityLimits()))
    with pytest.raises(InputError, match="time in seconds"):
        session.feed(frame(1), time_s=10**400)


# --- the watch


def test_who_takes_the_owner_s_place_in_the_frame_after_the_match_is_noticed() -> None:
    bench = Bench(lambda t: Seen(OWNER))
    while WatchKind.MATCHED not in bench.kinds:
        bench.run(0.1)
    bench.engine.script = lambda _number: Seen(STRANGER)
    bench.run(10)
    assert bench.compared == [OWNER, STRANGER]
    assert WatchKind.LEFT in bench.kinds


UNSURE = {
    "turned aside": Seen(STRANGER, yaw=30.0), "dark": Seen(STRANGER, signal=1.0),
    "covered": Seen(STRANGER, presence=0.1), "upside down": Seen(STRANGER, turned=True),
    "beside somebody": Seen(STRANGER, runner_up=0.9),
}  # fmt: skip


@pytest.mark.parametrize("how", UNSURE)
def test_a_face_that_cannot_be_told_does_not_keep_the_owner_there(how: str) -> None:
    bench = Bench(lambda t: Seen(OWNER) if t < 5 else NOBODY if t < 8 else UNSURE[how]).run(40)
    assert WatchKind.LEFT in bench.kinds
    assert next(e for e in bench.events if e.kind is WatchKind.LEFT).time_s < 5 + 5.5


class Silent:
    """A camera that gives nothing more after its frames, and does not end."""

    ended = False

    def __init__(self, count: int) -> None:
        self.frames = iter(range(count))

    def __iter__(self):
        return iter(())

    def read(self, timeout_s: float):
        number = next(self.frames, None)
        if number is None:
            time.sleep(timeout_s / 10)
            return None
        from types import SimpleNamespace

        return SimpleNamespace(image=frame(number), time_s=number / 10)


def test_a_camera_that_falls_silent_is_nobody_after_a_while() -> None:
    bench = Bench(lambda t: Seen(OWNER), leave_after_s=1.0)
    with Watch(bench.watcher, Silent(30)) as watch:
        kinds = []
        for event in watch:
            kinds.append(event.kind)
            if event.kind is WatchKind.LEFT:
                break
    assert kinds == [WatchKind.ARRIVED, WatchKind.MATCHED, WatchKind.LEFT]


def test_a_clock_that_was_set_back_does_not_keep_the_owner_waiting() -> None:
    bench = Bench(lambda t: Seen(OWNER, signal=1.0) if t < 1 else Seen(OWNER))
    bench.run(1)
    bench.watcher._wait_until_s = 5000.0
    bench.events += bench.watcher.feed(frame(50), 4000.0)
    for number in range(51, 90):
        bench.events += bench.watcher.feed(frame(number), number / 10)
    assert WatchKind.MATCHED in bench.kinds


# --- keys and floors


def test_a_key_that_is_closed_is_forgotten_by_sessions_too(tmp_path: Path, engine: Engine) -> None:
    from conftest import portrait

    verifier = FaceVerifier(tmp_path / "vault", passphrase="correct horse battery", engine=engine)
    pictures = [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")]
    verifier.enroll("owner", pictures)
    FaceVerifier(tmp_path / "vault", passphrase="correct horse battery", engine=engine).lock("owner")
    with pytest.raises(PassphraseRequiredError):
        verifier.session("owner")
    with pytest.raises(Exception, match="forgotten"):
        verifier.enroll("owner", [portrait("biden")], replace=True, allow_few_samples=True)


def test_an_enrollment_that_cannot_begin_claims_no_key(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = FaceVerifier(tmp_path / "vault", passphrase="correct horse battery", engine=engine)
    monkeypatch.setattr("facesdk.sessions.GuidedEnrollment", lambda *_a, **_k: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            verifier.enrollment("bob", passphrase="another one entirely")
        with pytest.raises(ZeroDivisionError):
            verifier.enrollment("ann")
    assert verifier._keys._own == {}
    assert verifier._keys._whose == ""


def test_a_subclass_cannot_say_one_thing_to_the_floor_and_another_to_the_session(
    tmp_path: Path, key_file: Path, engine: Engine
) -> None:
    from conftest import portrait

    class Sly(Policy):
        def check_not_looser(self, sealed: str) -> None:
            pass

        def _floor(self) -> dict:
            return {}

    strict = FaceVerifier(
        tmp_path / "vault", key_file=key_file, engine=engine, policy=Policy(liveness=Assurance.RGB_CHALLENGE)
    )
    strict.enroll("owner", [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")])
    sly = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=engine, policy=Sly())
    with pytest.raises(PolicyFloorError):
        sly.session("owner", liveness=Assurance.NONE)


def test_attention_is_as_it_was_sealed() -> None:
    assert Policy().tightened(Policy(attention=False).sealed()).attention is False
    assert Policy().tightened(Policy().sealed()).attention is True
    with pytest.raises(PolicyFloorError):
        Policy(attention=False).check_not_looser(Policy().sealed())


def test_a_key_that_is_closed_ends_the_owner_s_presence() -> None:
    why = [""]
    bench = Bench(lambda t: Seen(OWNER))
    bench.watcher._why_closed = lambda: why[0]
    bench.run(5)
    why[0] = "locked on request"
    bench.refuse_to_begin = [PassphraseRequiredError("locked on request")] * 100
    bench.run(3)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.MATCHED, WatchKind.LEFT, WatchKind.PASSPHRASE_REQUIRED]
    assert bench.watcher._present is None


@pytest.mark.parametrize("time_s", [float("nan"), None, "1", 10**400])
def test_a_watch_takes_no_time_that_is_none(time_s: object) -> None:
    bench = Bench(lambda t: Seen(OWNER)).run(2)
    with pytest.raises(InputError, match="time in seconds"):
        bench.watcher.feed(frame(1), time_s)


def test_a_clock_that_stands_still_lets_nobody_stay() -> None:
    bench = Bench(lambda t: Seen(OWNER) if t < 2 else NOBODY, leave_after_s=1.0).run(2)
    for number in range(20, 300):
        bench.events += bench.watcher.feed(frame(number), 2.0)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.MATCHED, WatchKind.LEFT]


def test_a_session_does_not_go_along_into_a_child_process() -> None:
    import os

    session, _ = play(lambda _n: NOBODY, assurance=Assurance.NONE, seconds=0.1)
    session = Session(session._goal, Follower(ScriptedEngine(lambda _n: Seen()), QualityLimits()))
    with session._lock:  # as a thread of the parent's that feeds
        child = os.fork()
        if child == 0:
            code = 1
            try:
                session.close()
                session.feed(frame(1), time_s=1.0)
            except ForkedError:
                code = 0
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("reason", ["", None])
def test_a_cancel_without_a_reason_is_one(reason: object) -> None:
    engine = ScriptedEngine(lambda _n: Seen())
    goal = LiveVerification(
        Means(engine=engine, assurance=Assurance.NONE), compare=lambda _p: True, refuse=lambda: None
    )
    session = Session(goal, Follower(engine, QualityLimits()))
    session.cancel(reason)
    assert session.feed(frame(1), time_s=1.0).done
    assert session.outcome.reason == "cancelled"


@pytest.mark.parametrize("camera", [None, 0, b"0", Path("x"), [], object()])
def test_what_is_no_camera_is_refused(tmp_path: Path, key_file: Path, engine: Engine, camera: object) -> None:
    from conftest import portrait

    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=engine)
    with pytest.raises(InputError, match="camera"):
        verifier.enrollment("owner", camera=camera)
    verifier.enroll("owner", [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")])
    with pytest.raises(InputError, match="camera"):
        verifier.session("owner", camera=camera)
    if camera != []:
        with pytest.raises(InputError, match="camera"):
            verifier.watch("owner", camera)


def test_what_would_stop_an_enrollment_at_its_end_is_said_at_its_beginning(tmp_path: Path, engine: Engine) -> None:
    from conftest import portrait

    verifier = FaceVerifier(tmp_path / "vault", passphrase="correct horse battery", engine=engine)
    for consent in (None, 3, "x" * 300, "a\nb"):
        with pytest.raises(InputError, match="consent"):
            verifier.enrollment("owner", consent=consent)
    verifier.enroll("owner", [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")])
    thief = FaceVerifier(tmp_path / "vault", passphrase="another one entirely", engine=engine)
    with pytest.raises(KeyUnavailableError):
        thief.enrollment("owner", replace=True)
