"""tools/fuzz_pictures.py in small: made-up and changed picture files cost little and are frames or InputErrors."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))  # kept: the workers of the run import it too

import fuzz_pictures as fuzz
import fuzz_pictures_files as files


def test_genuine_files_are_frames() -> None:
    assert {fuzz.decoded(one)[0] for kind in files.genuine().values() for one in kind} == {"a frame"}


def test_run() -> None:
    tally = fuzz.run(400, seed=11, workers=1)
    assert tally.wrong == []
    assert sum(tally.counts.values()) == 400
    assert {maker for maker, _ in tally.counts} == set(fuzz.MAKERS)
    assert {outcome for _, outcome in tally.counts} == {"a frame", "InputError"}


def test_the_same_seed_makes_the_same_files() -> None:
    pool = files.genuine()
    first, again, other = ([fuzz.picture_file(seed, n, pool) for n in range(40)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_what_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judgement itself: another error than ours, a slow file, one that takes much memory."""
    held: list[mmap.mmap] = []

    def broken(data: bytes) -> object:
        raise KeyError("of Pillow's")

    def large(data: bytes) -> object:
        held.append(mmap.mmap(-1, 8 << 20))  # fresh from the system, not what this process once freed
        held[-1].write(b"x" * (8 << 20))
        raise fuzz.InputError("refused")

    for decoder, limits, words in (
        (broken, {}, "KeyError"), (fuzz.decode_rgb, {"LIMIT_S": 0.0}, " s"), (large, {"LIMIT_BYTES": 4 << 20}, "MiB"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(fuzz, "decode_rgb", decoder)
            for name, value in limits.items():
                patch.setattr(fuzz, name, value)
            tally = fuzz.Tally()
            resident = fuzz._resident_bytes("VmRSS")
            fuzz.judge(3, "test", files.genuine()["PNG"][0], tally, resident_bytes=resident)
        assert [number for number, _ in tally.wrong] == [3]
        assert words in tally.wrong[0][1]
