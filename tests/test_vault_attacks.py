"""Whatever is done to a sealed file or a key file, a named error comes out and never a record."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.errors import KeyUnavailableError, StoreError, StoreIntegrityError, StoreVersionError
from facesdk.vault import KeyFileKey, PassphraseKey, Record, Vault, crypto, format
from facesdk.vault.format import MAX_FILE_SIZE, seal, unseal
from facesdk.vault.keys import DERIVED_SIZE, Kdf, KeyKind

CHEAP = {"memory_kib": 19 * 1024, "passes": 2}
NAMED = (StoreIntegrityError, StoreVersionError, KeyUnavailableError)

# Offsets as docs/vault-format.md has them, written again here so that a change of the layout fails.
MAGIC, VERSION, KIND, USER_LENGTH, USER = 0, 8, 10, 11, 12
MEMORY, PASSES, LANES, SALT, KEY_CHECK = 76, 80, 84, 88, 104
WRAP_NONCE, WRAPPED_KEY, PAYLOAD_NONCE, PAYLOAD_SIZE, CHECKSUM, PAYLOAD = 136, 148, 196, 208, 212, 244


def make_record(user: str = "alice", *, seed: int = 0) -> Record:
    samples = np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32)
    unit = (samples[0] / np.linalg.norm(samples[0])).astype(np.float32)
    return Record(user, "joint", ("ab" * 32,), unit, samples, 1_700_000_000, 1, "ticked the box")


class BothKinds:
    """Derives at no cost, for either kind, and counts how often it was asked."""

    def __init__(self, kind: KeyKind = KeyKind.PASSPHRASE) -> None:
        self.kind = kind
        self.asked = 0

    def new_kdf(self, salt: bytes) -> Kdf:
        cost = {"memory_kib": 65536, "passes": 3, "lanes": 1} if self.kind is KeyKind.PASSPHRASE else {}
        return Kdf(self.kind, salt, **cost)

    def derive(self, kdf: Kdf) -> bytes:
        self.asked += 1
        return hashlib.shake_256(repr(kdf).encode()).digest(DERIVED_SIZE)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyFileKey:
    return KeyFileKey.create(tmp_path_factory.mktemp("key") / "vault.key")


@pytest.fixture(scope="module")
def sealed(key: KeyFileKey) -> bytes:
    data = seal(make_record(), key)
    assert unseal(data, key, user="alice") == make_record()
    return data


@pytest.fixture
def vault(tmp_path: Path, key: KeyFileKey) -> Vault:
    vault = Vault(tmp_path / "vault", key)
    vault.put(make_record())
    assert vault.get("alice") == make_record()
    return vault


@pytest.fixture
def path(vault: Vault, tmp_path: Path) -> Path:
    return tmp_path / "vault" / "alice.face"


def forge(data: bytes, offset: int, replacement: bytes) -> bytes:
    """The file with some header bytes replaced and the checksum made valid again."""
    head = data[:offset] + replacement + data[offset + len(replacement) : CHECKSUM]
    assert len(head) == CHECKSUM
    return head + hashlib.sha256(head).digest() + data[PAYLOAD:]


# --- bytes


def test_layout(sealed: bytes) -> None:
    assert sealed[:VERSION] == b"facesdk\0"
    assert sealed[VERSION : KIND + 2] == b"\1\0\2\5"
    assert sealed[USER:MEMORY] == b"alice" + bytes(59)
    assert sealed[MEMORY:SALT] == bytes(12)
    assert struct.unpack_from("<I", sealed, PAYLOAD_SIZE) == (len(sealed) - PAYLOAD,)
    assert sealed[CHECKSUM:PAYLOAD] == hashlib.sha256(sealed[:CHECKSUM]).digest()
    assert forge(sealed, MEMORY, bytes(4)) == sealed


def test_every_bit_flipped(sealed: bytes, key: KeyFileKey) -> None:
    for position in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[position] ^= 1 << bit
            expected = StoreVersionError if position in (VERSION, VERSION + 1) else StoreIntegrityError
            # Version 1 with its lowest bit flipped is 0, which is older, not newer.
            expected = StoreIntegrityError if (position, bit) == (VERSION, 0) else expected
            with pytest.raises(expected):
                unseal(bytes(altered), key, user="alice")


def test_every_bit_flipped_with_a_valid_checksum(sealed: bytes, key: KeyFileKey) -> None:
    for position in range(CHECKSUM):
        for bit in range(8):
            altered = forge(sealed, position, bytes([sealed[position] ^ 1 << bit]))
            expected: tuple[type[Exception], ...] = (StoreIntegrityError,)
            if position in (VERSION, VERSION + 1):
                expected = (StoreVersionError, StoreIntegrityError)
            elif SALT <= position < WRAP_NONCE:
                # Another salt gives another key: nobody can tell that from a wrong key.
                expected = (KeyUnavailableError,)
            with pytest.raises(expected):
                unseal(altered, key, user="alice")


def test_bytes_of_a_passphrase_file_flipped() -> None:
    key = PassphraseKey("right", **CHEAP)
    sealed = seal(make_record(), key)
    assert unseal(sealed, key, user="alice") == make_record()
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 0x80
        with pytest.raises((StoreIntegrityError, StoreVersionError)):
            unseal(bytes(altered), key, user="alice")
    for offset, replacement in ((MEMORY, 20 * 1024), (PASSES, 3), (LANES, 2)):
        with pytest.raises(KeyUnavailableError, match="wrong key"):
            unseal(forge(sealed, offset, struct.pack("<I", replacement)), key, user="alice")
    for offset in (WRAP_NONCE, WRAPPED_KEY, WRAPPED_KEY + 47, PAYLOAD_NONCE, USER_LENGTH, USER + 63):
        with pytest.raises(StoreIntegrityError):
            unseal(forge(sealed, offset, bytes([sealed[offset] ^ 0x10])), key, user="alice")
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        unseal(forge(sealed, SALT, bytes([sealed[SALT] ^ 0x10])), key, user="alice")


def test_truncated_at_every_length(sealed: bytes, key: KeyFileKey) -> None:
    for length in range(len(sealed)):
        with pytest.raises(StoreIntegrityError):
            unseal(sealed[:length], key, user="alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: b"\0" + data,
        lambda data: b"%PDF-1.7\n" * 100,
        lambda data: data[:8],
        lambda data: data[:PAYLOAD],
        lambda data: forge(data, PAYLOAD_SIZE, struct.pack("<I", 2**32 - 1)),
        lambda data: forge(data, PAYLOAD_SIZE, struct.pack("<I", 0))[:PAYLOAD],
        lambda data: data + bytes(MAX_FILE_SIZE),
        lambda data: forge(data, KIND, b"\0"),
        lambda data: forge(data, KIND, b"\3"),
        lambda data: forge(data, USER_LENGTH, b"\0"),
        lambda data: forge(data, USER_LENGTH, b"\x41"),
        lambda data: forge(data, USER_LENGTH, b"\4"),
        lambda data: forge(data, USER_LENGTH, b"\6"),
        lambda data: forge(data, USER, b"../.."),
        lambda data: forge(data, MEMORY, b"\1"),
        lambda data: forge(data, PASSES, b"\1"),
        lambda data: forge(data, LANES, b"\1"),
    ],
)  # fmt: skip
def test_foreign_and_malformed_files(sealed: bytes, key: KeyFileKey, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StoreIntegrityError):
        unseal(change(sealed), key, user="alice")


@pytest.mark.parametrize("version", [2, 255, 65535])
def test_newer_versions_say_so(sealed: bytes, key: KeyFileKey, version: int) -> None:
    later = sealed[:VERSION] + struct.pack("<H", version)
    for data in (later, later + sealed[KIND:], later + b"another layout"):
        with pytest.raises(StoreVersionError, match=f"version {version}"):
            unseal(data, key, user="alice")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600), keep=st.integers(0, 12))
def test_random_bytes_never_open(key: KeyFileKey, sealed: bytes, data: bytes, keep: int) -> None:
    with pytest.raises(NAMED):
        unseal(sealed[:keep] + data, key, user="alice")


@settings(max_examples=200, deadline=None)
@given(head=st.binary(min_size=CHECKSUM - KIND, max_size=CHECKSUM - KIND), keep=st.integers(KIND, CHECKSUM - 1))
def test_random_headers_with_a_valid_checksum_never_open(
    key: KeyFileKey, sealed: bytes, head: bytes, keep: int
) -> None:
    forged = forge(sealed, keep, head[keep - KIND :])
    if forged != sealed:
        with pytest.raises(NAMED):
            unseal(forged, key, user="alice")


# --- swaps


def test_users_and_headers_cannot_be_swapped(key: KeyFileKey) -> None:
    alice, bob = seal(make_record("alice"), key), seal(make_record("bobby", seed=1), key)
    assert len(alice) == len(bob)
    assert unseal(bob, key, user="bobby") == make_record("bobby", seed=1)
    with pytest.raises(StoreIntegrityError, match="sealed for 'bobby'"):
        unseal(bob, key, user="alice")
    # The name in the header altered too, with a valid checksum: the wrap does not open.
    with pytest.raises(StoreIntegrityError):
        unseal(forge(bob, USER, b"alice"), key, user="alice")
    for one, other in ((alice, bob), (alice, seal(make_record("alice"), key))):
        with pytest.raises(StoreIntegrityError):
            unseal(one[:PAYLOAD] + other[PAYLOAD:], key, user="alice")
        # Everything that opens the other payload, under this file's name and key derivation.
        with pytest.raises(StoreIntegrityError):
            unseal(forge(one, WRAP_NONCE, other[WRAP_NONCE:CHECKSUM])[:PAYLOAD] + other[PAYLOAD:], key, user="alice")


def test_a_renamed_file_is_refused(vault: Vault, path: Path) -> None:
    path.rename(path.with_name("mallory.face"))
    assert vault.users() == ["mallory"]
    with pytest.raises(StoreIntegrityError, match="sealed for 'alice'"):
        vault.get("mallory")


# --- keys


def test_wrong_keys(tmp_path: Path, sealed: bytes) -> None:
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        unseal(sealed, KeyFileKey.create(tmp_path / "other.key"), user="alice")
    by_passphrase = seal(make_record(), PassphraseKey("right", **CHEAP))
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        unseal(by_passphrase, PassphraseKey("wrong"), user="alice")


def test_the_kind_of_key_needed_is_named(sealed: bytes, key: KeyFileKey) -> None:
    with pytest.raises(KeyUnavailableError, match="sealed with a key file"):
        unseal(sealed, PassphraseKey("x"), user="alice")
    by_passphrase = seal(make_record(), BothKinds(KeyKind.PASSPHRASE))
    with pytest.raises(KeyUnavailableError, match="sealed with a passphrase"):
        unseal(by_passphrase, key, user="alice")


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (MEMORY, 2**32 - 1),
        (MEMORY, 256 * 1024 + 1),
        (MEMORY, 19 * 1024 - 1),
        (MEMORY, 0),
        (PASSES, 2**32 - 1),
        (PASSES, 5),
        (PASSES, 1),
        (PASSES, 0),
        (LANES, 0),
        (LANES, 5),
        (LANES, 2**32 - 1),
    ],
)
def test_hostile_costs_are_refused_before_they_are_paid(offset: int, value: int) -> None:
    key = BothKinds()
    sealed = seal(make_record(), key)
    assert unseal(sealed, key, user="alice") == make_record()
    hostile, asked = forge(sealed, offset, struct.pack("<I", value)), key.asked
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(StoreIntegrityError, match="must be within"):
        unseal(hostile, key, user="alice")
    elapsed_s = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert key.asked == asked
    assert elapsed_s < 0.05
    assert peak < 1024 * 1024


def test_secrets_are_in_no_repr_and_no_message(tmp_path: Path, sealed: bytes) -> None:
    word = "Tr0mbone-Sekret"
    passphrase, key_file = PassphraseKey(word, **CHEAP), KeyFileKey.create(tmp_path / "vault.key")
    texts = [repr(passphrase), repr(key_file), repr(Vault(tmp_path, passphrase)), str(vars(Vault(tmp_path, key_file)))]
    for key in (passphrase, key_file):
        for data in (b"", sealed, seal(make_record("bob"), key)):
            with pytest.raises(NAMED) as caught:
                unseal(data, key, user="alice")
            texts += [str(caught.value), repr(caught.value)]
    secrets = [word, (tmp_path / "vault.key").read_text()[14:30], key_file._secret.hex()[:16], repr(key_file._secret)]
    for text in texts:
        assert not any(secret in text for secret in secrets)


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
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(KeyUnavailableError):
        KeyFileKey(path)


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


def disown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `path` belong to neither this user nor root, as far as the code can see."""
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


