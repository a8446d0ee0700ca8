"""The command `facesdk`. Results go to stdout, everything else to stderr; the exit codes stand in facesdk.errors."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facesdk.errors import FaceSdkError, UsageError, exit_code

HINTS = {
    "NotEnrolledError": "facesdk enroll --user NAME PICTURE... makes a template",
    "AlreadyEnrolledError": "--replace replaces the template that is there",
    "EngineMismatchError": "leave --embedder out to use the template's own",
    "KeyUnavailableError": "give the enrollment's passphrase or key file; without it: facesdk remove, enroll again",
    "StoreIntegrityError": "facesdk remove, then enroll again",
    "ModelIntegrityError": "facesdk models shows which file; install facesdk again",
}
CONSENT_NOTICE = (
    "An encrypted template of the face in these pictures will be kept on this device, and nothing else.\n"
    "Enroll only a person who agrees to that; facesdk remove destroys it."
)


def _vault(arguments: argparse.Namespace) -> Path:
    """Where templates lie: --vault, or $XDG_DATA_HOME/facesdk, or ~/.local/share/facesdk."""
    if arguments.vault is not None:
        return Path(arguments.vault)
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "facesdk"
    except RuntimeError as error:
        raise UsageError(f"no home folder to keep templates in ({error}): give --vault") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(arguments: argparse.Namespace, result: dict[str, Any], lines: Sequence[str]) -> None:
    print(json.dumps(result) if arguments.json else "\n".join(lines))


def _passphrase(*, new: bool) -> str:
    if not _at_terminal():
        raise UsageError("no terminal to ask for the passphrase: give --passphrase-file or --key-file")
    try:
        first = getpass.getpass("passphrase: ")
        if new and getpass.getpass("again: ") != first:
            raise UsageError("the two passphrases differ")
    except EOFError:
        raise UsageError("no passphrase was given") from None
    return first


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _consent(arguments: argparse.Namespace) -> str:
    """How the person's consent was given, for the record. UsageError where it was not."""
    _say(CONSENT_NOTICE)
    if arguments.yes:
        return "confirmed with --yes"
    if not _at_terminal():
        return "taken as given: enrolled without a terminal after the notice was printed"
    try:
        if input("Does the person agree? Type yes: ").strip().lower() == "yes":
            return "typed yes at the prompt"
    except EOFError:
        _say("")
    raise UsageError("not enrolled: the person must agree")


def _verifier(arguments: argparse.Namespace, *, new: bool = False) -> Any:
    from facesdk.engine import Engine
    from facesdk.vault import KeyFileKey, PassphraseKey
    from facesdk.verifier import FaceVerifier

    options: dict[str, Any] = {}
    if arguments.key_file:
        if new and not arguments.key_file.exists():
            KeyFileKey.create(arguments.key_file)
            _say(f"made the key file {arguments.key_file}: whoever reads it opens the template (for development)")
        options["key"] = KeyFileKey(arguments.key_file)
    elif arguments.passphrase_file:
        options["key"] = PassphraseKey.from_file(arguments.passphrase_file)
    else:
        options["key"] = PassphraseKey(_passphrase(new=new))
    if arguments.embedder or arguments.threads != 1 or arguments.runtime != "auto" or new:
        embedder = arguments.embedder or "joint"
        options["engine"] = Engine(embedder, threads=arguments.threads, runtime=arguments.runtime)
    return FaceVerifier(_vault(arguments), **options)


def _enroll(arguments: argparse.Namespace) -> int:
    consent = _consent(arguments)
    for path in arguments.pictures:
        if not path.exists():
            raise UsageError(f"{path}: no such file")
    verifier = _verifier(arguments, new=True)
    verifier.enroll(arguments.user, arguments.pictures, replace=arguments.replace, consent=consent)
    result = {"enrolled": arguments.user, "pictures": len(arguments.pictures)}
    _show(arguments, result, [f"enrolled {arguments.user} from {len(arguments.pictures)} picture(s)"])
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    outcome = _verifier(arguments).verify(arguments.user, arguments.pictures)
    result = {
        "decision": outcome.decision.value, "reason": outcome.reason, "elapsed_ms": round(outcome.elapsed_ms, 1),
    }  # fmt: skip
    lines = [f"{outcome.decision.value}: {outcome.reason} ({outcome.elapsed_ms:.0f} ms)"]
    _show(arguments, result, [*lines, outcome.guidance.value] if outcome.guidance.value else lines)
    return 0 if outcome else 1


