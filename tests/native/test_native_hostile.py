"""The native pipeline from Python: hostile input, open_keys that fail, models that are no models."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pipeline_tools
import pytest
from numpy.typing import NDArray
from pipeline_tools import CROP_PX, DETECTOR, LIBRARY, MESH, ROOT, good_face, one_face, scripted_detector, tensor

from facesdk import _core

library, pipeline = pipeline_tools.library, pipeline_tools.pipeline
INT8_SCALE = 1 / 128
ARRAY = r"expected a C-contiguous uint8 array of shape \(height, width, 3\) in RGB or \(height, width\) in gray, got "
SIDES = "expected both sides of the picture between 64 and 8192 pixels, got "
HOSTILE_FRAMES: list[tuple[str, Any, str]] = [
    ("none", None, ARRAY + "<class 'NoneType'>"),
    ("list", [[0] * 64] * 64, ARRAY + "<class 'list'>"),
    ("bytes", bytes(64 * 64 * 3), ARRAY + "<class 'bytes'>"),
    ("float", np.zeros((64, 64, 3)), ARRAY + r"float64 of shape \(64, 64, 3\)"),
    ("int8", np.zeros((64, 64, 3), np.int8), ARRAY + r"int8 of shape \(64, 64, 3\)"),
    ("bool", np.zeros((64, 64, 3), bool), ARRAY + r"bool of shape \(64, 64, 3\)"),
    ("object", np.zeros((64, 64), object), ARRAY + r"object of shape \(64, 64\)"),
    ("one dimension", np.zeros(64 * 64 * 3, np.uint8), ARRAY + r"uint8 of shape \(12288\)"),
    ("no dimension", np.zeros((), np.uint8), ARRAY + r"uint8 of shape \(\)"),
    ("four dimensions", np.zeros((1, 64, 64, 3), np.uint8), ARRAY + r"uint8 of shape \(1, 64, 64, 3\)"),
    ("rgba", np.zeros((64, 64, 4), np.uint8), ARRAY + r"uint8 of shape \(64, 64, 4\)"),
    ("one channel", np.zeros((64, 64, 1), np.uint8), ARRAY + r"uint8 of shape \(64, 64, 1\)"),
    ("channels first", np.zeros((3, 64, 64), np.uint8), ARRAY + r"uint8 of shape \(3, 64, 64\)"),
    ("every other column", np.zeros((64, 128, 3), np.uint8)[:, ::2], ARRAY + ".*not C-contiguous"),
    ("bottom up", np.zeros((64, 64, 3), np.uint8)[::-1], ARRAY + ".*not C-contiguous"),
    ("bgr view", np.zeros((64, 64, 3), np.uint8)[:, :, ::-1], ARRAY + ".*not C-contiguous"),
    ("fortran", np.zeros((64, 80), np.uint8, order="F"), ARRAY + ".*not C-contiguous"),
    ("63 high", np.zeros((63, 64, 3), np.uint8), SIDES + r"uint8 of shape \(63, 64, 3\)"),
    ("63 wide", np.zeros((64, 63), np.uint8), SIDES + r"uint8 of shape \(64, 63\)"),
    ("8193 wide", np.zeros((64, 8193, 3), np.uint8), SIDES + r"uint8 of shape \(64, 8193, 3\)"),
    ("8193 high", np.zeros((8193, 64), np.uint8), SIDES + r"uint8 of shape \(8193, 64\)"),
    ("empty", np.zeros((0, 0, 3), np.uint8), SIDES + r"uint8 of shape \(0, 0, 3\)"),
    ("empty gray", np.zeros((0, 64), np.uint8), SIDES + r"uint8 of shape \(0, 64\)"),
]
hostile_frames = pytest.mark.parametrize(
    ("frame", "message"), [pytest.param(frame, text, id=name) for name, frame, text in HOSTILE_FRAMES]
)


class TestHostileInput:
    @hostile_frames
    def test_frames(self, pipeline: _core.Pipeline, frame: Any, message: str) -> None:
        box, keypoints = good_face()
        for call in (
            lambda: pipeline.detect(frame),
            lambda: pipeline.detect_and_look(frame),
            lambda: pipeline.mesh(frame, box, keypoints),
            lambda: pipeline.look(frame, box, keypoints),
            lambda: _core.warp_u8("scalar", frame, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (8, 8)),
        ):
            with pytest.raises(ValueError, match=message):
                call()

    @pytest.mark.parametrize("crop", [
        np.zeros((CROP_PX, CROP_PX), np.uint8), np.zeros((CROP_PX, CROP_PX, 4), np.uint8),
        np.zeros((3, CROP_PX, CROP_PX), np.uint8), np.zeros((CROP_PX, CROP_PX, 3), np.float32),
        np.zeros((CROP_PX, CROP_PX, 6), np.uint8)[:, :, ::2], np.zeros((CROP_PX - 1, CROP_PX, 3), np.uint8),
        np.zeros((0, CROP_PX, 3), np.uint8),
    ])  # fmt: skip
    def test_crops(self, pipeline: _core.Pipeline, crop: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match=r"expected .* shape \(112, 112, 3\), got .* of shape"):
            pipeline.embed(crop)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6, -1e6, 3e38])
    def test_faces_out_of_this_world(self, pipeline: _core.Pipeline, value: float) -> None:
        frame = np.zeros((300, 300, 3), np.uint8)
        faces = []
        for i in range(4):
            box, keypoints = good_face()
            box[i] = value
            faces.append((box, keypoints))
        for i in range(12):
            box, keypoints = good_face()
            keypoints[i // 2, i % 2] = value
            faces.append((box, keypoints))
        for box, keypoints in faces:
            for call in (pipeline.mesh, pipeline.look):
                with pytest.raises(ValueError, match="expected a face with a box of positive area and finite points"):
                    call(frame, box, keypoints)
            with pytest.raises(ValueError, match="expected a face"):
                _core.keypoint_pose(box, keypoints)

    @pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 9, 5, 5), (0, 0, 0, 0), (9, 0, 5, 5)])
    def test_boxes_without_area(self, pipeline: _core.Pipeline, box: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="expected a face with a box of positive area"):
            pipeline.mesh(np.zeros((300, 300, 3), np.uint8), np.array(box, np.float32), good_face()[1])

    def test_arrays_that_are_no_faces(self, pipeline: _core.Pipeline) -> None:
        frame, (box, keypoints) = np.zeros((300, 300, 3), np.uint8), good_face()
        for bad in (box.astype(np.float64), box.astype(int), box[:3], box.reshape(2, 2), np.tile(box, 2)[::2]):
            with pytest.raises(ValueError, match=r"expected a .*\(4,\).*got .* of shape"):
                pipeline.mesh(frame, bad, keypoints)
        for bad in (keypoints.astype(np.float64), keypoints[:5], keypoints.ravel(), keypoints.T, keypoints[:, :1]):
            with pytest.raises(ValueError, match=r"expected a .*\(6, 2\).*got .* of shape"):
                pipeline.mesh(frame, box, bad)

    @pytest.mark.parametrize("side", [1e-3, 0.5, 20_000.0, 900_000.0])
    def test_tiny_and_huge_boxes_are_survived(self, pipeline: _core.Pipeline, side: float) -> None:
        frame = np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        box = np.array([150 - side / 2, 150 - side / 2, 150 + side / 2, 150 + side / 2], np.float32)
        points, presence, _ = pipeline.mesh(frame, box, good_face()[1])
        assert np.isfinite(points).all()
        assert 0 <= presence <= 1
        pipeline.look(frame, box, good_face()[1])

    def test_a_face_outside_the_frame_is_survived(self, pipeline: _core.Pipeline) -> None:
        frame = np.full((300, 300, 3), 255, np.uint8)
        box, keypoints = good_face()
        inside, outside = (pipeline.look(frame, box + shift, keypoints + shift)[3] for shift in (0, 5000))
        assert inside is not None
        assert outside is not None
        assert not outside.any()


class TestNetworksInPython:
    def test_answers_are_used(self) -> None:
        seen: list[NDArray[np.float32]] = []

        def run(array: NDArray[np.float32], outputs: list[NDArray[np.float32]]) -> None:
            seen.append(array.copy())
            one_face(array, outputs)

        found = _core.Pipeline(scripted_detector(run), None, []).detect(np.full((128, 128, 3), 255, np.uint8))
        assert seen[0].shape == (1, 128, 128, 3)
        assert np.allclose(seen[0][0, 5:120, 5:120], 1)
        assert len(found) == 1
        assert found[0][0].tolist() == [-16, -16, 24, 24]
        assert found[0][2] == pytest.approx(1 / (1 + np.exp(-3.0)))

    def test_exceptions_come_through_and_do_no_harm(self) -> None:
        failing = True

        class OwnError(Exception):
            pass

        def run(array: Any, outputs: Any) -> None:
            if failing:
                raise OwnError("the accelerator went away")
            one_face(array, outputs)

        pipeline = _core.Pipeline(scripted_detector(run), None, [])
        frame = np.zeros((64, 64, 3), np.uint8)
        for call in (pipeline.detect, pipeline.detect_and_look):
            with pytest.raises(OwnError, match="the accelerator went away"):
                call(frame)
        failing = False
        assert len(pipeline.detect(frame)) == 1

    @pytest.mark.parametrize(("column", "value"), [(2, 1e-8), (2, 1e38), (0, 3e6), (4, 3e6)])
    def test_a_face_that_no_detector_would_give_is_not_looked_at(self, column: int, value: float) -> None:
        """A box of no width or of endless size, one far from the picture, a keypoint there."""
        nonsense = False

        def run(array: Any, outputs: Any) -> None:
            one_face(array, outputs)
            if nonsense:
                outputs[0][0, np.argmax(outputs[1][0]), column] = value

        def see(_: Any, outputs: Any) -> None:
            outputs[0][:] = np.random.default_rng(1).uniform(0, 192, outputs[0].shape)
            outputs[1][:] = 10

        mesh = _core.PythonNetwork(tensor(1, 192, 192, 3), [tensor(1, 1404), tensor(1, 1)], see)
        pipeline = _core.Pipeline(scripted_detector(run), mesh, [])
        frame = np.zeros((128, 128, 3), np.uint8)
        assert pipeline.detect_and_look(frame)[1] is not None
        nonsense = True
        with pytest.raises(ValueError, match="a box of positive area and finite points"):
            pipeline.detect_and_look(frame)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_mesh_that_answers_nonsense_sees_no_face(self, value: float) -> None:
        def run(_: Any, outputs: Any) -> None:
            outputs[0][:] = 96
            outputs[1][:] = 10
            outputs[part][:] = value

        mesh = _core.PythonNetwork(tensor(1, 192, 192, 3), [tensor(1, 1404), tensor(1, 1)], run)
        pipeline = _core.Pipeline(None, mesh, [])
        part = 0
        assert pipeline.mesh(np.zeros((300, 300, 3), np.uint8), *good_face())[1] == 0
        part = 1
        presence = pipeline.mesh(np.zeros((300, 300, 3), np.uint8), *good_face())[1]
        assert presence == pytest.approx(1 if value == np.inf else 0)

    @pytest.mark.parametrize("value", [0, np.nan, np.inf, -np.inf])
    def test_an_embedder_that_answers_nonsense_is_refused(self, library: _core.LiteRtLibrary, value: float) -> None:
        def run(_: Any, outputs: Any) -> None:
            outputs[0][:] = value

        embedder = _core.PythonNetwork(tensor(1, CROP_PX, CROP_PX, 3), [tensor(1, 8)], run)
        pipeline = _core.Pipeline(None, _core.LiteRtNetwork(library, MESH, 1), [(embedder, 127.5, 128.0, 1.0)])
        with pytest.raises(_core.RuntimeFailure, match="features without a direction"):
            pipeline.embed(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))

    def test_networks_of_other_shapes_are_refused(self, library: _core.LiteRtLibrary) -> None:
        mesh = _core.LiteRtNetwork(library, MESH, 1)
        detector = _core.LiteRtNetwork(library, DETECTOR, 1)
        with pytest.raises(_core.RuntimeFailure, match="1 x 128 x 128 x 3"):
            _core.Pipeline(mesh, None, [])
        with pytest.raises(_core.RuntimeFailure, match="1 x 192 x 192 x 3"):
            _core.Pipeline(None, detector, [])
        with pytest.raises(_core.RuntimeFailure, match="1 x 112 x 112 x 3"):
            _core.Pipeline(None, None, [(mesh, 128.0, 128.0, 1.0)])
        with pytest.raises(_core.RuntimeFailure, match="no face mesh"):
            _core.Pipeline(detector, None, []).mesh(np.zeros((64, 64), np.uint8), *good_face())

    @pytest.mark.parametrize(("mean", "scale", "weight"), [
        (128.0, 0.0, 1.0), (128.0, -1.0, 1.0), (np.nan, 128.0, 1.0), (128.0, np.nan, 1.0), (128.0, np.inf, 1.0),
        (128.0, 128.0, 0.0), (128.0, 128.0, -1.0), (128.0, 128.0, np.nan), (128.0, 128.0, 0.5),
    ])  # fmt: skip
    def test_embedders_with_impossible_numbers_are_refused(self, mean: float, scale: float, weight: float) -> None:
        info = tensor(1, CROP_PX, CROP_PX, 3, dtype="int8", scale=INT8_SCALE)
        embedder = _core.PythonNetwork(info, [tensor(1, 8)], one_face)
        _core.Pipeline(None, None, [(embedder, 128.0, 128.0, 1.0)])
        with pytest.raises(_core.RuntimeFailure, match="embedder"):
            _core.Pipeline(None, None, [(embedder, mean, scale, weight)])

    def test_network_run_checks_its_input(self, library: _core.LiteRtLibrary) -> None:
        network = _core.LiteRtNetwork(library, DETECTOR, 1)
        good = np.zeros((1, 128, 128, 3), np.float32)
        outputs = network.run(good)
        assert sorted(output.size for output in outputs) == [896, 896 * 16]
        assert np.array_equal(network.run(good)[0], outputs[0])
        for bad in (good.astype(np.float64), good[:, ::2], good[:, :64], np.zeros(0, np.float32)):
            with pytest.raises(ValueError, match="like the model's input, got"):
                network.run(bad)


def run_child(code: str, *arguments: str) -> str:
    """What the program prints; its death, by a signal too, fails the test."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(_core.__file__).parents[1])},
    )
    assert result.returncode == 0, f"exit {result.returncode}: {result.stdout[-500:]}{result.stderr[-1500:]}"
    return result.stdout


