"""What several commands need: where the vault is, how results are shown, where a secret comes from."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.errors import AlreadyEnrolledError, UsageError
from facesdk.vault.rules import AttemptRules

if TYPE_CHECKING:
    from facesdk.vault import KeyKind, KeyProvider

_SECRETS = ("passphrase", "new_passphrase", "recovery_passphrase")


def vault_of(arguments: argparse.Namespace) -> Path:
    """Where templates lie: --vault, or $XDG_DATA_HOME/facesdk, or ~/.local/share/facesdk."""
    if arguments.vault is not None:
        return Path(arguments.vault)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else _home() / ".local" / "share") / "facesdk"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError(f"no home folder to keep templates in ({error})", hint="give --vault") from error


def check_vault_usable(arguments: argparse.Namespace) -> None:
    """The errors of a vault that could not be made or written there, before anybody is asked for anything."""
    from facesdk.vault import folder
    from facesdk.vault.causes import reporting

    path = vault_of(arguments)
    with reporting(path, "keep templates"):
        folder.check_usable(path)
        if arguments.vault is None and not os.environ.get("XDG_DATA_HOME") and not path.exists():
            # Root with another's HOME: what it makes there, that user cannot use.
            folder.check_owner(_home())


def say(text: str) -> None:
    """Prints what is no result; where stderr is closed or full, nobody wanted to know."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def show(arguments: argparse.Namespace, result: dict[str, Any], lines: Sequence[str]) -> None:
    """Prints a result: as JSON with --json, else as lines."""
    print(json.dumps(result) if arguments.json else "\n".join(lines))


def is_there(path: Path) -> bool:
    """Whether something has this name; UsageError where the system does not say."""
    from facesdk.vault.causes import hint_for

    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint=hint_for(error.errno)) from error
    return True


