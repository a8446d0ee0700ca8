"""Files of every released format version open for ever: version 2 as they are, version 1 by being written anew."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_tools import ROOT, RULES, Bench, assert_holds, failing_with, fresh, killed_at, unit_vectors

from facesdk import matching
from facesdk.errors import (
    KeyUnavailableError,
    PassphraseRequiredError,
    VaultError,
    VaultIntegrityError,
    VaultVersionError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, Record, format_v1
from facesdk.vault.format import VERSION, parse_header, version_of

GOLDEN = Path(__file__).parent / "golden"
V1_SHA256 = {
    "Anna.P.face": "6417bf63fd81491e5c15fefe2bb786cc13c4d9b00d35b86d1ac3953988b39dea",
    "bert_k-2.face": "b02daa8e2abc1f93fa8ec178e5d799f821e561dee98905989d812615472c7b93",
    "expected.json": "d17b1e978f76d41a9014f8fc28aedd67c80f5408546564c56fe38b696130e9b9",
    "golden.key": "ee3d19b41e2b94fce3086d3afbe5976fddb19467b539a510117be309ce10d6c2",
}


def copied(version: int, tmp_path: Path) -> Path:
    """A copy of the golden folder, with the modes that git does not keep."""
    folder = tmp_path / f"golden_{version}"
    folder.mkdir(mode=0o700)
    for path in (GOLDEN / f"vault_v{version}").iterdir():
        shutil.copyfile(path, folder / path.name)
        (folder / path.name).chmod(0o600)
    return folder


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return copied(1, tmp_path)


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return copied(2, tmp_path)


def expected_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return content


def record_of(fields: dict[str, Any]) -> Record:
    """The record in expected.json; version 1's reference was another, this release makes its own of the samples."""
    samples = np.array(fields["samples"], np.float32)
    reference = np.array(fields["reference"], np.float32) if "reference" in fields else None
    return Record(
        user=fields["user"],
        embedder=fields["embedder"],
        model_ids=tuple(fields["model_ids"]),
        reference=matching.make_reference(list(samples)) if reference is None else reference,
        samples=samples,
        created_unix_s=fields["created_unix_s"],
        consent=fields["consent"],
    )


def keys_of(folder: Path) -> dict[str, Any]:
    """Each name in expected.json with the key that opens its file."""
    passphrase = expected_of(folder)["passphrase"]
    return {"by_passphrase": PassphraseKey(passphrase), "by_key_file": KeyFileKey(folder / "golden.key")}


def test_the_files_of_version_1_are_as_they_were_released() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (GOLDEN / "vault_v1").iterdir()}
    assert found == V1_SHA256


# --- version 2


@pytest.mark.parametrize("name", ["by_passphrase", "by_key_file"])
def test_version_2_files_open_for_ever(v2: Path, name: str) -> None:
    fields = expected_of(v2)[name]
    record, user = record_of(fields), fields["user"]
    bench = Bench(v2, keys_of(v2)[name])
    assert version_of(bench.path(user).read_bytes()) == 2 == VERSION
    before = bench.path(user).read_bytes()
    assert bench.events(user) == fields["events"]
    assert bench.vault.audit(user, bench.key)[2]
    bench.unlock(user)
    assert bench.path(user).read_bytes() == before
    with bench.vault.opened(user) as template:
        assert_holds(template, record)
        assert template.generation == fields["generation"]
    assert bench.attempt(user=user)
    assert bench.events(user) == [*fields["events"], "unlocked", "verified"]


def test_a_version_2_exported_file_is_imported_for_ever(v2: Path, tmp_path: Path) -> None:
    expected = expected_of(v2)
    there = Bench(tmp_path / "there", KeyFileKey(v2 / "golden.key"))
    recovery = PassphraseKey(expected["recovery"], kind=KeyKind.RECOVERY)
    user = there.vault.import_((v2 / "bert_k-2.exported").read_bytes(), recovery, there.key, replace=False, rules=RULES)
    with there.vault.opened(user) as template:
        assert_holds(template, record_of(expected["by_key_file"]))


