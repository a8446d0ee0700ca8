"""The vault does what it promises: records round trip, writes are atomic, loose modes are refused, old files open."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesdk.errors import (
    AlreadyEnrolledError,
    InputError,
    KeyUnavailableError,
    NotEnrolledError,
    StoreError,
    StoreIntegrityError,
)
from facesdk.vault import KeyFileKey, PassphraseKey, Record, Vault, crypto, files
from facesdk.vault.format import MAX_FILE_SIZE, seal, unseal

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden" / "vault_v1"
CHEAP = {"memory_kib": 19 * 1024, "passes": 2}


def make_record(user: str = "alice", *, count: int = 3, dimension: int = 8, seed: int = 0, **changes: Any) -> Record:
    samples = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    mean = samples.mean(axis=0)
    fields: dict[str, Any] = {
        "user": user,
        "embedder": "joint",
        "model_ids": ("ab" * 32,),
        "references": (mean / np.linalg.norm(mean)).astype(np.float32),
        "samples": samples,
        "created_unix_s": 1_700_000_000,
        "generation": 1,
        "consent": "ticked the box",
    }
    return Record(**{**fields, **changes})


@pytest.fixture
def key(tmp_path: Path) -> KeyFileKey:
    return KeyFileKey.create(tmp_path / "vault.key")


@pytest.fixture
def vault(tmp_path: Path, key: KeyFileKey) -> Vault:
    return Vault(tmp_path / "vault", key)


def disown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `path` belong to neither this user nor root, as far as the code can see."""
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- records


def test_record_keeps_read_only_copies() -> None:
    samples = np.eye(3, dtype=np.float32)
    record = make_record(samples=samples, references=samples[0])
    samples[0, 0] = 9
    assert record.samples[0, 0] == 1
    for array in (record.samples, record.references):
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_record_equality_and_repr() -> None:
    record = make_record()
    assert record == make_record()
    assert hash(record) == hash(make_record())
    assert record != make_record("bob")
    assert record != make_record(generation=2)
    assert record != make_record(seed=1)
    assert record != "alice"
    text = repr(record)
    assert "alice" in text
    assert "array" not in text
    assert f"{record.references[0]:.3f}" not in text


NAN = np.full((1, 8), np.nan, np.float32)
UNIT = np.eye(8, dtype=np.float32)


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
        {"references": UNIT[0] * 1.01},
        {"references": UNIT[0] * 0},
        {"references": UNIT[0][:7]},
        {"references": UNIT[:1]},
        {"references": UNIT[0].astype(np.float64)},
        {"references": UNIT[0].tolist()},
        {"references": UNIT[0].astype(">f4")},
        {"samples": NAN},
        {"samples": NAN * 0 + np.inf},
        {"samples": UNIT[0]},
        {"samples": UNIT[:0]},
        {"samples": np.zeros((11, 8), np.float32)},
        {"samples": UNIT.astype(np.float16)},
        {"samples": np.zeros((1, 0), np.float32), "references": np.zeros(0, np.float32)},
        {"samples": np.eye(1, 4097, dtype=np.float32), "references": np.eye(1, 4097, dtype=np.float32)[0]},
        {"created_unix_s": -1},
        {"created_unix_s": 1.0},
        {"created_unix_s": 2**63},
        {"generation": True},
        {"generation": -1},
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


records = st.builds(
    make_record,
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", fullmatch=True),
    count=st.integers(1, 10),
    dimension=st.integers(1, 40) | st.just(4096),
    seed=st.integers(0, 2**32 - 1),
    embedder=st.from_regex(r"[!-~]{1,64}", fullmatch=True),
    model_ids=st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=16).map(tuple),
    created_unix_s=st.integers(0, 2**63 - 1),
    generation=st.integers(0, 2**63 - 1),
    consent=st.text(min_size=1, max_size=200).filter(str.isprintable),
)


@pytest.fixture(scope="module")
def shared_key(tmp_path_factory: pytest.TempPathFactory) -> KeyFileKey:
    return KeyFileKey.create(tmp_path_factory.mktemp("key") / "vault.key")