def at_terminal() -> bool:
    """Whether somebody can be asked: only where stdin is a terminal, whatever else the program could open."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_passphrase(what: str = "passphrase", *, new: bool = False, options: str) -> str | bytes:
    """What is typed without echo, twice for a new one, whatever the locale. UsageError without a terminal."""
    from facesdk.vault.keys.passphrase import text_or_bytes
    from facesdk.vault.keys.terminal import read_line

    if not at_terminal():
        raise UsageError(f"no terminal to ask for the {what}", hint=f"give {options}")
    first = again = b""
    try:
        first = read_line(sys.stdin.fileno(), f"{what}: ", echo=False)
        again = read_line(sys.stdin.fileno(), "again: ", echo=False) if new else first
        if first != again:
            raise UsageError("the two passphrases differ", hint="type the same one twice")
        return text_or_bytes(first)
    finally:
        del first, again  # what records a traceback's local variables finds none


def source_of(arguments: argparse.Namespace, name: str = "passphrase") -> Path | int | None:
    """Where the command line says that a passphrase comes from: a path, a descriptor, or None to ask for it."""
    descriptor: int | None = getattr(arguments, f"{name}_fd", None)
    path: Path | None = getattr(arguments, f"{name}_file", None)
    if path == Path("-"):
        return 0
    return descriptor if path is None else path


def check_sources(arguments: argparse.Namespace) -> None:
    """UsageError where two passphrases would come from one descriptor: the first takes all there is."""
    from facesdk.vault.keys.secret_file import descriptor_in

    sources = [source_of(arguments, name) for name in _SECRETS]
    numbers = [s if isinstance(s, int) else descriptor_in(s) for s in sources if s is not None]
    used = [number for number in numbers if number is not None]
    if len(set(used)) != len(used):
        raise UsageError("two passphrases cannot come from one descriptor", hint="give each its own")


def passphrase_from(arguments: argparse.Namespace, name: str = "passphrase", *, new: bool = False) -> str | bytes:
    """From --NAME-file or --NAME-fd, or asked for; also where that is the terminal itself."""
    from facesdk.vault.keys.passphrase import read_passphrase

    check_sources(arguments)
    source = source_of(arguments, name)
    if source is not None and not (source == 0 and at_terminal()):
        return read_passphrase(source)
    option, what = f"--{name.replace('_', '-')}", name.replace("_", " ")
    others = " or --key-file" if name == "passphrase" else ""
    return ask_passphrase(what, new=new, options=f"{option}-file, {option}-fd{others}")


def new_passphrase(arguments: argparse.Namespace, name: str, *, user: str) -> str | bytes:
    """A passphrase that will seal, weighed: a warning says where it can be guessed."""
    words: str | bytes = b""
    try:
        words = passphrase_from(arguments, name, new=True)
        warn_if_weak(words, user=user)
        return words
    finally:
        del words


def warn_if_weak(words: str | bytes, *, user: str) -> None:
    """Says on stderr how long guessing would take, where that is not long enough. Never a part of the passphrase."""
    from facesdk.vault.keys.passphrase_strength import weakness

    try:
        problem = weakness(words, also=(user,))
    finally:
        del words
    if problem:
        say(f"warning: {problem}")


def has_key(arguments: argparse.Namespace) -> bool:
    """Whether the command line names a key of its own."""
    return arguments.key_file is not None or source_of(arguments) is not None


def opening_key(arguments: argparse.Namespace, user: str | None = None, *, weigh: bool = False) -> KeyProvider:
    """The provider that opens the user's file: of the file's own kind, its secret from the options or asked for.

    NotEnrolledError, VaultIntegrityError: before anything is asked for. weigh: it will seal a new template too.
    """
    from facesdk.vault import KeyKind, VaultFolder
    from facesdk.vault.keys.kinds import make_provider
    from facesdk.vault.store import kind_of

    user = arguments.user if user is None else user
    with VaultFolder(vault_of(arguments)).locked("read the vault", user=user, shared=True) as folder:
        kind = kind_of(folder.read(user))
    if arguments.key_file and kind is not KeyKind.KEY_FILE:
        raise UsageError(f"the template of {user!r} is sealed with a {kind.label}, not with a key file")

    def words() -> str | bytes:
        if weigh and kind is KeyKind.PASSPHRASE:
            given: str | bytes = b""
            try:
                given = passphrase_from(arguments)
                warn_if_weak(given, user=user)
                return given
            finally:
                del given
        return passphrase_from(arguments)

    return make_provider(kind, passphrase=words, key_file=arguments.key_file, tcti=arguments.tcti)


def sealing_key(
    arguments: argparse.Namespace, kind: KeyKind, *, user: str, name: str = "passphrase", key_file: Path | None
) -> KeyProvider:
    """The provider of a new file; a key file that is not there is made."""
    from facesdk.vault import KeyFileKey, KeyKind
    from facesdk.vault.keys.kinds import make_provider

    if key_file is not None and kind is KeyKind.KEY_FILE and not is_there(key_file):
        say(f"made the key file {key_file}: whoever reads it opens the template (for development)")
        return KeyFileKey.create(key_file)

    def words() -> str | bytes:
        # A TPM counts the guesses itself; a passphrase alone can be guessed wherever the file is copied to.
        if kind is KeyKind.PASSPHRASE:
            return new_passphrase(arguments, name, user=user)
        return passphrase_from(arguments, name, new=True)

    return make_provider(kind, passphrase=words, key_file=key_file, tcti=arguments.tcti)


def enrolling_key(arguments: argparse.Namespace, user: str) -> KeyProvider:
    """The key of a new template; of one that is replaced, its own: who cannot open it may only remove it."""
    from facesdk.vault import KeyKind, ProcessOpenKeys, Vault, VaultFolder

    check_vault_usable(arguments)
    vault = VaultFolder(vault_of(arguments))
    if not vault.exists(user):
        kind = KeyKind.KEY_FILE if arguments.key_file else KeyKind[arguments.protect.upper().replace("-", "_")]
        return sealing_key(arguments, kind, user=user, key_file=arguments.key_file)
    if not arguments.replace:
        raise AlreadyEnrolledError(f"{user!r} is enrolled already")
    key = opening_key(arguments, user, weigh=True)
    rules = AttemptRules.preset("phone")
    Vault(vault, ProcessOpenKeys()).unlock(user, key, rules=rules)
    return key
