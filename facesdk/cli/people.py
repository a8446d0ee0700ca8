"""Commands about a person: enroll, verify, list, remove."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.cli import live
from facesdk.cli.context import Context
from facesdk.cli.options import add_command, add_engine, add_path, add_pictures, add_protection, add_vault
from facesdk.cli.output import as_json, is_there, painted, say, show
from facesdk.cli.secrets import ask, at_terminal, check_free, enrolling_key
from facesdk.cli.verifying import engines, make_verifier
from facesdk.errors import EnrollmentError, UsageError

if TYPE_CHECKING:
    from facesdk.capture.session import Session
    from facesdk.status import Enrollment
    from facesdk.types import Outcome
    from facesdk.verifier import FaceVerifier

CONSENT_NOTICE = (
    "An encrypted template of the face that is shown will be kept on this device, and a log of times and outcomes, in\n"
    "the clear. No picture is kept.\n"
    "Enroll only a person who agrees to that; facesdk remove destroys it."
)
OPEN_FOR = "the key is open for 72 h at most, or until facesdk lock"
DESTROYED = "key, template, learned samples, audit log"
NOT_REACHED = "copies and backups that were made of these files: they open with the secret that sealed them"


def add(commands: Any) -> None:
    """The commands of this module."""
    text = "Make the sealed template of one person from 3 to 10 pictures, five that differ are best."
    enrolling = add_command(commands, "enroll", enroll, text)
    text = "Decide whether the pictures show the enrolled person: exit code 0 for a match alone, this help's is 2."
    verifying = add_command(commands, "verify", verify, text)
    for command in (enrolling, verifying):
        add_vault(command)
        add_engine(command)
        add_pictures(command)
        live.add_camera(command)
        command.set_defaults(does_not_fit=command.error)
    live.add_life(verifying)
    text = "let the template get better by pictures that are surely the owner's, and what it learned count"
    verifying.add_argument("--learn", action="store_true", help=text)
    text = "move the template to this embedder during matches; it takes over at the next facesdk unlock after enough"
    verifying.add_argument("--migrate-to", metavar="NAME", help=text)
    add_protection(enrolling)
    text = "take one or two pictures; the threshold for them refuses the owner much more often"
    enrolling.add_argument("--allow-few-samples", action="store_true", help=text)
    text = "the person agrees; do not ask (without a terminal nobody is asked, and the record says so)"
    enrolling.add_argument("--yes", action="store_true", help=text)
    listing = add_command(commands, "list", list_users, "Name who is enrolled.")
    add_vault(listing, user=False, key=False, tpm=False)
    removing = add_command(commands, "remove", remove, "Destroy the template of a person, and say what was destroyed.")
    add_vault(removing, key=False)
    removing.add_argument("--yes", action="store_true", help="do not ask (without a terminal nobody is asked)")
    add_path(removing, "--receipt", metavar="FILE", help="write what was destroyed into a new file, too")


def _consent(given: bool) -> str:
    """How the person's consent was given, for the record. UsageError where it was not."""
    say(CONSENT_NOTICE)
    if given:
        return "confirmed with --yes"
    if not at_terminal():
        return "taken as given: enrolled without a terminal after the notice was printed"
    if ask("Does the person agree? Type yes: ").lower() == "yes":
        return "typed yes at the prompt"
    raise UsageError("not enrolled: the person must agree")


def _check_pictures(options: argparse.Namespace) -> None:
    """Before anything is asked for: enough pictures, all there, or a camera."""
    from facesdk.capture.samples import ENOUGH_SAMPLES, few_samples

    live.check_source(options)
    if options.camera is None and len(options.pictures) < ENOUGH_SAMPLES and not options.allow_few_samples:
        raise few_samples(len(options.pictures), allow="--allow-few-samples")
    for path in options.pictures:
        if not is_there(path):
            raise UsageError(f"{path}: no such file")


def enroll(context: Context, options: argparse.Namespace) -> int:
    """Seals a template, and leaves its key open in the kernel's keyring."""
    from facesdk.cli.hints import keyring_hint
    from facesdk.verifier import FaceVerifier

    _check_pictures(options)
    check_free(context, context.user, replace=options.replace)
    consent = _consent(options.yes)
    key = enrolling_key(context, context.user, protect=options.protect, replace=options.replace)
    refusal = keyring_hint()
    with FaceVerifier(context.folder, key=key, keyring=refusal is None, **engines(options)) as verifier:
        if options.camera is None:
            verifier.enroll(
                context.user, options.pictures, replace=options.replace, consent=consent,
                allow_few_samples=options.allow_few_samples,
            )  # fmt: skip
        else:
            _enroll_live(verifier, context, options, consent=consent)
        enrolled = verifier.status(context.user).enrollment
    _show_enrolled(context, options, enrolled, key.kind.label, is_open=enrolled is not None and refusal is None,
                   refusal=refusal)  # fmt: skip
    return 0


def _enroll_live(verifier: FaceVerifier, context: Context, options: argparse.Namespace, *, consent: str) -> None:
    """Enrolls who is before the camera. EnrollmentError where nothing came of it."""
    from facesdk.capture.limits import ENROLLMENT_S

    def begin(camera: str, _challenge: str) -> Session:
        return verifier.enrollment(
            context.user, replace=options.replace, consent=consent, camera=camera,
            timeout_s=ENROLLMENT_S if options.timeout is None else options.timeout,
        )  # fmt: skip

    outcome = live.through(options, begin)
    if not outcome:
        raise EnrollmentError(outcome.reason, hint=outcome.guidance.value or None)


