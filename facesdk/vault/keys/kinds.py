"""The providers by kind: which one opens a file, what it stops, and which removes what a file leaves elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facesdk.errors import InputError
from facesdk.vault.keys.key_file import KeyFileKey
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind, KeyProvider
from facesdk.vault.keys.secret_service import SecretServiceKey
from facesdk.vault.keys.tpm import TpmKey
from facesdk.vault.keys.tpm_device import DEFAULT_TCTI

_CLASSES: dict[KeyKind, type[PassphraseKey | KeyFileKey | TpmKey | SecretServiceKey]] = {
    KeyKind.PASSPHRASE: PassphraseKey,
    KeyKind.KEY_FILE: KeyFileKey,
    KeyKind.TPM: TpmKey,
    KeyKind.SECRET_SERVICE: SecretServiceKey,
}


@dataclass(frozen=True)
class Protection:
    """What a kind of key means for a template, in sentences for a person. transport: how its device is reached."""

    label: str
    stops: str
    does_not_stop: str
    rollback: str
    transport: str | None = None


def protection(kind: KeyKind, *, tcti: str | None = None) -> Protection:
    """What a kind of key stops and what not; tcti as TpmKey takes it."""
    provider = _CLASSES.get(kind)
    if provider is None:
        return Protection(kind.label, "nothing here: it is an exported file", "an exported file is no template", "none")
    rollback = (
        "protected by the TPM's counter" if kind is KeyKind.TPM
        else "not protected: an older file put back is accepted at the next unlock"
    )  # fmt: skip
    transport = (tcti or DEFAULT_TCTI) if kind is KeyKind.TPM else None
    return Protection(kind.label, provider.stops, provider.does_not_stop, rollback, transport)


def make_provider(
    kind: KeyKind,
    *,
    passphrase: Callable[[], str | bytes],
    key_file: Path | None = None,
    tcti: str | None = None,
) -> PassphraseKey | KeyFileKey | TpmKey | SecretServiceKey:
    """The provider of this kind; the passphrase is asked for only where it is needed. InputError without a key file."""
    if kind is KeyKind.PASSPHRASE:
        return PassphraseKey(passphrase())
    if kind is KeyKind.TPM:
        return TpmKey(passphrase(), tcti=tcti)
    if kind is KeyKind.SECRET_SERVICE:
        return SecretServiceKey()
    if kind is KeyKind.KEY_FILE and key_file is not None:
        return KeyFileKey(key_file)
    hint = (
        "give its key file (the option --key-file, the argument key_file)" if kind is KeyKind.KEY_FILE
        else "it cannot be opened as a template: import it"
    )  # fmt: skip
    raise InputError(f"the template is sealed with a {kind.label}", hint=hint)


def make_remover(kind: KeyKind | str, *, tcti: str | None = None) -> KeyProvider | None:
    """What removes the parts of a file that lie outside it, without its secret; None where there are none."""
    if kind is KeyKind.TPM:
        return TpmKey(None, tcti=tcti)
    return SecretServiceKey() if kind is KeyKind.SECRET_SERVICE else None
