"""A Network as bytes of a .tflite file: float, or full int8 (input and output too).

int8 follows https://ai.google.dev/edge/litert/models/quantization_spec: weights symmetric with one scale an output
channel, int32 bias of scale input * weight, activations with one scale and zero point. PReLU with slopes <= 1 becomes
MAXIMUM(x, MUL(x, slope)): XNNPACK takes MUL, and TFLite's MAXIMUM is fast, while int8 PRELU is neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from network import Add, Conv, Network, same_padding

BUILTIN = schema.BuiltinOperator
TYPES = {np.float32: schema.TensorType.FLOAT32, np.int8: schema.TensorType.INT8, np.int32: schema.TensorType.INT32}
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
    """Collects tensors, buffers and operators of one subgraph."""

    ranges: dict[str, tuple[float, float]] | None
    model: schema.ModelT = field(default_factory=schema.ModelT)
    graph: schema.SubGraphT = field(default_factory=schema.SubGraphT)
    sizes: dict[str, int] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators = [], []
        self.graph.name = b"main"

    def tensor(self, name: str, shape: tuple[int, ...], kind: type, quantization: object = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), TYPES[kind], 0
        tensor.quantization = quantization
        self.graph.tensors.append(tensor)
        self.index[name] = len(self.graph.tensors) - 1
        return self.index[name]

    def constant(self, name: str, data: np.ndarray, quantization: object = None) -> int:
        index = self.tensor(name, data.shape, data.dtype.type, quantization)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(self, code: int, inputs: list[int], output: int, *, options: object, kind: int, version: int) -> None:
        wanted = (code, version)
        codes = [(c.builtinCode, c.version) for c in self.model.operatorCodes]
        if wanted not in codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = code if code < 127 else 127
            self.model.operatorCodes.append(entry)
            codes.append(wanted)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = codes.index(wanted), inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.graph.operators.append(operator)

    @property
    def quantized(self) -> bool:
        return self.ranges is not None

    def quantization(self, node: str) -> tuple[float, int]:
        assert self.ranges is not None
        return INPUT_SCALE if node == "input" else activation_scale(*self.ranges[node])

    def activation(self, name: str, shape: tuple[int, ...], node: str | None = None) -> int:
        if not self.quantized:
            return self.tensor(name, shape, np.float32)
        return self.tensor(name, shape, np.int8, _quantization(*self.quantization(node or name)))


def _quantization(scale: float | np.ndarray, zero: int = 0, *, axis: int = 0) -> object:
    result = schema.QuantizationParametersT()
    result.scale = np.atleast_1d(np.asarray(scale, np.float32))
    result.zeroPoint = np.full(result.scale.shape, zero, np.int64)
    result.quantizedDimension = axis
    return result


def _conv(writer: _Writer, node: Conv) -> None:
    size, kernel = writer.sizes[node.source], node.weights.shape[1]
    source = writer.index[node.source]
    same = same_padding(size, kernel, node.stride) * 2
    out = (size + node.padding[0] + node.padding[1] - kernel) // node.stride + 1
    if any(node.padding) and node.padding != same:
        source = _pad(writer, node, size=size)
    output_name = node.name if node.slope is None else f"{node.name}/before"
    # A PReLU's output keeps the scale of its input, as MAXIMUM demands.
    shape = (1, out, out, node.weights.shape[0])
    weights, bias = _weights(writer, node)
    output = writer.activation(output_name, shape, node.name)
    options = schema.DepthwiseConv2DOptionsT() if node.depthwise else schema.Conv2DOptionsT()
    is_same = any(node.padding) and node.padding == same
    options.padding = schema.Padding.SAME if is_same else schema.Padding.VALID
    options.strideW = options.strideH = node.stride
    options.dilationWFactor = options.dilationHFactor = 1
    if node.depthwise:
        options.depthMultiplier = 1
    code = BUILTIN.DEPTHWISE_CONV_2D if node.depthwise else BUILTIN.CONV_2D
    kind = schema.BuiltinOptions.DepthwiseConv2DOptions if node.depthwise else schema.BuiltinOptions.Conv2DOptions
    writer.operator(code, [source, weights, bias], output, options=options, kind=kind, version=3)
    writer.sizes[node.name] = out
    if node.slope is not None:
        _prelu(writer, node, source=output, shape=shape)


def _weights(writer: _Writer, node: Conv) -> tuple[int, int]:
    weights, bias, axis = node.weights, node.bias, 0
    if node.depthwise:
        weights, axis = weights.transpose(3, 1, 2, 0), 3
    if not writer.quantized:
        return (
            writer.constant(f"{node.name}/weights", weights.astype(np.float32)),
            writer.constant(f"{node.name}/bias", bias.astype(np.float32)),
        )
    across = tuple(i for i in range(4) if i != axis)
    scale = np.maximum(np.abs(weights).max(axis=across), 1e-9).astype(np.float32) / np.float32(127)
    spread = scale.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(4)])
    integers = np.clip(np.round(weights / spread), -127, 127).astype(np.int8)
    bias_scale = scale * np.float32(writer.quantization(node.source)[0])
    rounded = np.clip(np.round(bias / bias_scale.astype(np.float64)), -(2**31) + 1, 2**31 - 1).astype(np.int32)
    return (
        writer.constant(f"{node.name}/weights", integers, _quantization(scale, axis=axis)),
        writer.constant(f"{node.name}/bias", rounded, _quantization(bias_scale)),
    )


def _pad(writer: _Writer, node: Conv, *, size: int) -> int:
    top, bottom, left, right = node.padding
    amounts = writer.constant(
        f"{node.name}/padding", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    )
    channels = node.weights.shape[0] if node.depthwise else node.weights.shape[3]
    shape = (1, size + top + bottom, size + left + right, channels)
    padded = writer.activation(f"{node.name}/padded", shape, node.source)
    kind = schema.BuiltinOptions.PadOptions
    inputs = [writer.index[node.source], amounts]
    writer.operator(BUILTIN.PAD, inputs, padded, options=schema.PadOptionsT(), kind=kind, version=2)
    return padded


def _prelu(writer: _Writer, node: Conv, *, source: int, shape: tuple[int, ...]) -> None:
    slope = node.slope
    assert slope is not None
    if not writer.quantized:
        constant = writer.constant(f"{node.name}/slope", slope.astype(np.float32).reshape(1, 1, -1))
        output = writer.activation(node.name, shape)
        writer.operator(BUILTIN.PRELU, [source, constant], output, options=None, kind=0, version=1)
        return
    if (slope > 1.0).any():
        raise ValueError(f"{node.name}: slopes over 1 must be turned round first")
    scale = float(np.float32(max(np.abs(slope).max(), 1e-6) / 127.0))
    integers = np.round(slope / scale).clip(-127, 127).astype(np.int8).reshape(1, 1, 1, -1)
    constant = writer.constant(f"{node.name}/slope", integers, _quantization(scale))
    product = writer.activation(f"{node.name}/sloped", shape, node.name)
    output = writer.activation(node.name, shape)
    options, kind = schema.MulOptionsT(), schema.BuiltinOptions.MulOptions
    writer.operator(BUILTIN.MUL, [source, constant], product, options=options, kind=kind, version=2)
    options, kind = schema.MaximumMinimumOptionsT(), schema.BuiltinOptions.MaximumMinimumOptions
    writer.operator(BUILTIN.MAXIMUM, [source, product], output, options=options, kind=kind, version=2)


def _add(writer: _Writer, node: Add) -> None:
    shape = tuple(writer.graph.tensors[writer.index[node.source]].shape)
    output = writer.activation(node.name, shape)
    inputs = [writer.index[node.source], writer.index[node.other]]
    options, kind = schema.AddOptionsT(), schema.BuiltinOptions.AddOptions
    options.potScaleInt16 = False
    writer.operator(BUILTIN.ADD, inputs, output, options=options, kind=kind, version=2)
    writer.sizes[node.name] = writer.sizes[node.source]


def write(network: Network, ranges: dict[str, tuple[float, float]] | None = None) -> bytes:
    """The network as a .tflite file; int8 if `ranges` gives (low, high) of every node (before its PReLU)."""
    writer = _Writer(ranges)
    writer.model.description = f"facesdk {network.name} {'int8' if ranges else 'float32'}".encode()
    writer.sizes["input"] = network.size
    writer.activation("input", (1, network.size, network.size, 3))
    for node in network.nodes:
        if isinstance(node, Conv):
            _conv(writer, node)
        else:
            _add(writer, node)
    writer.graph.inputs, writer.graph.outputs = [writer.index["input"]], [writer.index[network.nodes[-1].name]]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(writer.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
