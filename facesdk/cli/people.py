"""Commands about a person: enroll, verify, list, remove."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from functools import partial
from typing import Any

from facesdk.cli.common import at_terminal, enrolling_key, has_key, is_there, opening_key, say, show, vault_of
from facesdk.errors import PassphraseRequiredError, UsageError

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
    from facesdk.vault.keys.terminal import read_line

    answer = read_line(sys.stdin.fileno(), "Does the person agree? Type yes: ", echo=True)
    if answer.strip().lower() == b"yes":
        return "typed yes at the prompt"
    raise UsageError("not enrolled: the person must agree")


def _engines(arguments: argparse.Namespace) -> dict[str, Any]:
    """What FaceVerifier is told of engines: the embedder that is named, or the template's own, as the options say."""
    from facesdk.engine.engine import Engine

    make = partial(Engine, threads=arguments.threads, runtime=arguments.runtime)
    return {"engine": make(arguments.embedder)} if arguments.embedder else {"make_engine": make}


def enroll(arguments: argparse.Namespace) -> int:
    """Seals a template."""
    from facesdk.cli.keys import contract_of
    from facesdk.verifier import ENOUGH_SAMPLES, FaceVerifier, few_samples

    if len(arguments.pictures) < ENOUGH_SAMPLES and not arguments.allow_few_samples:
        raise few_samples(len(arguments.pictures), allow="--allow-few-samples")  # before anything is asked for
    consent = _consent(arguments)
    for path in arguments.pictures:
        if not is_there(path):
            raise UsageError(f"{path}: no such file")
    key = enrolling_key(arguments, arguments.user)
    verifier = FaceVerifier(vault_of(arguments), key=key, **_engines(arguments))
    verifier.enroll(
        arguments.user, arguments.pictures, replace=arguments.replace, consent=consent,
        allow_few_samples=arguments.allow_few_samples,
    )  # fmt: skip
    count = len(arguments.pictures)
    result: dict[str, Any] = {"enrolled": arguments.user, "pictures": count, "contract": None}
    lines = [f"enrolled {arguments.user} from {count} picture(s); next: facesdk unlock, facesdk verify"]
    with suppress(PassphraseRequiredError):  # locked meanwhile by somebody else
        result["contract"] = contract = contract_of(verifier.vault, arguments.user)
        lines.append(f"contract: {contract['text']}")
        if contract["differing"] < min(ENOUGH_SAMPLES, count):
            lines.append("pictures this alike count once: turn the head, change light and distance, and enroll again")
    show(arguments, result, lines)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Decides, with the key in the kernel's keyring, or with one named on the command line for this once."""
    from facesdk.verifier import FaceVerifier

    if arguments.migrate_to is not None and arguments.embedder:
        raise UsageError("--migrate-to starts from the template's own embedder", hint="leave --embedder out")
    key = opening_key(arguments) if has_key(arguments) else None
    verifier = FaceVerifier(
        vault_of(arguments), key=key, keyring=key is None, learn=arguments.learn, migrate_to=arguments.migrate_to,
        **_engines(arguments),
    )  # fmt: skip
    outcome = verifier.verify(arguments.user, arguments.pictures)
    result = {
        "decision": outcome.decision.value, "reason": outcome.reason, "guidance": outcome.guidance.value or None,
        "elapsed_ms": round(outcome.elapsed_ms, 1),
    }  # fmt: skip
    lines = [f"{outcome.decision.value}: {outcome.reason} ({outcome.elapsed_ms:.0f} ms)"]
    show(arguments, result, [*lines, outcome.guidance.value] if outcome.guidance.value else lines)
    return 0 if outcome else 1


def list_users(arguments: argparse.Namespace) -> int:
    """Names who is enrolled."""
    from facesdk.vault import VaultFolder

    users = VaultFolder(vault_of(arguments)).users()
    show(arguments, {"users": users}, users or ["no one is enrolled"])
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Destroys a template, its key and its log."""
    from facesdk.cli.keys import keeper_of
    from facesdk.vault.keys.kinds import make_remover

    vault = keeper_of(arguments)
    vault.remove(arguments.user, make_remover(vault.folder.kinds().get(arguments.user, ""), tcti=arguments.tcti))
    show(
        arguments, {"removed": arguments.user}, [f"removed {arguments.user}: its key is overwritten, its file deleted"]
    )
    return 0
