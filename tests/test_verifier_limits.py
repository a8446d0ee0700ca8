"""A verifier to its limits: what it is made of, which threshold it takes, and when its own key opens and when not."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from conftest import portrait

from facesdk import Decision, Engine, FaceVerifier, Policy, matching
from facesdk.engine.networks import load_manifest
from facesdk.errors import (
    AlreadyEnrolledError,
    EnrollmentError,
    InputError,
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
)  # fmt: skip
from facesdk.types import Features
from facesdk.vault import KeyFileKey, PassphraseKey, Record
from facesdk.vault.attempts import PassphraseRequired

OBAMA = ("obama_2005", "obama_2009", "obama_2012")


@pytest.fixture
def enrolled(verifier: FaceVerifier) -> FaceVerifier:
    verifier.enroll("owner", [portrait(n) for n in OBAMA[:2]], allow_few_samples=True)
    return verifier


# --- what a verifier is made of


def test_arguments_that_do_not_fit_are_named(tmp_path, key_file) -> None:
    words = {"passphrase": "the words of this test"}
    for arguments, said in (
        ({**words, "policy": 2e-5}, "policy must be made by"),
        ({**words, "engine": object()}, "engine must be made by"),
        ({"key": "words"}, "key must be a provider of facesdk.vault, such as PassphraseKey(...), not str"),
        ({"key": object()}, "not object"),
        ({"key_file": 7}, "key_file must be the path of a key file, not int"),
        ({**words, "key": PassphraseKey("x")}, "exactly one"),
        ({"key_file": key_file, "key": PassphraseKey("x")}, "exactly one"),
        ({**words, "key_file": key_file, "keyring": True}, "exactly one"),
    ):
        with pytest.raises(InputError) as caught:
            FaceVerifier(tmp_path / "v", **arguments)
        assert said in str(caught.value)
    for vault, said in ((7, "not int"), (None, "not NoneType"), ("", "an empty name"), ("a\0b", "a zero byte")):
        with pytest.raises(InputError, match="vault must be the path of a folder") as caught:
            FaceVerifier(vault, **words)
        assert said in str(caught.value)
    for vault in (str(tmp_path / "v"), tmp_path / "v"):
        assert FaceVerifier(vault, **words).vault.folder.path == tmp_path / "v"


def test_a_verifier_without_a_key_of_its_own(tmp_path, sface: Engine, keyring) -> None:
    """With keyring=True one may be lacking: then it enrolls nobody and opens with what unlock is given."""
    lacking = FaceVerifier(tmp_path / "v", keyring=True, engine=sface)
    with pytest.raises(InputError, match="a passphrase, key file or other key is needed for this"):
        lacking.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert lacking.users() == []
    owner = FaceVerifier(tmp_path / "v", passphrase="right", keyring=True, engine=sface)
    owner.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert lacking.verify("owner", portrait("obama_2009"))
    assert lacking.lock("owner") is True
    with pytest.raises(PassphraseRequiredError):
        lacking.verify("owner", portrait("obama_2009"))
    with pytest.raises(PassphraseRequiredError):
        lacking.unlock("owner")
    lacking.unlock("owner", passphrase="right")
    assert lacking.verify("owner", portrait("obama_2009"))
    assert (lacking.panic(), lacking.panic()) == (1, 0)
    lacking.remove("owner")
    assert lacking.users() == []


def test_engines_are_made_when_needed_and_once_each(tmp_path, key_file, sface: Engine) -> None:
    made: list[str] = []

    def make(embedder: str) -> Engine:
        made.append(embedder)
        return sface

    verifier = FaceVerifier(tmp_path / "v", key_file=key_file, make_engine=make)
    assert made == []
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert verifier.verify("owner", portrait("obama_2009"))
    assert verifier.engine is sface
    assert made == ["sface"]


def test_a_passphrase_is_for_who_enrolled_with_one(tmp_path, key_file, sface: Engine) -> None:
    with_file = FaceVerifier(tmp_path / "f", key_file=key_file, engine=sface)
    with_file.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    with pytest.raises(InputError, match="give either a passphrase or key="):
        with_file.unlock("owner", passphrase="words")
    with_words = FaceVerifier(tmp_path / "w", passphrase="words", engine=sface)
    with_words.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    with pytest.raises(InputError, match="key=, of the kind that seals"):
        with_words.unlock("owner", passphrase="words", key=KeyFileKey(key_file))
    with_words.unlock("owner", passphrase="words")
    with_words.unlock("owner", key=PassphraseKey("words"))


# --- enrolling


def test_three_pictures_or_the_word_that_fewer_will_do(verifier: FaceVerifier) -> None:
    for count in (1, 2):
        with pytest.raises(EnrollmentError, match=f"3 or more pictures were expected, {count} came") as caught:
            verifier.enroll("owner", [portrait(n) for n in OBAMA[:count]])
        assert "or give allow_few_samples=True" in str(caught.value.hint)
    assert verifier.users() == []
    verifier.enroll("owner", [portrait(n) for n in OBAMA])
    with verifier.vault.opened("owner") as template:
        assert template.count == 3
        assert template.consent == "given to the program that called enroll()"
        assert abs(template.created_unix_s - time.time()) < 3600
        assert template.policy == Policy().sealed()
    verifier.enroll("owner", [portrait(n) for n in OBAMA], replace=True, consent="signed a form")
    with verifier.vault.opened("owner") as template:
        assert template.consent == "signed a form"
    assert [entry.policy for entry in verifier.vault.audit("owner")[1]] == ["phone 2e-05"] * 2


def test_what_was_sealed_is_wiped(verifier: FaceVerifier, monkeypatch) -> None:
    records: list[Record] = []
    enroll = verifier.vault.enroll

    def watched(record: Record, *arguments, **options) -> None:
        records.append(record)
        enroll(record, *arguments, **options)
        assert record.reference.any()
        assert record.samples.any()

    monkeypatch.setattr(verifier.vault, "enroll", watched)
    verifier.enroll("owner", [portrait(n) for n in OBAMA])
    monkeypatch.setattr(verifier.vault.folder, "exists", lambda _: False)  # so that only the vault refuses it
    with pytest.raises(AlreadyEnrolledError):
        verifier.enroll("owner", [portrait(n) for n in OBAMA])
    assert len(records) == 2
    for record in records:
        assert not record.reference.any()
        assert not record.samples.any()


def test_who_is_enrolled_is_refused_before_any_picture_is_looked_at(enrolled: FaceVerifier, monkeypatch) -> None:
    monkeypatch.setattr(Engine, "observe", lambda *_: pytest.fail("looked"))
    with pytest.raises(AlreadyEnrolledError, match="enrolled already"):
        enrolled.enroll("owner", portrait("obama_2012"), allow_few_samples=True)


def test_a_panic_while_the_first_pictures_are_looked_at_wins(tmp_path, sface: Engine, monkeypatch) -> None:
    """In another program, in a vault that was made for this enrollment."""
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    other = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    observe = Engine.observe

    def observing(self: Engine, image: np.ndarray) -> object:
        other.panic()
        return observe(self, image)

    monkeypatch.setattr(Engine, "observe", observing)
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert verifier.vault.state("owner")[0] == PassphraseRequired(Reason.PANIC)


# --- deciding


def test_the_threshold_is_that_of_the_frames_and_samples_that_count(tmp_path, sface: Engine, monkeypatch) -> None:
    """To the last bit: a score at the threshold opens, the next lower one does not."""
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    verifier.enroll("one", [portrait(OBAMA[0])], allow_few_samples=True)
    verifier.enroll(
        "two", [portrait(n) for n in OBAMA], passphrase="another one of theirs"
    )  # of 2005 and 2012 one counts
    entry = load_manifest().embedder("sface")
    frames = [portrait(name) for name in ("sunak", "biden", "collins")]
    for user, samples in (("one", 1), ("two", 2)):
        for number in (1, 2, 3):
            limit = entry.point(2e-5, samples=samples, frames=number).threshold
            pictures = [*frames[:number], frames[0]]  # the last is a copy, and does not count
            for score, decision in (
                (limit, Decision.MATCH), (math.nextafter(limit, 0.0), Decision.NON_MATCH), (1.0, Decision.MATCH)
            ):  # fmt: skip
                monkeypatch.setattr(matching, "fused_score", lambda *_, score=score, **__: score)
                assert verifier.verify(user, pictures).decision is decision


def test_an_outcome_says_how_long_it_took_in_milliseconds(enrolled: FaceVerifier, monkeypatch) -> None:
    seconds = itertools.count(7)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    for name in ("obama_2012", "sunak"):
        assert enrolled.verify("owner", portrait(name)).elapsed_ms == 1000.0
    assert enrolled.verify("owner", np.zeros((240, 320, 3), np.uint8)).elapsed_ms == 1000.0


def test_thirty_two_frames_at_most(enrolled: FaceVerifier) -> None:
    empty = np.zeros((64, 64, 3), np.uint8)
    assert enrolled.verify("owner", [empty] * 32).decision is Decision.NO_FACE
    with pytest.raises(InputError, match="1 to 32"):
        enrolled.verify("owner", [empty] * 33)


def test_probes_are_wiped_whatever_ends_the_attempt(enrolled: FaceVerifier, monkeypatch) -> None:
    kept: list[np.ndarray] = []
    vectors_of = matching.vectors_of

    def watched(features: list[Features]) -> list[np.ndarray]:
        kept.extend(vectors_of(features))
        return kept

    def ending(*_, **__) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(matching, "vectors_of", watched)
    monkeypatch.setattr(matching, "fused_score", ending)
    with pytest.raises(KeyboardInterrupt):
        enrolled.verify("owner", portrait("obama_2012"))
    assert len(kept) == 1
    assert not kept[0].any()


def test_the_camera_s_name_goes_into_the_log_and_must_fit_before_anything_is_looked_at(enrolled: FaceVerifier) -> None:
    assert enrolled.verify("owner", portrait("obama_2012"), camera="front door")
    assert enrolled.verify("owner", portrait("obama_2012"))
    assert [entry.camera for entry in enrolled.vault.audit("owner")[1]][1:] == ["front door", "files"]
    with pytest.raises(InputError):
        enrolled.verify("owner", 7, camera="x" * 1000)
    with pytest.raises(InputError, match="expected"):
        enrolled.verify("owner", 7)


# --- when the own key opens


@pytest.mark.parametrize("opened_by", ["enroll", "unlock", "verify", "found open"])
def test_what_was_open_once_is_not_opened_again(tmp_path, sface: Engine, opened_by: str) -> None:
    """Whatever the reason given: an own passphrase is for the start of the program, not for what comes after it."""
    maker = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    maker.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    verifier = maker if opened_by == "enroll" else FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    if opened_by == "unlock":
        verifier.unlock("owner")
    elif opened_by == "verify":
        assert verifier.verify("owner", portrait("obama_2009"))
    elif opened_by == "found open":
        verifier.vault.unlock("owner", PassphraseKey("right"), rules=Policy().attempts)
        assert verifier.verify("owner", portrait("obama_2009"))
    verifier.vault.open_keys.forget("owner", Reason.NOT_UNLOCKED)
    with pytest.raises(PassphraseRequiredError):
        verifier.verify("owner", portrait("obama_2009"))
    assert isinstance(verifier.vault.state("owner")[0], PassphraseRequired)
    with pytest.raises(PassphraseRequiredError):
        verifier.unlock("owner")


def test_lock_says_whether_a_key_was_open_and_forgets_the_own_passphrase(tmp_path, sface: Engine) -> None:
    for forget, there, gone in (
        (lambda v: v.lock("owner"), True, False), (lambda v: v.panic(), 1, 0)
    ):  # fmt: skip
        verifier = FaceVerifier(tmp_path / f"v{there}", passphrase="right", engine=sface)
        verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
        assert forget(verifier) == there
        assert forget(verifier) == gone
        with pytest.raises(PassphraseRequiredError):
            verifier._keys.of("owner").check()


def test_only_one_who_needs_the_passphrase_loses_the_own_one(tmp_path, sface: Engine) -> None:
    """A locked user's verification forgets what this object was made with; an own mistake does not."""
    verifier = FaceVerifier(tmp_path / "v", passphrase="right", engine=sface)
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    with pytest.raises(InputError):
        verifier.verify("owner", 7)
    with pytest.raises(NotEnrolledError):
        verifier.verify("nobody", portrait("obama_2012"))
    verifier.vault.open_keys.forget("owner", Reason.IDLE)
    key = verifier._keys.of("owner")
    assert key is not None
    key.check()
    with pytest.raises(PassphraseRequiredError):
        verifier.verify("owner", portrait("obama_2009"))
    with pytest.raises(PassphraseRequiredError):
        key.check()
