"""Crops of the free portraits to calibrate on, and the ranges that a network's activations take on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from package import Network, write
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

HERE = Path(__file__).parent
FOLDERS = [HERE.parent.parent / folder / "portraits" for folder in ("facesdk", "tests")]
PORTRAITS = {p.name: p for folder in FOLDERS for p in folder.iterdir() if p.suffix in (".jpg", ".png")}
ARCFACE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """2 x 3 least-squares similarity from source to target, both (n, 2). Source: Umeyama 1991, as complex numbers."""
    a, b = (p[:, 0] + 1j * p[:, 1] for p in (source, target))
    centred = a - a.mean()
    factor = (np.conj(centred) @ (b - b.mean())) / (np.conj(centred) @ centred).real
    shift = b.mean() - factor * a.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def aligned(picture: Image.Image, points: np.ndarray, *, shift: tuple[float, float] = (0, 0)) -> Image.Image:
    """The 112 x 112 crop, moved by `shift` pixels of the crop; large faces are reduced first."""
    reduce = max(1, int(np.linalg.norm(points[1] - points[0]) / 35.0))
    picture, points = picture.reduce(reduce), (points + 0.5) / reduce - 0.5
    forward = np.vstack([similarity(points, ARCFACE + np.asarray(shift)), [0, 0, 1]])
    inverse = np.linalg.inv(forward)
    # Pillow's maps take pixel centres at 0.5.
    inverse[:2, 2] += 0.5 - inverse[:2, :2] @ [0.5, 0.5]
    return picture.transform((112, 112), Image.Transform.AFFINE, inverse[:2].ravel(), Image.Resampling.BILINEAR)


def _variants(picture: Image.Image, points: np.ndarray) -> Iterator[Image.Image]:
    plain = aligned(picture, points)
    for shift in ((0, 0), (2, 1), (-2, 1), (1, -2), (-1, 2), (3, -3)):
        crop = aligned(picture, points, shift=shift)
        yield crop
        yield ImageOps.mirror(crop)
    for factor in (0.35, 0.5, 0.7, 1.3, 1.6):
        yield ImageEnhance.Brightness(plain).enhance(factor)
        yield ImageOps.mirror(ImageEnhance.Brightness(plain).enhance(factor))
    for factor in (0.5, 0.75, 1.4):
        yield ImageEnhance.Contrast(plain).enhance(factor)
        yield ImageOps.mirror(ImageEnhance.Contrast(plain).enhance(factor))
    for radius in (0.7, 1.2, 2.0):
        yield plain.filter(ImageFilter.GaussianBlur(radius))
        yield ImageOps.mirror(plain.filter(ImageFilter.GaussianBlur(radius)))
    for color in (0.0, 0.5):
        yield ImageEnhance.Color(plain).enhance(color)


def crops() -> np.ndarray:
    """uint8 (n, 112, 112, 3) RGB: every portrait shifted, lit, blurred and mirrored."""
    points = json.loads((HERE / "calibration_points.json").read_text())
    result = []
    for name, five in sorted(points.items()):
        picture = ImageOps.exif_transpose(Image.open(PORTRAITS[name])).convert("RGB")
        result += [np.asarray(crop) for crop in _variants(picture, np.array(five))]
    return np.stack(result)


def activations(network: Network, samples: np.ndarray) -> dict[str, np.ndarray]:
    """(samples, channels, 2) lowest and highest value of every node, before or after its PReLU, for each sample."""
    interpreter = Interpreter(model_content=write(network), num_threads=2, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    tensors = {t["name"]: t["index"] for t in interpreter.get_tensor_details()}
    # A node with a PReLU has two tensors, before and after it, which share one scale when quantized.
    wanted = {n.name: [tensors[t] for t in (f"{n.name}/before", n.name) if t in tensors] for n in network.nodes}
    source = interpreter.get_input_details()[0]["index"]
    result: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for sample in samples:
        interpreter.set_tensor(source, (sample[None].astype(np.float32) - 128) / 128)
        interpreter.invoke()
        for name, indexes in wanted.items():
            found = [interpreter.get_tensor(index) for index in indexes]
            values = np.concatenate([v.reshape(-1, v.shape[-1]) for v in found])
            result[name].append(np.stack([values.min(axis=0), values.max(axis=0)], axis=1))
    return {name: np.stack(values) for name, values in result.items()}


def ranges(network: Network, samples: np.ndarray, *, share: float) -> dict[str, tuple[float, float]]:
    """(low, high) of every node such that `share` of the samples stay below high, and as many above low.

    Clipping the rarest extremes leaves finer steps for everything else.
    """
    return {
        name: (
            float(np.quantile(v[:, :, 0].min(axis=1), 1.0 - share)),
            float(np.quantile(v[:, :, 1].max(axis=1), share)),
        )
        for name, v in activations(network, samples).items()
    }


def peaks(network: Network, samples: np.ndarray) -> dict[str, np.ndarray]:
    """(channels,) largest absolute value of every node over all samples."""
    return {name: np.abs(v).max(axis=(0, 2)) for name, v in activations(network, samples).items()}
