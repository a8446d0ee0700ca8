"""A verifier's sessions, fed with what a simulated camera sees: who opens, who does not, and what each costs."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from session_tools import camera, face_of, head

from facesdk import Decision, Engine, FaceVerifier, Policy
from facesdk.capture.means import Means
from facesdk.capture.session import Session
from facesdk.errors import InputError, PolicyFloorError
from facesdk.liveness.simulator.acting import Screen, acted, frames, perform
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Motion, Print, Replay, Scene, still, swing, tremble
from facesdk.types import Assurance, Outcome, SessionPhase
from facesdk.vault.audit.entry import AuditEvent, Entry

OWNER, OTHER = "biden", "obama_2012"
AT = (0.0, 0.0, 50.0)


@pytest.fixture(autouse=True)
def paths_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same paths in every run: of simulated people too, one in some dozens does not manage one."""
    monkeypatch.setattr("facesdk.sessions.Means", partial(Means, source=random.Random(11)))


@pytest.fixture(scope="module")
def one_engine() -> Engine:
    return Engine()


@pytest.fixture
def enrolled(tmp_path: Path, key_file: Path, one_engine: Engine) -> FaceVerifier:
    """Enrolled are rendered pictures of the owner: what a session sees must be of this head."""
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=one_engine)
    poses = ((0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, -9, 0), (0, 8, 0))
    scenes = [LiveHead(head(OWNER), still(*pose), still(0, 0, 46 + 2 * i)) for i, pose in enumerate(poses)]
    verifier.enroll("owner", [scene.render(0.0, camera(90 + i)) for i, scene in enumerate(scenes)])
    return verifier


def attempts(verifier: FaceVerifier) -> list[Entry]:
    """What the audit log holds of verifications."""
    return [entry for entry in verifier.vault.audit("owner")[1] if entry.event is AuditEvent.VERIFIED]


def failures(verifier: FaceVerifier) -> int | None:
    return verifier.status("owner").failures


def live(name: str, seed: int = 0) -> Callable[[Motion], Scene]:
    return lambda pose: LiveHead(head(name), pose, tremble(0.4, seed=seed, about=AT))


def show(session: Session, scene_of: Callable[[Motion], Scene], seed: int = 0) -> Outcome:
    """Feed the session with the scene, whose pose a person decides who follows what is shown."""
    screen = Screen()
    with session:
        return perform(session, scene_of(acted(Person(seed), screen)), screen, camera(seed))


def test_the_owner_who_follows_the_dot_opens(enrolled: FaceVerifier) -> None:
    outcome = show(enrolled.session("owner", purpose="door", camera="lab"), live(OWNER))
    assert (outcome.decision, outcome.assurance) == (Decision.MATCH, Assurance.RGB_CHALLENGE), outcome
    (entry,) = attempts(enrolled)
    assert (entry.outcome, entry.camera, entry.policy) == (Decision.MATCH, "lab", "phone 2e-05 challenge door")
    assert failures(enrolled) == 0


def test_the_owner_who_turns_as_leds_say_opens(enrolled: FaceVerifier) -> None:
    outcome = show(enrolled.session("owner", challenge="directions"), live(OWNER, 3), 3)
    assert (outcome.decision, outcome.assurance) == (Decision.MATCH, Assurance.RGB_CHALLENGE), outcome


def test_somebody_else_who_follows_does_not(enrolled: FaceVerifier) -> None:
    outcome = show(enrolled.session("owner"), live(OTHER))
    assert outcome.decision is Decision.NON_MATCH
    assert failures(enrolled) == 1


def _print(pose: Motion, bend_cm: float = np.inf) -> Scene:
    picture, width_cm = face_of(OWNER)
    return Print(picture, pose, tremble(0.5, about=AT), bend_cm=bend_cm, width_cm=width_cm)


PRINTS: dict[str, Callable[[Motion], Scene]] = {
    "bent, and turned as the dot says": lambda pose: _print(lambda t: tuple(2.5 * v for v in pose(t)), 12.0),
    "bent close, and turned as the dot says": lambda pose: _print(lambda t: tuple(1.5 * v for v in pose(t)), 8.0),
}


@pytest.mark.parametrize("how", PRINTS)
def test_a_print_of_the_owner_that_is_turned_is_an_attack_and_costs_an_attempt(
    enrolled: FaceVerifier, how: str
) -> None:
    outcome = show(enrolled.session("owner"), PRINTS[how])
    assert outcome.decision is Decision.ATTACK_SUSPECTED, outcome
    assert outcome.assurance is Assurance.NONE
    assert not outcome
    (entry,) = attempts(enrolled)
    assert (entry.outcome, entry.policy) == (Decision.NON_MATCH, "phone 2e-05 challenge refused")
    assert failures(enrolled) == 1


def test_a_flat_print_that_is_moved_does_not_open_whatever_it_is_called(enrolled: FaceVerifier) -> None:
    """The mesh hardly sees it turn: it may count as flat, as not following, or as not moving, which costs nothing."""
    outcome = show(enrolled.session("owner"), lambda _pose: _print(swing((50, 25, 5), period_s=1.7)))
    assert outcome.decision in (Decision.ATTACK_SUSPECTED, Decision.NOT_COMPLETED), outcome
    assert failures(enrolled) == (outcome.reason != "the head did not move")


