"""The goal of an enrollment's session: samples that differ in pose and distance, then a trial, then the seal.

COLLECT (five poses, one after another) -> RETURN (straight again, other frames than those collected) -> the trial
verification -> kept. Nothing is kept before the trial has passed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk import matching
from facesdk.capture.means import Means
from facesdk.capture.quality import QualityLimits, assess
from facesdk.capture.samples import ENOUGH_SAMPLES, Probe
from facesdk.capture.verification import STRAIGHT
from facesdk.engine.networks import load_manifest
from facesdk.liveness.challenge import Turn, arrow, spot
from facesdk.types import Decision, Guidance, Outcome, Progress, Prompt, SessionPhase

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.types import Sample

# A pose that somebody cannot take is left out after so long.
STEP_S = 8.0
HOLD_S = 0.2
STRAIGHT_DEG = 8.0
NEARER, FARTHER = 1.15, 0.87
TRIALS = 3
TRIAL_FRAMES, TRIAL_GAP_S = 3, 0.1


@dataclass(frozen=True)
class Wanted:
    """One sample that is wanted.

    Attributes:
        text: what the person is asked for.
        toward: the turn from straight ahead, degrees (yaw, pitch).
        within_deg: of it.
        distance: eye distances over the first sample's that will do: none between these two.
    """

    text: str
    toward: Turn = (0.0, 0.0)
    within_deg: float = STRAIGHT_DEG
    distance: tuple[float, float] | None = None

    def fits(self, turn: Turn, size: float) -> bool:
        """Whether a head so turned, and so large beside the first, is what was asked for."""
        if self.distance is not None and self.distance[0] < size < self.distance[1]:
            return False
        return math.dist(turn, self.toward) <= self.within_deg

    @property
    def prompt(self) -> Prompt:
        """The same for whatever shows it."""
        return Prompt(self.text, *spot(self.toward), arrow(self.toward))


# Turned further than this a face's features tell little of it.
STEPS = (
    Wanted("Look straight at the camera."),
    Wanted("Turn your head a little to the left.", (13.0, 0.0), 6.0),
    Wanted("Turn your head a little to the right.", (-13.0, 0.0), 6.0),
    Wanted("Raise your chin a little.", (0.0, -10.0), 5.5),
    Wanted("Come a little nearer, or go back a little.", distance=(FARTHER, NEARER)),
)


class GuidedEnrollment:
    """See Session and the module.

    Args:
        means: what it looks with; of it the engine and whether somebody is awake.
        limits: what a sample must be.
        trial: whether the collected features would know the probe.
        keep: seals the probe of what was collected.
        drop: called at the end, kept or not.
    """

    def __init__(
        self, means: Means, limits: QualityLimits, *, trial: Callable[[Probe, Probe], bool],
        keep: Callable[[Probe], None], drop: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._means, self._limits, self._trial, self._keep, self._drop = means, limits, trial, keep, drop
        self._same = load_manifest().embedder(means.engine.embedder).same_person
        self._collected: list[Probe] = []
        self._track: int | None = None
        self._trials = 0
        self._first_s: float | None = None
        self._held_s: float | None = None
        self._fresh: list[tuple[float, Sample]] = []
        self._restart()

    charged = False
    decided: Probe | None = None

    @property
    def collected(self) -> int:
        """How many samples there are so far."""
        return len(self._collected)

    def see(self, view: View) -> Progress | Outcome:
        """Go on by one frame."""
        self._first_s = view.time_s if self._first_s is None else self._first_s
        if view.track != self._track:  # whoever comes back is compared with what was collected
            self._track, self._held_s, self._fresh = view.track, None, []
        sample = view.sample
        refusal = view.refusal or assess(sample, 1, self._limits, enrolling=True)
        if sample is None or refusal is not None:
            self._held_s = None
            turned_away = refusal is not None and refusal.guidance is Guidance.LOOK_STRAIGHT
            return self._progress(view, Guidance.NONE if turned_away else view.guidance or _guidance_of(refusal))
        if self._number < len(STEPS):
            return self._collect(view, sample)
        return self._try(view, sample)

    def give_up(self, reason: str, elapsed_ms: float) -> Outcome:
        """Nothing is kept."""
        return Outcome(Decision.NOT_COMPLETED, f"not enrolled: {reason}", Guidance.NONE, elapsed_ms)

    def close(self) -> None:
        """Wipe all features, and let go of the key where nothing was kept."""
        with contextlib.ExitStack() as every:
            every.callback(self._drop)
            every.callback(self._restart)

    # --- steps

    def _restart(self) -> None:
        with contextlib.ExitStack() as wiped:
            for probe in self._collected:
                wiped.enter_context(probe)
        self._collected = []
        self._number = 0
        self._neutral: Turn = (0.0, 0.0)
        self._eyes_px = 0.0
        self._step_s: float | None = None
        self._held_s, self._fresh = None, []

    def _collect(self, view: View, sample: Sample) -> Progress | Outcome:
        """Wait for the pose that is wanted; take one sharp frame of it that is of the same person and no copy."""
        self._step_s = view.time_s if self._step_s is None else self._step_s
        if self._number and view.time_s - self._step_s > STEP_S:
            return self._next(view)
        size = sample.quality.eye_distance_px / self._eyes_px if self._eyes_px else 1.0
        if not STEPS[self._number].fits(self._turn(sample), size):
            self._held_s = None
            return self._progress(view)
        self._held_s = view.time_s if self._held_s is None else self._held_s
        if view.time_s - self._held_s < HOLD_S:
            return self._progress(view, Guidance.KEEP_STILL)
        if self._means.awake is not None and not self._means.awake(view.image, sample):
            return self._progress(view, Guidance.OPEN_EYES)
        return self._take(view, sample)

    def _take(self, view: View, sample: Sample) -> Progress | Outcome:
        probe = Probe([sample], self._means.engine, mirror=True)
        scores = [matching.score(probe.vectors[0], known.vectors[0]) for known in self._collected]
        if scores and min(scores) < self._same:
            with probe:
                return self._refused(view, "another face came before the camera", Guidance.BE_ALONE)
        if scores and max(scores) > self._limits.max_sample_similarity:
            with probe:
                return self._progress(view)  # one more of nearly the same; the next frame may differ
        self._collected.append(probe)
        if not self._eyes_px:
            pose = sample.face.pose
            self._eyes_px, self._neutral = sample.quality.eye_distance_px, (pose.yaw_deg, pose.pitch_deg)
        return self._next(view)

    def _next(self, view: View) -> Progress | Outcome:
        self._number, self._step_s, self._held_s = self._number + 1, view.time_s, None
        if self._number == len(STEPS) and len(self._collected) < ENOUGH_SAMPLES:
            self._number = 1  # once more round; the session's time limits it
        return self._progress(view)

    def _try(self, view: View, sample: Sample) -> Progress | Outcome:
        """Straight again: other frames than those collected must be known by them."""
        if math.dist(self._turn(sample), (0.0, 0.0)) > STRAIGHT_DEG:
            return self._progress(view, Guidance.COME_BACK)
        if not self._fresh or view.time_s - self._fresh[-1][0] >= TRIAL_GAP_S:
            self._fresh.append((view.time_s, sample))
        if len(self._fresh) < TRIAL_FRAMES:
            return self._progress(view)
        samples, self._fresh = [one for _, one in self._fresh], []
        with Probe(
            [one for probe in self._collected for one in probe.samples], self._means.engine, mirror=True
        ) as all_:
            with Probe(samples, self._means.engine) as probe:
                known = self._trial(all_, probe)
            if known:
                self._keep(all_)
                return Outcome(Decision.MATCH, "enrolled", Guidance.NONE, self._elapsed_ms(view))
        self._trials += 1
        if self._trials < TRIALS:
            return self._progress(view, Guidance.KEEP_STILL)
        return self._refused(view, "the trial did not know the face again", Guidance.MORE_LIGHT)

    # --- what is said

    def _turn(self, sample: Sample) -> Turn:
        pose = sample.face.pose
        return pose.yaw_deg - self._neutral[0], pose.pitch_deg - self._neutral[1]

    def _refused(self, view: View, reason: str, guidance: Guidance) -> Outcome:
        return Outcome(Decision.NON_MATCH, f"not enrolled: {reason}", guidance, self._elapsed_ms(view))

    def _elapsed_ms(self, view: View) -> float:
        return max(0.0, view.time_s - (view.time_s if self._first_s is None else self._first_s)) * 1e3

    def _progress(self, view: View, guidance: Guidance = Guidance.NONE) -> Progress:
        collecting = self._number < len(STEPS)
        phase = SessionPhase.COLLECT if collecting else SessionPhase.RETURN
        face = view.face
        return Progress(
            phase, guidance, STEPS[self._number].prompt if collecting else STRAIGHT, False,
            self._number / (len(STEPS) + 1), None if face is None else face.box_px,
        )  # fmt: skip


def _guidance_of(refusal: object) -> Guidance:
    guidance = getattr(refusal, "guidance", Guidance.SHOW_FACE)
    return guidance if isinstance(guidance, Guidance) else Guidance.SHOW_FACE
