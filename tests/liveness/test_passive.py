"""Passive liveness: the networks see of a face what their authors showed them, and the rule refuses in doubt."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional_tools import tiny, with_stand_ins
from slow_twin import classes

from facesdk import Engine
from facesdk.engine.optional.adding import add
from facesdk.engine.optional.golden import SIDE
from facesdk.errors import ForkedError, InputError, ModelIntegrityError
from facesdk.liveness import passive as passive_module
from facesdk.liveness.passive import (
    MIN_BRIGHTNESS,
    NEEDED,
    Passive,
    PassiveSample,
    PassiveVerdict,
    has_colour,
    passive_verdict,
    patch,
    patch_corners,
    why_missing,
)  # fmt: skip
from facesdk.types import Face, Pose, Quality, Sample

BOX = np.array([200, 150, 300, 260], np.float32)


def authors_corners(width: int, height: int, box: list[float], scale: float) -> tuple[int, int, int, int]:
    """CropImage._get_new_box, in the authors' terms of x, y, width and height."""
    x, y, across, down = box[0], box[1], box[2] - box[0], box[3] - box[1]
    scale = min((height - 1) / down, min((width - 1) / across, scale))
    new_width, new_height = across * scale, down * scale
    centre_x, centre_y = across / 2 + x, down / 2 + y
    left, top = centre_x - new_width / 2, centre_y - new_height / 2
    right, bottom = centre_x + new_width / 2, centre_y + new_height / 2
    if left < 0:
        right, left = right - left, 0
    if top < 0:
        bottom, top = bottom - top, 0
    if right > width - 1:
        left, right = left - (right - width + 1), width - 1
    if bottom > height - 1:
        top, bottom = top - (bottom - height + 1), height - 1
    return int(left), int(top), int(right), int(bottom)


@given(
    st.integers(64, 2000), st.integers(64, 2000), st.floats(-200, 2000), st.floats(-200, 2000), st.floats(5, 1500),
    st.floats(5, 1500), st.sampled_from([1.0, 2.7, 4.0]),
)  # fmt: skip
def test_a_patch_is_the_authors_and_lies_in_the_frame(
    width: int, height: int, x: float, y: float, across: float, down: float, scale: float
) -> None:
    box = np.array([x, y, x + across, y + down], np.float32)
    left, top, right, bottom = found = patch_corners(width, height, box, scale)
    assert 0 <= left <= right < width
    assert 0 <= top <= bottom < height
    wanted = authors_corners(width, height, [float(v) for v in box], scale)
    # Sums in another order: a corner may fall on the other side of a whole number.
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 1


def test_patches_are_shifted_at_the_border_not_cut() -> None:
    assert (
        patch_corners(640, 480, BOX, 2.7) == authors_corners(640, 480, [200, 150, 300, 260], 2.7) == (115, 56, 385, 353)
    )
    assert patch_corners(640, 480, BOX - 190, 2.7) == (0, 0, 270, 297)
    assert patch_corners(640, 480, BOX + np.float32(300), 2.7) == (369, 182, 639, 479)
    assert patch_corners(640, 480, BOX, 100.0) == (32, 0, 467, 479), "the frame's height is all that there is"


@pytest.mark.parametrize(
    "box", [(1, 1, 1, 9), (9, 1, 3, 5), (0, 0, math.nan, 5), (0, 0, math.inf, 5), (-math.inf, 0, 5, 5)]
)
def test_a_box_that_is_none_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="box"):
        patch_corners(640, 480, np.array(box, np.float32), 2.7)


@pytest.mark.parametrize("scale", [2.7, 4.0])
@pytest.mark.parametrize("side", [44, 100, 170])
def test_patches_are_resized_as_opencv_does(scale: float, side: int) -> None:
    import cv2

    frame = np.random.default_rng(side).integers(0, 256, (480, 640, 3), np.uint8)
    frame = np.ascontiguousarray(cv2.GaussianBlur(frame, (0, 0), 1.5))
    for x, y in ((10.3, 20.7), (250.5, 200.1), (450.9, 300.4)):
        box = np.array([x, y, x + side, y + side], np.float32)
        left, top, right, bottom = patch_corners(640, 480, box, scale)
        wanted = cv2.resize(frame[top : bottom + 1, left : right + 1], (SIDE, SIDE))
        found = patch(frame, box, scale)
        assert np.ptp(found) > 20
        assert np.abs(found.astype(int) - wanted).max() <= 1


def samples(*values: float | None, brightness: float = 100.0) -> list[PassiveSample]:
    return [PassiveSample(brightness, value) for value in values]


def test_the_median_of_five_decides() -> None:
    assert passive_verdict(samples(0.9, 0.9, 0.1, 0.51, 0.0)) is PassiveVerdict.LIVE
    assert passive_verdict(samples(0.9, 0.9, 0.1, 0.5, 0.0)) is PassiveVerdict.DENIED
    assert passive_verdict(samples(1.0, 1.0, 1.0, 1.0)) is PassiveVerdict.PENDING
    assert passive_verdict([]) is PassiveVerdict.PENDING
    assert NEEDED == 5


@pytest.mark.parametrize("brightness", [0.0, MIN_BRIGHTNESS - 0.1, math.nan, -math.inf])
def test_dark_frames_tell_nothing(brightness: float) -> None:
    assert passive_verdict(samples(*[1.0] * 9)) is PassiveVerdict.LIVE
    assert passive_verdict(samples(*[1.0] * 9, brightness=brightness)) is PassiveVerdict.PENDING
    assert passive_verdict(samples(*[0.0] * 9, brightness=brightness)) is PassiveVerdict.PENDING
    assert passive_verdict([*samples(*[1.0] * 9, brightness=brightness), *samples(*[0.0] * 5)]) is PassiveVerdict.DENIED
    assert passive_verdict(samples(*[1.0] * 5, brightness=MIN_BRIGHTNESS)) is PassiveVerdict.LIVE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0001, -0.1])
