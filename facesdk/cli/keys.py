"""Commands about keys: unlock, lock, panic, rekey, renew, unlearn, export, import."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from facesdk.cli.context import Context
from facesdk.cli.options import PROTECTIONS, add_command, add_passphrase, add_path, add_protection, add_vault
from facesdk.cli.output import is_there, show
from facesdk.cli.secrets import enrolling_key, kind_named, opening_key, passphrase_from, sealing_key, weighed
from facesdk.errors import NotEnrolledError, UsageError

if TYPE_CHECKING:
    from facesdk.vault import AttemptRules, PassphraseKey

RULES = ("phone", "strict", "convenience")
_OTHERS = "a program that opened one for itself needs the passphrase at its next use"


def add(commands: Any) -> None:
    """The commands of this module."""
    unlocking = add_command(commands, "unlock", unlock, "Enable face unlock with the passphrase.")
    unlocking.add_argument("--rules", choices=RULES, default=RULES[0], help="attempt rules (default: %(default)s)")
    add_vault(unlocking)
    add_vault(add_command(commands, "lock", lock, "Forget the key: the passphrase is needed."), key=False, tpm=False)
    text = "Forget every key of the vault at once."
    add_vault(add_command(commands, "panic", panic, text), user=False, key=False, tpm=False)
    text = "Change the passphrase, or move the key; nothing is enrolled again."
    rekeying = add_command(commands, "rekey", rekey, text)
    rekeying.add_argument(
        "--to", choices=("key-file", *PROTECTIONS), default=PROTECTIONS[0], help="default: %(default)s"
    )
    either = rekeying.add_mutually_exclusive_group()
    add_passphrase(either, "new-passphrase", "read the new passphrase")
    add_path(either, "--new-key-file", metavar="F", help="the new key file, made if missing")
    add_vault(rekeying)
    add_vault(add_command(commands, "renew", renew, "Re-randomise the template, so that a leaked copy is useless."))
    text = "Forget for good what the template has learned since the enrollment."
    add_vault(add_command(commands, "unlearn", unlearn, text))
    text = "Seal the template for another device, by a recovery passphrase."
    exporting = add_command(commands, "export", export, text)
    importing = add_command(commands, "import", import_, "Enroll an exported file on this device.")
    add_protection(importing)
    for command in (exporting, importing):
        add_path(command, "file", metavar="FILE", help="the exported file")
        text = "read the recovery passphrase, else it is asked for"
        add_passphrase(command.add_mutually_exclusive_group(), "recovery-passphrase", text)
        add_vault(command, user=command is exporting)


def _phone() -> AttemptRules:
    from facesdk.vault import AttemptRules

    return AttemptRules.preset("phone")


def unlock(context: Context, options: argparse.Namespace) -> int:
    """Opens the key, into the kernel's keyring."""
    from facesdk.learning import may_move
    from facesdk.vault import AttemptRules

    rules = AttemptRules.preset(options.rules)
    context.open_vault().unlock(context.user, opening_key(context), rules=rules, may_move=may_move)
    hours = rules.passphrase_every_s // 3600
    show(
        context, {"unlocked": context.user, "for_s": rules.passphrase_every_s},
        [f"unlocked {context.user}: the face works for {hours} h at most, or until facesdk lock"],
    )  # fmt: skip
    return 0


def lock(context: Context, _options: argparse.Namespace) -> int:
    """Forgets the key."""
    was_open = context.open_vault().lock(context.user)
    text = f"locked {context.user}: the passphrase is needed"
    if not was_open:
        text = f"no key of {context.user} was open in the kernel's keyring: {_OTHERS}"
    show(context, {"locked": context.user, "was_open": was_open}, [text])
    return 0


