"""The command `facesdk`. Results go to stdout, everything else to stderr; the exit codes stand in facesdk.errors."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence

from facesdk.cli.context import Context
from facesdk.cli.hints import hint_of
from facesdk.cli.output import as_json, say
from facesdk.cli.parser import make_parser
from facesdk.errors import FaceSdkError, exit_code

_OPTION = re.compile(r"--[a-z][a-z-]*")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. argparse itself exits with 2 for words it does not know."""
    for number in range(3):
        _occupy(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path may hold bytes that are no text in this locale: they are shown as \xfc, and never an error.
            stream.reconfigure(errors="backslashreplace")
    options = _parsed(list(sys.argv[1:] if argv is None else argv))
    context = Context.of(options)
    try:
        code: int = options.run(context, options)
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
        return _report(error, for_program=context.json)


def _occupy(number: int) -> None:
    """Opens /dev/null where a standard descriptor is closed: else a file of ours gets it, and libraries write there."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _parsed(words: list[str]) -> argparse.Namespace:
    """The arguments. What does not fit is named only where it is an option: the rest may be a passphrase."""
    parser = make_parser(words)
    try:
        arguments, unknown = parser.parse_known_args(words)
    except SystemExit as end:
        # Scripts take verify's 0 for a match: its help has another code, wherever among the words it is asked for.
        if not end.code and "verify" in words:
            raise SystemExit(2) from None
        raise
    if unknown:
        options = [found[0] for word in unknown if (found := _OPTION.match(word))]
        text = f"unknown option: {', '.join(options)}" if options else f"{len(unknown)} more words than it takes"
        parser.error(f"{arguments.command}: {text}")
    return arguments


def _report(error: Exception, *, for_program: bool) -> int:
    """Says what went wrong, on stdout too with --json; returns the exit code, 70 for what is our own fault."""
    name, hint = type(error).__name__, None
    if isinstance(error, FaceSdkError):
        message, hint = error.message, hint_of(error)
        say(f"error: {message}")
    elif isinstance(error, OSError | MemoryError):
        from facesdk.vault.causes import hint_for

        message = str(error) or "there is too little memory"
        hint = hint_for(getattr(error, "errno", None)) or "facesdk doctor says what is installed and used"
        say(f"error: {name}: {message}")
    else:
        message = str(error)
        # No traceback: it would show a user's paths and help nobody but us.
        say(f"error: {name}: {message} (please report this with the output of facesdk doctor)")
    if hint:
        say(f"hint: {hint}")
    if for_program and sys.stdout is not None:
        with contextlib.suppress(OSError):  # a full or closed stdout is what the error may be about
            print(as_json({"error": name, "message": message, "hint": hint}), flush=True)
    return exit_code(error)
