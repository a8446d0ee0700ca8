"""The words of the command `facesdk`: its commands, their options, and what each means."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesdk.cli import evaluate, keys, people, system

PROTECTIONS = ("passphrase", "tpm", "secret-service")
RULES = ("phone", "strict", "convenience")
FROM_FILE = "file, pipe or - for stdin; a pipe has 30 s to end"


def _descriptor(text: str) -> int:
    """A descriptor's number. The message does not repeat the text: it may be a passphrase, given in the wrong place."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError("the number of an open descriptor was expected, as in `3< file`")
    return int(text)


def _pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="JPEG or PNG file")


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_passphrase(group: Any, name: str, text: str) -> None:
    """The options --NAME-file and --NAME-fd."""
    group.add_argument(f"--{name}-file", type=Path, metavar="F", help=f"{text} ({FROM_FILE})")
    group.add_argument(f"--{name}-fd", type=_descriptor, metavar="N", help="the same from an open descriptor")


def _add_vault(parser: argparse.ArgumentParser, *, user: bool = True, key: bool = True, tpm: bool = True) -> None:
    parser.add_argument("--vault", type=Path, metavar="DIR", help="default: ~/.local/share/facesdk")
    if user:
        parser.add_argument("--user", default="owner", metavar="NAME", help="default: %(default)s")
    if tpm:
        parser.add_argument("--tcti", metavar="T", help="how a TPM is reached (default: device:/dev/tpmrm0)")
    if key:
        either = parser.add_mutually_exclusive_group()
        text = "read the passphrase; the key is opened for this one run (no attempt count)"
        _add_passphrase(either, "passphrase", text)
        either.add_argument("--key-file", type=Path, metavar="F", help="a key of 0600 instead (development)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embedder", metavar="NAME", help="sface (default), joint or mobilefacenet")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--runtime", default="auto", metavar="NAME")


def _add_protection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protect", choices=PROTECTIONS, default=PROTECTIONS[0], help="what seals the template (default: %(default)s)"
    )
    text = "replace the template that is there, which takes its own key; it then seals the new one"
    parser.add_argument("--replace", action="store_true", help=text)


def _add_people(commands: Any) -> None:
    enroll = _add(
        commands,
        "enroll",
        people.enroll,
        "Make the sealed template of one person from 3 to 10 pictures, five that differ are best.",
    )
    text = "Decide whether the pictures show the enrolled person: exit code 0 for a match alone, this help's is 2."
    verify = _add(commands, "verify", people.verify, text)
    for command in (enroll, verify):
        _add_vault(command)
        _add_engine(command)
        _pictures(command)
    text = "let the template get better by pictures that are surely the owner's, and what it learned count"
    verify.add_argument("--learn", action="store_true", help=text)
    text = "move the template to this embedder during matches; it takes over at the next facesdk unlock after enough"
    verify.add_argument("--migrate-to", metavar="NAME", help=text)
    _add_protection(enroll)
    text = "take one or two pictures; the threshold for them refuses the owner much more often"
    enroll.add_argument("--allow-few-samples", action="store_true", help=text)
    enroll.add_argument("--yes", action="store_true", help="the person agrees; do not ask")
    listing = _add(commands, "list", people.list_users, "Name who is enrolled.")
    _add_vault(listing, user=False, key=False, tpm=False)
    _add_vault(_add(commands, "remove", people.remove, "Destroy the template of a person."), key=False)


def _add_keys(commands: Any) -> None:
    unlock = _add(commands, "unlock", keys.unlock, "Take the passphrase: from now on the face works.")
    unlock.add_argument("--rules", choices=RULES, default=RULES[0], help="attempt rules (default: %(default)s)")
    _add_vault(unlock)
    lock = _add(commands, "lock", keys.lock, "Forget the key: the passphrase is needed.")
    _add_vault(lock, key=False, tpm=False)
    panic = _add(commands, "panic", keys.panic, "Forget every key of the vault at once.")
    _add_vault(panic, user=False, key=False, tpm=False)
    status = _add(commands, "status", keys.status, "Say which state holds and why, and what protects the templates.")
    _add_vault(status, user=False, key=False)
    rekey = _add(commands, "rekey", keys.rekey, "Change the passphrase, or move the key; nothing is enrolled again.")
    rekey.add_argument("--to", choices=("key-file", *PROTECTIONS), default=PROTECTIONS[0], help="default: %(default)s")
    either = rekey.add_mutually_exclusive_group()
    _add_passphrase(either, "new-passphrase", "read the new passphrase")
    either.add_argument("--new-key-file", type=Path, metavar="F", help="the new key file, made if missing")
    _add_vault(rekey)
    _add_vault(_add(commands, "renew", keys.renew, "Turn the template anew: a leaked old one is of no use then."))
    text = "Forget for good what the template has learned since the enrollment."
    _add_vault(_add(commands, "unlearn", keys.unlearn, text))
    export = _add(commands, "export", keys.export, "Seal the template for another device, by a recovery passphrase.")
    load = _add(commands, "import", keys.import_, "Enroll an exported file on this device.")
    _add_protection(load)
    for command in (export, load):
        command.add_argument("file", type=Path, metavar="FILE")
        text = "read the recovery passphrase, else it is asked for"
        _add_passphrase(command.add_mutually_exclusive_group(), "recovery-passphrase", text)
        _add_vault(command, user=command is export)
    audit = _add(commands, "audit", keys.audit, "Show the audit log: what happened, when, with which outcome.")
    audit.add_argument("--verify", action="store_true", help="only check that nothing was edited, removed or cut")
    audit.add_argument("--restart", action="store_true", help="set a damaged log aside and begin a new one")
    _add_vault(audit)


def _add_system(commands: Any) -> None:
    _add(commands, "doctor", system.doctor, "Say what is installed and used, and why.")
    bench = _add(commands, "bench", system.bench, "Time the networks and the way from frame to features.")
    _add_engine(bench)
    bench.add_argument("--rounds", type=int, default=100, metavar="N", help="default: %(default)s")
    bench.add_argument("--board", action="store_true", help="all that this board can tell, as a file to contribute")
    bench.add_argument("--out", type=Path, metavar="FILE", help="with --board: default facesdk-board.json")
    bench.add_argument("--emulated", action="store_true", help="with --board: no times, they say nothing here")
    bench.add_argument("--big-cores", action="store_true", help="use the fastest cores only, where they differ")
    demo = _add(commands, "demo", system.demo, "Enroll, verify, refuse and attack with the bundled portraits.")
    demo.add_argument(
        "--picture", type=Path, help="default: facesdk-demo.png, or the first free facesdk-demo-2.png ..."
    )
    demo.add_argument("--no-picture", action="store_true", help="write no picture")
    models = _add(commands, "models", system.models, "List the models and check their hashes.")
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    text = "Say whether the Edge TPU compiler would take all of a .tflite, and whether it fits."
    check = actions.add_parser("check-edgetpu", help=text, description=text, allow_abbrev=False)
    check.set_defaults(run=system.check_edgetpu)
    check.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
    check.add_argument("file", type=Path, metavar="FILE")


def _add_measuring(commands: Any) -> None:
    evaluate.add_evaluate(_add(commands, "evaluate", evaluate.evaluate, evaluate.EVALUATE))
    evaluate.add_calibrate(_add(commands, "calibrate", evaluate.calibrate, evaluate.CALIBRATE))


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command and option."""
    parser = argparse.ArgumentParser(
        prog="facesdk", description="Is the person in front of this camera its owner?", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_people(commands)
    _add_keys(commands)
    _add_system(commands)
    _add_measuring(commands)
    return parser
