"""YUYV and NV12 to RGB, against the definition in numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk import _core

EVEN = st.integers(1, 20).map(lambda half: 2 * half)


def defined(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """BT.601, limited range, as native/core/yuv.h writes it down."""
    c, d, e = (plane.astype(int) - zero for plane, zero in ((y, 16), (u, 128), (v, 128)))
    red, green, blue = 298 * c + 409 * e + 128, 298 * c - 100 * d - 208 * e + 128, 298 * c + 516 * d + 128
    return np.clip(np.stack([red, green, blue], axis=-1) >> 8, 0, 255).astype(np.uint8)


def yuyv_twin(raw: np.ndarray) -> np.ndarray:
    u, v = (np.repeat(raw[:, at::2, 1], 2, axis=1) for at in (0, 1))
    return defined(raw[..., 0], u, v)


def nv12_twin(raw: np.ndarray) -> np.ndarray:
    height, width = raw.shape[0] * 2 // 3, raw.shape[1]
    pairs = raw[height:].reshape(height // 2, width // 2, 2)
    u, v = (pairs[..., at].repeat(2, axis=0).repeat(2, axis=1) for at in (0, 1))
    return defined(raw[:height], u, v)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_every_value_of_y_u_and_v() -> None:
    """All 256 values of Y with a grid of U and V that has the ends of their ranges."""
    grid = sorted({*range(0, 256, 5), 15, 16, 17, 127, 128, 129, 239, 240, 241, 254, 255})
    u, v, y = (plane.ravel() for plane in np.meshgrid(grid, grid, np.arange(0, 256), indexing="ij"))
    raw = np.empty((len(grid) ** 2, 256, 2), np.uint8)
    raw[..., 0] = y.reshape(raw.shape[:2])
    raw[:, 0::2, 1], raw[:, 1::2, 1] = (plane.reshape(raw.shape[:2])[:, ::2] for plane in (u, v))
    assert np.array_equal(_core.yuyv_to_rgb(raw), yuyv_twin(raw))


def test_colours_that_everybody_knows() -> None:
    """Black, white and the primaries of BT.601's limited range come out within one level."""
    for yuv, rgb in (
        ((16, 128, 128), (0, 0, 0)), ((235, 128, 128), (255, 255, 255)), ((81, 90, 240), (255, 0, 0)),
        ((145, 54, 34), (0, 255, 0)), ((41, 240, 110), (0, 0, 255)), ((126, 128, 128), (128, 128, 128)),
    ):  # fmt: skip
        raw = np.empty((2, 2, 2), np.uint8)
        raw[..., 0], raw[:, 0, 1], raw[:, 1, 1] = yuv
        assert np.abs(_core.yuyv_to_rgb(raw).astype(int) - rgb).max() <= 1
        planes = np.array([[yuv[0]] * 2] * 2 + [list(yuv[1:])], np.uint8)
        assert np.array_equal(_core.nv12_to_rgb(planes), _core.yuyv_to_rgb(raw))


@settings(deadline=None)
@given(height=st.integers(1, 40), width=EVEN, seed=st.integers(0, 2**32))
def test_yuyv_of_any_size(height: int, width: int, seed: int) -> None:
    raw = noise(height, width, 2, seed=seed)
    assert np.array_equal(_core.yuyv_to_rgb(raw), yuyv_twin(raw))


@settings(deadline=None)
@given(height=EVEN, width=EVEN, seed=st.integers(0, 2**32))
def test_nv12_of_any_size(height: int, width: int, seed: int) -> None:
    raw = noise(height * 3 // 2, width, seed=seed)
    assert np.array_equal(_core.nv12_to_rgb(raw), nv12_twin(raw))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (1080, 1920), (482, 646)])
def test_the_sizes_of_cameras(height: int, width: int) -> None:
    yuyv, nv12 = noise(height, width, 2), noise(height * 3 // 2, width)
    assert np.array_equal(_core.yuyv_to_rgb(yuyv), yuyv_twin(yuyv))
    assert np.array_equal(_core.nv12_to_rgb(nv12), nv12_twin(nv12))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("yuyv_to_rgb", a) for a in (
            noise(4, 4), noise(4, 5, 2), noise(4, 4, 3), noise(0, 4, 2), noise(4, 0, 2), noise(8, 4, 2)[::2],
            noise(4, 4, 2).astype(np.int8), noise(1, 8194, 2), noise(8193, 2, 2),
        )),
        *(("nv12_to_rgb", a) for a in (
            noise(4, 4), noise(6, 5), noise(6, 4, 1), noise(0, 4), noise(6, 0), noise(12, 4)[::2], noise(3, 8194),
            noise(12291, 2), noise(6, 4).astype(np.uint16),
        )),
    ],
)  # fmt: skip
def test_other_arrays_are_refused(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        getattr(_core, name)(wrong)
