"""The verifier as others see it: its status, its end, its log, and several people on one device."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import portrait
from vault_tools import CHEAP

import facesdk
from facesdk import (
    Engine,
    FaceSdkError,
    FaceVerifier,
    InputError,
    KeyUnavailableError,
    LockedOutError,
    NotEnrolledError,
    PassphraseKey,
    PassphraseRequiredError,
    Phase,
    Policy,
    Reason,
    Status,
)
from facesdk.vault import KeyKind, OpenKey

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
    assert "the owner is refused in" in ready.enrollment.text
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


def test_status_where_others_were_faster(tmp_path: Path, sface: Engine, verifier: FaceVerifier) -> None:
    """A template that was sealed anew needs the passphrase; a delay that began meanwhile is one."""
    real = verifier.vault.opened

    def delayed(*_: object, **__: object) -> object:
        raise LockedOutError(29.2)

    verifier.vault.opened = delayed  # type: ignore[method-assign, assignment]
    waiting = verifier.status("owner")
    assert (waiting.phase, waiting.wait_s, waiting.enrollment) == (Phase.DELAYED, 30, None)
    verifier.vault.opened = real  # type: ignore[method-assign]
    other = made(tmp_path, sface)
    other.vault.renew("owner", PassphraseKey("words of one", **CHEAP), rules=other.policy.attempts)
    stale = verifier.status("owner")
    assert (stale.phase, stale.reason, stale.failures) == (Phase.PASSPHRASE_REQUIRED, Reason.CHANGED, None)


def test_status_asks_for_no_key_and_shows_no_secret(tmp_path: Path, sface: Engine, verifier: FaceVerifier) -> None:
    other = made(tmp_path, sface, "not the words")
    assert other.status("owner").phase is Phase.PASSPHRASE_REQUIRED
    shown = f"{verifier.status('owner')!r}{other!r}"
    assert "words" not in shown
    assert "array" not in shown


@pytest.mark.parametrize(("enrolled_with", "asked_for"), [(1e-3, None), (1e-3, 1e-3), (2e-5, 1e-5), (1e-5, None)])
def test_status_names_the_rate_that_a_verification_holds(
    tmp_path: Path, sface: Engine, enrolled_with: float, asked_for: float | None
) -> None:
    key = PassphraseKey("words of one", **CHEAP)
    one = FaceVerifier(tmp_path / "vault", key=key, engine=sface, policy=Policy(target_fmr=enrolled_with))
    one.enroll("owner", [portrait(name) for name in OWNER], allow_few_samples=True)
    policy = None if asked_for is None else Policy(target_fmr=asked_for)
    other = FaceVerifier(tmp_path / "vault", key=key, engine=sface, policy=policy)
    other.verify("owner", [portrait("obama_2012")] * 3)
    found = other.status("owner").enrollment
    assert found is not None
    logged = other.vault.audit("owner")[1][-1].policy
    assert logged == f"phone {found.target_fmr:g}"
    assert found.floor["target_fmr"] == enrolled_with


def test_what_is_no_engine_is_named(tmp_path: Path) -> None:
    for wrong in (None, 7, "Engine"):
        with pytest.raises(InputError, match="make_engine must take"):
            FaceVerifier(tmp_path, passphrase="some words", make_engine=wrong)  # type: ignore[arg-type]
    one = FaceVerifier(tmp_path, passphrase="some words", make_engine=lambda name: name)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match=r"what make_engine gives must be made by facesdk.Engine"):
        one.enroll("owner", [portrait("obama_2005")], allow_few_samples=True)


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


def test_an_opening_that_another_thread_is_about_comes_to_nothing(tmp_path: Path, sface: Engine) -> None:
    """close(), lock() and panic() reach the passphrase that an enrollment or an unlock is at work with."""
    for number, (begin, end) in enumerate((a, b) for a in ("enroll", "unlock") for b in ("close", "lock", "panic")):
        place = tmp_path / str(number)
        one = made(place, sface)
        one.enroll("owner", [portrait("obama_2005")], allow_few_samples=True)
        one.lock("owner")
        at_work, go_on = threading.Event(), threading.Event()
        given = PassphraseKey("words of one" if begin == "unlock" else "words of another", **CHEAP)
        user = "owner" if begin == "unlock" else "second"

        def waiting(
            *arguments: object, real: Any = one.vault.begin, said: Any = at_work, wait: Any = go_on, **options: object
        ) -> object:
            said.set()
            assert wait.wait(20)
            return real(*arguments, **options)

        one.vault.begin = waiting  # type: ignore[method-assign]

        def work(one: FaceVerifier = one, user: str = user, given: PassphraseKey = given, begin: str = begin) -> None:
            with contextlib.suppress(FaceSdkError):
                if begin == "unlock":
                    one.unlock(user, key=given)
                else:
                    one.enroll(user, [portrait("macron_2025")], allow_few_samples=True, key=given)

        thread = threading.Thread(target=work)
        thread.start()
        assert at_work.wait(20)
        {"close": one.close, "panic": one.panic, "lock": lambda one=one, user=user: locked(one, user)}[end]()
        go_on.set()
        thread.join(20)
        with pytest.raises(PassphraseRequiredError):
            given.check()
        held = one.vault.open_keys.load(user)
        assert not isinstance(held, OpenKey), f"{end} during {begin} leaves a key open"


def locked(one: FaceVerifier, user: str) -> None:
    with contextlib.suppress(NotEnrolledError):
        one.lock(user)


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


def test_who_is_found_unlocked_owns_the_passphrase(tmp_path: Path, sface: Engine, verifier: FaceVerifier) -> None:
    """Nothing was opened with it here, and it would have been taken for nobody's."""
    again = made(tmp_path, sface)
    again.vault.open_keys = verifier.vault.open_keys
    again.vault._openings = verifier.vault._openings
    assert again.verify("owner", portrait("obama_2012"))
    with pytest.raises(InputError, match="seals the template of 'owner'"):
        again.enroll("second", [portrait("macron_2025")], allow_few_samples=True)


