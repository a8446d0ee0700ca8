"""A Network as bytes of a .tflite file: float, or full int8 (input and output too).

int8 follows https://ai.google.dev/edge/litert/models/quantization_spec: weights symmetric with one scale an output
channel, int32 bias of scale input * weight, activations with one scale and zero point. PReLU with slopes <= 1 becomes
MAXIMUM(x, MUL(x, slope)): XNNPACK takes MUL, and TFLite's MAXIMUM is fast, while int8 PRELU is neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from facesdk.engine.building.flatbuffer import Field
from facesdk.engine.building.network import (
    Add,
    Array,
    Conv,
    Mean,
    Network,
    Node,
    Reshape,
    Scale,
    Sigmoid,
    Softmax,
    same_padding,
)  # fmt: skip
from facesdk.engine.building.tflite import SAME, VALID, Graph, Operator, Quantization

INPUT_SCALE = (1.0 / 128.0, 0)


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """(scale, zero point) of int8 for values low..high, widened to hold 0; the scale has 8 significant bits.

    The rounding (upwards) keeps the last bits of a calibration run out of the file.
    """
    low, high = min(low, 0.0), max(high, 1e-6)
    mantissa, exponent = np.frexp((high - low) / 255.0)
    scale = float(np.ldexp(np.ceil(mantissa * 256.0 - 1e-3) / 256.0, exponent))
    return scale, int(np.clip(np.round(-128.0 - low / scale), -128, 127))


@dataclass
class _Writer:
    """A graph and what is known of the nodes that are in it. ranges: of each node where it becomes int8."""

    ranges: dict[str, tuple[float, float]] | None
    graph: Graph = field(default_factory=Graph)

    @property
    def quantized(self) -> bool:
        return self.ranges is not None

    def quantization(self, node: str) -> tuple[float, int]:
        ranges = cast("dict[str, tuple[float, float]]", self.ranges)
        return INPUT_SCALE if node == "input" else activation_scale(*ranges[node])

    def activation(self, name: str, shape: tuple[int, ...], node: str | None = None) -> int:
        if not self.quantized:
            return self.graph.tensor(name, shape, "float32")
        return self.graph.tensor(name, shape, "int8", _quantization(*self.quantization(node or name)))

    def index(self, node: str) -> int:
        return self.graph.index[node]

    def shape(self, node: str) -> tuple[int, ...]:
        return self.graph.tensors[self.index(node)][1]


def _quantization(scale: float | Array, zero: int = 0, *, axis: int = 0) -> Quantization:
    return Quantization(np.atleast_1d(np.asarray(scale, np.float32)), zero, axis)


def _conv(writer: _Writer, node: Conv) -> None:
    (height, width), (rows, columns) = writer.shape(node.source)[1:3], node.weights.shape[1:3]
    source = writer.index(node.source)
    top, bottom, left, right = node.padding
    same = (*same_padding(height, rows, node.stride), *same_padding(width, columns, node.stride))
    out = (height + top + bottom - rows) // node.stride + 1, (width + left + right - columns) // node.stride + 1
    if any(node.padding) and node.padding != same:
        source = _pad(writer, node, height=height, width=width)
    output_name = node.name if node.slope is None else f"{node.name}/before"
    # A PReLU's output keeps the scale of its input, as MAXIMUM demands.
    shape = (1, *out, node.weights.shape[0])
    weights, bias = _weights(writer, node)
    output = writer.activation(output_name, shape, node.name)
    padding = SAME if any(node.padding) and node.padding == same else VALID
    strides = [Field(0, "b", padding), Field(1, "i", node.stride), Field(2, "i", node.stride)]
    code = Operator.DEPTHWISE_CONV_2D if node.depthwise else Operator.CONV_2D
    options = [*strides, Field(3, "i", 1)] if node.depthwise else strides  # one output a channel
    writer.graph.operator(code, (source, weights, bias), output, options=options, version=3)
    if node.slope is not None:
        _prelu(writer, node, node.slope, source=output, shape=shape)


def _weights(writer: _Writer, node: Conv) -> tuple[int, int]:
    weights, bias, axis = node.weights, node.bias, 0
    if node.depthwise:
        weights, axis = weights.transpose(3, 1, 2, 0), 3
    if not writer.quantized:
        return (
            writer.graph.constant(f"{node.name}/weights", weights.astype(np.float32)),
            writer.graph.constant(f"{node.name}/bias", bias.astype(np.float32)),
        )
    across = tuple(i for i in range(4) if i != axis)
    scale = np.maximum(np.abs(weights).max(axis=across), 1e-9).astype(np.float32) / np.float32(127)
    spread = scale.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(4)])
    integers = np.clip(np.round(weights / spread), -127, 127).astype(np.int8)
    bias_scale = scale * np.float32(writer.quantization(node.source)[0])
    rounded = np.clip(np.round(bias / bias_scale.astype(np.float64)), -(2**31) + 1, 2**31 - 1).astype(np.int32)
    return (
        writer.graph.constant(f"{node.name}/weights", integers, _quantization(scale, axis=axis)),
        writer.graph.constant(f"{node.name}/bias", rounded, _quantization(bias_scale)),
    )


def _pad(writer: _Writer, node: Conv, *, height: int, width: int) -> int:
    top, bottom, left, right = node.padding
    amounts = writer.graph.constant(
        f"{node.name}/padding", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    )
    channels = node.weights.shape[0] if node.depthwise else node.weights.shape[3]
    shape = (1, height + top + bottom, width + left + right, channels)
    padded = writer.activation(f"{node.name}/padded", shape, node.source)
    writer.graph.operator(Operator.PAD, (writer.index(node.source), amounts), padded, version=2)
    return padded


def _prelu(writer: _Writer, node: Conv, slope: Array, *, source: int, shape: tuple[int, ...]) -> None:
    if not writer.quantized:
        constant = writer.graph.constant(f"{node.name}/slope", slope.astype(np.float32).reshape(1, 1, -1))
        output = writer.activation(node.name, shape)
        writer.graph.operator(Operator.PRELU, (source, constant), output, version=1)
        return
    if (slope > 1.0).any():
        raise ValueError(f"{node.name}: slopes over 1 must be turned round first")
    scale = float(np.float32(max(np.abs(slope).max(), 1e-6) / 127.0))
    integers = np.round(slope / scale).clip(-127, 127).astype(np.int8).reshape(1, 1, 1, -1)
    constant = writer.graph.constant(f"{node.name}/slope", integers, _quantization(scale))
    product = writer.activation(f"{node.name}/sloped", shape, node.name)
    output = writer.activation(node.name, shape)
    writer.graph.operator(Operator.MUL, (source, constant), product, version=2)
    writer.graph.operator(Operator.MAXIMUM, (source, product), output, version=2)


def _add(writer: _Writer, node: Add) -> None:
    output = writer.activation(node.name, writer.shape(node.source))
    inputs = writer.index(node.source), writer.index(node.other)
    no_powers_of_two = [Field(1, "?", False, True)]
    writer.graph.operator(Operator.ADD, inputs, output, options=no_powers_of_two, version=2)


def _reshape(writer: _Writer, node: Reshape) -> None:
    shape = writer.graph.constant(f"{node.name}/shape", np.array(node.shape, np.int32))
    output = writer.activation(node.name, node.shape, node.source)
    writer.graph.operator(Operator.RESHAPE, (writer.index(node.source), shape), output, version=1)


def _float_only(writer: _Writer, node: Mean | Sigmoid | Scale | Softmax) -> None:
    if writer.quantized:
        raise ValueError(f"{node.name}: {type(node).__name__} is written in float only")
    source, shape = writer.index(node.source), writer.shape(node.source)
    if isinstance(node, Mean):
        axes = writer.graph.constant(f"{node.name}/axes", np.array([1, 2], np.int32))
        output = writer.activation(node.name, (1, 1, 1, shape[3]))
        keep = [Field(0, "?", True, False)]
        writer.graph.operator(Operator.MEAN, (source, axes), output, options=keep, version=1)
        return
    output = writer.activation(node.name, shape)
    if isinstance(node, Sigmoid):
        writer.graph.operator(Operator.LOGISTIC, (source,), output, version=1)
    elif isinstance(node, Scale):
        writer.graph.operator(Operator.MUL, (source, writer.index(node.other)), output, version=1)
    else:
        writer.graph.operator(Operator.SOFTMAX, (source,), output, options=[Field(0, "f", 1.0)], version=1)


def write(network: Network, ranges: dict[str, tuple[float, float]] | None = None) -> bytes:
    """The network as a .tflite file; int8 if `ranges` gives (low, high) of every node (before its PReLU).

    ValueError for what int8 cannot hold.
    """
    writer = _Writer(ranges)
    writer.activation("input", (1, network.size, network.size, 3))
    for node in network.nodes:
        _write_node(writer, node)
    description = f"facesdk {network.name} {'int8' if ranges else 'float32'}"
    last = network.nodes[-1].name
    return writer.graph.pack(description, source=writer.index("input"), target=writer.index(last))


def _write_node(writer: _Writer, node: Node) -> None:
    if isinstance(node, Conv):
        _conv(writer, node)
    elif isinstance(node, Add):
        _add(writer, node)
    elif isinstance(node, Reshape):
        _reshape(writer, node)
    else:
        _float_only(writer, node)