def test_a_print_that_is_held_still_comes_to_nothing_and_costs_nothing(enrolled: FaceVerifier) -> None:
    outcome = show(enrolled.session("owner"), lambda _pose: _print(tremble(0.3)))
    assert (outcome.decision, outcome.reason) == (Decision.NOT_COMPLETED, "the head did not move")
    assert attempts(enrolled) == []


def test_a_recording_of_the_owner_who_followed_another_path_costs_an_attempt(enrolled: FaceVerifier) -> None:
    screen, recorded = Screen(), []
    scene = live(OWNER)(acted(Person(5), screen))
    with enrolled.session("owner") as session:
        for image, time_s in frames(scene, camera(5)):
            recorded.append(image)
            progress = session.feed(image, time_s=time_s)
            screen.show(time_s, progress.prompt)
            if progress.done:
                break
    assert session.outcome, "the recording itself opened"
    replay = Replay(recorded, still(), tremble(0.2, about=(0, 0, 25)), fps=15, width_cm=26)
    outcome = show(enrolled.session("owner"), lambda _pose: replay)
    assert (outcome.decision, outcome.reason) == (
        Decision.NOT_COMPLETED, "the head did not go where it was asked to"
    )  # fmt: skip
    assert failures(enrolled) == 1


@pytest.mark.parametrize("at_s", [1.0, 3.0, 5.2])
def test_somebody_who_takes_over_for_the_owner_or_from_him_does_not_open(enrolled: FaceVerifier, at_s: float) -> None:
    for first, second in ((OWNER, OTHER), (OTHER, OWNER)):
        screen = Screen()
        pose = acted(Person(1), screen)
        scenes = [LiveHead(head(name), pose, still(*AT)) for name in (first, second)]
        with enrolled.session("owner", timeout_s=9) as session:
            for image, time_s in frames(scenes[0], camera(1)):
                shown = image if time_s < at_s else scenes[1].render(time_s, camera(1))
                progress = session.feed(shown, time_s=time_s)
                screen.show(time_s, progress.prompt)
                if progress.done:
                    break
        assert not session.outcome, (first, second)


def test_a_try_that_failed_costs_an_attempt_also_where_the_session_is_left(enrolled: FaceVerifier) -> None:
    wrong = lambda pose: live(OWNER)(lambda t: (-pose(t)[0], -pose(t)[1], 0.0))  # noqa: E731
    screen = Screen()
    scene = wrong(acted(Person(0), screen))
    with enrolled.session("owner") as session:
        challenged = 0
        for image, time_s in frames(scene, camera(0)):
            progress = session.feed(image, time_s=time_s)
            screen.show(time_s, progress.prompt)
            challenged += progress.phase is SessionPhase.CHALLENGE
            if challenged and progress.phase is SessionPhase.RETURN:
                break
        assert not progress.done
        assert failures(enrolled) == 0
    assert session.outcome.decision is Decision.NOT_COMPLETED
    assert failures(enrolled) == 1


def test_leaving_before_anything_was_tried_costs_nothing(enrolled: FaceVerifier) -> None:
    with enrolled.session("owner") as session:
        for number, (image, time_s) in enumerate(frames(live(OWNER)(still()), camera(0))):
            session.feed(image, time_s=time_s)
            if number == 12:
                break
        session.cancel("the door was closed")
        assert session.feed(image, time_s=time_s + 0.1).done
    assert session.outcome.reason == "the door was closed"
    assert attempts(enrolled) == []


def test_what_an_enrollment_seals_about_life_binds(tmp_path: Path, key_file: Path, one_engine: Engine) -> None:
    policy = Policy(liveness=Assurance.RGB_CHALLENGE)
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=one_engine, policy=policy)
    pictures = [portrait(name) for name in ("obama_2005", "obama_2009", "obama_2012")]
    verifier.enroll("owner", pictures)
    for other in (FaceVerifier(tmp_path / "vault", key_file=key_file, engine=one_engine), verifier):
        with pytest.raises(PolicyFloorError, match="RGB_CHALLENGE"):
            other.verify("owner", pictures[0])
        with pytest.raises(PolicyFloorError, match="RGB_CHALLENGE"):
            other.session("owner", liveness=Assurance.NONE)
    loose = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=one_engine, policy=Policy())
    with pytest.raises(PolicyFloorError, match="liveness"):
        loose.session("owner")
    assert failures(verifier) == 0


def test_pictures_reach_no_assurance(enrolled: FaceVerifier) -> None:
    outcome = enrolled.verify("owner", live(OWNER)(still()).render(0.0, camera(0)))
    assert (outcome.decision, outcome.assurance) == (Decision.MATCH, Assurance.NONE)


def test_a_session_of_pictures_alone_is_asked_for_by_name(enrolled: FaceVerifier) -> None:
    outcome = show(enrolled.session("owner", liveness=Assurance.NONE), lambda _pose: _print(tremble(0.3)))
    assert (outcome.decision, outcome.assurance) == (Decision.MATCH, Assurance.NONE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"purpose": "a purpose far too long"}, "purpose"), ({"purpose": 'quo"te'}, "audit log"),
        ({"camera": "x" * 65}, "audit log"), ({"liveness": 20}, "Assurance"), ({"challenge": "dance"}, "challenge"),
        ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": True}, "timeout_s"), ({"timeout_s": float("nan")}, "timeout_s"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(enrolled: FaceVerifier, arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        enrolled.session("owner", **arguments)
