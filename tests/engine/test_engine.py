"""Engine: what comes out for which frames, on every runtime that is here."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk import Engine, Face
from facesdk.engine.runtime import choose_runtime, open_runtime
from facesdk.errors import AcceleratorError, InputError
from facesdk.evaluation import score, vector

PAIRS = [("obama_2005", "obama_2012"), ("ardern_2018", "ardern_2022"), ("macron_2014", "macron_2025")]


def test_features_are_unit_vectors_of_the_right_length(engine: Engine, joint: Engine) -> None:
    for made, dimension in ((engine, 128), (joint, 320), (Engine("mobilefacenet"), 192)):
        found = vector(made.features(portrait("hopper")))
        assert found.shape == (dimension,)
        assert found.dtype == np.float32
        assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-6)


def test_joint_is_the_weighted_concatenation(joint: Engine, sface: Engine) -> None:
    both = vector(joint.features(portrait("sunak")))
    np.testing.assert_allclose(both[:128], np.sqrt(0.75) * vector(sface.features(portrait("sunak"))), atol=1e-6)
    other = vector(Engine("mobilefacenet").features(portrait("sunak")))
    np.testing.assert_allclose(both[128:], np.sqrt(0.25) * other, atol=1e-6)


def test_scores_separate_people(engine: Engine) -> None:
    features = {p.stem: engine.features(portrait(p.stem)) for p in PORTRAITS.glob("*.*g")}
    same = [score(features[a], features[b]) for a, b in PAIRS]
    different = [
        score(features[a], features[b]) for a in features for b in features if a.split("_")[0] < b.split("_")[0]
    ]
    assert min(same) > 0.55
    assert max(different) < 0.35
    assert score(features["sunak"], features["sunak"]) == pytest.approx(1.0, abs=1e-6)


def test_score_refuses_features_of_two_embedders(joint: Engine, sface: Engine) -> None:
    with pytest.raises(InputError):
        score(joint.features(portrait("sunak")), sface.features(portrait("sunak")))


def test_detect_gives_faces_largest_first(engine: Engine) -> None:
    small, large = portrait("hopper"), portrait("sunak")
    canvas = np.zeros((900, 1300, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    canvas[: large.shape[0], 540 : 540 + large.shape[1]] = large
    faces = engine.detect(canvas)
    assert len(faces) == 2
    areas = [float(np.prod(f.box_px[2:] - f.box_px[:2])) for f in faces]
    assert areas == sorted(areas, reverse=True)
    assert all(isinstance(f, Face) and f.keypoints_px.shape == (6, 2) and f.box_px.shape == (4,) for f in faces)
    assert all(f.landmarks_px is None for f in faces)
    with_mesh = engine.detect(canvas, landmarks=True)
    assert all(f.landmarks_px is not None and f.landmarks_px.shape == (468, 3) for f in with_mesh)


def test_features_of_a_named_face(engine: Engine) -> None:
    frame = np.zeros((900, 1500, 3), np.uint8)
    for i, name in enumerate(("ardern_2018", "sunak")):
        image = portrait(name)[:900, :716]
        frame[: image.shape[0], i * 750 : i * 750 + image.shape[1]] = image
    faces = engine.detect(frame)
    assert len(faces) == 2
    for face in faces:
        name = "ardern_2022" if face.box_px[0] < 700 else "sunak"
        assert score(engine.features(frame, face), engine.features(portrait(name))) > 0.6


def test_a_detected_face_handed_back_gives_the_same_features(engine: Engine) -> None:
    for name in ("biden", "obama_room", "macron_2014"):
        frame = portrait(name)
        handed = engine.features(frame, engine.detect(frame)[0])
        assert np.array_equal(vector(handed), vector(engine.features(frame)))


def test_the_network_is_blocked_while_testing() -> None:
    with socket.socket() as probe, pytest.raises(AssertionError, match="network"):
        probe.connect(("127.0.0.1", 9))


def test_no_face_is_none(engine: Engine) -> None:
    for frame in (np.zeros((64, 64, 3), np.uint8), np.full((480, 640), 255, np.uint8)):
        assert engine.detect(frame) == []
        assert engine.features(frame) is None
        assert engine.sample(frame) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(64, 200), st.integers(64, 200), st.booleans(), st.integers(0, 2**32 - 1))
def test_noise_never_breaks_it(height: int, width: int, gray: bool, seed: int) -> None:
    shape = (height, width) if gray else (height, width, 3)
    frame = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    _ENGINE.features(frame)


_ENGINE = Engine("sface")


@pytest.mark.parametrize(
    "frame",
    [
        [[1, 2], [3, 4]],
        None,
        "a string",
        np.zeros((100, 100, 3), np.float32),
        np.zeros((100, 100, 4), np.uint8),
        np.zeros((100, 100, 3, 1), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((63, 100, 3), np.uint8),
        np.zeros((64, 8193), np.uint8),
        np.zeros((200, 120, 3), np.uint8)[::2, ::2],
    ],
)
def test_wrong_frames_are_input_errors(engine: Engine, frame: object) -> None:
    for call in (engine.detect, engine.features):
        with pytest.raises(InputError, match="expected"):
            call(frame)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"embedder": "arcface"}, {"threads": 0}, {"threads": 99}, {"runtime": "onnx"}, {"detector": "haar"},
        {"threads": True}, {"threads": np.True_}, {"threads": "2"}, {"threads": 2.0}, {"threads": None},
        *({name: value} for name in ("embedder", "runtime", "detector") for value in (None, 3, b"joint", ["joint"])),
    ],
)  # fmt: skip
def test_wrong_options_are_input_errors(options: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        Engine(**options)


def test_threads_may_be_a_number_of_numpy_s() -> None:
    threads = Engine("sface", threads=np.int64(2)).threads
    assert (threads, type(threads)) == (2, int)
    with pytest.raises(InputError, match="threads must be"):
        open_runtime("auto", lambda runtime: runtime, threads=True)
    with pytest.raises(InputError, match="runtime must be"):
        open_runtime(None, lambda runtime: runtime)  # type: ignore[arg-type]


def test_an_engine_is_not_pickled_or_copied(sface: Engine) -> None:
    instead = rf"make one where it is needed, Engine\('sface', threads={sface.threads}\)"
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=instead):
            call(sface)


def test_features_leave_by_no_way_but_evaluation(sface: Engine) -> None:
    features = sface.features(portrait("hopper"))
    assert vector(features).shape == (128,)
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"facesdk\.evaluation"):
            call(features)
    with pytest.raises(ValueError, match="must be specified"):
        dataclasses.replace(features, runner_up=0.0)
    shown = dataclasses.asdict(features)
    assert set(shown) == {"embedder", "face", "quality", "runner_up"}
    numbers = {float(number) for number in vector(features)[:20]}
    assert not any(str(number)[:8] in repr((features, shown, dataclasses.astuple(features))) for number in numbers)


def test_python_interpreter_gives_the_same_bits(engine: Engine) -> None:
    python = Engine(runtime="litert")
    assert (engine.runtime.name, python.runtime.name) == (choose_runtime("auto").name, "litert")
    for name in ("obama_2012", "hopper"):
        assert np.array_equal(vector(engine.features(portrait(name))), vector(python.features(portrait(name))))


def test_two_threads_give_the_same_features(engine: Engine) -> None:
    two = Engine(threads=2)
    assert np.array_equal(vector(engine.features(portrait("sunak"))), vector(two.features(portrait("sunak"))))


def test_one_engine_a_thread(engine: Engine) -> None:
    names = [p.stem for p in PORTRAITS.glob("*.*g")][:6]
    expected = {n: vector(engine.features(portrait(n))) for n in names}
    wrong: list[str] = []

    def work() -> None:
        own = Engine()
        for name in names:
            if not np.array_equal(vector(own.features(portrait(name))), expected[name]):
                wrong.append(name)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_weights_given_back_lie_inside_the_model_and_are_not_needed(sface: Engine) -> None:
    from facesdk.engine.networks import load_manifest, load_model

    entry = load_manifest().models["sface"]
    assert sum(size for _, size in entry.packed) > 0.9 * entry.size
    crop = np.random.default_rng(0).integers(-128, 128, (1, 112, 112, 3), np.int8)
    network = choose_runtime("litert-native").make_network(load_model("sface"))
    (before,) = network.run(crop)
    network.release(entry.packed)
    (after,) = network.run(crop)
    assert np.array_equal(before, after)
    for wrong in ([(0, entry.size + 1)], [(entry.size, 1)], [(2**63, 2**63)]):
        with pytest.raises(ValueError, match="range inside the model"):
            network.release(wrong)


def test_missing_runtime_says_what_to_install() -> None:
    with pytest.raises(AcceleratorError, match="pip install"):
        Engine(runtime="tflite-runtime")


def test_a_face_upside_down_or_shifted_keeps_its_features_apart_from_no_ones(engine: Engine) -> None:
    original = portrait("sunak")
    rolled = np.ascontiguousarray(np.rot90(portrait("sunak")[:700, :700]))
    padded = np.pad(original, ((40, 17), (33, 60), (0, 0)))
    base = engine.features(original)
    assert score(base, engine.features(padded)) > 0.95
    turned = engine.features(rolled)
    assert turned is None or score(base, turned) > 0.3


def test_locked_memory_is_kept_where_it_cannot_be_given_back() -> None:
    script = (
        "import ctypes; assert ctypes.CDLL(None).mlockall(2) == 0\n"
        "from facesdk import Engine; from facesdk.evaluation.timing import bench_frame\n"
        "print(Engine('mobilefacenet').features(bench_frame()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    if "AssertionError" in done.stderr:
        pytest.skip("this user may not lock memory")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Features(")
