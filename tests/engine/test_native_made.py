"""Networks made for the test: what our executor accepts, it computes to LiteRT's bits; the rest it refuses."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import numpy as np
import pytest

from facesdk import _core
from facesdk.engine.building import tflite
from facesdk.engine.building.flatbuffer import Field
from facesdk.engine.building.tflite import SAME, VALID, Graph, Operator, Quantization
from facesdk.engine.runtime import choose_runtime

ADD, CONV, DEPTHWISE = Operator.ADD, Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D
MUL, MAXIMUM = Operator.MUL, Operator.MAXIMUM
RELU, CONCATENATION = 19, 2  # of BuiltinOperator, which facesdk writes none of
STEPS, OTHER_STEPS = (0.05, 3), (0.07, -5)


def steps(scales: float | np.ndarray, zero: int = 0, axis: int = 0) -> Quantization:
    return Quantization(np.atleast_1d(np.asarray(scales, np.float32)), zero, axis)


class Made:
    """A network under construction: each method adds an operator and gives the tensor that it makes."""

    def __init__(self, dtype: str, *, seed: int = 0) -> None:
        self.graph, self.dtype, self.draw = Graph(), dtype, np.random.default_rng(seed)
        self.source = self.image((1, 8, 8, 3), steps(1 / 128))

    def name(self) -> str:
        return f"t{len(self.graph.tensors)}"

    def image(self, shape: Sequence[int], quantization: Quantization | None = None) -> int:
        return self.graph.tensor(self.name(), tuple(shape), self.dtype, quantization if self.dtype == "int8" else None)

    def constant(self, values: np.ndarray, quantization: Quantization | None = None) -> int:
        return self.graph.constant(self.name(), values, quantization)

    def add(self, code: Operator, sources: Sequence[int], target: int, options: Sequence[Field] = ()) -> int:
        self.graph.operator(code, tuple(sources), target, options=options, version=2 if self.dtype == "int8" else 1)
        return target

    def convolution(
        self, source: int, channels: int, kernel: tuple[int, int], *, stride: int = 1, padding: int = SAME,
        depthwise: bool = False, axis: int | None = None, biased: str = "well",
    ) -> int:  # fmt: skip
        _, height, width, inputs = self.graph.tensors[source][1]
        channels = inputs if depthwise else channels
        shape = (1, *kernel, channels) if depthwise else (channels, *kernel, inputs)
        count = kernel[0] * kernel[1] * (1 if depthwise else inputs)
        sides = [-(-n // stride) if padding == SAME else max((n - k) // stride + 1, 1)
                 for n, k in ((height, kernel[0]), (width, kernel[1]))]  # fmt: skip
        target = self.image((1, *sides, channels), steps(*STEPS))
        options = [Field(0, "b", padding), Field(1, "i", stride), Field(2, "i", stride)]
        options += [Field(3, "i", 1)] if depthwise else []
        if self.dtype == "float32":
            weights = self.constant((self.draw.normal(size=shape) / np.sqrt(count)).astype(np.float32))
            bias = self.constant(self.draw.normal(size=channels).astype(np.float32))
        else:
            scale = float(self.graph.tensors[source][4].scales[0])
            own = (STEPS[0] * 0.011 / (scale * np.sqrt(count)) * self.draw.uniform(0.5, 1.5, channels)).astype(
                np.float32
            )
            along = (3 if depthwise else 0) if axis is None else axis
            weights = self.constant(self.draw.integers(-127, 128, shape).astype(np.int8), steps(own, 0, along))
            quantized = {"well": steps(own * np.float32(scale)), "one": steps(1e-4), "none": None}[biased]
            bias = self.constant(self.draw.integers(-3000, 3000, channels).astype(np.int32), quantized)
        code = DEPTHWISE if depthwise else CONV
        self.graph.operator(
            code, (source, weights, bias), target, options=options, version=3 if self.dtype == "int8" else 1
        )
        return target

    def sum(self, first: int, second: int) -> int:
        target = self.image(self.graph.tensors[first][1], steps(*OTHER_STEPS))
        return self.add(ADD, (first, second), target, [Field(0, "b", 0, 1)])

    def prelu(self, source: int, shape: tuple[int, ...]) -> int:
        """As the shipped files have it: MUL and MAXIMUM."""
        product = self.product(source, shape)
        return self.add(MAXIMUM, (source, product), self.image(self.graph.tensors[source][1], steps(*STEPS)))

    def product(self, source: int, shape: tuple[int, ...]) -> int:
        slopes = self.constant(self.draw.integers(-20, 120, shape).astype(np.int8), steps(1 / 127))
        target = self.image(self.graph.tensors[source][1], steps(*STEPS))
        return self.add(MUL, (source, slopes), target, [Field(0, "b", 0, 1)])

    def float_prelu(self, source: int, shape: tuple[int, ...]) -> int:
        slopes = self.constant(self.draw.uniform(0.1, 0.9, shape).astype(np.float32))
        return self.add(Operator.PRELU, (source, slopes), self.image(self.graph.tensors[source][1]))

    def file(self, target: int) -> bytes:
        return self.graph.pack("made", source=self.source, target=target)


def accepted(model: bytes) -> bool:
    """Whether it is; the bits of every variant must be LiteRT's then."""
    found, refusals = [], []
    for variant in _core.native_variants():
        try:
            found.append(_core.native_network(model, variant))
        except _core.RuntimeFailure as refused:
            refusals.append(str(refused))
    assert all("the native executor has no" in text for text in refusals)
    if refusals:
        assert not found
        return False
    theirs = choose_runtime("litert-native").make_network(model)
    draw = np.random.default_rng(9)
    described = theirs.input_info
    for _ in range(3):
        picture = draw.integers(-128, 128, described["shape"]).astype(np.int8)
        if described["dtype"] == "float32":
            picture = draw.normal(size=described["shape"]).astype(np.float32)
        (wanted,) = theirs.run(picture)
        for network in found:
            (came,) = network.run(picture)
            assert came.tobytes() == wanted.tobytes()
    return True


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("channels", "kernel"), [(16, 1), (128, 1), (16, 3), (128, 3)])
def test_a_sum_with_what_the_convolution_reads(dtype: str, channels: int, kernel: int) -> None:
    made = Made(dtype)
    first = made.convolution(made.source, channels, (3, 3))
    second = made.convolution(first, channels, (kernel, kernel))
    # A convolution of so few channels has two pixels in a block, and no sum then.
    paired = (dtype, channels, kernel) == ("int8", 16, 3)
    assert accepted(made.file(made.convolution(made.sum(second, first), 8, (1, 1)))) is not paired


