"""A red-team test of a rendered camera: who is recorded, what sessions say of the clips, and what that costs nobody."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from PIL import Image
from session_tools import camera, face_of, head

from facesdk import Engine, FaceVerifier, Policy
from facesdk.camera.frame import CapturedFrame
from facesdk.errors import EngineMismatchError, InputError
from facesdk.evaluation import redteam_run
from facesdk.evaluation.redteam_folder import CLIPS, FRAMES, RESULTS, clips_of, make_folder, read_lines
from facesdk.evaluation.redteam_record import Recorder
from facesdk.evaluation.redteam_run import Presentation, Settings, judged
from facesdk.evaluation.redteam_session import Looking, Matcher
from facesdk.liveness.simulator.acting import Screen, acted, frames
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Motion, Print, Scene, still, swing, tremble
from facesdk.types import Assurance
from facesdk.vault import KeyFileKey

OWNER, AT = "biden", (0.0, 0.0, 50.0)
Made = Callable[[Motion], Scene]


def _live(pose: Motion) -> Scene:
    return LiveHead(head(OWNER), pose, tremble(0.4, about=AT))


def _print(_pose: Motion) -> Scene:
    picture, width_cm = face_of(OWNER)
    return Print(picture, swing((35, 20, 5), period_s=1.7), tremble(0.5, about=AT), width_cm=width_cm)


def recorded(folder: Path, looking: Looking, species: str, scene_of: Made, **more: float) -> Recorder:
    """A clip of the scene, whose pose a person decides who follows what is shown meanwhile."""
    screen = Screen()
    scene = scene_of(acted(Person(0), screen))
    with Recorder(folder, looking, species=species, person="owner", camera="made", simulated=True, **more) as recorder:
        for image, time_s in frames(scene, camera(0, width=480, height=360)):
            progress = recorder.feed(CapturedFrame(image, 1000.0 + time_s, "made"))
            screen.show(time_s, progress.prompt)
            if progress.done:
                return recorder
    raise AssertionError("it did not end")


@pytest.fixture(scope="module")
def looking() -> Looking:
    return Looking(Engine(), Policy(), Assurance.RGB_CHALLENGE, without_networks=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, looking: Looking) -> Path:
    """A live clip and a print's."""
    made = make_folder(tmp_path_factory.mktemp("redteam") / "test")
    recorded(made, looking, "live", _live)
    recorded(made, looking, "print", _print, seconds=6.5)
    return made


@pytest.fixture
def enrolled(tmp_path: Path, key_file: Path, looking: Looking) -> FaceVerifier:
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=looking.engine)
    poses = ((0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, -9, 0), (0, 8, 0))
    scenes = [LiveHead(head(OWNER), still(*pose), still(0, 0, 46 + 2 * i)) for i, pose in enumerate(poses)]
    verifier.enroll("owner", [scene.render(0.0, camera(90 + i)) for i, scene in enumerate(scenes)])
    return verifier


def the_settings(looking: Looking, matcher: Matcher | None = None, *, draws: int = 1) -> Settings:
    return Settings.of(looking, matcher, challenge="dot", draws=draws, seed=0)


def test_a_live_clip_passes_with_the_path_it_was_shown_and_a_print_does_not(
    folder: Path, tmp_path: Path, looking: Looking, enrolled: FaceVerifier, key_file: Path
) -> None:
    test = tmp_path / "test"
    shutil.copytree(folder, test)
    matcher = Matcher.of(enrolled.vault, "owner", KeyFileKey(key_file), lambda _embedder: looking.engine)
    before = (enrolled.status("owner").failures, enrolled.vault.audit("owner")[1])
    there = sorted(tmp_path.iterdir())
    done, left_out = redteam_run.run(test, looking, matcher, the_settings(looking, matcher))
    assert (done, left_out) == (3, [])
    assert sorted(tmp_path.iterdir()) == there
    rows = read_lines(test / RESULTS)[1:]
    came = [(row["species"], row["path"], row["comparable"], row["live"], row["match"]) for row in rows]
    assert came == [
        ("live", "shown", True, True, True),
        ("print", "shown", True, False, None),
        ("print", "fresh", True, False, None),
    ]
    assert rows[0]["attack_suspected"] is False  # of a flat print that is seen to turn little, either is right
    assert 3000 < rows[0]["decided_ms"] < 10_000
    assert (enrolled.status("owner").failures, enrolled.vault.audit("owner")[1]) == before, "it cost an attempt"
    assert "score" not in (test / RESULTS).read_text()


