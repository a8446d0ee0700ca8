"""What several commands need: where the vault is, how results are shown, how a secret is asked for."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.errors import UsageError

if TYPE_CHECKING:
    from facesdk.vault import KeyKind, KeyProvider


def vault_of(arguments: argparse.Namespace) -> Path:
    """Where templates lie: --vault, or $XDG_DATA_HOME/facesdk, or ~/.local/share/facesdk."""
    if arguments.vault is not None:
        return Path(arguments.vault)
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "facesdk"
    except RuntimeError as error:
        raise UsageError(f"no home folder to keep templates in ({error}): give --vault") from error


def say(text: str) -> None:
    """Prints what is no result."""
    print(text, file=sys.stderr, flush=True)


def show(arguments: argparse.Namespace, result: dict[str, Any], lines: Sequence[str]) -> None:
    """Prints a result: as JSON with --json, else as lines."""
    print(json.dumps(result) if arguments.json else "\n".join(lines))


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_passphrase(what: str = "passphrase", *, new: bool = False, option: str = "--passphrase-file") -> str:
    """A passphrase typed without echo, twice for a new one. UsageError without a terminal."""
    if not at_terminal():
        raise UsageError(f"no terminal to ask for the {what}: give {option}")
    try:
        first = getpass.getpass(f"{what}: ")
        if new and getpass.getpass("again: ") != first:
            raise UsageError("the two passphrases differ")
    except EOFError:
        raise UsageError(f"no {what} was given") from None
    return first


def has_key(arguments: argparse.Namespace) -> bool:
    """Whether the command line names a key of its own."""
    return bool(arguments.key_file or arguments.passphrase_file)


def passphrase_of(arguments: argparse.Namespace, *, new: bool = False) -> str | bytes:
    """From --passphrase-file, or asked for."""
    from facesdk.vault.passphrase import read_passphrase

    path = arguments.passphrase_file
    return read_passphrase(path) if path else ask_passphrase(new=new, option="--passphrase-file or --key-file")


def opening_key(arguments: argparse.Namespace) -> KeyProvider:
    """The provider that opens the user's file: of the file's own kind, its secret from the options or asked for."""
    from facesdk.vault import KeyKind, Vault
    from facesdk.vault.providers import make_provider

    kind = Vault(vault_of(arguments)).kinds().get(arguments.user)
    if not isinstance(kind, KeyKind):  # not enrolled, or damaged: opening it says so
        kind = KeyKind.KEY_FILE if arguments.key_file else KeyKind.PASSPHRASE
    if arguments.key_file and kind is not KeyKind.KEY_FILE:
        raise UsageError(f"the template of {arguments.user!r} is sealed with a {kind.label}, not with a key file")
    return make_provider(kind, passphrase=lambda: passphrase_of(arguments), key_file=arguments.key_file)


def sealing_key(kind: KeyKind, *, passphrase_file: Path | None, key_file: Path | None) -> KeyProvider:
    """The provider of a new file; a key file that is not there is made."""
    from facesdk.vault import KeyFileKey, KeyKind
    from facesdk.vault.passphrase import read_passphrase
    from facesdk.vault.providers import make_provider

    if key_file is not None and kind is KeyKind.KEY_FILE and not key_file.exists():
        say(f"made the key file {key_file}: whoever reads it opens the template (for development)")
        return KeyFileKey.create(key_file)
    return make_provider(
        kind,
        passphrase=lambda: read_passphrase(passphrase_file) if passphrase_file else ask_passphrase(new=True),
        key_file=key_file,
    )
