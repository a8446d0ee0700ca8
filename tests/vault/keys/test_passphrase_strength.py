"""How long a passphrase holds: what people choose is weak, what is drawn at random is not; nothing of it is told."""

from __future__ import annotations

import random
import re
import string
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facesdk.vault.keys.passphrase_strength import estimated_guesses, in_words, weakness

WEAK = [
    "a", "1234", "00000000", "password", "P@ssw0rd1", "Passw0rd!", "qwertz123", "asdfghjkl", "aaaaaaaaaaaaaaaaaaaa",
    "abcabcabcabcabc", "iloveyou2", "facesdk", "drowssap", "letmein!", "anna1985", "1985-03-12", "hgfdsa", "zxcvbnm,./",
    "correct horse", "correct horse battery", "café", "Sommer2024", "4711471147114711", b"caf\xe9", "x9#",
]  # fmt: skip
STRONG = [
    "tundra velvet orbit magnet squash", "xK9#mQ2!vLr7", "only you know this", "five random words would do",
    "dom_na/gore 77 u reki", b"\xff\x80\x93\xfc!\x07\xf9\x81\xf7#\xf5\x90",
]  # fmt: skip


@pytest.mark.parametrize("passphrase", WEAK)
def test_what_people_choose_is_weak(passphrase: str | bytes) -> None:
    said = weakness(passphrase, also=("anna",))
    assert said is not None
    assert re.search(
        r"it would take about (a second|\d+ (seconds|minutes|hours|days|months|years|centuries)) for", said
    )
    assert "five random words" in said


@pytest.mark.parametrize("passphrase", STRONG)
def test_what_is_long_and_random_is_not(passphrase: str | bytes) -> None:
    assert weakness(passphrase) is None


def test_random_characters_are_not_weak() -> None:
    """Sixteen letters, digits and signs hold, with what words and runs lie in them; the same ones in each run, as three
    of 300,000 hold so much that can be spoken that they are called weak."""
    letters, rng = string.ascii_letters + string.digits + "#!%&/()=?+-", random.Random(0)
    drawn = ["".join(rng.choice(letters) for _ in range(16)) for _ in range(2000)]
    drawn += ["cqzuigbumzz&!GSX", "/7HUdyktoxijeySk", "Q6ehorcarx5lfuze", "Ms1fvilontimqKa+"]
    assert [weakness(p) for p in drawn] == [None] * len(drawn)


def test_longer_and_rarer_is_never_weaker() -> None:
    for shorter, longer in (("a", "ab"), ("tundra", "tundra velvet"), ("1234", "1234x"), ("password", "password!7q")):
        assert estimated_guesses(shorter) < estimated_guesses(longer)
    assert estimated_guesses("anna1985", also=("anna",)) < estimated_guesses("anna1985")
    assert estimated_guesses("password") < estimated_guesses("pxsswqrd")


def test_times_in_words() -> None:
    day = 86400
    for seconds, words in (
        (0, "about a second"), (1.9, "about a second"), (3, "about 3 seconds"), (120, "about 2 minutes"),
        (3 * day, "about 3 days"), (61 * day, "about 2 months"), (731 * day, "about 2 years"),
        (365.25 * 300 * day, "about 3 centuries"),
    ):  # fmt: skip
        assert in_words(seconds) == words


@given(st.text(max_size=40) | st.binary(max_size=40))
@example("")
@example("\ud800")
@example("a" * 4096)
@example("ab cd ef " * 400)
def test_any_passphrase_is_weighed_and_none_is_told(passphrase: str | bytes) -> None:
    said = weakness(passphrase)
    if said is None:
        return
    tail = "for one computer that tries 10 a second, and less for several; five random words would take centuries"
    assert re.fullmatch(rf"this passphrase can be guessed: it would take about [a-z0-9 ]+ {tail} for all of them", said)


def test_no_local_variable_of_a_failure_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from facesdk.vault.keys import passphrase_strength

    def broken(*_: object, **__: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(passphrase_strength, "estimated_guesses", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        weakness(bytes(b"words that " + b"are secret").decode())
    frames = list(traceback.walk_tb(caught.value.__traceback__))
    ours = [frame for frame, _ in frames if frame.f_code.co_filename == passphrase_strength.__file__]
    assert ours
    assert not [v for frame in ours for v in frame.f_locals.values() if "secret" in repr(v)]
