"""SFace and MobileFaceNet read from the files of their origins into a Network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from onnx import numpy_helper
from package import Add, Conv, Network, fold_batchnorm, same_padding
from rewrites import fold_batchnorm_forward

# (x - 127.5) / 128 of a byte x is (q + 0.5) / 128 for q = x - 128. The shipped networks read q / 128, so that an int8
# input tensor holds q itself; the half step goes into the first bias (exact but for the outermost padded pixels).
HALF_STEP = 0.5 / 128.0


def _shift_input(conv: Conv) -> Conv:
    return Conv(**{**vars(conv), "bias": conv.bias + HALF_STEP * conv.weights.sum(axis=(1, 2, 3))})


def read_sface(path: Path) -> Network:
    """SFace of the OpenCV Zoo: block-quantized weights made float, every BatchNormalization folded."""
    graph = onnx.load(str(path)).graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            values[node.output[0]] = _dequantize(node, values)
        elif node.op_type == "Reshape" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].reshape(values[node.input[1]])
    network, size, last = Network("sface", 112), 112, "input"
    pending: tuple[np.ndarray, np.ndarray] | None = None
    for node in graph.node:
        if node.op_type == "Conv":
            conv, size = _onnx_conv(node, values, size=size, source=last)
            network.nodes.append(conv)
            last = conv.name
        elif node.op_type == "BatchNormalization":
            scale, shift = _batchnorm(node, values)
            if node.name == "bn1":  # stands after a PReLU, so it goes into the layer that follows
                pending = scale, shift
            else:
                network.nodes[-1] = fold_batchnorm(network.nodes[-1], scale, shift)
        elif node.op_type == "PRelu":
            slope = values[node.input[1]].astype(np.float64).reshape(-1)
            network.nodes[-1] = Conv(**{**vars(network.nodes[-1]), "slope": slope})
        elif node.op_type == "Gemm":
            weights = values[node.input[1]].astype(np.float64)
            kernel = weights.reshape(weights.shape[0], -1, size, size).transpose(0, 2, 3, 1)
            conv = Conv("features", last, kernel, values[node.input[2]].astype(np.float64), 1, (0, 0, 0, 0))
            assert pending is not None
            network.nodes.append(fold_batchnorm_forward(conv, *pending))
        elif node.op_type not in ("DequantizeLinear", "Reshape", "Sub", "Mul", "Constant", "Dropout", "Flatten"):
            raise ValueError(f"{path}: {node.op_type} was not expected here")
    network.nodes[0] = _shift_input(network.nodes[0])
    return network


def _dequantize(node: onnx.NodeProto, values: dict[str, np.ndarray]) -> np.ndarray:
    attributes = {a.name: a.i for a in node.attribute}
    data, scale, zero = (values[name].astype(np.float64) for name in node.input)
    axis, block = attributes.get("axis", 1), attributes["block_size"]
    grow = [np.repeat(v, block, axis=axis).take(range(data.shape[axis]), axis=axis) for v in (scale, zero)]
    return (data - grow[1]) * grow[0]


def _batchnorm(node: onnx.NodeProto, values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (values[name].astype(np.float64) for name in node.input[1:5])
    epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _onnx_conv(node: onnx.NodeProto, values: dict[str, np.ndarray], *, size: int, source: str) -> tuple[Conv, int]:
    attributes = {a.name: (list(a.ints) or a.i) for a in node.attribute}
    weights = values[node.input[1]].astype(np.float64).transpose(0, 2, 3, 1)
    top, left, bottom, right = attributes["pads"]
    stride = attributes["strides"][0]
    conv = Conv(
        node.name, source, weights, np.zeros(weights.shape[0]), stride, (top, bottom, left, right),
        depthwise=attributes["group"] > 1,
    )  # fmt: skip
    return conv, (size + top + bottom - weights.shape[1]) // stride + 1


def read_mobilefacenet(path: Path) -> Network:
    """MobileFaceNet of sirius-ai as its TFLite file has it; PReLU stands there as RELU, ABS, SUB, MUL, ADD."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    network = Network("mobilefacenet", 112)
    alias = {interpreter.get_input_details()[0]["index"]: "input"}
    halves: dict[int, tuple[str, np.ndarray]] = {}
    relu: dict[int, str] = {}
    for op in interpreter._get_ops_details():
        inputs, output = [int(i) for i in op["inputs"]], int(op["outputs"][0])
        kind = op["op_name"]
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights, bias = (interpreter.get_tensor(i).astype(np.float64) for i in inputs[1:3])
            conv = _tflite_conv(kind, tensors, op, weights=weights, bias=bias, source=alias[inputs[0]])
            network.nodes.append(conv)
            alias[output] = conv.name
        elif kind == "RELU":
            relu[output] = alias[inputs[0]]
        elif kind == "MUL":  # the constant is half the slope
            halves[output] = alias[inputs[1]], 2.0 * interpreter.get_tensor(inputs[0]).astype(np.float64)
        elif kind == "ADD" and inputs[0] in relu and inputs[1] in halves:
            name, slope = halves[inputs[1]]
            assert network.nodes[-1].name == name == relu[inputs[0]]
            network.nodes[-1] = Conv(**{**vars(network.nodes[-1]), "slope": slope})
            alias[output] = name
        elif kind == "ADD":
            network.nodes.append(Add(f"add_{len(network.nodes)}", alias[inputs[0]], alias[inputs[1]]))
            alias[output] = network.nodes[-1].name
        elif kind in ("ABS", "SUB"):
            alias[output] = alias[inputs[0]]
        elif kind not in ("RESHAPE", "DELEGATE"):
            raise ValueError(f"{path}: {kind} was not expected here")
    network.nodes[0] = _shift_input(network.nodes[0])
    network.nodes[-1] = Conv(**{**vars(network.nodes[-1]), "name": "features"})
    return network


def _tflite_conv(kind: str, tensors: dict, op: dict, *, weights: np.ndarray, bias: np.ndarray, source: str) -> Conv:
    size, out = (int(tensors[int(i)]["shape"][1]) for i in (op["inputs"][0], op["outputs"][0]))
    depthwise = kind == "DEPTHWISE_CONV_2D"
    if depthwise:
        weights = weights.transpose(3, 1, 2, 0)
    kernel = weights.shape[1]
    stride = -(-size // out) if out > 1 else 1
    before, after = same_padding(size, kernel, stride) if out == -(-size // stride) else (0, 0)
    name = f"{'depthwise' if depthwise else 'conv'}_{int(op['index'])}"
    return Conv(name, source, weights, bias, stride, (before, after, before, after), depthwise=depthwise)
