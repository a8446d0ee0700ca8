"""MiniFASNet as its authors' code computes it, straight from the state_dict: nothing folded, NCHW, float64.

What the converted network is compared with. Source: src/model_lib/MiniFASNet.py of Silent-Face-Anti-Spoofing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]
EPSILON = 1e-5


def convolved(
    x: np.ndarray, weights: np.ndarray, *, stride: int = 1, padding: int = 0, depthwise: bool = False
) -> np.ndarray:
    """torch.nn.functional.conv2d of (C, H, W), one kernel position after the other."""
    kernel = weights.shape[2]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    side = (x.shape[1] - kernel) // stride + 1
    result = np.zeros((len(weights), side, side))
    for dy in range(kernel):
        for dx in range(kernel):
            seen = x[:, dy : dy + stride * (side - 1) + 1 : stride, dx : dx + stride * (side - 1) + 1 : stride]
            taps = weights[:, :, dy, dx].astype(np.float64)
            result += seen * taps[:, :, None] if depthwise else np.tensordot(taps, seen, axes=1)
    return result


def normed(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    """torch.nn.BatchNorm2d that no longer learns."""
    gamma, beta, mean, variance = (
        t[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def conv_block(x: np.ndarray, t: Tensors, name: str, **how: object) -> np.ndarray:
    """Convolution, batch normalization, PReLU where there is one."""
    x = normed(convolved(x, t[f"{name}.conv.weight"], **how), t, f"{name}.bn")  # type: ignore[arg-type]
    slope = t.get(f"{name}.prelu.weight")
    return x if slope is None else np.where(x > 0, x, x * slope.astype(np.float64)[:, None, None])


def gated(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    """Squeeze and excitation."""
    means = x.mean(axis=(1, 2), keepdims=True)
    squeezed = np.maximum(normed(convolved(means, t[f"{name}.fc1.weight"]), t, f"{name}.bn1"), 0)
    excited = normed(convolved(squeezed, t[f"{name}.fc2.weight"]), t, f"{name}.bn2")
    return x / (1 + np.exp(-excited))


def block(x: np.ndarray, t: Tensors, name: str, *, stride: int = 1, residual: bool = False) -> np.ndarray:
    """Depth_Wise and Depth_Wise_SE."""
    y = conv_block(x, t, f"{name}.conv")
    y = conv_block(y, t, f"{name}.conv_dw", stride=stride, padding=1, depthwise=True)
    y = conv_block(y, t, f"{name}.project")
    if residual and f"{name}.se_module.fc1.weight" in t:
        y = gated(y, t, f"{name}.se_module")
    return x + y if residual else y


def classes(tensors: Tensors, pixels: np.ndarray) -> np.ndarray:
    """(3,) softmax of what the network makes of (side, side, 3), just as they are."""
    t = {name.removeprefix("module."): value for name, value in tensors.items()}
    x = conv_block(pixels.astype(np.float64).transpose(2, 0, 1), t, "conv1", stride=2, padding=1)
    x = conv_block(x, t, "conv2_dw", padding=1, depthwise=True)
    for down, residual in (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5")):
        x = block(x, t, down, stride=2)
        index = 0
        while f"{residual}.model.{index}.conv.conv.weight" in t:
            x = block(x, t, f"{residual}.model.{index}", residual=True)
            index += 1
    x = conv_block(x, t, "conv_6_sep")
    x = conv_block(x, t, "conv_6_dw", depthwise=True)
    x = (t["linear.weight"].astype(np.float64) @ x.ravel())[:, None, None]
    logits = t["prob.weight"].astype(np.float64) @ normed(x, t, "bn").ravel()
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