OF_CHANNELS = [((1, 1, 1, 8), True), ((1, 1, 8), True), ((8,), True)]
OF_OTHERS = [((8, 1, 1), False), ((1, 8, 1), False), ((1, 8, 1, 1), False)]


@pytest.mark.parametrize(("shape", "wanted"), [*OF_CHANNELS, *OF_OTHERS])
def test_slopes_are_those_of_channels(shape: tuple[int, ...], wanted: bool) -> None:
    made = Made("int8")
    assert accepted(made.file(made.prelu(made.convolution(made.source, 8, (3, 3)), shape))) is wanted
    made = Made("float32")
    assert accepted(made.file(made.float_prelu(made.convolution(made.source, 8, (3, 3)), shape))) is wanted


@pytest.mark.parametrize("reader", ["sum", "convolution", "nothing"])
def test_a_product_is_read_by_its_maximum_alone(reader: str) -> None:
    made = Made("int8")
    first = made.convolution(made.source, 8, (3, 3))
    product = made.product(first, (1, 1, 1, 8))
    second = made.convolution(first, 8, (1, 1))
    last = {"sum": lambda: made.sum(second, product), "convolution": lambda: made.convolution(product, 8, (3, 3)),
            "nothing": lambda: product}[reader]()  # fmt: skip
    assert not accepted(made.file(last))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5), (5, 5), (4, 7), (7, 7), (16, 1), (17, 1)])
def test_depthwise_kernels(kernel: tuple[int, int]) -> None:
    """Float kernels of more than 25 taps are added in several passes by XNNPACK; sides above 16 are nobody's."""
    made = Made("float32")
    whole = accepted(made.file(made.convolution(made.convolution(made.source, 16, (1, 1)), 0, kernel, depthwise=True)))
    assert whole is (kernel[0] * kernel[1] <= 25 and max(kernel) <= 16)
    made = Made("int8")
    whole = accepted(made.file(made.convolution(made.convolution(made.source, 16, (1, 1)), 0, kernel, depthwise=True)))
    assert whole is (max(kernel) <= 16)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_kernels_larger_than_what_they_are_on(dtype: str, stride: int) -> None:
    made = Made(dtype)
    one = made.convolution(made.source, 8, (8, 8), padding=VALID)
    assert not accepted(made.file(made.convolution(one, 8, (2, 2), stride=stride, padding=VALID)))


def test_negative_values_become_a_positive_zero() -> None:
    made = Made("float32")
    first = made.convolution(made.source, 8, (3, 3))
    relu = made.graph.tensor(made.name(), (1, 8, 8, 8), "float32")
    made.graph.operator(RELU, (first,), relu, version=1)
    assert accepted(made.file(relu))


