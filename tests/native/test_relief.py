"""The fit of a relief against numpy's least squares, and what it makes of points that were moved by a formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesdk import _core

Floats = NDArray[np.float64]
EYES = 60.0


def anchors(n: int = 60, seed: int = 0) -> tuple[Floats, Floats]:
    """Points of a face in pixels, and its depth there in eye distances: an ellipsoid with a nose."""
    p = np.random.default_rng(seed).uniform((-1, -1.1), (1, 1.2), (n, 2))
    depth = 0.45 * (p**2).sum(axis=1) - 0.35 * np.exp(-((p / (0.22, 0.4)) ** 2).sum(axis=1))
    return p * EYES + (320, 240), depth


def homography(points: Floats, seed: int, size: float = 0.15) -> Floats:
    """Points under a plane's picture from elsewhere."""
    h = np.eye(3) + np.random.default_rng(seed).uniform(-size, size, (3, 3)) * [[1, 1, 0.5], [1, 1, 0.5], [0.3, 0.3, 0]]
    local = np.column_stack([(points - (320, 240)) / EYES, np.ones(len(points))]) @ h.T
    return local[:, :2] / local[:, 2:] * EYES + (320, 240)


def moved(kind: str, shift: tuple[float, float], *, noise: float = 0.1, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Anchors, depths, and where the points of a head, a board or bent paper come to (noise in pixels)."""
    a, depth = anchors(seed=seed)
    local = (a - (320, 240)) / EYES
    radius = 1.9
    relief = {"head": depth, "flat": 0 * depth, "bent": radius - np.sqrt(radius**2 - local[:, 0] ** 2)}[kind]
    now = homography(a, seed) + relief[:, None] * np.array(shift) * EYES
    return a, depth, now + np.random.default_rng((seed, 1)).normal(0, noise, now.shape)


def design(local: Floats, h: Floats, *, bent: bool, pull: Floats) -> tuple[Floats, Floats]:
    """Where the homography takes points, and the derivatives (n, 2, unknowns), rho's the last."""
    x, y = local.T
    w = h[6] * x + h[7] * y + 1
    p = np.column_stack([(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w])
    none, one = np.zeros_like(x), np.column_stack([x / w, y / w, 1 / w])
    rows = []
    for axis in (0, 1):
        columns = [*(one.T if axis == 0 else [none] * 3), *([none] * 3 if axis == 0 else one.T)]
        columns += [-p[:, axis] * x / w, -p[:, axis] * y / w]
        if bent:
            columns += [x * x, y * y, none, none] if axis == 0 else [none, none, x * x, y * y]
        rows.append(np.column_stack([*columns, pull[:, axis]]))
    return p, np.stack(rows, axis=1)


def fit_twin(a: Floats, depth: Floats, now: Floats, shift: tuple[float, float]) -> tuple[float, float]:
    """rho and rho_bent by numpy's least squares, step by step as native/core/parallax.h says."""
    local, to = (a - a.mean(axis=0)) / EYES, (now - now.mean(axis=0)) / EYES
    pull = (depth - depth.mean())[:, None] * np.array(shift)
    solution, found = np.array([1.0, 0, 0, 0, 1, 0, 0, 0, 0]), []
    for bent in (False, True):
        if bent:
            solution = np.concatenate([solution[:8], np.zeros(4), solution[8:]])
        for number in range(8):
            p, rows = design(local, solution, bent=bent, pull=pull)
            left = to - p - rows[..., 8:] @ solution[8:]
            lengths = np.linalg.norm(left, axis=1)
            scale = max(float(np.sort(lengths)[len(a) // 2]) / 1.1774, 1e-3)
            weights = np.where(lengths <= 6 * scale, np.minimum(1, 2 * scale / np.maximum(lengths, 1e-12)), 0)
            root = np.sqrt(weights)[:, None]
            change = np.linalg.lstsq(
                (rows * root[..., None]).reshape(-1, rows.shape[2]), (left * root).ravel(), rcond=None
            )[0]
            solution = solution + change
            if number >= 2 and abs(change[-1]) < 2e-3:
                break
        found.append(float(solution[-1]))
    return found[0], found[1]


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["head", "flat", "bent"]), angle=st.floats(0, 6.3), size=st.floats(0.15, 0.5),
    noise=st.sampled_from([0.05, 0.3]), seed=st.integers(0, 999),
)  # fmt: skip
def test_the_fit_is_that_of_numpy(kind: str, angle: float, size: float, noise: float, seed: int) -> None:
    shift = (size * math.cos(angle), size * math.sin(angle))
    a, depth, now = moved(kind, shift, noise=noise, seed=seed)
    fit = _core.relief(a, depth, now, EYES, shift)
    assert fit is not None
    assert fit[:2] == pytest.approx(fit_twin(a, depth, now, shift), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [(0.25, 0.0), (0.0, 0.25), (-0.2, 0.2)])
def test_heads_are_one_and_sheets_are_none(shift: tuple[float, float], seed: int) -> None:
    heads, flats, bents = (_core.relief(*moved(k, shift, seed=seed), EYES, shift) for k in ("head", "flat", "bent"))
    assert heads is not None
    assert flats is not None
    assert bents is not None
    assert heads[:2] == pytest.approx((1, 1), abs=0.08)
    assert flats[:2] == pytest.approx((0, 0), abs=0.08)
    assert abs(bents[1]) < 0.15
    assert heads[5] >= 50


def test_every_third_track_may_be_wrong() -> None:
    a, depth, now = moved("head", (0.3, 0))
    now[::3] += np.random.default_rng(2).uniform(-25, 25, now[::3].shape)
    fit = _core.relief(a, depth, now, EYES, (0.3, 0.0))
    assert fit is not None
    assert fit[:2] == pytest.approx((1, 1), abs=0.12)
    assert fit[5] <= 45


def test_the_error_says_how_much_noise_there_is() -> None:
    """Over 200 fits, the standard error that is told is the spread that there is, within a third."""
    a, depth, clean = moved("head", (0.25, 0), noise=0, seed=7)
    noises = (np.random.default_rng(i).normal(0, 0.5, clean.shape) for i in range(200))
    fits = [_core.relief(a, depth, clean + noise, EYES, (0.25, 0.0)) for noise in noises]
    values = np.array([fit for fit in fits if fit is not None])
    assert len(values) == 200
    for at in (0, 1):
        assert np.median(values[:, 2 + at]) == pytest.approx(values[:, at].std(), rel=0.33)


def test_numbers_that_say_nothing_have_no_fit() -> None:
    a, depth, now = moved("head", (0.3, 0))
    good: list[Any] = [a, depth, now, EYES, (0.3, 0.0)]
    assert _core.relief(*good) is not None
    for at, wrong in (
        (0, a * np.nan), (2, now * np.inf), (1, depth * np.nan), (1, depth * 0), (4, (0.0, 0.0)),
        (4, (math.nan, 0.0)), (3, 0.0), (3, math.nan), (3, math.inf), (0, np.zeros_like(a)),
        (0, np.column_stack([a[:, 0], a[:, 0]])), (0, a * 1e300), (2, now * 1e9),
    ):  # fmt: skip
        assert _core.relief(*[wrong if i == at else v for i, v in enumerate(good)]) is None, at
    assert _core.relief(a[:11], depth[:11], now[:11], EYES, (0.3, 0.0)) is None
    none = np.empty((0, 2))
    assert _core.relief(none, np.empty(0), none, EYES, (0.3, 0.0)) is None
    with pytest.raises(ValueError, match="for each track"):
        _core.relief(a[:30], depth, now, EYES, (0.3, 0.0))


def cloud(seed: int = 0) -> NDArray[np.float32]:
    p = np.random.default_rng(seed).uniform(-1, 1, (468, 3)) * (80, 100, 40)
    return (p + np.array([320, 240, 0])).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(yaw=st.floats(-60, 60), pitch=st.floats(-40, 40), roll=st.floats(-90, 90), size=st.floats(0.5, 2))
def test_a_turn_is_that_of_the_points(yaw: float, pitch: float, roll: float, size: float) -> None:
    """Against the rotation that moved them; roll is none."""
    (sy, sp, sr), (cy, cp, cr) = ([f(math.radians(v)) for v in (yaw, pitch, roll)] for f in (math.sin, math.cos))
    turn = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ [[1, 0, 0], [0, cp, -sp], [0, sp, cp]]
        @ np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    )
    before = cloud()
    after = (size * before.astype(float) @ turn.T + (5, 9, 2)).astype(np.float32)
    found = _core.mesh_turn(before, after)
    assert found is not None
    assert found[0] == pytest.approx(math.degrees(math.acos(turn[2, 2])), abs=0.05)
    assert found[1] == pytest.approx(size * turn[:2, 2], abs=1e-3)


def test_points_that_cannot_be_turned_have_no_turn() -> None:
    good = cloud()
    flat, one, wrong, mirrored = good.copy(), np.ones_like(good), good.copy(), good * np.float32([-1, 1, 1])
    flat[:, 2], wrong[7, 1] = 0, np.nan
    for bad in (flat, one, wrong, mirrored, good * np.float32(1e-9), good * np.float32(1e30)):
        assert _core.mesh_turn(good, bad) is None
    assert _core.mesh_turn(one, good) is None


def test_depths_are_those_of_the_mesh_around() -> None:
    """Of a plane exactly, in eye distances from the mean; NaN where no mesh is."""
    mesh = cloud().astype(float)
    mesh[:, 2] = 0.3 * mesh[:, 0] - 0.2 * mesh[:, 1]
    size = _core.eye_distance(mesh.astype(np.float32))
    points = np.random.default_rng(3).uniform((280, 180), (360, 300), (30, 2))
    depths = _core.mesh_depths(mesh.astype(np.float32), points)
    expected = (0.3 * points[:, 0] - 0.2 * points[:, 1] - mesh[:, 2].mean()) / size
    assert depths == pytest.approx(expected, abs=0.02)
    assert np.isnan(_core.mesh_depths(mesh.astype(np.float32), np.array([[5000.0, 0], [np.nan, 1]]))).all()
