"""Watching a camera: one attempt an appearance, an event for each change, nothing held when it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from session_tools import NOBODY, ScriptedEngine, Seen, frame

from facesdk.capture.appearance import Follower
from facesdk.capture.limits import LONGEST_TIMEOUT_S
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.capture.watch import Watch
from facesdk.capture.watcher import Watcher, WatchEvent, WatchKind
from facesdk.errors import InputError, LockedOutError, PassphraseRequiredError, Reason
from facesdk.types import Assurance

FPS = 10.0
OWNER, STRANGER, OTHER = 1, 2, 3


class Bench:
    """A watch over scripted frames; each comparison is counted."""

    def __init__(self, script: Callable[[float], Seen], *, leave_after_s: float = 5.0) -> None:
        self.engine = ScriptedEngine(lambda number: script(number / FPS))
        self.compared: list[int] = []
        self.refuse_to_begin: list[Exception] = []
        self.watcher = Watcher(self.begin, self.follower, self.engine, leave_after_s=leave_after_s)
        self.events: list[WatchEvent] = []
        self.number = 0

    def follower(self) -> Follower:
        return Follower(self.engine, QualityLimits())

    def begin(self) -> Session:
        if self.refuse_to_begin:
            raise self.refuse_to_begin.pop(0)

        def compare(probe) -> bool:
            who = int(probe.samples[0].crop[0, 0, 0])
            self.compared.append(who)
            return who == OWNER

        goal = LiveVerification(
            Means(engine=self.engine, assurance=Assurance.NONE), compare=compare, refuse=lambda: None
        )
        return Session(goal, self.follower(), timeout_s=LONGEST_TIMEOUT_S)

    def run(self, seconds: float) -> Bench:
        for _ in range(round(seconds * FPS)):
            self.events += self.watcher.feed(frame(self.number), self.number / FPS)
            self.number += 1
        return self

    @property
    def kinds(self) -> list[WatchKind]:
        return [event.kind for event in self.events]


def test_the_owner_comes_is_matched_once_and_leaves() -> None:
    bench = Bench(lambda t: Seen(OWNER) if 1 <= t < 40 else NOBODY).run(60)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.MATCHED, WatchKind.LEFT]
    assert bench.compared == [OWNER]
    assert bench.events[1].outcome
    assert 40 < bench.events[2].time_s < 46


def test_a_stranger_who_stands_there_for_ten_minutes_costs_one_attempt() -> None:
    bench = Bench(lambda t: NOBODY if t % 7 > 6 else Seen(STRANGER)).run(600)  # he looks away for a second at times
    assert bench.compared == [STRANGER]
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.REFUSED]


def test_the_owner_who_takes_the_stranger_s_place_is_compared_at_once() -> None:
    bench = Bench(lambda t: Seen(STRANGER) if t < 20 else NOBODY if t < 21 else Seen(OWNER)).run(30)
    assert bench.compared == [STRANGER, OWNER]
    assert bench.kinds[-3:] == [WatchKind.LEFT, WatchKind.ARRIVED, WatchKind.MATCHED]


def test_who_slips_into_the_owner_s_place_without_a_gap_is_noticed() -> None:
    bench = Bench(lambda t: Seen(OWNER if t < 20 else STRANGER)).run(40)
    assert bench.compared == [OWNER, STRANGER]
    left = bench.events[bench.kinds.index(WatchKind.LEFT)]
    assert 20 <= left.time_s <= 22.5, "told within the time of one look"


def test_each_appearance_is_compared_anew() -> None:
    bench = Bench(lambda t: Seen(STRANGER) if t % 20 < 10 else NOBODY).run(100)
    assert bench.compared == [STRANGER] * 5
    assert bench.kinds.count(WatchKind.LEFT) == 5


def test_a_lock_out_is_an_event_and_waited_out_without_blocking() -> None:
    bench = Bench(lambda t: Seen(OWNER))
    bench.refuse_to_begin = [LockedOutError(30)]
    bench.run(20)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.LOCKED_OUT]
    assert bench.events[1].retry_after_s == 30
    assert bench.run(20).kinds[2:] == [WatchKind.MATCHED]
    assert bench.events[-1].time_s >= 30


def test_a_closed_key_is_told_once_and_asked_for_again_quietly() -> None:
    bench = Bench(lambda t: Seen(OWNER))
    bench.refuse_to_begin = [PassphraseRequiredError(Reason.LOCKED)] * 5
    bench.run(20)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.PASSPHRASE_REQUIRED, WatchKind.MATCHED]


def test_a_key_that_is_closed_while_somebody_is_looked_at_ends_that_session_alone() -> None:
    bench = Bench(lambda t: Seen(OWNER))
    begin, bench.watcher._begin = bench.begin, lambda: closing(begin())

    def closing(session: Session) -> Session:
        session._goal._compare = raises
        bench.watcher._begin = begin
        return session

    def raises(_probe) -> bool:
        raise PassphraseRequiredError(Reason.PANIC)

    bench.run(10)
    assert bench.kinds == [WatchKind.ARRIVED, WatchKind.PASSPHRASE_REQUIRED, WatchKind.MATCHED]


def test_who_cannot_be_looked_at_is_told_what_to_do_and_charged_nothing() -> None:
    bench = Bench(lambda t: Seen(OWNER, signal=1.0)).run(30)
    assert bench.compared == []
    assert bench.watcher.progress.guidance.name == "MORE_LIGHT"
    assert bench.kinds == [WatchKind.ARRIVED]


@pytest.mark.parametrize("jump", [-1000.0, 5000.0])
def test_a_clock_that_jumps_ends_nothing_for_good(jump: float) -> None:
    bench = Bench(lambda t: Seen(OWNER))
    bench.run(3)
    events = bench.watcher.feed(frame(100), 3 + jump)
    for number in range(101, 200):
        events += bench.watcher.feed(frame(number), 3 + jump + (number - 100) / FPS)
    assert bench.compared[0] == OWNER
    assert bench.watcher.progress is not None


def test_closing_wipes_the_features_that_tell_who_is_there() -> None:
    bench = Bench(lambda t: Seen(STRANGER)).run(10)
    probe = bench.watcher._present._probe
    vector = probe._features[0]._vector
    assert vector.any()
    bench.watcher.close()
    assert not vector.any()


def _frames(count: int):
    return (SimpleNamespace(image=frame(number), time_s=number / FPS) for number in range(count))


def test_events_come_by_iteration_by_callback_and_by_async_for() -> None:
    def watch() -> Watch:
        return Watch(Bench(lambda t: Seen(OWNER) if t < 5 else NOBODY).watcher, _frames(150))

    wanted = [WatchKind.ARRIVED, WatchKind.MATCHED, WatchKind.LEFT]
    assert [event.kind for event in watch()] == wanted
    heard: list[WatchEvent] = []
    watch().run(heard.append)
    assert [event.kind for event in heard] == wanted

    async def collect() -> list[WatchKind]:
        return [event.kind async for event in watch()]

    assert asyncio.run(collect()) == wanted


def test_cancel_from_another_thread_ends_it() -> None:
    bench = Bench(lambda t: NOBODY)
    watch = Watch(bench.watcher, _frames(10**9))
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (list(watch), ended.set()))
    thread.start()
    watch.cancel()
    thread.join(20)
    assert ended.is_set()


def test_progress_is_told_with_its_frame() -> None:
    told = []
    watch = Watch(Bench(lambda t: Seen(OWNER)).watcher, _frames(5), on_progress=lambda p, f: told.append((p, f.time_s)))
    list(watch)
    assert [time_s for _, time_s in told] == [0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("leave_after_s", [0, 4000, float("nan"), True, "5"])
def test_a_time_to_leave_that_is_none_is_refused(leave_after_s: object) -> None:
    with pytest.raises(InputError, match="leave_after_s"):
        Bench(lambda t: NOBODY, leave_after_s=leave_after_s)
