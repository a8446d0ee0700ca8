"""The folder of the sources hides an installed facesdk and says so; the README's example runs where the README says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PORTRAITS

from facesdk.engine import runtime

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = (
    "this is the source folder of facesdk, whose extension module is not built here: run from another folder,"
    " or pip install -e ."
)
BUILT = shutil.ignore_patterns("*.so", "_litert", "__pycache__", "build", "*.egg-info")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The sources as they are before anything is built."""
    folder = tmp_path / "facesdk-0.1.0"
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "facesdk", folder / "facesdk", ignore=BUILT)
    shutil.copytree(ROOT / "models", folder / "models")
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_package_itself_is_imported_anywhere(sources: Path, tmp_path: Path) -> None:
    code = "import facesdk; print(facesdk.__file__)"
    assert run(tmp_path, "-c", code).stdout.strip() == str(ROOT / "facesdk" / "__init__.py")
    assert run(sources, "-c", code).stdout.strip() == str(sources / "facesdk" / "__init__.py")


@pytest.mark.parametrize(
    "code",
    [
        "from facesdk import FaceVerifier", "from facesdk import Engine", "import facesdk; facesdk.Engine",
        "from facesdk import _core", "import facesdk._core",
        "from facesdk.vault import Vault", "import facesdk.engine.runtime",
    ],
)  # fmt: skip
def test_an_import_there_explains_itself(code: str, sources: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "-c", code).returncode == 0
    done = run(sources, "-c", code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"NotBuiltError: {EXPLAINED}")
    caught = f"try:\n    {code}\nexcept ImportError as error:\n    print(error.name)"
    assert run(sources, "-c", caught).stdout.strip() == "facesdk._core"


@pytest.mark.parametrize("words", [["doctor"], ["models"], ["demo", "--no-picture"], ["status"], ["bench"], ["list"]])
def test_a_command_there_says_it_in_one_line(words: list[str], sources: Path) -> None:
    done = run(sources, "-m", "facesdk", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {EXPLAINED}\n")


def test_help_there_needs_nothing_built(sources: Path) -> None:
    assert run(sources, "-m", "facesdk", "--help").returncode == 0


def test_installed_by_another_python_is_another_message(sources: Path) -> None:
    (sources / "setup.py").unlink()
    done = run(sources, "-m", "facesdk", "doctor")
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: the facesdk in .* was not installed by this Python \(.*\): install it again\n", done.stderr
    )


def test_the_readmes_example_runs_where_the_readme_says(sources: Path, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    where, code = re.findall(r"\n\n(In Python[^\n]*(?:\n[^\n]+)*)\n\n```python\n(.*?)```", text, re.DOTALL)[0]
    assert "in another folder" in where
    for name, portrait in (("me1", "2005"), ("me2", "2009"), ("me3", "2012"), ("now", "2012")):
        for folder in (tmp_path, sources):
            shutil.copy(PORTRAITS / f"obama_{portrait}.jpg", folder / f"{name}.jpg")
    done = run(tmp_path, "-c", code)
    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["welcome"]), done.stderr
    assert EXPLAINED in run(sources, "-c", code).stderr


def test_the_sources_built_in_place_are_what_runs_there() -> None:
    assert Path(runtime.__file__).parents[1] == ROOT / "facesdk"
    assert run(ROOT, "-c", "from facesdk import FaceVerifier").returncode == 0
