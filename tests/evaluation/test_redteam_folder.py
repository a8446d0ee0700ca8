"""What lies in the folder of a red-team test is hostile: each kind of it is an error that names it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facesdk import Engine, Policy
from facesdk.errors import CameraError, FaceSdkError, InputError
from facesdk.evaluation import redteam_folder, redteam_run
from facesdk.evaluation.redteam_counts import read_results
from facesdk.evaluation.redteam_folder import (
    CLIPS,
    FRAMES,
    MARK,
    REPORT,
    RESULTS,
    append_line,
    checked_person,
    checked_species,
    clips_of,
    make_folder,
    read_lines,
)
from facesdk.evaluation.redteam_report import make_report
from facesdk.evaluation.redteam_run import Settings
from facesdk.evaluation.redteam_session import Looking
from facesdk.types import Assurance

CLIP: dict[str, Any] = {
    "clip": "print-0001", "species": "print", "person": "owner", "camera": "made", "simulated": True, "gray": False,
    "challenge": "dot", "seed": "0" * 32, "times_s": [0.0, 0.1], "prompts": [None, [0.5, 0.5]],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recorded clip of two frames, which is read before anything is made of it."""
    made = make_folder(tmp_path / "test")
    frames = made / FRAMES / "print-0001"
    frames.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.full((96, 96, 3), 90 * number, np.uint8)).save(frames / f"{number:06}.png")
    append_line(made / CLIPS, CLIP)
    assert [clip.name for clip in clips_of(made)] == ["print-0001"]
    return made


