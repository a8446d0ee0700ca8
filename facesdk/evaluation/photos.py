"""Which pictures, who is on them, and which groups they belong to: from a folder, a CSV file or a list of pairs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from facesdk.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")
# A column with more values than this is a name, an age or a note rather than a group.
MAX_VALUES = 12
_SAME = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Photos:
    """Pictures by their names, with the folder that these are relative to, and the person on each.

    groups: for each column the value of each picture, "" where it is not known. pairs: (a, b) by place, where only
    some are to be compared; else all of them are. notes: what was read but not used, in sentences.
    """

    folder: Path
    names: tuple[str, ...]
    people: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[tuple[int, int], ...] | None = None
    notes: tuple[str, ...] = ()

    def path(self, place: int) -> Path:
        """Where a picture lies."""
        return self.folder / self.names[place]


def read_photos(source: Path) -> Photos:
    """Of a folder with a folder for each person, a CSV file `path,person,...` or one of pairs `a,b,same`.

    Further columns of the first kind of CSV file are groups; paths are relative to the file. InputError, with file and
    line, for anything else.
    """
    if source.is_dir():
        return _of_folder(source)
    if not source.is_file():
        raise InputError(f"{source}: there is no such folder or CSV file")
    columns, rows = _table(source)
    if {"path", "person"} <= set(columns):
        return _of_list(source, columns, rows)
    if {"a", "b", "same"} <= set(columns):
        return _of_pairs(source, rows)
    raise InputError(f"{source}, line 1: expected the columns path,person (and groups) or a,b,same, not "
                     f"{','.join(columns)}")  # fmt: skip


def with_groups(photos: Photos, file: Path) -> Photos:
    """The photos with the columns of a CSV file that has one of `path` and `person`, as groups."""
    columns, rows = _table(file)
    key = next((name for name in ("path", "person") if name in columns), None)
    if key is None:
        raise InputError(f"{file}, line 1: expected a column path or person, not {','.join(columns)}")
    table: dict[str, dict[str, str]] = {}
    for line, row in rows:
        if table.setdefault(row[key], row) is not row:
            raise InputError(f"{file}, line {line}: {key} {row[key]!r} stands here for the second time: leave one")
    prefix = photos.folder.name
    keys = photos.people if key == "person" else photos.names
    found = [table.get(k) or table.get(f"{prefix}/{k}") or {} for k in keys]
    if not any(found):
        raise InputError(f"{file}: none of its {len(table)} values of {key} is one of the pictures' "
                         f"({keys[0]!r}, ...): write them the same way")  # fmt: skip
    missing = sum(not row for row in found)
    note = (f"{missing} of {len(found)} pictures have no line in {file.name}: they belong to no group",)
    groups = {name: tuple(row.get(name, "") for row in found) for name in columns if name not in ("path", "person")}
    return replace(photos, groups={**photos.groups, **groups}, notes=photos.notes + (note if missing else ()))


def chosen_groups(photos: Photos, columns: Sequence[str] | None) -> Photos:
    """The photos with these columns as groups, or all. InputError for one that is not there or divides nothing."""
    for name in columns or ():
        if name not in photos.groups:
            raise InputError(f"expected a group column ({', '.join(photos.groups) or 'there is none'}), not {name!r}")
    groups = {name: photos.groups[name] for name in (photos.groups if columns is None else columns)}
    for name, values in groups.items():
        if len(set(values) - {""}) > MAX_VALUES:
            raise InputError(f"column {name} has {len(set(values) - {''})} values, groups have at most {MAX_VALUES}",
                             hint="--by names the columns that are groups")  # fmt: skip
    return replace(photos, groups=groups)


def _of_folder(folder: Path) -> Photos:
    found = sorted(
        Path(where, name).relative_to(folder)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
    if not found:
        raise InputError(f"{folder}: no JPEG or PNG file in it; expected a folder for each person with pictures inside")
    outside = [p for p in found if len(p.parts) == 1]
    if outside:
        raise InputError(f"{folder}: {len(outside)} pictures lie in no person's folder ({outside[0]}, ...): "
                         "expected a folder for each person")  # fmt: skip
    return Photos(folder, tuple(p.as_posix() for p in found), tuple(p.parts[0] for p in found))


def _of_list(file: Path, columns: Sequence[str], rows: Iterator[tuple[int, dict[str, str]]]) -> Photos:
    listed: dict[str, dict[str, str]] = {}
    for line, row in rows:
        for name in ("path", "person"):
            if not row[name]:
                raise InputError(f"{file}, line {line}: expected a {name}, not an empty field")
        if listed.setdefault(row["path"], row) is not row:
            raise InputError(f"{file}, line {line}: path {row['path']!r} stands here for the second time: leave one")
    if not listed:
        raise InputError(f"{file}: expected a line for each picture, there is none")
    groups = {c: tuple(row[c] for row in listed.values()) for c in columns if c not in ("path", "person")}
    return Photos(file.parent, tuple(listed), tuple(row["person"] for row in listed.values()), groups)


def _of_pairs(file: Path, rows: Iterator[tuple[int, dict[str, str]]]) -> Photos:
    """People are not named in a list of pairs: pictures that mated pairs connect are one person's."""
    places: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    apart: list[tuple[int, int, int]] = []
    owner: list[int] = []

    def root(i: int) -> int:
        while owner[i] != i:
            i = owner[i]
        return i

    for line, row in rows:
        if row["same"].lower() not in _SAME:
            raise InputError(f"{file}, line {line}: same must be 1 or 0, not {row['same']!r}")
        ends = []
        for name in (row["a"], row["b"]):
            if not name:
                raise InputError(f"{file}, line {line}: expected two paths, one is empty")
            if name not in places:
                places[name] = len(places)
                owner.append(len(owner))
            ends.append(places[name])
        a, b = sorted(ends)
        if a == b:
            raise InputError(f"{file}, line {line}: a picture was paired with itself")
        pairs.append((a, b))
        if _SAME[row["same"].lower()]:
            owner[max(root(a), root(b))] = min(root(a), root(b))
        else:
            apart.append((line, a, b))
    if not pairs:
        raise InputError(f"{file}: expected a line for each pair, there is none")
    for line, a, b in apart:
        if root(a) == root(b):
            raise InputError(f"{file}, line {line}: same is 0 where other lines connect the two pictures as one "
                             "person's: one of them is wrong")  # fmt: skip
    names = tuple(places)
    return Photos(
        file.parent, names, tuple(names[root(i)] for i in range(len(names))), pairs=tuple(dict.fromkeys(pairs))
    )


def _table(file: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The columns and each line's fields. InputError for what is no CSV file in UTF-8."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: expected text in UTF-8 ({error.reason} at byte {error.start}): save it so"
        ) from error
    reader = csv.reader(text.splitlines(), strict=True)
    header = [name.strip() for name in next(reader, [])]
    if not header or len(set(header)) != len(header) or "" in header:
        raise InputError(f"{file}, line 1: expected the names of the columns, each once, not {','.join(header)!r}")

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        try:
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise InputError(
                        f"{file}, line {reader.line_num}: expected {len(header)} fields, not {len(fields)}"
                    )
                yield reader.line_num, dict(zip(header, (f.strip() for f in fields), strict=True))
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: not a line of a CSV file ({error})") from error

    return header, rows()