@settings(max_examples=50, deadline=None)
@given(record=records)
def test_every_record_round_trips(shared_key: KeyFileKey, record: Record) -> None:
    sealed = seal(record, shared_key)
    opened = unseal(sealed, shared_key, user=record.user)
    assert opened == record
    assert np.array_equal(opened.samples, record.samples)
    assert np.array_equal(opened.references, record.references)
    assert (opened.consent, opened.embedder, opened.model_ids) == (record.consent, record.embedder, record.model_ids)
    assert opened.references.tobytes() not in sealed


def test_the_largest_record_fits(shared_key: KeyFileKey) -> None:
    record = make_record("u" * 64, count=10, dimension=4096, model_ids=("00" * 32,) * 16, consent="\U0001f600" * 200)
    sealed = seal(record, shared_key)
    assert len(sealed) < MAX_FILE_SIZE
    assert unseal(sealed, shared_key, user=record.user) == record


def test_two_seals_share_no_key_material(shared_key: KeyFileKey) -> None:
    first, second = (seal(make_record(), shared_key) for _ in range(2))
    assert first[:88] == second[:88]
    for begin, end in ((88, 104), (104, 136), (136, 148), (148, 196), (196, 208), (212, 244), (244, None)):
        assert first[begin:end] != second[begin:end]


# --- the store


def test_put_get_users_exists_remove(vault: Vault, tmp_path: Path) -> None:
    assert vault.users() == []
    assert not vault.exists("alice")
    with pytest.raises(NotEnrolledError, match="alice"):
        vault.get("alice")
    with pytest.raises(NotEnrolledError):
        vault.remove("alice")
    assert not (tmp_path / "vault").exists()

    alice, bob = make_record("alice"), make_record("Bob-2._", seed=5)
    vault.put(alice)
    vault.put(bob)
    assert vault.users() == ["Bob-2._", "alice"]
    assert vault.exists("alice")
    assert vault.get("alice") == alice
    assert vault.get("Bob-2._") == bob

    vault.remove("alice")
    assert vault.users() == ["Bob-2._"]
    for call in (vault.get, vault.remove):
        with pytest.raises(NotEnrolledError):
            call("alice")


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, key: KeyFileKey) -> None:
    before = os.umask(0)
    try:
        Vault(tmp_path / "new" / "vault", key).put(make_record())
        KeyFileKey.create(tmp_path / "open.key")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == 0o700
    assert mode_of(tmp_path / "new" / "vault") == 0o700
    assert mode_of(tmp_path / "new" / "vault" / "alice.face") == 0o600
    assert mode_of(tmp_path / "open.key") == 0o600


def test_put_replaces_only_when_told(vault: Vault) -> None:
    vault.put(make_record(generation=1))
    with pytest.raises(AlreadyEnrolledError, match="replace=True"):
        vault.put(make_record(generation=2))
    assert vault.get("alice").generation == 1
    vault.put(make_record(generation=7), replace=True)
    assert vault.get("alice").generation == 7


def test_another_key_may_replace(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record())
    changed = Vault(tmp_path / "vault", PassphraseKey("changed", **CHEAP))
    changed.put(vault.get("alice"), replace=True)
    assert changed.get("alice") == make_record()
    with pytest.raises(KeyUnavailableError):
        vault.get("alice")


@pytest.mark.parametrize("name", ["", ".", "..", "../alice", "a/b", ".hidden", "a b", "a\0", "a" * 65, "é", None])
def test_bad_names_are_refused_everywhere(vault: Vault, name: str) -> None:
    for call in (vault.get, vault.exists, vault.remove):
        with pytest.raises(InputError):
            call(name)


def test_without_a_key(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record())
    keyless = Vault(tmp_path / "vault")
    assert keyless.users() == ["alice"]
    assert keyless.exists("alice")
    for call in (lambda: keyless.get("alice"), lambda: keyless.put(make_record("bob"))):
        with pytest.raises(KeyUnavailableError, match="without a key"):
            call()
    keyless.remove("alice")
    assert keyless.users() == []


def test_users_ignores_what_is_not_a_user_file(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record())
    for name in ("readme.txt", ".face", ".tmp-dead", ".x.face", "ä.face", "alice.face.bak"):
        (tmp_path / "vault" / name).write_bytes(b"x")
    assert vault.users() == ["alice"]


