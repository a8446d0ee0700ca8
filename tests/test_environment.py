"""What the environment must not change, tried: each variable first where it works, then where facesdk keeps it away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facesdk import environment
from facesdk.device import board

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "environment.md"
LOADED = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { close(open(MARK, O_CREAT | O_WRONLY, 0600)); }
int OSSL_provider_init(const void* core, const void* in, const void** out, void** context) { return 0; }
"""
CONFIGURATION = """
openssl_conf = start
[start]
providers = all
[all]
default = one
foreign = two
[one]
activate = 1
[two]
module = {library}
activate = 1
"""
OPENSSL_ALONE = "from cryptography.hazmat.primitives.hashes import SHA256, Hash; Hash(SHA256()).finalize()"
ENGINE = """
import os
from facesdk import Engine
from facesdk.vault import crypto
Engine("sface")
assert "OPENSSL_CONF" in os.environ
crypto.hkdf_sha256(b"k" * 32, b"s" * 16, info=b"", size=32)
"""
VAULT_ALONE = """
from facesdk.vault import crypto
crypto.hkdf_sha256(b"k" * 32, b"s" * 16, info=b"", size=32)
"""
CLIP = """
import sys
{first}
from facesdk.camera import open_source
with open_source(sys.argv[1]) as frames:
    print(sum(int(frame.image.sum()) for frame in frames))
"""


class Foreign:
    """A library that leaves a mark when it is loaded."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or pytest.skip("there is no gcc here")
        self.library, self._mark = folder / "foreign.so", folder / "mark"
        (folder / "foreign.c").write_text(LOADED)
        define = f'-DMARK="{self._mark}"'
        subprocess.run(
            [compiler, "-shared", "-fPIC", define, str(folder / "foreign.c"), "-o", str(self.library)], check=True
        )

    def was_loaded(self) -> bool:
        """Whether it was since this was asked last."""
        there = self._mark.exists()
        self._mark.unlink(missing_ok=True)
        return there


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path)


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)


@pytest.fixture
def configuration(foreign: Foreign, tmp_path: Path) -> str:
    path = tmp_path / "openssl.cnf"
    path.write_text(CONFIGURATION.format(library=foreign.library))
    return str(path)


def test_openssl_loads_what_its_configuration_names_where_nothing_hinders(foreign: Foreign, configuration: str) -> None:
    assert run("-c", OPENSSL_ALONE).returncode == 0
    assert not foreign.was_loaded()
    assert run("-c", OPENSSL_ALONE, OPENSSL_CONF=configuration).returncode == 0
    assert foreign.was_loaded()


@pytest.mark.parametrize(
    "words",
    [["-m", "facesdk", "models"], ["-m", "facesdk", "demo", "--no-picture"], ["-c", ENGINE], ["-c", VAULT_ALONE]],
)
def test_openssl_loads_no_library_that_the_environment_names(
    words: list[str], foreign: Foreign, configuration: str
) -> None:
    done = run(*words, OPENSSL_CONF=configuration)
    assert done.returncode == 0, done.stderr
    assert not foreign.was_loaded()


def test_a_configuration_cannot_forbid_what_opens_the_template(tmp_path: Path) -> None:
    path = tmp_path / "fips.cnf"
    path.write_text("openssl_conf = a\n[a]\nalg_section = b\n[b]\ndefault_properties = fips=yes\n")
    assert run("-c", OPENSSL_ALONE, OPENSSL_CONF=str(path)).returncode != 0
    assert run("-m", "facesdk", "demo", "--no-picture", OPENSSL_CONF=str(path)).returncode == 0


@pytest.mark.parametrize(
    ("code", "variables"),
    [
        ("import numpy", {"OPENBLAS_VERBOSE": "2"}), ("import PIL.Image", {"PILLOW_ALIGNMENT": "3"}),
        ("import PIL.Image", {"PILLOW_BLOCK_SIZE": "x"}),
    ],
)  # fmt: skip
def test_the_command_prints_no_line_that_the_environment_asks_for(code: str, variables: dict[str, str]) -> None:
    if run("-c", code, **variables).stderr == "":
        pytest.skip(f"{code} prints nothing here")
    done = run("-m", "facesdk", "demo", "--no-picture", **variables)
    assert (done.returncode, done.stderr) == (0, "")


def test_opencv_loads_and_changes_nothing_that_the_environment_names(foreign: Foreign, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV (extra camera) is not installed")
    import numpy as np

    clip = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(clip, cv2.VideoWriter_fourcc(*"MJPG"), 15, (64, 64))
    for brightness in range(0, 250, 50):
        writer.write(np.full((64, 64, 3), brightness, np.uint8))
    writer.release()
    plain, ours = CLIP.format(first="import cv2"), CLIP.format(first="")
    variables = {"INTEL_LIBITTNOTIFY64": str(foreign.library), "OPENCV_DUMP_CONFIG": "1", "OPENCV_LOG_LEVEL": "VERBOSE"}
    expected = run("-c", ours, clip)
    assert (expected.returncode, expected.stderr, int(expected.stdout) > 0) == (0, "", True)
    assert run("-c", plain, clip, **variables).stderr != ""
    assert foreign.was_loaded()
    done = run("-c", ours, clip, **variables)
    assert (done.stdout, done.stderr, foreign.was_loaded()) == (expected.stdout, "", False)


def test_no_program_of_the_path_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert shutil.which("vcgencmd") == str(tool)
    board.throttling()
    assert not (tmp_path / "ran").exists()


def test_cleaning_takes_the_named_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ["OPENSSL_CONF", "OPENSSL_MODULES", "TSS2_LOG", "TSS2_LOGFILE", "PILLOW_ALIGNMENT", "OPENCV_TRACE", "NPY_X",
            "LIBCAMERA_IPA_MODULE_PATH"]  # fmt: skip
    kept = ["TPM2TOOLS_TCTI", "OPENBLAS_NUM_THREADS", "XDG_DATA_HOME", "MY_OPENSSL_CONF"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict.fromkeys([*gone, *kept], "x"))
        with environment.without(environment.OPENSSL):
            assert not [name for name in os.environ if name.startswith("OPENSSL_")]
            assert "TSS2_LOG" in os.environ
        assert set(os.environ) == {*gone, *kept}
        environment.clean()
        assert set(os.environ) == set(kept)


def test_hidden_variables_come_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_TRACE", "1")

    def load() -> None:
        with environment.without(environment.OPENCV):
            raise ZeroDivisionError(os.environ.get("OPENCV_TRACE", "hidden"))

    with pytest.raises(ZeroDivisionError, match="hidden"):
        load()
    assert os.environ["OPENCV_TRACE"] == "1"


def test_the_command_that_is_installed_begins_by_cleaning() -> None:
    assert 'facesdk = "facesdk.__main__:run"' in (ROOT / "pyproject.toml").read_text()


def test_the_table_names_every_variable_that_is_taken_away() -> None:
    text = TABLE.read_text()
    for beginning in (*environment.OPENSSL, *environment.OPENCV, *environment.OTHERS):
        assert f"`{beginning}" in text, beginning
