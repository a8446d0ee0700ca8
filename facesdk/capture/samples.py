"""From pictures to samples that are good enough, and to their features in a Probe, which wipes them after use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from facesdk import _core, matching
from facesdk.capture.quality import QualityLimits, Refusal, assess
from facesdk.engine.engine import Engine
from facesdk.engine.networks import load_manifest
from facesdk.engine.tracking import Tracker
from facesdk.errors import EnrollmentError, InputError
from facesdk.images import PICTURE, as_frame, check_picture, first_look, is_one
from facesdk.images.frames import in_margin
from facesdk.types import Decision, Features, Guidance, Sample

if TYPE_CHECKING:
    from facesdk.types import Face, Float32Array, Frame, Picture, Pictures

MAX_SAMPLES, MAX_FRAMES = 10, 32
# With the eyes so far apart in the smaller picture, the crop is still made of it by shrinking.
NEAR_PX = 80
ENOUGH_SAMPLES = 3  # one photo's threshold, which holds for everybody, would refuse the owner too often


def pictures(images: Pictures, *, at_most: int, colors: str = "rgb") -> list[Picture]:
    """The pictures as a list, none read yet; one alone is a list of one.

    Of an iterator at most one more than at_most is taken. InputError for none or too many, for what is no picture
    (images.as_frame says what is), and for a batch in one array.
    """
    if is_one(images):
        images = [images]  # type: ignore[list-item]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        more = ": give list(x.values())" if isinstance(images, Mapping) else ""
        raise InputError(f"expected {PICTURE}, or several, not {type(images).__name__}{more}")
    found = list(islice(images, at_most + 1))
    if not 1 <= len(found) <= at_most:
        count = len(images) if isinstance(images, Sequence) else "more" if found else "none"
        raise InputError(f"1 to {at_most} pictures were expected, not {count}")
    for number, picture in enumerate(found, start=1):
        try:
            check_picture(picture, colors=colors)
        except InputError as error:
            if len(found) == 1:
                raise
            raise InputError(f"picture {number}: {error}") from error
    return found  # type: ignore[return-value]


class Probe:
    """Features of the samples that a comparison uses, or an enrollment seals; a context that wipes them at its end.

    samples: what was looked at. vectors: float32 (d,) of unit length for each, until the end.
    """

    def __init__(self, samples: Sequence[Sample], engine: Engine, *, mirror: bool = False, later: bool = False) -> None:
        """Makes the features, or does so later, when they are asked for.

        mirror: of each crop and its mirror image, their mean direction.
        """
        self.samples = list(samples)
        self._engine, self._mirror, self._ended = engine, mirror, False
        self._features: list[Features] = []
        if not later:
            self._make(len(self.samples))

    @property
    def vectors(self) -> list[Float32Array]:
        self._make(len(self.samples))
        return matching.vectors_of(self._features)

    def each(self) -> Iterator[Float32Array]:
        """The vectors one by one; who takes no more of them leaves the other samples without features."""
        for number in range(1, len(self.samples) + 1):
            self._make(number)
            yield self._features[number - 1]._vector

    def _make(self, count: int) -> None:
        """So many of the features, unless what was made is wiped."""
        if not self._ended and len(self._features) < count:
            left = self.samples[len(self._features) : count]
            self._features += _embedded(left, self._engine, mirror=self._mirror)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._ended = True
        _wipe(self._features)

    def __repr__(self) -> str:
        return f"Probe({len(self.samples)} samples)"


def probe(
    frames: Sequence[Picture], engine: Engine, limits: QualityLimits, *, consecutive: bool = False, colors: str = "rgb"
) -> Probe | Refusal:
    """The features that a comparison is to use; the last refusal where no frame is good enough. As usable_samples."""
    samples, refusal = usable_samples(frames, engine, limits, consecutive=consecutive, colors=colors)
    return Probe(samples, engine) if samples else refusal


def usable_samples(
    frames: Sequence[Picture], engine: Engine, limits: QualityLimits, *, consecutive: bool = False, colors: str = "rgb"
) -> tuple[list[Sample], Refusal]:
    """The samples that a comparison is to use, and the last refusal (of meaning where there are none).

    consecutive: of one camera's stream; the face is followed, and only the sharper half is returned. colors: of arrays,
    "rgb" or "bgr".
    """
    samples: list[Sample] = []
    refusal = Refusal(Decision.NO_FACE, Guidance.SHOW_FACE, "no face was found")
    tracker = Tracker(engine) if consecutive else None
    for image in frames:
        sample, faces = (
            tracker.observe(as_frame(image, colors=colors)) if tracker else _looked_at(engine, image, limits, colors)
        )
        refused = assess(sample, len(faces), limits, enrolling=False)
        if refused is not None:
            refusal = refused
        elif sample is not None:
            samples.append(sample)
    return (sharper_half(samples) if consecutive else samples), refusal


def _looked_at(
    engine: Engine, picture: Picture, limits: QualityLimits, colors: str
) -> tuple[Sample | None, list[Face]]:
    """What Engine.observe gives of a picture. Of a large JPEG file, read small where a face is large and good in that.

    What would be refused for what it looks like is looked at whole first.
    """
    frame, smaller = first_look(picture, colors=colors)
    sample, faces = engine.observe(frame)
    if not smaller:
        return sample, faces
    near = sample is not None and sample.quality.eye_distance_px >= NEAR_PX
    if near and assess(sample, len(faces), limits, enrolling=False) is None:
        return sample, faces
    return engine.observe(as_frame(picture, colors=colors))


def sharper_half(samples: Sequence[Sample]) -> list[Sample]:
    """The sharper half of consecutive samples, the odd one included, in their order.

    Neighbouring frames tell little more than one of them, and features are by far the longest part of a frame's way.
    """
    return sharpest(samples, (len(samples) + 1) // 2)


def sharpest(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The sharpest of them, in their order."""
    ranked = sorted(range(len(samples)), key=lambda i: -samples[i].quality.sharpness)
    return [samples[i] for i in sorted(ranked[:count])]


