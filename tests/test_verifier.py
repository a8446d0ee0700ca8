"""FaceVerifier on the bundled portraits: who matches, who does not, what is refused and why."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import replace

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image, ImageEnhance, ImageFilter

from facesdk import Decision, Engine, FaceVerifier, Guidance, Policy
from facesdk._core import Secret
from facesdk.capture.quality import QualityLimits
from facesdk.engine.networks import load_manifest
from facesdk.errors import (
    AlreadyEnrolledError,
    EngineMismatchError,
    EnrollmentError,
    InputError,
    KeyUnavailableError,
    LockedOutError,
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
    VaultIntegrityError,
)
from facesdk.evaluation import vector
from facesdk.vault import PassphraseKey
from facesdk.vault.rules import AttemptRules
from facesdk.vault.vault import boot_ns

OBAMA = ("obama_2005", "obama_2009", "obama_2012")
OTHERS = ("biden", "macron_2025", "sunak", "ardern_2018", "collins", "hopper")


def _changed(name: str, change) -> np.ndarray:
    return np.asarray(change(Image.fromarray(portrait(name))))


def with_mirror_image(engine: Engine, frame: np.ndarray) -> np.ndarray:
    """The mean direction of the features of a face and of its mirror image."""
    sample = engine.sample(frame)
    image = replace(sample, crop=np.ascontiguousarray(sample.crop[:, ::-1]))
    mean = vector(engine.embed(sample)) + vector(engine.embed(image))
    return mean / np.linalg.norm(mean)


@pytest.fixture
def enrolled(verifier: FaceVerifier) -> FaceVerifier:
    verifier.enroll("owner", [portrait(n) for n in OBAMA[:2]], allow_few_samples=True)
    return verifier


def test_same_person_years_apart_matches_and_others_do_not(enrolled: FaceVerifier) -> None:
    outcome = enrolled.verify("owner", portrait("obama_2012"))
    assert outcome
    assert outcome.decision is Decision.MATCH
    assert outcome.elapsed_ms > 0
    for name in OTHERS:
        enrolled.unlock("owner", key=enrolled._keys.of("owner"))  # so many strangers in a row would only meet the delay
        outcome = enrolled.verify("owner", portrait(name))
        assert not outcome, name
        assert outcome.decision is Decision.NON_MATCH, name


@pytest.mark.parametrize("embedder", ["sface", "mobilefacenet", "joint"])
def test_each_embedder_tells_people_apart(embedder: str, tmp_path, key_file) -> None:
    policy = Policy(target_fmr=1e-3)  # MobileFaceNet alone holds 2e-5 only where it refuses most owners
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=Engine(embedder), policy=policy)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    assert verifier.verify("owner", portrait("obama_2012"))
    for name in OTHERS:
        verifier.unlock("owner", key=verifier._keys.of("owner"))
        assert verifier.verify("owner", portrait(name)).decision is Decision.NON_MATCH


def test_several_frames_are_fused_and_unusable_ones_left_out(enrolled: FaceVerifier) -> None:
    empty = np.zeros((240, 320, 3), np.uint8)
    assert enrolled.verify("owner", [empty, portrait("obama_2012"), empty])
    # Frames of another person pull the fused probe away from the owner.
    assert not enrolled.verify("owner", [portrait("obama_2012"), *[portrait("sunak")] * 3])


def test_a_picture_may_be_given_as_a_path(enrolled: FaceVerifier) -> None:
    assert enrolled.verify("owner", PORTRAITS / "obama_2012.jpg")
    assert enrolled.verify("owner", [str(PORTRAITS / "obama_2012.jpg")])


def test_gray_frames_work(enrolled: FaceVerifier) -> None:
    gray = _changed("obama_2012", lambda p: p.convert("L"))
    assert gray.ndim == 2
    assert enrolled.verify("owner", gray)


def test_what_a_person_can_cause_is_an_outcome(enrolled: FaceVerifier) -> None:
    empty = np.full((480, 640, 3), 128, np.uint8)
    outcome = enrolled.verify("owner", empty)
    assert (outcome.decision, outcome.guidance) == (Decision.NO_FACE, Guidance.SHOW_FACE)
    two = np.concatenate([portrait("ardern_2018")[:800, :700], portrait("obama_2012")[:800, :700]], axis=1)
    assert enrolled.verify("owner", np.ascontiguousarray(two)).decision is Decision.SEVERAL_FACES
    dark = _changed("obama_2012", lambda p: ImageEnhance.Brightness(p).enhance(0.12))
    outcome = enrolled.verify("owner", dark)
    assert (outcome.decision, outcome.guidance) == (Decision.POOR_QUALITY, Guidance.MORE_LIGHT)


REFUSED = {
    "blurred": (lambda p: p.filter(ImageFilter.GaussianBlur(14)), "blurred"),
    "dark": (lambda p: ImageEnhance.Brightness(p).enhance(0.12), "dark"),
    "over-exposed": (lambda p: ImageEnhance.Brightness(p).enhance(4.0), "over-exposed"),
    "small": (lambda p: p.resize((p.width // 5, p.height // 5)), "too small"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_poor_samples_are_refused_with_a_reason(verifier: FaceVerifier, what: str) -> None:
    change, word = REFUSED[what]
    verifier.enroll("twin", portrait("obama_2012"), allow_few_samples=True)
    with pytest.raises(EnrollmentError, match=word) as caught:
        verifier.enroll("owner", [portrait("obama_2012"), _changed("obama_2005", change)], allow_few_samples=True)
    assert len(caught.value.reasons) == 1
    assert caught.value.reasons[0].startswith("picture 2:")
    assert verifier.users() == ["twin"]


def test_a_turned_face_is_refused(verifier: FaceVerifier) -> None:
    strict = FaceVerifier(
        verifier.vault.folder.path,
        key=verifier._keys.of("owner"),
        engine=verifier.engine,
        policy=Policy(quality=QualityLimits(max_yaw_deg=10.0)),
    )
    with pytest.raises(EnrollmentError, match="turned"):
        strict.enroll("owner", portrait("obama_2009"), allow_few_samples=True)
    verifier.enroll("owner", portrait("obama_2009"), allow_few_samples=True)


def test_several_faces_are_refused_at_enrollment(verifier: FaceVerifier) -> None:
    two = np.concatenate([portrait("ardern_2018")[:800, :700], portrait("obama_2012")[:800, :700]], axis=1)
    with pytest.raises(EnrollmentError, match="several faces"):
        verifier.enroll("owner", np.ascontiguousarray(two), allow_few_samples=True)


def test_two_people_are_not_enrolled_as_one(verifier: FaceVerifier) -> None:
    with pytest.raises(EnrollmentError, match="not the same person"):
        verifier.enroll("owner", [portrait("obama_2012"), portrait("sunak")], allow_few_samples=True)
    mixed = [portrait(n) for n in (*OBAMA, "ardern_2018", "ardern_2022", "sunak")]
    with pytest.raises(EnrollmentError, match="not the same person"):
        verifier.enroll("owner", mixed, allow_few_samples=True)
    with pytest.raises(EnrollmentError, match="not the same person"):
        verifier.enroll(
            "owner",
            [portrait(n) for n in ("obama_2005", "obama_2012", "ardern_2018", "ardern_2022")],
            allow_few_samples=True,
        )
    with pytest.raises(EnrollmentError, match="picture 3: not the same person"):
        verifier.enroll(
            "owner", [portrait("obama_2005"), portrait("obama_2012"), portrait("biden")], allow_few_samples=True
        )
    assert verifier.users() == []


def test_near_copies_are_refused(verifier: FaceVerifier) -> None:
    original = portrait("obama_2012")
    shifted = np.ascontiguousarray(original[1:, 1:])
    brighter = _changed("obama_2012", lambda p: ImageEnhance.Brightness(p).enhance(1.03))
    for copy in (original.copy(), shifted, brighter):
        with pytest.raises(EnrollmentError, match="nearly the same"):
            verifier.enroll("owner", [original, copy], allow_few_samples=True)


def test_enrolling_again_needs_replace(enrolled: FaceVerifier) -> None:
    with pytest.raises(AlreadyEnrolledError):
        enrolled.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    enrolled.enroll("owner", portrait("sunak"), replace=True, allow_few_samples=True)
    assert not enrolled.verify("owner", portrait("obama_2012"))
    assert enrolled.verify("owner", portrait("sunak"))


def test_reference_and_samples_are_kept_and_nothing_else(enrolled: FaceVerifier) -> None:
    with enrolled.vault.opened("owner") as template:
        assert (template.count, template.dimension) == (2, enrolled.engine.dimension)
        assert template.model_ids == enrolled.engine.model_ids
        assert len(template.model_ids) == 3  # detector, mesh, network
        samples = [with_mirror_image(enrolled.engine, portrait(name)) for name in OBAMA[:2]]
        for kept, sample, turned in zip(template.samples, samples, template.turned(samples), strict=True):
            np.testing.assert_allclose(kept, turned, atol=1e-6)
            assert abs(float(kept @ sample)) < 0.5  # not as it is, but turned
    (sealed,) = enrolled.vault.folder.path.glob("*.face")
    assert sealed.stat().st_size < 4 * 320 * 3 + 1200


def test_no_features_stay_in_ordinary_memory(enrolled: FaceVerifier, made: list[np.ndarray]) -> None:
    made.clear()
    assert enrolled.verify("owner", portrait("obama_2012"))
    enrolled.enroll("owner", [portrait(n) for n in OBAMA[:2]], replace=True, allow_few_samples=True)
    assert len(made) == 1 + 2 * 2  # an enrollment makes those of the mirror image too
    assert not any(vector.any() for vector in made)


def test_an_existing_folder_becomes_private(verifier: FaceVerifier) -> None:
    verifier.vault.folder.path.mkdir(mode=0o755)
    verifier.vault.folder.path.chmod(0o755)
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert verifier.vault.folder.path.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in verifier.vault.folder.path.iterdir()} == {0o600}


def test_ten_samples_at_most(verifier: FaceVerifier) -> None:
    with pytest.raises(InputError, match="1 to 10"):
        verifier.enroll("owner", [portrait("obama_2012")] * 11, allow_few_samples=True)
    with pytest.raises(InputError, match="1 to 10"):
        verifier.enroll("owner", [], allow_few_samples=True)
    with pytest.raises(InputError):
        verifier.verify("owner", 7)


def test_engine_of_another_embedder_is_a_named_error(enrolled: FaceVerifier, joint: Engine) -> None:
    other = FaceVerifier(enrolled.vault.folder.path, key=enrolled._keys.of("owner"), engine=joint)
    with pytest.raises(EngineMismatchError, match="joint"):
        other.verify("owner", portrait("obama_2012"))


def test_engine_follows_the_template_when_none_is_given(tmp_path, key_file, joint: Engine) -> None:
    FaceVerifier(tmp_path / "v", key_file=key_file, engine=joint).enroll(
        "owner", portrait("obama_2012"), allow_few_samples=True
    )
    chosen = FaceVerifier(tmp_path / "v", key_file=key_file)
    assert chosen.verify("owner", portrait("obama_2009"))
    chosen.enroll("other", portrait("sunak"), allow_few_samples=True)
    with chosen.vault.opened("other") as template:
        assert template.embedder == "sface"
    assert chosen.verify("other", portrait("sunak"))
    assert chosen.verify("owner", portrait("obama_2009"))


def test_another_model_file_is_a_mismatch(enrolled: FaceVerifier, engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr(engine, "model_ids", ("0" * 64, *engine.model_ids[1:]))
    with pytest.raises(EngineMismatchError, match="other models"):
        enrolled.verify("owner", portrait("obama_2012"))


def test_remove_and_unknown_users(enrolled: FaceVerifier) -> None:
    enrolled.remove("owner")
    for call in (lambda: enrolled.verify("owner", portrait("obama_2012")), lambda: enrolled.remove("owner")):
        with pytest.raises(NotEnrolledError):
            call()


def test_tampered_template_never_matches(enrolled: FaceVerifier) -> None:
    (sealed,) = enrolled.vault.folder.path.glob("*.face")
    data = bytearray(sealed.read_bytes())
    assert enrolled.verify("owner", portrait("obama_2012"))
    data[len(data) // 2] ^= 1
    sealed.write_bytes(data)
    with pytest.raises(VaultIntegrityError):
        enrolled.verify("owner", portrait("obama_2012"))


def test_passphrase_opens_and_a_wrong_one_does_not(tmp_path, engine: Engine) -> None:
    FaceVerifier(tmp_path / "v", passphrase="right", engine=engine).enroll(
        "owner", portrait("obama_2012"), allow_few_samples=True
    )
    assert FaceVerifier(tmp_path / "v", passphrase="right", engine=engine).verify("owner", portrait("obama_2009"))
    with pytest.raises(KeyUnavailableError):
        FaceVerifier(tmp_path / "v", passphrase="wrong", engine=engine).verify("owner", portrait("obama_2009"))


def test_exactly_one_key_must_be_given(tmp_path, key_file) -> None:
    with pytest.raises(InputError, match="exactly one"):
        FaceVerifier(tmp_path)
    with pytest.raises(InputError, match="exactly one"):
        FaceVerifier(tmp_path, passphrase="x", key_file=key_file)


def test_nothing_shown_reveals_features_keys_or_scores(enrolled: FaceVerifier, engine: Engine) -> None:
    features = engine.features(portrait("obama_2012"))
    assert features is not None
    outcome = enrolled.verify("owner", portrait("obama_2012"))
    shown = repr(features) + repr(outcome) + repr(enrolled) + repr(enrolled.vault.folder)
    with enrolled.vault.opened("owner") as template:
        shown += repr(template) + repr(enrolled.vault.state("owner"))
    for number in np.asarray(features._vector)[:20]:
        assert f"{number:.4f}" not in shown
    assert {f.name for f in dataclasses.fields(outcome)} == {
        "decision", "reason", "guidance", "elapsed_ms", "assurance",
    }  # fmt: skip


def _fails(verifier: FaceVerifier, times: int) -> None:
    for _ in range(times):
        assert verifier.verify("owner", portrait("sunak")).decision is Decision.NON_MATCH


def test_failures_delay_and_then_need_the_passphrase(tmp_path, sface: Engine, monkeypatch) -> None:
    """The phone's rules from pictures to decisions, on a clock of the test's own."""
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    now = [boot_ns()]
    verifier.vault._now_ns = lambda: now[0]
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    for _ in range(3):  # what is no adequate face is no attempt
        assert verifier.verify("owner", np.full((240, 320, 3), 99, np.uint8)).decision is Decision.NO_FACE
    _fails(verifier, 5)
    with pytest.raises(LockedOutError) as caught:
        verifier.verify("owner", portrait("obama_2009"))
    assert caught.value.retry_after_s == 30
    now[0] += 30 * 10**9
    assert verifier.verify("owner", portrait("obama_2009"))
    for delay_s in (0, 0, 0, 0, 0, 30, 60, 120, 240, 480):
        now[0] += delay_s * 10**9
        _fails(verifier, 1)
    for _ in range(2):
        with pytest.raises(PassphraseRequiredError, match="too many attempts"):
            verifier.verify("owner", portrait("obama_2009"))
    with pytest.raises(PassphraseRequiredError):
        verifier.unlock("owner")  # the passphrase was forgotten with the key
    with pytest.raises(KeyUnavailableError):
        verifier.unlock("owner", passphrase="wrong")
    verifier.unlock("owner", passphrase="right")
    assert verifier.verify("owner", portrait("obama_2009"))
    now[0] += 72 * 3600 * 10**9
    with pytest.raises(PassphraseRequiredError, match="too long ago"):
        verifier.verify("owner", portrait("obama_2009"))


def test_lock_and_panic_forget_the_key(tmp_path, sface: Engine) -> None:
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    for forget, why in ((lambda: verifier.lock("owner"), "on request"), (verifier.panic, "emergency")):
        assert verifier.verify("owner", portrait("obama_2009"))
        forget()
        with pytest.raises(PassphraseRequiredError, match=why):
            verifier.verify("owner", portrait("obama_2009"))
        verifier.unlock("owner", passphrase="right")
    report, entries, sealed = verifier.vault.audit("owner")
    assert (report.problem, sealed) == (None, True)
    events = [entry.event.value for entry in entries]
    assert events == ["enrolled", "verified", "locked", "unlocked", "verified", "panic", "unlocked"]
    assert {entry.policy for entry in entries if entry.outcome} == {"phone 2e-05"}


@pytest.mark.parametrize("keyring", [False, True])
def test_an_own_passphrase_opens_once(tmp_path, sface: Engine, keyring, request) -> None:
    """After too many failures, a lock or an expiry only a passphrase given anew helps, whatever the object holds."""
    if keyring:
        request.getfixturevalue("keyring")
    rules = AttemptRules.preset("strict")
    verifier = FaceVerifier(
        tmp_path / "v", passphrase="right", keyring=keyring, engine=sface, policy=Policy(attempts=rules)
    )
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    _fails(verifier, 2)
    verifier.unlock("owner")  # open already: changes nothing
    _fails(verifier, 1)
    with pytest.raises(PassphraseRequiredError, match="too many"):
        verifier.unlock("owner")
    verifier.unlock("owner", passphrase="right")
    now = boot_ns() + rules.passphrase_every_s * 10**9
    verifier.vault._now_ns = lambda: now
    for _ in range(2):
        with pytest.raises(PassphraseRequiredError):
            verifier.verify("owner", portrait("obama_2009"))
    verifier.panic()


def test_a_panic_while_another_unlocks_wins(tmp_path, sface: Engine) -> None:
    """The unlock holds the vault's lock and saves its key after the panic has forgotten all."""
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(PassphraseKey):
        def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
            begun.set()
            assert go_on.wait(20)
            return super().unwrap(section, binding=binding)

    refused: list[PassphraseRequiredError] = []

    def try_to_unlock() -> None:
        try:
            verifier.unlock("owner", key=Slow("right"))
        except PassphraseRequiredError as error:
            refused.append(error)

    unlock = threading.Thread(target=try_to_unlock)
    unlock.start()
    assert begun.wait(20)
    panic = threading.Thread(target=verifier.vault.panic)
    panic.start()
    go_on.set()
    unlock.join(20)
    panic.join(20)
    assert [error.reason for error in refused] == [Reason.PANIC]
    with pytest.raises(PassphraseRequiredError, match="emergency"):
        verifier.verify("owner", portrait("obama_2009"))


