"""The runtime's own lines: none that only informs reaches a program's stderr, what other threads write there does."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PORTRAITS

from facesdk import _core
from facesdk.engine import runtime
from facesdk.engine.networks import load_model

OWNER = str(PORTRAITS / "obama_2012.jpg")
DETECT = """
from facesdk import Engine
from facesdk.images import load_rgb
engine = Engine({embedder!r}, runtime={runtime!r})
assert len(engine.detect(load_rgb({picture!r}), landmarks=True)) == 1
assert engine.features(load_rgb({picture!r})) is not None
"""
BESIDE = """
import ctypes, threading
from facesdk import Engine
libc = ctypes.CDLL(None)
stderr = ctypes.c_void_p.in_dll(libc, "stderr")
before, done, written = stderr.value, threading.Event(), 0
def write():
    global written
    while not done.is_set():
        libc.fputs(b"INFO: mine\\n", stderr)
        written += 1
thread = threading.Thread(target=write)
thread.start()
for _ in range(5):
    Engine("sface")
done.set(); thread.join()
assert stderr.value == before
print(written)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("embedder", ["joint", "sface", "mobilefacenet"])
def test_an_engine_prints_nothing(embedder: str) -> None:
    done = run(DETECT.format(runtime="auto", embedder=embedder, picture=OWNER))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_engine_beside_the_interpreter_prints_nothing() -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra litert) is not installed")
    done = run("import ai_edge_litert.interpreter\n" + DETECT.format(runtime="auto", embedder="sface", picture=OWNER))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_python_interpreter_prints_nothing_either() -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra litert) is not installed")
    done = run(DETECT.format(embedder="sface", picture=OWNER, runtime="litert"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_command_prints_its_result_alone() -> None:
    command = [sys.executable, "-m", "facesdk", "bench", "--embedder", "sface", "--rounds", "10"]
    done = subprocess.run(command, cwd=PORTRAITS, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "frame to features" in done.stdout


def test_lines_of_other_threads_arrive_whole() -> None:
    done = run(BESIDE)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    assert done.stderr.splitlines() == ["INFO: mine"] * int(done.stdout)


def test_what_the_runtime_says_about_a_failure_is_in_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    """The first convolution's weights are said to be ten times as many as there are."""
    library = _core.LiteRtLibrary(str(Path(runtime.LITERT) / "libLiteRt.so"))
    model, shape = bytes(load_model("blazeface_short_range")), struct.pack("<5i", 4, 24, 5, 5, 3)
    assert _core.LiteRtNetwork(library, model, 1).output_infos
    assert shape in model
    damaged = model.replace(shape, struct.pack("<5i", 4, 24, 5, 5, 30))
    with pytest.raises(_core.RuntimeFailure, match=r"CreateCompiledModel answered.*: ERROR: .*; ERROR: Tensor"):
        _core.LiteRtNetwork(library, damaged, 1)
    assert capfd.readouterr().err == ""
