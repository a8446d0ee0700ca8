"""The folder of features: whole after a kill and a full disk, private, and refused where it is damaged."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facesdk.errors import InputError
from facesdk.evaluation import cache as cache_module
from facesdk.evaluation.cache import Cache

DTYPE = np.dtype([("key", "V32"), ("value", "<f4", (8,))])


def rows(*numbers: int) -> np.ndarray:
    found = np.zeros(len(numbers), DTYPE)
    found["key"] = [number.to_bytes(32, "big") for number in numbers]
    found["value"] = np.array(numbers)[:, None]
    return found


def numbers_in(folder: Path) -> list[int]:
    with Cache(folder, "t", DTYPE) as store:
        return sorted(int(row["value"][0]) for row in store.load())


def test_what_was_added_is_there_next_time(tmp_path: Path) -> None:
    with Cache(tmp_path / "deep" / "er", "t", DTYPE) as store:
        assert len(store.load()) == 0
        store.add(rows(1, 2))
        store.add(rows(3))
        store.add(rows(2))
    assert numbers_in(tmp_path / "deep" / "er") == [1, 2, 3]


def test_what_others_made_lies_apart(tmp_path: Path) -> None:
    with Cache(tmp_path, "one", DTYPE) as store:
        store.add(rows(1))
    with Cache(tmp_path, "two", DTYPE) as store:
        assert len(store.load()) == 0


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with Cache(tmp_path, "t", DTYPE) as store:
            store.add(rows(1))
    finally:
        os.umask(old)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in store.folder.iterdir()} == {0o600}
    store.folder.chmod(0o750)
    with pytest.raises(InputError, match="others may read this folder"), Cache(tmp_path, "t", DTYPE):
        pass


def test_many_files_become_one_when_nobody_else_is_there(tmp_path: Path) -> None:
    with Cache(tmp_path, "t", DTYPE) as store:
        for number in range(cache_module._MANY + 1):
            store.add(rows(number))
        with Cache(tmp_path, "t", DTYPE):
            assert len(list(store.folder.glob("*.npy"))) == cache_module._MANY + 1
    assert numbers_in(tmp_path) == list(range(cache_module._MANY + 1))
    assert len(list(store.folder.glob("*.npy"))) == 1


def test_copies_in_many_files_become_one_that_holds_them_all(tmp_path: Path) -> None:
    with Cache(tmp_path, "t", DTYPE) as store:
        store.add(rows(*range(50)))  # all that the merged file will have: the same bytes and so the same name
        for number in range(cache_module._MANY + 3):
            store.add(rows(number))
    assert numbers_in(tmp_path) == list(range(50))
    assert numbers_in(tmp_path) == list(range(50))


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Cache(tmp_path, "t", DTYPE) as store:
        store.add(rows(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)") as caught:
                store.add(rows(2))
        assert "free some space" in caught.value.hint
        assert not list(store.folder.glob("*.new"))
    assert numbers_in(tmp_path) == [1]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made"), Cache(tmp_path / "file", "t", DTYPE):
        pass


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", None])
def test_a_damaged_file_is_named_and_never_used(tmp_path: Path, content: bytes | None) -> None:
    with Cache(tmp_path, "t", DTYPE) as store:
        path = store.add(rows(1, 2, 3))
        path.write_bytes(path.read_bytes()[:-5] if content is None else content)
        with pytest.raises(InputError, match=f"{path.name}: damaged") as caught:
            store.load()
    assert caught.value.hint == "delete it: its pictures are read again"


def test_rows_of_another_kind_and_pickles_are_refused(tmp_path: Path) -> None:
    with Cache(tmp_path, "t", DTYPE) as store:
        np.save(store.folder / "other.npy", np.zeros(3))
        with pytest.raises(InputError, match="damaged \\(rows of another kind\\)"):
            store.load()
        np.save(store.folder / "other.npy", np.array([print], object), allow_pickle=True)
        with pytest.raises(InputError, match="damaged \\(Object arrays cannot be loaded"):
            store.load()


WRITER = """
import sys, numpy as np
from pathlib import Path
from facesdk.evaluation.cache import Cache
sys.path.insert(0, sys.argv[2])
from test_evaluation_cache import DTYPE, rows
with Cache(Path(sys.argv[1]), "t", DTYPE) as store:
    for number in range(int(sys.argv[3]), 100_000):
        store.add(rows(number))
        print(number, flush=True)
"""


def test_killed_at_any_moment_it_holds_all_that_was_said_to_be_kept(tmp_path: Path) -> None:
    said, random = -1, np.random.default_rng(7)
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent), str(said + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            said = max([said, *map(int, process.stdout.read().split("\n")[:-1])], default=said)
        found = numbers_in(tmp_path)
        assert found == list(range(len(found)))
        assert said < len(found) <= said + 3
        said = len(found) - 1
    assert said > 8
    folder = next(tmp_path.iterdir())
    assert not list(folder.glob("*.new"))


def test_what_a_kill_left_half_written_is_not_swept_while_another_writes(tmp_path: Path) -> None:
    with Cache(tmp_path, "t", DTYPE) as store:
        half = store.folder / "half.new"
        half.write_bytes(b"x")
        with Cache(tmp_path, "t", DTYPE):
            assert half.exists()
        descriptor = os.open(store.folder / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    with Cache(tmp_path, "t", DTYPE):
        assert not half.exists()