@pytest.mark.parametrize(
    "how", [{"axis": 3}, {"biased": "none"}, {"biased": "one"}, {"depthwise": True, "axis": 0}], ids=str
)
def test_quantization_that_another_kernel_of_litert_s_would_take(how: dict[str, object]) -> None:
    made = Made("int8")
    first = made.convolution(made.source, 8, (1, 1))
    assert accepted(made.file(made.convolution(first, 8, (3, 3))))
    made = Made("int8")
    first = made.convolution(made.source, 8, (1, 1))
    assert not accepted(made.file(made.convolution(first, 8, (3, 3), **how)))


def test_numbers_too_small_to_be_normal_are_zero() -> None:
    made = Made("float32")
    weights = made.constant(np.full((8, 1, 1, 3), 1e-40, np.float32))
    bias = made.constant(np.zeros(8, np.float32))
    target = made.image((1, 8, 8, 8))
    options = [Field(0, "b", SAME), Field(1, "i", 1), Field(2, "i", 1)]
    made.graph.operator(CONV, (made.source, weights, bias), target, options=options, version=1)
    model = made.file(target)
    large = np.full((1, 8, 8, 3), 1e5, np.float32)
    (wanted,) = choose_runtime("litert-native").make_network(model).run(large)
    for variant in _core.native_variants():
        (came,) = _core.native_network(model, variant).run(large)
        assert came.tobytes() == wanted.tobytes()
        assert not came.any()


def test_a_tensor_without_dimensions_is_refused() -> None:
    made = Made("float32")
    first = made.convolution(made.source, 8, (3, 3))
    made.graph.operator(RELU, (first,), scalar := made.graph.tensor("scalar", (), "float32"), version=1)
    assert not accepted(made.file(scalar))


def test_joins_that_would_grow_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tflite._OPTIONS, CONCATENATION, 10)
    made = Made("float32")
    joined = made.convolution(made.source, 8, (3, 3))
    for number in range(12):
        target = made.graph.tensor(f"joined{number}", (1, 64), "float32")
        made.graph.operator(CONCATENATION, (joined,) * 8, target, options=[Field(0, "i", 1)], version=1)
        joined = target
    assert not accepted(made.file(joined))


def test_a_buffer_whose_bytes_do_not_lie_side_by_side_is_none() -> None:
    made = Made("float32")
    model = made.file(made.convolution(made.source, 8, (3, 3)))
    spread = np.zeros(2 * len(model), np.uint8)
    spread[::2] = np.frombuffer(model, np.uint8)
    for view in (memoryview(spread)[::2], memoryview(spread)[::-1]):
        with pytest.raises(BufferError):
            _core.native_network(view, _core.native_variants()[0])


def test_the_length_of_a_name_is_bounded() -> None:
    made = Made("float32")
    target = made.convolution(made.source, 8, (3, 3))
    made.graph.tensors[target] = ("x" * 100_000, *made.graph.tensors[target][1:])
    assert not accepted(made.file(target))


def reshaped(
    made: Made, source: int, shape: tuple[int, ...], quantization: Quantization | None = None,
    *, says: tuple[int, ...] | None = None,
) -> int:  # fmt: skip
    """says: the shape that the operator is given, () for none."""
    target = made.image(shape, quantization or steps(*STEPS))
    given = shape if says is None else says
    sources = (source, made.constant(np.array(given, np.int32))) if given else (source,)
    made.graph.operator(Operator.RESHAPE, sources, target, version=1)
    return target


@pytest.mark.parametrize("channels", [8, 24, 65, 128])
@pytest.mark.parametrize("bent", [False, True])
def test_rows_become_pixels_of_more_channels(channels: int, bent: bool) -> None:
    """A last convolution over all pixels, as one over rows and one of all columns."""
    made = Made("int8", seed=channels)
    last = made.convolution(made.source, channels, (1, 1))
    last = made.prelu(last, (1, 1, 1, channels)) if bent else last
    rows = reshaped(made, last, (1, 8, 1, 8 * channels))
    over_rows = made.convolution(rows, 0, (8, 1), padding=VALID, depthwise=True)
    assert accepted(made.file(made.convolution(over_rows, 16, (1, 1))))


def refusal(model: bytes) -> str:
    """What the executor has not, by each of its variants; "" where it takes the model."""
    found = set()
    for variant in _core.native_variants():
        try:
            _core.native_network(model, variant)
            found.add("")
        except _core.RuntimeFailure as refused:
            found.add(str(refused).removeprefix("the native executor has no "))
    (one,) = found
    return one


