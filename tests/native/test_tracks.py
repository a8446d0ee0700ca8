"""Gray pictures of faces, and windows that are carried from one to another: the core against numpy, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesdk import _core

Gray = NDArray[np.uint8]
WINDOW, LEVELS = 16, 3
HALF = (WINDOW - 1) / 2


def noise(*shape: int, seed: int = 0) -> Gray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def texture(height: int, width: int, *, shift: tuple[float, float] = (0, 0), seed: int = 0, grain: float = 0) -> Gray:
    """A smooth picture without repetition, moved by shift (x, y), with noise of its own."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[0:height, 0:width].astype(float)
    xs, ys = xs - shift[0], ys - shift[1]
    waves = [
        math.cos(a) * xs / length + math.sin(a) * ys / length + phase
        for a, length, phase in zip(
            random.uniform(0, 2 * math.pi, 12), random.uniform(2, 12, 12), random.uniform(0, 6, 12), strict=True
        )
    ]
    smooth = 128 + 20 * sum(np.sin(wave) for wave in waves)
    own = np.random.default_rng((seed, round(1e6 * shift[0]) % 997)).normal(0, 1, smooth.shape)
    return np.clip(np.round(smooth + grain * own), 0, 255).astype(np.uint8)


def gray_twin(frame: Gray, corner: tuple[int, int], size: tuple[int, int], factor: int) -> Gray:
    """As native/core/tracks.h has it: the mean of at most 4 x 4 pixels of each block."""
    left, top = corner
    part = frame[top : top + size[1] * factor, left : left + size[0] * factor].astype(int)
    gray = (part @ [77, 150, 29]) >> 8 if frame.ndim == 3 else part
    step = (factor + 3) // 4
    blocks = gray.reshape(size[1], factor, size[0], factor)[:, ::step, :, ::step]
    count = blocks.shape[1] * blocks.shape[3]
    return ((2 * blocks.sum(axis=(1, 3)) + count) // (2 * count)).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(
    factor=st.integers(1, 9), width=st.integers(1, 20), height=st.integers(1, 20), left=st.integers(0, 9),
    top=st.integers(0, 9), color=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_gray_of_any_part(factor: int, width: int, height: int, left: int, top: int, color: bool, seed: int) -> None:
    shape = (max(64, top + height * factor), max(64, left + width * factor))
    frame = noise(*shape, 3, seed=seed) if color else noise(*shape, seed=seed)
    mine = _core.face_gray(frame, (left, top), (width, height), factor)
    assert np.array_equal(mine, gray_twin(frame, (left, top), (width, height), factor))


@pytest.mark.parametrize(
    ("corner", "size", "factor"),
    [((-1, 0), (4, 4), 1), ((0, 0), (65, 64), 1), ((0, 0), (64, 65), 1), ((1, 0), (64, 64), 1), ((0, 0), (33, 2), 2),
     ((0, 0), (0, 4), 1), ((0, 0), (4, 4), 0), ((65, 0), (1, 1), 1), ((0, 0), (4, 4), 10**6)],
)  # fmt: skip
def test_parts_beyond_the_frame_are_refused(corner: Any, size: Any, factor: int) -> None:
    with pytest.raises(ValueError, match="within the frame"):
        _core.face_gray(noise(64, 64), corner, size, factor)


def halved(plane: Gray) -> Gray:
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2].astype(int)
    return ((even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2] + 2) >> 2).astype(np.uint8)


def pyramid(plane: Gray) -> list[Gray]:
    planes = [plane]
    while len(planes) < LEVELS:
        planes.append(halved(planes[-1]))
    return planes


def place(at: float) -> tuple[int, int, float]:
    """Pixel, steps of 1 / 128, and where that is."""
    steps = math.floor(at * 128 + 0.5)
    return steps >> 7, steps & 127, steps / 128


def sample(plane: Gray, left: float, top: float, size: int) -> NDArray[np.int64]:
    (x, u, _), (y, v, _) = place(left), place(top)
    p = plane[y : y + size + 1, x : x + size + 1].astype(np.int64)
    rows = (128 - u) * p[:, :-1] + u * p[:, 1:]
    a, b = rows[:-1], rows[1:]
    return ((a >> 1) + (((b - a) * (v << 8)) >> 16) + 2) >> 2


def spread(values: NDArray[np.int64]) -> float:
    return float(values.size * int((values * values).sum()) - int(values.sum()) ** 2)


def covered(plane: Gray, left: float, top: float, size: int) -> bool:
    x, y = place(left)[0], place(top)[0]
    return x >= 0 and y >= 0 and x + size < plane.shape[1] and y + size < plane.shape[0]


