"""The table of boards, from the JSON files that `facesdk bench --board` wrote into benchmarks/boards/.

python benchmarks/boards.py [--write docs/measurements.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from readme import write_between_markers

FOLDER = Path(__file__).parent / "boards"
FORMAT = 1
HEADER = (
    "board", "memory, page", "kernels", "first frame / p50 / p99, ms", "tracking", "cold verify, ms", "peak, MB",
    "portraits", "heat, throttling, power",
)  # fmt: skip
# Outputs of the int8 networks on one synthetic crop, as every processor so far gave them with LiteRT or our executor.
BITS = {"mobilefacenet": "99cdfaa4e2a89050", "sface": "7a2cf18ab56e45e8"}


def read(path: Path) -> dict[str, Any]:
    """The file's content. ValueError for another format."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if data.get("format") != FORMAT:
        raise ValueError(f"{path}: format {data.get('format')} where {FORMAT} was expected")
    return data


def _name(data: dict[str, Any]) -> str:
    board = data["board"]
    parts = sorted({core["part"] for core in board["cores"] if core["part"]})
    name = board["model"] or board["processor"] or board["machine"]
    name += f" ({len(board['cores'])} x {', '.join(parts)})" if parts else f" ({len(board['cores'])} cores)"
    return f"{name}, emulated" if data["emulated"] else name


def _portraits(data: dict[str, Any]) -> str:
    """Right decisions of all embedders, and whether the int8 networks gave the bits of all other boards."""
    pairs = [row[kind] for row in data["accuracy"]["portraits"].values() for kind in ("mated", "non_mated")]
    decisions = f"{sum(pair[0] for pair in pairs)} of {sum(pair[1] for pair in pairs)}"
    if not data["runtime"]["name"].startswith(("litert", "native")):  # those whose sums are whole numbers added alike
        return decisions
    return f"{decisions}, {'same bits' if data['accuracy']['bits'] == BITS else 'OTHER BITS'}"


def _conditions(conditions: dict[str, Any]) -> str:
    before, after, power = conditions["celsius_before"], conditions["celsius_after"], conditions["power"]
    heat = f"{max(before.values()):.0f} to {max(after.values()):.0f} °C" if before and after else "heat unknown"
    watts = f"{power['watts']:.1f} W ({power['source']})" if power else "power unknown"
    return (
        f"{heat}; {conditions['throttling'] or 'no throttling seen'}; {watts}; load {conditions['load_average_before']}"
    )


def row(data: dict[str, Any], embedder: str) -> list[str]:
    """One line of the table; what was not measured is a dash."""
    board, times = data["board"], data["times"]
    cells = [
        _name(data),
        f"{board['memory_mib'] or '?'} MiB, {board['page_size'] // 1024} KiB",
        data["kernels"]["used"],
    ]
    if data["emulated"]:
        return [*cells[:1], "-", cells[2], *["-"] * 4, _portraits(data), "-"]
    whole, tracking = times["pipeline"][embedder], times["tracking"][embedder]
    return [
        *cells, f"{whole['first_ms']:.0f} / {whole['p50_ms']:.1f} / {whole['p99_ms']:.1f}",
        f"{tracking['tracking_ms'] / tracking['detection_ms']:.2f} x",
        f"{times['cold_verify_ms'][embedder]:.0f}", f"{data['memory']['verify_peak_mb'][embedder]:.0f}",
        _portraits(data), _conditions(data["conditions"]),
    ]  # fmt: skip


def table(files: list[dict[str, Any]], embedder: str = "mobilefacenet") -> str:
    """The table of docs/measurements.md, boards before emulated processors."""
    rows = [row(data, embedder) for data in sorted(files, key=lambda d: (d["emulated"], _name(d)))]
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join([
        f"{embedder}, 640x480 frames. An emulated processor has decisions and bits but no times. See [how to add a "
        "board](../benchmarks/boards/README.md).", "",
        *("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines),
    ])  # fmt: skip


def main() -> int:
    """Collects, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", choices=("mobilefacenet", "joint"), default="mobilefacenet")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    text = table([read(path) for path in sorted(arguments.folder.glob("*.json"))], arguments.embedder)
    print(text)
    if arguments.write:
        write_between_markers(arguments.write, "boards", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
