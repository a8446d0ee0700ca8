"""The parser of the command `facesdk`; each module of commands adds its own."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import Any

from facesdk.cli import cameras, evaluate, keys, people, shell, state, system


class _Version(argparse.Action):
    """--version, which asks the installed package only when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from facesdk.version import __version__

        print(f"facesdk {__version__}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command and option."""
    parser = argparse.ArgumentParser(
        prog="facesdk", description="Is the person in front of this camera its owner?", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (people, keys, state, cameras, system, evaluate, shell):
        module.add(commands)
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich_argparse") is not None:
        _in_colour(parser, commands)
    return parser


def _in_colour(parser: argparse.ArgumentParser, commands: Any) -> None:
    """Help in colour, where the extra `cli` is installed."""
    from rich_argparse import RichHelpFormatter

    for each in (parser, *commands.choices.values()):
        each.formatter_class = RichHelpFormatter
