"""Secrets handed over: private files, credentials with an access list, pipes, sockets, terminals and descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import shutil
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import places_tools
import pytest
from faults.places import as_nobody

from facesdk.errors import FaceSdkError, InputError, KeyUnavailableError
from facesdk.vault import KeyFileKey
from facesdk.vault.keys import secret_file, terminal
from facesdk.vault.keys.passphrase import PassphraseKey, read_passphrase
from facesdk.vault.keys.tpm import TpmKey

root = places_tools.root
WORDS = b"some words to open it"
NOBODY = 65534
needs_acl = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setfacl") is None, reason="a credential of root's needs root and setfacl"
)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_bytes(WORDS)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def piped(*pieces: bytes, gap_s: float = 0.0) -> Iterator[int]:
    """The end to read of a pipe, into which the pieces are written; then its other end is closed."""
    reader, writer = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(writer, piece)
            time.sleep(gap_s)
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield reader
    finally:
        thread.join()
        os.close(reader)


# --- files


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o711])
def test_private_files(words: Path, mode: int) -> None:
    words.chmod(mode)
    assert read_passphrase(words) == WORDS.decode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_files_that_others_can_use(words: Path, mode: int) -> None:
    words.chmod(mode)
    with pytest.raises(KeyUnavailableError, match="can be used by others") as caught:
        read_passphrase(words)
    assert caught.value.hint == f"run `chmod 600 {words}`"


def acl(path: Path, entries: str) -> None:
    subprocess.run(["setfacl", "-m", entries, path], check=True)


@needs_acl
def test_a_credential_of_the_service_manager(root: Path) -> None:
    """Root's file, mode 0400, and an entry for the service's user: stat shows 0440, which is the mask."""
    path = root / "credential"

    def found(mode: int, entries: str, *, owner: int = 0) -> dict[str, object]:
        path.unlink(missing_ok=True)
        path.write_bytes(WORDS)
        os.chown(path, owner, owner)
        path.chmod(mode)
        if entries:
            acl(path, entries)
        return as_nobody(lambda: read_passphrase(path))

    assert found(0o400, f"u:{NOBODY}:r") == {"result": WORDS.decode()}
    assert path.stat().st_mode & 0o777 == 0o440
    assert found(0o400, f"u:{NOBODY}:r,u:0:rw") == {"result": WORDS.decode()}
    assert found(0o400, "u:1234:---", owner=NOBODY) == {"result": WORDS.decode()}
    for mode, entries, owner in (
        (0o440, f"u:{NOBODY}:r", 0),  # the group too
        (0o404, f"u:{NOBODY}:r", 0),  # everybody
        (0o400, f"u:{NOBODY}:r,u:1234:r", 0),  # another user
        (0o400, f"u:{NOBODY}:r,g:1234:r", 0),  # another group
        (0o600, f"u:{NOBODY}:r,g:1234:w", 0),  # who may write may choose the passphrase
        (0o440, "", NOBODY),
        (0o400, f"u:{NOBODY}:r", 1234),  # its owner knows it
    ):
        said = found(mode, entries, owner=owner)
        assert said.get("error") == "KeyUnavailableError", (mode, entries, owner, said)
        assert "some words" not in str(said)
    refused = found(0o400, f"u:{NOBODY}:r,u:1234:r")
    assert "setfacl -b" in str(refused["message"])


@needs_acl
def test_a_key_file_with_an_access_list(tmp_path: Path) -> None:
    path = tmp_path / "key"
    KeyFileKey.create(path)
    acl(path, "u:0:r")
    KeyFileKey(path)
    acl(path, "u:1234:x")
    with pytest.raises(KeyUnavailableError, match="access list"):
        KeyFileKey(path)


# --- pipes, sockets, descriptors


def test_a_pipe_by_number_and_by_path() -> None:
    for source in (lambda fd: fd, lambda fd: f"/dev/fd/{fd}", lambda fd: Path(f"/proc/self/fd/{fd}")):
        with piped(WORDS[:5], WORDS[5:], b"\n", gap_s=0.05) as reader:
            assert read_passphrase(source(reader)) == WORDS.decode()


def test_a_pipe_whose_writer_ended_before() -> None:
    with piped(WORDS) as reader:
        time.sleep(0.1)
        assert read_passphrase(f"/dev/fd/{reader}") == WORDS.decode()


def test_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(WORDS)
        theirs.shutdown(socket.SHUT_WR)
        assert read_passphrase(ours.fileno()) == WORDS.decode()


def test_a_file_by_its_descriptor(words: Path) -> None:
    with open(words, "rb") as file:
        assert read_passphrase(file.fileno()) == WORDS.decode()
    words.chmod(0o644)
    with open(words, "rb") as file:
        with pytest.raises(KeyUnavailableError, match="used by others"):
            read_passphrase(file.fileno())
        words.unlink()  # nobody can open it any more
        assert read_passphrase(file.fileno()) == WORDS.decode()


def test_a_named_pipe_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    writer = threading.Thread(target=path.write_bytes, args=(WORDS,))
    writer.start()
    assert read_passphrase(path) == WORDS.decode()
    writer.join()
    path.chmod(0o644)
    with pytest.raises(KeyUnavailableError, match="used by others"):
        read_passphrase(path)


def test_pipes_that_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_file, "STREAM_TIMEOUT_S", 0.2)
    os.mkfifo(tmp_path / "nobody", 0o600)
    reader, writer = os.pipe()
    os.write(writer, WORDS)
    for source in (tmp_path / "nobody", reader):
        start = time.monotonic()
        with pytest.raises(KeyUnavailableError, match="did not end within"):
            read_passphrase(source)
        assert time.monotonic() - start < 5
    os.close(writer)
    os.close(reader)


def test_what_is_too_long_or_empty() -> None:
    with piped(b"x" * 4096) as reader:
        assert read_passphrase(reader) == "x" * 4096
    with piped(b"x" * 4097) as reader, pytest.raises(KeyUnavailableError, match="longer than 4096"):
        read_passphrase(reader)
    with piped() as reader, pytest.raises(InputError, match="must have"):
        PassphraseKey(read_passphrase(reader))


def test_a_terminal_is_asked_without_echo() -> None:
    primary, secondary = pty.openpty()
    os.write(primary, WORDS + b"\n")
    assert read_passphrase(secondary) == WORDS.decode()
    os.write(primary, WORDS + b"\n")
    assert read_passphrase(os.ttyname(secondary)) == WORDS.decode()
    os.close(primary)
    with pytest.raises(FaceSdkError):
        read_passphrase(secondary)
    os.close(secondary)


def test_what_is_none_of_these(tmp_path: Path) -> None:
    for source, message in (
        (tmp_path, "neither a file"),
        ("/dev/null", "neither a file"),
        (tmp_path / "none", "cannot open"),
    ):
        with pytest.raises(KeyUnavailableError, match=message) as caught:
            read_passphrase(source)
        assert caught.value.hint
        assert "enroll" not in caught.value.hint
    with open("/dev/null", "wb") as closed:
        number = closed.fileno()
    with pytest.raises(InputError, match="not open"):
        read_passphrase(number)


def test_key_files_are_files_alone(tmp_path: Path) -> None:
    KeyFileKey.create(tmp_path / "key")
    content = (tmp_path / "key").read_bytes()
    with piped(content) as reader, pytest.raises(KeyUnavailableError, match="symlink"):
        KeyFileKey(f"/dev/fd/{reader}")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyUnavailableError, match="not a regular file"):
        KeyFileKey(tmp_path / "pipe")


# --- what is left of them


def failures(tmp_path: Path, words: Path) -> dict[str, Callable[[], object]]:
    def typed() -> object:
        primary, secondary = pty.openpty()
        os.write(primary, WORDS + b"\x04\x04\x04")
        try:
            return terminal.read_line(secondary, "passphrase: ", echo=False)
        finally:
            os.close(primary)
            os.close(secondary)

    def streamed() -> object:
        with piped(WORDS + b"x" * 4096) as reader:
            return read_passphrase(reader)

    def too_long() -> object:
        words.write_bytes(WORDS * 200)
        return read_passphrase(words)

    def of_a_tpm() -> object:
        return TpmKey(WORDS.decode(), pcrs=(99,))

    def of_a_key_file() -> object:
        return KeyFileKey(words)

    def broken_disk() -> object:
        def half(descriptor: int, size: int, *, _read: Callable[[int, int], bytes] = os.read) -> bytes:
            if found := _read(descriptor, 24):
                return found
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "read", half)
            return read_passphrase(words)

    return {
        "typed": typed, "streamed": streamed, "too long": too_long, "TPM": of_a_tpm, "key file": of_a_key_file,
        "broken disk": broken_disk,
    }  # fmt: skip


@pytest.mark.parametrize("how", ["typed", "streamed", "too long", "TPM", "key file", "broken disk"])
def test_no_local_variable_of_a_failure_holds_any_of_it(tmp_path: Path, words: Path, how: str) -> None:
    with pytest.raises(FaceSdkError) as caught:
        failures(tmp_path, words)[how]()
    package = os.path.dirname(secret_file.__file__)
    inner = [f for f, _ in traceback.walk_tb(caught.value.__traceback__) if f.f_code.co_filename.startswith(package)]
    assert inner
    assert not [v for frame in inner for v in frame.f_locals.values() if "words to open" in repr(v)]
    assert "words to open" not in str(caught.value)
