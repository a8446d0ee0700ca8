"""Writes what docs/reference/ says of the command and of the errors, from the parser and from facesdk.errors.

python tools/reference_pages.py [--check]: between the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->` of
command.md and errors.md. --check only says whether they are as they should be (exit code 1).
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
sys.path.insert(0, str(ROOT))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """A row for each option and argument but --help."""
    rows = []
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)) or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
        if action.choices and not action.metavar:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        value = " ".join(value) if isinstance(value, tuple) else value
        shown = ", ".join(f"{option} {value}".rstrip() for option in action.option_strings) or value
        text = (action.help or "") % {"default": action.default, "prog": parser.prog, "metavar": value}
        rows.append(f"| `{shown}` | {_cell(text)} |")
    return rows


def _commands(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """The sections of a command and of those below it."""
    lines, below = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below += [(f"{name} {word}", sub) for word, sub in action.choices.items()]
    if name != "facesdk":
        lines += [f"### {name}", "", _cell(parser.description or ""), ""]
    if rows := _options(parser):
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    for word, sub in below:
        lines += _commands(sub, word)
    return lines


def command() -> str:
    """Every command with its options."""
    from facesdk.cli.parser import make_parser

    return "\n".join(_commands(make_parser(), "facesdk")).rstrip()


def _errors() -> list[type[Exception]]:
    from facesdk import errors

    kinds = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, errors.FaceSdkError)]
    return [kind for kind in kinds if kind.__module__ == errors.__name__]


def errors() -> str:
    """A row for each error: what it means, its exit code, which built-in kind it also is."""
    from facesdk.errors import FaceSdkError, exit_code

    lines = ["| error | what it means | is also | exit code |", "|---|---|---|---:|"]
    for kind in _errors():
        bases = [base.__name__ for base in kind.__bases__ if base is not FaceSdkError]
        code = exit_code(kind.__new__(kind))
        meaning = _cell((kind.__doc__ or "").strip().split("\n\n")[0])
        lines.append(f"| `{kind.__name__}` | {meaning} | {', '.join(f'`{b}`' for b in bases)} | {code} |")
    return "\n".join(lines)


def reasons() -> str:
    """A row for each reason of PassphraseRequiredError."""
    from facesdk.errors import Reason

    return "\n".join(["| reason | in words |", "|---|---|", *(f"| `Reason.{r.name}` | {r.value} |" for r in Reason)])


def guidance() -> str:
    """A row for each guidance."""
    from facesdk.types import Guidance

    rows = (f"| `Guidance.{g.name}` | {g.value or '(nothing to do)'} |" for g in Guidance)
    return "\n".join(["| guidance | sentence |", "|---|---|", *rows])


PARTS = {"command.md": (command,), "errors.md": (errors, reasons, guidance)}


def stale(*, write: bool) -> list[str]:
    """The parts that differ from what they should be; written anew where `write` says so."""
    found = []
    for page, parts in PARTS.items():
        path = REFERENCE / page
        text = path.read_text(encoding="utf-8")
        for part in parts:
            pattern = rf"(?<=<!-- {part.__name__}:begin -->\n).*?(?=\n<!-- {part.__name__}:end -->)"
            now = re.search(pattern, text, re.DOTALL)
            if now is None:
                raise SystemExit(f"{page} has no markers of {part.__name__}")
            made = part()
            if now[0] != made:
                found.append(f"docs/reference/{page}: {part.__name__}")
                text = text[: now.start()] + made + text[now.end() :]
        if write:
            path.write_text(text, encoding="utf-8")
    return found


def main() -> int:
    """Writes, or says what is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = stale(write=not arguments.check)
    print("\n".join(found) or "nothing has changed")
    return 1 if arguments.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
