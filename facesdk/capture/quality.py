"""Is this sample good enough, and if not, what should the person do?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk.capture import crop_measures
from facesdk.errors import InputError
from facesdk.types import Decision, Guidance

if TYPE_CHECKING:
    from facesdk.types import Frame, Sample

# A second face is a bystander while its box has less than this share of the first one's area. An enrollment shows one.
BYSTANDER_AREA = 0.25
# Smaller faces are accepted for a comparison than for the reference that every comparison depends on.
VERIFY_SIZE = 0.75
# The mesh network's own opinion; it ends up near 0 or near 1.
MIN_PRESENCE = 0.5
# Up to here roll is borne well; of a face on its side the mesh reads about 90, or makes an upright one of it.
MAX_ROLL_DEG = 45.0
USUAL_CONTRAST = 40.0  # gray levels; the limit for sharpness is for a face that has it
# Of an enrollment: see crop_measures. benchmarks/quality.py measures what each refuses, disturbed and undisturbed.
MIN_EYE_BRIGHTNESS = 0.38
MIN_MOUTH_DETAIL = 0.035
MAX_CHIN_COLOUR = 0.2
MASKED = "mouth and chin cannot be seen (a mask)"
MIN_FINE_DETAIL = -0.5  # refuses one undisturbed face in a hundred at most in each of eight groups


BOUNDS = {
    "min_eye_distance_px": (8.0, 1000.0),
    "max_yaw_deg": (1.0, 90.0),
    "max_pitch_deg": (1.0, 90.0),
    "min_brightness": (0.0, 255.0),
    "max_overexposed": (0.0, 1.0),
    "min_sharpness": (0.0, 1e4),
    "min_signal_to_noise": (0.0, 1e3),
    "max_sample_similarity": (0.5, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What a sample must be to be used. Frozen and checked when made (InputError).

    No bundled portrait is refused at verification, and docs/measurements.md says how much of LFW is.

    Attributes:
        min_eye_distance_px: faces smaller than this are refused at enrollment; verification takes three quarters of it.
            ISO/IEC 19794-5 asks for 90 px in passports; networks with 112 px crops have their eyes 35 px apart.
        max_yaw_deg: degrees that the face may be turned to the side.
        max_pitch_deg: degrees that it may be raised or lowered.
        min_brightness: see Quality; below it a picture is black.
        max_overexposed: see Quality.
        min_sharpness: see Quality.
        min_signal_to_noise: see Quality.
        max_sample_similarity: two samples of an enrollment more alike than this cosine are near copies.
    """

    min_eye_distance_px: float = 32.0
    max_yaw_deg: float = 35.0
    max_pitch_deg: float = 35.0
    min_brightness: float = 4.0
    max_overexposed: float = 0.45
    min_sharpness: float = 20.0
    min_signal_to_noise: float = 3.8
    max_sample_similarity: float = 0.985

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")


@dataclass(frozen=True)
class Refusal:
    """Why a sample is not used: the outcome it leads to, what a person can do, and the measured reason in words."""

    decision: Decision
    guidance: Guidance
    reason: str


def _poor(guidance: Guidance, reason: str) -> Refusal:
    return Refusal(Decision.POOR_QUALITY, guidance, reason)


# Every comparison is written so that NaN refuses.
def assess(sample: Sample | None, faces: int, limits: QualityLimits, *, enrolling: bool) -> Refusal | None:
    """None for a sample to be used, else why not. faces: how many were detected, to tell none from a covered one."""
    if faces == 0:
        return Refusal(Decision.NO_FACE, Guidance.SHOW_FACE, "no face was found")
    # Before the mesh's own opinion, which a mask spoils as well; of a turned face the crop shows no mouth.
    if enrolling and sample is not None and not sample.turned and _mouth_is_hidden(sample):
        return _poor(Guidance.TAKE_OFF_MASK, MASKED)
    if sample is not None and (sample.turned or not abs(sample.face.pose.roll_deg) <= MAX_ROLL_DEG):
        return _poor(Guidance.HOLD_UPRIGHT, "the face is upside down or lies on its side")
    if sample is None or not sample.quality.presence >= MIN_PRESENCE:
        return _poor(Guidance.UNCOVER_FACE, "the face could not be made out (covered or cut off)")
    if sample.runner_up > (0.0 if enrolling else BYSTANDER_AREA):
        return Refusal(Decision.SEVERAL_FACES, Guidance.BE_ALONE, "several faces are in the picture")
    quality, pose = sample.quality, sample.face.pose
    smallest = limits.min_eye_distance_px * (1.0 if enrolling else VERIFY_SIZE)
    if not quality.eye_distance_px >= smallest:
        size = f"{quality.eye_distance_px:.0f} of at least {smallest:.0f} pixels between the eyes"
        return _poor(Guidance.COME_CLOSER, f"the face is too small: {size}")
    if not (abs(pose.yaw_deg) <= limits.max_yaw_deg and abs(pose.pitch_deg) <= limits.max_pitch_deg):
        return _poor(Guidance.LOOK_STRAIGHT, "the face is turned away")
    if not (quality.brightness >= limits.min_brightness and quality.signal_to_noise >= limits.min_signal_to_noise):
        return _poor(Guidance.MORE_LIGHT, "the face is too dark")
    if not quality.overexposed <= limits.max_overexposed:
        return _poor(Guidance.LESS_LIGHT, "the face is over-exposed")
    # A dim picture has the same edges with less contrast.
    if not quality.sharpness >= limits.min_sharpness * min(1.0, (quality.contrast / USUAL_CONTRAST) ** 2):
        return _poor(Guidance.HOLD_STILL, "the face is blurred")
    return _hidden_or_blurred(sample) if enrolling else None


def _has_parts(crop: Frame) -> bool:
    """Whether the parts of a face are in their places: in the crops that features can be made of, and in no other."""
    return crop.shape == crop_measures.SHAPE


def _mouth_is_hidden(sample: Sample) -> bool:
    if not _has_parts(sample.crop) or crop_measures.mouth_detail(sample.crop) >= MIN_MOUTH_DETAIL:
        return False
    # Blur hides a mouth as well.
    return crop_measures.fine_detail(sample.crop) >= MIN_FINE_DETAIL


def _hidden_or_blurred(sample: Sample) -> Refusal | None:
    """What a reference must not have: two people who wear the same, or move alike, are taken for each other."""
    if not _has_parts(sample.crop):
        return None
    if not crop_measures.eye_brightness(sample.crop) >= MIN_EYE_BRIGHTNESS:
        return _poor(Guidance.TAKE_OFF_GLASSES, "the eyes cannot be seen (sunglasses)")
    if not crop_measures.chin_colour(sample.crop) <= MAX_CHIN_COLOUR:
        return _poor(Guidance.TAKE_OFF_MASK, MASKED)
    if not crop_measures.fine_detail(sample.crop) >= MIN_FINE_DETAIL:
        return _poor(Guidance.HOLD_STILL, "the face is blurred")
    return None
