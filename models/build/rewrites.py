"""The exact rewrites that make a network quantize well.

Every rewrite here keeps the network's function (in exact arithmetic), build.py measures that it does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from package import Conv, Network, Reshape


def fold_batchnorm_forward(conv: Conv, scale: np.ndarray, shift: np.ndarray) -> Conv:
    """x * scale + shift followed by an unpadded `conv`, as one convolution."""
    if any(conv.padding):
        raise ValueError(f"{conv.name} is padded: a shift before it cannot be folded in")
    bias = conv.bias + np.einsum("oyxi,i->o", conv.weights, shift)
    return replace(conv, weights=conv.weights * scale, bias=bias)


def _scale_outputs(network: Network, index: int, factor: np.ndarray, slope: np.ndarray | None) -> None:
    """Multiplies the output channels of node `index` by `factor`, before a PReLU of these slopes, if there is one."""
    node = network.nodes[index]
    scaled = node.weights * factor[:, None, None, None]
    network.nodes[index] = replace(node, weights=scaled, bias=node.bias * factor, slope=slope)


def _scale_inputs(network: Network, index: int, factor: np.ndarray) -> None:
    """Multiplies what node `index` gives, after its PReLU, by `factor`: in the weights of the node that reads it."""
    (following,) = network.consumers(network.nodes[index].name)
    weights = following.weights * (factor[:, None, None, None] if following.depthwise else factor)
    network.nodes[network.nodes.index(following)] = replace(following, weights=weights)


def _activated(network: Network) -> list[int]:
    """Indexes of nodes with a PReLU."""
    return [i for i, n in enumerate(network.nodes) if isinstance(n, Conv) and n.slope is not None]


def turn_slopes(network: Network) -> int:
    """Brings every slope into -1..1, so that PReLU(x) = max(x, slope * x); returns how many channels were turned.

    For a > 1, PReLU_a(x) = -PReLU_{1/a}(-a * x). For a < -1, PReLU_a(x) = max(x, a * x) = PReLU_{1/a}(a * x). Without
    the second, the output would outgrow the range that MAXIMUM makes it share with its input.
    """
    turned = 0
    for index in _activated(network):
        slope = network.nodes[index].slope
        steep = np.abs(slope) > 1.0
        turned += int(steep.sum())
        factor = np.where(steep, -np.abs(slope), 1.0)
        _scale_outputs(network, index, factor, np.where(steep, 1.0 / np.where(steep, slope, 1.0), slope))
        _scale_inputs(network, index, np.where(slope > 1.0, -1.0, 1.0))
    return turned


def equalize(network: Network, peak: dict[str, np.ndarray], *, power: float, bound: float) -> None:
    """Brings the channels of each PReLU's input to like ranges: times (median / peak)^power, within 1/bound..bound.

    peak: largest absolute value of each channel before its PReLU. A positive factor commutes with PReLU. Factors are
    rounded to quarter powers of two, so that the last bits of a calibration run do not show in the file.
    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019.
    """
    for index in _activated(network):
        node = network.nodes[index]
        factor = _factors(peak[node.name], power, bound)
        _scale_outputs(network, index, factor, node.slope)
        _scale_inputs(network, index, 1.0 / factor)


def _factors(ranges: np.ndarray, power: float, bound: float) -> np.ndarray:
    """What brings channels of these ranges to like ones, as equalize says."""
    ranges = np.maximum(ranges, 1e-6)
    factor = np.clip((np.median(ranges) / ranges) ** power, 1.0 / bound, bound)
    return 2.0 ** (np.round(np.log2(factor) * 4) / 4)


def merge_tail(network: Network) -> None:
    """Makes two of three last layers, a depthwise k x k convolution over all pixels and two linear ones of one pixel.

    A depthwise one of k x 1 over rows, and one convolution of all columns: LiteRT runs a k x k one as one small product
    a channel.
    """
    spread, *last = network.nodes[-3:]
    if not all(isinstance(n, Conv) and n.slope is None and not any(n.padding) for n in (spread, *last)):
        raise ValueError("the network does not end in three linear convolutions")
    if not spread.depthwise or any(n.depthwise or n.weights.shape[1:3] != (1, 1) for n in last):
        raise ValueError("the last three convolutions are not a depthwise one and two of one pixel")
    channels, rows, columns, _ = spread.weights.shape
    first, second = (n.weights[:, 0, 0, :] for n in last)
    merged = second @ first
    bias = second @ last[0].bias + last[1].bias + merged @ spread.bias
    by_row = spread.weights[:, :, :, 0].transpose(2, 0, 1).reshape(columns * channels, rows, 1, 1)
    network.nodes[-3:] = [
        Reshape("rows", spread.source, (1, rows, 1, columns * channels)),
        Conv(spread.name, "rows", by_row, np.zeros(columns * channels), 1, (0, 0, 0, 0), depthwise=True),
        Conv(last[1].name, spread.name, np.tile(merged, columns)[:, None, None, :], bias, 1, (0, 0, 0, 0)),
    ]


def equalize_linear(network: Network, index: int, peak: dict[str, np.ndarray], *, power: float, bound: float) -> None:
    """As equalize, its source too, for the output of a node without PReLU, which one convolution alone reads."""
    factor = _factors(peak[network.nodes[index].name], power, bound)
    _scale_outputs(network, index, factor, None)
    _scale_inputs(network, index, 1.0 / factor)
