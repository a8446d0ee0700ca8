"""What every command needs to know: where the vault is, whose template, where secrets come from, how to answer."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from facesdk.errors import UsageError

if TYPE_CHECKING:
    from facesdk.vault import Vault

SECRETS = ("passphrase", "new_passphrase", "recovery_passphrase")


@dataclass(frozen=True)
class Context:
    """The options that commands share.

    json: answer as JSON. vault: the folder, None for the usual one. user: whose template. tcti: how a TPM is reached.
    key_file: opens the template in place of a passphrase. sources: where each secret of SECRETS comes from, a path or a
    descriptor; one that is not there is asked for.
    """

    json: bool = False
    vault: Path | None = None
    user: str = "owner"
    tcti: str | None = None
    key_file: Path | None = None
    sources: Mapping[str, Path | int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, options: argparse.Namespace) -> Context:
        """The context of parsed options; what a command does not have keeps its default."""
        given = {name: getattr(options, name, None) for name in ("json", "vault", "user", "tcti", "key_file")}
        sources = {name: source for name in SECRETS if (source := _source(options, name)) is not None}
        return cls(**{name: value for name, value in given.items() if value is not None}, sources=sources)

    @property
    def folder(self) -> Path:
        """Where templates lie: --vault, or $XDG_DATA_HOME/facesdk, or ~/.local/share/facesdk."""
        if self.vault is not None:
            return self.vault
        base = os.environ.get("XDG_DATA_HOME")
        return (Path(base) if base else home() / ".local" / "share") / "facesdk"

    @property
    def has_key(self) -> bool:
        """Whether the command line names a key of its own."""
        return self.key_file is not None or "passphrase" in self.sources

    def open_vault(self, *, once: bool = False) -> Vault:
        """The vault, with opened keys in the kernel's keyring; once: in this process, and gone with it."""
        from facesdk.vault import KeyringOpenKeys, ProcessOpenKeys, Vault, VaultFolder

        return Vault(VaultFolder(self.folder), ProcessOpenKeys() if once else KeyringOpenKeys(self.folder))

    def check_vault_usable(self) -> None:
        """The errors of a vault that could not be made or written there, before anybody is asked for anything."""
        from facesdk.vault import folder
        from facesdk.vault.causes import reporting

        path = self.folder
        with reporting(path, "keep templates"):
            folder.check_usable(path)
            if self.vault is None and not os.environ.get("XDG_DATA_HOME") and not path.exists():
                # Root with another's HOME: what it makes there, that user cannot use.
                folder.check_owner(home())


def home() -> Path:
    """The user's home folder. UsageError where there is none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError(f"no home folder to keep templates in ({error})", hint="give --vault") from error


def _source(options: argparse.Namespace, name: str) -> Path | int | None:
    """Where the command line says that a secret comes from: a path, a descriptor, or None to ask for it."""
    descriptor: int | None = getattr(options, f"{name}_fd", None)
    path: Path | None = getattr(options, f"{name}_file", None)
    if path == Path("-"):
        return 0
    return descriptor if path is None else path
