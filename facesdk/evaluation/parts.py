"""One evaluation in parts: each computes the records of every nth picture, and all of them together are the whole.

A part holds biometric features in the clear: its folder is made with mode 0700, its files with 0600.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facesdk.errors import InputError
from facesdk.evaluation.features import Records, dtype_of, made_by
from facesdk.evaluation.photos import Photos
from facesdk.evaluation.study import Settings

SCHEMA = "facesdk-evaluation-part/1"
_FORM = re.compile(r"(\d{1,4})/(\d{1,4})")


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n), 1 to n, of a text as `2/8`. InputError for another."""
    found = _FORM.fullmatch(text)
    part, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= of:
        raise InputError(f"a shard is i/n with i from 1 to n, as in 2/8, not {text!r}")
    return part, of


def places_of(shard: tuple[int, int], photos: Photos) -> range:
    """The pictures that a part computes."""
    return range(shard[0] - 1, len(photos.names), shard[1])


def write_part(folder: Path, shard: tuple[int, int], *, photos: Photos, records: Records, settings: Settings) -> None:
    """Makes the folder of a part, whole or not at all. InputError where something of this name is there already."""
    import numpy as np

    if folder.exists():
        raise InputError(f"{folder} exists already", hint="name a new folder with --out")
    head = {
        "schema": SCHEMA, "shard": shard, "photos": {**asdict(photos), "folder": str(photos.folder)},
        "settings": asdict(settings), "made_by": made_by(settings.embedder),
        "places": records.places.tolist(), "unreadable": list(records.unreadable.items()),
    }  # fmt: skip
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in partial.iterdir():
            path.unlink()
        with open(partial / "records.npy", "xb", opener=_private) as file:
            np.save(file, records.rows, allow_pickle=False)
            os.fsync(file.fileno())
        with open(partial / "part.json", "xb", opener=_private) as file:
            file.write(json.dumps(head).encode())
            os.fsync(file.fileno())
        partial.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror})", hint="name another folder with --out"
        ) from error


def read_parts(folders: Sequence[Path]) -> tuple[Photos, Records, Settings]:
    """What the parts together were made of and have found. InputError unless each of the n is there once."""
    import numpy as np

    heads = {folder: _head(folder) for folder in folders}
    first, *others = heads.items()
    for folder, head in others:
        for what in ("settings", "made_by", "photos"):
            if _same(head[what]) != _same(first[1][what]):
                raise InputError(f"{folder} and {first[0]} are not parts of one evaluation: their {what} differ",
                                 hint="make all parts with the same options and pictures")  # fmt: skip
    found = sorted(tuple(head["shard"]) for head in heads.values())
    of = found[0][1]
    missing = sorted({(i, of) for i in range(1, of + 1)} - set(found))
    if missing or len(found) != of:
        names = ", ".join(f"{i}/{n}" for i, n in missing) or "none"
        raise InputError(f"expected each of {of} parts once, came {len(found)}; missing: {names}")
    settings = _settings(first[1]["settings"])
    places = np.concatenate([np.array(head["places"], np.intp) for head in heads.values()])
    rows = np.concatenate([_rows(folder, head, settings.embedder) for folder, head in heads.items()])
    order = np.argsort(places)
    unreadable = dict(sorted((int(p), str(why)) for head in heads.values() for p, why in head["unreadable"]))
    return _photos(first[1]["photos"]), Records(places[order], rows[order], unreadable), settings


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _same(value: Any) -> Any:
    """What must agree: the folder may be mounted elsewhere on another machine."""
    return {k: v for k, v in value.items() if k != "folder"} if isinstance(value, dict) else value


def _head(folder: Path) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads((folder / "part.json").read_bytes())
        if head["schema"] != SCHEMA:
            raise InputError(f"{folder}: expected {SCHEMA}, not {head['schema']}: make the part again")
        if head["made_by"] != made_by(head["settings"]["embedder"]):
            raise InputError(f"{folder}: was made with other models than are installed here: make the part again")
    except OSError as error:
        raise InputError(f"{folder}: is no part of an evaluation ({error.strerror})") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{folder}: damaged ({error}): make the part again") from error
    return head


def _rows(folder: Path, head: dict[str, Any], embedder: str) -> Any:
    import numpy as np

    try:
        rows = np.load(folder / "records.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder}: damaged ({error}): make the part again") from error
    if rows.dtype != dtype_of(embedder) or rows.shape != (len(head["places"]),):
        raise InputError(f"{folder}: damaged (records of another kind): make the part again")
    return rows


def _settings(found: dict[str, Any]) -> Settings:
    lists = {name: tuple(found[name]) for name in ("targets", "thresholds")}
    return Settings(**{**found, **lists, "protocols": tuple((k, m) for k, m in found["protocols"])})


def _photos(found: dict[str, Any]) -> Photos:
    pairs = None if found["pairs"] is None else tuple((a, b) for a, b in found["pairs"])
    groups = {column: tuple(values) for column, values in found["groups"].items()}
    return Photos(
        Path(found["folder"]), tuple(found["names"]), tuple(found["people"]), groups, pairs, tuple(found["notes"])
    )