def _list(arguments: argparse.Namespace) -> int:
    from facesdk.vault import Vault

    users = Vault(_vault(arguments)).users()
    _show(arguments, {"users": users}, users or ["no one is enrolled"])
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from facesdk.vault import Vault

    Vault(_vault(arguments)).remove(arguments.user)
    _show(
        arguments, {"removed": arguments.user}, [f"removed {arguments.user}: its key is overwritten, its file deleted"]
    )
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from facesdk.vault import Vault

    users = Vault(_vault(arguments)).status()
    result = {
        "vault": str(_vault(arguments)), "users": users, "rollback": "not protected", "liveness": "not checked",
    }  # fmt: skip
    lines = [f"vault     {_vault(arguments)}", *(f"user      {name}: {kind}" for name, kind in users.items())]
    lines += ["rollback  not protected: an older file put back is accepted",
              "liveness  not checked: a good photograph of the owner can pass"]  # fmt: skip
    _show(arguments, result, lines)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from facesdk.doctor import examine

    facts = examine()
    runtime = facts["runtime"]
    chosen = f"{runtime['name']} {runtime['version']}" if runtime["usable"] else "none"
    lines = [
        f"machine   {facts['machine']}, {facts['system']}, Python {facts['python']}",
        *(f"package   {name} {version or 'not installed'}" for name, version in facts["packages"].items()),
        f"kernels   {facts['kernels']['used']} (usable: {', '.join(facts['kernels']['usable'])})",
        *(f"model     {name} {'ok' if ok else 'DAMAGED'}" for name, ok in facts["models"].items()),
        f"runtime   {chosen}: {runtime['reason']}",
        *(f"          {name}: {r['reason']}" for name, r in facts["runtimes"].items() if not r["usable"]),
        f"camera    {facts['camera']}",
        f"liveness  {facts['liveness']}",
    ]
    _show(arguments, facts, lines)
    if not all(facts["models"].values()):
        return 6
    return 0 if runtime["usable"] else 5


def _models(arguments: argparse.Namespace) -> int:
    from facesdk.doctor import check_models

    rows = check_models()
    lines = [f"{'ok ' if r['ok'] else 'BAD'} {r['name']} {r['version']} ({r['licence']}) {r['size']} bytes\n"
             f"    sha256 {r['sha256']}\n    from {r['origin']}" for r in rows]  # fmt: skip
    _show(arguments, {"models": rows}, [*lines, *(r["problem"] for r in rows if r["problem"])])
    return 0 if all(r["ok"] for r in rows) else 6


def _bench(arguments: argparse.Namespace) -> int:
    from facesdk.bench import run_bench
    from facesdk.engine import Engine

    engine = Engine(arguments.embedder or "joint", threads=arguments.threads, runtime=arguments.runtime)
    result = run_bench(engine, rounds=arguments.rounds)
    lines = [f"{name:24} {ms:8.2f} ms" for name, ms in result["invoke_ms"].items()]
    frame = f"{result['pipeline_ms']:8.2f} ms  ({result['overhead']:.3f} x, n = {result['n']})"
    lines += [f"{'all networks':24} {result['bare_invoke_ms']:8.2f} ms", f"{'frame to features':24} {frame}"]
    _show(arguments, result, lines)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from facesdk.demo import run_demo

    lines: list[str] = []
    picture = None if arguments.no_picture else arguments.picture
    passed = run_demo(lines.append if arguments.json else print, picture=picture)
    if arguments.json:
        print(json.dumps({"passed": passed, "picture": picture and str(picture), "steps": lines}))
    return 0 if passed else 1


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
        either.add_argument("--passphrase-file", type=Path, metavar="F", help="read the passphrase from a file")
        either.add_argument("--key-file", type=Path, metavar="F", help="a key of 0600 instead (development)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embedder", metavar="NAME", help="joint (default), sface or mobilefacenet")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--runtime", default="auto", metavar="NAME")


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command and option."""
    parser = argparse.ArgumentParser(prog="facesdk", description="Is the person in front of this camera its owner?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    enroll = _add(commands, "enroll", _enroll, "Make the sealed template of one person from 1 to 10 pictures.")
    verify = _add(commands, "verify", _verify, "Decide whether the pictures show the enrolled person.")
    for command in (enroll, verify):
        _add_vault(command)
        _add_engine(command)
        _pictures(command)
    enroll.add_argument("--replace", action="store_true", help="replace the template that is there")
    enroll.add_argument("--yes", action="store_true", help="the person agrees; do not ask")
    _add_vault(_add(commands, "list", _list, "Name who is enrolled."), user=False, key=False)
    _add_vault(_add(commands, "remove", _remove, "Destroy the template of a person."), key=False)
    _add_vault(
        _add(commands, "status", _status, "Say what protects the templates and what does not."), user=False, key=False
    )
    _add(commands, "doctor", _doctor, "Say what is installed and used, and why.")
    bench = _add(commands, "bench", _bench, "Time the networks and the way from frame to features.")
    _add_engine(bench)
    bench.add_argument("--rounds", type=int, default=100, metavar="N", help="default: %(default)s")
    demo = _add(commands, "demo", _demo, "Enroll, verify, refuse and attack with the bundled portraits.")
    demo.add_argument("--picture", type=Path, default=Path("facesdk-demo.png"), help="default: %(default)s")
    demo.add_argument("--no-picture", action="store_true", help="write no picture")
    _add(commands, "models", _models, "List the models and check their hashes.")
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
        _say("interrupted")
        return 130
    except Exception as error:
        return _report(error, as_json=arguments.json)


def _report(error: Exception, *, as_json: bool) -> int:
    """Says what went wrong, on stdout too with --json; returns the exit code, 70 for what is our own fault."""
    name = type(error).__name__
    if not isinstance(error, FaceSdkError):
        # No traceback: it would show a user's paths and help nobody but us.
        _say(f"error: {name}: {error} (please report this with the output of facesdk doctor)")
    else:
        _say(f"error: {error}")
        if name in HINTS:
            _say(f"hint: {HINTS[name]}")
    if as_json and sys.stdout is not None:
        with contextlib.suppress(OSError):  # a full or closed stdout is what the error may be about
            print(json.dumps({"error": name, "message": str(error)}), flush=True)
    return exit_code(error)
