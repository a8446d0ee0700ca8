"""Mutated files of every sealed format: tools/fuzz_format.py in small, and strategies for what it may miss."""

from __future__ import annotations

import math
import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk._core import Secret
from facesdk.errors import InputError, VaultIntegrityError, VaultVersionError
from facesdk.vault import crypto, format
from facesdk.vault.keys import provider as keys
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind
from facesdk.vault.template import Template

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))  # kept: the workers of the run import it too

import fuzz_format as fuzz  # noqa: E402
from fuzz_targets import KEK  # noqa: E402

TARGETS = fuzz.targets()
BY_NAME = {target.name: target for target in TARGETS}


def outcome(target: fuzz.Target, data: bytes) -> str:
    return fuzz.opened(target, data)[0]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_genuine_files_open(target: fuzz.Target) -> None:
    for sample in target.samples:
        assert outcome(target, target.sealed(sample.data) if target.sealed else sample.data) == "accepted"


def test_run() -> None:
    tally = fuzz.run(60_000, seed=3, workers=2)
    assert sum(tally.counts.values()) == 60_000
    assert [line[:300] for line in tally.wrong] == []
    assert tally.slowest_s <= fuzz.LIMIT_S
    assert tally.growth_bytes <= fuzz.LIMIT_BYTES
    classes = {name for _, _, name in tally.counts}
    assert classes == {"VaultIntegrityError", "VaultVersionError", "KeyUnavailableError", "well-formed, by key"}
    opened_by_key = {target for target, _, name in tally.counts if name == "well-formed, by key"}
    assert opened_by_key == {target.name for target in TARGETS if target.by_key}
    assert {(target, mutator) for target, mutator, _ in tally.counts} == {
        (target.name, mutator) for target in TARGETS for mutator in fuzz.MUTATORS
    }


def test_same_seed_same_files() -> None:
    first, again, other = (fuzz.run_batch((seed, 0, 300)) for seed in (1, 1, 2))
    assert first.counts == again.counts
    assert first.counts != other.counts


# --- the judge itself: what it must not let pass


def tally_of(open_: Any) -> fuzz.Tally:
    """What the judge says of one file when the parser does this."""
    tally, target = fuzz.Tally(), BY_NAME["file"]
    fuzz.judge(fuzz.Target("file", target.samples, open_), "flip bits", b"mutated", tally)
    return tally


def test_judge_reports_an_accepted_file() -> None:
    tally = tally_of(lambda data: None)
    assert tally.counts == {("file", "flip bits", "ACCEPTED"): 1}
    assert len(tally.wrong) == 1


@pytest.mark.parametrize("error", [ValueError, struct.error, IndexError, MemoryError, UnicodeDecodeError])
def test_judge_reports_a_crash(error: type[Exception]) -> None:
    def crash(data: bytes) -> None:
        raise error("utf-8", b"", 0, 1, "no text") if error is UnicodeDecodeError else error("boom")

    assert f"CRASH {error.__name__}" in tally_of(crash).wrong[0]


def test_judge_reports_a_slow_file() -> None:
    def slow(data: bytes) -> None:
        time.sleep(1.5 * fuzz.LIMIT_S)
        raise VaultIntegrityError("late")

    tally = tally_of(slow)
    assert len(tally.wrong) == 1
    assert tally.slowest_s > fuzz.LIMIT_S


def test_judge_forgives_one_late_answer() -> None:
    waits = iter([2 * fuzz.LIMIT_S] + [0.0] * 5)

    def late_once(data: bytes) -> None:
        time.sleep(next(waits))
        raise VaultIntegrityError("altered")

    tally = tally_of(late_once)
    assert tally.wrong == []
    assert tally.remeasured == 1


def test_memory_limit_holds() -> None:
    target = fuzz.Target("file", (), lambda data: bytearray(4 * fuzz.LIMIT_BYTES).clear())
    assert outcome(target, b"") == "accepted"
    with fuzz.limited_memory():
        assert outcome(target, b"").startswith("CRASH MemoryError")
    assert outcome(target, b"") == "accepted"


