"""Key files: made once, read privately, refused where anybody else could use or change them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import key_tools
import pytest
from key_tools import BINDING, same
from vault_tools import disown, failing_with, mode_of

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, VaultError
from facesdk.vault import KeyFileKey

kek = key_tools.kek


def test_key_file_round_trip(tmp_path: Path, kek: Secret) -> None:
    path = tmp_path / "vault.key"
    section = KeyFileKey.create(path).wrap(kek, binding=BINDING)
    content = path.read_text()
    assert content.startswith("facesdk-key-1:")
    assert content.endswith("=\n")
    assert mode_of(path) == 0o600
    assert same(KeyFileKey(path).unwrap(section, binding=BINDING), kek)
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(path)
    assert path.read_text() == content


def test_key_file_create_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VaultError) as caught:
        KeyFileKey.create(tmp_path / "missing" / "vault.key")
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists already"):
        KeyFileKey.create(tmp_path / "dangling")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_with(errno.ENOSPC))
        with pytest.raises(VaultError, match="free some space"):
            KeyFileKey.create(tmp_path / "vault.key")
    assert os.listdir(tmp_path) == ["dangling"]


@pytest.mark.parametrize(
    "change",
    [
        lambda line: b"",
        lambda line: line[:-1],
        lambda line: line + b"\n",
        lambda line: line.replace(b"key-1", b"key-2"),
        lambda line: line[:20] + b"!" + line[21:],
        lambda line: line[:30] + b"\n",
        # The last digit has four bits of the key and two that must be zero.
        lambda line: line[:-3] + bytes([line[-3] + 1]) + line[-2:],
        lambda line: line.replace(b"=", b""),
        lambda line: bytes(32),
    ],
)
def test_damaged_key_files(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    KeyFileKey(path)
    content = path.read_bytes()
    path.write_bytes(change(content))
    with pytest.raises(KeyUnavailableError) as caught:
        KeyFileKey(path)
    assert content[14:30].decode() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o666])
def test_key_files_others_can_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    path.chmod(mode)
    with pytest.raises(KeyUnavailableError, match=r"chmod 600 .*vault\.key"):
        KeyFileKey(path)
    path.chmod(0o400)
    KeyFileKey(path)


def test_key_files_that_are_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vault.key"
    KeyFileKey.create(path)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name, message in (("link", "symlink"), ("fifo", "regular"), ("folder", "regular"), ("missing", "cannot open")):
        with pytest.raises(KeyUnavailableError, match=message):
            KeyFileKey(tmp_path / name)
    KeyFileKey(path)
    disown(path, monkeypatch)
    with pytest.raises(KeyUnavailableError, match="belongs to user id"):
        KeyFileKey(path)
