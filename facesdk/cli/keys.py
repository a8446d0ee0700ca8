"""Commands about keys: unlock, lock, panic, status, rekey, renew, unlearn, export, import, audit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from facesdk.cli.common import (
    enrolling_key,
    has_key,
    is_there,
    new_passphrase,
    opening_key,
    passphrase_from,
    say,
    sealing_key,
    show,
    vault_of,
)
from facesdk.cli.hints import keyring_hint
from facesdk.errors import FaceSdkError, NotEnrolledError, PassphraseRequiredError, Reason, UsageError
from facesdk.vault.rules import AttemptRules

if TYPE_CHECKING:
    from facesdk.vault import PassphraseKey, Template, Vault

_OTHERS = "a program that opened one for itself needs the passphrase at its next use"
LIVENESS = "not checked: a good photograph of the owner can pass"


def keeper_of(arguments: argparse.Namespace, *, once: bool = False) -> Vault:
    """The vault's vault, with opened keys in the kernel's keyring; once: in this process, and gone with it."""
    from facesdk.vault import KeyringOpenKeys, ProcessOpenKeys, Vault, VaultFolder

    path = vault_of(arguments)
    return Vault(VaultFolder(path), ProcessOpenKeys() if once else KeyringOpenKeys(path))


def unlock(arguments: argparse.Namespace) -> int:
    """Opens the key, into the kernel's keyring."""
    from facesdk import learning

    rules = AttemptRules.preset(arguments.rules)
    key = opening_key(arguments)
    keeper_of(arguments).unlock(arguments.user, key, rules=rules, may_move=learning.may_move)
    hours = rules.passphrase_every_s // 3600
    show(
        arguments, {"unlocked": arguments.user, "for_s": rules.passphrase_every_s},
        [f"unlocked {arguments.user}: the face works for {hours} h at most, or until facesdk lock"],
    )  # fmt: skip
    return 0


def lock(arguments: argparse.Namespace) -> int:
    """Forgets the key."""
    was_open = keeper_of(arguments).lock(arguments.user)
    text = f"locked {arguments.user}: the passphrase is needed"
    if not was_open:
        text = f"no key of {arguments.user} was open in the kernel's keyring: {_OTHERS}"
    show(arguments, {"locked": arguments.user, "was_open": was_open}, [text])
    return 0


def panic(arguments: argparse.Namespace) -> int:
    """Forgets every key of the vault."""
    vault = keeper_of(arguments)
    forgotten = vault.panic()
    if not vault.folder.path.is_dir():
        raise NotEnrolledError(f"there is no vault at {vault.folder.path}: nothing was forgotten")
    said = f"{forgotten} keys" if forgotten > 1 else "one key" if forgotten else "no key"
    text = f"{said} of this vault forgotten" if forgotten else "no key of this vault was open"
    show(arguments, {"panic": True, "forgotten": forgotten}, [f"{text} in the kernel's keyring: {_OTHERS}"])
    return 0


def _user_status(vault: Vault, user: str, kind: Any, tcti: str | None) -> tuple[dict[str, Any], list[str]]:
    from facesdk.vault import KeyKind
    from facesdk.vault.attempts import NS, PassphraseRequired
    from facesdk.vault.keys.kinds import protection
    from facesdk.vault.vault import boot_ns

    if not isinstance(kind, KeyKind):
        return {"unusable": kind}, [f"user      {user}: unusable: {kind}"]
    about, contract = protection(kind, tcti=tcti), None
    try:
        state, _ = vault.state(user)
        if isinstance(state, PassphraseRequired):
            now, why = "passphrase required", state.reason.value
        elif state.not_before_ns > boot_ns():
            now, why = (
                "delayed",
                f"{state.failures} attempts did not match: wait {-(-(state.not_before_ns - boot_ns()) // NS)} s",
            )
        else:
            now, why = (
                "ready",
                f"the key is {vault.open_keys.where}, {state.failures} attempts did not match since the last match",
            )
            contract = contract_of(vault, user)
    except PassphraseRequiredError as error:  # sealed anew since the key was opened
        now, why = "passphrase required", Reason(error.reason).value
    except FaceSdkError as error:
        now, why = "unknown", str(error)
    result = {
        "contract": contract, "sealed_by": about.label, "stops": about.stops, "does_not_stop": about.does_not_stop,
        "state": now, "why": why, "rollback": about.rollback, "transport": about.transport,
    }  # fmt: skip
    lines = [
        f"user      {user}: sealed by {about.label}", f"state     {now}: {why}", f"stops     {about.stops}",
        f"not       {about.does_not_stop}", f"rollback  {about.rollback}",
        *([f"transport {about.transport}"] if about.transport else []),
        f"contract  {contract['text'] if contract else 'unlock to see which one the template has'}",
    ]  # fmt: skip
    return result, lines


