"""Guided enrollment: five samples by itself, a trial, and only then a template; who leaves before leaves nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from session_tools import NOBODY, ScriptedEngine, Seen, camera, frame, head

from facesdk import Decision, Engine, FaceVerifier, Guidance
from facesdk.capture.appearance import Follower
from facesdk.capture.enrolling import STEPS, GuidedEnrollment
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits
from facesdk.capture.session import Session
from facesdk.errors import AlreadyEnrolledError, InputError, NotEnrolledError
from facesdk.liveness.simulator.acting import Screen, acted, frames
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Motion
from facesdk.types import Assurance, Progress, SessionPhase
from facesdk.vault.audit.entry import AuditEvent

NEARER = STEPS[-1].text
FPS = 10.0


def enroll(session: Session, name: str, *, obeys: bool = True) -> list[Progress]:
    """Feed the session with a head that does what it is asked for, nearer as well."""
    screen, shown = Screen(), {"at_cm": 55.0}
    at: Motion = lambda _t: (0.0, 0.0, shown["at_cm"])  # noqa: E731
    pose = acted(Person(2), screen) if obeys else lambda _t: (0.0, 0.0, 0.0)
    said = []
    with session:
        for image, time_s in frames(LiveHead(head(name), pose, at), camera(4)):
            progress = session.feed(image, time_s=time_s)
            screen.show(time_s, progress.prompt)
            asked = progress.prompt is not None and progress.prompt.text == NEARER
            shown["at_cm"] = max(44.0, shown["at_cm"] - 0.7) if asked and obeys else shown["at_cm"]
            said.append(progress)
            if progress.done:
                return said
    return said


@pytest.fixture
def verifier(tmp_path: Path, key_file: Path, engine: Engine) -> FaceVerifier:
    return FaceVerifier(tmp_path / "vault", key_file=key_file, engine=engine)


def test_who_does_what_is_asked_is_enrolled_and_known_again(verifier: FaceVerifier) -> None:
    session = verifier.enrollment("owner", consent="said yes", camera="lab")
    said = enroll(session, "biden")
    assert session.outcome, session.outcome
    assert said[-1].done
    assert [phase for phase, _ in itertools.groupby(p.phase for p in said)] == [
        SessionPhase.COLLECT, SessionPhase.RETURN, SessionPhase.DONE
    ]  # fmt: skip
    fractions = [p.fraction for p in said]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) == len(STEPS) + 2, "the ring fills step by step"
    enrolled = verifier.status("owner").enrollment
    assert (enrolled.samples, enrolled.consent) == (len(STEPS), "said yes")
    (entry,) = (e for e in verifier.vault.audit("owner")[1] if e.event is AuditEvent.ENROLLED)
    assert entry.camera == "lab"
    picture = LiveHead(head("biden")).render(0.0, camera(9))
    assert verifier.verify("owner", picture)
    assert not verifier.verify("owner", LiveHead(head("obama_2012")).render(0.0, camera(9)))


def test_who_leaves_before_the_end_leaves_nothing(verifier: FaceVerifier) -> None:
    session = verifier.enrollment("owner", timeout_s=10)
    enroll(session, "biden", obeys=False)
    assert session.outcome.decision is Decision.NOT_COMPLETED
    with pytest.raises(NotEnrolledError):
        verifier.status("owner")


def test_a_passphrase_of_an_enrollment_that_came_to_nothing_is_nobody_s(tmp_path: Path, engine: Engine) -> None:
    verifier = FaceVerifier(tmp_path / "vault", passphrase="correct horse battery", engine=engine)
    with verifier.enrollment("ann"):
        pass
    enroll(verifier.enrollment("owner"), "biden")
    assert verifier.users() == ["owner"]
    with pytest.raises(InputError, match="passphrase"):
        verifier.enrollment("ann")


def test_a_name_that_is_taken_is_said_before_anybody_sits_down(verifier: FaceVerifier) -> None:
    enroll(verifier.enrollment("owner"), "biden")
    with pytest.raises(AlreadyEnrolledError):
        verifier.enrollment("owner")
    session = verifier.enrollment("owner", replace=True)
    enroll(session, "obama_2012")
    assert session.outcome
    assert verifier.verify("owner", LiveHead(head("obama_2012")).render(0.0, camera(9)))


# --- by a script


class Bench:
    """An enrollment over scripted frames; what would be kept and what the trial says."""

    def __init__(self, script: Callable[[float, str], Seen], *, trial: bool = True) -> None:
        self.text, self.kept, self.dropped, self.trials = "", [], 0, 0
        self.engine = ScriptedEngine(lambda number: script(number / FPS, self.text))
        means = Means(
            engine=self.engine, assurance=Assurance.NONE, awake=lambda image, _s: self.engine.seen(image).eyes_open
        )
        self.goal = GuidedEnrollment(
            means, QualityLimits(max_sample_similarity=1.0), trial=lambda _c, _p: self.tried(trial),
            keep=lambda probe: self.kept.append(len(probe.samples)), drop=self.drop,
        )  # fmt: skip
        self.session = Session(self.goal, Follower(self.engine, QualityLimits()), timeout_s=120)
        self.guidances: set[Guidance] = set()

    def drop(self) -> None:
        self.dropped += 1

    def tried(self, known: bool) -> bool:
        self.trials += 1
        return known

    def run(self, seconds: float) -> Bench:
        with self.session:
            for number in range(round(seconds * FPS)):
                progress = self.session.feed(frame(number), time_s=number / FPS)
                self.text = progress.prompt.text if progress.prompt else ""
                self.guidances.add(progress.guidance)
                if progress.done:
                    break
        return self


def obedient(_t: float, text: str, **changes: object) -> Seen:
    """Who stands as the last prompt says."""
    step = next((step for step in STEPS if step.text == text), STEPS[0])
    size = 30.0 * (1.25 if step.distance else 1.0)
    return Seen(yaw=step.toward[0], pitch=step.toward[1], size=size, **changes)  # type: ignore[arg-type]


def test_five_poses_make_five_samples() -> None:
    bench = Bench(obedient).run(30)
    assert bench.session.outcome
    assert (bench.kept, bench.trials, bench.dropped) == ([5], 1, 1)


def test_a_pose_that_cannot_be_taken_is_left_out() -> None:
    bench = Bench(lambda t, text: obedient(t, "" if text == STEPS[3].text else text)).run(60)
    assert (bench.kept, bool(bench.session.outcome)) == ([4], True)


def test_who_only_looks_straight_is_not_enrolled_from_copies() -> None:
    bench = Bench(lambda t, _text: Seen()).run(130)
    assert bench.kept == []
    assert bench.session.outcome.decision is Decision.NOT_COMPLETED


def test_somebody_else_who_sits_down_ends_it() -> None:
    bench = Bench(lambda t, text: obedient(t, text, who=1 if text != STEPS[2].text else 2)).run(30)
    assert (bench.kept, bench.session.outcome.decision) == ([], Decision.NON_MATCH)
    assert bench.session.outcome.guidance is Guidance.BE_ALONE


def test_a_trial_that_does_not_know_the_face_three_times_keeps_nothing() -> None:
    bench = Bench(obedient, trial=False).run(60)
    assert (bench.kept, bench.trials, bench.session.outcome.decision) == ([], 3, Decision.NON_MATCH)


def test_eyes_that_are_closed_give_no_sample() -> None:
    bench = Bench(lambda t, text: obedient(t, text, eyes_open=t > 5)).run(40)
    assert bench.session.outcome
    assert Guidance.OPEN_EYES in bench.guidances


def test_who_goes_and_comes_back_goes_on_where_he_was() -> None:
    bench = Bench(lambda t, text: NOBODY if 2 < t < 6 else obedient(t, text)).run(40)
    assert bench.kept == [5]


def test_what_was_collected_is_wiped_at_the_end() -> None:
    bench = Bench(obedient)
    for number in range(20):
        progress = bench.session.feed(frame(number), time_s=number / FPS)
        bench.text = progress.prompt.text
    vectors = [probe._features[0]._vector for probe in bench.goal._collected]
    assert vectors
    bench.session.close()
    assert not any(vector.any() for vector in vectors)
