"""vault.keys.secret_service on a real gnome-keyring-daemon, on a message bus and in a home folder of its own."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.forgetting import OPERATIONS, Trial, in_a_child, under_a_forgetting_thread

from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, VaultIntegrityError
from facesdk.vault.keys.provider import KeyKind, KeyProvider
from facesdk.vault.keys.secret_service import ID_SIZE, SECTION_SIZE, SecretServiceKey

secretstorage = pytest.importorskip("secretstorage", reason="pip install 'facesdk-unlock[secret-service]'")
MISSING = [p for p in ("dbus-daemon", "gnome-keyring-daemon") if shutil.which(p) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING} (apt: dbus gnome-keyring)")

KEK = bytes(range(32))
BINDING = b"header of ada's file"
# A bus that starts no services by itself: the desktop of whoever runs the tests is not touched.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""


class Desktop:
    """A session bus and a keyring daemon, whose login keyring opens with the password "desktop"."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="keyring-"))
        self.address = f"unix:path={self._home}/bus"
        self._daemon: subprocess.Popen[bytes] | None = None
        (self._home / "bus.conf").write_text(BUS.format(self._home / "bus"))
        self._bus = self._run("dbus-daemon", f"--config-file={self._home}/bus.conf", "--nofork")
        wait_for((self._home / "bus").exists)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        kept = {"PATH": os.environ["PATH"], "HOME": str(self._home), "DBUS_SESSION_BUS_ADDRESS": self.address}
        folders = {f"XDG_{name}": str(self._home) for name in ("DATA_HOME", "RUNTIME_DIR", "CACHE_HOME", "CONFIG_HOME")}
        return subprocess.Popen(
            command, env=kept | folders, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Runs the keyring daemon, unlocked as a login does it."""
        self._daemon = self._run("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
        assert self._daemon.stdin is not None
        with self._daemon.stdin as password:
            password.write(b"desktop")
        wait_for(self._has_default)

    def _has_default(self) -> bool:
        with contextlib.suppress(secretstorage.SecretStorageException), self.collection():
            return True
        return False

    @contextlib.contextmanager
    def collection(self) -> Iterator[secretstorage.Collection]:
        """The default collection, to look and to meddle."""
        with contextlib.closing(secretstorage.dbus_init()) as connection:
            yield secretstorage.get_collection_by_alias(connection, "default")

    def stop(self) -> None:
        """Ends the daemon; what it stored stays."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()
            self._daemon = None

    def close(self) -> None:
        """Ends everything and removes the home folder."""
        self.stop()
        self._bus.terminate()
        self._bus.communicate()
        shutil.rmtree(self._home, ignore_errors=True)


def wait_for(done: object, *, limit_s: float = 10) -> None:
    """Returns once `done` says True; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while not done():  # type: ignore[operator]
        if time.monotonic() > end:
            pytest.fail(f"nothing came within {limit_s} s")
        time.sleep(0.01)


@pytest.fixture(scope="module")
def running() -> Iterator[Desktop]:
    with pytest.MonkeyPatch.context() as patch:
        started = Desktop()
        patch.setenv("DBUS_SESSION_BUS_ADDRESS", started.address)
        try:
            started.start()
            yield started
        finally:
            started.close()


@pytest.fixture
def desktop(running: Desktop) -> Iterator[Desktop]:
    """The module's desktop, with an open keyring and no items."""
    with running.collection() as collection:
        assert not collection.is_locked()
        assert list(collection.get_all_items()) == []
    yield running
    with running.collection() as collection:
        locked = collection.is_locked()
    if locked:
        running.stop()
        running.start()
    with running.collection() as collection:
        for item in collection.get_all_items():
            item.delete()


def wrapped(key: SecretServiceKey, **options: bytes) -> bytes:
    with Secret.of(KEK) as kek:
        return key.wrap(kek, binding=BINDING, **options)


def opens(key: SecretServiceKey, section: bytes, *, binding: bytes = BINDING) -> bool:
    with key.unwrap(section, binding=binding) as kek:
        assert bytes(kek) == KEK
    return True


def items(desktop: Desktop) -> list[dict[str, str]]:
    with desktop.collection() as collection:
        return [item.get_attributes() for item in collection.get_all_items()]


def test_round_trip(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert len(section) == SECTION_SIZE
    assert KEK not in section
    assert opens(key, section)
    assert opens(SecretServiceKey(), section)
    assert [i["key"] for i in items(desktop)] == [section[:ID_SIZE].hex()]


def test_is_a_provider() -> None:
    key: KeyProvider = SecretServiceKey()
    assert key.kind is KeyKind.SECRET_SERVICE
    assert key.stops
    assert key.does_not_stop
    assert key.counter(b"") is None


def test_survives_a_new_login(desktop: Desktop) -> None:
    section = wrapped(SecretServiceKey())
    desktop.stop()
    desktop.start()
    assert opens(SecretServiceKey(), section)


def test_every_flipped_byte_is_refused(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    for at in range(len(section)):
        damaged = bytearray(section)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises((KeyUnavailableError, VaultIntegrityError)):
            key.unwrap(bytes(damaged), binding=BINDING)
    assert opens(key, section)


def test_wrong_sizes_are_refused(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    for wrong in (b"", section[:-1], section + b"\0"):
        for use in (lambda s: key.unwrap(s, binding=BINDING), key.destroy):
            with pytest.raises(VaultIntegrityError):
                use(wrong)


def test_section_of_another_file_is_refused(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    with pytest.raises(VaultIntegrityError):
        key.unwrap(section, binding=b"header of bob's file")


def test_deleted_item_is_told(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section, other = wrapped(key), wrapped(key)
    assert opens(key, section)
    with desktop.collection() as collection:
        for item in collection.search_items({"key": section[:ID_SIZE].hex()}):
            item.delete()
    with pytest.raises(KeyUnavailableError, match="not in the desktop's keyring"):
        opens(key, section)
    assert opens(key, other)


@pytest.mark.parametrize(("secret", "named"), [(bytes(32), "wrong key"), (b"short", "replaced"), (b"", "replaced")])
def test_replaced_secret_is_refused(desktop: Desktop, secret: bytes, named: str) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    with desktop.collection() as collection:
        for item in collection.search_items({"key": section[:ID_SIZE].hex()}):
            item.set_secret(secret)
    with pytest.raises(KeyUnavailableError, match=named):
        opens(key, section)


def test_moved_item_id_is_refused(desktop: Desktop) -> None:
    """The id of one file's item in the section of another."""
    key = SecretServiceKey()
    section, other = wrapped(key), wrapped(key)
    assert opens(key, section)
    assert opens(key, other)
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        opens(key, other[:ID_SIZE] + section[ID_SIZE:])


def test_locked_keyring_is_told(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    with desktop.collection() as collection:
        collection.lock()
    for use in (lambda: opens(key, section), lambda: wrapped(key), lambda: key.destroy(section)):
        with pytest.raises(KeyUnavailableError, match="unlock the desktop keyring"):
            use()
    desktop.stop()
    desktop.start()
    assert opens(key, section)


def test_no_service_is_told(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    section = wrapped(SecretServiceKey())
    assert opens(SecretServiceKey(), section)
    desktop.stop()
    try:
        with pytest.raises(KeyUnavailableError, match="cannot be reached"):
            opens(SecretServiceKey(), section)
    finally:
        desktop.start()


@pytest.mark.parametrize("address", [None, "", "unix:path=/nowhere/bus", "tcp:host=127.0.0.1,port=1", "nonsense"])
def test_no_bus_is_told(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    with pytest.raises(KeyUnavailableError, match="cannot be reached"):
        wrapped(SecretServiceKey())


def test_plain_sessions_are_refused(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SecretServiceKey()
    assert opens(key, wrapped(key))
    monkeypatch.setattr("secretstorage.util.ALGORITHM_DH", "unknown")
    with pytest.raises(KeyUnavailableError, match="plain text"):
        wrapped(key)


def test_keep_goes_on_with_the_item(desktop: Desktop) -> None:
    key = SecretServiceKey()
    old = wrapped(key)
    new = wrapped(key, keep=old)
    assert opens(key, old)
    assert opens(key, new)
    assert old[ID_SIZE:] != new[ID_SIZE:]
    assert len(items(desktop)) == 1
    key.destroy(old)
    assert opens(key, wrapped(key, keep=old)), "a kept item that is gone is made anew"


def test_destroy_deletes_the_item(desktop: Desktop) -> None:
    key = SecretServiceKey()
    first, second = wrapped(key), wrapped(key)
    key.destroy(first)
    key.destroy(first)
    with pytest.raises(KeyUnavailableError, match="not in the desktop's keyring"):
        opens(key, first)
    assert opens(key, second)
    assert len(items(desktop)) == 1


def test_forget(desktop: Desktop) -> None:
    key = SecretServiceKey()
    section = wrapped(key)
    assert opens(key, section)
    key.forget()
    for use in (lambda: opens(key, section), lambda: wrapped(key)):
        with pytest.raises(PassphraseRequiredError):
            use()


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "secretstorage", None)
    with pytest.raises(KeyUnavailableError, match="pip install"):
        wrapped(SecretServiceKey())


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("how", ["child", "forgetting thread"])
def test_what_is_sealed_while_the_key_goes_away(desktop: Desktop, tmp_path: Path, operation: str, how: str) -> None:
    """No secret is held here: a child asks the keyring as its parent does, and a forgotten key seals nothing more."""
    rng = random.Random(operation)
    for number in range(3):
        trial = Trial(tmp_path / str(number), operation, SecretServiceKey, list)
        if how == "child":
            done = in_a_child(trial)
            assert done is (operation not in ("import", "rekey"))  # those need a passphrase of the parent's too
        else:
            done = under_a_forgetting_thread(trial, within_s=0.03, rng=rng)
        assert trial.fault(done) == ""
        trial.clear()