def panic(context: Context, _options: argparse.Namespace) -> int:
    """Forgets every key of the vault."""
    forgotten = context.open_vault().panic()
    if not context.folder.is_dir():
        raise NotEnrolledError(f"there is no vault at {context.folder}: nothing was forgotten")
    said = f"{forgotten} keys" if forgotten > 1 else "one key" if forgotten else "no key"
    text = f"{said} of this vault forgotten" if forgotten else "no key of this vault was open"
    show(context, {"panic": True, "forgotten": forgotten}, [f"{text} in the kernel's keyring: {_OTHERS}"])
    return 0


def rekey(context: Context, options: argparse.Namespace) -> int:
    """Changes the passphrase, or moves the key to another provider."""
    from facesdk.vault import KeyKind

    old, kind = opening_key(context), kind_named(options.to)
    if kind is KeyKind.KEY_FILE and options.new_key_file is None:
        raise UsageError("--to key-file needs --new-key-file F")
    new = sealing_key(context, kind, user=context.user, name="new_passphrase", key_file=options.new_key_file)
    context.open_vault(once=True).rekey(context.user, old, new, rules=_phone())
    show(
        context, {"rekeyed": context.user, "sealed_by": kind.label},
        [f"{context.user} is sealed by {kind.label} now, nothing was enrolled again; next: facesdk unlock"],
    )  # fmt: skip
    return 0


def renew(context: Context, _options: argparse.Namespace) -> int:
    """Re-randomises the template."""
    return _rewritten(context, "renewed", "what leaked of the old template is of no use any more")


def unlearn(context: Context, _options: argparse.Namespace) -> int:
    """Forgets what was learned."""
    return _rewritten(context, "unlearned", "the enrolled samples alone count again")


def _rewritten(context: Context, done: str, text: str) -> int:
    """Has the vault write the template anew, by the method that is named in the past tense."""
    vault = context.open_vault(once=True)
    call = {"renewed": vault.renew, "unlearned": vault.unlearn}[done]
    call(context.user, opening_key(context), rules=_phone())
    show(context, {done: context.user}, [f"{done} {context.user}: {text}; next: facesdk unlock"])
    return 0


def _recovery(context: Context, *, new: bool) -> PassphraseKey:
    from facesdk.vault import KeyKind, PassphraseKey

    name = "recovery_passphrase"
    if new:
        return PassphraseKey(weighed(context, name, user=context.user, new=True), kind=KeyKind.RECOVERY)
    return PassphraseKey(passphrase_from(context, name), kind=KeyKind.RECOVERY)


def export(context: Context, options: argparse.Namespace) -> int:
    """Writes a sealed file for another device."""
    from facesdk.vault import files
    from facesdk.vault.causes import reporting

    if is_there(options.file):
        raise UsageError(f"{options.file} exists already", hint="choose another path")
    sealed = context.open_vault().export(context.user, opening_key(context), _recovery(context, new=True))
    with reporting(options.file, "write the exported file"):
        try:
            files.create_file(options.file.name, sealed, folder=options.file.parent)
        except FileExistsError:
            raise UsageError(f"{options.file} exists already", hint="choose another path") from None
    show(
        context, {"exported": context.user, "file": str(options.file)},
        [f"exported {context.user} to {options.file}: only the recovery passphrase opens it"],
    )  # fmt: skip
    return 0


def import_(context: Context, options: argparse.Namespace) -> int:
    """Enrolls an exported file here."""
    from facesdk.vault.format import MAX_FILE_SIZE, parse_header
    from facesdk.vault.keys.secret_file import read_secret

    sealed = read_secret(options.file, limit=MAX_FILE_SIZE, ours=False)
    named = parse_header(sealed).user
    recovery = _recovery(context, new=False)
    key = enrolling_key(context, named, protect=options.protect, replace=options.replace)
    user = context.open_vault(once=True).import_(sealed, recovery, key, replace=options.replace, rules=_phone())
    show(context, {"imported": user}, [f"imported {user}: sealed by {key.kind.label}; next: facesdk unlock"])
    return 0
