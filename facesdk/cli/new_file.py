"""Files that a command makes for a person: never in the place of one that is there."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from facesdk.errors import UsageError


def new_path(named: Path | None, default: Path, *, option: str) -> Path:
    """The path named, or the default, or the first free of default-2, default-3 ... UsageError if the named one exists.

    Asked before the work begins; who writes then creates the file (mode "x"), for it may have come meanwhile.
    """
    if named is None:
        others = (default.with_name(f"{default.stem}-{number}{default.suffix}") for number in count(2))
        return default if not _is_there(default) else next(path for path in others if not _is_there(path))
    if _is_there(named):
        raise UsageError(f"{named} exists already, and nothing is overwritten: {option} names another file")
    return named


def _is_there(path: Path) -> bool:
    """A link that leads nowhere is there too."""
    return os.path.lexists(path)
