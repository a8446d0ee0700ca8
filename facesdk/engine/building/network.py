"""A convolutional network as a list of nodes.

Weights are float64 (O, kh, kw, I); a depthwise node has I = 1. Layout is NHWC.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]
else:
    Array: TypeAlias = Any


@dataclass(frozen=True)
class Conv:
    """Convolution (depthwise if `depthwise`), bias and, where `slope` is given, PReLU with one slope a channel."""

    name: str
    source: str
    weights: Array
    bias: Array
    stride: int
    padding: tuple[int, int, int, int]  # top, bottom, left, right
    depthwise: bool = False
    slope: Array | None = None


@dataclass(frozen=True)
class Add:
    """Sum of two nodes of one shape."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class Mean:
    """Mean over all pixels, one value a channel: (1, 1, 1, channels)."""

    name: str
    source: str


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x)) of each value."""

    name: str
    source: str


@dataclass(frozen=True)
class Scale:
    """Every pixel of `source` times `other`, which has one value a channel."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class Softmax:
    """exp(x) over the sum of exp(x) of all channels."""

    name: str
    source: str


@dataclass(frozen=True)
class Reshape:
    """The numbers of `source`, in their order, as (1, height, width, channels)."""

    name: str
    source: str
    shape: tuple[int, int, int, int]


Node: TypeAlias = "Conv | Add | Mean | Sigmoid | Scale | Softmax | Reshape"


@dataclass
class Network:
    """Nodes in order of execution; the first reads "input" (1, size, size, 3), the last is the output."""

    name: str
    size: int
    nodes: list[Node] = field(default_factory=list)

    def consumers(self, name: str) -> list[Node]:
        """Nodes that read the node `name`."""
        return [n for n in self.nodes if n.source == name or (isinstance(n, Add | Scale) and n.other == name)]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after) as TensorFlow's SAME pads one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def fold_batchnorm(conv: Conv, scale: Array, shift: Array) -> Conv:
    """`conv` followed by y * scale + shift, as one convolution."""
    return replace(conv, weights=conv.weights * scale[:, None, None, None], bias=conv.bias * scale + shift)
