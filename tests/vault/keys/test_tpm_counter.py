"""The TPM's counter of a file: it only goes up, no other index takes its place, and it is given back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import tpm_key_tools
from tpm_key_tools import COUNTER, PARENT, counter_of, failures, index_of, key_for, opens, wrapped
from tpm_tools import SoftwareTpm
from vault_tools import make_record

from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError
from facesdk.vault import ProcessOpenKeys, Vault, VaultFolder, crypto
from facesdk.vault.keys.tpm import TpmKey
from facesdk.vault.keys.tpm_section import NV_INDICES
from facesdk.vault.rules import PRESETS

pytestmark = tpm_key_tools.needs_tpm
running, tpm, another = tpm_key_tools.running, tpm_key_tools.tpm, tpm_key_tools.another
COUNTER_ATTRIBUTES = "authread|authwrite|no_da|nt=counter"


def define(tpm: SoftwareTpm, index: str, attributes: str, auth: str, *, size: int = 8) -> None:
    """What root can do with the owner's empty password: an NV index as wanted."""
    tpm.run("tpm2_nvdefine", "-C", "o", "-s", str(size), "-p", f"hex:{auth}", "-a", attributes, index)


def raising(error: Exception) -> Callable[..., Secret]:
    def call(*_arguments: object, **_options: object) -> Secret:
        raise error

    return call


@pytest.mark.parametrize("at", [COUNTER + 4, PARENT - 1])
def test_changed_counter_authorization_is_refused(tpm: SoftwareTpm, at: int) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert counter_of(key, section).read() > 0
    damaged = section[:at] + bytes([section[at] ^ 1]) + section[at + 1 :]
    with pytest.raises(KeyUnavailableError, match="not the counter of this file"):
        counter_of(key, damaged).read()
    with pytest.raises(KeyUnavailableError, match="not the counter of this file"):
        key.destroy(damaged)
    assert counter_of(key, section).read() > 0
    assert failures(tpm) == 0


def test_counter_only_goes_up(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    counter = counter_of(key, section)
    first = counter.read()
    assert [counter.increment() for _ in range(5)] == [first + n for n in range(1, 6)]
    assert counter.read() == first + 5
    assert key_for(tpm, counter=False).counter(wrapped(key_for(tpm, counter=False))) is None


def test_counter_and_key_survive_restarts(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    counter = counter_of(key, section)
    for stop in (tpm.shutdown, tpm.stop):
        value = counter.increment()
        stop()
        tpm.start()
        assert counter.read() == value
        assert opens(key, section)


def test_removed_counter_does_not_start_again_lower(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    highest = [counter_of(key, section).increment() for _ in range(7)][-1]
    key.destroy(section)
    with pytest.raises(KeyUnavailableError, match="gone"):
        counter_of(key, section).read()
    # root defines it again at the same place, with the authorization from the file
    auth = section[COUNTER + 4 : PARENT].hex()
    define(tpm, index_of(section), COUNTER_ATTRIBUTES, auth)
    tpm.run("tpm2_nvincrement", "-P", f"hex:{auth}", index_of(section))
    assert counter_of(key, section).read() > highest


def test_ordinary_index_in_place_of_the_counter_is_refused(tpm: SoftwareTpm, tmp_path: Path) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert counter_of(key, section).read() > 0
    key.destroy(section)
    auth = section[COUNTER + 4 : PARENT].hex()
    define(tpm, index_of(section), "authread|authwrite|no_da", auth)
    (tmp_path / "low").write_bytes(bytes(7) + b"\1")
    tpm.run("tpm2_nvwrite", "-P", f"hex:{auth}", "-i", str(tmp_path / "low"), index_of(section))
    with pytest.raises(KeyUnavailableError, match="replaced"):
        counter_of(key, section).read()


def test_changing_the_passphrase_keeps_the_counter(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    old = wrapped(key)
    value = counter_of(key, old).increment()
    changed = key_for(tpm, "another one")
    new = wrapped(changed, keep=old)
    assert opens(changed, new)
    assert index_of(new) == index_of(old)
    assert counter_of(changed, new).read() == value
    assert len(tpm.handles()["nv-index"]) == 1
    with_counter = wrapped(changed, keep=wrapped(key_for(tpm, counter=False)))
    assert counter_of(changed, with_counter).read() > 0
    assert index_of(with_counter) != index_of(new)


def test_destroy_frees_the_index(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    first, second = wrapped(key), wrapped(key)
    assert len(tpm.handles()["nv-index"]) == 2
    forgotten = key_for(tpm, None)
    forgotten.destroy(first)
    forgotten.destroy(first)
    assert tpm.handles()["nv-index"] == [f"0x{int(index_of(second), 0):X}"]
    assert counter_of(key, second).read() > 0
    assert opens(key, second)


def test_who_removes_without_reaching_the_tpm_is_told_what_stays(tpm: SoftwareTpm, tmp_path: Path) -> None:
    """The template goes all the same; the index is named, with what frees it."""
    key = key_for(tpm)
    vault = Vault(VaultFolder(tmp_path / "vault"), ProcessOpenKeys())
    vault.enroll(make_record(), key, replace=False, rules=PRESETS["phone"])
    index = tpm.handles()["nv-index"][-1].lower()
    with pytest.raises(KeyUnavailableError) as caught:
        vault.remove("alice", TpmKey(None, tcti="swtpm:host=127.0.0.1,port=1"))
    assert caught.value.message.startswith("'alice' is removed, but ")
    assert index in caught.value.message
    assert f"tpm2_nvundefine {index}" in str(caught.value.hint)
    assert not vault.folder.exists("alice")
    tpm.run("tpm2_nvundefine", index)
    assert index not in map(str.lower, tpm.handles().get("nv-index", []))


def test_a_full_tpm_says_so_and_keeps_nothing(another: SoftwareTpm) -> None:
    key = key_for(another)
    assert opens(key, wrapped(key))
    index = NV_INDICES.stop
    # Counters have space of their own, which ordinary indices may not take.
    for size, attributes in ((2048, "authread|authwrite"), (256, "authread|authwrite"), (8, COUNTER_ATTRIBUTES)):
        with contextlib.suppress(RuntimeError):
            while index < NV_INDICES.stop + 150:
                define(another, hex(index), attributes, "00", size=size)
                index += 1
    full = another.handles()
    with pytest.raises(KeyUnavailableError, match="no room"):
        wrapped(key)
    assert another.handles() == full
    assert opens(key, wrapped(key_for(another, counter=False)))


def test_failed_wrap_gives_the_counter_back(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_for(tpm)
    monkeypatch.setattr(crypto, "argon2id", raising(MemoryError()))
    with pytest.raises(MemoryError):
        wrapped(key)
    assert tpm.handles()["nv-index"] == []
