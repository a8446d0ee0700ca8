"""Whatever is done to the bytes of a sealed file, a named error comes out and never a payload. The key is given raw."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vault_tools import (
    CHECKSUM,
    KEY_ID,
    KIND,
    PAYLOAD,
    PAYLOAD_NONCE,
    PAYLOAD_SIZE,
    SECTION,
    SECTION_SIZE,
    USER,
    USER_LENGTH,
    VERSION,
    WRAP_NONCE,
    WRAPPED_KEY,
    forge,
    section_end,
)  # fmt: skip

from facesdk.errors import InputError, KeyUnavailableError, VaultIntegrityError, VaultVersionError
from facesdk.vault import KeyKind, crypto, format
from facesdk.vault.format import DESTROY_REGION, MAX_FILE_SIZE, binding, key_id, parse_header, seal, unseal

KEK = bytes(range(32))
PLAIN = b"any payload " * 12
SECTION_BYTES = bytes(range(100, 208))
NAMED = (VaultIntegrityError, VaultVersionError, KeyUnavailableError)


def sealed_file(user: str = "alice", *, kek: bytes = KEK, kind: KeyKind = KeyKind.KEY_FILE) -> bytes:
    return seal(PLAIN, kek, user=user, kind=kind, section=SECTION_BYTES)


def opens(data: bytes, *, kek: bytes = KEK, user: str = "alice") -> bytes:
    with unseal(data, kek, user=user) as payload:
        return bytes(memoryview(payload))


@pytest.fixture(scope="module")
def sealed() -> bytes:
    data = sealed_file()
    assert opens(data) == PLAIN
    return data


def test_layout(sealed: bytes) -> None:
    end = section_end(sealed)
    assert sealed[:VERSION] == b"facesdk\0"
    assert sealed[VERSION : KIND + 2] == b"\2\0\2\5"
    assert sealed[USER:SECTION_SIZE] == b"alice" + bytes(59)
    assert struct.unpack_from("<H", sealed, SECTION_SIZE) == (108,)
    assert sealed[SECTION:end] == SECTION_BYTES
    assert sealed[end : end + 8] == key_id(KEK)
    assert struct.unpack_from("<I", sealed, end + PAYLOAD_SIZE) == (len(PLAIN) + 16,)
    assert sealed[end + CHECKSUM : end + PAYLOAD] == hashlib.sha256(sealed[: end + CHECKSUM]).digest()
    assert len(sealed) == end + PAYLOAD + len(PLAIN) + 16
    assert forge(sealed, KIND, b"\2") == sealed
    header = parse_header(sealed)
    assert (header.user, header.kind, header.section) == ("alice", KeyKind.KEY_FILE, SECTION_BYTES)
    assert header.binding == binding("alice", KeyKind.KEY_FILE) == sealed[:SECTION_SIZE]
    assert (DESTROY_REGION.start, DESTROY_REGION.stop) == (SECTION_SIZE, MAX_FILE_SIZE)


def test_the_key_id_tells_keys_apart_and_does_not_show_them() -> None:
    keys = [os.urandom(32) for _ in range(50)]
    ids = {key_id(key) for key in keys}
    assert len(ids) == 50
    assert {len(value) for value in ids} == {8}
    assert not any(key_id(key) in key for key in keys)


def test_two_seals_share_no_key_material() -> None:
    first, second = sealed_file(), sealed_file()
    end = section_end(first)
    assert first[: end + WRAP_NONCE] == second[: end + WRAP_NONCE]
    for begin, stop in ((WRAP_NONCE, WRAPPED_KEY), (WRAPPED_KEY, PAYLOAD_NONCE), (PAYLOAD_NONCE, PAYLOAD_SIZE)):
        assert first[end + begin : end + stop] != second[end + begin : end + stop]
    assert first[end + PAYLOAD :] != second[end + PAYLOAD :]


@pytest.mark.parametrize("size", [0, 4097])
def test_sections_have_bounds(size: int) -> None:
    with pytest.raises(InputError, match="section"):
        seal(PLAIN, KEK, user="alice", kind=KeyKind.TPM, section=bytes(size))
    for fits in (1, 4096):
        assert opens(seal(PLAIN, KEK, user="alice", kind=KeyKind.TPM, section=bytes(fits))) == PLAIN


# --- bytes


def test_every_bit_flipped(sealed: bytes) -> None:
    for position in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[position] ^= 1 << bit
            expected: type[Exception] = VaultIntegrityError
            # Version 2 with its second bit flipped is 0, which never existed; everything else is newer.
            if position in (VERSION, VERSION + 1) and (position, bit) != (VERSION, 1):
                expected = VaultVersionError
            with pytest.raises(expected):
                unseal(bytes(altered), KEK, user="alice")


def test_every_bit_flipped_with_a_valid_checksum(sealed: bytes) -> None:
    end = section_end(sealed)
    for position in range(end + CHECKSUM):
        if SECTION_SIZE <= position < SECTION:
            continue  # moves the checksum; see the next test
        for bit in range(8):
            expected: tuple[type[Exception], ...] = (VaultIntegrityError,)
            if position in (VERSION, VERSION + 1):
                expected = (VaultVersionError, VaultIntegrityError)
            elif end <= position < end + WRAP_NONCE:
                expected = (KeyUnavailableError,)  # the key id: another key is asked for
            with pytest.raises(expected):
                unseal(forge(sealed, position, bytes([sealed[position] ^ 1 << bit])), KEK, user="alice")


def test_another_size_of_the_section_with_a_valid_checksum(sealed: bytes) -> None:
    for size in range(len(sealed)):
        if size == len(SECTION_BYTES):
            continue
        altered = sealed[:SECTION_SIZE] + struct.pack("<H", size) + sealed[SECTION:]
        end = SECTION + size + CHECKSUM
        altered = altered[:end] + hashlib.sha256(altered[:end]).digest() + altered[end + 32 :]
        with pytest.raises((VaultIntegrityError, KeyUnavailableError)):
            unseal(altered, KEK, user="alice")


def test_truncated_at_every_length(sealed: bytes) -> None:
    for length in range(len(sealed)):
        with pytest.raises(VaultIntegrityError):
            unseal(sealed[:length], KEK, user="alice")


END = SECTION + len(SECTION_BYTES)


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
        lambda data: data[: END + PAYLOAD],
        lambda data: data[: END + PAYLOAD + 16],
        lambda data: forge(data, END + PAYLOAD_SIZE, struct.pack("<I", 2**32 - 1)),
        lambda data: forge(data, END + PAYLOAD_SIZE, struct.pack("<I", 0))[: END + PAYLOAD],
        lambda data: forge(data, END + PAYLOAD_SIZE, struct.pack("<I", 16))[: END + PAYLOAD + 16],
        lambda data: data + bytes(MAX_FILE_SIZE),
        lambda data: forge(data, KIND, b"\0"),
        lambda data: forge(data, KIND, b"\6"),
        lambda data: forge(data, KIND, b"\xff"),
        lambda data: forge(data, USER_LENGTH, b"\0"),
        lambda data: forge(data, USER_LENGTH, b"\x41"),
        lambda data: forge(data, USER_LENGTH, b"\4"),
        lambda data: forge(data, USER_LENGTH, b"\6"),
        lambda data: forge(data, USER, b"../.."),
        lambda data: forge(data, USER, b"\xff"),
        lambda data: forge(data, USER + 63, b"x"),
        lambda data: data[:SECTION_SIZE] + b"\0\0" + data[SECTION:],
        lambda data: data[:SECTION_SIZE] + b"\xff\xff" + data[SECTION:],
    ],
)  # fmt: skip
def test_foreign_and_malformed_files(sealed: bytes, change: Callable[[bytes], bytes]) -> None:
    for read in (parse_header, opens):
        with pytest.raises(VaultIntegrityError):
            read(change(sealed))


@pytest.mark.parametrize("version", [3, 255, 65535])
def test_newer_versions_say_so(sealed: bytes, version: int) -> None:
    later = sealed[:VERSION] + struct.pack("<H", version)
    for data in (later + sealed[KIND:], later + sealed[KIND:] + b"another layout", later + bytes(SECTION)):
        with pytest.raises(VaultVersionError, match=f"version {version}"):
            unseal(data, KEK, user="alice")


def test_version_1_says_what_to_do(sealed: bytes) -> None:
    with pytest.raises(VaultVersionError, match="no release wrote"):
        unseal(forge(sealed, VERSION, b"\1\0"), KEK, user="alice")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600), keep=st.integers(0, 12))
def test_random_bytes_never_open(sealed: bytes, data: bytes, keep: int) -> None:
    with pytest.raises(NAMED):
        unseal(sealed[:keep] + data, KEK, user="alice")


@settings(max_examples=200, deadline=None)
@given(
    head=st.binary(min_size=END + CHECKSUM - KIND, max_size=END + CHECKSUM - KIND),
    keep=st.integers(KIND, END + CHECKSUM - 1),
)
def test_random_headers_with_a_valid_checksum_never_open(sealed: bytes, head: bytes, keep: int) -> None:
    if keep < SECTION:
        head = head[: SECTION_SIZE - KIND] + sealed[SECTION_SIZE:SECTION] + head[SECTION - KIND :]
    forged = forge(sealed, keep, head[keep - KIND :])
    if forged != sealed:
        with pytest.raises(NAMED):
            unseal(forged, KEK, user="alice")


# --- swaps


def test_users_headers_and_payloads_cannot_be_swapped() -> None:
    alice, bob = sealed_file("alice"), sealed_file("bobby")
    assert opens(bob, user="bobby") == PLAIN
    with pytest.raises(VaultIntegrityError, match="sealed for 'bobby'"):
        unseal(bob, KEK, user="alice")
    # The name in the header altered too, with a valid checksum: the wrap does not open.
    with pytest.raises(VaultIntegrityError, match="altered"):
        unseal(forge(bob, USER, b"alice"), KEK, user="alice")
    for other in (bob, sealed_file("alice")):
        with pytest.raises(VaultIntegrityError, match="altered"):
            unseal(alice[: END + PAYLOAD] + other[END + PAYLOAD :], KEK, user="alice")
    # All that opens bob's payload, under alice's name: the wrapped data key is bound to the name.
    spliced = forge(alice, END + WRAP_NONCE, bob[END + WRAP_NONCE : END + CHECKSUM])[: END + PAYLOAD]
    with pytest.raises(VaultIntegrityError, match="altered"):
        unseal(spliced + bob[END + PAYLOAD :], KEK, user="alice")


def test_the_payload_is_bound_to_the_whole_header() -> None:
    """Even under the same name and key: the data key of another write opens, its payload does not fit this header."""
    one, other = sealed_file(), sealed_file()
    mixed = forge(one, END + WRAP_NONCE, other[END + WRAP_NONCE : END + PAYLOAD_NONCE])[: END + PAYLOAD]
    with pytest.raises(VaultIntegrityError, match="altered"):
        unseal(mixed + other[END + PAYLOAD :], KEK, user="alice")
    whole = forge(one, END + WRAP_NONCE, other[END + WRAP_NONCE : END + CHECKSUM])[: END + PAYLOAD]
    assert whole + other[END + PAYLOAD :] == other


def test_another_kind_or_section_is_refused() -> None:
    data = sealed_file()
    for forged in (forge(data, KIND, b"\1"), forge(data, SECTION, SECTION_BYTES[::-1])):
        with pytest.raises(VaultIntegrityError, match="altered"):
            unseal(forged, KEK, user="alice")


def test_a_wrong_key_is_told_from_damage(sealed: bytes) -> None:
    other = bytes(32)
    with pytest.raises(KeyUnavailableError, match="another key"):
        unseal(sealed, other, user="alice")
    # The other key's id put into the header: then it is an altered file.
    with pytest.raises(VaultIntegrityError, match="altered"):
        unseal(forge(sealed, END + KEY_ID, key_id(other)), other, user="alice")


# --- headers made by somebody who has the key


def reseal(data: bytes, offset: int, replacement: bytes) -> bytes:
    """The file with header bytes replaced and both ciphertexts and the checksum made to fit."""
    nonces = data[END + WRAP_NONCE : END + WRAPPED_KEY], data[END + PAYLOAD_NONCE : END + PAYLOAD_SIZE]
    data_key = bytes(range(32))
    altered = forge(data, offset, replacement)
    wrapped = crypto.seal(KEK, data_key, nonce=nonces[0], aad=altered[: END + WRAP_NONCE])
    header = forge(altered, END + WRAPPED_KEY, wrapped)[: END + PAYLOAD]
    return header + crypto.seal(data_key, PLAIN, nonce=nonces[1], aad=header)


@pytest.mark.parametrize(
    ("offset", "replacement"),
    [
        (VERSION, b"\0\0"),
        (USER + 63, b"x"),
        (USER + 5, b"\0x"),
        (USER_LENGTH, b"\6"),
        (KIND, b"\0"),
        (KIND, b"\6"),
        (END + PAYLOAD_SIZE, b"\xff\xff\0\0"),
    ],
)
def test_other_spellings_of_the_header(sealed: bytes, offset: int, replacement: bytes) -> None:
    assert opens(reseal(sealed, VERSION, b"\2\0")) == PLAIN
    with pytest.raises(VaultIntegrityError):
        unseal(reseal(sealed, offset, replacement), KEK, user="alice")


def test_unseal_wipes_the_data_key(sealed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    genuine = crypto.unseal

    def watching(*arguments: object, **options: object) -> object:
        made.append(genuine(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(format.crypto, "unseal", watching)
    assert opens(sealed) == PLAIN
    data_key, payload = made
    assert data_key.closed  # type: ignore[attr-defined]
    assert payload.closed  # type: ignore[attr-defined]


def test_a_file_of_the_largest_size_is_refused_quickly(sealed: bytes) -> None:
    for data in (sealed + bytes(MAX_FILE_SIZE - len(sealed)), sealed + bytes(MAX_FILE_SIZE)):
        with pytest.raises(VaultIntegrityError):
            unseal(data, KEK, user="alice")
