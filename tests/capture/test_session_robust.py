"""Streams that stutter, jump, freeze or end: every session ends with a reason, and the next one works."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from session_tools import NOBODY, ScriptedEngine, Seen, frame

from facesdk.capture.appearance import Follower
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.errors import InputError, LockedOutError
from facesdk.types import Assurance, Decision, Guidance, Outcome


class Bench:
    """Sessions over scripted frames; how often each compared and refused."""

    def __init__(self, script: Callable[[int], Seen], *, assurance: Assurance = Assurance.NONE) -> None:
        self.engine, self.assurance = ScriptedEngine(script), assurance
        self.compared = self.refused = 0

    def session(self, timeout_s: float = 30.0) -> Session:
        goal = LiveVerification(
            Means(engine=self.engine, assurance=self.assurance, awake=lambda i, _s: self.engine.seen(i).eyes_open),
            compare=self.compare, refuse=self.refuse,
        )  # fmt: skip
        return Session(goal, Follower(self.engine, QualityLimits()), timeout_s=timeout_s)

    def compare(self, probe: object) -> bool:
        self.compared += 1
        return True

    def refuse(self) -> None:
        self.refused += 1


def run(session: Session, times: list[float], *, start: int = 0) -> Outcome:
    with session:
        for number, time_s in enumerate(times, start):
            if session.feed(frame(number), time_s=time_s).done:
                break
    assert session.outcome is not None
    assert session.outcome.reason
    return session.outcome


@pytest.mark.parametrize("fps", [0.1, 0.5, 1, 2, 3])
def test_too_few_frames_are_said(fps: float) -> None:
    bench = Bench(lambda _n: Seen())
    outcome = run(bench.session(), [n / fps for n in range(1000)])
    assert (outcome.decision, bench.compared) == (Decision.NOT_COMPLETED, 0)
    assert "too few pictures" in outcome.reason


@pytest.mark.parametrize("fps", [6, 10, 15, 24, 30, 60, 240])
def test_from_six_frames_a_second_on_somebody_is_compared_once(fps: float) -> None:
    bench = Bench(lambda _n: Seen())
    assert run(bench.session(), [n / fps for n in range(10 * fps)])
    assert bench.compared == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_clock_that_jumps_at_will_ends_every_session_with_a_reason(seed: int) -> None:
    source = random.Random(seed)
    bench, now, times = Bench(lambda n: Seen() if n % 9 else NOBODY), 0.0, list[float]()
    for _ in range(20_000):
        now += source.choice([0.03, 0.03, 0.1, 0.0, -5.0, 100.0, -1e6, 1e6, 0.3])
        times.append(now)
    run(bench.session(), times)
    assert bench.compared <= 1
    assert run(bench.session(), [n / 15 for n in range(300)], start=1), "the next one works"


def test_a_clock_that_stands_still_ends_it_too() -> None:
    bench = Bench(lambda _n: Seen())
    outcome = run(bench.session(timeout_s=1), [5.0] * 1000)
    assert outcome.decision is Decision.NOT_COMPLETED


def test_fifty_cameras_that_are_unplugged_leave_nothing_behind() -> None:
    bench = Bench(lambda _n: Seen(), assurance=Assurance.RGB_CHALLENGE)
    for number in range(50):
        with bench.session() as session:
            for n in range(number % 20):
                session.feed(frame(n), time_s=n / 15)
            session.cancel("the camera is lost")
        assert session.outcome is not None
        assert (session.outcome.decision, session.outcome.reason) == (Decision.NOT_COMPLETED, "the camera is lost")
        assert session._goal._probes == []
    assert (bench.compared, bench.refused) == (0, 0)
    bench.assurance = Assurance.NONE
    assert run(bench.session(), [n / 15 for n in range(60)])


def test_a_picture_that_stands_still_ends_it_and_costs_nothing() -> None:
    bench = Bench(lambda _n: Seen(still=True, signal=1.0))
    outcome = run(bench.session(), [n / 15 for n in range(300)])
    assert "stands still" in outcome.reason
    assert (bench.compared, bench.refused) == (0, 0)


def test_closed_eyes_do_not_open_until_they_are_open() -> None:
    bench = Bench(lambda n: Seen(eyes_open=n > 60))
    session = bench.session()
    said = [session.feed(frame(n), time_s=n / 15).guidance for n in range(60)]
    assert said[-1] in (Guidance.OPEN_EYES, Guidance.KEEP_STILL)
    assert Guidance.OPEN_EYES in said
    assert bench.compared == 0
    assert run(session, [(n + 60) / 15 for n in range(60)], start=60)


def test_after_its_end_nothing_changes_it() -> None:
    bench = Bench(lambda _n: Seen())
    session = bench.session()
    outcome = run(session, [n / 15 for n in range(60)])
    for number in range(100, 140):
        assert session.feed(frame(number), time_s=number / 15).done
    session.cancel()
    session.close()
    assert session.outcome is outcome
    assert bench.compared == 1


def test_an_error_of_the_vault_ends_the_session_and_wipes() -> None:
    bench = Bench(lambda _n: Seen())
    session = bench.session()

    def locked_out(_probe: object) -> bool:
        raise LockedOutError(30)

    session._goal._compare = locked_out
    with pytest.raises(LockedOutError):
        run(session, [n / 15 for n in range(60)])
    assert session.outcome is not None
    assert (session.outcome.decision, session._goal._probes) == (Decision.NOT_COMPLETED, [])


@pytest.mark.parametrize(
    ("image", "time_s"),
    [
        (np.zeros((64, 64), np.uint8), None), (np.zeros((64, 64), np.uint8), float("nan")),
        (np.zeros((64, 64), np.uint8), True), (np.zeros((64, 64), np.uint8), "1"),
        (np.zeros((8, 8), np.uint8), 1.0), (np.zeros((64, 64, 4), np.uint8), 1.0), (np.zeros((64, 64)), 1.0),
        (None, 1.0), ("picture.jpg", 1.0),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused_and_the_session_goes_on(image: object, time_s: object) -> None:
    bench = Bench(lambda _n: Seen())
    session = bench.session()
    with pytest.raises(InputError):
        session.feed(image, time_s=time_s)
    assert not session.done
    assert run(session, [n / 15 for n in range(60)])


def test_two_people_in_the_first_frames_are_not_taken_for_one() -> None:
    bench = Bench(lambda n: Seen(who=1 + n % 2), assurance=Assurance.RGB_CHALLENGE)
    session = bench.session(timeout_s=5)
    outcome = run(session, [n / 15 for n in range(200)])
    assert outcome.decision is Decision.NOT_COMPLETED
    assert (bench.compared, bench.refused) == (0, 0)
