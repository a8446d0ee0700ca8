"""The native pipeline from Python: threads, hostile input, sessions that fail, models that are no models."""

from __future__ import annotations

import mmap
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facesdk import _core
from facesdk.runtime import LITERT

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = str(LITERT / "libLiteRt.so")
DETECTOR = (ROOT / "models" / "blazeface_short_range.tflite").read_bytes()
MESH = (ROOT / "models" / "face_mesh.tflite").read_bytes()
EMBEDDER = (ROOT / "models" / "mobilefacenet.tflite").read_bytes()
CROP_PX = 112
INT8_SCALE = 1 / 128
THREADS = 4

Box = NDArray[np.float32]


@pytest.fixture(scope="module")
def library() -> _core.LiteRtLibrary:
    return _core.LiteRtLibrary(LIBRARY)


def make_pipeline(library: _core.LiteRtLibrary) -> _core.Pipeline:
    detector, mesh, embedder = (_core.LiteRtSession(library, model, 1) for model in (DETECTOR, MESH, EMBEDDER))
    return _core.Pipeline(detector, mesh, [(embedder, 128.0, 128.0, 1.0)])


@pytest.fixture(scope="module")
def pipeline(library: _core.LiteRtLibrary) -> _core.Pipeline:
    return make_pipeline(library)


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    """Four pictures of different sizes with one face each."""
    names = ("ardern_2018.jpg", "macron_2014.jpg", "obama_2005.jpg", "sunak.jpg")
    pictures = []
    for name, width in zip(names, (300, 333, 402, 511), strict=True):
        with Image.open(ROOT / "facesdk" / "portraits" / name) as image:
            pictures.append(np.asarray(image.convert("RGB").resize((width, width * 5 // 4))))
    return pictures


def flatten(result: Any) -> list[float]:
    """All numbers of a nested result in order, so that two results compare by value."""
    if result is None:
        return [-1.0]
    if isinstance(result, np.ndarray):
        return [float(v) for v in result.ravel()]
    if isinstance(result, list | tuple):
        return [len(result), *(number for part in result for number in flatten(part))]
    return [float(result)]


def good_face() -> tuple[Box, Box]:
    box = np.array([100, 100, 200, 200], np.float32)
    keypoints = np.array([[130, 130], [170, 130], [150, 150], [150, 170], [110, 140], [190, 140]], np.float32)
    return box, keypoints


# Sessions made in Python, whose answers the test decides.


def tensor(*shape: int, dtype: str = "float32", scale: float = 0.0, zero_point: int = 0) -> dict[str, Any]:
    return {"name": "t", "dtype": dtype, "shape": list(shape), "scale": scale, "zero_point": zero_point}


def scripted_detector(run: Callable[[Any, Any], None]) -> _core.PythonSession:
    return _core.PythonSession(tensor(1, 128, 128, 3), [tensor(1, 896, 16), tensor(1, 896, 1)], run)


def one_face(_: Any, outputs: Any) -> None:
    regressors, logits = outputs
    logits[:] = -100
    logits[0, 0] = 3
    regressors[0, 0, 2:4] = 40


class TestThreads:
    def test_own_pipelines_agree_with_one(
        self, library: _core.LiteRtLibrary, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]
    ) -> None:
        expected = [flatten(pipeline.detect_and_look(frame)) for frame in frames]
        assert len({tuple(numbers) for numbers in expected}) == len(frames)

        def work(offset: int) -> bool:
            own = make_pipeline(library)
            order = [(offset + i) % len(frames) for i in range(8)]
            return all(flatten(own.detect_and_look(frames[i])) == expected[i] for i in order)

        with ThreadPoolExecutor(THREADS) as pool:
            assert all(pool.map(work, range(THREADS)))

    def test_a_shared_pipeline_gives_the_same(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        expected = [flatten(pipeline.detect_and_look(frame)) for frame in frames]
        # Different frames at once: without the lock they would write into each other's buffers.
        barrier = threading.Barrier(THREADS)

        def work(index: int) -> bool:
            barrier.wait()
            return all(flatten(pipeline.detect_and_look(frames[index])) == expected[index] for _ in range(8))

        with ThreadPoolExecutor(THREADS) as pool:
            assert all(pool.map(work, range(THREADS)))

    def test_the_gil_is_released(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        # With switching all but off, another thread runs only while this one gives the GIL up itself.
        counter = 0
        stop = threading.Event()

        def count() -> None:
            nonlocal counter
            while not stop.is_set():
                counter += 1
                time.sleep(0)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(60.0)
        thread = threading.Thread(target=count)
        try:
            thread.start()
            box, keypoints, _, _ = pipeline.detect(frames[0])[0]
            crop = pipeline.look(frames[0], box, keypoints)[3]
            for call in (
                lambda: pipeline.detect(frames[0]),
                lambda: pipeline.detect_and_look(frames[0]),
                lambda: pipeline.mesh(frames[0], box, keypoints),
                lambda: pipeline.look(frames[0], box, keypoints),
                lambda: pipeline.embed(crop),
            ):
                before, deadline = counter, time.monotonic() + 10
                while counter == before and time.monotonic() < deadline:
                    call()
                assert counter > before
        finally:
            sys.setswitchinterval(interval)
            stop.set()
            thread.join()

    def test_python_sessions_in_threads_do_not_lock_up(self) -> None:
        # run() waits for the GIL while its pipeline's lock is held: nobody may hold the GIL and wait for the lock.
        shared = _core.Pipeline(scripted_detector(one_face), None, [])
        frame = np.zeros((64, 64, 3), np.uint8)
        expected = flatten(shared.detect(frame))
        with ThreadPoolExecutor(THREADS) as pool:
            results = [pool.submit(shared.detect, frame) for _ in range(40)]
            assert all(flatten(result.result(timeout=20)) == expected for result in results)


class TestResults:
    def test_alternating_frames_leave_no_trace(
        self, library: _core.LiteRtLibrary, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]
    ) -> None:
        fresh = [flatten(make_pipeline(library).detect_and_look(frame)) for frame in frames[:2]]
        for _ in range(3):
            assert [flatten(pipeline.detect_and_look(frame)) for frame in frames[:2]] == fresh

    def test_the_steps_make_up_the_whole(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        faces, look = pipeline.detect_and_look(frames[0])
        assert flatten(faces) == flatten(pipeline.detect(frames[0]))
        box, keypoints, _, pose = faces[0]
        assert flatten(pipeline.look(frames[0], box, keypoints)) == flatten(look)
        assert flatten(pipeline.mesh(frames[0], box, keypoints)) == flatten(look[0])
        assert pose == pytest.approx(_core.keypoint_pose(box, keypoints), abs=0.01)
        crop = look[3]
        assert crop.shape == (CROP_PX, CROP_PX, 3)
        assert crop.dtype == np.uint8
        assert crop.std() > 10

    def test_features_have_unit_length(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        assert pipeline.dimension == 192
        vectors = [pipeline.embed(pipeline.detect_and_look(frame)[1][3]) for frame in frames]
        for vector in vectors:
            assert vector.shape == (192,)
            assert vector.dtype == np.float32
            assert abs(_core.compare(vector, vector) - 1) < 1e-5
        assert max(_core.compare(vectors[0], other) for other in vectors[1:]) < 0.5

    def test_results_are_copies(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        first = pipeline.detect_and_look(frames[0])
        before = flatten(first)
        pipeline.detect_and_look(frames[1])
        assert flatten(first) == before

    def test_gray_is_rgb_with_equal_channels(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        for frame in frames:
            gray = np.ascontiguousarray(frame[:, :, 1])
            faces, _ = pipeline.detect_and_look(gray)
            assert len(faces) == 1
            rgb = np.ascontiguousarray(np.repeat(gray[:, :, None], 3, axis=2))
            assert flatten(pipeline.detect_and_look(gray)) == flatten(pipeline.detect_and_look(rgb))

    def test_no_face_is_no_sample(self, pipeline: _core.Pipeline) -> None:
        assert pipeline.detect_and_look(np.full((120, 90, 3), 128, np.uint8)) == ([], None)

    @pytest.mark.parametrize("shape", [(64, 8192, 3), (8192, 64, 3), (64, 8192), (8192, 64), (64, 64, 3), (64, 64)])
    def test_extreme_sizes(self, pipeline: _core.Pipeline, shape: tuple[int, ...]) -> None:
        frame = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        assert isinstance(pipeline.detect(frame), list)
        box = np.array([0, 0, shape[1], shape[0]], np.float32)
        points, presence, _ = pipeline.mesh(frame, box, good_face()[1])
        assert np.isfinite(points).all()
        assert 0 <= presence <= 1
        assert pipeline.embed(pipeline.look(frame, box, good_face()[1])[3]).shape == (192,)

    def test_a_frame_from_another_process_is_taken(
        self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]
    ) -> None:
        # As multiprocessing hands it over: equal dtype, another dtype object.
        frame = pickle.loads(pickle.dumps(frames[0]))
        assert flatten(pipeline.detect(frame)) == flatten(pipeline.detect(frames[0]))

    def test_read_only_frames_are_taken(self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]) -> None:
        frame = frames[0].copy()
        frame.flags.writeable = False
        assert flatten(pipeline.detect(frame)) == flatten(pipeline.detect(frames[0]))


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


class TestSessionsInPython:
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

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_mesh_that_answers_nonsense_sees_no_face(self, value: float) -> None:
        def run(_: Any, outputs: Any) -> None:
            outputs[0][:] = 96
            outputs[1][:] = 10
            outputs[part][:] = value

        mesh = _core.PythonSession(tensor(1, 192, 192, 3), [tensor(1, 1404), tensor(1, 1)], run)
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

        embedder = _core.PythonSession(tensor(1, CROP_PX, CROP_PX, 3), [tensor(1, 8)], run)
        pipeline = _core.Pipeline(None, _core.LiteRtSession(library, MESH, 1), [(embedder, 127.5, 128.0, 1.0)])
        with pytest.raises(_core.RuntimeFailure, match="features without a direction"):
            pipeline.embed(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))

    def test_networks_of_other_shapes_are_refused(self, library: _core.LiteRtLibrary) -> None:
        mesh = _core.LiteRtSession(library, MESH, 1)
        detector = _core.LiteRtSession(library, DETECTOR, 1)
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
        embedder = _core.PythonSession(info, [tensor(1, 8)], one_face)
        _core.Pipeline(None, None, [(embedder, 128.0, 128.0, 1.0)])
        with pytest.raises(_core.RuntimeFailure, match="embedder"):
            _core.Pipeline(None, None, [(embedder, mean, scale, weight)])

    def test_session_run_checks_its_input(self, library: _core.LiteRtLibrary) -> None:
        session = _core.LiteRtSession(library, DETECTOR, 1)
        good = np.zeros((1, 128, 128, 3), np.float32)
        outputs = session.run(good)
        assert sorted(output.size for output in outputs) == [896, 896 * 16]
        assert np.array_equal(session.run(good)[0], outputs[0])
        for bad in (good.astype(np.float64), good[:, ::2], good[:, :64], np.zeros(0, np.float32)):
            with pytest.raises(ValueError, match="like the model's input, got"):
                session.run(bad)


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
    def test_no_session_is_refused_without_a_crash(self) -> None:
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
        # flipped bits: what keeps those away is the hash in facesdk.models, before any bytes come this far.
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
        _core.LiteRtSession(library, case, 1)
        accepted += 1
    except _core.RuntimeFailure as error:
        assert "LiteRT" in str(error), error
_core.LiteRtSession(library, model, 1)
print(len(cases), accepted)
"""
        model = ROOT / "models" / "blazeface_short_range.tflite"
        count, accepted = run_child(code, LIBRARY, str(model)).split()
        assert int(count) > 90
        assert int(accepted) == 0

    def test_the_model_is_held_as_long_as_its_session(self, library: _core.LiteRtLibrary) -> None:
        model = bytearray(DETECTOR)
        session = _core.LiteRtSession(library, model, 1)
        with pytest.raises(BufferError):
            model.append(0)
        del session
        model.append(0)
        # Not one that was refused either.
        broken = bytearray(b"no model")
        with pytest.raises(_core.RuntimeFailure):
            _core.LiteRtSession(library, broken, 1)
        broken.append(0)

    def test_mapped_models_run_like_read_ones(self, library: _core.LiteRtLibrary) -> None:
        picture = np.random.default_rng(3).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
        with (ROOT / "models" / "blazeface_short_range.tflite").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        session = _core.LiteRtSession(library, mapped, 1)
        with pytest.raises(BufferError):
            mapped.close()
        expected = _core.LiteRtSession(library, DETECTOR, 1).run(picture)
        assert all(map(np.array_equal, session.run(picture), expected))
        del session
        mapped.close()

    def test_what_holds_no_bytes(self, library: _core.LiteRtLibrary) -> None:
        for bad in (None, "model", 7, [0, 1, 2]):
            with pytest.raises(TypeError):
                _core.LiteRtSession(library, bad, 1)
        with pytest.raises(BufferError):
            _core.LiteRtSession(library, memoryview(DETECTOR)[::2], 1)

    def test_what_is_no_library(self, tmp_path: Path) -> None:
        text = tmp_path / "text.so"
        text.write_text("not a library")
        for path in (text, tmp_path / "missing.so", tmp_path):
            with pytest.raises(_core.RuntimeFailure, match="cannot load the LiteRT library"):
                _core.LiteRtLibrary(str(path))
        # A library, but another one.
        with pytest.raises(_core.RuntimeFailure, match="has no symbol LiteRt"):
            _core.LiteRtLibrary(_core.__file__)
