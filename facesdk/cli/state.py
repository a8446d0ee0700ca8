"""Commands that say what holds: status, show, audit."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from facesdk.cli.context import Context
from facesdk.cli.hints import keyring_hint
from facesdk.cli.options import add_command, add_vault
from facesdk.cli.output import painted, say, show
from facesdk.cli.secrets import opening_key
from facesdk.errors import FaceSdkError

if TYPE_CHECKING:
    from facesdk.status import Enrollment, Status
    from facesdk.vault import Vault

LIVENESS = "of pictures not checked: a good photograph of the owner can pass; --camera asks for a head that follows"
_COLOURS = {"ready": "green", "delayed": "yellow", "passphrase required": "yellow", "unknown": "red"}


def add(commands: Any) -> None:
    """The commands of this module."""
    text = "Say which state holds and why, and what protects the templates."
    add_vault(add_command(commands, "status", status, text), user=False, key=False)
    text = "Show what is kept of one person: consent, dates, embedder, key and policy."
    showing = add_command(commands, "show", show_user, text)
    showing.add_argument("user", nargs="?", default="owner", metavar="USER", help="default: %(default)s")
    add_vault(showing, user=False)
    text = "Show the audit log: what happened, when, with which outcome."
    auditing = add_command(commands, "audit", audit, text)
    auditing.add_argument("--verify", action="store_true", help="only check that nothing was edited, removed or cut")
    auditing.add_argument("--restart", action="store_true", help="set a damaged log aside and begin a new one")
    add_vault(auditing)


def status(context: Context, _options: argparse.Namespace) -> int:
    """Says which state holds and why, and what protects each template."""
    from facesdk.vault.memory import unencrypted_swap

    vault = context.open_vault()
    users: dict[str, Any] = {}
    lines = [f"vault     {context.folder}"]
    for user, kind in vault.folder.kinds().items():
        users[user], more = _user_status(vault, user, kind, context.tcti)
        lines += more
    if not users:
        lines.append("user      no one is enrolled here")
    refusal, swap = keyring_hint(), unencrypted_swap()
    lines += [f"keyring   {refusal}"] if refusal else []
    if swap:
        lines.append(
            f"swap      {', '.join(swap)} is not known to be encrypted: keys stay out of it, but not in hibernation"
        )
    result = {"vault": str(context.folder), "users": users, "keyring": refusal, "swap": swap, "liveness": LIVENESS}
    show(context, result, [*lines, f"liveness  {LIVENESS}"])
    return 0


def _user_status(vault: Vault, user: str, kind: Any, tcti: str | None) -> tuple[dict[str, Any], list[str]]:
    from facesdk.status import status_of
    from facesdk.vault.keys.kinds import protection

    if isinstance(kind, str):
        return {"unusable": kind}, [f"user      {user}: unusable: {kind}"]
    about, enrolled = protection(kind, tcti=tcti), None
    try:
        found: Status = status_of(vault, user, tcti=tcti)
        state, why, enrolled = found.phase.value, found.why, found.enrollment
    except FaceSdkError as error:
        state, why = "unknown", str(error)
    result = {
        "contract": None if enrolled is None else enrollment_as_dict(enrolled), "sealed_by": about.label,
        "stops": about.stops, "does_not_stop": about.does_not_stop, "state": state, "why": why,
        "rollback": about.rollback, "transport": about.transport,
    }  # fmt: skip
    lines = [
        f"user      {user}: sealed by {about.label}", f"state     {painted(state, _COLOURS[state])}: {why}",
        f"stops     {about.stops}", f"not       {about.does_not_stop}", f"rollback  {about.rollback}",
        *([f"transport {about.transport}"] if about.transport else []),
        f"contract  {enrolled.text if enrolled else 'unlock to see which one the template has'}",
    ]  # fmt: skip
    return result, lines


def enrollment_as_dict(enrolled: Enrollment) -> dict[str, Any]:
    """The contract of an opened template, as JSON has it."""
    return {
        "embedder": enrolled.embedder, "samples": enrolled.samples, "differing": enrolled.differing,
        "learned": enrolled.learned, "moving_to": dict(enrolled.moving_to),
        "learned_unusable": enrolled.learned_unusable, "target_fmr": enrolled.target_fmr, "fnmr": dict(enrolled.misses),
        "text": enrolled.text,
    }  # fmt: skip


def show_user(context: Context, _options: argparse.Namespace) -> int:
    """Shows what is kept of one person, with the key that is open or one named for this once."""
    from facesdk.status import enrollment_of
    from facesdk.vault.keys.kinds import protection

    vault = context.open_vault()
    kind = vault.kind(context.user)
    opened = (
        vault.read(context.user, opening_key(context)) if context.has_key
        else vault.opened(context.user, learned=True)
    )  # fmt: skip
    with opened as template:
        enrolled = enrollment_of(template)
    about = protection(kind, tcti=context.tcti)
    floor = dict(enrolled.floor)
    result = {
        "user": context.user, "vault": str(context.folder), "sealed_by": about.label,
        "created_unix_s": enrolled.created_unix_s, "consent": enrolled.consent, "policy_floor": floor,
        "contract": enrollment_as_dict(enrolled),
    }  # fmt: skip
    when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(enrolled.created_unix_s))
    lines = [
        f"user      {context.user}, in {context.folder}", f"enrolled  {when}", f"consent   {enrolled.consent}",
        f"embedder  {enrolled.embedder}, {enrolled.samples} samples, {enrolled.learned} learned since",
        f"key       {about.label}: stops {about.stops}", f"not       {about.does_not_stop}",
        f"policy    at least {', '.join(f'{name} {value:g}' for name, value in floor.items())}",
        f"contract  {enrolled.text}", "delete    facesdk remove destroys all of it",
    ]  # fmt: skip
    show(context, result, lines)
    return 0


def audit(context: Context, options: argparse.Namespace) -> int:
    """Shows the audit log, checks it, or begins a new one where it is damaged."""
    vault = context.open_vault()
    if options.restart:
        vault.restart_log(context.user, opening_key(context))
        say("a new audit log was begun; the old one is kept beside it as .broken-1 and so on")
    key = opening_key(context) if context.has_key and not options.restart else None
    report, entries, sealed = vault.audit(context.user, key)
    checked = "against its sealed head" if sealed else "by its chain alone: unlock, or give the key, to check all"
    result: dict[str, Any] = {"entries": report.entries, "first": report.first, "unsealed": report.unsealed,
                              "sealed_head": sealed, "problem": None}  # fmt: skip
    lines = []
    if not options.verify:
        result["log"] = [entry.as_dict() for entry in entries]
        lines = [entry.as_text() for entry in entries]
    if report.problem is not None:
        p = report.problem
        result["problem"] = {"kind": p.kind.value, "file": p.file, "line": p.line, "entry": p.entry, "sealed": p.sealed}
        show(context, result, [*lines, painted(f"BROKEN: {p.file}, line {p.line}: {p.message}", "red")])
        return 6
    lines.append(f"whole: {report.entries} entries, {report.unsealed} of them not sealed, checked {checked}")
    show(context, result, lines)
    return 0
