"""The parser of the command `facesdk`; each module of commands adds its own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

# The module of each command: with the first word known, the others are not loaded.
MODULES = {
    "people": ("enroll", "verify", "list", "remove"), "live": ("watch",),
    "keys": ("unlock", "lock", "panic", "rekey", "renew", "unlearn", "export", "import"),
    "state": ("status", "show", "audit"), "cameras": ("cameras",), "system": ("doctor", "bench", "demo"),
    "models": ("models",), "evaluate": ("evaluate", "calibrate"), "redteam": ("redteam",), "shell": ("completion",),
}  # fmt: skip


class _Version(argparse.Action):
    """--version, which asks the installed package only when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from facesdk.version import __version__

        print(f"facesdk {__version__}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """One that helps with a mistyped command."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '([a-z-]+)'", message):
            import difflib

            near = difflib.get_close_matches(found[1], self.commands, n=1)
            said = f": did you mean {near[0]}?" if near else ""
            self.exit(2, f"facesdk: there is no command {found[1]}{said}\nfacesdk --help lists the commands\n")
        if message.endswith("arguments are required: COMMAND"):
            self.print_help(sys.stderr)
            self.exit(2)
        super().error(message)

    commands: tuple[str, ...] = ()


def make_parser(words: Sequence[str] = ()) -> _Parser:
    """The parser of every command and option; of words that begin with a command, of that command's module."""
    parser = _Parser(prog="facesdk", description="Is the person in front of this camera its owner?", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    wanted = [module for module, names in MODULES.items() if words and words[0] in names]
    for module in wanted or MODULES:
        import_module(f"facesdk.cli.{module}").add(commands)
    parser.commands = tuple(commands.choices)
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich_argparse") is not None:
        _in_colour(parser, commands)
    return parser


def _in_colour(parser: argparse.ArgumentParser, commands: Any) -> None:
    """Help in colour, where the extra `cli` is installed."""
    from rich_argparse import RichHelpFormatter

    for each in (parser, *commands.choices.values()):
        each.formatter_class = RichHelpFormatter