def _embedded(samples: Sequence[Sample], engine: Engine, *, mirror: bool = False) -> list[Features]:
    """Features of each sample; those already made are wiped if one cannot be.

    mirror: of each crop and its mirror image, their mean direction.
    """
    made: list[Features] = []
    try:
        for sample in samples:
            made.append(engine.embed(sample))
            if mirror:
                _add_mirror_image(made, sample, engine)
    except BaseException:
        _wipe(made)
        raise
    return made


def _add_mirror_image(made: list[Features], sample: Sample, engine: Engine) -> None:
    """Makes of the last features the mean direction of them and of the mirrored crop's. InputError: there is none."""
    import numpy as np

    mean = made[-1]._vector.astype(np.float64)
    try:
        image = engine.embed(replace(sample, crop=np.ascontiguousarray(sample.crop[:, ::-1])))
        made.append(image)  # wiped with the rest if anything fails from here on
        mean += image._vector
        length = float(np.linalg.norm(mean))
        if not length > 0:
            raise InputError("the features of a crop and of its mirror image cancel each other out: this is no face")
        mean /= length
        made[-2]._vector.flags.writeable = True
        made[-2]._vector[:] = mean
        made[-2]._vector.flags.writeable = False
        _wipe([made.pop()])
    finally:
        _core.wipe(mean)


def observed(engine: Engine, frame: Frame) -> tuple[Sample | None, list[Face]]:
    """What Engine.observe gives of a still picture: one whose face fills it is looked at in a margin too.

    A camera's frames are not, as most of those without a face have none.
    """
    sample, faces = engine.observe(frame)
    if not faces:
        wide, margin = in_margin(frame)
        return engine.observe(wide) if margin else (sample, faces)
    return sample, faces


def _wipe(features: Sequence[Features]) -> None:
    """Overwrites their vectors."""
    for one in features:
        _core.wipe(one._vector)


def enrollment_probe(
    frames: Sequence[Picture], engine: Engine, limits: QualityLimits, *, colors: str = "rgb", mirror: bool = False
) -> Probe:
    """Features of every picture. EnrollmentError, with each reason, if one is poor or not of the same person.

    mirror: of each crop and its mirror image, their mean direction.
    """
    samples: list[Sample] = []
    reasons: list[str] = []
    for number, image in enumerate(frames, start=1):
        sample, faces = observed(engine, as_frame(image, colors=colors))
        refused = assess(sample, len(faces), limits, enrolling=True)
        if refused is not None:
            reasons.append(f"picture {number}: {refused.reason}. {refused.guidance.value}")
        elif sample is not None:
            samples.append(sample)
    if reasons:
        raise _not_enrolled(reasons)
    with contextlib.ExitStack() as undone:
        made = undone.enter_context(Probe(samples, engine, mirror=mirror))
        reasons = _strangers_and_copies(made.vectors, engine.embedder, limits)
        if reasons:
            raise _not_enrolled(reasons)
        undone.pop_all()
        return made


def _not_enrolled(reasons: list[str]) -> EnrollmentError:
    return EnrollmentError("nothing was enrolled:\n" + "\n".join(reasons), tuple(reasons))


def _strangers_and_copies(vectors: Sequence[Float32Array], embedder: str, limits: QualityLimits) -> list[str]:
    """Reasons against samples that are near copies of each other or not of one person."""
    apart = load_manifest().embedder(embedder).same_person
    scores = [[matching.score(a, b) for b in vectors] for a in vectors]
    strangers = [sum(value < apart for value in row) for row in scores]
    # Of two people in one enrollment the fewer samples are the wrong ones; in a balanced mix, nobody knows which.
    worst = max(strangers)
    reasons = []
    for i, row in enumerate(scores):
        if any(value > limits.max_sample_similarity for value in row[:i]):
            reasons.append(f"picture {i + 1}: nearly the same as an earlier one. {Guidance.CHANGE_SOMETHING.value}")
        if worst and strangers[i] == worst:
            reasons.append(f"picture {i + 1}: not the same person as in the others. Use pictures of one person only.")
    return reasons


def few_samples(count: int, *, allow: str = "allow_few_samples=True") -> EnrollmentError:
    """The error for an enrollment from fewer than ENOUGH_SAMPLES pictures."""
    return EnrollmentError(
        f"{ENOUGH_SAMPLES} or more pictures were expected, {count} came: the threshold for one photo that holds for "
        "everybody refuses the owner too often",
        hint=f"take more, with the head turned a little and in another light, or give {allow}",
    )
