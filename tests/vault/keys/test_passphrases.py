"""Passphrases: how they are spelled and read, what they refuse, and what a guess costs."""

from __future__ import annotations

import os
import struct
import types
import unicodedata
from pathlib import Path
from typing import Any

import key_tools
import pytest
from key_tools import BINDING, same
from vault_tools import CHEAP

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError
from facesdk.vault import KeyKind, PassphraseKey, crypto
from facesdk.vault.keys import passphrase
from facesdk.vault.keys.provider import DERIVED_SIZE, MAX_COST_KIB, Kdf

kek = key_tools.kek


def test_a_passphrase_opens_in_every_spelling_of_unicode(kek: Secret) -> None:
    word = "Zürich é"
    section = PassphraseKey(unicodedata.normalize("NFD", word), **CHEAP).wrap(kek, binding=BINDING)
    # The costs come from the section, not from the key that opens.
    for same_word in (word, unicodedata.normalize("NFC", word).encode(), unicodedata.normalize("NFD", word)):
        assert same(PassphraseKey(same_word).unwrap(section, binding=BINDING), kek)
    with pytest.raises(KeyUnavailableError):
        PassphraseKey(unicodedata.normalize("NFD", word).encode()).unwrap(section, binding=BINDING)


@pytest.mark.parametrize("bad", ["", b"", "x" * 4097, "é" * 2049, "\ud800", None, 5, bytearray(b"x")])
def test_bad_passphrases_are_refused(bad: Any) -> None:
    with pytest.raises(InputError, match="passphrase"):
        PassphraseKey(bad)


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 19 * 1024 - 1},
        {"memory_kib": 256 * 1024 + 1},
        {"memory_kib": 19 * 1024, "passes": 17},
        {"passes": 1},
        {"passes": 0},
        {"lanes": 0},
        {"lanes": 5},
    ],
)
def test_costs_have_bounds(cost: dict[str, int]) -> None:
    with pytest.raises(InputError, match="key derivation"):
        PassphraseKey("x", **cost)


@pytest.mark.parametrize("kind", [KeyKind.KEY_FILE, KeyKind.TPM, KeyKind.SECRET_SERVICE])
def test_a_passphrase_seals_no_other_kind(kind: KeyKind) -> None:
    with pytest.raises(InputError, match="passphrase seals"):
        PassphraseKey("x", kind=kind)


@pytest.mark.parametrize(
    ("content", "same_as"),
    [
        (b"word", b"word"),
        (b"word\n", b"word"),
        (b"word\r\n", b"word"),
        (b"word\n\n", b"word\n"),
        (b"word\r", b"word\r"),
        (b" word ", b" word "),
        (b"\xff\xfe\n", b"\xff\xfe"),
        ("e\u0301\n".encode(), "é".encode()),
    ],
)
def test_passphrase_from_file(tmp_path: Path, content: bytes, same_as: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o400)
    key = PassphraseKey.from_file(path, kind=KeyKind.RECOVERY)
    assert bytes(memoryview(key._secret)) == same_as  # type: ignore[arg-type]
    assert key.kind is KeyKind.RECOVERY


def test_passphrase_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b"word")
    for mode in (0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(KeyUnavailableError, match="chmod 600"):
            PassphraseKey.from_file(path)
    path.chmod(0o600)
    path.write_bytes(b"\n")
    with pytest.raises(InputError):
        PassphraseKey.from_file(path)
    path.write_bytes(b"x" * 4097)
    with pytest.raises(KeyUnavailableError, match="longer than"):
        PassphraseKey.from_file(path)
    for name, message in (("missing", "cannot open"), (".", "neither a file nor a pipe")):
        with pytest.raises(KeyUnavailableError, match=message):
            PassphraseKey.from_file(tmp_path / name)


def test_a_machine_that_cannot_derive(monkeypatch: pytest.MonkeyPatch, kek: Secret) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf import argon2

    for error in (MemoryError("no"), UnsupportedAlgorithm("no")):

        def failing(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(argon2, "Argon2id", failing)
        with pytest.raises(KeyUnavailableError):
            PassphraseKey("x").wrap(kek, binding=BINDING)


def measured(monkeypatch: pytest.MonkeyPatch, seconds_a_pass: float) -> list[int]:
    """Makes each pass of Argon2id take this long by a clock of its own; gives the passes of every derivation."""
    asked: list[int] = []
    now = [0.0]

    def argon2id(_secret: Any, salt: bytes, *, passes: int, **_: Any) -> Secret:
        asked.append(passes)
        now[0] += passes * seconds_a_pass
        return Secret.of(salt * (DERIVED_SIZE // len(salt)))

    monkeypatch.setattr(crypto, "argon2id", argon2id)
    monkeypatch.setattr(passphrase, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    return asked


@pytest.mark.parametrize(
    ("memory_kib", "seconds_a_pass", "expected"),
    [
        (64 * 1024, 0.2, 3),
        (64 * 1024, 0.034, 3),
        (64 * 1024, 0.033, 4),
        (64 * 1024, 0.02, 7),
        (64 * 1024, 0.0101, 13),
        (64 * 1024, 0.001, 16),
        (64 * 1024, 0.0, 16),
        (256 * 1024, 0.001, 4),
        (100 * 1024, 0.001, 10),
    ],
)
def test_a_guess_costs_a_tenth_of_a_second_unless_bounded(
    monkeypatch: pytest.MonkeyPatch, kek: Secret, memory_kib: int, seconds_a_pass: float, expected: int
) -> None:
    asked = measured(monkeypatch, seconds_a_pass)
    key = PassphraseKey("x", memory_kib=memory_kib)
    sections = [key.wrap(kek, binding=BINDING) for _ in range(2)]
    assert [struct.unpack_from("<III", s) for s in sections] == [(memory_kib, expected, 1)] * 2
    assert expected * seconds_a_pass >= 0.1 or expected == min(16, MAX_COST_KIB // memory_kib)
    # Measured once, by the first derivation.
    assert asked == ([expected] * 2 if expected == 3 else [3, expected, expected])


def test_a_cost_that_was_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch, kek: Secret) -> None:
    asked = measured(monkeypatch, 0.0)
    section = PassphraseKey("x", passes=2).wrap(kek, binding=BINDING)
    assert asked == [2]
    assert struct.unpack_from("<III", section)[1] == 2


def test_the_default_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for pages, memory_kib in ((2**18 - 1, 32 * 1024), (2**18, 64 * 1024)):
        monkeypatch.setattr(os, "sysconf", lambda name, pages=pages: 4096 if name == "SC_PAGE_SIZE" else pages)
        expected = Kdf(KeyKind.PASSPHRASE, bytes(16), memory_kib=memory_kib, passes=3, lanes=1)
        assert PassphraseKey("x")._template == expected
