"""Sessions made of their parts: a goal, what looks for life, and the way to the vault."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from facesdk.capture.appearance import Follower
from facesdk.capture.enrolling import TRIAL_FRAMES, GuidedEnrollment
from facesdk.capture.means import CHALLENGES, Means
from facesdk.capture.session import Session
from facesdk.capture.verification import LiveVerification
from facesdk.capture.watch import Watch
from facesdk.capture.watcher import Watcher
from facesdk.errors import InputError, ModelIntegrityError, PolicyFloorError
from facesdk.learning.rule import Rule
from facesdk.types import Assurance
from facesdk.vault.audit.entry import check_labels

if TYPE_CHECKING:
    from facesdk.camera.live import LiveCamera
    from facesdk.capture.samples import Probe
    from facesdk.deciding import Decider
    from facesdk.engine import Engine
    from facesdk.engines import Engines
    from facesdk.liveness.passive import Passive
    from facesdk.policy import Policy
    from facesdk.types import Frame, Sample
    from facesdk.vault import KeyProvider

LOOKS, ENOUGH_LOOKS = 30, 5  # at the eyes, that say how far open they usually are
AHEAD_DEG = 8.0  # up to here where the eyes look is told by the iris
MAX_PURPOSE = 12  # so that attempt rules, target, tier and purpose fit into an entry of the log
TIERS = {Assurance.NONE: "pictures", Assurance.RGB_PASSIVE: "passive", Assurance.RGB_CHALLENGE: "challenge"}


def name_of(camera: str | LiveCamera) -> str:
    """The camera's name for the audit log. InputError for what has none."""
    name = getattr(camera, "label", camera)
    if not isinstance(name, str):
        raise InputError(f"camera must be an open camera or a short name, not {type(camera).__name__}")
    return name


def checked_name(camera: str | LiveCamera) -> str:
    """The camera's name for the audit log. InputError where it cannot be written."""
    check_labels(name_of(camera), "")
    return name_of(camera)


def checked_label(camera: str | LiveCamera, purpose: str, liveness: Assurance) -> str:
    """What the audit log's entry says of a session. InputError where it cannot be written."""
    if not isinstance(liveness, Assurance):
        raise InputError(f"liveness must be an Assurance, such as Assurance.RGB_CHALLENGE, not {liveness!r:.80}")
    if not isinstance(purpose, str) or len(purpose) > MAX_PURPOSE:
        raise InputError(f"purpose must be at most {MAX_PURPOSE} characters for the audit log, not {purpose!r:.80}")
    check_labels(name_of(camera), purpose)
    return f"{TIERS[liveness]} {purpose}".rstrip()


def verification(
    decider: Decider, policy: Policy, engine: Engine, liveness: Assurance, *, engines: Engines, challenge: str,
    timeout_s: float,
) -> Session:  # fmt: skip
    """A session that verifies. PolicyFloorError where the policy asks for more."""
    if liveness < policy.liveness:
        raise PolicyFloorError(
            f"{liveness.name} says less about life than the {policy.liveness.name} that the owner's enrollment asks for"
        )
    passive = None if liveness is Assurance.NONE else engines.passive()
    means = means_for(engine, policy, liveness, challenge, passive)
    goal = LiveVerification(means, compare=decider.matches, refuse=decider.refuse)
    return Session(goal, Follower(engine, policy.quality), timeout_s=timeout_s)


class _NotKept(Exception):
    """Ends the claim on a key that was given for an enrollment that did not come to be."""


def enrollment(
    engine: Engine, policy: Policy, keep: Callable[[Probe], None], *, timeout_s: float,
    claimed: contextlib.ExitStack, given: KeyProvider | None,
) -> Session:  # fmt: skip
    """A session that enrolls.

    keep: seals what was collected. claimed: the claim on the key, given back where nothing was kept; then the key given
    for this is forgotten.
    """

    sealed: list[bool] = []

    def trial(collected: Probe, probe: Probe) -> bool:
        rule = Rule.of(policy, engine.embedder, collected.vectors, [], frames=TRIAL_FRAMES)
        return rule.decide(collected.vectors, [], probe.vectors)

    def kept(collected: Probe) -> None:
        keep(collected)
        sealed.append(True)
        claimed.close()

    def drop() -> None:
        with contextlib.suppress(_NotKept), claimed:  # closed already, it does nothing
            raise _NotKept
        if given is not None and not sealed:
            given.forget()

    try:
        means = means_for(engine, policy, Assurance.NONE, CHALLENGES[0], None)
        goal = GuidedEnrollment(means, policy.quality, trial=trial, keep=kept, drop=drop)
        return Session(goal, Follower(engine, policy.quality), timeout_s=timeout_s)
    except BaseException:
        drop()
        raise


def watch(
    begin: Callable[[], Session], engine: Engine, policy: Policy, camera: Any, *, leave_after_s: float,
    on_progress: Callable[[Any, Any], None] | None, why_closed: Callable[[], str],
) -> Watch:  # fmt: skip
    """A watch over this camera; begin begins a session. InputError for what is no camera."""
    if (not hasattr(camera, "read") and not hasattr(camera, "__iter__")) or isinstance(camera, (str, bytes)):
        raise InputError(f"expected an open camera, or frames one by one, not {type(camera).__name__}")
    if on_progress is not None and not callable(on_progress):
        raise InputError(f"on_progress must be a function of progress and frame, not {on_progress!r:.80}")
    watcher = Watcher(
        begin, lambda: Follower(engine, policy.quality), engine, leave_after_s=leave_after_s, why_closed=why_closed
    )
    return Watch(watcher, camera, on_progress=on_progress)


def means_for(
    engine: Engine, policy: Policy, assurance: Assurance, challenge: str, passive: Passive | None
) -> Means:  # fmt: skip
    """What a session of this tier looks with. ModelIntegrityError where its networks are not there."""
    if challenge not in CHALLENGES:
        raise InputError(f"challenge must be one of {', '.join(CHALLENGES)}, not {challenge!r:.80}")
    if passive is None and assurance is Assurance.RGB_PASSIVE:
        raise ModelIntegrityError(
            "the networks that tell prints and screens from faces are not there",
            hint="facesdk models add FILE...; docs/optional-models.md says where they come from",
        )
    relief = None
    if assurance >= Assurance.RGB_CHALLENGE:
        from facesdk.liveness.parallax import Parallax

        relief = Parallax()
    awake = _Awake(engine) if policy.attention else None
    return Means(engine=engine, assurance=assurance, challenge=challenge, relief=relief, passive=passive, awake=awake)


class _Awake:
    """Whether both eyes are open and look ahead, as far open as this person's usually are in the session.

    Of a head that is turned aside, where the eyes look is not told.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._usual: deque[float] = deque(maxlen=LOOKS)

    def __call__(self, frame: Frame, sample: Sample) -> bool:
        from facesdk.liveness.attention import eyes_open, eyes_straight

        eyes = self._engine.eyes(frame, sample)
        lesser = min(eyes.right_openness, eyes.left_openness)
        if 0.0 <= lesser <= 1.0:
            self._usual.append(lesser)
        usual = median(self._usual) if len(self._usual) >= ENOUGH_LOOKS else None
        pose = sample.face.pose
        ahead = max(abs(pose.yaw_deg), abs(pose.pitch_deg)) > AHEAD_DEG or eyes_straight(eyes)
        return eyes_open(eyes, usual) and ahead
