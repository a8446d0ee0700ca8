"""Where operating points stand in the manifest of a models folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from facesdk.engine.networks import tomllib
from facesdk.engine.operating_points import matrix_text
from facesdk.errors import InputError

MARKER = "# operating points"


def _toml(value: object) -> str:
    """A number, text or list as TOML has it, a matrix as one text: JSON, but for infinity."""
    if isinstance(value, str) and "\n" in value:
        return f'"""\n{value}"""'
    return json.dumps(value).replace("Infinity", "inf")


def _as_text(point: Mapping[str, object]) -> dict[str, object]:
    """The point with its matrices as the texts that the manifest has."""
    nested = {k for k, v in point.items() if isinstance(v, (list, tuple)) and v and isinstance(v[0], (list, tuple))}
    return {k: matrix_text(v) if k in nested else v for k, v in point.items()}  # type: ignore[arg-type]


def write_points(manifest: Path, points: Mapping[str, list[dict]], *, comment: str | None = None) -> None:
    """Replaces the operating points of these names, an empty list removes them; all else in the manifest is kept.

    They stand behind a marker, to the end of the file. comment: what stands in front of them from now on. InputError,
    and nothing is written, where something else would be lost.
    """
    text = manifest.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKER)
    before = tomllib.loads(text)
    new = {name: list(map(_as_text, listed)) for name, listed in points.items()}
    tables = {name: listed for name, listed in {**before.get("operating_points", {}), **new}.items() if listed}
    comment = rest.partition("[[")[0].rstrip("\n") if comment is None else comment
    lines = [head.rstrip("\n"), "", MARKER + comment]
    for name, listed in tables.items():
        for point in listed:
            lines += ["", f"[[operating_points.{name}]]", *(f"{k} = {_toml(v)}" for k, v in point.items())]
    written = "\n".join(lines) + "\n"
    if tomllib.loads(written) != {**before, "operating_points": tables}:
        raise InputError(f"{manifest}: operating points belong behind the line {MARKER!r}, all else in front of it")
    beside = manifest.with_name(f"{manifest.name}.new")
    beside.write_text(written, encoding="utf-8")
    os.replace(beside, manifest)