def test_a_living_stranger_passes_and_does_not_match(
    folder: Path, tmp_path: Path, looking: Looking, key_file: Path
) -> None:
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=looking.engine)
    verifier.enroll("owner", [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")])
    matcher = Matcher.of(verifier.vault, "owner", KeyFileKey(key_file), lambda _embedder: looking.engine)
    clip = next(clip for clip in clips_of(folder) if clip.species == "live")
    row = judged(folder, Presentation(clip, 0, "shown"), looking, matcher, the_settings(looking, matcher))
    assert (row["live"], row["match"], row["reason"]) == (True, False, "passed")
    assert verifier.status("owner").failures == 0


def test_a_template_that_is_replaced_meanwhile_ends_the_run(
    looking: Looking, enrolled: FaceVerifier, key_file: Path
) -> None:
    matcher = Matcher.of(enrolled.vault, "owner", KeyFileKey(key_file), lambda _embedder: looking.engine)
    enrolled.vault.renew("owner", KeyFileKey(key_file), rules=Policy().attempts)
    with pytest.raises(EngineMismatchError, match="replaced"):
        matcher.matches(None)  # type: ignore[arg-type]


def test_a_live_clip_is_not_judged_by_a_path_that_it_was_not_shown(folder: Path, looking: Looking) -> None:
    clip = next(clip for clip in clips_of(folder) if clip.species == "live")
    other = replace(clip, seed="0" * 32)
    row = judged(folder, Presentation(other, 0, "shown"), looking, None, the_settings(looking))
    assert (row["comparable"], row["live"]) == (False, False)
    row = judged(folder, Presentation(clip, 1, "fresh"), looking, None, the_settings(looking))
    assert (row["comparable"], row["live"]) == (True, False), "a recording passed by a path that is not its own"


def test_what_is_recorded_is_for_its_owner_alone_and_lossless(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert not path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o700
    (live, print_) = clips_of(folder)
    pictures = sorted((folder / FRAMES / live.name).iterdir())
    assert len(pictures) == len(live.times_s) == len(live.prompts)
    with Image.open(pictures[7]) as seven:
        assert seven.format == "PNG"
        assert seven.size == (480, 360)
    assert live.times_s[0] == 0
    assert any(live.prompts)
    assert print_.times_s[-1] == pytest.approx(6.5, abs=0.1), "an attack is recorded on after it was found out"
    row = read_lines(folder / CLIPS)[0]
    assert (row["species"], row["person"], row["camera"], row["simulated"]) == ("live", "owner", "made", True)
    assert row["fps"] == pytest.approx(15, abs=0.1)


def test_a_clip_that_is_given_up_leaves_nothing(tmp_path: Path, looking: Looking) -> None:
    test = make_folder(tmp_path / "test")
    frame = CapturedFrame(np.zeros((96, 96, 3), np.uint8), 0.0, "made")
    with contextlib.suppress(RuntimeError), Recorder(test, looking, species="mask") as recorder:
        recorder.feed(frame)
        raise RuntimeError
    with Recorder(test, looking, species="mask") as recorder:
        recorder.feed(frame)
        recorder.cancel("ended from outside")
        assert recorder.feed(frame).done
    assert clips_of(test) == []
    assert list((test / FRAMES).iterdir()) == []
    with Recorder(test, looking, species="other:statue") as recorder:
        recorder.feed(frame)
        recorder.cancel("the camera gave no more pictures")
    assert [clip.species for clip in clips_of(test)] == ["other-statue"]


def test_a_clip_that_cannot_be_written_is_an_error_and_does_not_count(tmp_path: Path, looking: Looking) -> None:
    test = make_folder(tmp_path / "test")
    frame = CapturedFrame(np.zeros((96, 96, 3), np.uint8), 0.0, "made")
    recorder = Recorder(test, looking, species="mask")
    shutil.rmtree(test / FRAMES / f"{recorder.name}.partial")
    recorder.feed(frame)
    with pytest.raises(InputError, match="cannot be written"):
        recorder.__exit__(None, None, None)
    assert clips_of(test) == []


def test_a_video_is_judged_as_a_folder_of_pictures_is(tmp_path: Path, looking: Looking) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra `camera` is not installed")
    (tmp_path / "phone").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "phone" / "x.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, (96, 96))
    for number in range(9):
        writer.write(np.full((96, 96, 3), 20 * number, np.uint8))
    writer.release()
    assert redteam_run.run(tmp_path, looking, None, the_settings(looking)) == (1, [])
    row = read_lines(tmp_path / RESULTS)[1]
    assert (row["clip"], row["species"], row["frames"], row["answered"]) == ("phone/x.avi", "phone", 9, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phone", "redteam.json", RESULTS]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Attacks that show nobody, by species, which are judged fast."""
    random = np.random.default_rng(0)
    for name in ("print/a", "phone/b", "other-doll/c"):
        (tmp_path / "small" / name).mkdir(parents=True)
        for number in range(12):
            noise = random.integers(0, 255, (96, 96, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "small" / name / f"{number:03}.png")
    return tmp_path / "small"


def test_a_run_that_is_killed_goes_on_where_it_was(small: Path, tmp_path: Path, looking: Looking) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(small, whole)
    command = [sys.executable, "-m", "facesdk", "redteam", "run", "--draws", "8"]
    subprocess.run([*command, str(whole)], check=True, capture_output=True, timeout=120)
    process = subprocess.Popen([*command, str(small)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while (not (small / RESULTS).exists() or len(read_lines(small / RESULTS)) < 4) and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = read_lines(small / RESULTS)
    assert 4 <= len(kept) < 25, "it was not killed in the middle"
    with open(small / RESULTS, "ab") as file:
        file.write(b'{"clip": "print/a", "dra')
    subprocess.run([*command, str(small)], check=True, capture_output=True, timeout=120)
    assert read_lines(small / RESULTS) == read_lines(whole / RESULTS)
    assert len(read_lines(whole / RESULTS)) == 25


def test_results_of_other_settings_are_not_mixed(small: Path, looking: Looking) -> None:
    redteam_run.run(small, looking, None, the_settings(looking))
    with pytest.raises(InputError, match="other settings \\(draws\\)") as caught:
        redteam_run.run(small, looking, None, the_settings(looking, draws=2))
    assert "--restart" in caught.value.hint
    done, _ = redteam_run.run(small, looking, None, the_settings(looking, draws=2), restart=True)
    assert done == 6
    assert json.loads((small / RESULTS).read_text().splitlines()[0])["settings"]["draws"] == 2


def test_live_files_without_a_path_are_left_out_of_a_challenge(small: Path, looking: Looking) -> None:
    shutil.copytree(small / "print" / "a", small / "live" / "me")
    settings = the_settings(looking)
    _, left_out = redteam_run.presentations(clips_of(small), settings)
    assert [clip.name for clip in left_out] == ["live/me"]
    todo, left_out = redteam_run.presentations(clips_of(small), replace(settings, liveness="none"))
    assert (len(todo), left_out) == (4, [])
