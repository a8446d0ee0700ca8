"""The challenge: a fresh path that the nose is to follow, and how well it was followed. Angles are of the head, in
degrees from its first neutral pose, yaw and pitch as in Pose; times are the frames', in seconds."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from facesdk.types import Prompt

if TYPE_CHECKING:
    import random

    import numpy as np
    from numpy.typing import NDArray

Turn = tuple[float, float]  # yaw_deg, pitch_deg

SEGMENTS = 6
SEGMENT_S = (0.6, 0.95)
RADIUS_DEG = (14.0, 32.0)
PITCH_SHARE = 0.7  # necks and meshes go less far up and down
# From one point to the next: a path that rests is followed by a head that rests, and none turns faster than this asks.
STEP_DEG = (16.0, 45.0)
SHOWN_RADIUS = 0.42  # of the mirrored picture, for the largest turn
# A person follows a dot so much later; who answers sooner knew the path.
LAGS_S = (0.1, 0.55)
_LAG_STEP_S = 0.025
_GRID_S = 0.05
LONGEST_GAP_S = 0.35  # between two frames of a path, with which nobody can say how the head went
# A head turns less than it is asked to, or more; the mesh reports less than it turned.
GAINS = (0.5, 1.4)
# Attention lapses for a moment; whoever plays clips is off all the time. So an error is what so much of the path stays
# within. benchmarks/sessions.py: who passes on either side of the bound, simulated.
WITHIN = 0.8
MAX_PATH_ERROR = 0.30
ARROWS = ("\N{RIGHTWARDS ARROW}", "\N{SOUTH EAST ARROW}", "\N{DOWNWARDS ARROW}", "\N{SOUTH WEST ARROW}",
          "\N{LEFTWARDS ARROW}", "\N{NORTH WEST ARROW}", "\N{UPWARDS ARROW}", "\N{NORTH EAST ARROW}")  # fmt: skip


class Following(Enum):
    """What a challenge came to."""

    FOLLOWED = "the head went where it was asked to"
    NOT_FOLLOWED = "the head did not go where it was asked to"
    STILL = "the head did not move"
    MIRRORED = "the head went the other way: the camera's pictures are mirrored"
    LOST = "the face was not seen all the way"


class Challenge(Protocol):
    """What is asked of a person; every call has the frame's time."""

    def prompt(self, time_s: float) -> Prompt:
        """What to show at this time."""

    def feed(self, time_s: float, turn: Turn) -> Following | None:
        """Take note of where the head is. What it came to, once that can be told."""

    def fraction(self, time_s: float) -> float:
        """How much of it is over, 0 to 1."""


@dataclass(frozen=True)
class Path:
    """Where the dot goes: from straight ahead to each of points_deg, to arrive there at times_s.

    Between two points it moves with the least jerk.
    """

    times_s: tuple[float, ...]
    points_deg: tuple[Turn, ...]

    @classmethod
    def fresh(cls, source: random.Random, segments: int = SEGMENTS) -> Path:
        """A path that nobody can know before: source is secrets.SystemRandom() but in tests."""
        times, points, now, last = [], [], 0.0, (0.0, 0.0)
        for _ in range(segments):
            now += source.uniform(*SEGMENT_S)
            while True:
                angle, radius = source.uniform(0, math.tau), source.uniform(*RADIUS_DEG)
                point = radius * math.cos(angle), PITCH_SHARE * radius * math.sin(angle)
                if STEP_DEG[0] <= math.dist(point, last) <= STEP_DEG[1]:
                    break
            times.append(now)
            points.append(point)
            last = point
        return cls(tuple(times), tuple(points))

    @property
    def duration_s(self) -> float:
        """From its start to its last point."""
        return self.times_s[-1]

    def at(self, time_s: float) -> Turn:
        """Where the dot is so long after its start: straight ahead before, the last point afterwards."""
        if time_s <= 0:
            return 0.0, 0.0
        number = bisect_right(self.times_s, time_s)
        if number == len(self.times_s):
            return self.points_deg[-1]
        begin_s = self.times_s[number - 1] if number else 0.0
        before = self.points_deg[number - 1] if number else (0.0, 0.0)
        part = (time_s - begin_s) / (self.times_s[number] - begin_s)
        share = least_jerk(part)
        return tuple(a + (b - a) * share for a, b in zip(before, self.points_deg[number], strict=True))  # type: ignore[return-value]


