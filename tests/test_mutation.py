"""The tool for mutation testing: what it changes, what it leaves alone, and a list that names changes that exist."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="pip install -e '.[mutation]'")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import mutation  # noqa: E402

SOURCE = '''
from __future__ import annotations
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

class Shape(Protocol):
    @property
    def sides(self) -> int | None: ...

def decide(score: float | None, *, limit: float = 0.5) -> bool | None:
    """1 or 2."""
    forget(score)
    count: int | None = 3
    if score is None:
        raise ValueError(f"{count + 1} wrong")
    return score >= limit
'''


def changes(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, str]]:
    (folder / "facesdk").mkdir()
    (folder / "facesdk" / "made_up.py").write_text(source)
    monkeypatch.setattr(mutation, "ROOT", folder)
    return {mutant.name[1:] for mutant in mutation.mutants("made_up")}


def test_what_decides_is_changed_and_annotations_and_words_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = "def decide(score: float | None, *, limit: float = 0.5) -> bool | None:"
    assert changes(SOURCE, tmp_path, monkeypatch) == {
        ("decide", "forget(score)", "pass"),
        ("decide", 'raise ValueError(f"{count + 1} wrong")', "pass"),
        ("decide", signature, signature.replace("0.5", "1.5")),
        ("decide", signature, signature.replace("0.5", "-0.5")),
        ("decide", "count: int | None = 3", "count: int | None = 4"),
        ("decide", "count: int | None = 3", "count: int | None = 2"),
        ("decide", "if score is None:", "if not score is None:"),
        ("decide", "if score is None:", "if score is not None:"),
        ("decide", "return score >= limit", "return score > limit"),
        ("decide", "return score >= limit", "return score < limit"),
    }


def test_a_killed_change_is_told_from_one_that_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = tmp_path / "tests" / "test_made_up.py"
    tests.parent.mkdir()
    tests.write_text("from facesdk.made_up import older\n\ndef test_older():\n    assert older(2, 1)\n")
    found = changes("def older(a, b):\n    return a > b\n", tmp_path, monkeypatch)
    assert len(found) == 2
    monkeypatch.setattr(mutation, "KEPT", tmp_path / ".cache" / "mutation.json")
    with mutation.Trials({"made_up": ["tests/test_made_up.py"]}) as trials:
        outcomes = {mutant.after: trials.outcome(mutant) for mutant in mutation.mutants("made_up")}
    assert outcomes == {"return a >= b": "survived", "return a <= b": "killed"}


def test_the_list_names_lines_that_there_are_and_says_why() -> None:
    """Whether each change of them can be made, the tool says, which takes it a minute."""
    config = mutation.tomllib.loads((ROOT / "tools" / "mutation.toml").read_text())
    for tests in config["tests"].values():
        assert all((ROOT / "tests" / f"{name}.py").exists() for name in tests)
    for entry in config.get("nothing", []):
        assert entry.keys() == {"module", "where", "before", "after", "why"}
        assert entry["module"] in config["tests"]
        source = " ".join((ROOT / "facesdk" / f"{entry['module']}.py").read_text().split())
        assert entry["before"] in source
        assert entry["after"] != entry["before"]
        assert entry["why"]
