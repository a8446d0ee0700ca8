"""The kernels by name through the extension: every variant against the scalar one and against numpy."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from facesdk import _core

VARIANTS: list[str] = _core.variants()
LANE_SIZES = [*range(68), 128, 320, 49152]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
any_float = st.floats(width=32)
coefficient = st.one_of(st.floats(), st.floats(-2, 2), st.floats(-100, 100))
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether all bits agree; one NaN is as good as another, IEEE 754 leaves open which it is."""
    a, b = np.atleast_1d(np.asarray(a, np.float32)), np.atleast_1d(np.asarray(b, np.float32))
    return bool(np.all((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))))


def random_floats(size: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def random_frame(height: int, width: int, *, gray: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    shape = (height, width) if gray else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def bilinear(frame: NDArray[np.uint8], coefficients: tuple[float, ...], size: tuple[int, int]) -> NDArray[np.float64]:
    """The warp in double precision, gray repeated three times, black outside."""
    a, b, c, d, e, f = coefficients
    picture = np.repeat(frame[:, :, None], 3, axis=2) if frame.ndim == 2 else frame
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((*size, 3))
    for dx in (0, 1):
        for dy in (0, 1):
            ix, iy = left + dx, top + dy
            inside = (ix >= 0) & (ix < width) & (iy >= 0) & (iy < height)
            weight = np.where(inside, (1 - np.abs(x - ix)) * (1 - np.abs(y - iy)), 0)
            at = np.clip(iy, 0, height - 1).astype(int), np.clip(ix, 0, width - 1).astype(int)
            total += weight[:, :, None] * picture[at]
    return total


def test_variants_end_with_scalar() -> None:
    assert VARIANTS[-1] == "scalar"
    assert len(set(VARIANTS)) == len(VARIANTS)
    assert _core.variant() == VARIANTS[0]


def test_unknown_variant_is_named() -> None:
    vector = np.ones(3, np.float32)
    for name in ("sse9", "", "SCALAR"):
        with pytest.raises(ValueError, match=f"no kernels are named {name}"):
            _core.dot_f32(name, vector, vector)
        with pytest.raises(ValueError, match="no kernels are named"):
            _core.scale_u8_f32(name, np.ones(3, np.uint8), 1.0, 0.0)
        with pytest.raises(ValueError, match="no kernels are named"):
            _core.warp_u8(name, random_frame(64, 64), IDENTITY, (8, 8))


# dot_f32


@every_variant
def test_dot_agrees_with_numpy_at_all_sizes(variant: str) -> None:
    for size in LANE_SIZES:
        a, b = random_floats(size, 1), random_floats(size, 2)
        exact = np.dot(a.astype(np.float64), b.astype(np.float64))
        magnitude = np.abs(a.astype(np.float64) * b).sum()
        assert abs(_core.dot_f32(variant, a, b) - exact) <= 1e-6 * magnitude
        assert same_bits(_core.dot_f32(variant, a, b), _core.dot_f32("scalar", a, b))


def eight_sums(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    """The documented order of additions, in float32 all the way."""
    partial = np.zeros(8, np.float32)
    for start in range(0, a.size, 8):
        product = a[start : start + 8] * b[start : start + 8]
        partial[: product.size] += product
    p = partial
    return np.float32(((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7])))


@every_variant
@given(data=st.data(), size=st.integers(0, 70))
def test_dot_has_the_bits_of_the_documented_order(variant: str, data: st.DataObject, size: int) -> None:
    a = data.draw(hnp.arrays(np.float32, size, elements=any_float))
    b = data.draw(hnp.arrays(np.float32, size, elements=any_float))
    with np.errstate(all="ignore"):
        expected = eight_sums(a, b)
    assert same_bits(_core.dot_f32(variant, a, b), expected)


@given(size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_compare_is_the_chosen_variant(size: int, seed: int) -> None:
    a, b = random_floats(size, seed), random_floats(size, seed + 1)
    assert same_bits(_core.compare(a, b), _core.dot_f32(VARIANTS[0], a, b))
    assert same_bits(_core.compare(a, b), _core.compare(b, a))


@pytest.mark.parametrize("function", [_core.compare, lambda a, b: _core.dot_f32("scalar", a, b)])
def test_dot_refuses_other_arrays(function) -> None:
    good = np.ones(8, np.float32)
    assert function(good, good) == 8
    for bad, got in (
        (np.ones(8, np.float64), r"float64 of shape \(8\)"),
        (np.ones(8, np.int8), r"int8 of shape \(8\)"),
        (np.ones(8, ">f4"), r">f4 of shape \(8\)"),
        (np.ones((2, 4), np.float32), r"float32 of shape \(2, 4\)"),
        (np.ones((), np.float32), r"float32 of shape \(\)"),
        (np.ones(16, np.float32)[::2], "not C-contiguous"),
        (np.ones(8, np.float32)[::-1], "not C-contiguous"),
        (np.frombuffer(bytes(33), np.uint8)[1:].view(np.float32), "float32 of shape"),
    ):
        for arguments in ((bad, good), (good, bad)):
            with pytest.raises(ValueError, match=f"expected a C-contiguous .*float32 vector, got .*{got}"):
                function(*arguments)
    with pytest.raises(ValueError, match=r"two vectors of one length, got float32 of shape \(8\) and .* \(7\)"):
        function(good, good[:7])
    with pytest.raises(TypeError):
        function([1.0], good)


def test_arrays_from_another_process_are_taken() -> None:
    # What was pickled has a dtype object of its own, which is equal to numpy's but not the same.
    vector = pickle.loads(pickle.dumps(random_floats(9, 3)))
    assert _core.compare(vector, vector) > 0
    frame = pickle.loads(pickle.dumps(random_frame(64, 64)))
    assert np.array_equal(_core.warp_u8("scalar", frame, IDENTITY, (64, 64)), frame)
    line = pickle.loads(pickle.dumps(np.arange(9, dtype=np.uint8)))
    assert np.array_equal(_core.scale_u8_f32("scalar", line, 1.0, 0.0), line)


# scale_u8_f32


@every_variant
@given(size=st.integers(0, 70), seed=st.integers(0, 2**32 - 1), scale=any_float, bias=any_float)
@example(size=49152, seed=1, scale=np.float32(2 / 255), bias=-1.0)
@example(size=256, seed=2, scale=float(np.finfo(np.float32).max), bias=-float(np.finfo(np.float32).max))
def test_scale_has_the_bits_of_two_float_operations(
    variant: str, size: int, seed: int, scale: float, bias: float
) -> None:
    values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = values.astype(np.float32) * np.float32(scale) + np.float32(bias)
    assert same_bits(_core.scale_u8_f32(variant, values, scale, bias), expected)


@every_variant
def test_scale_at_all_sizes(variant: str) -> None:
    for size in LANE_SIZES:
        values = (np.arange(size) * 7 % 256).astype(np.uint8)
        out = _core.scale_u8_f32(variant, values, 1 / 255, 0.0)
        assert out.shape == (size,)
        assert same_bits(out, values.astype(np.float32) * np.float32(1 / 255) + np.float32(0))


@every_variant
def test_scale_refuses_other_arrays(variant: str) -> None:
    for bad, got in (
        (np.ones(8, np.int8), r"int8 of shape \(8\)"),
        (np.ones(8, np.float32), r"float32 of shape \(8\)"),
        (np.ones((2, 4), np.uint8), r"uint8 of shape \(2, 4\)"),
        (np.ones(16, np.uint8)[::2], r"uint8 of shape \(8\), not C-contiguous"),
    ):
        with pytest.raises(ValueError, match=f"expected a C-contiguous .*uint8 vector, got {got}"):
            _core.scale_u8_f32(variant, bad, 1.0, 0.0)


# warp_u8

frame_sizes = st.tuples(st.integers(64, 90), st.integers(64, 90))
out_sizes = st.tuples(st.integers(1, 40), st.integers(1, 90))


@given(
    frame_size=frame_sizes,
    out_size=out_sizes,
    gray=st.booleans(),
    seed=st.integers(0, 1000),
    coefficients=st.tuples(*[coefficient] * 6),
)
@settings(max_examples=300)
def test_warp_variants_agree(
    frame_size: tuple[int, int],
    out_size: tuple[int, int],
    gray: bool,
    seed: int,
    coefficients: tuple[float, ...],
) -> None:
    frame = random_frame(*frame_size, gray=gray, seed=seed)
    expected = _core.warp_u8("scalar", frame, coefficients, out_size)
    assert expected.shape == (*out_size, 3)
    for variant in VARIANTS[:-1]:
        assert np.array_equal(_core.warp_u8(variant, frame, coefficients, out_size), expected)


@every_variant
@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.1, 8),
    centre=st.tuples(st.floats(-20, 100), st.floats(-20, 100)),
    gray=st.booleans(),
)
@settings(max_examples=60)
def test_warp_is_bilinear(variant: str, degrees: float, scale: float, centre: tuple[float, float], gray: bool) -> None:
    # Smooth and black at its edges, so that rounding a coordinate to 1/256 pixel stays below a gray level.
    v, u = np.sin(np.linspace(0, np.pi, 80))[:, None], np.sin(np.linspace(0, np.pi, 72))[None, :]
    plane = np.rint(250 * u * v).astype(np.uint8)
    frame = plane if gray else np.ascontiguousarray(np.stack([plane, plane // 2, plane // 3], axis=2))
    a, b = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    coefficients = (a, -b, centre[0] - 30 * a + 30 * b, b, a, centre[1] - 30 * b - 30 * a)
    out = _core.warp_u8(variant, frame, coefficients, (60, 60))
    assert np.abs(out - bilinear(frame, coefficients, (60, 60))).max() <= 1.0


@every_variant
@pytest.mark.parametrize("gray", [True, False])
def test_warp_by_whole_pixels_is_a_copy(variant: str, gray: bool) -> None:
    frame = random_frame(70, 66, gray=gray)
    expected = np.repeat(frame[:, :, None], 3, axis=2) if gray else frame
    assert np.array_equal(_core.warp_u8(variant, frame, IDENTITY, (70, 66)), expected)
    shifted = _core.warp_u8(variant, frame, (1, 0, 5, 0, 1, 3), (60, 60))
    assert np.array_equal(shifted, expected[3:63, 5:65])
    outside = _core.warp_u8(variant, frame, (1, 0, -200, 0, 1, 0), (60, 60))
    assert not outside.any()


@every_variant
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (8193, 1), (1, 8193)])
def test_warp_refuses_sizes(variant: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"size \(height, width\) of 1 to 8192 pixels, got {size[0]}, {size[1]}"):
        _core.warp_u8(variant, random_frame(64, 64), IDENTITY, size)


@every_variant
def test_warp_refuses_other_maps(variant: str) -> None:
    for coefficients in ((1.0,) * 5, (1.0,) * 7, "identity", None):
        with pytest.raises(TypeError):
            _core.warp_u8(variant, random_frame(64, 64), coefficients, (8, 8))


# gray_u8, table_u8, box_u8, sums_u8, edges_u8

Bytes = NDArray[np.uint8]


@every_variant
@given(size=st.integers(0, 100), seed=st.integers(0, 2**32 - 1))
@example(size=112 * 112, seed=1)
def test_gray_is_the_weighted_sum(variant: str, size: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (size, 3), dtype=np.uint8)
    assert np.array_equal(_core.gray_u8(variant, rgb), (rgb.astype(int) @ [77, 150, 29]) >> 8)


@every_variant
@given(size=st.integers(0, 100), seed=st.integers(0, 2**32 - 1))
@example(size=112 * 112 * 3, seed=1)
def test_table_is_looked_up(variant: str, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, table = rng.integers(0, 256, size, dtype=np.uint8), rng.integers(0, 256, 256, dtype=np.uint8)
    assert np.array_equal(_core.table_u8(variant, values, table), table[values])


@every_variant
@pytest.mark.parametrize("factor", range(1, 9))
@given(side=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), dark=st.booleans())
@settings(max_examples=25)
def test_box_is_the_rounded_mean(variant: str, factor: int, side: int, seed: int, dark: bool) -> None:
    pixels = np.random.default_rng(seed).integers(
        0, 2 if dark else 256, (side * factor, side * factor, 3), dtype=np.uint8
    )
    blocks = pixels.reshape(side, factor, side, factor, 3).sum(axis=(1, 3), dtype=int)
    assert np.array_equal(_core.box_u8(variant, pixels, factor), (blocks + factor**2 // 2) // factor**2)


@every_variant
@given(
    shape=st.tuples(st.integers(3, 9), st.integers(3, 90)),
    low=st.sampled_from([0, 240, 255]),
    seed=st.integers(0, 2**32 - 1),
)
@example(shape=(3, 2048), low=255, seed=0)
@example(shape=(78, 70), low=0, seed=0)
def test_sums_and_edges_are_exact(variant: str, shape: tuple[int, int], low: int, seed: int) -> None:
    gray = np.random.default_rng(seed).integers(low, 256, shape, dtype=np.uint8)
    p = gray.astype(int)
    assert _core.sums_u8(variant, gray) == (p.sum(), (p * p).sum(), (p >= 250).sum())
    edges = 4 * p[1:-1, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:] - p[:-2, 1:-1] - p[2:, 1:-1]
    assert _core.edges_u8(variant, gray) == (edges.sum(), (edges * edges).sum())


def bytes_of(*shape: int) -> Bytes:
    return np.zeros(shape, np.uint8)


@every_variant
@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (_core.gray_u8, (bytes_of(4, 4),)),
        (_core.gray_u8, (bytes_of(12),)),
        (_core.gray_u8, (np.zeros((4, 3), np.int8),)),
        (_core.gray_u8, (bytes_of(3, 4).T,)),
        (_core.table_u8, (bytes_of(4), bytes_of(255))),
        (_core.table_u8, (bytes_of(4, 1), bytes_of(256))),
        (_core.table_u8, (bytes_of(4), np.zeros(256, np.int8))),
        (_core.box_u8, (bytes_of(8, 8, 3), 0)),
        (_core.box_u8, (bytes_of(9, 9, 3), 9)),
        (_core.box_u8, (bytes_of(8, 8, 3), 3)),
        (_core.box_u8, (bytes_of(8, 6, 3), 2)),
        (_core.box_u8, (bytes_of(8, 8, 4), 2)),
        (_core.sums_u8, (bytes_of(2, 2049),)),
        (_core.sums_u8, (bytes_of(8193, 1),)),
        (_core.sums_u8, (bytes_of(8),)),
        (_core.edges_u8, (bytes_of(2, 8),)),
        (_core.edges_u8, (bytes_of(8, 2),)),
        (_core.edges_u8, (bytes_of(3, 2049),)),
    ],
)
def test_byte_kernels_refuse_other_arrays(
    variant: str, call: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got"):
        call(variant, *arguments)


def test_byte_kernels_name_an_unknown_variant() -> None:
    for call in (
        lambda: _core.gray_u8("sse9", bytes_of(4, 3)),
        lambda: _core.table_u8("sse9", bytes_of(4), bytes_of(256)),
        lambda: _core.box_u8("sse9", bytes_of(4, 4, 3), 2),
        lambda: _core.sums_u8("sse9", bytes_of(4, 4)),
        lambda: _core.edges_u8("sse9", bytes_of(4, 4)),
    ):
        with pytest.raises(ValueError, match="no kernels are named sse9"):
            call()
