"""Black, frozen and strobed streams are told apart, and living ones are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.camera import CapturedFrame, Health, StreamHealth
from facesdk.camera.health import Settling


def scene(level: float, seed: int, *, noise: float = 3.0, gray: bool = False, side: int = 96) -> np.ndarray:
    """A picture with a ramp around this level and a sensor's noise."""
    shape = (side, side + 32) if gray else (side, side + 32, 3)
    ramp = np.linspace(-30, 30, shape[1]) * min(level / 30, 1)
    picture = level + (ramp if gray else ramp[:, None]) + np.random.default_rng(seed).normal(0, noise, shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def judged(pictures: list[np.ndarray], numbers: list[int] | None = None) -> list[Health]:
    health, numbers = StreamHealth(), numbers or list(range(len(pictures)))
    return [
        health.feed(CapturedFrame(picture, number / 15, "test", sequence=number))
        for number, picture in zip(numbers, pictures, strict=True)
    ]


@pytest.mark.parametrize("gray", [False, True])
def test_a_living_stream_is_well(gray: bool) -> None:
    assert set(judged([scene(100, seed, gray=gray) for seed in range(60)])) == {Health.OK}
    assert set(judged([scene(35, seed, gray=gray, noise=6) for seed in range(60)])) == {Health.OK}, "a dim room"


@pytest.mark.parametrize("gray", [False, True])
def test_a_black_stream(gray: bool) -> None:
    found = judged([scene(100, 0, gray=gray)] + [scene(2, seed, gray=gray, noise=2) for seed in range(1, 9)])
    assert found == [Health.OK] * 5 + [Health.BLACK] * 4
    zeros = [np.zeros((64, 64) if gray else (64, 64, 3), np.uint8)] * 40
    assert judged(zeros)[4:] == [Health.BLACK] * 36, "black is said of pictures that are black and the same"


def test_where_black_begins() -> None:
    """Twenty levels, ninety-nine of a hundred pixels."""
    level = [np.full((100, 100, 3), light, np.uint8) for light in (19, 20)]
    assert judged([level[0]] * 5)[-1] is Health.BLACK
    assert judged([level[1]] * 5)[-1] is Health.OK
    for lit, expected in ((1, Health.BLACK), (2, Health.OK)):  # of 100 rows
        picture = level[0].copy()
        picture[:lit] = 255
        assert judged([picture] * 5)[-1] is expected


def test_where_a_strobe_begins() -> None:
    for step, expected in ((8, Health.OK), (9, Health.STROBED)):
        flat = [np.full((64, 64), 100 + seed % 2 * step, np.uint8) for seed in range(16)]
        assert judged(flat) == [Health.OK] * 15 + [expected]


def test_a_frozen_stream_and_its_end() -> None:
    found = judged([scene(100, 0)] * 20 + [scene(100, 1)] * 3)
    assert found == [Health.OK] * 14 + [Health.FROZEN] * 6 + [Health.OK] * 3


def test_a_few_equal_frames_are_no_freeze() -> None:
    """A driver may give each picture twice, or repeat the last one for a while."""
    assert set(judged([scene(100, seed // 2) for seed in range(60)])) == {Health.OK}
    assert set(judged([scene(100, seed // 14) for seed in range(60)])) == {Health.OK}


def test_a_small_change_anywhere_is_none() -> None:
    picture = scene(100, 0)
    changed = [picture.copy() for _ in range(40)]
    for number, each in enumerate(changed):
        each[40:56, 40:56] = number * 3
    assert set(judged(changed)) == {Health.OK}


@pytest.mark.parametrize("gray", [False, True])
def test_a_strobed_stream(gray: bool) -> None:
    pictures = [scene(90 if seed % 2 else 1, seed, gray=gray) for seed in range(40)]
    found = judged(pictures)
    assert found == [Health.OK] * 15 + [Health.STROBED] * 25


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=40, max_size=40))
def test_a_strobed_stream_with_frames_missing(steps: list[int]) -> None:
    """The newest frame alone is taken, so any number is missing between two. Odd and even ones must both be there."""
    numbers = np.cumsum(steps).tolist()
    found = judged([scene(90 if number % 2 else 1, number) for number in numbers], numbers)
    last = [number % 2 for number in numbers[-16:]]
    black_run = all(number % 2 == 0 for number in numbers[-5:])
    if min(last.count(0), last.count(1)) >= 4:
        assert found[-1] is (Health.BLACK if black_run else Health.STROBED)
    else:
        assert found[-1] in (Health.OK, Health.BLACK)


def test_flicker_and_somebody_who_switches_the_light_are_no_strobe() -> None:
    assert set(judged([scene(100 + 3 * (seed % 2), seed) for seed in range(60)])) == {Health.OK}
    assert set(judged([scene(40 if seed // 8 % 2 else 120, seed) for seed in range(80)])) == {Health.OK}


def test_a_size_that_changes_is_no_fault() -> None:
    pictures = [scene(100, seed, side=64 + 16 * (seed % 3), gray=seed % 2 == 0) for seed in range(40)]
    assert set(judged(pictures)) == {Health.OK}


def test_each_has_words_and_ok_has_none() -> None:
    assert str(Health.OK) == ""
    words = [str(health) for health in Health if health is not Health.OK]
    assert len(set(words)) == 3
    assert all(text.endswith((".", "?")) for text in words)


def settled_at(levels: list[float], fps: float) -> int | None:
    settling = Settling()
    found = [
        settling.feed(CapturedFrame(scene(level, seed, noise=1), seed / fps, "test"))
        for seed, level in enumerate(levels)
    ]
    assert found == sorted(found), "once settled it stays so"
    return found.index(True) if True in found else None


def test_exposure_settles_when_the_brightness_is_stable() -> None:
    assert settled_at([100] * 10, 30) == 2
    assert settled_at([20, 60, 90, 110, 119, 120, 120, 120, 120], 30) == 6


def test_black_first_frames_are_not_stable() -> None:
    assert settled_at([0] * 8 + [100] * 4, 30) == 10


@pytest.mark.parametrize(("fps", "frame"), [(60, 60), (30, 30), (15, 15), (2, 2), (1, 1), (0.1, 1)])
def test_a_second_is_the_most_that_is_waited(fps: float, frame: int) -> None:
    assert settled_at([50 + 50 * (seed % 2) for seed in range(100)], fps) == frame
    assert settled_at([0] * 100, fps) == frame
