"""Files of every released format version open for ever; a reader written from the format's page opens them too."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_tools import ROOT, RULES, Bench, assert_holds

from facesdk import matching
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, Record
from facesdk.vault.format import VERSION, parse_header

GOLDEN = Path(__file__).parent / "golden"


def copied(version: int, tmp_path: Path) -> Path:
    """A copy of the golden folder, with the modes that git does not keep."""
    folder = tmp_path / f"golden_{version}"
    folder.mkdir(mode=0o700)
    for path in (GOLDEN / f"vault_v{version}").iterdir():
        shutil.copyfile(path, folder / path.name)
        (folder / path.name).chmod(0o600)
    return folder


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return copied(2, tmp_path)


def expected_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return content


def record_of(fields: dict[str, Any]) -> Record:
    """The record in expected.json."""
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


# --- version 2


@pytest.mark.parametrize("name", ["by_passphrase", "by_key_file"])
def test_version_2_files_open_for_ever(v2: Path, name: str) -> None:
    fields = expected_of(v2)[name]
    record, user = record_of(fields), fields["user"]
    bench = Bench(v2, keys_of(v2)[name])
    assert bench.path(user).read_bytes()[8:10] == struct.pack("<H", VERSION) == b"\2\0"
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


def test_the_golden_headers_say_what_they_should(v2: Path) -> None:
    for user, kind, size in (("Anna.P", KeyKind.PASSPHRASE, 120), ("bert_k-2", KeyKind.KEY_FILE, 108)):
        header = parse_header((v2 / f"{user}.face").read_bytes())
        assert (header.user, header.kind, len(header.section)) == (user, kind, size)
    assert parse_header((v2 / "bert_k-2.exported").read_bytes()).kind is KeyKind.RECOVERY
