"""Who takes another's place between two steps of a session, and what a denial of the passive networks does."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "benchmarks")]
import session_bulk as bulk  # noqa: E402
import session_casts as casts  # noqa: E402

from facesdk.capture.means import Means  # noqa: E402
from facesdk.capture.session import Session  # noqa: E402
from facesdk.capture.verification import LiveVerification  # noqa: E402
from facesdk.liveness.passive import NEEDED, PassiveSample  # noqa: E402
from facesdk.types import Assurance, Decision  # noqa: E402


@pytest.mark.parametrize(("kind", "until_s"), [("dot", 6.0), ("directions", 3.5)])
def test_a_photo_before_and_after_the_challenge_does_not_open_for_another_who_follows(
    kind: str, until_s: float
) -> None:
    cast = casts.takeover((1, 2, 1), until_s=until_s, photo_ends=True)
    ends = [bulk.play(cast, 50_000 + number, challenge=kind) for number in range(60)]
    assert not any(end.opened for end in ends)
    assert sum(end.outcome.decision is Decision.ATTACK_SUSPECTED for end in ends) > 50


@pytest.mark.parametrize(("kind", "until_s"), [("dot", 6.0), ("directions", 3.5)])
def test_who_is_wiped_across_the_photo_so_that_points_never_go_all_at_once_does_not_open(
    kind: str, until_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, with new points in the place of the old ones, as a picture does that is drawn aside within a second."""
    told = bulk.Relief.feed

    def kept(relief: bulk.Relief, *what: object) -> object:
        found = told(relief, *what)
        relief.followed = relief.points
        return found

    monkeypatch.setattr(bulk.Relief, "feed", kept)
    assert [bulk.play(casts.live, 51_000 + n, challenge=kind).opened for n in range(30)].count(True) >= 29

    def cast(seed: int, _shown: bulk.Shown) -> bulk.Actor:
        """A photo until the challenge has begun, and from about its end on."""
        source = random.Random(seed)
        photo, again = (casts._as_owner(casts.Photo(seed * 3 + i)) for i in (0, 2))
        stranger = casts.Live(casts.Person(seed), person=2)
        last = casts.Takeover(stranger, again, at_s=source.uniform(0.85, 1.0) * until_s)
        return casts.Takeover(photo, last, at_s=source.uniform(0.7, 1.1))

    assert not any(bulk.play(cast, 52_000 + number, challenge=kind).opened for number in range(80))
    monkeypatch.setattr(LiveVerification, "_middle_is_start", lambda _goal: True)  # nothing else tells of them
    assert sum(bulk.play(cast, 52_000 + number, challenge=kind).opened for number in range(80)) > 20


class Denying:
    """The passive networks' double: every frame is a print's."""

    def look(self, _image: object, _sample: object) -> PassiveSample:
        return PassiveSample(120.0, 0.01)


@pytest.mark.parametrize("tier", [Assurance.RGB_PASSIVE, Assurance.RGB_CHALLENGE])
def test_what_the_passive_networks_deny_ends_the_session_and_costs_one_attempt(tier: Assurance) -> None:
    refused: list[bool] = []
    relief = bulk.Relief({}, random.Random(1))
    means = Means(engine=bulk.Embedder(), assurance=tier, relief=relief, passive=Denying())
    goal = LiveVerification(means, compare=lambda _probe: True, refuse=lambda: refused.append(True))
    watcher = bulk.Watcher(relief)
    watcher.shown = bulk.Shown(goal)
    watcher.actor = casts.live(3, watcher.shown)
    session = Session(goal, watcher)
    frames = 0
    while not session.done and frames < 60:
        session.feed(np.zeros((64, 64), np.uint8), time_s=frames / 15)
        frames += 1
    assert session.outcome is not None
    assert session.outcome.decision is Decision.ATTACK_SUSPECTED
    assert refused == [True]
    assert frames <= 4 * NEEDED
