"""What measuring is given: scores and thresholds are those that a verification uses, and nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import portrait
from hypothesis import given
from hypothesis import strategies as st

from facesdk import Engine, FaceVerifier, Policy, matching
from facesdk.capture.quality import QualityLimits
from facesdk.errors import InputError
from facesdk.evaluation import fused_scores, threshold, vector


def people(seed: int, count: int, each: int, dimension: int = 64) -> np.ndarray:
    """Unit vectors (count, each, dimension)."""
    vectors = np.random.default_rng(seed).standard_normal((count, each, dimension))
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 7))
def test_scores_are_fused_as_a_verification_does(seed: int, samples: int, frames: int) -> None:
    references, probes = people(seed, 4, samples), people(seed + 1, 3, frames)
    found = fused_scores(references, probes)
    assert found.shape == (4, 3)
    assert found.dtype == np.float32
    expected = [[matching.fused_score(list(r), list(p)) for p in probes] for r in references]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    references, probes = people(1, 40, 3), people(2, 30, 3)
    whole = fused_scores(references, probes)
    for block in (1, 3 * 3 * 30, 5000):
        monkeypatch.setattr("facesdk.evaluation.BLOCK_SCORES", block)
        np.testing.assert_allclose(fused_scores(references, probes), whole, atol=1e-6)


def test_what_is_no_set_of_unit_vectors_is_refused() -> None:
    good = people(1, 2, 3)
    assert fused_scores(good, good).shape == (2, 2)
    broken = good.copy()
    broken[1, 2, 3] = np.nan
    for wrong in (
        good.astype(np.float64), good[0], good[:0], good[:, :0], good[:, :, :0], 2 * good, 0 * good, broken,
        good.tolist(), None,
    ):  # fmt: skip
        for both in ((wrong, good), (good, wrong)):
            with pytest.raises(InputError):
                fused_scores(*both)
    with pytest.raises(InputError, match="of 64 and 63 features"):
        fused_scores(good, people(1, 2, 3, 63))


def test_thresholds_are_those_in_use_and_unknown_ones_are_refused() -> None:
    for embedder in ("sface", "joint", "mobilefacenet"):
        for samples, frames in ((1, 1), (3, 1), (3, 3), (10, 32)):
            point = Policy().operating_point(embedder, samples=samples, frames=frames)
            assert threshold(embedder, 2e-5, samples, frames) == point.threshold
    for wrong in (("dlib", 2e-5, 1, 1), ("sface", 3e-5, 1, 1), ("sface", 2e-5, 0, 1), ("sface", 2e-5, 1, 0)):
        with pytest.raises(InputError):
            threshold(*wrong)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (2, 1), (3, 1)])
def test_a_verification_decides_at_the_threshold_of_its_samples_and_frames(
    tmp_path, key_file, sface: Engine, monkeypatch: pytest.MonkeyPatch, samples: int, frames: int
) -> None:
    names = ("obama_2005", "obama_2009", "obama_room")[:samples]
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=sface)
    verifier.enroll("owner", [portrait(name) for name in names], allow_few_samples=True)
    limit = threshold("sface", 2e-5, samples, frames)
    for score, expected in ((limit, True), (np.nextafter(limit, 0), False)):
        monkeypatch.setattr(matching, "fused_score", lambda *_vectors, score=score, **_known: score)
        assert bool(verifier.verify("owner", portrait("obama_2012"))) == expected


def test_a_burst_counts_as_one_frame_and_copies_as_one_sample(
    tmp_path, key_file, sface: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = portrait("obama_2012")
    burst = [np.clip(face.astype(int) + step, 0, 255).astype(np.uint8) for step in (0, 9, 18)]
    vectors = [vector(sface.features(frame)) for frame in burst]
    assert min(float(a @ b) for a in vectors for b in vectors) > matching.NEAR_COPY
    strict = FaceVerifier(
        tmp_path / "vault",
        key_file=key_file,
        engine=sface,
        policy=Policy(quality=QualityLimits(max_sample_similarity=1.0)),
    )
    strict.enroll("owner", burst)
    for score, expected in ((threshold("sface", 2e-5, 1, 1), True), (threshold("sface", 2e-5, 3, 3), False)):
        monkeypatch.setattr(matching, "fused_score", lambda *_vectors, score=score, **_known: score)
        assert bool(strict.verify("owner", burst)) == expected


def test_fewer_than_three_samples_are_asked_for_by_name(verifier: FaceVerifier) -> None:
    few = [portrait("obama_2005"), portrait("obama_2012")]
    for count in (1, 2):
        with pytest.raises(InputError, match=f"3 or more pictures were expected, {count} came.*allow_few_samples=True"):
            verifier.enroll("owner", few[:count])
    assert verifier.users() == []
    verifier.enroll("owner", few, allow_few_samples=True)
    assert verifier.verify("owner", portrait("obama_room"))