def contract_of(vault: Vault, user: str) -> dict[str, Any]:
    """For whom the open template's false match rate holds, and how often its owner must expect to be refused."""
    from facesdk import matching
    from facesdk.engine.networks import load_manifest
    from facesdk.policy import Policy

    with vault.opened(user, learned=True) as template:
        learned, moving, problem = _learned_since(template)
        embedder, count, policy = template.embedder, template.count, Policy().tightened(template.policy)
        model_ids = template.model_ids
        differing = len(matching.near_copies(list(template.samples)))
    known: dict[str, Any] = {"embedder": embedder, "samples": count, "differing": differing}
    known |= {"learned": learned, "moving_to": moving, "learned_unusable": problem}
    known["target_fmr"] = policy.target_fmr
    manifest = load_manifest()
    entry = manifest.embedders.get(embedder)
    # The detector's id comes first, and may be another's; points belong to the networks.
    if entry is None or model_ids[1:] != manifest.model_ids(embedder)[1:] or policy.target_fmr not in entry.targets:
        return {**known, "fnmr": {}, "text": f"{embedder!r} has no operating points in this release: enroll again"}
    points = {frames: entry.point(policy.target_fmr, samples=differing, frames=frames) for frames in (1, 3)}
    misses = {frames: point.fnmr for frames, point in points.items() if point.offered}
    shares = ", ".join(f"{100 * share:.1f} % with {frames} frame(s)" for frames, share in misses.items())
    held = f"FMR {policy.target_fmr:g} in the group that is falsely matched most"
    text = f"{held}; {differing} of {count} samples count; misses {shares} (docs/contract.md)"
    text += f"; {learned} learned since" if learned else ""
    text += "".join(f"; {count} to move to {name}" for name, count in moving.items())
    text += f"; what was learned is of no use: {problem}" if problem else ""
    return {**known, "fnmr": misses, "text": text}


def _learned_since(template: Template) -> tuple[int, dict[str, int], str | None]:
    """How many samples were learned, how many of each embedder that it moves to, and what is wrong with them."""
    import time

    from facesdk import learning

    now = int(time.time())
    moving = learning.moving_of(template, now_unix_s=now)
    return (
        len(learning.learned_of(template, now_unix_s=now)),
        {} if moving is None else {moving[0].embedder: len(moving[1])},
        None if template.learned is None else template.learned.problem,
    )


def status(arguments: argparse.Namespace) -> int:
    """Says which state holds and why, and what protects each template."""
    from facesdk.vault.memory import unencrypted_swap

    vault = keeper_of(arguments)
    users: dict[str, Any] = {}
    lines = [f"vault     {vault_of(arguments)}"]
    for user, kind in vault.folder.kinds().items():
        users[user], more = _user_status(vault, user, kind, arguments.tcti)
        lines += more
    if not users:
        lines.append("user      no one is enrolled here")
    refusal = keyring_hint()
    lines += [f"keyring   {refusal}"] if refusal else []
    swap = unencrypted_swap()
    if swap:
        lines.append(
            f"swap      {', '.join(swap)} is not known to be encrypted: keys stay out of it, but not in hibernation"
        )
    show(
        arguments,
        {"vault": str(vault_of(arguments)), "users": users, "keyring": refusal, "swap": swap, "liveness": LIVENESS},
        [*lines, f"liveness  {LIVENESS}"],
    )
    return 0


def rekey(arguments: argparse.Namespace) -> int:
    """Changes the passphrase, or moves the key to another provider."""
    from facesdk.vault import KeyKind

    old = opening_key(arguments)
    kind = KeyKind[arguments.to.upper().replace("-", "_")]
    if kind is KeyKind.KEY_FILE and arguments.new_key_file is None:
        raise UsageError("--to key-file needs --new-key-file F")
    new = sealing_key(arguments, kind, user=arguments.user, name="new_passphrase", key_file=arguments.new_key_file)
    keeper_of(arguments, once=True).rekey(arguments.user, old, new, rules=AttemptRules.preset("phone"))
    show(
        arguments, {"rekeyed": arguments.user, "sealed_by": kind.label},
        [f"{arguments.user} is sealed by {kind.label} now, nothing was enrolled again; next: facesdk unlock"],
    )  # fmt: skip
    return 0


