"""What pictures become before a comparison: features are made of good samples alone, of a stream of half of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import portrait
from PIL import Image, ImageFilter, ImageOps

from facesdk import Decision, Engine, FaceVerifier, matching
from facesdk.capture import samples as capture
from facesdk.capture.continuity import is_same
from facesdk.capture.quality import QualityLimits
from facesdk.capture.samples import Probe, enrollment_probe, pictures, sharper_half, usable_samples
from facesdk.errors import AcceleratorError, EnrollmentError, InputError
from facesdk.types import Features, Guidance, Sample

BLURRED = 4.0  # still found by the detector
NOBODY = np.full((480, 640, 3), 90, np.uint8)


def frame(name: str, *, blur: float = 0.0, shift: int = 0) -> np.ndarray:
    """A portrait in a 640 x 480 picture, blurred, moved to the right."""
    image = ImageOps.pad(Image.fromarray(portrait(name)), (640, 480), color=(90, 90, 90))
    return np.roll(np.asarray(image.filter(ImageFilter.GaussianBlur(blur))), shift, axis=1).copy()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often an engine detected, and made features."""
    counts = {"detect": 0, "embed": 0}
    observe, embed = Engine.observe, Engine.embed

    def observing(self: Engine, image: np.ndarray) -> object:
        counts["detect"] += 1
        return observe(self, image)

    def embedding(self: Engine, sample: Sample) -> Features:
        counts["embed"] += 1
        return embed(self, sample)

    monkeypatch.setattr(Engine, "observe", observing)
    monkeypatch.setattr(Engine, "embed", embedding)
    return counts


def test_the_sharper_half_keeps_its_order(sface: Engine) -> None:
    sample = sface.sample(frame("obama_2012"))
    assert sample is not None
    for sharpness, expected in (
        ([], []), ([5.0], [5.0]), ([5.0, 7.0], [7.0]), ([7.0, 5.0, 6.0], [7.0, 6.0]),
        ([1.0, 4.0, 2.0, 3.0], [4.0, 3.0]), ([3.0, 3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0]),
    ):  # fmt: skip
        samples = [replace(sample, quality=replace(sample.quality, sharpness=value)) for value in sharpness]
        assert [s.quality.sharpness for s in sharper_half(samples)] == expected


def test_pictures_are_all_used_and_a_stream_by_its_sharper_half(sface: Engine) -> None:
    frames = [frame("obama_2012", blur=blur, shift=shift) for blur, shift in ((0.0, 0), (1.0, 6), (0.5, 12))]
    every, _ = usable_samples(frames, sface, QualityLimits())
    half, _ = usable_samples(frames, sface, QualityLimits(), consecutive=True)
    assert len(every) == 3
    assert len(half) == 2
    sharpness = [s.quality.sharpness for s in every]
    assert sharpness[0] > sharpness[2] > sharpness[1]
    for one, other in zip(half, (every[0], every[2]), strict=True):
        assert one.quality.sharpness == pytest.approx(other.quality.sharpness, rel=0.1)


def test_no_features_are_made_of_what_is_refused(sface: Engine, tmp_path, calls: dict[str, int]) -> None:
    verifier = FaceVerifier(tmp_path / "vault", passphrase="only for this test", engine=sface)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    assert calls == {"detect": 2, "embed": 4}
    outcome = verifier.verify("owner", [frame("obama_2012", blur=BLURRED), NOBODY])
    assert outcome.decision is Decision.NO_FACE
    assert calls == {"detect": 4, "embed": 4}
    with pytest.raises(EnrollmentError, match="picture 2: the face is blurred"):
        enrollment_probe([portrait("obama_2012"), frame("obama_2012", blur=BLURRED)], sface, QualityLimits())
    assert calls == {"detect": 6, "embed": 4}


def test_a_stream_is_decided_with_one_detection_and_half_the_features(
    sface: Engine, tmp_path, calls: dict[str, int]
) -> None:
    verifier = FaceVerifier(tmp_path / "vault", passphrase="only for this test", engine=sface)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    calls.update(detect=0, embed=0)
    for name, decision in (("obama_2012", Decision.MATCH), ("sunak", Decision.NON_MATCH)):
        frames = [frame(name, shift=4 * number) for number in range(4)]
        assert verifier.verify("owner", frames, consecutive=True).decision is decision
        assert calls == {"detect": 1, "embed": 2}
        calls.update(detect=0, embed=0)
        assert verifier.verify("owner", frames).decision is decision
        assert calls == {"detect": 4, "embed": 4}
        calls.update(detect=0, embed=0)


def test_a_stream_of_nobody_or_of_poor_frames_says_so(sface: Engine) -> None:
    for frames, decision in (
        ([NOBODY] * 3, Decision.NO_FACE), ([frame("obama_2012", blur=BLURRED)] * 3, Decision.POOR_QUALITY),
    ):  # fmt: skip
        samples, refusal = usable_samples(frames, sface, QualityLimits(), consecutive=True)
        assert samples == []
        assert refusal.decision is decision