def test_remove_destroys_the_wrapped_key_before_the_name(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.put(make_record())
    path = tmp_path / "vault" / "alice.face"
    before = path.read_bytes()
    events: list[str] = []
    unlink, fsync = os.unlink, os.fsync

    def watching_unlink(name: str, **options: Any) -> None:
        after = path.read_bytes()
        assert len(after) == len(before)
        assert (after[:88], after[244:]) == (before[:88], before[244:])
        assert after[148:196] != before[148:196]
        events.append("unlink")
        unlink(name, **options)

    def watching_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "unlink", watching_unlink)
    monkeypatch.setattr(os, "fsync", watching_fsync)
    vault.remove("alice")
    assert events == ["file", "unlink", "folder"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 150, b"x" * 5000])
def test_remove_works_on_a_damaged_file(vault: Vault, tmp_path: Path, content: bytes) -> None:
    vault.put(make_record("bob"))
    (tmp_path / "vault" / "alice.face").write_bytes(content)
    vault.remove("alice")
    assert vault.users() == ["bob"]


def test_remove_goes_on_when_overwriting_fails(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(make_record())

    def failing(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(StoreError, match=r"was removed, but .* could not be overwritten") as caught:
        vault.remove("alice")
    assert caught.value.errno == errno.EIO
    assert vault.users() == []


# --- the folder


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_others_can_write_to_is_refused(vault: Vault, tmp_path: Path, mode: int) -> None:
    vault.put(make_record())
    (tmp_path / "vault").chmod(mode)
    calls: list[Callable[[], object]] = [
        vault.users,
        lambda: vault.exists("alice"),
        lambda: vault.get("alice"),
        lambda: vault.remove("alice"),
        lambda: vault.put(make_record("bob")),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="chmod 700"):
            call()
    (tmp_path / "vault").chmod(0o755)
    assert vault.get("alice") == make_record()


def test_a_folder_of_somebody_else_is_refused(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(make_record())
    disown(tmp_path / "vault", monkeypatch)
    with pytest.raises(StoreError, match="belongs to user id"):
        vault.get("alice")


def test_a_file_where_the_folder_should_be(tmp_path: Path, key: KeyFileKey) -> None:
    (tmp_path / "vault").write_text("not a folder")
    vault = Vault(tmp_path / "vault", key)
    for call in (vault.users, lambda: vault.put(make_record())):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


# --- writing


def failing_with(code: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("function", ["write", "fsync", "replace", "fchmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_failing_write_leaves_the_old_record(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    vault.put(make_record(generation=1))
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing_with(code))
        with pytest.raises(StoreError) as caught:
            vault.put(make_record(generation=2), replace=True)
        assert caught.value.errno == code
        assert files._HINTS[code] in str(caught.value)
    assert vault.get("alice").generation == 1
    assert sorted(os.listdir(tmp_path / "vault")) == [".lock", "alice.face"]


def test_a_write_cut_off_by_the_system_leaves_the_old_record(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record(generation=1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(StoreError) as caught:
            vault.put(make_record(generation=2), replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert vault.get("alice").generation == 1
    assert sorted(os.listdir(tmp_path / "vault")) == [".lock", "alice.face"]


def test_the_last_fsync_may_fail_with_the_new_record_in_place(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(make_record(generation=1))
    fsync = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", only_files)
        with pytest.raises(StoreError):
            vault.put(make_record(generation=2), replace=True)
    assert vault.get("alice").generation == 2


def test_a_write_is_durable_before_it_is_visible(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(make_record())
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watching_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watching_replace(*names: str, **options: Any) -> None:
        events.append("replace")
        replace(*names, **options)

    monkeypatch.setattr(os, "fsync", watching_fsync)
    monkeypatch.setattr(os, "replace", watching_replace)
    vault.put(make_record(), replace=True)
    assert events == ["file", "replace", "folder"]


def test_short_writes_are_completed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, bytes(content[:7])))
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 5)))
    vault.put(make_record())
    assert vault.get("alice") == make_record()


def test_the_lock_times_out(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(make_record())
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.05)
    with files.open_folder(tmp_path / "vault") as folder, files.locked(folder):
        for call in (lambda: vault.put(make_record(), replace=True), lambda: vault.get("alice")):
            with pytest.raises(StoreError, match="lock"):
                call()
    assert vault.get("alice") == make_record()


WORKER = """
import os, signal, sys
import numpy as np
from facesdk.errors import AlreadyEnrolledError
from facesdk.vault import KeyFileKey, Record, Vault

folder, key, first, count, replace, die = sys.argv[1:]
if die == "die":
    os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
vault = Vault(folder, KeyFileKey(key))
unit = np.eye(8, dtype=np.float32)
sys.stdin.readline()
for generation in range(int(first), int(first) + int(count)):
    try:
        record = Record("alice", "joint", ("ab" * 32,), unit[0], unit, 1, generation, "yes")
        vault.put(record, replace=replace == "replace")
        print(generation)
    except AlreadyEnrolledError:
        continue
"""


def start(
    tmp_path: Path, *, first: int, count: int = 1, replace: bool = True, die: bool = False
) -> subprocess.Popen[str]:
    arguments = [str(tmp_path / "vault"), str(tmp_path / "vault.key"), str(first), str(count)]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments, "replace" if replace else "new", "die" if die else "live"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_writer_killed_before_the_rename_leaves_the_old_record(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record(generation=1))
    process = start(tmp_path, first=2, die=True)
    process.communicate("\n", timeout=20)
    assert process.returncode == -signal.SIGKILL
    left = [name for name in os.listdir(tmp_path / "vault") if name.startswith(".tmp-")]
    assert len(left) == 1
    assert vault.users() == ["alice"]
    assert vault.get("alice").generation == 1
    vault.put(make_record(generation=3), replace=True)
    assert sorted(os.listdir(tmp_path / "vault")) == [".lock", "alice.face"]
    assert vault.get("alice").generation == 3


def test_four_writers_at_once_and_a_reader(vault: Vault, tmp_path: Path) -> None:
    vault.put(make_record(generation=0))
    workers = [start(tmp_path, first=100 * i, count=20) for i in range(1, 5)]
    for worker in workers:
        go(worker)
    while any(worker.poll() is None for worker in workers):
        assert vault.get("alice").generation % 100 < 20
    printed = [worker.communicate()[0].split() for worker in workers]
    assert [len(lines) for lines in printed] == [20] * 4
    assert str(vault.get("alice").generation) in {lines[-1] for lines in printed}
    assert sorted(os.listdir(tmp_path / "vault")) == [".lock", "alice.face"]


def test_of_four_writers_that_do_not_replace_one_wins(vault: Vault, tmp_path: Path) -> None:
    workers = [start(tmp_path, first=i, replace=False) for i in range(1, 5)]
    for worker in workers:
        go(worker)
    printed = [line for worker in workers for line in worker.communicate(timeout=20)[0].split()]
    assert printed == [str(vault.get("alice").generation)]


# --- keys


def test_key_file_round_trip(tmp_path: Path, key: KeyFileKey) -> None:
    content = (tmp_path / "vault.key").read_text()
    assert content.startswith("facesdk-key-1:")
    assert content.endswith("=\n")
    assert unseal(seal(make_record(), key), KeyFileKey(tmp_path / "vault.key"), user="alice") == make_record()
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(tmp_path / "vault.key")
    assert (tmp_path / "vault.key").read_text() == content


def test_key_file_create_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError) as caught:
        KeyFileKey.create(tmp_path / "missing" / "vault.key")
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(tmp_path / "dangling")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_with(errno.ENOSPC))
        with pytest.raises(StoreError, match="free some space"):
            KeyFileKey.create(tmp_path / "vault.key")
    assert os.listdir(tmp_path) == ["dangling"]


def test_a_passphrase_opens_in_nfc_only_once_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    word = "Zürich é"
    sealed = seal(make_record(), PassphraseKey(unicodedata.normalize("NFD", word), **CHEAP))
    calls = 0
    argon2id = crypto.argon2id

    def counting(*arguments: Any, **options: Any) -> bytes:
        nonlocal calls
        calls += 1
        return argon2id(*arguments, **options)

    monkeypatch.setattr(crypto, "argon2id", counting)
    # The costs come from the header, not from the key that opens.
    key = PassphraseKey(unicodedata.normalize("NFC", word).encode())
    for _ in range(3):
        assert unseal(sealed, key, user="alice") == make_record()
    assert calls == 1


def test_the_cache_of_derived_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "argon2id", lambda secret, salt, **_: salt * 4)
    key = PassphraseKey("x")
    for number in range(100):
        salt = number.to_bytes(16, "little")
        assert key.derive(key.new_kdf(salt)) == salt * 4
    assert len(key._derived) <= 16


@pytest.mark.parametrize("bad", ["", b"", "x" * 4097, "\ud800", None, 5, bytearray(b"x")])
def test_bad_passphrases_are_refused(bad: Any) -> None:
    with pytest.raises(InputError, match="passphrase"):
        PassphraseKey(bad)


@pytest.mark.parametrize(
    "cost", [{"memory_kib": 19 * 1024 - 1}, {"memory_kib": 256 * 1024 + 1}, {"passes": 1}, {"passes": 5}, {"lanes": 0}]
)
def test_costs_have_bounds(cost: dict[str, int]) -> None:
    with pytest.raises(InputError, match="key derivation"):
        PassphraseKey("x", **cost)


@pytest.mark.parametrize(
    ("content", "same_as"),
    [
        (b"word", "word"),
        (b"word\n", "word"),
        (b"word\r\n", "word"),
        (b"word\n\n", "word\n"),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)
def test_passphrase_from_file(tmp_path: Path, content: bytes, same_as: str | bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o400)
    assert PassphraseKey.from_file(path)._secret == PassphraseKey(same_as)._secret


def test_passphrase_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b"word")
    for mode in (0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(KeyUnavailableError, match="chmod 600"):
            PassphraseKey.from_file(path)
    path.chmod(0o600)
    path.write_bytes(b"\n")
    with pytest.raises(InputError):
        PassphraseKey.from_file(path)
    path.write_bytes(b"x" * 4097)
    with pytest.raises(KeyUnavailableError, match="longer than"):
        PassphraseKey.from_file(path)
    with pytest.raises(KeyUnavailableError, match="cannot open"):
        PassphraseKey.from_file(tmp_path / "missing")


def test_a_machine_that_cannot_derive(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf import argon2

    for error in (MemoryError("no"), UnsupportedAlgorithm("no")):

        def failing(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(argon2, "Argon2id", failing)
        with pytest.raises(KeyUnavailableError):
            seal(make_record(), PassphraseKey("x"))


# --- the package


def test_importing_the_vault_imports_no_cryptography() -> None:
    code = "import facesdk.vault, sys; raise SystemExit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


# --- golden files


def golden_record(fields: dict[str, Any]) -> Record:
    arrays = {name: np.array(fields[name], np.float32) for name in ("references", "samples")}
    return Record(**{**fields, **arrays, "model_ids": tuple(fields["model_ids"])})


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy with the modes that git does not keep."""
    folder = tmp_path / "golden"
    folder.mkdir(mode=0o700)
    for path in GOLDEN.iterdir():
        shutil.copyfile(path, folder / path.name)
        (folder / path.name).chmod(0o600)
    return folder


def test_version_1_files_open_for_ever(golden: Path) -> None:
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    by_passphrase, by_key_file = (golden_record(expected[name]) for name in ("by_passphrase", "by_key_file"))
    assert Vault(golden, PassphraseKey(expected["passphrase"])).get(by_passphrase.user) == by_passphrase
    assert Vault(golden, KeyFileKey(golden / "golden.key")).get(by_key_file.user) == by_key_file
    assert Vault(golden).users() == [by_passphrase.user, by_key_file.user]
    shutil.copyfile(golden / "bert_k-2.face", golden / "Anna.P.face")
    with pytest.raises(StoreIntegrityError):
        Vault(golden, KeyFileKey(golden / "golden.key")).get("Anna.P")


def test_the_golden_tool_never_overwrites() -> None:
    before = {path.name: path.read_bytes() for path in GOLDEN.iterdir()}
    tool = [sys.executable, str(ROOT / "tools" / "make_vault_golden.py")]
    result = subprocess.run(tool, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 1
    assert "never made again" in result.stderr
    assert {path.name: path.read_bytes() for path in GOLDEN.iterdir()} == before
