"""The live camera: newest frame only, unplugged and back, stalls, limits, threads that end, memory that stays flat."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from itertools import count, islice, pairwise
from typing import Any

import numpy as np
import pytest
from camera_tools import LIMIT_S, Capture, Clock, Driver, Fake, Played, bgr, facesdk_threads
from conftest import PORTRAITS

from facesdk.camera import (
    CameraEvent,
    CameraEventKind,
    CameraIdentity,
    Health,
    LiveCamera,
    live,
    open_camera,
    open_source,
)
from facesdk.camera.reconnect import Backoff
from facesdk.errors import CameraError, InputError

pytestmark = pytest.mark.usefixtures("no_thread_stays")
ME = CameraIdentity("uvcvideo", "HD Webcam", "usb-1", "usb-Maker-1")
OTHER = CameraIdentity("uvcvideo", "HD Webcam", "usb-1", "usb-Maker-2")


def pictures(number: int, side: int = 64) -> list[np.ndarray]:
    """So many that differ, each lit."""
    return [np.full((side, side, 3), 60 + seed % 100, np.uint8) for seed in range(number)]


def endless() -> Any:
    return (np.full((64, 64, 3), 60 + seed % 100, np.uint8) for seed in count())


def camera_of(
    openings: list[Any], clock: Clock, *, limit_s: float = 60.0, settle: bool = False,
    on_event: Callable[[CameraEvent], None] | None = None, pause: Callable[[float], None] | None = None,
) -> LiveCamera:  # fmt: skip
    """A camera whose openings are these, one after the other: a source, or an error."""
    left = iter(openings)

    def again(_identity: CameraIdentity | None) -> Any:
        found = next(left, CameraError("it is gone"))
        if isinstance(found, Exception):
            raise found
        return found

    return LiveCamera(
        again, name="cam", settle=settle, give_up_after_s=limit_s, clock=clock, pause=pause or clock.pause,
        on_event=on_event,
    )  # fmt: skip


def until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.002)


def test_newest_only_and_the_others_counted() -> None:
    clock, turn = Clock(), threading.Semaphore(0)
    source = Played(endless(), clock, turn=turn)
    given = 0
    with camera_of([source], clock) as camera:
        for burst in (1, 3, 1, 7, 2):
            turn.release(burst)
            given += burst
            until(lambda so_far=given: camera._sequence == so_far)
            frame = camera.read(timeout_s=LIMIT_S)
            assert frame is not None
            assert (frame.sequence, frame.dropped) == (given - 1, burst - 1)
            assert frame.image[0, 0, 0] == 60 + given - 1
            assert camera.read(timeout_s=0.0) is None, "it is given once"
        assert camera.dropped == 14 - 5
        turn.release(2)  # the thread must see that it ends
    assert not source.open


@pytest.mark.parametrize("fps", [0.1, 0.5, 1, 5, 15, 30, 60])
def test_from_a_frame_in_ten_seconds_to_sixty_a_second(fps: float) -> None:
    clock, turn = Clock(), threading.Semaphore(0)
    seen = []
    with camera_of([Played(pictures(40), clock, fps=fps, turn=turn)], clock, settle=True) as camera:
        turn.release(3)
        until(lambda: camera._sequence >= 1)
        for _ in range(20):
            turn.release()
            frame = camera.read(timeout_s=LIMIT_S)
            assert frame is not None
            seen.append(frame)
        turn.release(40)
    assert np.all(np.diff([frame.time_s for frame in seen]) > 0)
    numbers = [frame.sequence for frame in seen]
    assert [after - before for before, after in pairwise(numbers)] == [frame.dropped + 1 for frame in seen[1:]]
    assert not any(event.kind is CameraEventKind.LOST for event in camera.events)


def test_fifty_times_unplugged_and_back() -> None:
    clock, told = Clock(), list[CameraEvent]()
    openings: list[Any] = []
    for cycle in range(51):
        openings += [CameraError("it is not there")] * (cycle % 4) if cycle else []
        openings.append(
            Played(pictures(5), clock, ends="" if cycle == 50 else "cam stopped giving frames", identity=ME)
        )
    with camera_of(openings, clock, on_event=told.append) as camera:
        frames = list(camera)
        assert camera.ended
    assert 1 <= len(frames) <= 51 * 5
    assert frames[-1].sequence == 51 * 5 - 1
    assert sum(frame.dropped for frame in frames) + len(frames) == 51 * 5 == camera.dropped + len(frames)
    kinds = [event.kind for event in camera.events]
    assert kinds[-4:] == [CameraEventKind.LOST, CameraEventKind.BACK] * 2
    assert told[-1].text.startswith("cam is back after ")
    assert all("looking for it again for 60 s" in event.text for event in told if event.kind is CameraEventKind.LOST)
    assert clock.pauses[:10] == [0.5, 1.0, 0.5, 1.0, 2.0, 0.5, 1.0, 2.0, 4.0, 0.5], "0, 1, 2 and 3 more tries"


def test_pauses_double_up_to_eight_seconds_and_start_over() -> None:
    backoff = Backoff(100.0)
    clock = Clock()
    pauses = []
    while (pause_s := backoff.failed(clock())) is not None:
        pauses.append(pause_s)
        clock.pause(pause_s)
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert sum(pauses) == pytest.approx(100.0)
    backoff.worked()
    assert (backoff.since_s, backoff.failed(clock())) == (None, 0.5)


def test_a_camera_that_does_not_come_back_is_an_error_in_the_end() -> None:
    clock, told = Clock(), list[CameraEvent]()
    with camera_of(
        [Played(pictures(3), clock, ends="cam is unplugged")], clock, limit_s=20.0, on_event=told.append
    ) as camera:
        with pytest.raises(CameraError, match="it is gone; it did not come back within 20 s"):
            list(camera)
        with pytest.raises(CameraError, match="did not come back"):
            camera.read(timeout_s=1.0)
        assert not facesdk_threads()
    assert [event.kind.value for event in told] == ["opened", "lost"]
    assert told[1].text == "cam is unplugged; looking for it again for 20 s"
    assert sum(clock.pauses) == pytest.approx(20.0)


def test_no_limit_to_wait_is_no_second_try() -> None:
    clock = Clock()
    source, words = Played(pictures(3), clock, ends="cam is unplugged"), r"^cam is unplugged$"
    with camera_of([source], clock, limit_s=0.0) as camera, pytest.raises(CameraError, match=words):
        list(camera)
    assert clock.pauses == []


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_limit_is_a_time(wrong: float) -> None:
    with pytest.raises(InputError, match="give_up_after_s must be 0 or more"):
        open_camera(0, give_up_after_s=wrong)


def test_what_cannot_be_opened_says_so_at_with() -> None:
    clock = Clock()
    with pytest.raises(CameraError, match="this user may not"), camera_of([CameraError("this user may not")], clock):
        pytest.fail("it was opened")
    with pytest.raises(ZeroDivisionError), camera_of([ZeroDivisionError()], clock):
        pytest.fail("it was opened")
    assert clock.pauses == []


def test_an_opening_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "OPEN_TIMEOUT_S", 0.2)
    monkeypatch.setattr(live, "STOP_TIMEOUT_S", 0.2)
    hangs = threading.Event()

    def opening(_identity: Any) -> Any:
        hangs.wait(LIMIT_S)
        raise CameraError("too late")

    camera = LiveCamera(opening, name="cam")
    with pytest.raises(CameraError, match=r"does not answer: it was not open after 0\.2 s"), camera:
        pytest.fail("it was opened")
    hangs.set()


def test_a_driver_that_hangs_is_noticed_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STOP_TIMEOUT_S", 0.2)
    clock, turn = Clock(), threading.Semaphore(1)
    camera = camera_of([Played(pictures(9), clock, turn=turn)], clock, limit_s=5.0)
    camera.__enter__()
    assert camera.read(timeout_s=LIMIT_S) is not None
    assert camera.read(timeout_s=0.05) is None
    clock.now_s += 6.0
    with pytest.raises(CameraError, match="gave no frame for 6 s and its driver does not answer"):
        camera.read()
    with pytest.raises(CameraError, match="does not let go: its driver hangs"):
        camera.__exit__(None, None, None)
    turn.release(9)


def test_an_error_of_the_program_is_not_replaced_by_one_of_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STOP_TIMEOUT_S", 0.1)
    clock, turn = Clock(), threading.Semaphore(1)
    with pytest.raises(KeyError), camera_of([Played(pictures(9), clock, turn=turn)], clock):
        raise KeyError
    turn.release(9)


def test_a_fault_of_the_source_reaches_the_program() -> None:
    def broken() -> Any:
        yield pictures(1)[0]
        raise MemoryError("no more")

    clock = Clock()
    with camera_of([Played(broken(), clock)], clock) as camera, pytest.raises(MemoryError):
        list(camera)


def test_another_camera_in_its_place_is_not_taken() -> None:
    clock = Clock()
    openings = [Played(pictures(2), clock, ends="gone", identity=ME), Played(endless(), clock, identity=OTHER),
                Played(endless(), clock), Played(pictures(2), clock, identity=ME)]  # fmt: skip
    with camera_of(openings, clock, limit_s=30.0) as camera:
        list(camera)
        assert camera.identity == ME
    assert camera._sequence == 4
    clock = Clock()
    openings = [Played(pictures(2), clock, ends="gone", identity=ME)]
    openings += [Played(endless(), clock, identity=OTHER) for _ in range(20)]
    words = r"another camera is in its place, uvcvideo .*not uvcvideo"
    with camera_of(openings, clock, limit_s=30.0) as camera, pytest.raises(CameraError, match=words):
        list(camera)


def test_a_frame_from_before_is_not_given_as_the_newest() -> None:
    clock, lost = Clock(), threading.Event()

    def pause(seconds: float) -> None:
        lost.set()
        clock.pause(seconds)
        time.sleep(0.01)

    camera = camera_of([Played(pictures(3), clock, ends="gone")], clock, pause=pause, limit_s=600.0)
    with camera:
        assert lost.wait(LIMIT_S)
        with pytest.raises(CameraError):
            list(camera)
        assert camera.dropped == 3


def test_events_reach_the_program_while_it_waits() -> None:
    clock, told = Clock(), list[CameraEvent]()
    black = [np.zeros((64, 64, 3), np.uint8)] * 9
    with camera_of([Played(black + pictures(9), clock)], clock, on_event=told.append) as camera:
        list(camera)
    assert [event.kind.value for event in told] == ["opened", "picture", "picture"]
    assert [event.text for event in told][1:] == [Health.BLACK.value, "The picture is as it should be again."]
    assert camera.health is Health.OK
    assert [event.time_s for event in told] == sorted(event.time_s for event in told)


def test_it_is_used_with_with_and_once() -> None:
    clock = Clock()
    camera = camera_of([Played(pictures(3), clock)], clock)
    for use in (camera.read, lambda: next(iter(camera))):
        with pytest.raises(InputError, match="started by `with`"):
            use()
    with camera:
        pass
    with pytest.raises(InputError, match="started once"), camera:
        pytest.fail("it was started twice")


def test_settling_skips_the_first_frames_after_each_opening() -> None:
    clock = Clock()
    ramp = [np.full((64, 64, 3), level, np.uint8) for level in (10, 40, 70, 90, 100, 100, 100, 101)]
    openings = [Played(ramp, clock, ends="gone"), Played(ramp, clock)]
    with camera_of(openings, clock, settle=True) as camera:
        frames = list(camera)
    assert camera._sequence == 4, "the last two of each"
    assert all(frame.image[0, 0, 0] >= 100 for frame in frames)


def test_a_source_of_ones_own_is_read_once() -> None:
    with open_camera(open_source(PORTRAITS)) as camera:
        frames = list(camera)
        assert (camera.label, camera.identity, camera.ended) == ("camera", None, True)
    assert len(frames) >= 1
    own = Played(pictures(9), Clock(), ends="the wire is cut")
    with open_camera(own) as camera, pytest.raises(CameraError, match=r"^the wire is cut$"):
        list(camera)


@pytest.mark.parametrize("name", ["Kam\u00e9ra", 'a"b', "x" * 99])
def test_the_label_fits_the_audit_log(name: str) -> None:
    from facesdk.vault.audit.entry import check_labels

    check_labels(LiveCamera(lambda _: Played([], Clock()), name=name).label, "")


def test_the_program_may_stop_at_any_time() -> None:
    """In the middle of frames, while it is looked for, and before the first frame."""
    for taken in (0, 1, 5):
        clock = Clock()
        with camera_of([Played(endless(), clock)], clock) as camera:
            assert len(list(islice(camera, taken))) == taken
    started = time.monotonic()
    with LiveCamera(_once(), name="cam", settle=False) as camera:
        until(lambda: any(event.kind is CameraEventKind.LOST for event in camera.events))
    assert time.monotonic() - started < 5


def _once() -> Any:
    left = [Played(pictures(3), Clock(), ends="gone")]

    def opening(_identity: Any) -> Any:
        if not left:
            raise CameraError("not there")
        return left.pop()

    return opening


@pytest.mark.parametrize("slow", [False, True])
def test_memory_is_flat_over_many_thousand_frames(slow: bool) -> None:
    """n = 20,000 frames of 12 KiB, by a program that takes every one it can, and by one that takes few."""
    clock = Clock()
    with camera_of([Played(endless(), clock, fps=60)], clock) as camera:
        next(iter(camera))
        tracemalloc.start()
        try:
            start = camera._sequence
            peaks = []
            for goal in (5_000, 10_000, 15_000, 20_000):
                while camera._sequence - start < goal:
                    assert camera.read(timeout_s=LIMIT_S) is not None
                    if slow:
                        time.sleep(0.02)
                peaks.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert max(peaks) < 400_000, peaks
    assert peaks[-1] - peaks[0] < 100_000, peaks


# The same through OpenCV's stand-in and the kernel's nodes.


def test_a_camera_of_the_kernel_comes_back_under_another_number(cameras: Fake) -> None:
    by_id = "usb-Maker_Camera_1-video-index0"
    cameras.plug(Driver(0, by_id=by_id))
    Capture.plays = [_unplugged(cameras, 0), (bgr(90) for _ in count())]
    told = list[CameraEvent]()
    with open_camera(0, on_event=told.append, give_up_after_s=30) as camera:
        assert camera.identity is not None
        until(lambda: any(event.kind is CameraEventKind.LOST for event in camera.events))
        assert "camera is not connected any more" in camera.events[-1].text
        cameras.plug(Driver(0, "Another", by_id="usb-Other-video-index0"))
        cameras.plug(Driver(4, by_id=by_id))
        frame = next(frame for frame in camera if any(event.kind is CameraEventKind.BACK for event in camera.events))
        assert frame.camera == "camera 4"
    assert [opened[0] for opened in Capture.opened][:2] == [0, 4]
    assert Capture.released >= 2


def _unplugged(cameras: Fake, number: int) -> Any:
    yield from (bgr(90 + level) for level in range(10))
    cameras.unplug(number)
    yield None


def test_a_stall_of_opencv_is_a_camera_that_is_lost(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    stall = threading.Event()
    Capture.plays = [[*[bgr(90)] * 9, stall], (bgr(91) for _ in count())]
    with open_camera(0) as camera:
        until(lambda: camera._sequence >= 5)
        assert camera.read(timeout_s=LIMIT_S) is not None
        assert camera.read(timeout_s=0.1) is None
        stall.set()
        frame = camera.read(timeout_s=LIMIT_S)
        assert frame is not None
        assert frame.image[5, 5, 0] == 91
        assert [event.kind.value for event in camera.events][:3] == ["opened", "lost", "back"]


def test_a_camera_that_another_program_took_meanwhile_is_named(cameras: Fake) -> None:
    cameras.plug(Driver(0))
    cameras.hold(0, 77, "obs")

    def taken() -> Any:
        yield from [bgr(90)] * 9
        cameras.drivers[0].busy = True

    Capture.plays = [taken()]
    words = r"busy: obs \(pid 77\) uses it.*did not come back within 0.3 s"
    with open_camera(0, give_up_after_s=0.3) as camera, pytest.raises(CameraError, match=words):
        list(camera)
