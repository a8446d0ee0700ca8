"""Parallax: heads have a relief, sheets none, and nothing that a camera or a caller gives it goes further than that."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import portrait
from relief_tools import Scene, bent, flat, head, placed, sequence, turned

from facesdk import Engine, InputError, _core
from facesdk.liveness.parallax import MIN_TRACKS, MIN_TURN_DEG, Parallax, Relief
from facesdk.types import Float32Array, Frame, Pose

Step = tuple[Frame, Float32Array, Pose]
OUT = (0, 4, 8, 12, 15, 18)
# How far the mesh says that paper is turned, of what it is: flat prints less, bent ones up to this.
PAPER = 0.4
NAMES = ["obama_2012", "collins", "biden"]


@cache
def scene(kind: str, name: str = "obama_2012") -> Scene:
    frame, landmarks = placed(Engine(), portrait(name))
    return {"head": head, "flat": flat, "bent": bent}[kind](frame, landmarks)


@cache
def steps(kind: str, name: str = "obama_2012") -> tuple[Step, ...]:
    """A turn of a head by 18 degrees, or one of paper by 45, which its mesh takes for 18."""
    if kind == "head":
        return tuple(sequence(scene(kind, name), OUT))
    return tuple(sequence(scene(kind, name), (yaw / PAPER for yaw in OUT), believed=PAPER))


def fed(parallax: Parallax, given: Iterable[Step]) -> list[Relief]:
    return [relief for step in given if (relief := parallax.feed(*step)) is not None]


@pytest.mark.parametrize("name", NAMES)
def test_a_head_that_turns_has_its_relief(name: str) -> None:
    found = fed(Parallax(), steps("head", name))
    assert len(found) == 3
    for relief in found:
        assert 0.75 < relief.rho < 1.25
        assert 0.75 < relief.rho_bent < 1.25
        assert relief.turn_deg >= MIN_TURN_DEG
        assert relief.points >= MIN_TRACKS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["flat", "bent"])
def test_paper_that_turns_has_none(kind: str, name: str) -> None:
    found = fed(Parallax(), steps(kind, name))
    assert len(found) == 3
    for relief in found:
        assert abs(relief.rho_bent) < 0.2
        assert kind == "bent" or abs(relief.rho) < 0.2


def test_turns_up_and_down_count_as_turns_do() -> None:
    parallax, found = Parallax(), []
    for pitch in (0, 4, 8, 12, 16):
        frame, landmarks = turned(scene("head"), 0, pitch)
        found.append(parallax.feed(frame, landmarks, Pose(0, pitch, 0)))
    assert found[:3] == [None] * 3
    for relief in found[3:]:
        assert relief is not None
        assert 0.7 < relief.rho_bent < 1.3


def test_nothing_is_said_without_a_turn() -> None:
    parallax = Parallax()
    assert fed(parallax, [steps("head")[i] for i in (0, 1, 2, 1, 0) * 3]) == []


def test_a_head_of_paper_put_in_the_face_s_place_gives_no_relief() -> None:
    """The picture of a turned head, held to the camera after that of a straight one: the track breaks in between."""
    parallax = Parallax()
    first, last = steps("head")[0], steps("head", "biden")[-1]
    assert fed(parallax, [first, first, last, last, last]) == []


def test_gray_frames_are_as_good() -> None:
    gray = [(np.ascontiguousarray(frame[..., 1]), *more) for frame, *more in steps("head")]
    found = fed(Parallax(), gray)
    assert len(found) == 3
    assert 0.75 < found[-1].rho < 1.25


def test_views_are_looked_at_as_their_copies() -> None:
    wide = [(np.repeat(frame, 2, axis=1)[:, ::2], *more) for frame, *more in steps("head")]
    assert not wide[0][0].flags.c_contiguous
    assert fed(Parallax(), wide) == fed(Parallax(), steps("head"))


def test_the_same_frame_twice_changes_nothing_much() -> None:
    parallax = Parallax()
    twice = [step for step in steps("head") for _ in range(2)]
    found = fed(parallax, twice)
    assert len(found) == 6
    assert found[-1].rho == pytest.approx(fed(Parallax(), steps("head"))[-1].rho, abs=0.05)


def test_frames_that_were_dropped_are_survived() -> None:
    """Every other frame of the turn is missing; the track holds, or breaks and says nothing."""
    found = fed(Parallax(), steps("head")[::2] + steps("head")[-1:])
    assert all(0.7 < relief.rho < 1.3 for relief in found)


def test_a_frame_of_another_size_begins_anew() -> None:
    parallax, given = Parallax(), steps("head")
    assert fed(parallax, given)
    frame, landmarks, pose = given[-1]
    cut = np.ascontiguousarray(frame[:-1])
    assert parallax.feed(cut, landmarks, pose) is None
    assert parallax.feed(cut, landmarks, pose) is None, "its anchors are those of the turned head"


def test_reset_begins_anew() -> None:
    parallax, given = Parallax(), steps("head")
    assert fed(parallax, given)
    parallax.reset()
    assert parallax.feed(*given[-1]) is None
    assert parallax.feed(*given[-1]) is None
    assert parallax.feed(*given[0]) is not None, "18 degrees from there"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["landmarks", "all landmarks", "yaw", "pitch"])
def test_numbers_that_are_none_end_the_track(bad: float, where: str) -> None:
    parallax, given = Parallax(), steps("head")
    assert fed(parallax, given[:-1])
    frame, landmarks, pose = given[-2]
    wrong = landmarks.copy()
    if "landmarks" in where:
        wrong[slice(None) if "all" in where else 100] = bad
    turn = Pose(bad if where == "yaw" else pose.yaw_deg, bad if where == "pitch" else pose.pitch_deg, 0.0)
    assert parallax.feed(frame, wrong, turn) is None
    assert fed(parallax, given[-2:]) == []


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_saturated_frames_end_the_track(level: int) -> None:
    parallax, given = Parallax(), steps("head")
    assert fed(parallax, given)
    empty = np.full_like(given[0][0], level)
    for _ in range(3):
        assert parallax.feed(empty, *given[-1][1:]) is None
    assert parallax.feed(*given[-1]) is None


def test_a_face_that_leaves_the_frame_ends_the_track() -> None:
    parallax, given = Parallax(), steps("head")
    assert fed(parallax, given)
    frame, landmarks, pose = given[-1]
    for shift in (300, 600, 5000, 1e7):
        away = landmarks + np.float32([shift, 0, 0])
        assert parallax.feed(frame, away, pose) is None
    assert parallax.feed(frame, landmarks, pose) is None


def test_huge_frames_are_looked_at_where_the_face_is() -> None:
    """In 8192 x 8192 the face alone is read; it comes out as in the small frame."""
    parallax, found = Parallax(), []
    for frame, landmarks, pose in steps("head"):
        huge = np.zeros((8192, 8192), np.uint8)
        huge[4000:4480, 7000:7640] = frame[..., 1]
        found.append(parallax.feed(huge, landmarks + np.float32([7000, 4000, 0]), pose))
    assert found[-1] is not None
    assert 0.75 < found[-1].rho < 1.25


def test_large_faces_are_made_smaller() -> None:
    given = [
        (frame.repeat(4, axis=0).repeat(4, axis=1), landmarks * 4, pose) for frame, landmarks, pose in steps("head")
    ]
    found = fed(Parallax(), given)
    assert len(found) == 3
    assert 0.75 < found[-1].rho < 1.25


def test_a_face_turned_away_has_no_anchors() -> None:
    parallax, given = Parallax(), steps("head")
    frame, landmarks, _ = given[-1]
    for _ in range(2):
        assert parallax.feed(frame, landmarks, Pose(26.0, 0.0, 0.0)) is None
        assert parallax.feed(frame, landmarks, Pose(0.0, -26.0, 0.0)) is None
    assert parallax.feed(*given[0]) is None, "the first anchors are these"


def test_a_face_with_few_points_keeps_them() -> None:
    """Fewer than 40 were there to begin with: there are no new anchors at every frame, which would see no turn."""
    whole = scene("head", "collins")
    pale = Scene((0.3 * whole.frame + 100).astype(np.uint8), whole.landmarks, whole.depth)
    assert MIN_TRACKS <= _core.FaceTracks().start(pale.frame, pale.landmarks) < 38
    found = fed(Parallax(), sequence(pale, (0, 3, 6, 9, 12, 14)))
    assert found
    assert 0.7 < found[-1].rho < 1.3


def test_what_is_no_frame_or_no_landmarks_is_refused() -> None:
    frame, landmarks, pose = steps("head")[0]
    wrong: list[tuple[Any, Any]] = [
        (None, landmarks), (frame.astype(float), landmarks), (frame[:10], landmarks), (frame, None),
        (frame, landmarks[:-1]), (frame, landmarks[:, :2]), (frame, landmarks.astype(int)), (frame, landmarks.tolist()),
    ]  # fmt: skip
    for one, other in wrong:
        with pytest.raises(InputError, match="expected"):
            Parallax().feed(one, other, pose)
    assert Parallax().feed(frame, landmarks.astype(float), pose) is None


def test_noise_has_no_relief() -> None:
    """Landmarks that turn over pictures that are noise."""
    random = np.random.default_rng(0)
    noise = [
        (random.integers(0, 256, frame.shape, np.uint8), landmarks, pose)
        for frame, landmarks, pose in steps("head") * 2
    ]
    assert fed(Parallax(), noise) == []


def test_the_relief_is_not_in_its_representation() -> None:
    relief = Relief(rho=0.123456, rho_bent=0.654321, turn_deg=15.0, points=40)
    assert "0.12" not in repr(relief)
    assert "0.65" not in repr(relief)
    assert "40" in repr(relief)


def test_the_same_frames_give_the_same_numbers() -> None:
    assert fed(Parallax(), steps("head")) == fed(Parallax(), steps("head"))
