"""The tables of a .tflite file, as far as facesdk writes them.

Source: tensorflow/lite/schema/schema.fbs (version 3). Numbers of slots, operators and options are the schema's.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from facesdk.engine.building.flatbuffer import Builder, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Constant: TypeAlias = NDArray[Any]
else:
    Constant: TypeAlias = Any

IDENTIFIER, VERSION = b"TFL3", 3
SAME, VALID = 0, 1
_TYPES = {"float32": 0, "int32": 2, "int8": 9}


class Operator(enum.IntEnum):
    """BuiltinOperator."""

    ADD = 0
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    LOGISTIC = 14
    MUL = 18
    RESHAPE = 22
    SOFTMAX = 25
    PAD = 34
    MEAN = 40
    PRELU = 54
    MAXIMUM = 55


# BuiltinOptions of each operator; those that are not here have none.
_OPTIONS = {
    Operator.CONV_2D: 1, Operator.DEPTHWISE_CONV_2D: 2, Operator.SOFTMAX: 9, Operator.ADD: 11, Operator.RESHAPE: 17,
    Operator.MUL: 21, Operator.PAD: 22, Operator.MEAN: 27, Operator.MAXIMUM: 39,
}  # fmt: skip


@dataclass(frozen=True)
class Quantization:
    """Scales (one, or one a slice of `axis`), and the zero point that they share."""

    scales: Constant
    zero_point: int = 0
    axis: int = 0


@dataclass
class Graph:
    """Tensors, constants and operators of a model's only subgraph, in the order in which they are added."""

    tensors: list[tuple[str, tuple[int, ...], str, int, Quantization | None]] = field(default_factory=list)
    buffers: list[bytes | None] = field(default_factory=lambda: [None])
    codes: list[tuple[Operator, int]] = field(default_factory=list)
    operators: list[tuple[int, tuple[int, ...], int, Sequence[Field]]] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        quantization: Quantization | None = None,
        *,
        buffer: int = 0,
    ) -> int:
        """Adds a tensor; its number."""
        self.tensors.append((name, shape, dtype, buffer, quantization))
        self.index[name] = len(self.tensors) - 1
        return self.index[name]

    def constant(self, name: str, data: Constant, quantization: Quantization | None = None) -> int:
        """Adds a tensor with its values."""
        self.buffers.append(data.astype(data.dtype.newbyteorder("<")).tobytes())
        return self.tensor(name, data.shape, data.dtype.name, quantization, buffer=len(self.buffers) - 1)

    def operator(
        self, code: Operator, inputs: tuple[int, ...], output: int, *, options: Sequence[Field] = (), version: int
    ) -> None:
        """Adds an operator; options: the fields of its own options."""
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        self.operators.append((self.codes.index((code, version)), inputs, output, options))

    def pack(self, description: str, *, source: int, target: int) -> bytes:
        """The file of a model that reads one of the tensors and gives another."""
        builder = Builder()
        codes = builder.offsets([_code(builder, *code) for code in self.codes])
        tensors = builder.offsets([_tensor(builder, *tensor) for tensor in self.tensors])
        inputs, outputs = _integers(builder, (source,)), _integers(builder, (target,))
        operators = builder.offsets([self._operator(builder, *operator) for operator in self.operators])
        name = builder.text("main")
        parts = (tensors, inputs, outputs, operators, name)
        subgraphs = builder.offsets([builder.table([Field(slot, "o", part) for slot, part in enumerate(parts)])])
        text = builder.text(description)
        buffers = builder.offsets([_buffer(builder, data) for data in self.buffers])
        root = builder.table([
            Field(0, "I", VERSION), Field(1, "o", codes), Field(2, "o", subgraphs), Field(3, "o", text),
            Field(4, "o", buffers),
        ])  # fmt: skip
        return builder.finish(root, IDENTIFIER)

    def _operator(
        self, builder: Builder, code: int, inputs: tuple[int, ...], output: int, options: Sequence[Field]
    ) -> int:
        sources, targets = _integers(builder, inputs), _integers(builder, (output,))
        kind = _OPTIONS.get(self.codes[code][0], 0)
        own = builder.table(options) if kind else 0
        return builder.table([
            Field(0, "I", code), Field(1, "o", sources), Field(2, "o", targets), Field(3, "B", kind),
            Field(4, "o", own),
        ])  # fmt: skip


def _code(builder: Builder, code: Operator, version: int) -> int:
    return builder.table([Field(0, "b", code), Field(2, "i", version, 1), Field(3, "i", code)])


def _tensor(
    builder: Builder, name: str, shape: tuple[int, ...], dtype: str, buffer: int, quantization: Quantization | None
) -> int:
    sides, label = _integers(builder, shape), builder.text(name)
    scales = 0
    if quantization is not None:
        count = quantization.scales.size
        data = quantization.scales.astype("<f4").tobytes()
        values = builder.vector(data, count=count)
        zeros = builder.vector(struct.pack("<q", quantization.zero_point) * count, count=count, alignment=8)
        scales = builder.table([Field(2, "o", values), Field(3, "o", zeros), Field(6, "i", quantization.axis)])
    return builder.table([
        Field(0, "o", sides), Field(1, "b", _TYPES[dtype]), Field(2, "I", buffer), Field(3, "o", label),
        Field(4, "o", scales),
    ])  # fmt: skip


def _buffer(builder: Builder, data: bytes | None) -> int:
    return builder.table([] if data is None else [Field(0, "o", builder.vector(data, count=len(data), alignment=1))])


def _integers(builder: Builder, values: tuple[int, ...]) -> int:
    return builder.vector(np.array(values, "<i4").tobytes(), count=len(values))
