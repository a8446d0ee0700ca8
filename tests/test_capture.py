"""What pictures become before a comparison: features are made of good samples alone, of a stream of half of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import portrait
from PIL import Image, ImageFilter, ImageOps

from facesdk import Decision, Engine, FaceVerifier, Policy
from facesdk.capture import enrollment_features, probe_samples, sharper_half
from facesdk.errors import AcceleratorError, EnrollmentError
from facesdk.types import Features, Sample

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
    every, _ = probe_samples(frames, sface, Policy())
    half, _ = probe_samples(frames, sface, Policy(), consecutive=True)
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
        enrollment_features([portrait("obama_2012"), frame("obama_2012", blur=BLURRED)], sface, Policy())
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
        samples, refusal = probe_samples(frames, sface, Policy(), consecutive=True)
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
            enrollment_features([portrait("obama_2012"), portrait("sunak")], sface, Policy())
        assert len(seen) == count
        assert not any(vector.any() for vector in seen)
