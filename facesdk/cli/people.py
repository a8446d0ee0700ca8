"""Commands about a person: enroll, verify, list, remove."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from facesdk.cli.common import at_terminal, has_key, opening_key, say, sealing_key, show, vault_of
from facesdk.errors import UsageError
from facesdk.policy import AttemptRules

if TYPE_CHECKING:
    from facesdk.vault import KeyProvider

CONSENT_NOTICE = (
    "An encrypted template of the face in these pictures will be kept on this device, and nothing else.\n"
    "Enroll only a person who agrees to that; facesdk remove destroys it."
)


def _consent(arguments: argparse.Namespace) -> str:
    """How the person's consent was given, for the record. UsageError where it was not."""
    say(CONSENT_NOTICE)
    if arguments.yes:
        return "confirmed with --yes"
    if not at_terminal():
        return "taken as given: enrolled without a terminal after the notice was printed"
    try:
        if input("Does the person agree? Type yes: ").strip().lower() == "yes":
            return "typed yes at the prompt"
    except EOFError:
        say("")
    raise UsageError("not enrolled: the person must agree")


def _engines(arguments: argparse.Namespace) -> dict[str, Any]:
    """What FaceVerifier is told of engines: the embedder that is named, or the template's own, as the options say."""
    from facesdk.engine import Engine

    make = partial(Engine, threads=arguments.threads, runtime=arguments.runtime)
    return {"engine": make(arguments.embedder)} if arguments.embedder else {"make_engine": make}


def _enrolling_key(arguments: argparse.Namespace) -> KeyProvider:
    """The key of a new template; of one that is replaced, its own: who cannot open it may only remove it."""
    from facesdk.matching import make_reference
    from facesdk.vault import Keeper, KeyKind, ProcessSessions, Vault
    from facesdk.vault.keeper import already_enrolled

    vault = Vault(vault_of(arguments))
    if not vault.exists(arguments.user):
        kind = KeyKind.KEY_FILE if arguments.key_file else KeyKind[arguments.protect.upper().replace("-", "_")]
        return sealing_key(kind, passphrase_file=arguments.passphrase_file, key_file=arguments.key_file)
    if not arguments.replace:
        raise already_enrolled(arguments.user)
    key = opening_key(arguments)
    rules = AttemptRules.preset("phone")
    Keeper(vault, ProcessSessions()).unlock(arguments.user, key, rules=rules, reference_of=make_reference)
    return key


def enroll(arguments: argparse.Namespace) -> int:
    """Seals a template."""
    from facesdk.verifier import FaceVerifier

    consent = _consent(arguments)
    for path in arguments.pictures:
        if not path.exists():
            raise UsageError(f"{path}: no such file")
    key = _enrolling_key(arguments)
    verifier = FaceVerifier(vault_of(arguments), key=key, **_engines(arguments))
    verifier.enroll(arguments.user, arguments.pictures, replace=arguments.replace, consent=consent)
    result = {"enrolled": arguments.user, "pictures": len(arguments.pictures)}
    show(
        arguments, result,
        [f"enrolled {arguments.user} from {len(arguments.pictures)} picture(s); next: facesdk unlock, facesdk verify"],
    )  # fmt: skip
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Decides, with the key in the kernel's keyring, or with one named on the command line for this once."""
    from facesdk.verifier import FaceVerifier

    key = opening_key(arguments) if has_key(arguments) else None
    verifier = FaceVerifier(vault_of(arguments), key=key, keyring=key is None, **_engines(arguments))
    outcome = verifier.verify(arguments.user, arguments.pictures)
    result = {
        "decision": outcome.decision.value, "reason": outcome.reason, "elapsed_ms": round(outcome.elapsed_ms, 1),
    }  # fmt: skip
    lines = [f"{outcome.decision.value}: {outcome.reason} ({outcome.elapsed_ms:.0f} ms)"]
    show(arguments, result, [*lines, outcome.guidance.value] if outcome.guidance.value else lines)
    return 0 if outcome else 1


def list_users(arguments: argparse.Namespace) -> int:
    """Names who is enrolled."""
    from facesdk.vault import Vault

    users = Vault(vault_of(arguments)).users()
    show(arguments, {"users": users}, users or ["no one is enrolled"])
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Destroys a template, its key and its log."""
    from facesdk.cli.keys import keeper_of
    from facesdk.vault.providers import make_remover

    keeper = keeper_of(arguments)
    keeper.remove(arguments.user, make_remover(keeper.vault.kinds().get(arguments.user, "")))
    show(
        arguments, {"removed": arguments.user}, [f"removed {arguments.user}: its key is overwritten, its file deleted"]
    )
    return 0
