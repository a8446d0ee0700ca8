"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesdk.cli.context import Context

Run = Callable[[Context, argparse.Namespace], int]
PROTECTIONS = ("passphrase", "tpm", "secret-service")
FROM_FILE = "file, pipe or - for stdin; a pipe has 30 s to end"
# What shell completion fills in; shtab reads the attribute `complete` of an option.
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "(__fish_complete_path (commandline -ct))"}
FOLDER = {
    "bash": "_shtab_compgen_dirs", "zsh": "_files -/", "fish": "(__fish_complete_directories (commandline -ct))",
}  # fmt: skip


def add_command(commands: Any, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """A command of this name that calls run with the context and its own options."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def add_path(parser: Any, *names: str, complete: dict[str, str] = FILE, **settings: Any) -> None:
    """An argument that is a path, completed as one."""
    parser.add_argument(*names, type=Path, **settings).complete = complete


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The pictures of one person."""
    add_path(parser, "pictures", nargs="*", metavar="PICTURE", help="JPEG or PNG file, where there is no --camera")


def add_passphrase(group: Any, name: str, text: str) -> None:
    """The options --NAME-file and --NAME-fd."""
    add_path(group, f"--{name}-file", metavar="F", help=f"{text} ({FROM_FILE})")
    group.add_argument(f"--{name}-fd", type=_descriptor, metavar="N", help="the same from an open descriptor")


def add_vault(parser: argparse.ArgumentParser, *, user: bool = True, key: bool = True, tpm: bool = True) -> None:
    """Where the vault is, whose template, and what opens it."""
    add_path(parser, "--vault", complete=FOLDER, metavar="DIR", help="default: ~/.local/share/facesdk")
    if user:
        parser.add_argument("--user", default="owner", metavar="NAME", help="default: %(default)s")
    if tpm:
        parser.add_argument("--tcti", metavar="T", help="how a TPM is reached (default: device:/dev/tpmrm0)")
    if key:
        either = parser.add_mutually_exclusive_group()
        text = "read the passphrase; the key is opened for this one run (no attempt count)"
        add_passphrase(either, "passphrase", text)
        add_path(either, "--key-file", metavar="F", help="a key of 0600 instead (development)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Which networks run, and how."""
    parser.add_argument("--embedder", metavar="NAME", help="sface (default), joint (both) or mobilefacenet (small)")
    text = "that run a network together; auto: one for each big core that is idle, at most four (default: auto)"
    parser.add_argument("--threads", type=_threads, default="auto", metavar="N", help=text)
    text = "native, litert-native, litert, tflite-runtime or edgetpu (default: the first that works)"
    parser.add_argument("--runtime", default="auto", metavar="NAME", help=text)


def add_protection(parser: argparse.ArgumentParser) -> None:
    """What seals a new template, and whether it may take another one's place."""
    parser.add_argument("--protect", choices=PROTECTIONS, help=f"what seals a new template (default: {PROTECTIONS[0]})")
    text = "replace the template that is there, which takes its own key; it then seals the new one"
    parser.add_argument("--replace", action="store_true", help=text)


def _threads(text: str) -> int | str:
    """A number, or what the engine makes of it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _descriptor(text: str) -> int:
    """A descriptor's number. The message does not repeat the text: it may be a passphrase, given in the wrong place."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError("the number of an open descriptor was expected, as in `3< file`")
    return int(text)