# --- files


def make_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "socket", "folder", "too long"])
def test_something_else_in_place_of_the_file(vault: Vault, path: Path, tmp_path: Path, kind: str) -> None:
    aside = tmp_path / "aside"
    path.rename(aside)
    actions: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to(aside),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "hard link": lambda: path.hardlink_to(aside),
        "fifo": lambda: os.mkfifo(path, 0o600),
        "socket": lambda: make_socket(path),
        "folder": lambda: path.mkdir(0o600),
        "too long": lambda: (path.touch(0o600), os.truncate(path, MAX_FILE_SIZE + 1)),
    }
    actions[kind]()
    with pytest.raises(StoreIntegrityError):
        vault.get("alice")
    assert vault.exists("alice")
    if kind == "folder":
        with pytest.raises(StoreError, match="folder"):
            vault.remove("alice")
        return
    vault.remove("alice")
    assert not vault.exists("alice")
    # The sealed file behind a link: a symlink's target is left alone, another name of the file is destroyed with it.
    data = aside.read_bytes()
    if kind == "hard link":
        with pytest.raises(StoreIntegrityError):
            unseal(data, vault._key, user="alice")
    else:
        assert unseal(data, vault._key, user="alice") == make_record()


def test_remove_does_not_overwrite_a_foreign_file_through_a_hard_link(vault: Vault, path: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"dear diary " * 100)
    path.unlink()
    path.hardlink_to(tmp_path / "letter")
    vault.remove("alice")
    assert (tmp_path / "letter").read_bytes() == b"dear diary " * 100