class TestModelsThatAreNoModels:
    def test_no_network_is_refused_without_a_crash(self) -> None:
        code = """
from facesdk import _core
try:
    _core.Pipeline(None, None, [(None, 128.0, 128.0, 1.0)])
except _core.RuntimeFailure as error:
    print(error)
"""
        assert "embedder" in run_child(code)

    def test_truncated_and_random_bytes(self) -> None:
        # LiteRT's verifier refuses these. It takes a model without its last few bytes, and dies of some single
        # flipped bits: what keeps those away is the hash in facesdk.engine.networks, before any bytes come this far.
        code = """
import random, sys
from facesdk import _core
library = _core.LiteRtLibrary(sys.argv[1])
model = open(sys.argv[2], "rb").read()
random.seed(4)
cases = [b"", b"TFL3", bytes(1), bytes(64), bytes(100_000), model[1:], model[::-1]]
cases += [model[: len(model) * part // 64] for part in range(64)]
cases += [model[:size] for size in (1, 4, 7, 8, 9, 16, 32, 64, 128, 1024, len(model) - 64)]
cases += [random.randbytes(size) for size in (4, 16, 100, 1000, 10_000)]
cases += [model[:8] + random.randbytes(size) for size in (8, 100, 1000, 10_000)]
accepted = 0
for case in cases:
    try:
        _core.LiteRtNetwork(library, case, 1)
        accepted += 1
    except _core.RuntimeFailure as error:
        assert "LiteRT" in str(error), error
_core.LiteRtNetwork(library, model, 1)
print(len(cases), accepted)
"""
        model = ROOT / "models" / "blazeface_short_range.tflite"
        count, accepted = run_child(code, LIBRARY, str(model)).split()
        assert int(count) > 90
        assert int(accepted) == 0

    def test_the_model_is_held_as_long_as_its_network(self, library: _core.LiteRtLibrary) -> None:
        model = bytearray(DETECTOR)
        network = _core.LiteRtNetwork(library, model, 1)
        with pytest.raises(BufferError):
            model.append(0)
        del network
        model.append(0)
        # Not one that was refused either.
        broken = bytearray(b"no model")
        with pytest.raises(_core.RuntimeFailure):
            _core.LiteRtNetwork(library, broken, 1)
        broken.append(0)

    def test_mapped_models_run_like_read_ones(self, library: _core.LiteRtLibrary) -> None:
        picture = np.random.default_rng(3).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
        with (ROOT / "models" / "blazeface_short_range.tflite").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        network = _core.LiteRtNetwork(library, mapped, 1)
        with pytest.raises(BufferError):
            mapped.close()
        expected = _core.LiteRtNetwork(library, DETECTOR, 1).run(picture)
        assert all(map(np.array_equal, network.run(picture), expected))
        del network
        mapped.close()

    def test_what_holds_no_bytes(self, library: _core.LiteRtLibrary) -> None:
        for bad in (None, "model", 7, [0, 1, 2]):
            with pytest.raises(TypeError):
                _core.LiteRtNetwork(library, bad, 1)
        with pytest.raises(BufferError):
            _core.LiteRtNetwork(library, memoryview(DETECTOR)[::2], 1)

    def test_what_is_no_library(self, tmp_path: Path) -> None:
        text = tmp_path / "text.so"
        text.write_text("not a library")
        for path in (text, tmp_path / "missing.so", tmp_path):
            with pytest.raises(_core.RuntimeFailure, match="cannot load the LiteRT library"):
                _core.LiteRtLibrary(str(path))
        # A library, but another one.
        with pytest.raises(_core.RuntimeFailure, match="has no symbol LiteRt"):
            _core.LiteRtLibrary(_core.__file__)
