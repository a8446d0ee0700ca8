"""What goes in and comes out: frozen, typed, shapes in the docstrings. No representation shows features."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Float32Array: TypeAlias = NDArray[np.float32]
    Frame: TypeAlias = NDArray[np.uint8]
    # What facesdk.images.as_frame takes; several are given as anything that they come out of one by one.
    Picture: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image | Frame
    Pictures: TypeAlias = Picture | Iterable[Picture]
else:  # numpy and Pillow are loaded by what makes arrays, not by what only names them
    Float32Array: TypeAlias = Any
    Frame: TypeAlias = Any
    Picture: TypeAlias = Any
    Pictures: TypeAlias = Any


class Decision(Enum):
    """How an attempt ended. Only MATCH opens anything."""

    MATCH = "match"
    NON_MATCH = "non_match"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    POOR_QUALITY = "poor_quality"
    ATTACK_SUSPECTED = "attack_suspected"  # of a session: what was shown is no living person
    NOT_COMPLETED = "not_completed"  # of a session: it ended before anything could be decided


class Assurance(IntEnum):
    """What an outcome says about life, computed from what was shown; a higher tier keeps more out.

    docs/liveness.md says what each one keeps out, and what it does not.
    """

    NONE = 0  # pictures: whose face, not whether it is there
    RGB_PASSIVE = 10  # no print and no ordinary screen was noticed
    RGB_CHALLENGE = 20  # a relief like a head's followed a fresh path


class Guidance(Enum):
    """What the person in front of the camera can do next; the value is a sentence for them."""

    NONE = ""
    SHOW_FACE = "Look at the camera: no face was found."
    BE_ALONE = "Only one person may be in the picture."
    COME_CLOSER = "Come closer: the face is too small."
    LOOK_STRAIGHT = "Turn your face to the camera."
    HOLD_UPRIGHT = "Hold your head upright; if it is, the camera may be mounted upside down or on its side."
    MORE_LIGHT = "More light, please: the face is too dark."
    LESS_LIGHT = "Less light on the face, please: it is over-exposed."
    HOLD_STILL = "Hold still: the picture is blurred."
    TAKE_OFF_GLASSES = "Take off the sunglasses: the eyes cannot be seen."
    TAKE_OFF_MASK = "Take off the mask: mouth and chin cannot be seen."
    UNCOVER_FACE = "Show your whole face: it could not be made out."
    CHANGE_SOMETHING = "Take another picture: this one is nearly the same as an earlier one."
    OPEN_EYES = "Open your eyes and look at the camera."
    KEEP_STILL = "Look at the camera and keep still for a moment."
    COME_BACK = "Look straight at the camera again."
    TRY_AGAIN = "Once more: turn your head as you are shown."


@dataclass(frozen=True)
class Pose:
    """How the head is turned.

    Attributes:
        yaw_deg: degrees; above 0 the nose is turned to the picture's right.
        pitch_deg: degrees; above 0 the nose is lowered.
        roll_deg: degrees, clockwise in the picture.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of the frame (x to the right, y down, pixel centres at integers).

    Attributes:
        box_px: float32 (4,) x0, y0, x1, y1; may reach over the frame's edge.
        keypoints_px: float32 (6, 2): right eye, left eye, nose tip, mouth centre, right ear, left ear (the person's).
        score: the detector's, 0.5 to 1; says that this is a face, nothing about whose.
        pose: from the mesh where there is one, else a rougher one from the keypoints.
        landmarks_px: float32 (468, 3) of the face mesh where asked for, else None; z in pixels, smaller is nearer.
    """

    box_px: Float32Array
    keypoints_px: Float32Array
    score: float
    pose: Pose
    landmarks_px: Float32Array | None = None


@dataclass(frozen=True)
class Quality:
    """Measured on the aligned crop's face area (gray levels 0..255) and in the frame.

    Attributes:
        eye_distance_px: between the eye centres in the frame.
        brightness: mean gray level.
        contrast: standard deviation of the gray levels.
        overexposed: share of pixels at 250 or more.
        sharpness: variance of the Laplacian.
        presence: 0 to 1, the mesh network's opinion that this is a face.
        signal_to_noise: contrast over noise (native/core/pipeline.h), which says whether there is enough light.
    """

    eye_distance_px: float
    brightness: float
    contrast: float
    overexposed: float
    sharpness: float
    presence: float
    signal_to_noise: float = math.inf


@dataclass(frozen=True, eq=False)
class Sample:
    """What a frame shows of one face, before features are made of it (or not, if it is too poor).

    Attributes:
        face: with landmarks.
        quality: of the aligned crop.
        runner_up: area of the frame's second face over this one's, 0 if there was none, or the caller named the face.
        crop: uint8 (112, 112, 3), RGB, what features are made of.
        turned: upside down, on its side, or not where the detector saw eyes, nose and mouth: crop and mesh mean
            nothing.
    """

    face: Face
    quality: Quality
    runner_up: float
    crop: Frame = field(repr=False)
    turned: bool = False


@dataclass(frozen=True, eq=False)
class Features:
    """Biometric features of one face. Their numbers come out through facesdk.evaluation only.

    Cannot be pickled or copied (TypeError), and dataclasses.asdict has everything but the numbers.

    Attributes:
        embedder: which network made them.
        face: of the sample.
        quality: of the sample.
        runner_up: of the sample.
    """

    embedder: str
    face: Face
    quality: Quality
    runner_up: float
    vector: InitVar[Float32Array]
    if TYPE_CHECKING:  # no field, so that what walks over the fields does not come upon it
        _vector: Float32Array = field(init=False)

    def __post_init__(self, vector: Float32Array) -> None:
        object.__setattr__(self, "_vector", vector)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "features are not pickled or copied, so that they do not leave this process by accident: hand over the "
            "picture, or for measuring the numbers that facesdk.evaluation.vector gives"
        )

    def __repr__(self) -> str:
        return f"Features(embedder={self.embedder!r}, dimension={self._vector.shape[0]})"


class SessionPhase(Enum):
    """Where a session is."""

    SEEK = "seek"  # nobody yet who could be looked at
    ALIGN = "align"  # a face, straight and still for a moment
    CHALLENGE = "challenge"  # the head follows the prompts
    RETURN = "return"  # straight again, the frames that decide
    COLLECT = "collect"  # of an enrollment: samples that differ
    DONE = "done"


@dataclass(frozen=True)
class Prompt:
    """Where the person is to turn, for whatever shows it: a screen, LEDs, a voice.

    Attributes:
        text: a sentence for them.
        x: 0 to 1 from the left of the picture shown mirrored, as people expect of a mirror.
        y: 0 to 1 from its top.
        arrow: one of the eight arrows, or a dot for straight ahead.
    """

    text: str
    x: float = 0.5
    y: float = 0.5
    arrow: str = "\N{BULLET}"

    def led(self, count: int) -> int | None:
        """Find the LED of a ring that is meant.

        Args:
            count: LEDs of the ring, number 0 at the top, the others clockwise as the person sees them.

        Returns:
            Its number; None for straight ahead.
        """
        right, down = self.x - 0.5, self.y - 0.5
        if math.hypot(right, down) < 0.1:
            return None
        return round(math.atan2(right, -down) / math.tau * count) % count


@dataclass(frozen=True, eq=False)
class Progress:
    """What a session says after each frame.

    Attributes:
        phase: where it is.
        guidance: what keeps it from going on, if anything does.
        prompt: where to turn; None where nothing is asked for.
        done: the outcome is there.
        fraction: of the way, 0 to 1, for a ring that fills.
        box_px: float32 (4,) of the face that is followed, in the frame; None without one.
        outcome: how it ended; None while it has not.
    """

    phase: SessionPhase
    guidance: Guidance = Guidance.NONE
    prompt: Prompt | None = None
    done: bool = False
    fraction: float = 0.0
    box_px: Float32Array | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Outcome:
    """What a verification came to. True in a condition for MATCH alone. Holds no score, on purpose.

    Attributes:
        decision: how it ended.
        reason: one sentence for a log.
        guidance: the person's next move; its value is a sentence for them, empty where there is none.
        elapsed_ms: milliseconds from the frames to the decision.
        assurance: what it says about life; pictures alone reach NONE.
    """

    decision: Decision
    reason: str
    guidance: Guidance
    elapsed_ms: float
    assurance: Assurance = Assurance.NONE

    def __bool__(self) -> bool:
        return self.decision is Decision.MATCH
