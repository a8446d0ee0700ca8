"""The choice of runtime: what is refused, what is taken instead, and that the reason is recorded."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from facesdk import Engine, mediapipe_detector, runtime
from facesdk.errors import AcceleratorError
from facesdk.runtime import choose_runtime


@pytest.mark.parametrize("version", ["2.1.2", "2.4.0", "3.0", "1.9.9"])
def test_untried_native_versions_are_refused_and_auto_falls_back(monkeypatch, version) -> None:
    assert choose_runtime("auto").name == "litert-native"
    real = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda p: version if p == "ai_edge_litert" else real(p))
    with pytest.raises(AcceleratorError, match=f"{version} is installed"):
        choose_runtime("litert-native")
    chosen = choose_runtime("auto")
    assert chosen.name == "litert"
    assert version in chosen.reason
    assert Engine("sface").runtime.name == "litert"


@pytest.mark.parametrize("version", ["2.1.6", "2.2.0", "2.3.0"])
def test_tried_versions_pass(monkeypatch, version) -> None:
    monkeypatch.setattr(runtime, "_version", lambda _package: version)
    assert choose_runtime("litert-native").version == version


def test_a_library_that_is_none_is_refused(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "libLiteRt.so").write_bytes(b"not a library")
    monkeypatch.setattr(runtime, "_package_folder", lambda _package: tmp_path)
    monkeypatch.setattr(runtime, "_version", lambda _package: "2.3.0")
    with pytest.raises(AcceleratorError, match="cannot be used natively"):
        choose_runtime("litert-native")


def test_nothing_installed_names_every_reason(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "_version", lambda _package: None)
    monkeypatch.setitem(runtime._MAKERS, "litert", runtime._tflite_runtime)
    with pytest.raises(AcceleratorError, match=r"ai-edge-litert is not installed.*tflite-runtime is not installed"):
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