# --- strategies


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A genuine sample with a few regions put in the place of others, its checksum valid where it has one."""
    target = BY_NAME[name]
    samples = [sample.data for sample in target.samples]
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
        source = draw(st.sampled_from(samples))
        start = draw(st.integers(0, len(source)))
        piece = draw(st.one_of(st.binary(max_size=40), st.just(source[start : start + length])))
        data = data[:at] + piece + data[at + length :]
    return fuzz.with_checksum(target, data) if draw(st.booleans()) else data


@pytest.mark.parametrize("name", [target.name for target in TARGETS])
def test_damage_is_refused_by_name(name: str) -> None:
    target = BY_NAME[name]

    @settings(max_examples=150, deadline=None)
    @given(data=damaged(name))
    def run(data: bytes) -> None:
        if data in [sample.data for sample in target.samples]:
            return
        found = outcome(target, target.sealed(data) if target.sealed else data)
        assert not found.startswith("CRASH"), found
        assert target.by_key or found != "accepted"

    run()


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), magic=st.booleans(), version=st.integers(0, 3))
def test_arbitrary_bytes_are_refused_by_name(data: bytes, magic: bool, version: int) -> None:
    if magic:
        data = format.MAGIC + struct.pack("<H", version) + data
    for read in (format.parse_header, lambda d: format.unseal(d, KEK, user="alice")):
        try:
            found = read(data)
        except (VaultIntegrityError, VaultVersionError):
            continue
        assert found in (1, 2)  # what the version is, can be said of any bytes behind it


# --- content sealed by somebody who has the key


def payload_with(values: list[float]) -> bytes:
    """The first genuine payload with these four numbers as its reference."""
    payload = BY_NAME["key: payload"].samples[0].data
    return payload[:64] + struct.pack("<4f", *values) + payload[80:]


def open_payload(payload: bytes) -> Template:
    with Secret.of(KEK) as kek:
        sealed = format.seal(payload, kek, user="alice", kind=KeyKind.PASSPHRASE, section=b"section")
        return Template(format.unseal(sealed, kek, user="alice"), kek, user="alice")


def test_a_reference_of_length_one_or_less_opens() -> None:
    for values in ([1.0, 0, 0, 0], [0.5, 0, 0, -0.25]):
        with open_payload(payload_with(values)) as template:
            assert math.isclose(float(np.linalg.norm(template.reference)), math.hypot(*values), rel_tol=1e-6)


@pytest.mark.parametrize("values", [[1.1, 0, 0, 0], [0] * 4, [1] * 4, [math.nan, 0, 0, 0], [math.inf, 0, 0, 0]])
def test_other_references_do_not(values: list[float]) -> None:
    with pytest.raises(VaultIntegrityError, match="not a record"):
        open_payload(payload_with(values))


def test_huge_features_are_refused_without_a_warning() -> None:
    with pytest.raises(VaultIntegrityError, match="not a record"):
        open_payload(payload_with([3e38, 3e38, 0, 0]))


# --- hostile cost of a key derivation


def section_asking_for(memory_kib: int, passes: int, lanes: int) -> bytes:
    genuine = BY_NAME["section"].samples[0].data
    return struct.pack("<III", memory_kib, passes, lanes) + genuine[12:]


LARGEST = (keys.MEMORY_KIB[1], keys.MAX_COST_KIB // keys.MEMORY_KIB[1])


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [
        (2**32 - 1, 2**32 - 1, 2**32 - 1),
        (LARGEST[0] + 1, 2, 1),
        (LARGEST[0], LARGEST[1] + 1, 1),
        (65536, keys.PASSES[1] + 1, 1),
        (65536, 3, keys.LANES[1] + 1),
        (keys.MEMORY_KIB[0] - 1, 3, 1),
        (65536, 1, 1),
        (65536, 3, 0),
        (0, 0, 0),
    ],
)
def test_hostile_costs_are_refused_unpaid(
    monkeypatch: pytest.MonkeyPatch, memory_kib: int, passes: int, lanes: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(crypto, "argon2id", lambda *a, **options: asked.append(options["memory_kib"]))
    with pytest.raises(VaultIntegrityError, match="header is not one this release writes"):
        PassphraseKey("guess", passes=3).unwrap(section_asking_for(memory_kib, passes, lanes), binding=b"binding")
    assert asked == []


def test_no_setting_within_the_bounds_costs_more_than_the_largest() -> None:
    rng = random.Random(5)
    accepted = []
    for _ in range(3000):
        memory_kib, passes = rng.randrange(1, 2 * keys.MEMORY_KIB[1]), rng.randrange(1, 2 * keys.PASSES[1])
        try:
            keys.Kdf(KeyKind.PASSPHRASE, bytes(16), memory_kib=memory_kib, passes=passes, lanes=1)
        except InputError:
            continue
        accepted.append((memory_kib, passes))
    assert len(accepted) > 100
    assert max(memory * passes for memory, passes in accepted) <= keys.MAX_COST_KIB == LARGEST[0] * LARGEST[1]
    assert max(memory for memory, _ in accepted) <= 256 * 1024


def test_the_largest_cost_is_bearable() -> None:
    # Twice what two cores of 2020 take. A board with a tenth of that speed waits as long as for any honest file.
    assert fuzz.largest_derivation_s() < 10