def test_a_broken_log_never_unlocks(enrolled: FaceVerifier) -> None:
    assert enrolled.verify("owner", portrait("obama_2012"))
    (log,) = enrolled.vault.folder.path.glob("*.audit")
    log.write_bytes(log.read_bytes().replace(b"enrolled", b"enrulled"))
    with pytest.raises(VaultIntegrityError, match="audit"):
        enrolled.verify("owner", portrait("obama_2012"))


def test_an_engine_s_class_is_no_engine(tmp_path) -> None:
    with pytest.raises(InputError, match="engine must be made by"):
        FaceVerifier(tmp_path, passphrase="the words of this test", engine=Engine)  # type: ignore[arg-type]


def test_status_says_what_the_contract_is(verifier: FaceVerifier) -> None:
    verifier.enroll("owner", [portrait(n) for n in ("obama_2005", "obama_2009", "obama_2012")])
    found = verifier.status("owner").enrollment
    assert found is not None
    # Those of 2005 and 2012 are so alike that they count as one.
    assert (found.embedder, found.samples, found.differing, found.target_fmr) == ("sface", 3, 2, 2e-5)
    point = load_manifest().embedder("sface").point(2e-5, samples=2, frames=3)
    assert found.misses[3] == point.fnmr
    assert "2 of 3 samples count" in found.text
    assert f"{100 * point.fnmr:.1f} % with 3 frame(s)" in found.text
