"""Whether the Edge TPU compiler would map a whole .tflite by its published rules, and whether it fits on the chip.

The rules are those of https://coral.ai/docs/edgetpu/models-intro/ ("Model requirements", "Supported operations"). The
compiler also refuses operators for reasons that it does not publish, so its own log has the last word.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facesdk.errors import InputError, ModelIntegrityError

MAX_FILE = 256 << 20
MAX_COUNT = 1 << 16  # operators, tensors or buffers
MAX_OPERANDS = 256
ON_CHIP = 8 << 20
# What the compiler left for parameters ("used" + "remaining") in ten public logs: 6.08 to 7.84 MiB, the rest holds
# the executable and scratch. E.g. google-coral/edgetpu issues 512 (6.89), 147 (7.47), 433 (6.12); docs/edge-tpu.md.
CAPACITY = int(6.08 * (1 << 20))
COMPILED = "edgetpu-custom-op"

# Codes and types of TFLite's schema.fbs.
_OP_NAMES = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC "
    "LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH "
    "SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN "
    "GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM "
    "STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM "
    "CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN "
    "TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT "
    "REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY "
    "SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS "
    "SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE "
    "MATRIX_SET_DIAG ROUND HARD_SWISH"
)
_TYPE_NAMES = "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64"
OPS, TYPES = dict(enumerate(_OP_NAMES.split())), dict(enumerate(_TYPE_NAMES.split()))


class _Reader:
    """A flatbuffer that trusts nothing: every offset is checked against the file. struct.error becomes ours in check.

    Source of the layout: https://flatbuffers.dev/internals/.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def scalar(self, kind: str, at: int) -> Any:
        if at < 0:
            raise struct.error("an offset points in front of the file")
        return struct.unpack_from("<" + kind, self.data, at)[0]

    def root(self) -> int:
        return int(self.scalar("I", 0))

    def field(self, table: int, index: int) -> int:
        """Position of a table's field, 0 where it is not there."""
        vtable = table - self.scalar("i", table)
        if 4 + 2 * index >= self.scalar("H", vtable):
            return 0
        offset = self.scalar("H", vtable + 4 + 2 * index)
        return table + offset if offset else 0

    def number(self, table: int, index: int, kind: str, default: int = 0) -> int:
        at = self.field(table, index)
        return int(self.scalar(kind, at)) if at else default

    def table(self, table: int, index: int) -> int:
        at = self.field(table, index)
        return at + int(self.scalar("I", at)) if at else 0

    def vector(self, table: int, index: int, size: int, *, most: int) -> tuple[int, int]:
        """(position, count) of a vector of elements of `size` bytes, all of them inside the file."""
        at = self.table(table, index)
        if not at:
            return 0, 0
        count = self.scalar("I", at)
        if count > most or at + 4 + count * size > len(self.data):
            raise struct.error(f"a vector of {count} elements is too long")
        return at + 4, count

    def numbers(self, table: int, index: int, kind: str) -> list[Any]:
        at, count = self.vector(table, index, struct.calcsize("<" + kind), most=MAX_COUNT)
        return list(struct.unpack_from(f"<{count}{kind}", self.data, at)) if count else []

    def tables(self, table: int, index: int, *, most: int = MAX_COUNT) -> list[int]:
        at, count = self.vector(table, index, 4, most=most)
        return [at + 4 * i + self.scalar("I", at + 4 * i) for i in range(count)]

    def text(self, table: int, index: int) -> str:
        at, count = self.vector(table, index, 1, most=1024)
        return self.data[at : at + count].decode("utf-8", "replace")


