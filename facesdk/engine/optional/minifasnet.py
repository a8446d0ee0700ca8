"""MiniFASNet's layers from its state_dict.

Source of the structure: github.com/minivision-ai/Silent-Face-Anti-Spoofing, src/model_lib/MiniFASNet.py (Apache-2.0):
convolutions with batch normalization and PReLU, inverted residuals, in the SE variants squeeze-and-excitation, then a
linear layer with batch normalization, and another with softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from facesdk.engine.building.network import Add, Array, Conv, Mean, Network, Scale, Sigmoid, Softmax, fold_batchnorm
from facesdk.errors import InputError

PREFIX = "module."  # of nn.DataParallel, with which they were trained
EPSILON = 1e-5  # of torch.nn.BatchNorm1d and 2d
# In order: a block that halves the size, then residual blocks.
STAGES = (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5"))
MAX_BLOCKS = 16
CLASSES = 3
_PADDED, _BARE = (1, 1, 1, 1), (0, 0, 0, 0)


def minifasnet(name: str, tensors: Mapping[str, Any]) -> Network:
    """The network of a state_dict, batch normalization folded; its output is softmax over three classes.

    Folding takes only operations on single float64 numbers, so that every machine makes the same bytes. The input's
    side is 16 times that of the last depthwise kernel. InputError where a tensor is missing, left over, of another
    shape, or has values that are no numbers.
    """
    reader = _Reader(tensors)
    network = Network(name, 16 * reader.side("conv_6_dw.conv.weight"))
    layers = _Layers(reader, network)
    layers.conv("conv1", stride=2, padding=_PADDED)
    layers.conv("conv2_dw", padding=_PADDED, depthwise=True)
    for down, residual in STAGES:
        layers.block(down, stride=2)
        for index in range(MAX_BLOCKS):
            if reader.has(f"{residual}.model.{index}.conv.conv.weight"):
                layers.block(f"{residual}.model.{index}", residual=True)
    layers.conv("conv_6_sep")
    layers.conv("conv_6_dw", depthwise=True)
    layers.linear("linear", norm="bn")
    layers.linear("prob")
    network.nodes.append(Softmax("live", layers.last))
    reader.check_all_used()
    return network


def _refuse(reason: str) -> NoReturn:
    raise InputError(f"not the tensors of a MiniFASNet: {reason}")


class _Reader:
    """Gives out tensors by name, as float64, and knows which were asked for."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = {
            k.removeprefix(PREFIX): v for k, v in tensors.items() if not k.endswith(".num_batches_tracked")
        }
        self._used: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self._tensors

    def side(self, name: str) -> int:
        """Of a square kernel."""
        return int(self._tensor(name).shape[-1])

    def kernel(self, name: str, *, depthwise: bool) -> Array:
        """(O, kh, kw, I) of a convolution's (O, I, kh, kw) or a linear layer's (O, I)."""
        tensor = self._tensor(name)
        tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        if tensor.ndim != 4 or tensor.shape[2] != tensor.shape[3] or (depthwise and tensor.shape[1] != 1):
            _refuse(f"{name} has the shape {tensor.shape}")
        kernel: Array = tensor.transpose(0, 2, 3, 1)
        return kernel

    def vector(self, name: str, size: int) -> Array:
        tensor = self._tensor(name)
        if tensor.shape != (size,):
            _refuse(f"{name} has the shape {tensor.shape} where ({size},) was expected")
        return tensor

    def batchnorm(self, name: str, size: int) -> tuple[Array, Array]:
        """(scale, shift) of a batch normalization that no longer learns."""
        gamma, beta, mean, variance = (
            self.vector(f"{name}.{part}", size) for part in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance < 0).any():
            _refuse(f"{name} has a negative variance")
        scale = gamma / np.sqrt(variance + EPSILON)
        return scale, beta - mean * scale

    def check_all_used(self) -> None:
        if left := sorted(self._tensors.keys() - self._used):
            _refuse(f"{len(left)} are left over, {left[0]} among them")

    def _tensor(self, name: str) -> Array:
        if name not in self._tensors:
            _refuse(f"{name} is missing")
        self._used.add(name)
        tensor: Array = np.asarray(self._tensors[name], np.float64)
        if tensor.ndim == 0 or tensor.size == 0 or not np.isfinite(tensor).all():
            _refuse(f"{name} is empty or has values that are no finite numbers")
        return tensor


