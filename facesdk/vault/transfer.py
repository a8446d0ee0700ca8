"""Exported files: a template sealed under a recovery passphrase, to be imported on another device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from facesdk._core import Secret
from facesdk.errors import InputError
from facesdk.vault.format import Header, binding, parse_header, seal
from facesdk.vault.keys.provider import KEY_SIZE, KeyKind, KeyProvider, random_secret
from facesdk.vault.template import Template
from facesdk.vault.userfiles import check_kind


def exported(template: Template, user: str, recovery: KeyProvider) -> bytes:
    """The bytes of the exported file: the template turned anew, under a key of its own from the recovery passphrase."""
    with random_secret(KEY_SIZE) as fresh:
        section = recovery.wrap(fresh, binding=binding(user, recovery.kind))
        with template.repacked(fresh, generation=0) as payload:
            return seal(payload, fresh, user=user, kind=recovery.kind, section=section)


def header_of_exported(data: bytes, recovery: KeyProvider) -> Header:
    """The header of an exported file. VaultIntegrityError, VaultVersionError, KeyUnavailableError."""
    check_recovery(recovery)
    header = parse_header(data)
    check_kind(header, recovery)
    return header


@contextlib.contextmanager
def opened_export(data: bytes, header: Header, recovery: KeyProvider) -> Iterator[Template]:
    """The template of an exported file. VaultIntegrityError, KeyUnavailableError."""
    kek: Secret
    with (
        recovery.unwrap(header.section, binding=header.binding) as kek,
        Template.opened(data, kek, user=header.user) as template,
    ):
        yield template


def check_recovery(recovery: KeyProvider) -> None:
    if recovery.kind is not KeyKind.RECOVERY:
        raise InputError("an exported file is sealed with a recovery passphrase: PassphraseKey(..., kind=RECOVERY)")
