"""A key in the desktop's keyring (extra `secret-service`): GNOME Keyring, KWallet, KeePassXC, by Secret Service.

A random 32-byte key is the secret of one item in the default collection, sent over the session bus encrypted (session
algorithm dh-ietf1024-sha256-aes128-cbc-pkcs7; a service that offers only plain text is refused). The section:

    offset size field
    0      16    item id: the item whose attributes are application "facesdk" and key "<these bytes in hexadecimal>"
    16     16    salt
    32     92    envelope under HKDF-SHA256(the item's secret, salt), see keys.py; associated: binding + bytes 0..31

Source: freedesktop.org, "Secret Service API Draft 0.2". secretstorage copies the item's secret within Python's memory,
where it cannot be wiped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from facesdk._core import Secret, wipe
from facesdk.errors import KeyUnavailableError, PassphraseRequiredError, Reason, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.keys.provider import (
    DERIVED_SIZE,
    ENVELOPE_SIZE,
    KEY_SIZE,
    NONCE_SIZE,
    SALT_SIZE,
    Counter,
    KeyKind,
    open_envelope,
    random_secret,
    seal_envelope,
)  # fmt: skip

if TYPE_CHECKING:
    from jeepney.io.blocking import DBusConnection
    from secretstorage import Collection, Item

ID_SIZE = 16
SECTION_SIZE = ID_SIZE + SALT_SIZE + ENVELOPE_SIZE
_HKDF_INFO = b"facesdk vault 2 secret service"
_REPLY_S = 30.0
_LABEL = "facesdk: key of a face template"
_UNLOCK = "unlock the desktop keyring and try again"


class SecretServiceKey:
    """Wraps with a key that the desktop's keyring keeps. A convenience: the keyring opens when its owner logs in.

    An operation may start the keyring's service, and never asks the person: a locked keyring is an error.
    """

    kind = KeyKind.SECRET_SERVICE
    stops = "other users of this machine, and who copies the disk without the password of the desktop's keyring"
    does_not_stop = (
        "every program of the same user while the keyring is unlocked; an older file put back; root while it is open"
    )

    def __init__(self) -> None:
        self._forgotten = False

    def check(self) -> None:
        """As in KeyProvider; no secret is held here."""
        if self._forgotten:
            raise PassphraseRequiredError(Reason.FORGOTTEN)

    def wrap(self, kek: Secret, *, binding: bytes, keep: bytes | None = None) -> bytes:
        """The id of a new item, a fresh salt and the wrapped KEK; `keep` goes on with the item of the old section."""
        self.check()
        kept = None if keep is None else _parse(keep)[0]
        salt = os.urandom(SALT_SIZE)
        with _Keyring.opened() as keyring:
            name = kept if kept is not None and keyring.items(kept) else keyring.create()
            with keyring.secret(name) as secret, _derived(secret, salt) as derived:
                self.check()
                envelope = seal_envelope(derived, kek, aad=binding + name + salt, nonce=os.urandom(NONCE_SIZE))
        return name + salt + envelope

    def unwrap(self, section: bytes, *, binding: bytes) -> Secret:
        """The KEK. KeyUnavailableError: no keyring, a locked one, or the item is gone; and as in KeyProvider."""
        self.check()
        name, salt, envelope = _parse(section)
        with _Keyring.opened() as keyring, keyring.secret(name) as secret, _derived(secret, salt) as derived:
            return open_envelope(derived, envelope, aad=binding + name + salt, label=self.kind.label)

    def counter(self, section: bytes) -> Counter | None:
        """None: nothing outside the file counts."""
        return None

    def destroy(self, section: bytes) -> None:
        """Deletes the section's item; nothing happens when it is gone. KeyUnavailableError for a locked keyring."""
        name = _parse(section)[0]
        with _Keyring.opened() as keyring:
            for item in keyring.items(name):
                item.delete()

    def forget(self) -> None:
        """No secret is held here; wrap and unwrap raise PassphraseRequiredError all the same."""
        self._forgotten = True

    def __repr__(self) -> str:
        return "SecretServiceKey()"


