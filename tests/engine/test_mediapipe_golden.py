"""Our detector and mesh against what MediaPipe 0.10.21 found in the same pixels.

Made by tools/make_mediapipe_golden.py, which also says how the pixels are made.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from facesdk import _core
from facesdk.engine.runtime import LITERT

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "facesdk" / "portraits", ROOT / "tests" / "portraits")
PORTRAITS = {p.name: p for folder in FOLDERS for p in folder.iterdir() if p.suffix in (".jpg", ".png")}
MODELS = ROOT / "models"
GOLDEN = json.loads((ROOT / "tests" / "engine" / "golden" / "mediapipe_0_10_21.json").read_text(encoding="utf-8"))
LONGER_SIDE_PX = 640
TOLERANCE_PX = 0.5
PHOTOS, MONTAGES = sorted(GOLDEN["photos"]), sorted(GOLDEN["montages"])


@pytest.fixture(scope="module")
def pipeline() -> _core.Pipeline:
    library = _core.LiteRtLibrary(str(LITERT / "libLiteRt.so"))
    detector, mesh = (
        _core.LiteRtNetwork(library, (MODELS / name).read_bytes(), 1)
        for name in ("blazeface_short_range.tflite", "face_mesh.tflite")
    )
    return _core.Pipeline(detector, mesh, [])


def to_640(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture by nearest neighbour with its longer side 640 px, pixel centre to pixel centre."""
    scale = LONGER_SIDE_PX / max(rgb.shape[:2])
    rows, columns = (
        (2 * np.arange(max(1, round(n * scale)), dtype=np.int64) + 1) * n // (2 * max(1, round(n * scale)))
        for n in rgb.shape[:2]
    )
    return np.ascontiguousarray(rgb[rows][:, columns])


def photo(name: str) -> NDArray[np.uint8]:
    with Image.open(PORTRAITS[name]) as image:
        return to_640(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


def golden_of(name: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The pixels and what MediaPipe saw in them; skips where a JPEG decoder gives other pixels."""
    parts = [photo(part) for part in name.split("+")]
    record = GOLDEN["photos" if len(parts) == 1 else "montages"][name]
    height = min(part.shape[0] for part in parts)
    rgb = parts[0] if len(parts) == 1 else to_640(np.concatenate([part[:height] for part in parts], axis=1))
    assert rgb.shape == (record["height"], record["width"], 3)
    found = hashlib.sha256(rgb.tobytes()).hexdigest()
    if found != record["rgb_sha256"]:
        pytest.skip(f"{name}: this JPEG decoder gives other pixels (sha256 {found[:12]}) than the golden file's")
    return rgb, record


def largest_difference(pipeline: _core.Pipeline, rgb: NDArray[np.uint8], record: dict[str, Any]) -> float:
    """Greatest distance in pixels of a box side or keypoint from MediaPipe's; infinite for another number of faces."""
    ours = pipeline.detect(rgb)
    if len(ours) != len(record["faces"]):
        return float("inf")
    worst = 0.0
    for face in record["faces"]:
        box, keypoints = np.array(face["box_px"]), np.array(face["keypoints_px"])
        # MediaPipe orders by score, we by area: each is held to the one nearest to it.
        mine = min(ours, key=lambda found: float(np.abs(found[0] - box).max()))
        worst = max(worst, float(np.abs(mine[0] - box).max()), float(np.abs(mine[1] - keypoints).max()))
    return worst


def mesh_difference(pipeline: _core.Pipeline, rgb: NDArray[np.uint8], record: dict[str, Any]) -> float:
    """Greatest distance in pixels of a mesh point from MediaPipe's, of the face that MediaPipe took its mesh of."""
    golden = np.array(record["mesh"])
    meshes = [pipeline.mesh(rgb, box, keypoints) for box, keypoints, _, _ in pipeline.detect(rgb)]
    return min(float(np.linalg.norm(points[:, :2] - golden, axis=1).max()) for (points, _, _) in meshes)


@pytest.mark.parametrize("name", [*PHOTOS, *MONTAGES])
def test_faces_are_those_of_mediapipe(pipeline: _core.Pipeline, name: str) -> None:
    rgb, record = golden_of(name)
    assert largest_difference(pipeline, rgb, record) <= TOLERANCE_PX


@pytest.mark.parametrize("name", [*PHOTOS, *MONTAGES])
def test_scores_are_those_of_mediapipe(pipeline: _core.Pipeline, name: str) -> None:
    rgb, record = golden_of(name)
    ours = sorted((score for _, _, score, _ in pipeline.detect(rgb)), reverse=True)
    assert ours == pytest.approx(sorted((face["score"] for face in record["faces"]), reverse=True), abs=0.01)


@pytest.mark.parametrize("name", [*PHOTOS, *MONTAGES])
def test_mesh_is_that_of_mediapipe(pipeline: _core.Pipeline, name: str) -> None:
    rgb, record = golden_of(name)
    assert record["mesh"] is not None
    assert mesh_difference(pipeline, rgb, record) <= TOLERANCE_PX


@pytest.mark.parametrize("name", [*PHOTOS, *MONTAGES])
def test_largest_face_comes_first(pipeline: _core.Pipeline, name: str) -> None:
    rgb, _ = golden_of(name)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box, _, _, _ in pipeline.detect(rgb)]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_shifted_picture_does_not_pass(pipeline: _core.Pipeline, name: str, axis: int) -> None:
    rgb, record = golden_of(name)
    shifted = np.ascontiguousarray(np.roll(rgb, 3, axis=axis))
    difference = largest_difference(pipeline, shifted, record)
    assert difference > TOLERANCE_PX
    assert mesh_difference(pipeline, shifted, record) > TOLERANCE_PX


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_faces_has_none(pipeline: _core.Pipeline, level: int) -> None:
    assert pipeline.detect(np.full((480, 640, 3), level, np.uint8)) == []


def test_the_golden_file_covers_every_portrait() -> None:
    assert set(PORTRAITS) == set(PHOTOS)
    assert max(len(record["faces"]) for record in GOLDEN["montages"].values()) == 3
