"""Where a benchmark's table stands in a page: between two markers that bear its name."""

from __future__ import annotations

from pathlib import Path


def show(name: str, text: str, page: Path | None) -> None:
    """Prints a table, and puts it between its markers where a page is given."""
    print(text)
    if page is not None:
        write_between_markers(page, name, text)


def write_between_markers(path: Path, name: str, text: str) -> None:
    """Replaces what stands between the markers of this name. ValueError when they are not there once each, in order."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = path.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"expected one {begin} followed by one {end} in {path}")
    head, rest = content.split(begin)
    path.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
