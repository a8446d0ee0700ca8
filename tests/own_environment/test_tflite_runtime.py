"""tflite-runtime 2.14 with numpy 1: the whole way, in an environment made for it (.ci/run does)."""

from __future__ import annotations

import os

import numpy as np
import pytest

from facesdk import Engine, FaceVerifier
from facesdk.engine import runtime
from facesdk.engine.runtime import choose_runtime
from facesdk.errors import AcceleratorError
from facesdk.evaluation import vector
from facesdk.evaluation.demo import LATER, OTHERS, OWNER
from facesdk.images import load_rgb

pytestmark = pytest.mark.skipif(
    os.environ.get("FACESDK_OWN_ENVIRONMENT") != "tflite-runtime",
    reason="needs numpy < 2 and tflite-runtime, in an environment of its own: see .ci/run",
)


def portraits() -> dict[str, np.ndarray]:
    from importlib.resources import as_file, files

    with as_file(files("facesdk.portraits")) as folder:
        return {name: load_rgb(folder / name) for name in (*OWNER, LATER, *OTHERS)}


def test_the_whole_way_agrees_with_litert(tmp_path) -> None:
    engine, native = Engine(runtime="tflite-runtime"), Engine(runtime="litert-native")
    assert (engine.runtime.name, engine.runtime.version) == ("tflite-runtime", "2.14.0")
    frames = portraits()
    verifier = FaceVerifier(tmp_path / "vault", passphrase="own", engine=engine)
    verifier.enroll("owner", [frames[name] for name in OWNER], allow_few_samples=True)
    assert verifier.verify("owner", frames[LATER])
    for name in OTHERS:
        verifier.unlock("owner", passphrase="own")  # so many strangers in a row would only meet the delay
        assert not verifier.verify("owner", frames[name])
    for frame in frames.values():
        cosine = float(vector(engine.features(frame)) @ vector(native.features(frame)))
        assert cosine > 0.98


def test_auto_takes_it_where_there_is_no_litert(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(runtime._core, "native_variants", lambda: ["scalar"])  # where our executor has no variant
    assert choose_runtime("auto").name == "litert-native"
    monkeypatch.setattr(runtime, "LITERT", tmp_path)
    chosen = choose_runtime("auto")
    assert chosen.name == "tflite-runtime"
    assert "has no LiteRT library" in chosen.reason
    assert "ai-edge-litert cannot be imported" in chosen.reason


def test_missing_detector_is_an_error() -> None:
    with pytest.raises(AcceleratorError, match="not installed"):
        Engine("sface", detector="mediapipe")
