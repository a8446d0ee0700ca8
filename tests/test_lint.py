"""One source of what the code is held to: tools/lint.sh, which CONTRIBUTING.md names and CI runs."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # CPython 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "lint.sh"
RUNS = [
    "-m ruff check .", "-m ruff format --check .", "tools/check_files.py", "-m mypy",
    "-m mypy.stubtest facesdk._core --mypy-config-file pyproject.toml --allowlist tools/stubtest_allowlist.txt",
]  # fmt: skip
TOOLS = re.compile(r"\b(ruff|mypy|stubtest)\b")


def fake_python(folder: Path, *, fails_at: int = 0) -> Path:
    """A program in Python's place that writes down how it is called, and fails at one call."""
    path, log = folder / "python", folder / "log"
    path.write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$(wc -l < {log})" != {fails_at} ]\n')
    path.chmod(0o755)
    return path


def run(folder: Path, *, fails_at: int = 0) -> tuple[int, list[str]]:
    command = ["bash", str(TOOL), str(fake_python(folder, fails_at=fails_at))]
    code = subprocess.run(command, cwd=folder).returncode
    return code, (folder / "log").read_text().splitlines()


def test_everything_is_run(tmp_path: Path) -> None:
    assert run(tmp_path) == (0, RUNS)


@pytest.mark.parametrize("fails_at", range(1, len(RUNS) + 1))
def test_whatever_fails_ends_it(fails_at: int, tmp_path: Path) -> None:
    assert run(tmp_path, fails_at=fails_at) == (1, RUNS[:fails_at])


def test_ci_runs_the_line_that_contributors_are_given() -> None:
    (line,) = re.findall(r"^\| lint, types \| `(.*)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert line == "bash tools/lint.sh"
    gate = (ROOT / ".ci" / "run").read_text().splitlines()
    assert f'{line} "$python"' in gate
    assert [text for text in gate if TOOLS.search(text)] == []


# Modules of more than 300 lines, each with the reason.
LONG = {
    "facesdk/verifier.py": "the one composer; nearly half of it are the docstrings that editors and the reference show",
    "facesdk/vault/vault.py": "what may be done with a template, one method each, with a public class's docstrings",
}


def test_modules_and_functions_are_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "facesdk").rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 300
    }
    assert long == set(LONG)
    for path in (ROOT / "facesdk").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node, clean=False) or ""
                lines = (node.end_lineno or 0) - node.lineno + 1 - (text.count("\n") + 1 if text else 0)
                assert lines <= 40, f"{path.name}: {node.name} has {lines} lines without its docstring"


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "facesdk").rglob("__init__.py")}
    assert {name.replace(".", "/") for name in listed} - {"facesdk/_models"} == folders
