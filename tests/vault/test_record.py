"""A record keeps what it was given or refuses it; a template has the same scores, turned, and nothing once closed."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vault_tools import assert_holds, make_record, unit_vectors

from facesdk import matching
from facesdk._core import Secret
from facesdk.errors import InputError, VaultIntegrityError
from facesdk.vault import KeyKind, Record, Template
from facesdk.vault.format import MAX_FILE_SIZE, seal, unseal
from facesdk.vault.template import pack

KEK = bytes(range(32))
NAN = np.full((1, 8), np.nan, np.float32)
UNIT = np.eye(8, dtype=np.float32)


def opened(record: Record, kek: bytes = KEK, *, generation: int = 1) -> Template:
    """The record packed and read again."""
    return Template(pack(record, kek, generation=generation), kek, user=record.user)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": ""},
        {"user": ".alice"},
        {"user": "a/b"},
        {"user": ".."},
        {"user": "a\n"},
        {"user": "a" * 65},
        {"user": "älice"},
        {"user": b"alice"},
        {"embedder": ""},
        {"embedder": "two words"},
        {"embedder": "e" * 65},
        {"embedder": 1},
        {"model_ids": ()},
        {"model_ids": ["ab" * 32]},
        {"model_ids": ("ab" * 31,)},
        {"model_ids": ("AB" * 32,)},
        {"model_ids": ("ab" * 32,) * 17},
        {"reference": UNIT[0] * 1.01},
        {"reference": UNIT[0] * 0},
        {"reference": UNIT[0] * 0.0005},
        {"reference": UNIT[0][:7]},
        {"reference": UNIT[:1]},
        {"reference": UNIT[0].astype(np.float64)},
        {"reference": UNIT[0].tolist()},
        {"reference": UNIT[0].astype(">f4")},
        {"reference": NAN[0]},
        {"samples": NAN},
        {"samples": NAN * 0 + np.inf},
        {"samples": UNIT[0]},
        {"samples": UNIT[:0]},
        {"samples": np.zeros((11, 8), np.float32)},
        {"samples": UNIT.astype(np.float16)},
        {"samples": np.zeros((1, 0), np.float32), "reference": np.zeros(0, np.float32)},
        {"samples": np.eye(1, 4097, dtype=np.float32), "reference": np.eye(1, 4097, dtype=np.float32)[0]},
        {"created_unix_s": -1},
        {"created_unix_s": 1.0},
        {"created_unix_s": True},
        {"created_unix_s": 2**63},
        {"consent": ""},
        {"consent": "x" * 201},
        {"consent": "a\x1b[2J"},
        {"consent": "\ud800"},
        {"consent": None},
    ],
    ids=str,
)
def test_record_refuses_what_it_cannot_keep(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make_record(**changes)


@pytest.mark.parametrize("generation", [-1, True, 1.0, 2**63])
def test_pack_refuses_what_is_no_generation(generation: Any) -> None:
    with pytest.raises(InputError, match="generation"):
        pack(make_record(), KEK, generation=generation)


def test_no_repr_shows_features() -> None:
    record = make_record()
    with opened(record) as template:
        for text in (repr(record), repr(template)):
            assert "alice" in text
            assert "array" not in text
            assert f"{abs(record.reference[0]):.3f}"[1:] not in text


records = st.builds(
    make_record,
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", fullmatch=True),
    count=st.integers(1, 10),
    dimension=st.integers(1, 40) | st.just(4096),
    seed=st.integers(0, 2**32 - 1),
    embedder=st.from_regex(r"[!-~]{1,64}", fullmatch=True),
    model_ids=st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=16).map(tuple),
    created_unix_s=st.integers(0, 2**63 - 1),
    consent=st.text(min_size=1, max_size=200).filter(str.isprintable),
)


@settings(max_examples=40, deadline=None)
@given(record=records, generation=st.integers(0, 2**63 - 1))
def test_every_record_round_trips(record: Record, generation: int) -> None:
    with pack(record, KEK, generation=generation) as payload:
        sealed = seal(payload, KEK, user=record.user, kind=KeyKind.KEY_FILE, section=b"section")
    with Template(unseal(sealed, KEK, user=record.user), KEK, user=record.user) as template:
        assert_holds(template, record)
        assert template.generation == generation
    assert record.reference.tobytes() not in sealed


def test_the_largest_record_fits() -> None:
    record = make_record("u" * 64, count=10, dimension=4096, model_ids=("00" * 32,) * 16, consent="\U0001f600" * 200)
    with pack(record, KEK, generation=2**63 - 1) as payload:
        sealed = seal(payload, KEK, user=record.user, kind=KeyKind.TPM, section=bytes(4096))
    assert len(sealed) < MAX_FILE_SIZE
    with Template(unseal(sealed, KEK, user=record.user), KEK, user=record.user) as template:
        assert_holds(template, record)


# --- features are turned


def test_features_are_turned_before_they_are_sealed() -> None:
    record = make_record(dimension=64)
    with pack(record, KEK, generation=1) as payload:
        plain = bytes(memoryview(payload))
    for array in (record.reference, *record.samples):
        assert array.tobytes() not in plain
        assert array.tobytes()[:8] not in plain


@pytest.mark.parametrize("dimension", [1, 2, 3, 128, 320, 4096])
def test_scores_stay_to_a_hundred_thousandth(dimension: int) -> None:
    samples = np.stack(unit_vectors(3, dimension, seed=dimension))
    record = make_record(samples=samples, reference=matching.make_reference([samples[0]]), dimension=dimension)
    probes = [*unit_vectors(20, dimension), *samples]
    with opened(record) as template:
        for probe, turned in zip(probes, template.turned(probes), strict=True):
            assert abs(matching.score(template.reference, turned) - matching.score(record.reference, probe)) < 1e-5


def linkage(a: np.ndarray, b: np.ndarray) -> float:
    return abs(float(a @ b)) / float(np.linalg.norm(a) * np.linalg.norm(b))


def test_a_renewed_template_has_nothing_in_common_with_the_old_one() -> None:
    record, other = make_record(dimension=1024), os.urandom(32)
    probe = record.reference
    with opened(record) as old, Template(old.repacked(other, generation=2), other, user="alice") as new:
        assert_holds(new, record)
        assert new.generation == 2
        assert linkage(old.reference, old.turned([probe])[0]) > 0.999
        assert linkage(new.reference, new.turned([probe])[0]) > 0.999
        # Seven standard deviations of the score of two random directions.
        limit = 7 / 1024**0.5
        assert linkage(old.reference, new.turned([probe])[0]) < limit
        assert linkage(old.reference, new.reference) < limit
        assert linkage(old.reference, record.reference) < limit


def test_what_a_rotation_does_not_hide() -> None:
    """docs/vault-format.md says so: lengths and angles stay, so the same features turned anew can be told by them."""
    record, other = make_record(dimension=64), os.urandom(32)
    with opened(record) as old, Template(old.repacked(other, generation=2), other, user="alice") as new:
        assert np.allclose(old.samples @ old.samples.T, new.samples @ new.samples.T, atol=1e-4)
        assert abs(float(np.linalg.norm(old.reference) - np.linalg.norm(new.reference))) < 1e-6


def test_two_enrollments_under_one_key_have_nothing_in_common() -> None:
    record = make_record(dimension=1024)
    with opened(record) as one, opened(record) as two:
        assert linkage(one.reference, two.reference) < 7 / 1024**0.5


def test_with_generation_changes_nothing_else() -> None:
    record = make_record()
    with opened(record) as old, Template(old.with_generation(9), KEK, user="alice") as new:
        assert new.generation == 9
        assert np.array_equal(new.reference, old.reference)
        assert_holds(new, record)


def test_another_key_gives_another_rotation() -> None:
    record = make_record(dimension=1024)
    payload = pack(record, KEK, generation=1)
    with Template(payload, bytes(32), user="alice") as template:
        assert linkage(template.reference, template.turned([record.reference])[0]) < 7 / 1024**0.5


# --- closing


def test_a_closed_template_gives_nothing() -> None:
    record = make_record()
    template = opened(record)
    view = template.reference
    assert view.any()
    template.close()
    template.close()
    assert not view.any()
    with pytest.raises(InputError, match="closed"):
        template.turned([record.reference])
    with pytest.raises(BufferError):
        _ = template.reference
    with pytest.raises((BufferError, ValueError)):
        template.repacked(KEK, generation=1)


def test_probes_that_do_not_fit_are_refused() -> None:
    record = make_record()
    with opened(record) as template:
        template.turned([record.reference])
        for probes in ([], [record.reference[:7]], [record.reference, record.samples]):
            with pytest.raises(InputError, match="another embedder"):
                template.turned(probes)


def test_a_payload_that_is_refused_is_wiped() -> None:
    payload = Secret.of(b"\x01" * 200)
    with pytest.raises(VaultIntegrityError):
        Template(payload, KEK, user="alice")
    assert payload.closed


# --- content sealed by somebody who has the key


def rewrite(payload: bytes, offset: int, code: str, value: float) -> bytes:
    piece = struct.pack("<" + code, value)
    return payload[:offset] + piece + payload[offset + len(piece) :]


# 64 bytes of prefix, 32 of the reference, 96 of samples, then the texts.
EMBEDDER, CONSENT = 192, 229


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:1],
        lambda p: p[:63],
        lambda p: p[:64],
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
        lambda p: rewrite(p, 60, "B", 1),
        lambda p: rewrite(p, 63, "B", 128),
        lambda p: rewrite(p, 64, "f", float("nan")),
        lambda p: rewrite(p, 64, "f", 5.0),
        lambda p: p[:64] + bytes(32) + p[96:],
        lambda p: rewrite(p, EMBEDDER - 4, "f", float("inf")),
        lambda p: rewrite(p, EMBEDDER, "B", 0xFF),
        lambda p: rewrite(p, EMBEDDER, "B", 0x20),
        lambda p: rewrite(p, CONSENT, "B", 0xC0),
        lambda p: rewrite(p, CONSENT, "B", 0x1B),
        lambda p: struct.pack("<IIQQBBH32s4x", 0, 0, 0, 0, 1, 1, 1, bytes(32)) + b"e" + bytes(32) + b"c",
    ],
)  # fmt: skip
def test_sealed_content_that_is_not_a_record(change: Callable[[bytes], bytes]) -> None:
    with pack(make_record(), KEK, generation=1) as payload:
        genuine = bytes(memoryview(payload))
    assert genuine[EMBEDDER : EMBEDDER + 5] == b"joint"
    assert genuine[CONSENT:] == b"ticked the box"
    Template(Secret.of(genuine), KEK, user="alice").close()
    assert change(genuine) != genuine
    with pytest.raises(VaultIntegrityError, match="sealed content"):
        Template(Secret.of(change(genuine)), KEK, user="alice")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(min_size=1, max_size=400), keep=st.integers(0, 80))
def test_random_content_is_never_a_record(content: bytes, keep: int) -> None:
    with pack(make_record(), KEK, generation=1) as payload:
        genuine = bytes(memoryview(payload))
    mutated = genuine[:keep] + content
    if len(mutated) != len(genuine):
        with pytest.raises(VaultIntegrityError):
            Template(Secret.of(mutated), KEK, user="alice")
