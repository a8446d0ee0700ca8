"""How a command answers: results on stdout, as lines or as JSON, everything else on stderr; colour at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facesdk.cli.context import Context
from facesdk.errors import UsageError

SCHEMA = 1  # of every JSON answer: docs/reference/json.md; it rises where a field goes or changes its meaning
COLOURS = {"green": "32", "red": "31", "yellow": "33"}


# What a terminal would obey, in the name of a file.
_OBEYED = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def say(text: str) -> None:
    """Prints what is no result; where stderr is closed or full, nobody wanted to know."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text.translate(_OBEYED), file=sys.stderr, flush=True)


def show(context: Context, result: dict[str, Any], lines: Sequence[str]) -> None:
    """Prints a result: as JSON with --json, else as lines."""
    print(as_json(result) if context.json else "\n".join(lines))


def as_json(result: dict[str, Any]) -> str:
    """One line of JSON, its schema first."""
    return json.dumps({"schema": SCHEMA, **result})


def painted(text: str, colour: str) -> str:
    """The text in one of COLOURS where stdout is a terminal that can show it and NO_COLOR is not set (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or sys.stdout is None or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def is_there(path: Path) -> bool:
    """Whether something has this name; UsageError where the system does not say."""
    from facesdk.vault.causes import hint_for

    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint=hint_for(error.errno)) from error
    return True
