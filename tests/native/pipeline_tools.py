"""What the native pipeline's tests share: the library, a pipeline of the models, a face, networks made in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesdk import _core
from facesdk.engine.runtime import LITERT

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = str(LITERT / "libLiteRt.so")
DETECTOR = (ROOT / "models" / "blazeface_short_range.tflite").read_bytes()
MESH = (ROOT / "models" / "face_mesh.tflite").read_bytes()
EMBEDDER = (ROOT / "models" / "mobilefacenet.tflite").read_bytes()
CROP_PX = 112

Box = NDArray[np.float32]


@pytest.fixture(scope="module")
def library() -> _core.LiteRtLibrary:
    return _core.LiteRtLibrary(LIBRARY)


def make_pipeline(library: _core.LiteRtLibrary) -> _core.Pipeline:
    detector, mesh, embedder = (_core.LiteRtNetwork(library, model, 1) for model in (DETECTOR, MESH, EMBEDDER))
    return _core.Pipeline(detector, mesh, [(embedder, 128.0, 128.0, 1.0)])


@pytest.fixture(scope="module")
def pipeline(library: _core.LiteRtLibrary) -> _core.Pipeline:
    return make_pipeline(library)


def good_face() -> tuple[Box, Box]:
    box = np.array([100, 100, 200, 200], np.float32)
    keypoints = np.array([[130, 130], [170, 130], [150, 150], [150, 170], [110, 140], [190, 140]], np.float32)
    return box, keypoints


# OpenKeys made in Python, whose answers the test decides.


def tensor(*shape: int, dtype: str = "float32", scale: float = 0.0, zero_point: int = 0) -> dict[str, Any]:
    return {"name": "t", "dtype": dtype, "shape": list(shape), "scale": scale, "zero_point": zero_point}


def scripted_detector(run: Callable[[Any, Any], None]) -> _core.PythonNetwork:
    return _core.PythonNetwork(tensor(1, 128, 128, 3), [tensor(1, 896, 16), tensor(1, 896, 1)], run)


def one_face(_: Any, outputs: Any) -> None:
    regressors, logits = outputs
    logits[:] = -100
    logits[0, 0] = 3
    regressors[0, 0, 2:4] = 40
