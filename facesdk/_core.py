"""Stands where the extension module of this name should: Python takes that one first, wherever it was built."""

from __future__ import annotations

import sys
from pathlib import Path

from facesdk.errors import UsageError


class NotBuiltError(ImportError, UsageError):
    """This copy of the package has no extension module that this Python can load."""


def _explained(package: Path) -> str:
    """Why there is none, and what to do."""
    if (package.parent / "setup.py").is_file():
        return (
            "this is the source folder of facesdk, whose extension module is not built here: run from another folder,"
            " or pip install -e ."
        )
    return (
        f"the facesdk in {package} was not installed by this Python ({sys.implementation.cache_tag}): install it again"
    )


raise NotBuiltError(_explained(Path(__file__).resolve().parent), name=__name__)
