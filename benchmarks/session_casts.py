"""Who comes before a session without pictures: the owner, and who or what is to be taken for him."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from session_bulk import OWNER, Cast, Shown

from facesdk.liveness.challenge import Path
from facesdk.liveness.simulator.bulk import Actor, BlindReplay, Live, Operator, Photo, Takeover
from facesdk.liveness.simulator.people import Person, Prompt


class Recording(Actor):
    """A recording of somebody's answer to another path or other directions, started anew at each challenge."""

    def __init__(self, who: Person, prompts: Sequence[Prompt]) -> None:
        super().__init__(who.seed, "replay", noise_deg=who.noise_deg)
        self._replay = BlindReplay(who, prompts)

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        return self._replay._pose(time_s, prompts)


class Clips(Actor):
    """An operator, with new clips for each try."""

    def __init__(self, seed: int, shown: Shown, *, clips: int, foresees: bool) -> None:
        super().__init__(seed, "replay")
        self._shown, self._seed = shown, seed
        self._make = lambda seed, begins: Operator(seed, clips=clips, begins_s=begins, foresees=foresees)
        self._operator: Operator | None = None
        self._try = 0

    def _pose(self, time_s: float, prompts: Sequence[Prompt]) -> tuple[float, float, float]:
        if self._shown.challenges != self._try:
            self._try, path, start_s = self._shown.challenges, self._shown.path, prompts[0].time_s
            begins = () if path is None else (start_s, *(start_s + t for t in path.times_s))
            self._operator = self._make(self._seed * 8 + self._try, begins)
        return (0.0, 0.0, 0.0) if self._operator is None else self._operator._pose(time_s, prompts)


def old_prompts(seed: int, challenge: str) -> list[Prompt]:
    """What was shown when a recording was made: another path, or other directions at the pace of who answers them."""
    if challenge == "dot":
        path = Path.fresh(random.Random(seed))
        return [Prompt.dot(0.0, path.at), Prompt.straight(path.duration_s + 0.3)]
    source, prompts = random.Random(seed), []
    for number in range(4):
        prompts.append(Prompt.look(0.9 * number, source.randrange(8), source.randrange(2)))
    return [*prompts, Prompt.straight(3.6)]


def live(seed: int, _shown: Shown, **ways: Any) -> Actor:
    """The owner."""
    return Live(Person(seed, **ways), person=OWNER)


def puppet(latency_s: float, *, automatic: bool = False) -> Cast:
    """A rendered face of the owner that follows another's head, so much later; automatic: it follows the dot itself."""
    ways: dict[str, Any] = {}
    if automatic:
        ways = {"reaction_s": 0.0, "speed_deg_s": 500.0, "gain": 1.0, "overshoot": 0.0, "lapses_a_s": 0.0}
    return lambda seed, _shown: Live(Person(seed, **ways), person=OWNER, latency_s=latency_s)


def photo(seed: int, _shown: Shown, *, moved: bool = False, bent: bool = False) -> Actor:
    """A print of the owner; where it is flat, a phone as well."""
    return _as_owner(Photo(seed, moved=moved, bent=bent))


def replayed(challenge: str) -> Cast:
    """A recording of the owner who followed something else."""
    return lambda seed, _shown: _as_owner(
        Recording(Person(seed, lapses_a_s=0), old_prompts(seed + 1_000_003, challenge))
    )


def operator(clips: int, *, foresees: bool) -> Cast:
    """Somebody who plays clips of the owner. With foresees, to be played with foreseen=True."""
    return lambda seed, shown: _as_owner(Clips(seed, shown, clips=clips, foresees=foresees))


def takeover(who: Sequence[int], *, until_s: float, gone_s: float = 0.0, photo_ends: bool = False) -> Cast:
    """People who take the place of each other at random times until until_s, all of whom follow.

    photo_ends: first and last are photos of the owner, until the challenge begins and from about its end on.
    """

    def cast(seed: int, _shown: Shown) -> Actor:
        source = random.Random(seed + 77)
        times = sorted(source.uniform(0.3, until_s) for _ in who[1:])
        if photo_ends:  # a photo until the challenge begins, and from when it ends on
            times = [source.uniform(0.3, 0.6), source.uniform(0.8, 1.0) * until_s]
        actors: list[Actor] = [Live(Person(seed * 3 + i), person=person) for i, person in enumerate(who)]
        if photo_ends:
            actors[0], actors[-1] = (_as_owner(Photo(seed * 3 + i)) for i in (0, 2))
        actor = actors[-1]
        for first, at_s in zip(actors[-2::-1], times[::-1], strict=True):
            actor = Takeover(first, actor, at_s=at_s, gone_s=gone_s)
        return actor

    return cast


def _as_owner(actor: Actor) -> Actor:
    actor._person = OWNER
    return actor
