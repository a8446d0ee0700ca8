"""The command `facesdk`. Results go to stdout, everything else to stderr; the exit codes stand in facesdk.errors."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facesdk.cli import keys, people, system
from facesdk.cli.common import say
from facesdk.errors import FaceSdkError, exit_code

HINTS = {
    "NotEnrolledError": "facesdk enroll --user NAME PICTURE... makes a template",
    "AlreadyEnrolledError": "--replace replaces the template that is there",
    "EngineMismatchError": "leave --embedder out to use the template's own",
    "PassphraseRequiredError": "facesdk unlock takes the passphrase; after that the face works again",
    "LockedOutError": "facesdk unlock with the passphrase ends the wait",
    "KeyUnavailableError": "try again; without passphrase or key file there is only facesdk remove and enrolling again",
    "RollbackError": "restore the newest file; where there is none, facesdk remove, then enroll again",
    "StoreIntegrityError": "restore it from a backup, or facesdk remove and enroll again",
    "ModelIntegrityError": "facesdk models shows which file; install facesdk again",
}
PROTECTIONS = ("passphrase", "tpm", "secret-service")
RULES = ("phone", "strict", "convenience")


def _pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="JPEG or PNG file")


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_vault(parser: argparse.ArgumentParser, *, user: bool = True, key: bool = True) -> None:
    parser.add_argument("--vault", type=Path, metavar="DIR", help="default: ~/.local/share/facesdk")
    if user:
        parser.add_argument("--user", default="owner", metavar="NAME", help="default: %(default)s")
    if key:
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--passphrase-file",
            type=Path,
            metavar="F",
            help="read the passphrase from a file; the key is opened for this one run (no attempt count)",
        )
        either.add_argument("--key-file", type=Path, metavar="F", help="a key of 0600 instead (development)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embedder", metavar="NAME", help="joint (default), sface or mobilefacenet")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--runtime", default="auto", metavar="NAME")


def _add_protection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protect", choices=PROTECTIONS, default=PROTECTIONS[0], help="what seals the template (default: %(default)s)"
    )
    parser.add_argument("--replace", action="store_true", help="replace the template that is there")


def _add_people(commands: Any) -> None:
    enroll = _add(commands, "enroll", people.enroll, "Make the sealed template of one person from 1 to 10 pictures.")
    verify = _add(commands, "verify", people.verify, "Decide whether the pictures show the enrolled person.")
    for command in (enroll, verify):
        _add_vault(command)
        _add_engine(command)
        _pictures(command)
    _add_protection(enroll)
    enroll.add_argument("--yes", action="store_true", help="the person agrees; do not ask")
    _add_vault(_add(commands, "list", people.list_users, "Name who is enrolled."), user=False, key=False)
    _add_vault(_add(commands, "remove", people.remove, "Destroy the template of a person."), key=False)


def _add_keys(commands: Any) -> None:
    unlock = _add(commands, "unlock", keys.unlock, "Take the passphrase: from now on the face works.")
    unlock.add_argument("--rules", choices=RULES, default=RULES[0], help="attempt rules (default: %(default)s)")
    _add_vault(unlock)
    _add_vault(_add(commands, "lock", keys.lock, "Forget the key: the passphrase is needed."), key=False)
    _add_vault(_add(commands, "panic", keys.panic, "Forget every key of the vault at once."), user=False, key=False)
    status = _add(commands, "status", keys.status, "Say which state holds and why, and what protects the templates.")
    _add_vault(status, user=False, key=False)
    rekey = _add(commands, "rekey", keys.rekey, "Change the passphrase, or move the key; nothing is enrolled again.")
    rekey.add_argument("--to", choices=("key-file", *PROTECTIONS), default=PROTECTIONS[0], help="default: %(default)s")
    either = rekey.add_mutually_exclusive_group()
    either.add_argument("--new-passphrase-file", type=Path, metavar="F", help="read the new passphrase from a file")
    either.add_argument("--new-key-file", type=Path, metavar="F", help="the new key file, made if missing")
    _add_vault(rekey)
    _add_vault(_add(commands, "renew", keys.renew, "Turn the template anew: a leaked old one is of no use then."))
    export = _add(commands, "export", keys.export, "Seal the template for another device, by a recovery passphrase.")
    load = _add(commands, "import", keys.import_, "Enroll an exported file on this device.")
    _add_protection(load)
    for command in (export, load):
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("--recovery-passphrase-file", type=Path, metavar="F", help="else it is asked for")
        _add_vault(command, user=command is export)
    audit = _add(commands, "audit", keys.audit, "Show the audit log: what happened, when, with which outcome.")
    audit.add_argument("--verify", action="store_true", help="only check that nothing was edited, removed or cut")
    audit.add_argument("--restart", action="store_true", help="set a damaged log aside and begin a new one")
    _add_vault(audit)


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command and option."""
    parser = argparse.ArgumentParser(prog="facesdk", description="Is the person in front of this camera its owner?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_people(commands)
    _add_keys(commands)
    _add(commands, "doctor", system.doctor, "Say what is installed and used, and why.")
    bench = _add(commands, "bench", system.bench, "Time the networks and the way from frame to features.")
    _add_engine(bench)
    bench.add_argument("--rounds", type=int, default=100, metavar="N", help="default: %(default)s")
    bench.add_argument("--board", action="store_true", help="all that this board can tell, as a file to contribute")
    bench.add_argument("--out", type=Path, metavar="FILE", help="with --board: default facesdk-board.json")
    bench.add_argument("--emulated", action="store_true", help="with --board: no times, they say nothing here")
    bench.add_argument("--big-cores", action="store_true", help="use the fastest cores only, where they differ")
    demo = _add(commands, "demo", system.demo, "Enroll, verify, refuse and attack with the bundled portraits.")
    demo.add_argument("--picture", type=Path, default=Path("facesdk-demo.png"), help="default: %(default)s")
    demo.add_argument("--no-picture", action="store_true", help="write no picture")
    models = _add(commands, "models", system.models, "List the models and check their hashes.")
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    text = "Say whether the Edge TPU compiler would take all of a .tflite, and whether it fits."
    check = actions.add_parser("check-edgetpu", help=text, description=text)
    check.set_defaults(run=system.check_edgetpu)
    check.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
    check.add_argument("file", type=Path, metavar="FILE")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. argparse itself exits with 2 for words it does not know."""
    arguments = make_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has gone; the interpreter must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except Exception as error:
        return _report(error, as_json=arguments.json)


def _report(error: Exception, *, as_json: bool) -> int:
    """Says what went wrong, on stdout too with --json; returns the exit code, 70 for what is our own fault."""
    name = type(error).__name__
    if not isinstance(error, FaceSdkError):
        # No traceback: it would show a user's paths and help nobody but us.
        say(f"error: {name}: {error} (please report this with the output of facesdk doctor)")
    else:
        say(f"error: {error}")
        if name in HINTS and "`facesdk" not in str(error):  # the message may say better what to do
            say(f"hint: {HINTS[name]}")
    if as_json and sys.stdout is not None:
        with contextlib.suppress(OSError):  # a full or closed stdout is what the error may be about
            print(json.dumps({"error": name, "message": str(error)}), flush=True)
    return exit_code(error)
