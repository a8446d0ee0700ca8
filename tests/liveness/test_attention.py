"""The rules of attention: both eyes, by an absolute limit and by what is usual; no NaN passes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesdk.engine.eyes import UNKNOWN, Eyes
from facesdk.liveness.attention import MAX_ASIDE, MIN_OPENNESS, SHARE_OF_USUAL, eyes_open, eyes_straight

OPEN = Eyes(0.2, 0.19, (-0.05, -0.06), (0.05, -0.06))
BAD = [math.nan, math.inf, -math.inf, -0.2, 7.0]


def test_open_eyes_pass_and_look_straight() -> None:
    assert eyes_open(OPEN)
    assert eyes_open(OPEN, 0.2)
    assert eyes_straight(OPEN)


@pytest.mark.parametrize("side", ["right_openness", "left_openness"])
def test_one_closed_eye_is_enough_to_refuse(side: str) -> None:
    assert eyes_open(replace(OPEN, **{side: MIN_OPENNESS}))
    assert not eyes_open(replace(OPEN, **{side: math.nextafter(MIN_OPENNESS, 0)}))
    assert not eyes_open(replace(OPEN, **{side: 0.0}))


@pytest.mark.parametrize("side", ["right_openness", "left_openness"])
@pytest.mark.parametrize("value", BAD)
def test_what_is_no_openness_refuses(side: str, value: float) -> None:
    assert not eyes_open(replace(OPEN, **{side: value}))
    assert not eyes_open(replace(OPEN, **{side: value}), 0.2)


@pytest.mark.parametrize("usual", BAD)
def test_a_usual_that_is_no_openness_refuses(usual: float) -> None:
    assert not eyes_open(OPEN, usual)


def test_half_of_what_is_usual_is_closed() -> None:
    narrow = replace(OPEN, left_openness=SHARE_OF_USUAL * 0.24 - 0.001)
    assert eyes_open(narrow)
    assert not eyes_open(narrow, 0.24)
    assert eyes_open(replace(narrow, left_openness=SHARE_OF_USUAL * 0.24), 0.24)


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 1))
def test_what_is_usual_never_opens_what_was_closed(right: float, left: float, usual: float) -> None:
    eyes = replace(OPEN, right_openness=right, left_openness=left)
    assert not eyes_open(eyes, usual) or eyes_open(eyes)


def test_a_look_to_either_side_is_not_straight() -> None:
    for sign in (-1, 1):
        aside = [sign * (MAX_ASIDE + 0.01) + nose for nose in (-0.05, 0.05)]
        assert not eyes_straight(Eyes(0.2, 0.2, (aside[0], 0.0), (aside[1], 0.0)))
    crossed = Eyes(0.2, 0.2, (0.2, 0.0), (-0.2, 0.0))
    assert eyes_straight(crossed)


def test_unknown_eyes_are_neither_open_nor_straight() -> None:
    assert not eyes_open(UNKNOWN)
    assert not eyes_straight(UNKNOWN)
    assert not eyes_straight(replace(OPEN, left_gaze=(math.nan, 0.0)))