class _Keyring:
    """The default collection during one operation."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[_Keyring]:
        """The unlocked default collection; every error of the bus and the service is a KeyUnavailableError."""
        try:
            import secretstorage
            from jeepney import DBusErrorResponse
            from secretstorage.util import open_session
        except ImportError as error:
            raise KeyUnavailableError(
                "the desktop's keyring needs a package", hint="`pip install facesdk-unlock[secret-service]`"
            ) from error
        try:
            with closing(_connected()) as connection:
                # secretstorage waits for ever; a service that hangs must not hang its callers.
                connection.send_and_get_reply = partial(connection.send_and_get_reply, timeout=_REPLY_S)
                session = open_session(connection)
                if not session.encrypted:
                    raise KeyUnavailableError(
                        "the keyring's service takes secrets in plain text only", hint="seal with another kind of key"
                    )
                collection = secretstorage.get_collection_by_alias(connection, "default")
                collection.session = session
                if collection.is_locked():
                    raise KeyUnavailableError("the desktop keyring is locked", hint=_UNLOCK)
                yield cls(collection)
        except secretstorage.ItemNotFoundException as error:
            raise KeyUnavailableError(
                "there is no default keyring", hint="log in to the desktop, or make one in its password program"
            ) from error
        except secretstorage.LockedException as error:
            raise KeyUnavailableError("the desktop keyring was locked", hint=_UNLOCK) from error
        except (secretstorage.SecretStorageException, DBusErrorResponse, OSError, EOFError) as error:
            raise KeyUnavailableError(
                f"the desktop's keyring cannot be reached ({type(error).__name__})",
                hint="run in the desktop's session (DBUS_SESSION_BUS_ADDRESS), with gnome-keyring or another Secret"
                " Service running",
            ) from error

    def items(self, name: bytes) -> list[Item]:
        """The items with this id: none, one, or more if somebody copied it."""
        return list(self._collection.search_items(_attributes(name)))

    def create(self) -> bytes:
        """The id of a new item with a random secret."""
        name = os.urandom(ID_SIZE)
        with random_secret(KEY_SIZE) as secret:
            copy = bytes(secret)
            self._collection.create_item(_LABEL, _attributes(name), copy, content_type="application/octet-stream")
            wipe(copy)
        return name

    def secret(self, name: bytes) -> Secret:
        """The secret of the item with this id. KeyUnavailableError when there is none."""
        items = self.items(name)
        if not items:
            raise KeyUnavailableError(
                "the key is not in the desktop's keyring: it was deleted, or the file comes from another machine",
                hint="put the keyring back from a backup; where there is none, remove the user and enroll again",
            )
        value = items[0].get_secret()
        try:
            if len(value) != KEY_SIZE:
                raise KeyUnavailableError(
                    "the key in the desktop's keyring was replaced by something else",
                    hint="put the keyring back from a backup",
                )
            return Secret.of(value)
        finally:
            wipe(value)


def _connected() -> DBusConnection:
    """The session bus; secretstorage's own error also for addresses that are not UNIX sockets."""
    import secretstorage

    try:
        return secretstorage.dbus_init()
    except RuntimeError as error:
        raise secretstorage.SecretServiceNotAvailableException(str(error)) from error


def _attributes(name: bytes) -> dict[str, str]:
    return {"application": "facesdk", "key": name.hex()}


def _derived(secret: Secret, salt: bytes) -> Secret:
    return crypto.hkdf_sha256(secret, salt, info=_HKDF_INFO, size=DERIVED_SIZE)


def _parse(section: bytes) -> tuple[bytes, bytes, bytes]:
    """Item id, salt and envelope. VaultIntegrityError."""
    if len(section) != SECTION_SIZE:
        raise VaultIntegrityError(f"the key section has {len(section)} bytes, {SECTION_SIZE} were expected")
    return section[:ID_SIZE], section[ID_SIZE : ID_SIZE + SALT_SIZE], section[ID_SIZE + SALT_SIZE :]
