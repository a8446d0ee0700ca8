"""Whatever is put in place of a sealed file, a named error comes out and nobody is let in."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vault_tools import (
    CHEAP,
    CHECKSUM,
    KIND,
    RULES,
    SECTION,
    USER,
    Bench,
    assert_holds,
    disown,
    forge,
    make_record,
    section_end,
)  # fmt: skip

from facesdk.errors import (
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    PassphraseRequiredError,
    RollbackError,
    VaultError,
    VaultIntegrityError,
    VaultVersionError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey
from facesdk.vault.format import MAX_FILE_SIZE, parse_header


@pytest.fixture
def key(tmp_path: Path) -> KeyFileKey:
    return KeyFileKey.create(tmp_path / "vault.key")


@pytest.fixture
def bench(tmp_path: Path, key: KeyFileKey) -> Bench:
    """A vault with alice in it, her key open."""
    bench = Bench(tmp_path / "vault", key)
    bench.enroll()
    assert bench.attempt()
    return bench


def make_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


def refused(bench: Bench, error: Any, match: str | None = None, *, generation: int = 1) -> None:
    """Neither the key nor the open session opens, and the comparison is never reached."""
    for call in (
        bench.unlock,
        lambda: bench.vault.attempt(
            "alice", lambda _: pytest.fail("compared"), generation=generation, camera="c", label=""
        ),
    ):
        with pytest.raises(error, match=match):
            call()


# --- something else in place of the file


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "socket", "folder", "too long"])
def test_something_else_in_place_of_the_file(bench: Bench, tmp_path: Path, kind: str) -> None:
    path, aside = bench.path(), tmp_path / "aside"
    path.rename(aside)
    genuine = aside.read_bytes()
    actions: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to(aside),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "hard link": lambda: path.hardlink_to(aside),
        "fifo": lambda: os.mkfifo(path, 0o600),
        "socket": lambda: make_socket(path),
        "folder": lambda: path.mkdir(0o600),
        "too long": lambda: (path.touch(0o600), os.truncate(path, MAX_FILE_SIZE + 1)),
    }
    actions[kind]()
    refused(bench, VaultIntegrityError)
    assert bench.vault.folder.exists("alice")
    if kind == "folder":
        with pytest.raises(VaultError, match="folder"):
            bench.vault.remove("alice")
        return
    bench.vault.remove("alice")
    assert not bench.vault.folder.exists("alice")
    # The sealed file behind a link: a symlink's target is left alone, another name of the file is destroyed with it.
    assert (aside.read_bytes() == genuine) is (kind != "hard link")


@pytest.mark.parametrize("name", ["alice.audit", "head"])
@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "missing", "empty", "junk"])
def test_something_else_in_place_of_the_log_or_its_head(bench: Bench, tmp_path: Path, name: str, kind: str) -> None:
    path = next(bench.folder.glob("alice.head-*" if name == "head" else name))
    aside = tmp_path / "aside"
    path.rename(aside)
    actions: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to(aside),
        "hard link": lambda: path.hardlink_to(aside),
        "fifo": lambda: os.mkfifo(path, 0o600),
        "missing": lambda: None,
        "empty": lambda: path.touch(0o600),
        "junk": lambda: (path.write_bytes(b"x" * 86), path.chmod(0o600)),
    }
    actions[kind]()
    with pytest.raises(VaultIntegrityError):
        bench.unlock()
    path.unlink(missing_ok=True)
    aside.rename(path)
    bench.unlock()
    assert bench.attempt()


def test_remove_does_not_overwrite_a_foreign_file_through_a_hard_link(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"dear diary " * 100)
    bench.path().unlink()
    bench.path().hardlink_to(tmp_path / "letter")
    bench.vault.remove("alice")
    assert (tmp_path / "letter").read_bytes() == b"dear diary " * 100


def test_a_file_too_long_is_refused_unread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(bench.path(), MAX_FILE_SIZE + 1)

    read = os.read

    def unread(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".face"):
            raise AssertionError("the file was read")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", unread)
    with pytest.raises(VaultIntegrityError, match="at most"):
        bench.unlock()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_files_others_can_use_are_refused(bench: Bench, mode: int) -> None:
    for path in (bench.path(), bench.folder / "alice.audit", next(bench.folder.glob("alice.head-*"))):
        path.chmod(mode)
        with pytest.raises((VaultError, VaultIntegrityError), match=rf"chmod 600 {path.name}"):
            bench.unlock()
        path.chmod(0o600)
        bench.unlock()
    bench.path().chmod(mode)
    refused(bench, VaultError, "chmod 600 alice.face")


def test_a_file_of_somebody_else_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    disown(bench.path(), monkeypatch)
    with pytest.raises((VaultIntegrityError, VaultError), match=r"regular file of this user|belongs to"):
        bench.unlock()


def test_a_symlink_in_place_of_the_lock(bench: Bench, tmp_path: Path) -> None:
    lock = bench.folder / ".lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "created")
    with pytest.raises(VaultError, match="symlink"):
        bench.enroll(replace=True)
    refused(bench, VaultError, "symlink")
    assert not (tmp_path / "created").exists()


def test_enroll_refuses_a_symlink_and_never_writes_through_it(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    bench.path().unlink()
    bench.path().symlink_to(tmp_path / "target")
    with pytest.raises(VaultIntegrityError, match="not a regular file"):
        bench.enroll(replace=True)
    assert (tmp_path / "target").read_bytes() == b"precious"
    bench.vault.remove("alice")
    bench.enroll()
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert stat.S_ISREG(bench.path().lstat().st_mode)
    bench.unlock()


# --- altered bytes, seen through the provider and through the session


def test_bytes_flipped_under_an_open_session_and_for_the_provider(bench: Bench) -> None:
    genuine = bench.path().read_bytes()
    for position in range(0, len(genuine), 7):
        bench.path().write_bytes(genuine[:position] + bytes([genuine[position] ^ 0x40]) + genuine[position + 1 :])
        refused(bench, (VaultIntegrityError, VaultVersionError))
    bench.path().write_bytes(genuine)
    assert bench.attempt()
    bench.unlock()


def test_a_header_made_valid_again_is_refused_field_by_field(bench: Bench) -> None:
    genuine = bench.path().read_bytes()
    end = section_end(genuine)
    integrity, key_wanted = VaultIntegrityError, KeyUnavailableError
    # field: offset, what the provider's holder gets
    fields = {
        "kind": (KIND, key_wanted),
        "name": (USER, integrity),
        "salt": (SECTION, key_wanted),
        "key check": (SECTION + 16, key_wanted),
        "nonce of the key": (SECTION + 48, integrity),
        "wrapped key": (SECTION + 60, integrity),
        "key id": (end, key_wanted),
        "nonce of the data key": (end + 8, integrity),
        "wrapped data key": (end + 20, integrity),
        "nonce of the payload": (end + 68, integrity),
        "size": (end + 80, integrity),
    }
    for name, (offset, error) in fields.items():
        bench.path().write_bytes(forge(genuine, offset, bytes([genuine[offset] ^ 1])))
        with pytest.raises(error):
            bench.unlock()
        if name != "key id":
            with pytest.raises(VaultIntegrityError):
                bench.attempt()
    # The session of another key than the file's is closed.
    bench.path().write_bytes(forge(genuine, end, b"another!"))
    with pytest.raises(PassphraseRequiredError, match="sealed anew"):
        bench.attempt()
    bench.path().write_bytes(genuine)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt()
    bench.unlock()
    assert bench.attempt()


def test_the_error_after_a_wrong_key_leaves_a_trace(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        bench.unlock(key=KeyFileKey.create(tmp_path / "other.key"))
    assert bench.events()[-1] == "passphrase_refused"
    assert bench.attempt()


# --- files of other users, keys and times


def test_a_renamed_file_is_refused(bench: Bench) -> None:
    bench.path().rename(bench.path("mallory"))
    assert bench.vault.folder.users() == ["mallory"]
    with pytest.raises(VaultIntegrityError, match="sealed for 'alice'"):
        bench.unlock("mallory")


def test_a_copy_of_another_users_file_is_refused(bench: Bench) -> None:
    bench.enroll(make_record("bobby", seed=1))
    shutil.copyfile(bench.path("bobby"), bench.path())
    refused(bench, VaultIntegrityError, "sealed for 'bobby'")
    data = bench.path("bobby").read_bytes()
    bench.path().write_bytes(forge(data, USER, b"alice"))
    with pytest.raises(VaultIntegrityError, match="altered"):
        bench.unlock()


def test_a_section_moved_between_users_is_refused(bench: Bench) -> None:
    bench.enroll(make_record("bobby", seed=1))
    alice, bobby = bench.path().read_bytes(), bench.path("bobby").read_bytes()
    end = section_end(alice)
    bench.path().write_bytes(forge(alice, SECTION, bobby[SECTION:end]))
    refused(bench, VaultIntegrityError, "altered")
    bench.path().write_bytes(forge(alice, SECTION, bobby[SECTION : end + CHECKSUM])[: end + CHECKSUM + 32])
    with pytest.raises(VaultIntegrityError):
        bench.unlock()


def test_an_old_section_put_into_the_new_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    """Who knows the old passphrase has the key of its section, but the new file is bound to the new section."""
    old, new = PassphraseKey("old", **CHEAP), PassphraseKey("new", **CHEAP)
    bench.vault.rekey("alice", bench.key, old, rules=RULES)
    before = bench.path().read_bytes()
    bench.vault.rekey("alice", old, new, rules=RULES)
    after = bench.path().read_bytes()
    bench.path().write_bytes(forge(after, SECTION, before[SECTION : section_end(before)]))
    for key in (old, new):
        with pytest.raises((VaultIntegrityError, KeyUnavailableError)):
            bench.unlock(key=key)
    bench.path().write_bytes(after)
    bench.unlock(key=new)


def test_the_kind_of_key_needed_is_named(bench: Bench) -> None:
    with pytest.raises(KeyUnavailableError, match="sealed with a key file: give that, not a passphrase"):
        bench.unlock(key=PassphraseKey("x", **CHEAP))
    word = PassphraseKey("right", **CHEAP)
    bench.vault.rekey("alice", bench.key, word, rules=RULES)
    with pytest.raises(KeyUnavailableError, match="sealed with a passphrase: give that, not a key file"):
        bench.unlock()
    bench.unlock(key=word)


def test_an_old_file_put_back_under_an_open_session_is_a_rollback(bench: Bench) -> None:
    old = bench.path().read_bytes()
    bench.vault.rekey("alice", bench.key, bench.key, rules=RULES)
    assert bench.attempt()
    generation = bench.generation()
    newest = bench.path().read_bytes()
    bench.path().write_bytes(old)
    with pytest.raises(RollbackError, match="older file"):
        bench.attempt()
    # The key is gone: putting the newest file back does not help, the passphrase does.
    bench.path().write_bytes(newest)
    with pytest.raises(PassphraseRequiredError):
        bench.vault.attempt("alice", lambda _: True, generation=generation, camera="c", label="")
    bench.unlock()
    assert bench.attempt()


def test_a_file_replaced_under_an_open_session_needs_the_passphrase(bench: Bench, key: KeyFileKey) -> None:
    for change, reason in (
        (lambda b: b.vault.rekey("alice", key, key, rules=RULES), "sealed anew"),
        (lambda b: b.vault.renew("alice", key, rules=RULES), "sealed anew"),
        (lambda b: b.enroll(make_record(seed=1), replace=True), "sealed anew"),
    ):
        assert bench.attempt()
        change(Bench(bench.folder, key))
        with pytest.raises(PassphraseRequiredError, match=reason):
            bench.attempt()
        with pytest.raises(PassphraseRequiredError):
            bench.attempt()
        bench.unlock()


def test_a_probe_made_for_another_template_is_not_compared(bench: Bench) -> None:
    with pytest.raises(PassphraseRequiredError, match="sealed anew"):
        bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=2, camera="c", label="")
    assert bench.failures() == 0


# --- exported files


@pytest.fixture
def exported(bench: Bench) -> tuple[bytes, PassphraseKey]:
    recovery = PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)
    data = bench.vault.export("alice", bench.key, recovery)
    bench.unlock()
    return data, recovery


def test_an_exported_file_placed_as_a_template_is_refused(bench: Bench, exported: tuple[bytes, PassphraseKey]) -> None:
    data, recovery = exported
    assert parse_header(data).kind is KeyKind.RECOVERY
    bench.path().write_bytes(data)
    for key in (bench.key, PassphraseKey("over there", **CHEAP)):
        with pytest.raises(KeyUnavailableError, match="recovery passphrase"):
            bench.unlock(key=key)
    with pytest.raises(FaceSdkError):
        bench.unlock(key=recovery)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt()
    # Called a passphrase's file: then its wrap does not open.
    bench.path().write_bytes(forge(data, KIND, b"\1"))
    with pytest.raises(VaultIntegrityError):
        bench.unlock(key=PassphraseKey("over there", **CHEAP))


def test_an_exported_file_altered_in_any_byte_is_refused(
    bench: Bench, exported: tuple[bytes, PassphraseKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, recovery = exported
    bench.vault.import_(data, recovery, bench.key, replace=True, rules=RULES)
    kek = recovery.unwrap(parse_header(data).section, binding=parse_header(data).binding)
    copies = [bytes(memoryview(kek))]
    monkeypatch.setattr(recovery, "unwrap", lambda section, *, binding: type(kek).of(copies[0]))
    before = bench.path().read_bytes()
    for position in range(len(data)):
        altered = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises((VaultIntegrityError, VaultVersionError)):
            bench.vault.import_(altered, recovery, bench.key, replace=True, rules=RULES)
    assert bench.path().read_bytes() == before
    assert bench.attempt()


def test_only_a_recovery_key_exports_and_imports(bench: Bench, exported: tuple[bytes, PassphraseKey]) -> None:
    data, recovery = exported
    for key in (bench.key, PassphraseKey("x", **CHEAP)):
        with pytest.raises(InputError, match="recovery"):
            bench.vault.export("alice", bench.key, key)
        with pytest.raises(InputError, match="recovery"):
            bench.vault.import_(data, key, bench.key, replace=True, rules=RULES)
    # A template is no exported file.
    with pytest.raises(KeyUnavailableError, match="sealed with a key file"):
        bench.vault.import_(bench.path().read_bytes(), recovery, bench.key, replace=True, rules=RULES)


@pytest.mark.parametrize("call", ["enroll", "rekey", "import", "restart_log"])
def test_a_recovery_passphrase_never_seals_a_template(
    bench: Bench, exported: tuple[bytes, PassphraseKey], call: str
) -> None:
    data, recovery = exported
    calls: dict[str, Callable[[], object]] = {
        "enroll": lambda: bench.enroll(key=recovery, replace=True),
        "rekey": lambda: bench.vault.rekey("alice", bench.key, recovery, rules=RULES),
        "import": lambda: bench.vault.import_(data, recovery, recovery, replace=True, rules=RULES),
        "restart_log": lambda: (bench.path().write_bytes(data), bench.vault.restart_log("alice", recovery)),
    }
    with pytest.raises((InputError, KeyUnavailableError)):
        calls[call]()


# --- what is said


def test_no_error_and_no_repr_shows_a_secret(bench: Bench, key: KeyFileKey) -> None:
    record = make_record()
    held = bench.open_keys.load("alice")
    raw = bytes(memoryview(held.kek))
    texts = [repr(held), str(held), repr(bench.vault), repr(bench.vault.folder), repr(bench.open_keys), repr(held.kek)]
    genuine = bench.path().read_bytes()
    forged = forge(genuine, SECTION, b"xxxx"), forge(genuine, USER, b"bob\0\0")
    for data in (b"", genuine[:100], genuine[:-1] + b"x", *forged):
        bench.path().write_bytes(data)
        with pytest.raises(FaceSdkError) as caught:
            bench.unlock()
        texts += [str(caught.value), repr(caught.value)]
    bench.path().write_bytes(genuine)
    with bench.vault.opened("alice") as template:
        assert_holds(template, record)
        texts.append(repr(template))
        features = [f"{abs(value):.4f}"[1:] for array in (record.reference, template.reference) for value in array]
    secrets = [raw.hex()[:16], repr(raw)[2:14], *features]
    for text in texts:
        assert not any(secret in text for secret in secrets)
