"""Where a command's keys come from: files, descriptors, or a person at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facesdk.cli.context import Context
from facesdk.cli.output import is_there, say
from facesdk.errors import AlreadyEnrolledError, UsageError

if TYPE_CHECKING:
    from facesdk.vault import KeyKind, KeyProvider


def at_terminal() -> bool:
    """Whether somebody can be asked: only where stdin is a terminal, whatever else the program could open."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> str:
    """What a person types at the terminal, without spaces around it. Call it only where at_terminal() is true."""
    from facesdk.vault.keys.terminal import read_line

    return read_line(sys.stdin.fileno(), question, echo=True).decode(errors="replace").strip()


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


def check_sources(context: Context) -> None:
    """UsageError where two passphrases would come from one descriptor: the first takes all there is."""
    from facesdk.vault.keys.secret_file import descriptor_in

    numbers = [s if isinstance(s, int) else descriptor_in(s) for s in context.sources.values()]
    used = [number for number in numbers if number is not None]
    if len(set(used)) != len(used):
        raise UsageError("two passphrases cannot come from one descriptor", hint="give each its own")


def passphrase_from(context: Context, name: str = "passphrase", *, new: bool = False) -> str | bytes:
    """From --NAME-file or --NAME-fd, or asked for; also where that is the terminal itself."""
    from facesdk.vault.keys.passphrase import read_passphrase

    check_sources(context)
    source = context.sources.get(name)
    if source is not None and not (source == 0 and at_terminal()):
        return read_passphrase(source)
    option, what = f"--{name.replace('_', '-')}", name.replace("_", " ")
    others = " or --key-file" if name == "passphrase" else ""
    return ask_passphrase(what, new=new, options=f"{option}-file, {option}-fd{others}")


def weighed(context: Context, name: str = "passphrase", *, user: str, new: bool = False) -> str | bytes:
    """A passphrase that seals, weighed: a warning says where it can be guessed."""
    words: str | bytes = b""
    try:
        words = passphrase_from(context, name, new=new)
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


def opening_key(context: Context, user: str | None = None, *, weigh: bool = False) -> KeyProvider:
    """The provider that opens the user's file: of the file's own kind, its secret from the options or asked for.

    NotEnrolledError, VaultIntegrityError: before anything is asked for. weigh: it will seal a new template too.
    """
    from facesdk.vault import KeyKind
    from facesdk.vault.keys.kinds import make_provider

    user = context.user if user is None else user
    kind = context.open_vault(once=True).kind(user)
    if context.key_file and kind is not KeyKind.KEY_FILE:
        raise UsageError(f"the template of {user!r} is sealed with a {kind.label}, not with a key file")

    def words() -> str | bytes:
        if weigh and kind is KeyKind.PASSPHRASE:
            return weighed(context, user=user)
        return passphrase_from(context)

    return make_provider(kind, passphrase=words, key_file=context.key_file, tcti=context.tcti)


def sealing_key(
    context: Context, kind: KeyKind, *, user: str, name: str = "passphrase", key_file: Path | None
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
            return weighed(context, name, user=user, new=True)
        return passphrase_from(context, name, new=True)

    return make_provider(kind, passphrase=words, key_file=key_file, tcti=context.tcti)


def check_free(context: Context, user: str, *, replace: bool) -> bool:
    """Whether the user has a template, which may be replaced. AlreadyEnrolledError; the errors of an unusable vault."""
    from facesdk.vault import VaultFolder

    context.check_vault_usable()
    there = VaultFolder(context.folder).exists(user)
    if there and not replace:
        raise AlreadyEnrolledError(f"{user!r} is enrolled already")
    return there


def enrolling_key(context: Context, user: str, *, protect: str | None, replace: bool) -> KeyProvider:
    """The key of a new template; of one that is replaced, its own: who cannot open it may only remove it."""
    from facesdk.vault import KeyKind

    if not check_free(context, user, replace=replace):
        kind = KeyKind.KEY_FILE if context.key_file else kind_named(protect or "passphrase")
        return sealing_key(context, kind, user=user, key_file=context.key_file)
    kind = context.open_vault(once=True).kind(user)
    if protect is not None and kind_named(protect) is not kind:
        raise UsageError(
            f"a template that is replaced keeps its {kind.label}: --protect {protect} is for a new one",
            hint=f"leave --protect out, then facesdk rekey --to {protect}",
        )
    return opening_key(context, user, weigh=True)


def kind_named(option: str) -> KeyKind:
    """The kind of key that an option names, as in --protect tpm."""
    from facesdk.vault import KeyKind

    return KeyKind[option.upper().replace("-", "_")]
