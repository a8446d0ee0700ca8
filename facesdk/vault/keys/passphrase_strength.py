"""How long a passphrase holds against guessing, in words. It never says the passphrase, a part of it, or its length.

A guesser who knows people tries words, names, years, runs of a keyboard and repetitions before random characters. The
estimate is the cheapest way to put the passphrase together from such pieces; it is rough, and rather too low.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

TRIES_PER_S = 10.0  # one Argon2id guess takes a tenth of a second or more on the machine that enrolled
_YEAR_S = 365.25 * 24 * 3600
# Longer than that by one computer, it holds against a thousand of them for a person's life.
_ENOUGH_S = 10_000 * _YEAR_S
_WORD_GUESSES = 30_000  # about the words that a grown-up uses: a run of letters that can be spoken may be one of them
_KEYBOARD = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1qaz2wsx3edc4rfv",
)
_ROWS = (*_KEYBOARD, "abcdefghijklmnopqrstuvwxyz", "01234567890")
_LEET = str.maketrans("013457@$!", "oleastasi")
# What leaked lists of passwords have most often, and what stands to reason here.
_LOOKED_AT = 128  # characters: what is weak to there repeats itself, and what is not is strong
_COMMON_WORDS = """
    password passwort passwd passphrase pass word secret geheim letmein welcome willkommen login admin administrator
    root user guest test master hello hallo bonjour hola monkey dragon football baseball basketball soccer hockey
    superman batman shadow sunshine princess prinzessin iloveyou iloveu loveyou love trustno1 starwars freedom whatever
    ninja mustang access flower michael jordan harley ranger hunter buster thomas tigger robert daniel charlie andrew
    joshua george jessica jennifer michelle nicole ashley amanda samantha matthew william maggie pepper ginger summer
    winter spring autumn sommer hannah heather cookie banana cheese chocolate killer hottie lovely angel diamond silver
    golden orange purple yellow black white green blue red computer internet google facebook apple samsung android
    microsoft windows linux ubuntu debian raspberry raspberrypi pi toor changeme default temp temporary demo sample
    example open sesame opensesame mypassword mypass pw pwd key schatz liebe liebling passwort1 qwerty qwertz azerty
    asdf zxcvbn abc abcdef aaaa money jesus god family friends mother father baby babygirl london paris berlin
    liverpool arsenal chelsea barcelona juventus manchester pokemon naruto minecraft fortnite zaq1zaq1 zxcvbnm solo
    phoenix falcon eagle tiger lion bear wolf wolfgang horse battery staple correct camera face facesdk faceunlock
    unlock owner enroll verify template biometric fingerprint iris vault keyring desktop laptop phone iphone nothing
    something anything blah foo bar foobar correcthorsebatterystaple
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def estimated_guesses(passphrase: str, *, also: tuple[str, ...] = ()) -> float:
    """How many tries find the passphrase on average, at least; `also`: words the guesser knows, as the user."""
    passphrase = passphrase[:_LOOKED_AT]
    known = _COMMON | {word.lower() for word in also if len(word) > 2}
    # best[i]: guesses for the first i characters; a cheaper piece that ends at i replaces one.
    best = [1.0] + [math.inf] * len(passphrase)
    for begin in range(len(passphrase)):
        for end, guesses in _pieces(passphrase, begin, known):
            best[end] = min(best[end], best[begin] * guesses)
    return max(best[-1] / 2, 1.0)


def _pieces(text: str, begin: int, known: frozenset[str]) -> Iterator[tuple[int, float]]:
    """End and number of guesses of each piece that begins there."""
    yield begin + 1, _alphabet(text[begin])
    lower = text.lower()
    if match := re.compile(r"(?:19|20)[0-9]{2}").match(text, begin):
        yield match.end(), 150
    if match := re.compile(r"(.{1,8}?)\1{2,}").match(lower, begin):
        size = len(match[1])
        unit = min(_alphabet(match[1][0]) ** size, _WORD_GUESSES * 10)
        yield match.end(), unit * (match.end() - begin) / size
    for row, backwards in itertools.product(_ROWS, (False, True)):
        keys = row[::-1] if backwards else row
        end = begin + 1
        while end < len(text) and lower[begin : end + 1] in keys:
            end += 1
        if end - begin >= 3:
            yield end, 20.0 * len(_ROWS) * (end - begin)
    for end in range(begin + 2, min(begin + 24, len(text)) + 1):
        word = lower[begin:end]
        capitals = 1 if text[begin:end] == word else 4
        if word in known or word.translate(_LEET) in known or word[::-1] in known:
            yield end, len(known) * capitals * (1 if word in known else 4)
        elif len(word) >= 3 and _can_be_spoken(text[begin:end]):
            # No list has all the long ones: with each letter behind the seventh there are more of them.
            yield end, _WORD_GUESSES * capitals * 3.0 ** max(0, len(word) - 7)


def _can_be_spoken(word: str) -> bool:
    """Whether a run of letters may be a word of some language: vowels among its consonants, no long run of either."""
    if not word.isalpha() or len(word) > 14 or word not in (word.lower(), word.upper(), word.capitalize()):
        return False
    if not word.isascii():
        return True  # other scripts: not looked into, so taken for a word
    word = word.lower()
    vowels = len(re.findall("[aeiouy]", word))
    return 0.2 <= vowels / len(word) <= 0.75 and not re.search("[^aeiouy]{4}|[aeiou]{4}", word)


def _alphabet(character: str) -> float:
    """How many characters a guesser tries who tries one like this."""
    if character.isdigit() and character.isascii():
        return 10
    if character.isalpha() and character.isascii():
        return 26 if character.islower() else 30
    return 33 if character.isascii() else 100


def weakness(passphrase: str | bytes, *, also: tuple[str, ...] = ()) -> str | None:
    """A sentence for a person who set a passphrase that can be guessed; None where it would take far too long.

    None for an empty one too, which is refused and seals nothing.
    """
    text = passphrase if isinstance(passphrase, str) else passphrase.decode("latin-1")
    empty = not text
    try:
        seconds = estimated_guesses(text, also=also) / TRIES_PER_S
    finally:
        del text, passphrase  # what records a traceback's local variables finds none
    if empty or seconds >= _ENOUGH_S:
        return None
    return (
        f"this passphrase can be guessed: it would take {in_words(seconds)} for one computer that tries"
        f" {TRIES_PER_S:.0f} a second, and less for several; five random words would take centuries for all of them"
    )


def in_words(seconds: float) -> str:
    """A time as people say it, in one or two digits."""
    if seconds < 2:
        return "about a second"
    units = (("centuries", 100 * _YEAR_S), ("years", _YEAR_S), ("months", _YEAR_S / 12), ("days", 86400.0),
             ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))  # fmt: skip
    name, size = next((name, size) for name, size in units if seconds >= 2 * size)
    return f"about {seconds / size:.0f} {name}"