def test_new_shapes_that_are_none_of_rows_are_refused() -> None:
    for says in (None, (1, 8, -1, 32)):
        made = Made("int8")
        last = reshaped(made, made.convolution(made.source, 16, (3, 3)), (1, 8, 4, 32), says=says)
        assert accepted(made.file(made.convolution(last, 8, (3, 3))))  # padded at the sides
    for make, reason in (
        (lambda m, t: reshaped(m, t, (1, 4, 16, 16)), "such new shapes"),  # other rows
        (lambda m, t: reshaped(m, t, (1, 8, 4, 32), steps(*OTHER_STEPS)), "such new shapes"),
        (lambda m, t: reshaped(m, m.source, (1, 8, 4, 6), steps(1 / 128)), "such new shapes"),  # no layer made it
        (lambda m, t: m.prelu(reshaped(m, t, (1, 8, 4, 32)), (1, 1, 1, 32)), "such order of operators"),
        (lambda m, t: m.sum(reshaped(m, t, (1, 8, 4, 32)), reshaped(m, t, (1, 8, 4, 32))), "such new shapes"),
        (lambda m, t: reshaped(m, t, (1, 8, 4, 32), says=(1, 4, 8, 32)), "shapes of this kind"),
        (lambda m, t: reshaped(m, t, (1, 8, 4, 32), says=(1, -1, -1, 32)), "shapes of this kind"),
        (lambda m, t: reshaped(m, t, (1, 8, 4, 32), says=(1, 8, 128)), "shapes of this kind"),
        (lambda m, t: reshaped(m, t, (1, 8, 4, 32), says=()), "operators of this kind"),
    ):
        other = Made("int8")
        target = make(other, other.convolution(other.source, 16, (3, 3)))
        assert refusal(other.file(target)) == reason


def test_a_sum_takes_a_new_shape_that_was_made_before() -> None:
    made = Made("int8")
    half = made.convolution(made.source, 32, (3, 3), stride=2)
    rows = reshaped(made, made.convolution(half, 8, (3, 3)), (1, 4, 1, 32))
    whole = made.convolution(half, 32, (1, 4), padding=VALID)
    assert accepted(made.file(made.sum(whole, rows)))


def test_a_sum_is_not_made_onto_a_new_shape() -> None:
    made = Made("int8")
    half = made.convolution(made.source, 32, (3, 3), stride=2)
    whole = made.convolution(half, 32, (1, 4), padding=VALID)
    rows = reshaped(made, made.convolution(half, 8, (3, 3)), (1, 4, 1, 32))
    assert refusal(made.file(made.sum(whole, rows))) == "such order of operators"


@pytest.mark.parametrize("channels", [2, 6, 7, 8, 9, 16, 24, 25, 36, 42, 56, 72, 88, 100])
def test_floats_of_any_number_of_channels(channels: int) -> None:
    """Vectors of 16, of which the last may have half: convolutions, depthwise ones, sums and slopes."""
    made = Made("float32", seed=channels)
    first = made.convolution(made.source, channels, (3, 3), stride=2)
    across = made.convolution(made.convolution(first, 0, (3, 3), depthwise=True), channels, (1, 1))
    bent = made.float_prelu(made.sum(across, first), (1, 1, channels))
    assert accepted(made.file(made.convolution(bent, 5, (3, 3))))


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (1, 3)])
def test_floats_of_one_channel_are_read_by_one_pixel_alone(kernel: tuple[int, int]) -> None:
    """A larger kernel XNNPACK takes for a depthwise one, whose products it adds in another order."""
    for size, reason in ((kernel, "convolutions of one channel, which XNNPACK adds as depthwise ones"), ((1, 1), "")):
        made = Made("float32")
        one = made.convolution(made.source, 1, (3, 3))
        model = made.file(made.convolution(one, 1, size))
        assert refusal(model) == reason
        assert accepted(model) is (reason == "")


def test_weights_that_a_file_only_claims_take_no_memory() -> None:
    made = Made("float32")
    target = made.convolution(made.source, 8, (1, 1))
    number = made.graph.operators[-1][1][2]  # the bias
    name, _, *rest = made.graph.tensors[number]
    made.graph.tensors[number] = (name, (1 << 14, 1 << 14), *rest)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(made.file(target)) == "weights that are not constant"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB, of 1 GiB


@pytest.mark.parametrize("channels", [12, 24, 40])
def test_a_sum_with_filled_up_channels_gives_no_negative_zero(channels: int) -> None:
    """Biases of -0 and weights of 0, to which the padding's 0 is added."""
    made = Made("float32")
    first = made.convolution(made.source, channels // 2, (1, 1))
    zeros = made.image((1, 8, 8, channels))
    weights = made.constant(np.zeros((channels, 1, 1, channels // 2), np.float32))
    bias = made.constant(np.full(channels, -0.0, np.float32))
    options = [Field(0, "b", SAME), Field(1, "i", 1), Field(2, "i", 1)]
    made.graph.operator(CONV, (first, weights, bias), zeros, options=options, version=1)
    padded = made.image((1, 8, 8, channels))
    amounts = made.constant(np.array([[0, 0], [0, 0], [0, 0], [0, channels - channels // 2]], np.int32))
    made.graph.operator(Operator.PAD, (first, amounts), padded, version=1)
    assert accepted(made.file(made.sum(zeros, padded)))
