"""Keys from passphrases and key files: what opens, what is refused, what it costs, and that no text shows a secret."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import types
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vault_tools import CHEAP, ROOT, disown, failing_with, mode_of

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, PassphraseRequiredError, VaultError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, crypto
from facesdk.vault.keys import passphrase
from facesdk.vault.keys.provider import DERIVED_SIZE, ENVELOPE_SIZE, MAX_COST_KIB, Kdf, random_secret

BINDING = b"the first bytes of a header"
# The section of a passphrase: memory, passes, lanes, salt, key check, nonce, wrapped KEK; a key file's begins at SALT.
MEMORY, PASSES, LANES, SALT, KEY_CHECK, NONCE, WRAPPED, SIZE = 0, 4, 8, 12, 28, 60, 72, 120


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyFileKey:
    return KeyFileKey.create(tmp_path_factory.mktemp("key") / "vault.key")


@pytest.fixture(scope="module")
def by_passphrase() -> PassphraseKey:
    return PassphraseKey("right", **CHEAP)


@pytest.fixture(scope="module")
def kek() -> Secret:
    return random_secret(32)


def same(a: Secret, b: Secret) -> bool:
    return bytes(memoryview(a)) == bytes(memoryview(b))


def put(section: bytes, offset: int, replacement: bytes) -> bytes:
    return section[:offset] + replacement + section[offset + len(replacement) :]


# --- sections


def test_sections_open_and_have_their_sizes(key: KeyFileKey, by_passphrase: PassphraseKey, kek: Secret) -> None:
    for provider, size in ((key, SIZE - SALT), (by_passphrase, SIZE)):
        sections = [provider.wrap(kek, binding=BINDING) for _ in range(2)]
        assert [len(section) for section in sections] == [size, size]
        assert ENVELOPE_SIZE == SIZE - KEY_CHECK
        for section in sections:
            assert same(provider.unwrap(section, binding=BINDING), kek)
            assert bytes(memoryview(kek)) not in section
            assert provider.counter(section) is None
            provider.destroy(section)
            assert same(provider.unwrap(section, binding=BINDING), kek)
        # A fresh salt at every wrap, so nothing but the cost is the same.
        one, two = (section[size - SIZE + SALT :] if size == SIZE else section for section in sections)
        assert all(one[i : i + 12] != two[i : i + 12] for i in (0, KEY_CHECK - SALT, NONCE - SALT, WRAPPED - SALT))
    assert struct.unpack_from("<III", by_passphrase.wrap(kek, binding=BINDING)) == (19 * 1024, 2, 1)


def test_a_section_of_a_key_file_flipped_bit_by_bit(key: KeyFileKey, kek: Secret) -> None:
    section = key.wrap(kek, binding=BINDING)
    assert same(key.unwrap(section, binding=BINDING), kek)
    for position in range(len(section)):
        for bit in range(8):
            # Another salt gives another key, and another check is another key's: nobody can tell that from a wrong key.
            expected = KeyUnavailableError if position < NONCE - SALT else VaultIntegrityError
            with pytest.raises(expected):
                key.unwrap(put(section, position, bytes([section[position] ^ 1 << bit])), binding=BINDING)


def test_a_section_of_a_passphrase_flipped(by_passphrase: PassphraseKey, kek: Secret) -> None:
    section = by_passphrase.wrap(kek, binding=BINDING)
    assert same(by_passphrase.unwrap(section, binding=BINDING), kek)
    for offset, value in ((MEMORY, 20 * 1024), (PASSES, 3), (LANES, 2)):
        with pytest.raises(KeyUnavailableError, match="wrong key"):
            by_passphrase.unwrap(put(section, offset, struct.pack("<I", value)), binding=BINDING)
    for position in range(SALT, SIZE, 5):
        expected = KeyUnavailableError if position < NONCE else VaultIntegrityError
        with pytest.raises(expected):
            by_passphrase.unwrap(put(section, position, bytes([section[position] ^ 0x10])), binding=BINDING)


def test_a_section_moved_to_another_file_or_kind(key: KeyFileKey, by_passphrase: PassphraseKey, kek: Secret) -> None:
    for provider in (key, by_passphrase):
        section = provider.wrap(kek, binding=BINDING)
        assert same(provider.unwrap(section, binding=BINDING), kek)
        with pytest.raises(VaultIntegrityError, match="altered"):
            provider.unwrap(section, binding=BINDING + b"x")
    recovery = PassphraseKey("right", kind=KeyKind.RECOVERY, **CHEAP)
    with pytest.raises(VaultIntegrityError, match="altered"):
        recovery.unwrap(by_passphrase.wrap(kek, binding=BINDING + b"\1"), binding=BINDING + b"\5")


@pytest.mark.parametrize("change", [lambda s: b"", lambda s: s[:-1], lambda s: s + b"\0", lambda s: s + s])
def test_sections_of_another_size(
    key: KeyFileKey, by_passphrase: PassphraseKey, kek: Secret, change: Callable[[bytes], bytes]
) -> None:
    for provider in (key, by_passphrase):
        with pytest.raises(VaultIntegrityError, match="were expected"):
            provider.unwrap(change(provider.wrap(kek, binding=BINDING)), binding=BINDING)


def test_wrong_keys(tmp_path: Path, key: KeyFileKey, by_passphrase: PassphraseKey, kek: Secret) -> None:
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        KeyFileKey.create(tmp_path / "other.key").unwrap(key.wrap(kek, binding=BINDING), binding=BINDING)
    section = by_passphrase.wrap(kek, binding=BINDING)
    for word in ("wrong", "Right", "right ", "right\n", "righ"):
        with pytest.raises(KeyUnavailableError, match="wrong key"):
            PassphraseKey(word).unwrap(section, binding=BINDING)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (MEMORY, 2**32 - 1),
        (MEMORY, 256 * 1024 + 1),
        (MEMORY, 19 * 1024 - 1),
        (MEMORY, 0),
        (PASSES, 2**32 - 1),
        (PASSES, 17),
        (PASSES, 1),
        (PASSES, 0),
        (LANES, 0),
        (LANES, 5),
        (LANES, 2**32 - 1),
    ],
)
def test_hostile_costs_are_refused_before_they_are_paid(
    monkeypatch: pytest.MonkeyPatch, by_passphrase: PassphraseKey, kek: Secret, offset: int, value: int
) -> None:
    section = by_passphrase.wrap(kek, binding=BINDING)
    monkeypatch.setattr(crypto, "argon2id", lambda *_, **__: pytest.fail("the cost was paid"))
    hostile = put(section, offset, struct.pack("<I", value))
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(VaultIntegrityError, match="must be within"):
        by_passphrase.unwrap(hostile, binding=BINDING)
    elapsed_s = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed_s < 0.05
    assert peak < 1024 * 1024


def test_the_product_of_memory_and_passes_is_bounded(
    monkeypatch: pytest.MonkeyPatch, by_passphrase: PassphraseKey, kek: Secret
) -> None:
    section = by_passphrase.wrap(kek, binding=BINDING)
    monkeypatch.setattr(crypto, "argon2id", lambda *_, **__: pytest.fail("the cost was paid"))
    for memory_kib, passes in ((256 * 1024, 5), (128 * 1024, 9), (65 * 1024, 16)):
        assert memory_kib * passes > MAX_COST_KIB
        with pytest.raises(VaultIntegrityError, match="memory times passes"):
            by_passphrase.unwrap(put(section, MEMORY, struct.pack("<II", memory_kib, passes)), binding=BINDING)
        with pytest.raises(InputError, match="memory times passes"):
            PassphraseKey("x", memory_kib=memory_kib, passes=passes)


# --- forgetting


def test_a_forgotten_key_needs_to_be_given_again(tmp_path: Path, kek: Secret) -> None:
    for provider in (PassphraseKey("right", **CHEAP), KeyFileKey.create(tmp_path / "vault.key")):
        section = provider.wrap(kek, binding=BINDING)
        secret = provider._secret
        assert secret is not None
        provider.forget()
        provider.forget()
        assert secret.closed
        with pytest.raises(PassphraseRequiredError):
            provider.unwrap(section, binding=BINDING)
        with pytest.raises(PassphraseRequiredError):
            provider.wrap(kek, binding=BINDING)


def test_secrets_are_in_no_repr_and_no_message(tmp_path: Path, kek: Secret) -> None:
    word = "Tr0mbone-Sekret"
    of_word, of_file = PassphraseKey(word, **CHEAP), KeyFileKey.create(tmp_path / "vault.key")
    texts: list[str] = [repr(kek)]
    for provider in (of_word, of_file):
        section = provider.wrap(kek, binding=BINDING)
        texts += [repr(provider), str(vars(provider)), provider.stops, provider.does_not_stop]
        for data, binding in ((b"", BINDING), (section, b"other"), (put(section, 30, b"xx"), BINDING)):
            with pytest.raises((KeyUnavailableError, VaultIntegrityError)) as caught:
                provider.unwrap(data, binding=binding)
            texts += [str(caught.value), repr(caught.value)]
    for bad in (word * 1000, word + "\ud800"):
        with pytest.raises(InputError) as refused:
            PassphraseKey(bad)
        texts += [str(refused.value), repr(refused.value)]
        assert refused.value.__cause__ is None
    raw = bytes(memoryview(of_file._secret))  # type: ignore[arg-type]
    secrets = [word, (tmp_path / "vault.key").read_text()[14:30], raw.hex()[:16], repr(raw), repr(bytes(kek))]
    for text in texts:
        assert not any(secret in text for secret in secrets)


# --- passphrases


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


# --- what a guess costs


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


# --- key files


def test_key_file_round_trip(tmp_path: Path, kek: Secret) -> None:
    path = tmp_path / "vault.key"
    section = KeyFileKey.create(path).wrap(kek, binding=BINDING)
    content = path.read_text()
    assert content.startswith("facesdk-key-1:")
    assert content.endswith("=\n")
    assert mode_of(path) == 0o600
    assert same(KeyFileKey(path).unwrap(section, binding=BINDING), kek)
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(path)
    assert path.read_text() == content


def test_key_file_create_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VaultError) as caught:
        KeyFileKey.create(tmp_path / "missing" / "vault.key")
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(tmp_path / "dangling")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_with(errno.ENOSPC))
        with pytest.raises(VaultError, match="free some space"):
            KeyFileKey.create(tmp_path / "vault.key")
    assert os.listdir(tmp_path) == ["dangling"]


@pytest.mark.parametrize(
    "change",
    [
        lambda line: b"",
        lambda line: line[:-1],
        lambda line: line + b"\n",
        lambda line: line.replace(b"key-1", b"key-2"),
        lambda line: line[:20] + b"!" + line[21:],
        lambda line: line[:30] + b"\n",
        # The last digit has four bits of the key and two that must be zero.
        lambda line: line[:-3] + bytes([line[-3] + 1]) + line[-2:],
        lambda line: line.replace(b"=", b""),
        lambda line: bytes(32),
    ],
)
def test_damaged_key_files(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    KeyFileKey(path)
    content = path.read_bytes()
    path.write_bytes(change(content))
    with pytest.raises(KeyUnavailableError) as caught:
        KeyFileKey(path)
    assert content[14:30].decode() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o666])
def test_key_files_others_can_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    path.chmod(mode)
    with pytest.raises(KeyUnavailableError, match=r"chmod 600 .*vault\.key"):
        KeyFileKey(path)
    path.chmod(0o400)
    KeyFileKey(path)


def test_key_files_that_are_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name, message in (("link", "symlink"), ("fifo", "regular"), ("folder", "regular"), ("missing", "cannot open")):
        with pytest.raises(KeyUnavailableError, match=message):
            KeyFileKey(tmp_path / name)
    KeyFileKey(path)
    disown(path, monkeypatch)
    with pytest.raises(KeyUnavailableError, match="belongs to user id"):
        KeyFileKey(path)


def test_importing_the_vault_imports_no_cryptography() -> None:
    code = "import facesdk.vault, sys; raise SystemExit('cryptography' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
