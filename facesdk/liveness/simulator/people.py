"""How a person answers prompts with the head. Assumptions, stated where they are made; no data is behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from facesdk.liveness.challenge import PITCH_SHARE, least_jerk
from facesdk.liveness.directions import SHOWN_DEG

Place: TypeAlias = tuple[float, float]  # yaw and pitch in degrees
Path: TypeAlias = Callable[[float], Place]  # of a time in seconds
STEP_S = 0.02


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a session asks for, from a time on.

    Attributes:
        time_s: when it is shown.
        target: where to look, of the time: a dot's path, or always the same place.
        moving: a dot to follow with the nose, not a place to turn to.
    """

    time_s: float
    target: Path
    moving: bool = False

    @classmethod
    def dot(cls, time_s: float, path: Path) -> Prompt:
        """Follow this."""
        return cls(time_s, path, moving=True)

    @classmethod
    def look(cls, time_s: float, direction: int, band: int) -> Prompt:
        """Turn to one of 8 directions (0 the picture's right, then clockwise by 45 degrees), 0 a little or 1 far."""
        radius, angle = SHOWN_DEG[band], math.radians(45 * direction)
        place = (radius * math.cos(angle), radius * math.sin(angle) * PITCH_SHARE)
        return cls(time_s, lambda _time_s: place)

    @classmethod
    def straight(cls, time_s: float) -> Prompt:
        """Look straight."""
        return cls(time_s, lambda _time_s: (0.0, 0.0))


def smooth(times: Sequence[float], places: Sequence[Place]) -> Path:
    """From place to place with the least jerk."""

    def at(time_s: float) -> Place:
        if time_s >= times[-1]:
            return places[-1]
        i = max(int(np.searchsorted(times, time_s, side="right")) - 1, 0)
        part = max(time_s - times[i], 0.0) / (times[i + 1] - times[i])
        share = least_jerk(part)
        (x0, y0), (x1, y1) = places[i], places[i + 1]
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    return at


class Person:
    """Somebody who does what the prompts say, in his own way.

    Assumed, with ranges that each seed draws from where nothing is given: what he reacts to, he reacts to after .15 to
    .45 s, and a dot he follows so much behind; he turns .8 to 1.1 as far as he is asked to; he turns as a damped spring
    does, with an overshoot of 0 to 15 %, and never faster than his limit of 90 to 220 degrees a second; his head drifts
    by .3 to 1.2 degrees; now and then (.05 a second) his attention lapses, and he stays where he is for .2 to .8 s.

    Args:
        seed: the same person moves in the same way.
        reaction_s: until he does what is shown.
        speed_deg_s: limit of yaw and of pitch.
        gain: how far he goes, of how far he is asked to.
        overshoot: of a turn, 0 to .5.
        noise_deg: standard deviation of what a mesh measures at rest, .1 to .6; for who observes him, not in his poses.
        lapses_a_s: how often his attention lapses.
    """

    def __init__(
        self, seed: int, *, reaction_s: float | None = None, speed_deg_s: float | None = None,
        gain: float | None = None, overshoot: float | None = None, noise_deg: float | None = None,
        lapses_a_s: float = 0.05,
    ) -> None:  # fmt: skip
        random = np.random.default_rng((seed, 5))

        def drawn(given: float | None, low: float, high: float) -> float:
            own = float(random.uniform(low, high))  # also where not needed, so that giving one leaves the others
            return own if given is None else given

        self.seed = seed
        self.reaction_s = drawn(reaction_s, 0.15, 0.45)
        self.speed_deg_s = drawn(speed_deg_s, 90.0, 220.0)
        self.gain = drawn(gain, 0.8, 1.1)
        ratio = math.log(max(drawn(overshoot, 0.0, 0.15), 1e-4))
        self._damping = -ratio / math.hypot(math.pi, ratio)
        self.noise_deg = drawn(noise_deg, 0.1, 0.6)
        self._stiffness = drawn(None, 9.0, 15.0)  # radians a second
        self._drift = drawn(None, 0.3, 1.2)
        self._waves = random.uniform(0.1, 0.7, (3, 2)), random.uniform(0, 2 * math.pi, (3, 2))
        starts = np.cumsum(random.exponential(1 / max(lapses_a_s, 1e-9), 64))
        self._lapses = list(zip(starts.tolist(), (starts + random.uniform(0.2, 0.8, 64)).tolist(), strict=True))
        self._reset()

    def __repr__(self) -> str:
        return f"Person({self.seed})"

    def pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        """Yaw, pitch and roll in degrees.

        Args:
            time_s: from 0 on; the past is gone through once, so that asking in order is fast.
            prompts: all until now, the oldest first; those of the past must stay what they were.
        """
        if time_s < self._time_s - STEP_S:
            self._reset()
        while self._time_s < time_s:
            self._step(prompts)
        rest = min((self._time_s - time_s) / STEP_S, 1.0)
        yaw, pitch = (at + (before - at) * rest for at, before in zip(self._at, self._before, strict=True))
        return yaw, pitch, 0.05 * yaw + self._wave(time_s, 2)

    def _reset(self) -> None:
        self._time_s = 0.0
        self._at = [self._wave(0.0, 0), self._wave(0.0, 1)]
        self._before = list(self._at)
        self._speed = [0.0, 0.0]
        self._wanted = (0.0, 0.0)

    def _step(self, prompts: Sequence[Prompt]) -> None:
        now = self._time_s
        goal, rate = (0.0, 0.0), (0.0, 0.0)
        seen = [prompt for prompt in prompts if prompt.time_s + self.reaction_s <= now]
        if any(start <= now < end for start, end in self._lapses):
            goal = self._wanted
        elif seen:
            then = now - self.reaction_s
            goal = seen[-1].target(then)
            if seen[-1].moving:
                later = seen[-1].target(then + STEP_S)
                rate = ((later[0] - goal[0]) / STEP_S, (later[1] - goal[1]) / STEP_S)
        self._wanted = goal
        self._before = list(self._at)
        for axis in (0, 1):
            wanted = goal[axis] * self.gain + self._wave(now, axis)
            pull = self._stiffness**2 * (wanted - self._at[axis])
            pull += 2 * self._damping * self._stiffness * (rate[axis] * self.gain - self._speed[axis])
            speed = self._speed[axis] + pull * STEP_S
            self._speed[axis] = min(max(speed, -self.speed_deg_s), self.speed_deg_s)
            self._at[axis] += self._speed[axis] * STEP_S
        self._time_s = now + STEP_S

    def _wave(self, time_s: float, axis: int) -> float:
        rates, phases = self._waves
        waves = (math.sin(2 * math.pi * float(rates[axis, i]) * time_s + float(phases[axis, i])) for i in (0, 1))
        return self._drift / 2 * sum(waves)