def test_what_is_no_probability_denies(value: float) -> None:
    assert passive_verdict(samples(0.9, 0.9, value, value, value)) is PassiveVerdict.DENIED


def test_frames_without_colour_are_neither_live_nor_denied() -> None:
    assert passive_verdict(samples(*[None] * 5)) is PassiveVerdict.UNAVAILABLE
    assert passive_verdict(samples(*[None] * 5, brightness=1.0)) is PassiveVerdict.UNAVAILABLE
    assert passive_verdict(samples(*[None] * 4)) is PassiveVerdict.PENDING
    assert passive_verdict(samples(*[1.0] * 4, *[None] * 4)) is PassiveVerdict.PENDING
    assert passive_verdict(samples(*[1.0] * 9, *[None] * 5)) is PassiveVerdict.UNAVAILABLE


def test_a_sample_does_not_show_its_probability() -> None:
    assert "0.123" not in repr(samples(0.123)[0])


def test_colour() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (80, 80, 1), np.uint8).repeat(3, axis=2)
    assert not has_colour(gray)
    noise = np.random.default_rng(1).integers(0, 2, gray.shape, np.uint8)
    assert not has_colour(np.minimum(gray, 254) + noise), "the last bit of each plane says nothing"
    assert has_colour(np.clip(gray.astype(int) + np.array([4, 0, -4]), 0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small networks in the real ones' place."""
    add(with_stand_ins(tmp_path / "files", monkeypatch), tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def networks(folder: Path) -> Passive:
    loaded = Passive.load([folder])
    assert loaded is not None
    return loaded


@pytest.fixture
def frame() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


def sample_at(box: np.ndarray, brightness: float = 90.0) -> Sample:
    face = Face(box, np.zeros((6, 2), np.float32), 0.9, Pose(0, 0, 0))
    return Sample(face, Quality(60, brightness, 40, 0, 100, 1), 0.0, np.zeros((112, 112, 3), np.uint8))


def test_the_probability_is_the_mean_of_both_networks_on_their_patches(networks: Passive, frame: np.ndarray) -> None:
    wanted = [
        classes(tiny(seed=number, gate=number == 1, kernel=5), patch(frame, BOX, scale)[..., ::-1].astype(float))[1]
        for number, scale in enumerate((2.7, 4.0))
    ]
    assert abs(wanted[0] - wanted[1]) > 1e-3
    assert networks.live_probability(frame, BOX) == pytest.approx(np.mean(wanted), abs=1e-5)
    assert networks.look(frame, sample_at(BOX)) == PassiveSample(90.0, networks.live_probability(frame, BOX))


def test_gray_is_not_looked_at(networks: Passive, frame: np.ndarray) -> None:
    gray = frame.mean(axis=2).astype(np.uint8)
    with pytest.raises(InputError, match="colour"):
        networks.live_probability(gray, BOX)
    for picture in (gray, gray[:, :, None].repeat(3, axis=2)):
        assert networks.look(picture, sample_at(BOX)) == PassiveSample(90.0, None)


@pytest.mark.parametrize("answer", [math.nan, math.inf, -1.0, 3.0])
def test_an_answer_that_is_no_number_is_no_life(answer: float, frame: np.ndarray) -> None:
    class Broken:
        def run(self, _: np.ndarray) -> list[np.ndarray]:
            return [np.array([[[[0.0, answer, 1.0]]]], np.float32)]

    assert Passive([(Broken(), 2.7), (Broken(), 4.0)]).live_probability(frame, BOX) == 0.0  # type: ignore[list-item]


def test_without_both_networks_there_is_none_and_the_reason_is_said(folder: Path, tmp_path: Path) -> None:
    assert why_missing([folder]) == ""
    (folder / "minifasnet_4_0.tflite").unlink()
    assert Passive.load([folder]) is None
    assert "minifasnet_4_0 (made of 4_0_0_80x80_MiniFASNetV1SE.pth)" in why_missing([folder])
    assert "minifasnet_2_7" not in why_missing([folder])
    assert Passive.load([tmp_path / "nowhere"]) is Passive.load([]) is None
    assert "minifasnet_2_7" in why_missing([])


def test_the_usual_folders_are_looked_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passive_module, "usual_folders", lambda: (folder,))
    assert Passive.load() is not None
    assert why_missing() == ""


def test_a_network_that_was_changed_is_an_error_not_missing(folder: Path) -> None:
    path = folder / "minifasnet_2_7.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelIntegrityError):
        Passive.load([folder])
    with pytest.raises(ModelIntegrityError):
        why_missing([folder])


def test_networks_are_not_copied(networks: Passive) -> None:
    assert repr(networks) == "Passive()"
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="process"):
            make(networks)


def test_after_a_fork_they_are_loaded_anew(
    networks: Passive, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert networks.live_probability(frame, BOX) > 0
    monkeypatch.setattr(networks, "_process", networks._process + 1)
    with pytest.raises(ForkedError, match="before a fork"):
        networks.live_probability(frame, BOX)


def test_threads_are_checked(folder: Path) -> None:
    with pytest.raises(InputError, match="threads"):
        Passive.load([folder], threads=0)


def test_it_takes_what_the_engine_finds(networks: Passive, engine: Engine) -> None:
    from conftest import portrait

    picture = portrait("sunak")
    sample, _ = engine.observe(picture)
    assert sample is not None
    seen = networks.look(picture, sample)
    assert seen.brightness == sample.quality.brightness
    assert seen.live == networks.live_probability(picture, engine.detect(picture)[0].box_px)
    assert networks.look(picture, replace(sample, turned=True)) == seen
