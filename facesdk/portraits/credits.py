"""The credits of the bundled portraits, as CREDITS.md has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby
from typing import NamedTuple

_LICENCE = re.compile(r"CC (BY(?:-SA)?) (\d\.\d)(?: ([a-z]{2}))?")


class Credit(NamedTuple):
    """One row. caption: the person, with the year where the file's name has it; licence without its reason."""

    caption: str
    licence: str
    author: str


def credits() -> dict[str, Credit]:
    """The rows of CREDITS.md by the file's name."""
    found = {}
    for line in files("facesdk.portraits").joinpath("CREDITS.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 5 and cells[0].endswith((".jpg", ".png")):
            file, person, licence, author, _ = cells
            year = re.search(r"_(\d{4})\.", file)
            caption = f"{person}, {year[1]}" if year else person
            found[file] = Credit(caption, licence.split(" (")[0], author.split(";")[0])
    return found


def credit_line(rows: Iterable[Credit]) -> str:
    """Authors and licences of these portraits, which were cut and drawn on, with the address of each licence."""
    by_licence = groupby(sorted(rows, key=lambda row: row.licence, reverse=True), key=lambda row: row.licence)
    parts = [
        f"{licence}{_address(licence)}: {'; '.join(f'{row.caption} ({row.author})' for row in members)}."
        for licence, members in by_licence
    ]
    return f"Photos, each cut to the face and drawn on. {' '.join(part[0].upper() + part[1:] for part in parts)}"


def _address(licence: str) -> str:
    found = _LICENCE.fullmatch(licence)
    if not found:
        return ""
    kind, version, country = found.groups()
    return f" (creativecommons.org/licenses/{kind.lower()}/{version}{f'/{country}' if country else ''})"
