"""The choice of runtime: what is refused, what is taken instead, and that the reason is recorded."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from facesdk import Engine, _core
from facesdk.engine import mediapipe as mediapipe_detector
from facesdk.engine import runtime
from facesdk.engine.runtime import choose_runtime
from facesdk.errors import AcceleratorError

ROOT = Path(__file__).resolve().parents[2]


def test_auto_takes_the_library_that_is_part_of_the_package() -> None:
    files = [ROOT / "pyproject.toml", ROOT / "tools" / "litert.txt"]
    (pinned,) = {v for path in files for v in re.findall(r"ai-edge-litert==([\d.]+)", path.read_text())}
    chosen = choose_runtime("auto")
    own = ("native", runtime.EXECUTOR) if runtime.native_variant() else ("litert-native", pinned)
    assert (chosen.name, chosen.version) == own
    assert choose_runtime("litert-native").version == pinned
    assert runtime.LITERT.parent == Path(runtime.__file__).parents[1]


def foreign(kind: str) -> bytes:
    """What stands in the place of the library: nothing that can be loaded, or a library without its functions."""
    return b"not a library" if kind == "text" else Path(_core.__file__).read_bytes()


@pytest.fixture
def without_executor(monkeypatch) -> None:
    """A processor that our executor has no variant for."""
    monkeypatch.setattr(_core, "native_variants", lambda: ["scalar"])


@pytest.mark.parametrize("kind", ["none", "no version", "text", "another library"])
def test_without_a_usable_library_the_interpreter_is_taken_and_the_reason_told(
    kind, monkeypatch, tmp_path, without_executor
) -> None:
    reason = "has no LiteRT library" if kind in ("none", "no version") else "LiteRT 9.9.9 cannot be used natively"
    if kind != "none":
        (tmp_path / "libLiteRt.so").write_bytes(foreign(kind))
        (tmp_path / "VERSION").write_bytes(b"\xff\xfe" if kind == "no version" else b"9.9.9\n")
    monkeypatch.setattr(runtime, "LITERT", tmp_path)
    with pytest.raises(AcceleratorError, match=reason):
        choose_runtime("litert-native")
    engine = Engine("sface")
    assert engine.runtime.name == "litert"
    assert reason in engine.runtime.reason


INTERPRETER_FIRST = """
import numpy
from facesdk.engine.twin import synthetic_crop
from facesdk.engine.networks import load_model
from facesdk.engine.runtime import choose_runtime
crop = (synthetic_crop()[None].astype("int16") - 128).astype("int8")
first, second = (choose_runtime(name).make_network(load_model("sface")) for name in ("litert", "litert-native"))
assert numpy.array_equal(first.run(crop)[0], second.run(crop)[0])
assert first.run(crop)[0].any()
"""


def test_our_copy_of_the_library_beside_the_interpreters() -> None:
    """In the order that no other test has: the Python interpreter is loaded first."""
    done = subprocess.run([sys.executable, "-c", INTERPRETER_FIRST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_installed_names_every_reason(monkeypatch, tmp_path, without_executor) -> None:
    monkeypatch.setattr(runtime, "LITERT", tmp_path)
    monkeypatch.setattr(runtime, "_version", lambda _package: None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(
        AcceleratorError,
        match=r"has no LiteRT library.*facesdk-unlock\[litert\].*facesdk-unlock\[tflite-runtime\]",
    ):
        choose_runtime("auto")


def test_versions_are_those_of_the_metadata() -> None:
    for package, distribution in (("ai_edge_litert", "ai-edge-litert"), ("numpy", "numpy")):
        assert runtime._version(package) == metadata.version(distribution)
    assert runtime._version("no_such_package") is None


@pytest.mark.parametrize("version", ["0.10.22", "0.10.30", "1.2.2", "0.10.17", "0.10.21rc1"])
def test_mediapipe_versions_that_call_home_are_refused(monkeypatch, version) -> None:
    monkeypatch.setattr(mediapipe_detector, "version", lambda _name: version)
    with pytest.raises(AcceleratorError, match=version):
        Engine("sface", detector="mediapipe")


def test_missing_mediapipe_says_what_to_install() -> None:
    try:
        metadata.version("mediapipe")
    except metadata.PackageNotFoundError:
        with pytest.raises(AcceleratorError, match="facesdk-unlock\\[mediapipe\\]"):
            Engine("sface", detector="mediapipe")
    else:
        pytest.skip("mediapipe is installed here")