def test_a_file_too_long_is_refused_unread(vault: Vault, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(path, MAX_FILE_SIZE + 1)

    def unread(*_: Any) -> bytes:
        raise AssertionError("the file was read")

    monkeypatch.setattr(os, "read", unread)
    with pytest.raises(StoreIntegrityError, match="at most"):
        vault.get("alice")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_others_can_use_is_refused(vault: Vault, path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(StoreError, match=r"chmod 600 alice\.face"):
        vault.get("alice")
    path.chmod(0o600)
    assert vault.get("alice") == make_record()


def test_a_file_of_somebody_else_is_refused(vault: Vault, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disown(path, monkeypatch)
    with pytest.raises((StoreIntegrityError, StoreError), match=r"regular file of this user|belongs to"):
        vault.get("alice")


def test_a_symlink_in_place_of_the_lock(vault: Vault, path: Path, tmp_path: Path) -> None:
    lock = path.with_name(".lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "created")
    with pytest.raises(StoreError, match="symlink"):
        vault.put(make_record(), replace=True)
    assert not (tmp_path / "created").exists()


def test_put_replaces_a_symlink_and_never_writes_through_it(vault: Vault, path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    path.unlink()
    path.symlink_to(tmp_path / "target")
    vault.put(make_record(), replace=True)
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert stat.S_ISREG(path.lstat().st_mode)
    assert vault.get("alice") == make_record()


# --- content sealed by somebody who has the key


def reseal(data: bytes, key: KeyFileKey, offset: int, replacement: bytes) -> bytes:
    """The file with header bytes replaced and both ciphertexts and the checksum made to fit."""
    secret = key.derive(Kdf(KeyKind.KEY_FILE, data[SALT:KEY_CHECK]))[:32]
    wrap_nonce, payload_nonce = data[WRAP_NONCE:WRAPPED_KEY], data[PAYLOAD_NONCE:PAYLOAD_SIZE]
    data_key = crypto.unseal(secret, data[WRAPPED_KEY:PAYLOAD_NONCE], nonce=wrap_nonce, aad=data[:WRAP_NONCE])
    plaintext = crypto.unseal(data_key, data[PAYLOAD:], nonce=payload_nonce, aad=data[:PAYLOAD])
    altered = forge(data, offset, replacement)
    wrapped = crypto.seal(secret, data_key, nonce=wrap_nonce, aad=altered[:WRAP_NONCE])
    header = forge(altered, WRAPPED_KEY, wrapped)[:PAYLOAD]
    return header + crypto.seal(data_key, plaintext, nonce=payload_nonce, aad=header)


@pytest.mark.parametrize(
    ("offset", "replacement"),
    [(VERSION, b"\0\0"), (USER + 63, b"x"), (USER + 5, b"\0x"), (MEMORY, b"\1"), (PAYLOAD_SIZE, b"\xff\xff\0\0")],
)
def test_other_spellings_of_the_header(sealed: bytes, key: KeyFileKey, offset: int, replacement: bytes) -> None:
    assert reseal(sealed, key, VERSION, b"\1\0") == sealed
    with pytest.raises(StoreIntegrityError):
        unseal(reseal(sealed, key, offset, replacement), key, user="alice")


def rewrite(payload: bytes, offset: int, code: str, value: float) -> bytes:
    piece = struct.pack("<" + code, value)
    return payload[:offset] + piece + payload[offset + len(piece) :]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: b"",
        lambda p: p[:27],
        lambda p: p[:-1],
        lambda p: p + b"\0",
        lambda p: rewrite(p, 0, "I", 0),
        lambda p: rewrite(p, 0, "I", 2**32 - 1),
        lambda p: rewrite(p, 4, "I", 0),
        lambda p: rewrite(p, 4, "I", 1),
        lambda p: rewrite(p, 4, "I", 2**31),
        lambda p: rewrite(p, 8, "Q", 2**64 - 1),
        lambda p: rewrite(p, 16, "Q", 2**63),
        lambda p: rewrite(p, 24, "B", 0),
        lambda p: rewrite(p, 24, "B", 255),
        lambda p: rewrite(p, 25, "B", 0),
        lambda p: rewrite(p, 26, "H", 65535),
        lambda p: rewrite(p, 28, "B", 0xFF),
        lambda p: rewrite(p, 65, "B", 0xC0),
        lambda p: rewrite(p, 65, "B", 0x1B),
        lambda p: rewrite(p, len(p) - 4, "f", float("nan")),
        lambda p: rewrite(p, len(p) - 4, "f", float("inf")),
        lambda p: rewrite(p, len(p) - 48, "f", 5.0),
        lambda p: struct.pack("<IIQQBBH", 0, 0, 0, 0, 1, 1, 1) + b"e" + bytes(32) + b"c",
    ],
)  # fmt: skip
def test_sealed_content_that_is_not_a_record(
    key: KeyFileKey, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    genuine = format.payload_bytes(make_record())
    assert genuine[28:33] == b"joint"
    assert genuine[65:79] == b"ticked the box"
    assert change(genuine) != genuine
    monkeypatch.setattr(format, "payload_bytes", lambda record: change(genuine))
    with pytest.raises(StoreIntegrityError, match="sealed content"):
        unseal(seal(make_record(), key), key, user="alice")
