"""facesdk models add, remove and the list."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from optional_tools import with_stand_ins

from facesdk.cli import main
from facesdk.engine.optional import store


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What can be added, on a machine where nothing was."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(store, "SYSTEM", tmp_path / "system")
    return [str(path) for path in with_stand_ins(tmp_path / "files", monkeypatch)]


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """The optional networks by name."""
    capsys.readouterr()
    main(["models", "--json"])
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["optional"]}


def test_networks_are_added_listed_and_removed(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {name: row["path"] for name, row in listed(capsys).items()} == dict.fromkeys(
        ("minifasnet_2_7", "minifasnet_4_0")
    )
    assert main(["models", "add", "--json", *files]) == 0
    added = json.loads(capsys.readouterr().out)["added"]
    assert [row["name"] for row in added] == ["minifasnet_2_7", "minifasnet_4_0"]
    assert all(Path(row["path"]).parent == tmp_path / "data" / "facesdk-models" for row in added)
    assert all(row["ok"] and row["path"] for row in listed(capsys).values())
    assert main(["models"]) == 0
    assert "ok  minifasnet_4_0 (Apache-2.0, Minivision)" in capsys.readouterr().out
    assert main(["models", "remove", "minifasnet_4_0"]) == 0
    assert listed(capsys)["minifasnet_4_0"]["path"] is None
    assert main(["models", "remove", "minifasnet_4_0"]) == 2
    assert "is not in" in capsys.readouterr().err


def test_the_system_s_folder_is_asked_for(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", "--system", files[0]]) == 0
    assert os.listdir(tmp_path / "system") == ["minifasnet_2_7.tflite"]
    assert str(listed(capsys)["minifasnet_2_7"]["path"]).startswith(str(tmp_path / "system"))
    assert main(["models", "remove", "minifasnet_2_7"]) == 2
    assert main(["models", "remove", "--system", "minifasnet_2_7"]) == 0
    assert os.listdir(tmp_path / "system") == []


def test_a_damaged_one_is_said_to_be(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "add", files[0]])
    (tmp_path / "data" / "facesdk-models" / "minifasnet_2_7.tflite").write_bytes(b"x")
    capsys.readouterr()
    assert main(["models"]) == 6
    out = capsys.readouterr().out
    assert "BAD minifasnet_2_7" in out
    assert "`facesdk models add FILE` makes it again" in out


def test_an_unknown_file_says_which_are_known(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", __file__]) == 2
    said = capsys.readouterr().err
    assert "is no network that this facesdk knows" in said
    assert "2.7_80x80_MiniFASNetV2.pth" in said
    assert main(["models", "add", "/nowhere"]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["models", "remove", "sface"]) == 2
    assert "no optional model" in capsys.readouterr().err


def test_adding_before_enrolling_leaves_the_vault_s_folder_alone(files: list[str], tmp_path: Path) -> None:
    """The vault is $XDG_DATA_HOME/facesdk, and takes no folder that holds other things."""
    assert main(["models", "add", files[0]]) == 0
    assert sorted(os.listdir(tmp_path / "data")) == ["facesdk-models"]
