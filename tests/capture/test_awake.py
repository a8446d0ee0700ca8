"""Attention in a session: both eyes, as far open as they usually are, and looking ahead where that can be told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from facesdk.engine.eyes import Eyes
from facesdk.sessions import ENOUGH_LOOKS, _Awake
from facesdk.types import Pose

FRAME = np.zeros((64, 64, 3), np.uint8)


class Looking:
    """Reads what it was told, one pair of eyes after another."""

    def __init__(self) -> None:
        self.told: list[Eyes] = []
        self.awake = _Awake(self)

    def eyes(self, _frame: np.ndarray, _sample: object) -> Eyes:
        return self.told[-1]

    def says(self, right: float, left: float, *, aside: float = 0.0, yaw: float = 0.0) -> bool:
        self.told.append(Eyes(right, left, (aside, 0.0), (aside, 0.0)))
        return self.awake(FRAME, SimpleNamespace(face=SimpleNamespace(pose=Pose(yaw, 0.0, 0.0))))


def test_open_eyes_that_look_ahead_are_awake() -> None:
    assert Looking().says(0.2, 0.2)


def test_a_closed_eye_is_not() -> None:
    assert not Looking().says(0.2, 0.03)
    assert not Looking().says(float("nan"), 0.2)


def test_an_eye_half_as_open_as_usual_is_closed_once_it_is_known_what_is_usual() -> None:
    looking = Looking()
    assert looking.says(0.22, 0.1), "nobody knows this person yet"
    looking = Looking()
    assert all(looking.says(0.24, 0.24) for _ in range(ENOUGH_LOOKS))
    assert not looking.says(0.22, 0.1)
    assert looking.says(0.24, 0.24)


def test_eyes_that_look_aside_are_not_awake_unless_the_head_is_turned_too() -> None:
    assert not Looking().says(0.2, 0.2, aside=0.2)
    assert Looking().says(0.2, 0.2, aside=0.2, yaw=15.0)
