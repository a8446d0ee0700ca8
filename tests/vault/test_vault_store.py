"""The vault's files: strict modes, whole and durable writes whatever fails or is killed, and removal that destroys."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_tools
import pytest
from vault_tools import (
    RULES,
    SECTION_SIZE,
    Bench,
    assert_holds,
    disown,
    failing_with,
    make_record,
    mode_of,
    seed_of,
)  # fmt: skip

from facesdk.errors import AlreadyEnrolledError, InputError, NotEnrolledError, VaultError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyKind, causes, files, folder

bench, key = bench_tools.bench, bench_tools.key


# --- the folder and what it shows


def test_users_exists_kinds(bench: Bench, tmp_path: Path) -> None:
    there = bench.vault.folder
    assert there.users() == []
    assert not there.exists("alice")
    assert there.kinds() == {}
    assert not (tmp_path / "vault").exists()
    bench.enroll(make_record("alice"))
    bench.enroll(make_record("Bob-2._", seed=5))
    assert there.users() == ["Bob-2._", "alice"]
    assert there.exists("alice")
    (tmp_path / "vault" / "carol.face").write_bytes(b"junk")
    (tmp_path / "vault" / "carol.face").chmod(0o600)
    kinds = there.kinds()
    assert kinds["alice"] is kinds["Bob-2._"] is KeyKind.KEY_FILE
    assert "not a sealed file" in str(kinds["carol"])
    bench.vault.remove("alice")
    assert there.users() == ["Bob-2._", "carol"]


def test_users_ignores_what_is_not_a_user_file(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    for name in ("readme.txt", ".face", ".tmp-dead", ".x.face", "ä.face", "alice.face.bak"):
        (tmp_path / "vault" / name).write_bytes(b"x")
    assert bench.vault.folder.users() == ["alice"]


def test_what_lies_in_a_vault(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    names = sorted(os.listdir(tmp_path / "vault"))
    assert names[:4] == [".lock", ".vault", "alice.audit", "alice.face"]
    assert len(names) == 5
    assert re.fullmatch(r"alice\.head-[0-9a-f]{16}", names[4])
    assert {mode_of(tmp_path / "vault" / name) for name in names} == {0o600}


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, key: KeyFileKey) -> None:
    before = os.umask(0)
    try:
        Bench(tmp_path / "new" / "vault", key).enroll()
        KeyFileKey.create(tmp_path / "open.key")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "new" / "vault") == 0o700
    for path in ((tmp_path / "new" / "vault").iterdir(), [tmp_path / "open.key"]):
        assert {mode_of(found) for found in path} == {0o600}


def test_a_folder_that_was_there_is_closed_to_others(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir(0o755)
    bench.enroll()
    assert mode_of(tmp_path / "vault") == 0o700


@pytest.mark.parametrize("name", ["", ".", "..", "../alice", "a/b", ".hidden", "a b", "a\0", "a" * 65, "é", None])
def test_bad_names_are_refused_everywhere(bench: Bench, name: str) -> None:
    bench.enroll()
    calls: list[Callable[[], object]] = [
        lambda: bench.vault.folder.exists(name),
        lambda: bench.unlock(name),
        lambda: bench.attempt(user=name),
        lambda: bench.vault.state(name),
        lambda: bench.vault.lock(name),
        lambda: bench.vault.remove(name),
        lambda: bench.vault.audit(name),
        lambda: bench.vault.renew(name, bench.key, rules=RULES),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_others_can_write_to_is_refused(bench: Bench, tmp_path: Path, mode: int) -> None:
    bench.enroll()
    generation = bench.generation()
    (tmp_path / "vault").chmod(mode)
    vault = bench.vault
    calls: list[Callable[[], object]] = [
        vault.folder.users,
        lambda: vault.folder.exists("alice"),
        lambda: vault.attempt("alice", lambda _: True, generation=generation, camera="c", label=""),
        lambda: vault.state("alice"),
        bench.unlock,
        lambda: bench.enroll(make_record("bob")),
        lambda: vault.remove("alice"),
    ]
    for call in calls:
        with pytest.raises(VaultError, match="chmod 700"):
            call()
    (tmp_path / "vault").chmod(0o755)
    bench.unlock()  # what was to be removed is at least locked
    assert bench.attempt()


def test_a_folder_of_somebody_else_is_refused(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    disown(tmp_path / "vault", monkeypatch)
    with pytest.raises(VaultError, match="belongs to user id"):
        bench.unlock()


def test_a_file_where_the_folder_should_be(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("not a folder")
    for call in (bench.vault.folder.users, bench.enroll):
        with pytest.raises(VaultError) as caught:
            call()
        assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


# --- writing


def test_enroll_replaces_only_when_told(bench: Bench) -> None:
    bench.enroll()
    with pytest.raises(AlreadyEnrolledError, match="replace=True"):
        bench.enroll(make_record(seed=1))
    assert seed_of(bench) == 0
    bench.enroll(make_record(seed=1), replace=True)
    assert seed_of(bench) == 1


@pytest.mark.parametrize("function", ["write", "fsync", "replace", "fchmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_failing_write_leaves_the_old_record(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    bench.enroll(make_record(seed=0))
    for change in (
        lambda: bench.enroll(make_record(seed=1), replace=True),
        lambda: bench.vault.rekey("alice", bench.key, bench.key, rules=RULES),
        lambda: bench.vault.renew("alice", bench.key, rules=RULES),
    ):
        before = bench.path().read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing_with(code))
            with pytest.raises(VaultError) as caught:
                change()
            assert caught.value.errno == code
            assert causes.hint_for(code) == caught.value.hint
        assert bench.path().read_bytes() == before
        assert not [name for name in os.listdir(tmp_path / "vault") if name.startswith(".facesdk-tmp-")]
        assert bench.attempt() is True  # the key that was open stays open
        assert seed_of(bench) == 0


def test_a_write_cut_off_by_the_system_leaves_the_old_record(bench: Bench, tmp_path: Path) -> None:
    bench.enroll(make_record(seed=0))
    names = sorted(os.listdir(tmp_path / "vault"))
    size = (tmp_path / "vault" / "alice.audit").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (100, size + 100, size + 260):  # before the log's entry, within it, within the template
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(VaultError) as caught:
                bench.enroll(make_record(seed=1, dimension=200), replace=True)
            assert caught.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert seed_of(bench) == 0
    assert sorted(os.listdir(tmp_path / "vault")) == names


def test_the_last_fsync_may_fail_with_the_new_record_in_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll(make_record(seed=0))
    fsync, replace = os.fsync, os.replace
    done: list[str] = []

    def watching_replace(source: str, target: str, **options: Any) -> None:
        done.append(target)
        replace(source, target, **options)

    def failing_last(descriptor: int) -> None:
        if done and done[-1] == "alice.face" and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", watching_replace)
        patch.setattr(os, "fsync", failing_last)
        with pytest.raises(VaultError):
            bench.enroll(make_record(seed=1), replace=True)
    assert seed_of(bench) == 1


def test_a_change_is_logged_then_durable_then_visible(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watching_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watching_replace(source: str, target: str, **options: Any) -> None:
        events.append(target.split("-")[0])
        replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", watching_fsync)
    monkeypatch.setattr(os, "replace", watching_replace)
    bench.enroll(replace=True)
    log, head, template = ["file"], ["file", "alice.head", "folder"], ["file", "alice.face", "folder"]
    assert events == [*log, *head, *template, "folder"]  # the last: the old key's head is dropped


def test_short_writes_are_completed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, bytes(content[:7])))
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 5)))
    bench.enroll()
    bench.unlock()
    with bench.vault.opened("alice") as template:
        assert_holds(template, make_record())


def test_the_lock_times_out(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.05)
    with folder.open_folder(tmp_path / "vault") as descriptor, files.locked(descriptor):
        for call in (lambda: bench.enroll(replace=True), bench.unlock, bench.generation):
            with pytest.raises(VaultError, match="lock"):
                call()
    bench.unlock()


# --- removing


def test_remove_takes_everything_of_the_user_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    for user in ("alice", "alice2", "alice.audit"):
        bench.enroll(make_record(user))
    (tmp_path / "vault" / "alice.audit.broken-1").touch(0o600)
    before = sorted(name for name in os.listdir(tmp_path / "vault") if name.startswith(("alice2", "alice.audit.")))
    before.remove("alice.audit.broken-1")
    bench.vault.remove("alice")
    assert sorted(os.listdir(tmp_path / "vault")) == sorted([".lock", ".vault", *before])
    assert bench.attempt(user="alice2")
    assert bench.attempt(user="alice.audit")
    for call in (bench.unlock, lambda: bench.vault.remove("alice")):
        with pytest.raises(NotEnrolledError):
            call()


def test_remove_destroys_the_wrapped_key_before_the_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    path = bench.path()
    before = path.read_bytes()
    events: list[str] = []
    unlink, fsync = os.unlink, os.fsync

    def watching_unlink(name: str, **options: Any) -> None:
        if name == "alice.face":
            after = path.read_bytes()
            assert len(after) == len(before)
            assert after[:SECTION_SIZE] == before[:SECTION_SIZE]
            pieces = range(SECTION_SIZE, len(before) - 16, 16)
            assert all(after[i : i + 16] != before[i : i + 16] for i in pieces)
        events.append("unlink")
        unlink(name, **options)

    def watching_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "unlink", watching_unlink)
    monkeypatch.setattr(os, "fsync", watching_fsync)
    bench.vault.remove("alice")
    assert events[:3] == ["file", "unlink", "folder"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 150, b"x" * 5000])
def test_remove_works_on_a_damaged_file(bench: Bench, content: bytes) -> None:
    bench.enroll(make_record("bob"))
    bench.path().write_bytes(content)
    bench.vault.remove("alice", bench.key)
    assert bench.vault.folder.users() == ["bob"]


def test_remove_goes_on_when_overwriting_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    monkeypatch.setattr(os, "pwrite", failing_with(errno.EIO))
    with pytest.raises(VaultError, match=r"was removed, but .* could not be overwritten") as caught:
        bench.vault.remove("alice")
    assert caught.value.errno == errno.EIO
    assert bench.vault.folder.users() == []


def test_reading_a_file_that_grows_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enroll()
    read = os.read

    def grown(descriptor: int, size: int) -> bytes:
        is_template = os.readlink(f"/proc/self/fd/{descriptor}").endswith(".face")
        return bytes(size) if is_template else read(descriptor, size)

    monkeypatch.setattr(os, "read", grown)
    with pytest.raises(VaultIntegrityError, match="at most"):
        bench.unlock()
