"""The goal of a verification's session: somebody comes, follows a fresh path, and is compared once.

SEEK -> ALIGN (straight and still: neutral pose, first features) -> CHALLENGE -> RETURN (straight again, the frames that
decide) -> compared. Everything is of one unbroken appearance; another one begins anew, with no more tries.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from facesdk.capture.alignment import Alignment
from facesdk.capture.continuity import Continuity, is_same
from facesdk.capture.limits import DECIDING
from facesdk.capture.looks import Looks
from facesdk.capture.means import Means
from facesdk.capture.samples import Probe, sharpest
from facesdk.errors import FaceSdkError
from facesdk.liveness import evidence
from facesdk.liveness.challenge import RADIUS_DEG, Path, Pursuit
from facesdk.liveness.directions import Directions
from facesdk.liveness.evidence import Identical, Life, Verdict, judge
from facesdk.liveness.passive import PassiveVerdict
from facesdk.types import Assurance, Decision, Guidance, Outcome, Progress, Prompt, SessionPhase

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.liveness.challenge import RADIUS_DEG, Challenge, Turn
    from facesdk.types import Sample

SURE_PRESENCE = 0.9
RETURN_DEG, RETURN_S = 8.0, 3.0
COMPARABLE_DEG = 12.0  # turned further, features of one person are not always alike
DECIDING_GAP_S = 0.06
MIDDLE = (0.25, 0.85)  # of the challenge, by its fraction: who answers it is there then
START_SAMPLES = 2
TRIES = 2
STRAIGHT = Prompt("Look straight at the camera.")


class LiveVerification:
    """See Session and the module.

    Args:
        means: what it looks with.
        compare: the paid comparison, once: whether the probe matches.
        refuse: an attempt that is paid for, and refused without a comparison.
    """

    def __init__(self, means: Means, *, compare: Callable[[Probe], bool], refuse: Callable[[], None]) -> None:
        self._means, self._compare, self._refuse = means, compare, refuse
        self._track: int | None = None
        self._slips = 0
        self._owed = False  # something was tried and not decided
        self.charged = False
        self.decided: Probe | None = None  # what was compared, for who goes on with it
        self._first_s: float | None = None
        self._probes = list[Probe]()
        self._continuity = Continuity(means.engine, means.relief)
        self._restart()

    # --- the goal

    def see(self, view: View) -> Progress | Outcome:
        """Go on by one frame."""
        self._first_s = view.time_s if self._first_s is None else self._first_s
        if view.track != self._track:
            if self._phase in (SessionPhase.CHALLENGE, SessionPhase.RETURN):
                self._slips += 1
            self._track = view.track
            self._restart()
            if self._slips >= TRIES:
                return self.give_up("the face was lost on its way", self._elapsed_ms(view))
        if view.sample is not None and self._identical.feed(view.sample.crop):
            return self.give_up("the picture stands still: the camera hangs, or it is fed in", self._elapsed_ms(view))
        step = {SessionPhase.SEEK: self._align, SessionPhase.ALIGN: self._align, SessionPhase.CHALLENGE: self._follow,
                SessionPhase.RETURN: self._return}[self._phase]  # fmt: skip
        if self._looks.feed(view) is PassiveVerdict.DENIED:
            return self._attack(view, "this looks like a print or a screen")
        return step(view)

    def give_up(self, reason: str, elapsed_ms: float) -> Outcome:
        """What was tried costs an attempt; what was not, nothing."""
        if self._owed:
            self._owed, self.charged = False, True
            with contextlib.suppress(FaceSdkError):  # no attempt is left to be charged: all the better
                self._refuse()
        return Outcome(Decision.NOT_COMPLETED, reason, Guidance.NONE, elapsed_ms)

    def close(self) -> None:
        """Wipe all features, and the frames that they are of."""
        if self.decided is not None:
            with self.decided:
                self.decided = None
        self._restart()

    # --- steps

    def _restart(self) -> None:
        with contextlib.ExitStack() as wiped:
            for probe in self._probes:
                wiped.enter_context(probe)
        self._probes = []
        self._phase = SessionPhase.SEEK
        self._alignment = Alignment(self._is_awake)
        self._neutral: Turn = (0.0, 0.0)
        self._challenge: Challenge | None = None
        self._followed = False
        self._reliefs: list[evidence.Seen] = []
        self._middle: tuple[tuple[bool, float], Sample] | None = None  # refused or not, how far aside; the best one
        self._deciding: list[tuple[float, Sample]] = []
        self._return_s = 0.0
        self._looks = Looks(self._means.passive)
        self._identical = Identical()
        self._continuity.reset()

    def _align(self, view: View) -> Progress | Outcome:
        """Wait until the face is straight and still for a moment."""
        sample = view.sample
        if sample is None or view.refusal is not None or not sample.quality.presence >= SURE_PRESENCE:
            self._alignment.clear()
            self._phase = SessionPhase.SEEK
            return self._progress(view, view.guidance or Guidance.SHOW_FACE)
        self._phase = SessionPhase.ALIGN
        self._continuity.relief(view, sample)
        if not self._continuity.same(sample):
            self._restart()  # somebody else: nothing that was seen before counts
            return self._progress(view, Guidance.KEEP_STILL)
        if (guidance := self._alignment.feed(view, sample)) is not Guidance.NONE:
            return self._progress(view, guidance)
        awake = self._alignment.awake
        if not awake:
            self._alignment.clear()
            return self._progress(view, Guidance.OPEN_EYES)
        self._neutral = self._alignment.neutral
        return self._aligned(view, awake)

    def _aligned(self, view: View, awake: list[Sample]) -> Progress | Outcome:
        if self._means.assurance < Assurance.RGB_CHALLENGE:
            if self._means.assurance is Assurance.RGB_PASSIVE:
                if self._looks.verdict is PassiveVerdict.UNAVAILABLE:
                    return self.give_up("the camera's pictures have no colour to judge by", self._elapsed_ms(view))
                if self._looks.verdict is not PassiveVerdict.LIVE:
                    return self._progress(view, Guidance.MORE_LIGHT if self._looks.dark else Guidance.KEEP_STILL)
            return self._decide(view, awake)
        self._alignment.clear()
        start = Probe(sharpest(awake, START_SAMPLES), self._means.engine)
        self._probes.append(start)
        if not is_same(start.vectors[:1], start.vectors, evidence.SAME_PERSON):
            self._restart()  # two people in one window
            return self._progress(view, Guidance.BE_ALONE)
        self._continuity.begin(awake[-1])  # the first frame of the challenge is compared with it
        return self._challenge_begins(view)

    def _challenge_begins(self, view: View) -> Progress:
        source = self._means.source
        self._challenge = Directions(source, view.time_s) if self._means.challenge == "directions" \
            else Pursuit(Path.fresh(source), view.time_s)  # fmt: skip
        self._reliefs, self._middle = [], None
        self._phase = SessionPhase.CHALLENGE
        return self._progress(view)

    def _follow(self, view: View) -> Progress | Outcome:
        sample, challenge = view.sample, self._challenge
        if challenge is None or sample is None or not _is_there(sample):
            self._continuity.lose()
            return self._progress(view, view.guidance)
        changed = self._changed(view, sample)
        if changed is not None:
            return changed
        aside = self._aside_deg(sample)
        if MIDDLE[0] <= challenge.fraction(view.time_s) <= MIDDLE[1]:
            this = (view.refusal is not None, aside), sample
            self._middle = min(self._middle or this, this, key=lambda one: one[0])
        if aside >= RADIUS_DEG[0] / 2:
            self._owed = True  # whatever ends it: answers are not tried out for nothing
        found = challenge.feed(view.time_s, self._turn(sample))
        if found is None:
            return self._progress(view)
        verdict = judge(found, self._reliefs)
        if verdict.life is Life.LIVE and not self._middle_is_start():
            verdict = Verdict(Life.SLIP, "the face was not the same all the way")
        return self._judged(view, verdict)

    def _middle_is_start(self) -> bool:
        """Whether who answered is who began: of a face that is wiped across another, points come as others go."""
        if self._middle is None:
            return False
        with Probe([self._middle[1]], self._means.engine) as middle:
            return is_same(self._probes[0].vectors, middle.vectors, self._continuity.least)

    def _changed(self, view: View, sample: Sample) -> Progress | Outcome | None:
        """What it comes to where the face is not the one of the frame before; None where it is."""
        seen = self._continuity.relief(view, sample)
        if seen is not None and self._phase is SessionPhase.CHALLENGE:
            self._reliefs.append(seen)
        before = self._continuity.last
        if self._continuity.same(sample):
            return None
        if before is not None and max(map(self._aside_deg, (before, sample))) <= COMPARABLE_DEG:
            return self._attack(view, "another face took over")
        # Turned far, one person's face is not always like itself: nobody is accused, and the try is not believed.
        return self._judged(view, Verdict(Life.SLIP, "the face was not the same all the way"))

    def _judged(self, view: View, verdict: Verdict) -> Progress | Outcome:
        if verdict.life is Life.ATTACK:
            return self._attack(view, verdict.reason)
        self._phase, self._return_s = SessionPhase.RETURN, view.time_s
        self._followed, self._deciding = verdict.life is Life.LIVE, []
        if verdict.life is Life.SLIP:
            self._owed = self._owed or verdict.tried
            return self._slipped(view, verdict.reason)
        return self._progress(view)

    def _slipped(self, view: View, reason: str) -> Progress | Outcome:
        self._slips += 1
        if self._slips >= TRIES:
            return self.give_up(reason, self._elapsed_ms(view))
        return self._progress(view, Guidance.TRY_AGAIN)

    def _return(self, view: View) -> Progress | Outcome:
        """Straight again: the frames that decide, or the next try."""
        if view.time_s - self._return_s > RETURN_S:
            self._return_s, self._followed = view.time_s, False
            self._owed = True
            return self._slipped(view, "the face did not come back to the middle")
        sample = view.sample
        if sample is None or not _is_there(sample):
            self._continuity.lose()
            return self._progress(view, Guidance.COME_BACK)
        changed = self._changed(view, sample)
        if changed is not None:
            return changed
        if view.refusal is not None or self._aside_deg(sample) > RETURN_DEG:
            return self._progress(view, Guidance.COME_BACK)
        if not self._followed:
            return self._challenge_begins(view)
        if not self._is_awake(view, sample):
            return self._progress(view, Guidance.OPEN_EYES)
        if not self._deciding or view.time_s - self._deciding[-1][0] >= DECIDING_GAP_S:
            self._deciding.append((view.time_s, sample))
        if len(self._deciding) < DECIDING:
            return self._progress(view)
        return self._decide(view, [one for _, one in self._deciding])

    def _decide(self, view: View, samples: list[Sample]) -> Outcome:
        """Compare once; whoever began must be who is there now."""
        probe = Probe(sharpest(samples, DECIDING), self._means.engine, later=True)
        self._probes.append(probe)
        if not is_same([next(self._probes[0].each())], probe.each(), evidence.SAME_PERSON):
            return self._attack(view, "another face than at the start")
        if self._looks.samples:
            self._probes.append(Probe(self._looks.samples, self._means.engine, later=True))
            if not is_same(probe.vectors, self._probes[-1].each(), evidence.SAME_PERSON):
                return self._attack(view, "another face than the one that was looked at")
        self._owed, self.charged = False, True
        match = self._compare(probe)
        self.decided = self._probes.pop(self._probes.index(probe))
        decision, reason = (Decision.MATCH, "the face is the enrolled one") if match else (
            Decision.NON_MATCH, "the face is not the enrolled one")  # fmt: skip
        return Outcome(decision, reason, Guidance.NONE, self._elapsed_ms(view), self._means.assurance)

    def _attack(self, view: View, reason: str) -> Outcome:
        """What pretends to be a person costs an attempt, as a stranger does."""
        self._owed, self.charged = False, True
        self._refuse()
        return Outcome(Decision.ATTACK_SUSPECTED, reason, Guidance.NONE, self._elapsed_ms(view))

    # --- evidence

    def _is_awake(self, view: View, sample: Sample) -> bool:
        return self._means.awake is None or self._means.awake(view.image, sample)

    def _aside_deg(self, sample: Sample) -> float:
        return math.dist(self._turn(sample), (0.0, 0.0))

    def _turn(self, sample: Sample) -> Turn:
        pose = sample.face.pose
        return pose.yaw_deg - self._neutral[0], pose.pitch_deg - self._neutral[1]

    # --- what is said

    def _elapsed_ms(self, view: View) -> float:
        return max(0.0, view.time_s - (view.time_s if self._first_s is None else self._first_s)) * 1e3

    def _progress(self, view: View, guidance: Guidance = Guidance.NONE) -> Progress:
        prompt, fraction = None, 0.0
        if self._phase is SessionPhase.CHALLENGE and self._challenge is not None:
            fraction = self._challenge.fraction(view.time_s)
            prompt = self._challenge.prompt(view.time_s) if fraction < 1 else STRAIGHT
        elif self._phase is not SessionPhase.SEEK:
            prompt, fraction = STRAIGHT, float(self._phase is SessionPhase.RETURN)
        face = view.face
        return Progress(self._phase, guidance, prompt, False, fraction, None if face is None else face.box_px)


def _is_there(sample: Sample) -> bool:
    return sample.quality.presence >= SURE_PRESENCE and not sample.turned
