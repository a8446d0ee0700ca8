"""Keys from passphrases and key files: what opens, what is refused, what it costs, and that no text shows a secret."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import key_tools
import pytest
from key_tools import BINDING, same
from vault_tools import CHEAP, ROOT

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, PassphraseRequiredError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, crypto
from facesdk.vault.keys.provider import ENVELOPE_SIZE, MAX_COST_KIB

# The section of a passphrase: memory, passes, lanes, salt, key check, nonce, wrapped KEK; a key file's begins at SALT.
MEMORY, PASSES, LANES, SALT, KEY_CHECK, NONCE, WRAPPED, SIZE = 0, 4, 8, 12, 28, 60, 72, 120


kek = key_tools.kek


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyFileKey:
    return KeyFileKey.create(tmp_path_factory.mktemp("key") / "vault.key")


@pytest.fixture(scope="module")
def by_passphrase() -> PassphraseKey:
    return PassphraseKey("right", **CHEAP)


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


def test_importing_the_vault_imports_no_cryptography() -> None:
    code = "import facesdk.vault, sys; raise SystemExit('cryptography' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
