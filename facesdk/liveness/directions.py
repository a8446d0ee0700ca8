"""The challenge without a screen: LEDs, a voice or a line of text name a direction and how far, several in a row."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from facesdk.liveness.challenge import LONGEST_GAP_S, PITCH_SHARE, Following, Turn, arrow, spot
from facesdk.types import Prompt

if TYPE_CHECKING:
    import random

PROMPTS = 4
DIRECTIONS = 8
# How far: a little, or far. Between the two nobody is asked to be.
BANDS_DEG = ((12.0, 22.0), (24.0, 42.0))
SHOWN_DEG = (17.0, 32.0)
TOLERANCE_DEG = 30.0  # of the direction, to either side
ANSWER_S = (0.2, 2.2)  # nobody sees, understands and turns in less
HOLD_S = 0.15
STEADY_DEG = 6.0  # a head that holds moves less than this
WORDS = ("right", "lower right", "down", "lower left", "left", "upper left", "up", "upper right")
FAR = ("a little", "far")

Cell = tuple[int, int]  # direction, clockwise from the right of the mirrored picture; band


class Directions:
    """Four directions one after another, each with how far; the head is to hold there for a moment.

    Args:
        source: secrets.SystemRandom() but in tests.
        start_s: when the first is shown.
        prompts: how many.
    """

    def __init__(self, source: random.Random, start_s: float, prompts: int = PROMPTS) -> None:
        self._cells: list[Cell] = []
        while len(self._cells) < prompts:
            cell = source.randrange(DIRECTIONS), source.randrange(len(BANDS_DEG))
            if not self._cells or cell[0] != self._cells[-1][0]:
                self._cells.append(cell)
        self._number, self._shown_s, self._last_s = 0, start_s, start_s
        self._recent: deque[tuple[float, Turn]] = deque()
        self._furthest_deg = 0.0

    def prompt(self, time_s: float) -> Prompt:
        """The direction that is asked for."""
        turn = turn_of(self._cells[min(self._number, len(self._cells) - 1)])
        direction, band = self._cells[min(self._number, len(self._cells) - 1)]
        return Prompt(f"Turn your head {FAR[band]}: {WORDS[direction]}.", *spot(turn), arrow(turn))

    def fraction(self, time_s: float) -> float:
        """How many were answered, 0 to 1."""
        return self._number / len(self._cells)

    def feed(self, time_s: float, turn: Turn) -> Following | None:
        """Take note of where the head is; what it came to, once the last was answered or one was not."""
        gap_s, self._last_s = time_s - self._last_s, time_s
        if not 0 <= gap_s <= LONGEST_GAP_S:
            return Following.LOST
        self._furthest_deg = max(self._furthest_deg, math.hypot(*turn))
        self._recent.append((time_s, turn))
        while self._recent[-1][0] - self._recent[0][0] > HOLD_S + LONGEST_GAP_S:
            self._recent.popleft()
        since_s = time_s - self._shown_s
        if since_s > ANSWER_S[1]:
            return Following.NOT_FOLLOWED if self._furthest_deg >= BANDS_DEG[0][0] else Following.STILL
        if since_s >= ANSWER_S[0] + HOLD_S and (held := self._held(time_s)) is not None:
            if not is_in(held, self._cells[self._number]):
                return self._wrong(held)
            self._number, self._shown_s = self._number + 1, time_s
            self._recent.clear()
        return Following.FOLLOWED if self._number == len(self._cells) else None

    def _held(self, time_s: float) -> Turn | None:
        """Where the head has held for HOLD_S, turned; None where it moves, or has not left the cell before yet."""
        begun = [number for number, (at_s, _) in enumerate(self._recent) if time_s - at_s >= HOLD_S - 1e-6]
        if not begun:
            return None
        recent = [turn for _, turn in list(self._recent)[begun[-1] :]]  # a slow camera has no frame within HOLD_S
        if max(math.dist(turn, recent[-1]) for turn in recent) > STEADY_DEG:
            return None
        yaw, pitch = (sum(turn[axis] for turn in recent) / len(recent) for axis in (0, 1))
        if math.hypot(yaw, pitch / PITCH_SHARE) < BANDS_DEG[0][0]:
            return None
        if self._number and is_in((yaw, pitch), self._cells[self._number - 1]):
            return None
        return yaw, pitch

    def _wrong(self, held: Turn) -> Following | None:
        """What an answer in another cell comes to. In the right direction, a head is on its way to far, or back."""
        direction, band = self._cells[self._number]
        yaw, pitch = held
        if _apart_deg(held, direction) <= TOLERANCE_DEG:
            return None
        mirrored = is_in((-yaw, pitch), (direction, band)) and direction not in (2, 6)
        return Following.MIRRORED if mirrored else Following.NOT_FOLLOWED


def turn_of(cell: Cell) -> Turn:
    """The turn that is asked for by a direction and band."""
    direction, band = cell
    angle = math.tau / DIRECTIONS * direction
    return -SHOWN_DEG[band] * math.cos(angle), PITCH_SHARE * SHOWN_DEG[band] * math.sin(angle)


def is_in(turn: Turn, cell: Cell) -> bool:
    """Whether a turn answers a direction and band; NaN does not."""
    direction, band = cell
    low, high = BANDS_DEG[band]
    far = math.hypot(turn[0], turn[1] / PITCH_SHARE)
    return low <= far <= high and _apart_deg(turn, direction) <= TOLERANCE_DEG


def _apart_deg(turn: Turn, direction: int) -> float:
    """Between the direction of a turn, as the person sees it, and one that is asked for."""
    angle = math.degrees(math.atan2(turn[1] / PITCH_SHARE, -turn[0])) - 360 / DIRECTIONS * direction
    return abs((angle + 180) % 360 - 180)