def test_two_enrollments_at_once_do_not_share_it_either(tmp_path: Path, sface: Engine) -> None:
    one = made(tmp_path, sface)
    outcomes: list[str] = []

    def enroll(user: str, name: str) -> None:
        try:
            one.enroll(user, [portrait(name)], allow_few_samples=True)
            outcomes.append("enrolled")
        except InputError as error:
            outcomes.append("seals the template of" if "seals the template of" in error.message else error.message)

    threads = [threading.Thread(target=enroll, args=pair) for pair in (("a", "obama_2005"), ("b", "macron_2025"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["enrolled", "seals the template of"]
    assert len(one.users()) == 1


def test_a_failed_enrollment_gives_the_passphrase_back(tmp_path: Path, sface: Engine) -> None:
    one = made(tmp_path, sface)
    with pytest.raises(InputError):
        one.enroll("a", [portrait("obama_2005"), portrait("macron_2025")], allow_few_samples=True)
    one.enroll("b", [portrait("macron_2025")], allow_few_samples=True)
    assert one.users() == ["b"]


def test_a_second_person_is_not_sealed_by_less_than_the_first(tmp_path: Path, sface: Engine) -> None:
    facesdk.KeyFileKey.create(tmp_path / "key")
    one = FaceVerifier(tmp_path / "vault", key_file=tmp_path / "key", engine=sface)
    with pytest.raises(InputError, match="made with a key file"):
        one.enroll("a", [portrait("obama_2005")], allow_few_samples=True, passphrase="words of another")
    one.enroll("a", [portrait("obama_2005")], allow_few_samples=True, key=PassphraseKey("words of another", **CHEAP))
    assert one.status("a").kind is KeyKind.PASSPHRASE


@pytest.mark.parametrize("user", [["x"], None, 7, "a/b", ""])
def test_what_is_no_user_is_an_input_error(verifier: FaceVerifier, user: object) -> None:
    for call in (verifier.unlock, verifier.lock, verifier.remove, verifier.status):
        with pytest.raises(InputError):
            call(user)  # type: ignore[arg-type, operator]
    with pytest.raises(InputError):
        verifier.verify(user, portrait("obama_2012"))  # type: ignore[arg-type]


def test_a_key_file_may_serve_several(tmp_path: Path, sface: Engine) -> None:
    facesdk.KeyFileKey.create(tmp_path / "key")
    one = FaceVerifier(tmp_path / "vault", key_file=tmp_path / "key", engine=sface)
    for user in ("a", "b"):
        one.enroll(user, [portrait("obama_2005")], allow_few_samples=True)
    assert one.users() == ["a", "b"]


# --- the log


def test_a_program_that_logs_nothing_sees_nothing(tmp_path: Path) -> None:
    code = "import facesdk; facesdk.FaceVerifier('v', passphrase='some words').panic()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


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