def derived_by_the_page(data: bytes, expected: dict[str, Any], folder: Path) -> tuple[bytes, bytes, bytes]:
    """64 derived bytes, the bytes they are bound to and the envelope, as docs/vault-format.md says them."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    section = data[78 : 78 + struct.unpack_from("<H", data, 76)[0]]
    if data[10] == 1:
        memory, passes, lanes = struct.unpack_from("<III", section)
        kdf = Argon2id(salt=section[12:28], length=64, iterations=passes, lanes=lanes, memory_cost=memory)
        return kdf.derive(expected["passphrase"].encode()), data[:76] + section[:28], section[28:]
    secret = base64.b64decode((folder / "golden.key").read_text()[14:58])
    hkdf = HKDF(algorithm=SHA256(), length=64, salt=section[:16], info=b"facesdk vault 1 key file")
    return hkdf.derive(secret), data[:76] + section[:16], section[16:]


def turned_by_the_page(vectors: np.ndarray, seed: bytes) -> np.ndarray:
    """The vectors, float64 (n, d), turned as docs/vault-format.md says."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    v, d = vectors.copy(), vectors.shape[1]
    size = 32 * 4 * (d + d // 2)
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(size))
    for words in np.frombuffer(stream, "<u4").reshape(32, d + d // 2).tolist():
        order = list(range(d))
        for i in range(d, 1, -1):
            j = words[i - 1] * i >> 32
            order[i - 1], order[j] = order[j], order[i - 1]
        for p in range(d // 2):
            a = 2 * np.pi * words[d + p] / 2**32
            i, j = order[2 * p : 2 * p + 2]
            v[:, i], v[:, j] = np.cos(a) * v[:, i] - np.sin(a) * v[:, j], np.sin(a) * v[:, i] + np.cos(a) * v[:, j]
    return v


@pytest.mark.parametrize("name", ["by_passphrase", "by_key_file"])
def test_a_reader_written_from_the_page_alone(name: str) -> None:
    """Knows nothing of facesdk but docs/vault-format.md."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    folder = GOLDEN / "vault_v2"
    expected = expected_of(folder)
    fields = expected[name]
    data = (folder / f"{fields['user']}.face").read_bytes()
    derived, bound, envelope = derived_by_the_page(data, expected, folder)
    check, nonce, wrapped = envelope[:32], envelope[32:44], envelope[44:]
    assert derived[32:] == check
    kek = AESGCM(derived[:32]).decrypt(nonce, wrapped, bound + check)

    end = 78 + struct.unpack_from("<H", data, 76)[0]
    assert data[end : end + 8] == HKDF(algorithm=SHA256(), length=8, salt=b"", info=b"facesdk 2 key id").derive(kek)
    data_key = AESGCM(kek).decrypt(data[end + 8 : end + 20], data[end + 20 : end + 68], data[: end + 8])
    assert data[end + 84 : end + 116] == hashlib.sha256(data[: end + 84]).digest()
    plain = AESGCM(data_key).decrypt(data[end + 68 : end + 80], data[end + 116 :], data[: end + 116])

    d, n, created, generation, e, m, c = struct.unpack_from("<IIQQBBH", plain)
    assert (n, d) == np.shape(fields["samples"])
    assert (created, generation) == (fields["created_unix_s"], fields["generation"])
    assert plain[60:64] == bytes(4)
    texts = plain[64 + 4 * d * (n + 1) :]
    assert len(texts) == e + 32 * m + c
    assert texts[:e].decode() == fields["embedder"]
    assert texts[e : e + 32 * m].hex() == "".join(fields["model_ids"])
    assert texts[e + 32 * m :].decode() == fields["consent"]
    turned = np.frombuffer(plain, "<f4", d * (n + 1), 64).reshape(n + 1, d)
    plainly = np.array([fields["reference"], *fields["samples"]])
    seed = HKDF(algorithm=SHA256(), length=32, salt=plain[28:60], info=b"facesdk 2 rotation").derive(kek)
    assert np.allclose(turned, turned_by_the_page(plainly, seed), atol=1e-6)
    assert not np.allclose(turned, plainly, atol=0.1)

    head = next(folder.glob(f"{fields['user']}.head-{data[end : end + 8].hex()}")).read_bytes()
    head_key = HKDF(algorithm=SHA256(), length=32, salt=b"", info=b"facesdk 2 audit head").derive(kek)
    first, count, digest = struct.unpack(
        "<QQ32s", AESGCM(head_key).decrypt(head[10:22], head[22:], head[:10] + fields["user"].encode())
    )
    lines = (folder / f"{fields['user']}.audit").read_bytes().splitlines()
    assert (first, count) == (0, len(lines)) == (0, len(fields["events"]))
    assert digest == hashlib.sha256(lines[-1]).digest()


def test_the_golden_tool_never_overwrites() -> None:
    folder = GOLDEN / "vault_v2"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tool = [sys.executable, str(ROOT / "tools" / "make_vault_golden.py")]
    result = subprocess.run(tool, capture_output=True, text=True)
    assert result.returncode == 1
    assert "never made again" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# --- version 1 is written anew


@pytest.mark.parametrize("name", ["by_passphrase", "by_key_file"])
def test_unlock_brings_version_1_up_to_date_and_keeps_every_score(v1: Path, name: str) -> None:
    fields = expected_of(v1)[name]
    user, samples = fields["user"], [np.array(sample, np.float32) for sample in fields["samples"]]
    bench = Bench(v1, keys_of(v1)[name])
    old = bench.path(user).read_bytes()
    assert version_of(old) == 1
    kind = KeyKind.PASSPHRASE if name == "by_passphrase" else KeyKind.KEY_FILE
    assert bench.vault.folder.kinds()[user] is kind
    bench.unlock(user)
    assert version_of(bench.path(user).read_bytes()) == 2
    assert bench.vault.folder.kinds()[user] is kind
    reference = matching.make_reference(samples)
    probes = [*unit_vectors(20, len(reference)), *samples]
    with bench.vault.opened(user) as template:
        assert_holds(template, record_of({**fields, "reference": reference}))
        assert template.generation == fields["generation"] + 1
        for probe, turned in zip(probes, template.turned(probes), strict=True):
            assert abs(matching.score(template.reference, turned) - matching.score(reference, probe)) < 1e-5
    assert bench.attempt(user=user)
    assert bench.events(user) == ["updated", "unlocked", "verified"]
    # Once: the second unlock changes nothing.
    new = bench.path(user).read_bytes()
    bench.unlock(user)
    assert bench.path(user).read_bytes() == new
    assert samples[0].tobytes() not in new
    assert fields["consent"].encode() not in new


def test_version_1_with_a_wrong_key_stays_as_it_is(v1: Path, tmp_path: Path) -> None:
    for user, wrong, message in (
        ("Anna.P", PassphraseKey("wrong"), "wrong key"),
        ("Anna.P", KeyFileKey(v1 / "golden.key"), "sealed with a passphrase"),
        ("bert_k-2", KeyFileKey.create(tmp_path / "other.key"), "wrong key"),
        ("bert_k-2", PassphraseKey("wrong"), "sealed with a key file"),
    ):
        bench = Bench(v1, wrong)
        with pytest.raises(KeyUnavailableError, match=message):
            bench.unlock(user)
    for name in ("Anna.P.face", "bert_k-2.face"):
        assert (v1 / name).read_bytes() == (GOLDEN / "vault_v1" / name).read_bytes()


def test_only_unlock_reads_version_1(v1: Path) -> None:
    bench = Bench(v1, KeyFileKey(v1 / "golden.key"))
    calls: list[Callable[[], object]] = [
        lambda: bench.vault.rekey("bert_k-2", bench.key, bench.key, rules=RULES),
        lambda: bench.vault.renew("bert_k-2", bench.key, rules=RULES),
        lambda: bench.vault.export("bert_k-2", bench.key, PassphraseKey("r", kind=KeyKind.RECOVERY)),
    ]
    for call in calls:
        with pytest.raises(VaultVersionError, match="brought up to date"):
            call()
    with pytest.raises(PassphraseRequiredError):
        bench.generation("bert_k-2")


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_version_1_in_a_vault_that_cannot_be_written_stays(
    v1: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    bench = Bench(v1, KeyFileKey(v1 / "golden.key"))
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing_with(code))
        with pytest.raises(VaultError) as caught:
            bench.unlock("bert_k-2")
        assert caught.value.errno == code
    assert bench.path("bert_k-2").read_bytes() == (GOLDEN / "vault_v1" / "bert_k-2.face").read_bytes()
    with pytest.raises(PassphraseRequiredError):
        bench.attempt(user="bert_k-2")
    bench.unlock("bert_k-2")
    assert bench.attempt(user="bert_k-2")


def test_a_migration_killed_at_any_point_leaves_the_old_or_the_new(v1: Path, tmp_path: Path) -> None:
    old = (GOLDEN / "vault_v1" / "bert_k-2.face").read_bytes()
    shutil.copyfile(v1 / "golden.key", tmp_path / "vault.key")
    (tmp_path / "vault.key").chmod(0o600)
    record = record_of(expected_of(v1)["by_key_file"])

    def migrating() -> None:
        vault, key = fresh(v1)
        vault.unlock("bert_k-2", key, rules=RULES, reference_of=matching.make_reference)

    seen, point, killed = set(), 0, True
    while killed:
        for path in v1.iterdir():
            path.unlink()
        (v1 / "bert_k-2.face").write_bytes(old)
        (v1 / "bert_k-2.face").chmod(0o600)
        killed = killed_at(point, migrating)
        seen.add((v1 / "bert_k-2.face").read_bytes() == old)
        bench = Bench(v1, KeyFileKey(tmp_path / "vault.key"))
        bench.unlock("bert_k-2")
        with bench.vault.opened("bert_k-2") as template:
            assert_holds(template, record)
        assert bench.attempt(user="bert_k-2")
        assert bench.events("bert_k-2")[-2:] == ["unlocked", "verified"]
        point += 1
    assert point > 12
    assert seen == {True, False}


def test_a_version_1_file_put_back_under_an_open_session_is_refused(v1: Path) -> None:
    bench = Bench(v1, KeyFileKey(v1 / "golden.key"))
    bench.unlock("bert_k-2")
    generation = bench.generation("bert_k-2")
    bench.path("bert_k-2").write_bytes((GOLDEN / "vault_v1" / "bert_k-2.face").read_bytes())
    with pytest.raises(VaultVersionError):
        bench.vault.attempt("bert_k-2", lambda _: pytest.fail("x"), generation=generation, camera="c", label="")


# --- version 1's bytes are as hostile as any


def test_every_bit_of_a_version_1_file_flipped(v1: Path) -> None:
    data = (GOLDEN / "vault_v1" / "bert_k-2.face").read_bytes()
    key = KeyFileKey(v1 / "golden.key")
    assert format_v1.unseal(data, key, user="bert_k-2").generation == 5
    for position in range(len(data)):
        for bit in range(8):
            altered = data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]
            with pytest.raises(VaultIntegrityError):
                format_v1.unseal(altered, key, user="bert_k-2")
    for length in range(len(data)):
        with pytest.raises(VaultIntegrityError):
            format_v1.unseal(data[:length], key, user="bert_k-2")
    with pytest.raises(VaultIntegrityError, match="sealed for 'bert_k-2'"):
        format_v1.unseal(data, key, user="Anna.P")


@pytest.mark.parametrize(
    ("offset", "code", "value", "error"),
    [
        (10, "B", 3, VaultIntegrityError),
        (10, "B", 5, VaultIntegrityError),
        (12, "B", 0x2E, VaultIntegrityError),
        (75, "B", 1, VaultIntegrityError),
        (76, "I", 1, VaultIntegrityError),
        (80, "I", 1, VaultIntegrityError),
        (84, "I", 1, VaultIntegrityError),
        (88, "B", 0, KeyUnavailableError),
        (104, "B", 0, KeyUnavailableError),
        (136, "B", 0, VaultIntegrityError),
        (148, "B", 0, VaultIntegrityError),
        (196, "B", 0, VaultIntegrityError),
        (208, "I", 2**32 - 1, VaultIntegrityError),
    ],
)
def test_a_version_1_header_made_valid_again(
    v1: Path, offset: int, code: str, value: int, error: type[Exception]
) -> None:
    data = (v1 / "bert_k-2.face").read_bytes()
    key = KeyFileKey(v1 / "golden.key")
    assert format_v1.unseal(data, key, user="bert_k-2").user == "bert_k-2"
    piece = struct.pack("<" + code, value)
    head = data[:offset] + piece + data[offset + len(piece) : 212]
    assert head != data[:212]
    with pytest.raises(error):
        format_v1.unseal(head + hashlib.sha256(head).digest() + data[244:], key, user="bert_k-2")


def test_the_golden_headers_say_what_they_should(v2: Path) -> None:
    for user, kind, size in (("Anna.P", KeyKind.PASSPHRASE, 120), ("bert_k-2", KeyKind.KEY_FILE, 108)):
        header = parse_header((v2 / f"{user}.face").read_bytes())
        assert (header.user, header.kind, len(header.section)) == (user, kind, size)
    assert parse_header((v2 / "bert_k-2.exported").read_bytes()).kind is KeyKind.RECOVERY