def least_jerk(part: float) -> float:
    """How much of a way is gone after this part of its time, as heads move by themselves. Source: Flash, Hogan 1985."""
    return part**3 * (10 - 15 * part + 6 * part**2)


def spot(turn: Turn) -> tuple[float, float]:
    """Where a turn is shown in the mirrored picture, x and y from 0 to 1: to the person's right is right."""
    yaw, pitch = turn
    return (0.5 - SHOWN_RADIUS * yaw / RADIUS_DEG[1], 0.5 + SHOWN_RADIUS * pitch / (PITCH_SHARE * RADIUS_DEG[1]))


def arrow(turn: Turn) -> str:
    """The arrow that points to a turn in the mirrored picture."""
    x, y = spot(turn)
    if math.hypot(x - 0.5, y - 0.5) < 0.1:
        return "\N{BULLET}"
    return ARROWS[round(math.atan2(y - 0.5, x - 0.5) / (math.tau / 8)) % 8]


class Pursuit:
    """A dot that moves, for where there is a screen; the nose follows it.

    Args:
        path: where the dot goes.
        start_s: when it sets off.
    """

    def __init__(self, path: Path, start_s: float) -> None:
        self._path, self._start_s = path, start_s
        self._times: list[float] = []
        self._turns: list[Turn] = []

    def prompt(self, time_s: float) -> Prompt:
        """The dot at this time."""
        turn = self._path.at(time_s - self._start_s)
        return Prompt("Follow the dot with your nose.", *spot(turn), arrow(turn))

    def fraction(self, time_s: float) -> float:
        """How much of the path the dot has gone, 0 to 1."""
        return max(0.0, min(1.0, (time_s - self._start_s) / self._path.duration_s))

    def feed(self, time_s: float, turn: Turn) -> Following | None:
        """Take note of where the head is; what it came to, once whoever follows the dot has seen its last point."""
        self._times.append(time_s - self._start_s)
        self._turns.append(turn)
        if time_s - self._start_s < self._path.duration_s + LAGS_S[1]:
            return None
        return self.result()

    def result(self) -> Following:
        """What it came to."""
        import numpy as np

        end_s = self._path.duration_s
        times = np.array([0.0, *self._times])
        inside = times[times <= end_s + LAGS_S[1]]
        if len(inside) < 2 or float(np.diff(inside).max()) > LONGEST_GAP_S or inside[-1] < end_s:
            return Following.LOST
        turns = np.array([(0.0, 0.0), *self._turns])
        if not float(np.hypot(*turns.T).max()) >= RADIUS_DEG[0] / 2:  # NaN as well
            return Following.STILL
        if path_error(self._path, times, turns) <= MAX_PATH_ERROR:
            return Following.FOLLOWED
        if path_error(self._path, times, turns * (-1.0, 1.0)) <= MAX_PATH_ERROR:
            return Following.MIRRORED
        return Following.NOT_FOLLOWED


def path_error(path: Path, times_s: NDArray[np.float64], turns_deg: NDArray[np.float64]) -> float:
    """How far the head was from the dot, over how far the dot went, at the lag that suits it best.

    Args:
        path: where the dot went.
        times_s: (n,) rising, from the dot's start.
        turns_deg: (n, 2), where the head was then.

    Returns:
        For each lag of LAGS_S and the gain of GAINS that brings the head nearest to the dot, the distance of the two
        that WITHIN of an even grid of times stay within, over the root of the dot's mean square: the least of them.
        Infinite where the turns are no numbers.
    """
    import numpy as np

    lags = np.arange(LAGS_S[0], LAGS_S[1] + 1e-9, _LAG_STEP_S)
    dot_times = np.arange(_GRID_S, path.duration_s + 1e-9, _GRID_S)
    dot = np.array([path.at(float(t)) for t in dot_times])
    at = dot_times[None, :] + lags[:, None]
    head = np.stack([np.interp(at, times_s, turns_deg[:, axis]) for axis in (0, 1)], axis=-1)
    squares = float((dot * dot).sum())
    gain = np.clip((head * dot).sum(axis=(1, 2)) / squares, *GAINS)[:, None, None]
    apart = np.sqrt(((head / gain - dot) ** 2).sum(axis=2))
    errors = np.quantile(apart, WITHIN, axis=1) / math.sqrt(squares / len(dot))
    least = float(errors.min())
    return least if math.isfinite(least) else math.inf