def test_where_the_face_changes_within_a_stream_the_sharper_one_decides(sface: Engine, tmp_path) -> None:
    """Being followed vouches for nobody: what is decided are the features of the frames that were chosen."""
    verifier = FaceVerifier(tmp_path / "vault", passphrase="only for this test", engine=sface)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    for owner_blur, stranger_blur, expected in ((0.0, 1.0, True), (1.0, 0.0, False)):
        owner, stranger = frame("obama_2012", blur=owner_blur), frame("sunak", blur=stranger_blur)
        for stream in ([owner, stranger] * 2, [stranger, owner] * 2):
            assert bool(verifier.verify("owner", stream, consecutive=True)) == expected
            assert not verifier.verify("owner", stream)


def test_a_refused_enrollment_leaves_no_features(sface: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    embed = Engine.embed

    def embedding(self: Engine, sample: Sample) -> Features:
        if fails and seen:
            raise AcceleratorError("made to fail")
        seen.append(embed(self, sample)._vector)
        return replace(embed(self, sample), vector=seen[-1])

    monkeypatch.setattr(Engine, "embed", embedding)
    for error, count in ((EnrollmentError, 2), (AcceleratorError, 1)):
        fails = error is AcceleratorError
        seen.clear()
        with pytest.raises(error):
            enrollment_probe([portrait("obama_2012"), portrait("sunak")], sface, QualityLimits())
        assert len(seen) == count
        assert not any(vector.any() for vector in seen)


# --- what is taken for pictures


def test_pictures_are_counted_and_none_is_read_beyond_what_is_allowed() -> None:
    assert pictures(NOBODY, at_most=1)[0] is NOBODY
    for given in ([NOBODY], [NOBODY] * 3, (NOBODY, NOBODY), iter([NOBODY] * 3)):
        assert all(picture is NOBODY for picture in pictures(given, at_most=3))
    waiting = iter([NOBODY] * 9)
    with pytest.raises(InputError, match="1 to 3 pictures were expected, not more"):
        pictures(waiting, at_most=3)
    assert len(list(waiting)) == 5
    for given, came in (([NOBODY] * 5, "5"), ([], "0"), (iter([]), "none")):
        with pytest.raises(InputError, match=f"1 to 3 pictures were expected, not {came}"):
            pictures(given, at_most=3)


def test_what_is_no_picture_is_named_by_its_number() -> None:
    flat = NOBODY[:, :, 0].astype(np.float32)
    with pytest.raises(InputError, match=r"^picture 2: "):
        pictures([NOBODY, flat], at_most=3)
    with pytest.raises(InputError, match=r"^(?!picture \d)"):
        pictures([flat], at_most=3)
    with pytest.raises(InputError, match=r"not dict: give list\(x\.values\(\)\)$"):
        pictures({"me": NOBODY}, at_most=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"not int$"):
        pictures(7, at_most=3)  # type: ignore[arg-type]


# --- an enrollment is held to more than a verification


def test_a_face_that_is_compared_may_be_smaller_than_one_that_is_enrolled(sface: Engine) -> None:
    image = Image.fromarray(frame("obama_2012"))
    seen = sface.sample(np.asarray(image))
    assert seen is not None
    side = 28.0 / seen.quality.eye_distance_px
    small = np.asarray(image.resize((round(640 * side), round(480 * side)), Image.Resampling.LANCZOS))
    assert len(usable_samples([small], sface, QualityLimits())[0]) == 1
    with pytest.raises(EnrollmentError, match="picture 1: the face is too small"):
        enrollment_probe([small], sface, QualityLimits())


def test_arrays_of_opencv_are_seen_as_they_are_meant(sface: Engine) -> None:
    picture = frame("obama_2012")
    (meant,), _ = usable_samples([picture], sface, QualityLimits())
    (swapped,), _ = usable_samples([picture[:, :, ::-1].copy()], sface, QualityLimits(), colors="bgr")
    np.testing.assert_array_equal(meant.crop, swapped.crop)
    one, other = (
        enrollment_probe([given], sface, QualityLimits(), colors=colors)
        for given, colors in ((picture, "rgb"), (picture[:, :, ::-1].copy(), "bgr"))
    )
    np.testing.assert_array_equal(one.vectors[0], other.vectors[0])


def test_the_last_refusal_is_the_one_that_is_told(sface: Engine) -> None:
    blurred = frame("obama_2012", blur=BLURRED)
    for frames, told in (
        ([], Guidance.SHOW_FACE), ([blurred, NOBODY], Guidance.SHOW_FACE), ([NOBODY, blurred], Guidance.HOLD_STILL),
    ):  # fmt: skip
        assert usable_samples(frames, sface, QualityLimits())[1].guidance is told


# --- features


def test_features_with_the_mirror_image_are_the_mean_direction_of_both(sface: Engine) -> None:
    (sample,), _ = usable_samples([frame("obama_2012")], sface, QualityLimits())
    (alone,) = Probe([sample], sface).vectors
    np.testing.assert_array_equal(alone, sface.embed(sample)._vector)
    mirrored = sface.embed(replace(sample, crop=np.ascontiguousarray(sample.crop[:, ::-1])))
    mean = alone.astype(np.float64) + mirrored._vector
    for both in (Probe([sample], sface, mirror=True), enrollment_probe([frame("obama_2012")], sface, QualityLimits(),
                                                                             mirror=True)):  # fmt: skip
        (vector,) = both.vectors
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
        assert not vector.flags.writeable


def test_features_that_nobody_asks_for_are_not_made(sface: Engine, made: list[np.ndarray]) -> None:
    samples, _ = usable_samples([frame("obama_2012"), frame("obama_2005"), frame("sunak")], sface, QualityLimits())
    with Probe(samples, sface, later=True) as probe:
        assert not made
        first = next(probe.each())
        assert len(made) == 1
        # The second is of the same person, the third is not: whoever looks for the first that is not makes all three.
        assert not is_same([first], probe.each(), 0.3)
        assert len(made) == 3
        assert [v is m for v, m in zip(probe.vectors, made, strict=True)] == [True] * 3
    assert not any(vector.any() for vector in made)
    del made[:]
    with Probe(list(reversed(samples)), sface, later=True) as probe:
        assert not is_same([sface.embed(samples[0])._vector], probe.each(), 0.3)
        assert len(made) == 2  # the one to compare with, and the first, which decides
    assert len(probe.vectors) == 1  # ended: nothing more is made


def test_of_a_mirror_image_nothing_is_left(sface: Engine, made: list[np.ndarray]) -> None:
    (sample,), _ = usable_samples([frame("obama_2012")], sface, QualityLimits())
    (vector,) = Probe([sample], sface, mirror=True).vectors
    kept, image = made
    assert kept is vector
    assert not image.any()


def test_a_crop_that_its_mirror_image_cancels_out_is_no_face(sface: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,), _ = usable_samples([frame("obama_2012")], sface, QualityLimits())
    one = sface.embed(sample)
    made = [replace(one, vector=one._vector.copy()), replace(one, vector=-one._vector)]
    waiting = iter(made)
    monkeypatch.setattr(Engine, "embed", lambda *_: next(waiting))
    with pytest.raises(InputError, match="cancel each other out: this is no face"):
        Probe([sample], sface, mirror=True)
    assert not any(features._vector.any() for features in made)


def test_whatever_ends_an_enrollment_leaves_no_features(
    sface: Engine, made: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(*_: object) -> list[np.ndarray]:
        raise KeyboardInterrupt

    monkeypatch.setattr(matching, "vectors_of", ending)
    with pytest.raises(KeyboardInterrupt):
        enrollment_probe([frame("obama_2012")], sface, QualityLimits())
    assert len(made) == 1
    assert not made[0].any()


# --- which pictures of an enrollment do not go together


def directions(*cosines: float) -> list[np.ndarray]:
    """Unit vectors in a plane, with these cosines to the first."""
    angles = [0.0, *(np.arccos(cosine) for cosine in cosines)]
    return [np.array([np.cos(angle), np.sin(angle)], np.float32) for angle in angles]


def reasons(vectors: list[np.ndarray], limits: QualityLimits | None = None) -> list[str]:
    found = capture._strangers_and_copies(vectors, "sface", limits or QualityLimits())
    return [reason.partition(". ")[0] for reason in found]


def test_the_fewer_ones_are_not_the_same_person() -> None:
    def stranger(number: int) -> str:
        return f"picture {number}: not the same person as in the others"

    assert reasons(directions()) == reasons(directions(0.8, 0.5)) == []
    assert reasons(directions(0.8, -0.5)) == [stranger(3)]
    assert reasons(directions(-0.5)) == [stranger(1), stranger(2)]
    assert reasons(directions(0.8, -0.5, -0.9)) == [stranger(number) for number in (1, 2, 3, 4)]


def test_an_enrollment_at_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As alike as the policy allows is no copy, and as alike as one person is at least is no stranger."""
    copies = directions(0.9)
    alike = matching.score(*copies)
    assert reasons(copies, QualityLimits(max_sample_similarity=alike)) == []
    limit = float(np.nextafter(alike, 0.0))
    assert reasons(copies, QualityLimits(max_sample_similarity=limit)) == [
        "picture 2: nearly the same as an earlier one"
    ]

    class Manifest:
        same_person = matching.score(*directions(0.3))

        def embedder(self, _: str) -> Manifest:
            return self

    monkeypatch.setattr(capture, "load_manifest", Manifest)
    assert reasons(directions(0.3)) == []
    Manifest.same_person = float(np.nextafter(Manifest.same_person, 1.0))
    assert len(reasons(directions(0.3))) == 2