def carry_level(
    a: Gray, b: Gray, start: tuple[float, float], at: tuple[float, float], *, last: bool
) -> tuple[tuple[float, float], bool]:
    """Where the window is on this level, and whether that counts."""
    left, top = place(start[0] - HALF)[2], place(start[1] - HALF)[2]
    if place(left)[0] < 1 or place(top)[0] < 1 or not covered(a, left, top, WINDOW + 1):
        return at, False
    patch = sample(a, left - 1, top - 1, WINDOW + 2)
    values, n = patch[1:-1, 1:-1], WINDOW * WINDOW
    gx, gy = patch[1:-1, 2:] - patch[1:-1, :-2], patch[2:, 1:-1] - patch[:-2, 1:-1]
    xx, yy, xy = spread(gx), spread(gy), float(n * int((gx * gy).sum()) - int(gx.sum()) * int(gy.sum()))
    least = (xx + yy - math.sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)) / 2
    if not least >= 0.25 * (n * 2 * 16.0) ** 2:
        return at, False
    more = start[0] - HALF - left, start[1] - HALF - top
    x, y = at[0] - HALF - more[0], at[1] - HALF - more[1]
    for _ in range(12):
        if not (x > -2 and y > -2 and x < b.shape[1] and y < b.shape[0]) or not covered(b, x, y, WINDOW):
            return at, False
        d = sample(b, x, y, WINDOW) - values
        bx = float(n * int((gx * d).sum()) - int(gx.sum()) * int(d.sum()))
        by = float(n * int((gy * d).sum()) - int(gy.sum()) * int(d.sum()))
        determinant = xx * yy - xy * xy
        dx, dy = 2 * (yy * bx - xy * by) / determinant, 2 * (xx * by - xy * bx) / determinant
        if not dx * dx + dy * dy < 64:
            return at, False
        x, y = place(x)[2] - dx, place(y)[2] - dy
        if dx * dx + dy * dy < (0.0004 if last else 0.01):
            if last and not (spread(d) <= 9 * 256 * n * n or spread(d) <= 0.3 * spread(values)):
                return at, False
            return (x + HALF + more[0], y + HALF + more[1]), True
    return ((x + HALF + more[0], y + HALF + more[1]), not last)


def carry(a: list[Gray], b: list[Gray], start: Any, guess: Any) -> tuple[tuple[float, float], bool]:
    at, found = (guess[0], guess[1]), False
    for level in range(LEVELS - 1, -1, -1):
        size = float(1 << level)
        on_level = [((p[0] + 0.5) / size - 0.5, (p[1] + 0.5) / size - 0.5) for p in (start, at)]
        here, found = carry_level(a[level], b[level], on_level[0], on_level[1], last=level == 0)
        if found:
            at = (here[0] + 0.5) * size - 0.5, (here[1] + 0.5) * size - 0.5
    return at, found


def carry_twin(before: Gray, after: Gray, points: Any, guesses: Any) -> tuple[Any, Any]:
    a, b = pyramid(before), pyramid(after)
    ats, good = [], []
    for start, guess in zip(points.tolist(), guesses.tolist(), strict=True):
        at, found = carry(a, b, start, guess)
        if found:
            back, found = carry(b, a, at, (at[0] + start[0] - guess[0], at[1] + start[1] - guess[1]))
            found = found and (back[0] - start[0]) ** 2 + (back[1] - start[1]) ** 2 <= 0.6 * 0.6
        ats.append(at)
        good.append(found)
    return np.array(ats), np.array(good)


def grid(height: int, width: int, seed: int) -> NDArray[np.float64]:
    """Points all over the picture, some of them outside."""
    return np.random.default_rng(seed).uniform((-4, -4), (width + 4, height + 4), (40, 2))


@settings(deadline=None, max_examples=25)
@given(
    width=st.integers(20, 120), height=st.integers(20, 120), x=st.floats(-9, 9), y=st.floats(-9, 9),
    grain=st.sampled_from([0.0, 3.0, 40.0]), seed=st.integers(0, 999),
)  # fmt: skip
def test_points_are_carried_as_by_numpy(width: int, height: int, x: float, y: float, grain: float, seed: int) -> None:
    before = texture(height, width, seed=seed, grain=grain)
    after = texture(height, width, shift=(x, y), seed=seed, grain=grain)
    points = grid(height, width, seed)
    guesses = points + np.random.default_rng(seed).uniform(-3, 3, points.shape)
    mine, twin = _core.carry_points(before, after, points, guesses), carry_twin(before, after, points, guesses)
    assert np.array_equal(mine[1], twin[1])
    assert np.array_equal(mine[0], twin[0])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.25, -0.5), (3.3, 1.7), (-7.0, 6.5)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel(shift: tuple[float, float]) -> None:
    before, after = texture(160, 160, grain=2), texture(160, 160, shift=shift, grain=2)
    points = np.random.default_rng(1).uniform(40, 120, (60, 2))
    at, found = _core.carry_points(before, after, points, points)
    assert found.mean() > 0.95
    off = at[found] - points[found] - shift
    assert np.abs(off).max() < 0.25
    assert np.abs(off.mean(axis=0)).max() < 0.03


def test_light_that_changes_as_a_whole_moves_nothing() -> None:
    before = texture(120, 120).clip(0, 200)
    points = np.random.default_rng(1).uniform(30, 90, (40, 2))
    at, found = _core.carry_points(before, before + np.uint8(40), points, points)
    assert found.all()
    assert np.abs(at - points).max() < 0.02


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_is_found_in_pictures_of_one_tone(level: int) -> None:
    flat = np.full((120, 120), level, np.uint8)
    points = np.random.default_rng(1).uniform(30, 90, (40, 2))
    for before, after in ((flat, flat), (texture(120, 120), flat), (flat, texture(120, 120))):
        assert not _core.carry_points(before, after, points, points)[1].any()


def test_another_picture_is_not_the_same_place() -> None:
    points = np.random.default_rng(1).uniform(30, 130, (60, 2))
    found = _core.carry_points(texture(160, 160), texture(160, 160, seed=5), points, points)[1]
    assert found.mean() < 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e6])
def test_points_that_are_none_are_refused(bad: float) -> None:
    good, wrong = np.full((2, 2), 30.0), np.array([[30.0, bad], [30, 30]])
    for points, guesses in ((good, wrong), (wrong, good)):
        with pytest.raises(ValueError, match="expected points"):
            _core.carry_points(noise(64, 64), noise(64, 64), points, guesses)
