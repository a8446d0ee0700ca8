"""A result as files: report.json, PNG plots and one self-contained HTML page, in a folder that is whole or absent."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facesdk.errors import InputError
from facesdk.evaluation.plots import plots

Result = dict[str, Any]
TEMPLATE = "report.html.j2"


def render(result: Result) -> dict[str, bytes]:
    """File name to bytes; the same for the same result. InputError where the extra `eval` is not installed."""
    drawn = plots(result)
    files = {f"{name}.png": png for name, png in drawn.items()}
    files["report.json"] = (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()
    files["report.html"] = page(result, drawn).encode()
    return files


def check_free(folder: Path, *, replace: bool) -> None:
    """InputError where a report of this name would be in the place of something."""
    if folder.exists() and not (replace and (folder / "report.json").is_file()):
        hint = "--replace replaces a report" if (folder / "report.json").is_file() else "name a new folder with --out"
        raise InputError(f"{folder} exists already", hint=hint)


def write(files: Mapping[str, bytes], folder: Path, *, replace: bool = False) -> None:
    """Makes the folder with these files; killed at any moment there is the whole folder or the former state."""
    check_free(folder, replace=replace)
    partial, old = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            with open(partial / name, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror})", hint="name another folder with --out"
        ) from error


def page(result: Result, drawn: Mapping[str, bytes], *, template: str = TEMPLATE) -> str:
    """One HTML page with the plots in it. InputError without jinja2."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise InputError("a report needs jinja2", hint="pip install 'facesdk-unlock[eval]'") from error
    environment = Environment(
        loader=PackageLoader("facesdk.evaluation", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(rate=rate_text, interval=interval_text, count=lambda n: f"{n:,}")
    pictures = {name: base64.b64encode(png).decode() for name, png in drawn.items()}
    text: str = environment.get_template(template).render(result=result, pictures=pictures)
    return text + "\n"


def rate_text(value: float | None) -> str:
    """A rate for people: per cent from a thousandth on, else as a power of ten."""
    if value is None:
        return "not known"
    if value == 0:
        return "0"
    return f"{100 * value:.3g} %" if value >= 1e-3 else f"{value:.2g}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Both ends, or what takes their place."""
    return "no interval" if interval is None else f"{rate_text(interval[0])} to {rate_text(interval[1])}"