def renew(arguments: argparse.Namespace) -> int:
    """Turns the template anew."""
    return _rewritten(arguments, "renewed", "what leaked of the old template is of no use any more")


def unlearn(arguments: argparse.Namespace) -> int:
    """Forgets what was learned."""
    return _rewritten(arguments, "unlearned", "the enrolled samples alone count again")


def _rewritten(arguments: argparse.Namespace, done: str, text: str) -> int:
    """Has the vault write the template anew, by the method that is named in the past tense."""
    vault = keeper_of(arguments, once=True)
    call = {"renewed": vault.renew, "unlearned": vault.unlearn}[done]
    call(arguments.user, opening_key(arguments), rules=AttemptRules.preset("phone"))
    show(arguments, {done: arguments.user}, [f"{done} {arguments.user}: {text}; next: facesdk unlock"])
    return 0


def _recovery(arguments: argparse.Namespace, *, new: bool) -> PassphraseKey:
    from facesdk.vault import KeyKind, PassphraseKey

    name = "recovery_passphrase"
    if new:
        return PassphraseKey(new_passphrase(arguments, name, user=arguments.user), kind=KeyKind.RECOVERY)
    return PassphraseKey(passphrase_from(arguments, name), kind=KeyKind.RECOVERY)


def export(arguments: argparse.Namespace) -> int:
    """Writes a sealed file for another device."""
    from facesdk.vault import files
    from facesdk.vault.causes import reporting

    if is_there(arguments.file):
        raise UsageError(f"{arguments.file} exists already", hint="choose another path")
    sealed = keeper_of(arguments).export(arguments.user, opening_key(arguments), _recovery(arguments, new=True))
    with reporting(arguments.file, "write the exported file"):
        try:
            files.create_file(arguments.file.name, sealed, folder=arguments.file.parent)
        except FileExistsError:
            raise UsageError(f"{arguments.file} exists already", hint="choose another path") from None
    show(
        arguments, {"exported": arguments.user, "file": str(arguments.file)},
        [f"exported {arguments.user} to {arguments.file}: only the recovery passphrase opens it"],
    )  # fmt: skip
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """Enrolls an exported file here."""
    from facesdk.vault.format import MAX_FILE_SIZE, parse_header
    from facesdk.vault.keys.secret_file import read_secret

    sealed = read_secret(arguments.file, limit=MAX_FILE_SIZE, ours=False)
    named = parse_header(sealed).user
    recovery = _recovery(arguments, new=False)
    key = enrolling_key(arguments, named)
    vault = keeper_of(arguments, once=True)
    user = vault.import_(sealed, recovery, key, replace=arguments.replace, rules=AttemptRules.preset("phone"))
    show(arguments, {"imported": user}, [f"imported {user}: sealed by {key.kind.label}; next: facesdk unlock"])
    return 0


def audit(arguments: argparse.Namespace) -> int:
    """Shows the audit log, checks it, or begins a new one where it is damaged."""
    vault = keeper_of(arguments)
    if arguments.restart:
        vault.restart_log(arguments.user, opening_key(arguments))
        say("a new audit log was begun; the old one is kept beside it as .broken-1 and so on")
    key = opening_key(arguments) if has_key(arguments) and not arguments.restart else None
    report, entries, sealed = vault.audit(arguments.user, key)
    checked = "against its sealed head" if sealed else "by its chain alone: unlock, or give the key, to check all"
    result: dict[str, Any] = {"entries": report.entries, "first": report.first, "unsealed": report.unsealed,
                              "sealed_head": sealed, "problem": None}  # fmt: skip
    lines = []
    if not arguments.verify:
        result["log"] = [entry.as_dict() for entry in entries]
        lines = [entry.as_text() for entry in entries]
    if report.problem is not None:
        p = report.problem
        result["problem"] = {"kind": p.kind.value, "file": p.file, "line": p.line, "entry": p.entry, "sealed": p.sealed}
        show(arguments, result, [*lines, f"BROKEN: {p.file}, line {p.line}: {p.message}"])
        return 6
    lines.append(f"whole: {report.entries} entries, {report.unsealed} of them not sealed, checked {checked}")
    show(arguments, result, lines)
    return 0