@dataclass(frozen=True)
class Tensor:
    """One tensor. shape has -1 where it is not fixed; scales: how many, 0 if not quantized; bytes: of a constant."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: int
    zero_point: int
    constant: bool
    bytes: int
    buffer: int


@dataclass(frozen=True)
class _Op:
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    option: Callable[[int, str], int]  # index and kind of a field of the operator's own options


class _Model:
    def __init__(self, data: bytes) -> None:
        self.reader = reader = _Reader(data)
        if data[4:8] != b"TFL3":
            raise struct.error("it does not begin as a TFLite model")
        root = reader.root()
        self.codes = [self._code(t) for t in reader.tables(root, 1, most=1024)]
        subgraphs = reader.tables(root, 2, most=1024)
        if len(subgraphs) != 1:
            raise struct.error(f"it has {len(subgraphs)} subgraphs, one was expected")
        self.buffers = reader.tables(root, 4)
        self.tensors = [self._tensor(t) for t in reader.tables(subgraphs[0], 0)]
        self.ops = [self._op(t) for t in reader.tables(subgraphs[0], 3)]

    def _code(self, table: int) -> str:
        # Codes up to 127 stand in the old field alone in old files, in both in new ones.
        code = max(self.reader.number(table, 0, "b"), self.reader.number(table, 3, "i"))
        name = OPS.get(code, f"operator {code}")
        return self.reader.text(table, 1) if name == "CUSTOM" else name

    def _tensor(self, table: int) -> Tensor:
        reader = self.reader
        shape = tuple(reader.numbers(table, 7, "i") or reader.numbers(table, 0, "i"))
        buffer = reader.number(table, 2, "I")
        if buffer >= len(self.buffers) or len(shape) > 8 or any(n < -1 for n in shape):
            raise struct.error("a tensor's shape or buffer makes no sense")
        size = reader.vector(self.buffers[buffer], 0, 1, most=MAX_FILE)[1]
        if reader.number(self.buffers[buffer], 1, "Q") > 1:
            raise struct.error("its buffers lie outside of the flatbuffer, which is not read")
        quantization = reader.table(table, 4)
        scales = reader.numbers(quantization, 2, "f") if quantization else []
        zeros = reader.numbers(quantization, 3, "q") if quantization else []
        if not all(math.isfinite(s) for s in scales):
            raise struct.error("a scale is not a finite number")
        kind = reader.number(table, 1, "b")
        return Tensor(
            reader.text(table, 3), TYPES.get(kind, f"type {kind}"), shape, len(scales), zeros[0] if zeros else 0,
            size > 0, size, buffer,
        )  # fmt: skip

    def _op(self, table: int) -> _Op:
        reader = self.reader
        code, options = reader.number(table, 0, "I"), reader.table(table, 4)
        if code >= len(self.codes):
            raise struct.error("an operator has a code that is not there")
        return _Op(
            self.codes[code], self._operands(table, 1), self._operands(table, 2),
            lambda index, kind: reader.number(options, index, kind) if options else 0,
        )  # fmt: skip

    def _operands(self, table: int, field: int) -> list[Tensor]:
        indexes = self.reader.numbers(table, field, "i")
        if len(indexes) > MAX_OPERANDS or any(not -1 <= i < len(self.tensors) for i in indexes):
            raise struct.error("an operator names tensors that are not there")
        return [self.tensors[i] for i in indexes if i >= 0]


def _fused(index: int) -> Callable[[_Op], str]:
    return lambda op: "a fused activation is not supported" if op.option(index, "b") else ""


def _dilation(first: int) -> Callable[[_Op], str]:
    return lambda op: (
        "dilation must be the same in x and y"
        if (op.option(first, "i") or 1) != (op.option(first + 1, "i") or 1)
        else ""
    )


def _inner(tensor: Tensor) -> int:
    return sum(n > 1 for n in tensor.shape)


def _concatenation(op: _Op) -> str:
    if any(t.constant for t in op.inputs) and len(op.inputs) != 2:
        return "with a constant input there may be two inputs only"
    return _fused(1)(op)


def _fully_connected(op: _Op) -> str:
    return "only the default format of weights is supported" if op.option(1, "b") else ""


def _prelu(op: _Op) -> str:
    return "alpha may be larger than 1 in its innermost dimension only" if _inner(op.inputs[-1]) > 1 else ""


def _softmax(op: _Op) -> str:
    flat = math.prod(op.inputs[0].shape) <= 16000 and _inner(op.inputs[0]) <= 1
    return "" if flat else "only one dimension of at most 16,000 elements is supported"


def _strided_slice(op: _Op) -> str:
    return "ellipsis and new-axis masks must be 0" if op.option(2, "i") or op.option(3, "i") else ""


def _any(_op: _Op) -> str:
    return ""


_UNCONDITIONAL = (
    "ADD EXPAND_DIMS L2_NORMALIZATION LOGISTIC LSTM MAXIMUM MEAN MINIMUM MUL PACK PAD QUANTIZE REDUCE_MAX REDUCE_MIN "
    "RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SPACE_TO_DEPTH SPLIT "
    "SQUARED_DIFFERENCE SQUEEZE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV"
)
RULES: dict[str, Callable[[_Op], str]] = {
    **dict.fromkeys(_UNCONDITIONAL.split(), _any),
    "AVERAGE_POOL_2D": _fused(5), "MAX_POOL_2D": _fused(5), "CONCATENATION": _concatenation,
    "CONV_2D": _dilation(4), "DEPTHWISE_CONV_2D": _dilation(5), "FULLY_CONNECTED": _fully_connected,
    "PRELU": _prelu, "SOFTMAX": _softmax, "STRIDED_SLICE": _strided_slice, COMPILED: _any,
}  # fmt: skip


def _refusal(op: _Op) -> str:
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


def _parameters(op: _Op) -> list[Tensor]:
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
        return _report(path, _Model(data).ops, size=len(data))
    except struct.error as error:
        raise ModelIntegrityError(f"{path} is not a TFLite model that can be read: {error}") from error


def _report(path: Path, ops: list[_Op], *, size: int) -> dict[str, Any]:
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