def _show_enrolled(
    context: Context, options: argparse.Namespace, enrolled: Enrollment | None, sealed_by: str, *, is_open: bool,
    refusal: str | None,
) -> None:  # fmt: skip
    from facesdk.capture.samples import ENOUGH_SAMPLES

    count = len(options.pictures)
    source = f"{count} picture(s)" if count else "the camera"
    lines = [painted(f"enrolled {context.user} from {source}, sealed by {sealed_by}", "green")]
    again = "facesdk verify PICTURE" if count else f"facesdk verify --camera {options.camera}"
    lines.append(f"next: {again}; {OPEN_FOR}" if is_open else refusal or "next: facesdk unlock")
    contract = None
    if enrolled is not None:  # None: locked meanwhile by somebody else
        from facesdk.cli.state import enrollment_as_dict

        contract = enrollment_as_dict(enrolled)
        count = count or enrolled.samples
        lines.append(f"contract: {enrolled.text}")
        if enrolled.differing < min(ENOUGH_SAMPLES, count):
            lines.append("pictures this alike count once: turn the head, change light and distance, and enroll again")
    result = {
        "enrolled": context.user, "pictures": count, "sealed_by": sealed_by, "open": is_open, "contract": contract,
    }  # fmt: skip
    show(context, result, lines)


def verify(context: Context, options: argparse.Namespace) -> int:
    """Decides, with the key in the kernel's keyring, or with one named on the command line for this once."""
    live.check_source(options)
    verifier = make_verifier(context, options, learn=options.learn, migrate_to=options.migrate_to)
    if options.camera is None:
        outcome = verifier.verify(context.user, options.pictures)
    else:
        outcome = _verify_live(verifier, context, options)
    result = {
        "user": context.user, "match": bool(outcome), "decision": outcome.decision.value, "reason": outcome.reason,
        "guidance": outcome.guidance.value or None, "guidance_code": outcome.guidance.name.lower(),
        "elapsed_ms": round(outcome.elapsed_ms, 1),
    }  # fmt: skip
    if options.camera is not None:
        result["assurance"] = outcome.assurance.name.lower()
    verdict = painted(outcome.decision.value, "green" if outcome else "red")
    lines = [f"{verdict}: {outcome.reason} ({outcome.elapsed_ms:.0f} ms)"]
    show(context, result, [*lines, outcome.guidance.value] if outcome.guidance.value else lines)
    return 0 if outcome else 1


def _verify_live(verifier: FaceVerifier, context: Context, options: argparse.Namespace) -> Outcome:
    """The outcome of one session before the camera."""
    from facesdk.capture.limits import TIMEOUT_S

    def begin(camera: str, challenge: str) -> Session:
        return verifier.session(
            context.user, camera=camera, liveness=live.tier(options), challenge=options.challenge or challenge,
            timeout_s=TIMEOUT_S if options.timeout is None else options.timeout,
        )  # fmt: skip

    return live.through(options, begin)


def list_users(context: Context, _options: argparse.Namespace) -> int:
    """Names who is enrolled."""
    from facesdk.vault import VaultFolder

    users = VaultFolder(context.folder).users()
    show(context, {"users": users}, users or ["no one is enrolled"])
    return 0


def remove(context: Context, options: argparse.Namespace) -> int:
    """Destroys a template, its key and its log, once somebody has said so; the receipt says what is gone."""
    from facesdk.vault.keys.kinds import make_remover
    from facesdk.vault.store import not_enrolled

    vault = context.open_vault()
    kind = vault.folder.kinds().get(context.user)
    if kind is None and not vault.folder.exists(context.user):
        raise not_enrolled(context.user, context.folder)
    _confirm_removal(context, confirmed=options.yes)
    with _receipt(context, options.receipt) as write:
        vault.remove(context.user, make_remover(kind or "", tcti=context.tcti))
        now = int(time.time())
        receipt = {
            "removed": context.user, "vault": str(context.folder), "time_unix_s": now,
            "destroyed": DESTROYED.split(", "), "not_reached": NOT_REACHED,
        }  # fmt: skip
        write(as_json(receipt))
    when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    lines = [
        f"removed {context.user} from {context.folder}: its key is overwritten, its file deleted",
        f"receipt: {DESTROYED} destroyed at {when}; not reached: {NOT_REACHED}",
    ]
    show(context, receipt, lines)
    return 0


def _confirm_removal(context: Context, *, confirmed: bool) -> None:
    """UsageError where somebody is there to be asked and does not want this template to go; a script has decided."""
    if confirmed or not at_terminal():
        return
    if ask(f"Destroy the template of {context.user} for good? Type the name: ") != context.user:
        raise UsageError("nothing was removed: another name was typed")


@contextlib.contextmanager
def _receipt(context: Context, path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes the receipt; its file is there before anything is destroyed. UsageError where it cannot be made."""
    if path is None:
        yield lambda _text: None
        return
    if path.resolve().parent == context.folder.resolve():
        raise UsageError(f"{path} lies in the vault", hint="choose another folder for the receipt")
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"nothing was removed: {path} cannot be made ({error.strerror})", hint="choose another path") \
            from error  # fmt: skip
    with file, contextlib.ExitStack() as unwritten:
        unwritten.callback(path.unlink)

        def write(text: str) -> None:
            unwritten.pop_all()
            try:
                file.write(f"{text}\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:  # what was asked for has happened, and the answer says so
                say(f"the receipt cannot be written to {path}: {error.strerror}")

        yield write