class _Layers:
    """Appends layers to a network. `last`: the node that the next one reads."""

    def __init__(self, reader: _Reader, network: Network) -> None:
        self._reader = reader
        self._network = network
        self._channels = {"input": 3}
        self.last = "input"

    def conv(
        self, name: str, *, stride: int = 1, padding: tuple[int, int, int, int] = _BARE, depthwise: bool = False
    ) -> None:
        """Convolution, batch normalization and, where there are slopes, PReLU."""
        weights = self._reader.kernel(f"{name}.conv.weight", depthwise=depthwise)
        slope = f"{name}.prelu.weight"
        conv = self._conv(name, weights, f"{name}.bn", stride=stride, padding=padding, depthwise=depthwise)
        self._append(replace(conv, slope=self._reader.vector(slope, len(weights)) if self._reader.has(slope) else None))

    def linear(self, name: str, *, norm: str | None = None) -> None:
        weights = self._reader.kernel(f"{name}.weight", depthwise=False)
        if norm is None and len(weights) != CLASSES:
            _refuse(f"it tells {len(weights)} classes apart where {CLASSES} were expected")
        self._append(self._conv(name, weights, norm))

    def block(self, name: str, *, stride: int = 1, residual: bool = False) -> None:
        """1x1, depthwise 3x3, 1x1; with `residual` added to its input, after the gate where there is one."""
        source = self.last
        self.conv(f"{name}.conv")
        self.conv(f"{name}.conv_dw", stride=stride, padding=_PADDED, depthwise=True)
        self.conv(f"{name}.project")
        if not residual:
            return
        if self._reader.has(f"{name}.se_module.fc1.weight"):
            self._gate(f"{name}.se_module")
        if self._channels[source] != self._channels[self.last]:
            _refuse(f"{name} has another number of channels than its input")
        self._append(Add(f"{name}/sum", source, self.last))

    def _gate(self, name: str) -> None:
        """Squeeze and excitation: each channel times a number between 0 and 1 made of all channels' means."""
        gated = self.last
        self._append(Mean(f"{name}/mean", gated))
        squeeze = self._reader.kernel(f"{name}.fc1.weight", depthwise=False)
        relu = np.zeros(len(squeeze))  # ReLU is PReLU with slopes of 0
        self._append(replace(self._conv(f"{name}/squeeze", squeeze, f"{name}.bn1"), slope=relu))
        excite = self._reader.kernel(f"{name}.fc2.weight", depthwise=False)
        self._append(self._conv(f"{name}/excite", excite, f"{name}.bn2"))
        if self._channels[gated] != self._channels[self.last]:
            _refuse(f"{name} has another number of channels than its input")
        self._append(Sigmoid(f"{name}/gate", self.last))
        self._append(Scale(f"{name}/gated", gated, self.last))

    def _conv(
        self, name: str, weights: Array, norm: str | None, *, stride: int = 1,
        padding: tuple[int, int, int, int] = _BARE, depthwise: bool = False,
    ) -> Conv:  # fmt: skip
        wanted = len(weights) if depthwise else weights.shape[3]
        if self._channels[self.last] != wanted:
            _refuse(f"{name} reads {wanted} channels where there are {self._channels[self.last]}")
        conv = Conv(name, self.last, weights, np.zeros(len(weights)), stride, padding, depthwise)
        return conv if norm is None else fold_batchnorm(conv, *self._reader.batchnorm(norm, len(weights)))

    def _append(self, node: Conv | Add | Mean | Sigmoid | Scale) -> None:
        self._channels[node.name] = len(node.weights) if isinstance(node, Conv) else self._channels[node.source]
        self._network.nodes.append(node)
        self.last = node.name
