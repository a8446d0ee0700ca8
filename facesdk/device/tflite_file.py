"""Whether the Edge TPU compiler would map a whole .tflite by its published rules, and whether it fits on the chip.

The rules are those of https://coral.ai/docs/edgetpu/models-intro/ ("Model requirements", "Supported operations"). The
compiler also refuses operators for reasons that it does not publish, so its own log has the last word.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_FILE = 256 << 20
MAX_COUNT = 1 << 16  # operators, tensors or buffers
MAX_OPERANDS = 256

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
class Op:
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    option: Callable[[int, str], int]  # index and kind of a field of the operator's own options


class Model:
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

    def _op(self, table: int) -> Op:
        reader = self.reader
        code, options = reader.number(table, 0, "I"), reader.table(table, 4)
        if code >= len(self.codes):
            raise struct.error("an operator has a code that is not there")
        return Op(
            self.codes[code], self._operands(table, 1), self._operands(table, 2),
            lambda index, kind: reader.number(options, index, kind) if options else 0,
        )  # fmt: skip

    def _operands(self, table: int, field: int) -> list[Tensor]:
        indexes = self.reader.numbers(table, field, "i")
        if len(indexes) > MAX_OPERANDS or any(not -1 <= i < len(self.tensors) for i in indexes):
            raise struct.error("an operator names tensors that are not there")
        return [self.tensors[i] for i in indexes if i >= 0]