def run(folder: Path) -> int:
    looking = Looking(Engine(), Policy(), Assurance.RGB_CHALLENGE)
    settings = Settings.of(looking, None, challenge="dot", draws=1, seed=0)
    return redteam_run.run(folder, looking, None, settings)[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"clip": "../../outside"}, {"clip": "/etc"}, {"clip": "a/b"}, {"clip": 5}, {"species": "../x"},
        {"species": ["print"]}, {"person": "a/b"}, {"person": None}, {"simulated": 1}, {"gray": None},
        {"seed": "f"}, {"seed": 10**40}, {"challenge": "dance"}, {"camera": "a\nb"}, {"times_s": []},
        {"times_s": [0, "1"]}, {"times_s": [1, 0]}, {"times_s": [-1, 0]}, {"times_s": [0, 1e300]},
        {"times_s": [0, True]}, {"times_s": [0.0] * 6001}, {"prompts": [None]}, {"prompts": [None, [1]]},
        {"prompts": [None, [0.5, 1e9]]}, {"prompts": [None, "ab"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_that_record_never_writes_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    (folder / CLIPS).write_text(json.dumps({**CLIP, **changed}) + "\n")
    with pytest.raises(InputError, match=rf"{CLIPS}:1: "):
        clips_of(folder)


@pytest.mark.parametrize("line", ["[" * 100_000, "{", "null", "[]", '{"a": NaN}', "9" * 5000, '"' + "x" * (1 << 21)])
def test_lines_that_are_no_objects_are_refused(folder: Path, line: str) -> None:
    (folder / CLIPS).write_text(line + "\n")
    with pytest.raises(InputError, match=rf"{CLIPS}:1: "):
        clips_of(folder)


def test_a_huge_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redteam_folder, "MAX_FILE", 1 << 20)
    with open(folder / CLIPS, "wb") as file:
        file.truncate(1 << 30)  # sparse
    with pytest.raises(InputError, match="larger than 1 MiB"):
        clips_of(folder)


def test_a_name_that_comes_twice_is_refused(folder: Path) -> None:
    append_line(folder / CLIPS, CLIP)
    with pytest.raises(InputError, match="two clips of one name"):
        clips_of(folder)


@pytest.mark.parametrize("name", [CLIPS, RESULTS, FRAMES, MARK, REPORT, f"{REPORT}.partial", "print", "print/x.mp4",
                                  "simulated", "clips/print-0001", "clips/print-0001/000001.png"])  # fmt: skip
def test_a_link_is_an_error_and_nothing_is_written_behind_it(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("as it is")
    place = folder / name
    if place.is_dir():
        place.rename(tmp_path / "moved")
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside if not place.suffix or "partial" in name else outside / "kept")
    with pytest.raises(InputError, match=name.split("/")[-1]):
        run(folder)
    if name in (RESULTS, REPORT, f"{REPORT}.partial"):
        with pytest.raises(InputError, match=name):
            make_report(folder)
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "as it is"


def test_a_frame_that_is_cut_off_names_its_clip_and_file(folder: Path) -> None:
    frame = folder / FRAMES / "print-0001" / "000001.png"
    frame.write_bytes(frame.read_bytes()[:60])
    with pytest.raises(InputError, match=r"print-0001: 000001\.png"):
        run(folder)
    frame.unlink()
    with pytest.raises(InputError, match="1 frames, where 2 were recorded"):
        run(folder)


def test_files_that_are_no_videos_are_errors(folder: Path) -> None:
    (folder / "phone").mkdir()
    bad = folder / "phone" / "x.mp4"
    bad.write_bytes(b"\0" * 4096)
    with pytest.raises(CameraError, match=r"phone/x\.mp4"):
        run(folder)
    bad.unlink()
    os.mkfifo(bad)
    with pytest.raises(InputError, match="regular file"):
        run(folder)
    bad.unlink()
    (folder / "phone" / "x.txt").write_text("x")
    with pytest.raises(InputError, match="neither a video"):
        run(folder)


def test_another_run_at_work_is_waited_for(folder: Path) -> None:
    with redteam_run._only_one(folder / RESULTS), pytest.raises(InputError, match="another run"):
        run(folder)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"species": "$\\frac"}, "species"), ({"live": 1}, "live"), ({"decided_ms": float("1e308")}, "decided_ms"),
        ({"decided_ms": 10**400}, "decided_ms"), ({"draw": -1}, "draw"), ({"reason": "x" * 5000}, "reason"),
        ({"clip": None}, "clip"),
    ],
)  # fmt: skip
def test_results_that_run_never_writes_make_no_report(folder: Path, row: dict[str, Any], said: str) -> None:
    assert run(folder) == 2
    settings, rows = read_lines(folder / RESULTS)[0], read_lines(folder / RESULTS)[1:]
    read_results(folder)
    (folder / RESULTS).write_text("".join(json.dumps(one) + "\n" for one in (settings, {**rows[0], **row})))
    with pytest.raises(InputError, match=f"{RESULTS}:2: {said}"):
        make_report(folder)
    settings["settings"]["user"] = None
    (folder / RESULTS).write_text(json.dumps(settings) + "\n")
    with pytest.raises(InputError, match=f"{RESULTS}:1: user"):
        make_report(folder)


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    (mine / "holiday.jpg").write_bytes(b"")
    for use in (make_folder, clips_of):
        with pytest.raises(InputError, match=r"holiday\.jpg"):
            use(mine)
    assert [path.name for path in mine.iterdir()] == ["holiday.jpg"]
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    open_to_all.chmod(0o755)
    with pytest.raises(InputError, match="others can look") as caught:
        make_folder(open_to_all)
    assert "chmod 700" in caught.value.hint
    link = tmp_path / "link"
    link.symlink_to(mine)
    with pytest.raises(InputError, match="link"):
        make_folder(link)
    with pytest.raises(FaceSdkError):
        make_folder(tmp_path / "no" / "parent")


def test_names_of_species_and_people() -> None:
    assert checked_species("print") == "print"
    assert checked_species("other:doll") == "other-doll"
    assert checked_person("") == ""
    for wrong in ("Print", "", "other:", "other:a/b", "photo"):
        with pytest.raises(InputError, match="species"):
            checked_species(wrong)
    for wrong in ("../x", "a b", "x" * 65):
        with pytest.raises(InputError, match="person"):
            checked_person(wrong)
