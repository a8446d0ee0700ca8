"""The verifier as others see it: its status, its end, its log, and several people on one device."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from conftest import portrait
from vault_tools import CHEAP

import facesdk
from facesdk import (
    Engine,
    FaceVerifier,
    InputError,
    KeyUnavailableError,
    NotEnrolledError,
    PassphraseKey,
    PassphraseRequiredError,
    Phase,
    Reason,
    Status,
)
from facesdk.vault import KeyKind

OWNER = ("obama_2005", "obama_2009")


@pytest.fixture(scope="module")
def sface() -> Engine:
    return Engine("sface")


def made(folder: Path, engine: Engine, words: str = "words of one") -> FaceVerifier:
    return FaceVerifier(folder / "vault", key=PassphraseKey(words, **CHEAP), engine=engine)


@pytest.fixture
def verifier(tmp_path: Path, sface: Engine) -> FaceVerifier:
    one = made(tmp_path, sface)
    one.enroll("owner", [portrait(name) for name in OWNER], allow_few_samples=True, consent="asked on paper")
    return one


# --- status


def test_status_says_what_holds_at_each_step(verifier: FaceVerifier) -> None:
    ready = verifier.status("owner")
    assert isinstance(ready, Status)
    assert (ready.phase, ready.ready, ready.reason, ready.wait_s, ready.failures) == (Phase.READY, True, None, 0, 0)
    assert ready.kind is KeyKind.PASSPHRASE
    assert ready.protection.label == "passphrase"
    assert ready.enrollment is not None
    assert (ready.enrollment.consent, ready.enrollment.samples) == ("asked on paper", 2)
    assert ready.enrollment.target_fmr == 2e-5
    assert "misses" in ready.enrollment.text
    for _ in range(5):
        assert not verifier.verify("owner", portrait("sunak"))
    waiting = verifier.status("owner")
    assert (waiting.phase, waiting.ready, waiting.failures) == (Phase.DELAYED, False, 5)
    assert 0 < waiting.wait_s <= 30
    assert waiting.enrollment is None
    verifier.lock("owner")
    closed = verifier.status("owner")
    assert (closed.phase, closed.reason, closed.failures) == (Phase.PASSPHRASE_REQUIRED, Reason.LOCKED, None)
    assert (closed.why, closed.enrollment) == (Reason.LOCKED.value, None)
    with pytest.raises(NotEnrolledError):
        verifier.status("nobody")


def test_status_asks_for_no_key_and_shows_no_secret(tmp_path: Path, sface: Engine, verifier: FaceVerifier) -> None:
    other = made(tmp_path, sface, "not the words")
    assert other.status("owner").phase is Phase.PASSPHRASE_REQUIRED
    shown = f"{verifier.status('owner')!r}{other!r}"
    assert "words" not in shown
    assert "array" not in shown


# --- the end


def test_at_its_end_nothing_is_open_and_nothing_works(tmp_path: Path, sface: Engine, verifier: FaceVerifier) -> None:
    with verifier as same:
        assert same is verifier
        assert verifier.verify("owner", portrait("obama_2012"))
    assert isinstance(verifier.vault.state("owner")[0], facesdk.vault.attempts.PassphraseRequired)
    key = verifier._keys.of("owner")
    assert key is not None
    with pytest.raises(PassphraseRequiredError):
        key.check()
    calls = (
        lambda: verifier.verify("owner", portrait("obama_2012")),
        lambda: verifier.unlock("owner", passphrase="words of one"),
        lambda: verifier.enroll("other", [portrait(name) for name in OWNER], allow_few_samples=True),
    )
    for call in calls:
        with pytest.raises(InputError, match="is closed"):
            call()
    verifier.close()
    assert made(tmp_path, sface).verify("owner", portrait("obama_2012")), "the template is as it was"


def test_an_error_inside_closes_too(tmp_path: Path, sface: Engine) -> None:
    one = made(tmp_path, sface)
    with pytest.raises(RuntimeError), one:
        raise RuntimeError
    with pytest.raises(InputError, match="is closed"):
        one.verify("owner", portrait("obama_2012"))


# --- several people


def test_two_people_do_not_share_a_passphrase_by_accident(tmp_path: Path, verifier: FaceVerifier) -> None:
    pictures = [portrait("macron_2025")]
    with pytest.raises(InputError, match=r"seals the template of 'owner'.*enroll\(..., passphrase=...\)"):
        verifier.enroll("second", pictures, allow_few_samples=True)
    assert verifier.users() == ["owner"]
    verifier.enroll("second", pictures, allow_few_samples=True, passphrase="words of another")
    assert verifier.verify("second", portrait("macron_2025"))
    assert verifier.verify("owner", portrait("obama_2012"))
    assert not verifier.verify("owner", portrait("macron_2025"))
    for user in ("owner", "second"):
        verifier.lock(user)
    with pytest.raises(PassphraseRequiredError):
        verifier.verify("second", portrait("macron_2025"))
    with pytest.raises(KeyUnavailableError):
        verifier.unlock("second", passphrase="words of one")
    verifier.unlock("second", passphrase="words of another")
    assert verifier.verify("second", portrait("macron_2025"))


def test_one_persons_passphrase_is_not_tried_on_anothers_template(
    tmp_path: Path, sface: Engine, verifier: FaceVerifier
) -> None:
    """It would be logged as a guess, and make the other one wait."""
    verifier.enroll("second", [portrait("macron_2025")], allow_few_samples=True, passphrase="words of another")
    again = made(tmp_path, sface)
    assert again.verify("owner", portrait("obama_2012"))
    before = len(again.vault.audit("second")[1])
    with pytest.raises(PassphraseRequiredError):
        again.verify("second", portrait("macron_2025"))
    assert len(again.vault.audit("second")[1]) == before


def test_a_key_file_may_serve_several(tmp_path: Path, sface: Engine) -> None:
    facesdk.KeyFileKey.create(tmp_path / "key")
    one = FaceVerifier(tmp_path / "vault", key_file=tmp_path / "key", engine=sface)
    for user in ("a", "b"):
        one.enroll(user, [portrait("obama_2005")], allow_few_samples=True)
    assert one.users() == ["a", "b"]


# --- the log


def test_what_happens_is_logged_without_secrets_or_scores(
    tmp_path: Path, sface: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="facesdk"):
        one = made(tmp_path, sface)
        one.enroll("owner", [portrait(name) for name in OWNER], allow_few_samples=True)
        one.verify("owner", portrait("obama_2012"))
        one.verify("owner", portrait("sunak"))
        one.lock("owner")
        with pytest.raises(PassphraseRequiredError):
            one.verify("owner", portrait("obama_2012"))
        one.unlock("owner", passphrase="words of one")
        one.remove("owner")
    said = [record.getMessage() for record in caplog.records]
    begins = [
        "enrolled owner",
        "verify owner: match",
        "verify owner: non_match",
        "locked owner",
        "verify owner: the pass",
    ]
    assert [text.startswith(begin) for text, begin in zip(said, begins, strict=False)] == [True] * 5
    assert said[-2:] == ["unlocked owner", "removed owner"]
    assert all(record.name == "facesdk" for record in caplog.records)
    assert not [text for text in said if "words" in text or "0." in text]
