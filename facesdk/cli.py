"""The command `facesdk`. Results go to stdout, everything else to stderr; the exit codes stand in facesdk.errors."""

from __future__ import annotations

import argparse
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
    "KeyUnavailableError": "a forgotten passphrase cannot be recovered: facesdk remove, then enroll again",
    "StoreIntegrityError": "facesdk remove, then enroll again",
    "ModelIntegrityError": "facesdk models shows which file; install facesdk again",
}
CONSENT_NOTICE = (
    "An encrypted template of the face in these pictures will be kept on this device, and nothing else.\n"
    "Enroll only a person who agrees to that; facesdk remove destroys it."
)


def default_vault() -> Path:
    """Where templates lie unless --vault says otherwise: $XDG_DATA_HOME/facesdk or ~/.local/share/facesdk."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "facesdk"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(arguments: argparse.Namespace, result: dict[str, Any], lines: Sequence[str]) -> None:
    print(json.dumps(result) if arguments.json else "\n".join(lines))


def _passphrase(*, new: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for the passphrase: give --passphrase-file or --key-file")
    first = getpass.getpass("passphrase: ")
    if new and getpass.getpass("again: ") != first:
        raise UsageError("the two passphrases differ")
    return first


def _verifier(arguments: argparse.Namespace, *, new: bool = False) -> Any:
    from facesdk.engine import Engine
    from facesdk.policy import Policy
    from facesdk.vault import KeyFileKey, PassphraseKey
    from facesdk.verifier import FaceVerifier

    options: dict[str, Any] = {"policy": Policy(target_fmr=arguments.target_fmr)}
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
    return FaceVerifier(arguments.vault, **options)


def _enroll(arguments: argparse.Namespace) -> int:
    _say(CONSENT_NOTICE)
    consent = "confirmed on the command line"
    if sys.stdin.isatty() and not arguments.yes:
        if input("Does the person agree? Type yes: ").strip().lower() != "yes":
            raise UsageError("not enrolled: the person must agree")
        consent = "typed yes at the prompt"
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

    users = Vault(arguments.vault).users()
    _show(arguments, {"users": users}, users or ["no one is enrolled"])
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from facesdk.vault import Vault

    Vault(arguments.vault).remove(arguments.user)
    _show(
        arguments, {"removed": arguments.user}, [f"removed {arguments.user}: its key is overwritten, its file deleted"]
    )
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from facesdk.vault import Vault

    users = Vault(arguments.vault).status()
    result = {
        "vault": str(arguments.vault), "users": users, "rollback": "not protected", "liveness": "not checked",
    }  # fmt: skip
    lines = [f"vault     {arguments.vault}", *(f"user      {name}: {kind}" for name, kind in users.items())]
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
    return 0 if runtime["usable"] and all(facts["models"].values()) else 6


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

    return 0 if run_demo(print, picture=None if arguments.no_picture else arguments.picture) else 1


def _pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="JPEG or PNG file")


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_vault(parser: argparse.ArgumentParser, *, user: bool = True, key: bool = True) -> None:
    parser.add_argument("--vault", type=Path, default=default_vault(), metavar="DIR", help="default: %(default)s")
    if user:
        parser.add_argument("--user", default="owner", metavar="NAME", help="default: %(default)s")
    if key:
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--passphrase-file", type=Path, metavar="F", help="read the passphrase from a file")
        either.add_argument("--key-file", type=Path, metavar="F", help="a key of 0600 instead (development)")
        parser.add_argument("--target-fmr", type=float, default=2e-5, metavar="RATE", help="default: %(default)s")


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
        sys.stdout.flush()
        return code
    except FaceSdkError as error:
        name = type(error).__name__
        if arguments.json:
            print(json.dumps({"error": name, "message": str(error)}))
        _say(f"error: {error}")
        if name in HINTS:
            _say(f"hint: {HINTS[name]}")
        return exit_code(error)
    except BrokenPipeError:
        # The reader has gone; the interpreter must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
