"""Which operators of a .tflite run on an Edge TPU, and whether its parameters fit, by the published rules."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facesdk.device.tflite_file import MAX_FILE, Model, Op, Tensor
from facesdk.errors import InputError, ModelIntegrityError

ON_CHIP = 8 << 20


# What the compiler left for parameters ("used" + "remaining") in ten public logs: 6.08 to 7.84 MiB, the rest holds
# the executable and scratch. E.g. google-coral/edgetpu issues 512 (6.89), 147 (7.47), 433 (6.12); docs/edge-tpu.md.
CAPACITY = int(6.08 * (1 << 20))


COMPILED = "edgetpu-custom-op"


def _fused(index: int) -> Callable[[Op], str]:
    return lambda op: "a fused activation is not supported" if op.option(index, "b") else ""


def _dilation(first: int) -> Callable[[Op], str]:
    return lambda op: (
        "dilation must be the same in x and y"
        if (op.option(first, "i") or 1) != (op.option(first + 1, "i") or 1)
        else ""
    )


def _inner(tensor: Tensor) -> int:
    return sum(n > 1 for n in tensor.shape)


def _concatenation(op: Op) -> str:
    if any(t.constant for t in op.inputs) and len(op.inputs) != 2:
        return "with a constant input there may be two inputs only"
    return _fused(1)(op)


def _fully_connected(op: Op) -> str:
    return "only the default format of weights is supported" if op.option(1, "b") else ""


def _prelu(op: Op) -> str:
    return "alpha may be larger than 1 in its innermost dimension only" if _inner(op.inputs[-1]) > 1 else ""


def _softmax(op: Op) -> str:
    flat = math.prod(op.inputs[0].shape) <= 16000 and _inner(op.inputs[0]) <= 1
    return "" if flat else "only one dimension of at most 16,000 elements is supported"


def _strided_slice(op: Op) -> str:
    return "ellipsis and new-axis masks must be 0" if op.option(2, "i") or op.option(3, "i") else ""


def _any(_op: Op) -> str:
    return ""


_UNCONDITIONAL = (
    "ADD EXPAND_DIMS L2_NORMALIZATION LOGISTIC LSTM MAXIMUM MEAN MINIMUM MUL PACK PAD QUANTIZE REDUCE_MAX REDUCE_MIN "
    "RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SPACE_TO_DEPTH SPLIT "
    "SQUARED_DIFFERENCE SQUEEZE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV"
)


RULES: dict[str, Callable[[Op], str]] = {
    **dict.fromkeys(_UNCONDITIONAL.split(), _any),
    "AVERAGE_POOL_2D": _fused(5), "MAX_POOL_2D": _fused(5), "CONCATENATION": _concatenation,
    "CONV_2D": _dilation(4), "DEPTHWISE_CONV_2D": _dilation(5), "FULLY_CONNECTED": _fully_connected,
    "PRELU": _prelu, "SOFTMAX": _softmax, "STRIDED_SLICE": _strided_slice, COMPILED: _any,
}  # fmt: skip


def _refusal(op: Op) -> str:
    """Why the published rules do not map the operator; empty where they do."""
    if op.name not in RULES:
        return "is not among the supported operations"
    if op.name == COMPILED:
        return ""
    if not op.inputs or not op.outputs:
        return "has no input or no output"
    for tensor in (*op.inputs, *op.outputs):
        if tensor.constant and tensor.dtype in ("int32", "int64"):
            continue  # bias, paddings, shapes
        if tensor.dtype not in ("int8", "uint8"):
            return f"{tensor.name} is {tensor.dtype}; int8 or uint8 was expected"
        if not tensor.scales:
            return f"{tensor.name} is not quantized"
        if min(tensor.shape, default=1) < 1:
            return f"{tensor.name} has no fixed shape"
        if any(n > 1 for n in tensor.shape[:-3]) and not tensor.constant:
            return f"{tensor.name} has more than three dimensions larger than 1"
    return RULES[op.name](op)


def _parameters(op: Op) -> list[Tensor]:
    """Constants that the chip must hold: weights, and biases."""
    weighted = op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
    return [t for t in op.inputs if t.constant and (t.dtype in ("int8", "uint8") or (weighted and t.dtype == "int32"))]


def check(path: Path) -> dict[str, Any]:
    """What the compiler would do with the file: operators in order, what splits the graph, parameters and the chip.

    ops: name, inputs, outputs, maps (by the rules), reason (why not), runs_on ("Edge TPU", or "CPU": only the first
    unbroken row of mappable operators runs on the chip). fits: parameters of that row <= capacity_bytes. ok: all maps
    and fits. InputError if the file cannot be read, ModelIntegrityError if it is no TFLite model.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(data) > MAX_FILE:
            raise struct.error(f"it is larger than {MAX_FILE >> 20} MB")
        return _report(path, Model(data).ops, size=len(data))
    except struct.error as error:
        raise ModelIntegrityError(f"{path} is not a TFLite model that can be read: {error}") from error


def _report(path: Path, ops: list[Op], *, size: int) -> dict[str, Any]:
    reasons = [_refusal(op) for op in ops]
    start = next((i for i, r in enumerate(reasons) if not r), len(ops))
    end = next((i for i in range(start, len(ops)) if reasons[i]), len(ops))
    held = {t.buffer: t.bytes for op in ops[start:end] for t in _parameters(op)}
    rows = [
        {"index": i, "name": op.name, "inputs": [asdict(t) for t in op.inputs],
         "outputs": [asdict(t) for t in op.outputs], "maps": not reasons[i], "reason": reasons[i],
         "runs_on": "Edge TPU" if start <= i < end else "CPU"}
        for i, op in enumerate(ops)
    ]  # fmt: skip
    parameters, everything = sum(held.values()), bool(ops) and not any(reasons)
    return {
        "file": str(path), "size": size, "compiled": any(op.name == COMPILED for op in ops), "ops": rows,
        "all_map": everything, "split_by": [i for i, r in enumerate(reasons) if r], "on_edge_tpu": end - start,
        "parameter_bytes": parameters, "capacity_bytes": CAPACITY, "on_chip_bytes": ON_CHIP,
        "fits": parameters <= CAPACITY, "ok": everything and parameters <= CAPACITY,
    }  # fmt: skip
