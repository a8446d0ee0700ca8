"""The command `completion`: what a shell needs to complete the words of the others."""

from __future__ import annotations

import argparse
from typing import Any

from facesdk.cli.context import Context
from facesdk.cli.options import add_command
from facesdk.cli.output import show

# tools/make_shell_files.py makes the files, with shtab, and tests hold them to the parser.
FILES = {"bash": "facesdk", "zsh": "_facesdk", "fish": "facesdk.fish"}


def add(commands: Any) -> None:
    """The commands of this module."""
    text = "Print the completion of these words for a shell: facesdk completion bash >> ~/.bash_completion"
    parser = add_command(commands, "completion", completion, text)
    parser.add_argument("shell", choices=tuple(FILES), help="which shell")


def completion(context: Context, options: argparse.Namespace) -> int:
    """Prints the script."""
    from importlib.resources import files

    text = files("facesdk.cli.completions").joinpath(FILES[options.shell]).read_text(encoding="utf-8")
    show(context, {"shell": options.shell, "script": text}, [text.rstrip("\n")])
    return 0
