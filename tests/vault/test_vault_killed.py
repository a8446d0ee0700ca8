"""Writers killed at any point, and many at once, leave a vault whole: the old or the new file, and a log that fits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from vault_tools import RULES, Bench, fresh, killed_at, make_record, seed_of

from facesdk.vault import KeyFileKey


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"))


def replacing(folder: Path) -> None:
    vault, key = fresh(folder)
    vault.enroll(make_record(seed=1), key, replace=True, rules=RULES)


def rekeying(folder: Path) -> None:
    vault, key = fresh(folder)
    vault.rekey("alice", key, key, rules=RULES)


def renewing(folder: Path) -> None:
    vault, key = fresh(folder)
    vault.renew("alice", key, rules=RULES)


@pytest.mark.parametrize("change", [replacing, rekeying, renewing])
def test_a_writer_killed_at_any_point_leaves_the_old_or_the_new(
    bench: Bench, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    bench.enroll(make_record(seed=0))
    shutil.copytree(tmp_path / "vault", tmp_path / "before")
    old, seen, point = bench.path().read_bytes(), set(), 0
    while True:
        shutil.rmtree(tmp_path / "vault")
        shutil.copytree(tmp_path / "before", tmp_path / "vault")
        killed = killed_at(point, lambda: change(tmp_path / "vault"))
        seen.add(bench.path().read_bytes() == old)
        after = Bench(tmp_path / "vault", bench.key)
        found = seed_of(after)
        assert found == (1 if change is replacing and bench.path().read_bytes() != old else 0)
        assert after.attempt()
        assert after.events()[-2:] == ["unlocked", "verified"]
        after.enroll(make_record(seed=2), replace=True)
        assert not [name for name in os.listdir(tmp_path / "vault") if name.startswith(".facesdk-tmp-")]
        assert seed_of(after) == 2
        if not killed:
            break
        point += 1
    assert point >= 12
    assert seen == {True, False}


WORKER = """
import sys
import numpy as np
from facesdk.errors import AlreadyEnrolledError
from facesdk.vault.rules import PRESETS
from facesdk.vault import Vault, KeyFileKey, ProcessOpenKeys, Record, VaultFolder

folder, key, first, count, replace = sys.argv[1:]
key = KeyFileKey(key)
unit = np.eye(8, dtype=np.float32)
sys.stdin.readline()
for number in range(int(first), int(first) + int(count)):
    try:
        record = Record("alice", "joint", ("ab" * 32,), unit[0], unit, number, "yes")
        vault = Vault(VaultFolder(folder), ProcessOpenKeys())
        vault.enroll(record, key, replace=replace == "replace", rules=PRESETS["phone"])
        print(number)
    except AlreadyEnrolledError:
        continue
"""


def start(tmp_path: Path, *, first: int, count: int = 1, replace: bool = True) -> subprocess.Popen[str]:
    arguments = [str(tmp_path / "vault"), str(tmp_path / "vault.key"), str(first), str(count)]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments, "replace" if replace else "new"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def created(bench: Bench) -> int:
    bench.unlock()
    with bench.vault.opened("alice") as template:
        return template.created_unix_s


def test_four_writers_at_once_and_a_reader(bench: Bench, tmp_path: Path) -> None:
    bench.enroll(make_record(created_unix_s=0))
    workers = [start(tmp_path, first=100 * i, count=10) for i in range(1, 5)]
    for worker in workers:
        go(worker)
    while any(worker.poll() is None for worker in workers):
        bench.unlock()
    printed = [worker.communicate()[0].split() for worker in workers]
    assert [len(lines) for lines in printed] == [10] * 4
    assert str(created(bench)) in {lines[-1] for lines in printed}
    assert not [name for name in os.listdir(tmp_path / "vault") if name.startswith(".facesdk-tmp-")]
    assert bench.events().count("replaced") == 40


def test_of_four_writers_that_do_not_replace_one_wins(bench: Bench, tmp_path: Path) -> None:
    workers = [start(tmp_path, first=i, replace=False) for i in range(1, 5)]
    for worker in workers:
        go(worker)
    printed = [line for worker in workers for line in worker.communicate(timeout=20)[0].split()]
    assert printed == [str(created(bench))]
