"""The native pipeline from Python: threads, and results that depend on nothing but the frame."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pipeline_tools
import pytest
from numpy.typing import NDArray
from PIL import Image
from pipeline_tools import CROP_PX, ROOT, good_face, make_pipeline, one_face, scripted_detector

from facesdk import _core

library, pipeline = pipeline_tools.library, pipeline_tools.pipeline
THREADS = 4


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

    def test_python_networks_in_threads_do_not_lock_up(self) -> None:
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

    def test_only_a_large_enough_face_is_looked_at(
        self, pipeline: _core.Pipeline, frames: list[NDArray[np.uint8]]
    ) -> None:
        for frame in frames:
            faces, look = pipeline.detect_and_look(frame)
            x0, y0, x1, y1 = (float(v) for v in faces[0][0])
            part = max(x1 - x0, y1 - y0) / max(frame.shape[:2])
            assert flatten(pipeline.detect_and_look(frame, part * 0.999)) == flatten((faces, look))
            assert flatten(pipeline.detect_and_look(frame, part * 1.001)) == flatten((faces, None))

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
