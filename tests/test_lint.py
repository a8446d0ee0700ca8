"""One source of what the code is held to: tools/lint.sh, which CONTRIBUTING.md names and CI runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "lint.sh"
RUNS = [
    "-m ruff check .", "-m ruff format --check .", "-m mypy",
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
