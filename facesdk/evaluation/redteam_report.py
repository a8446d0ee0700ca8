"""The report of a red-team test as files: report.json, plots, one HTML page that asks the network for nothing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from facesdk.evaluation.plots import png
from facesdk.evaluation.redteam_counts import Result, measure, read_results
from facesdk.evaluation.redteam_folder import REPORT, check_no_links, check_ours
from facesdk.evaluation.report import page, write

_TEMPLATE = "redteam.html.j2"


def make_report(folder: Path) -> Result:
    """The report, written into the folder's own REPORT in the place of an earlier one. InputError."""
    check_ours(folder)
    names = (REPORT, f"{REPORT}.partial", f"{REPORT}.old")
    check_no_links(folder, names)
    settings, rows = read_results(folder)
    result = measure(settings, rows)
    write(render(result), folder / REPORT, replace=True)
    return result


def render(result: Result) -> dict[str, bytes]:
    """File name to bytes. InputError where the extra `eval` is not installed."""
    drawn: dict[str, bytes] = {}
    for part in result["parts"]:
        drawn[f"rates_{part['part']}"] = png(partial(_rates, part), result)
        if part["time_to_decision"]["n"]:
            drawn[f"times_{part['part']}"] = png(partial(_times, part), result)
    files = {f"{name}.png": data for name, data in drawn.items()}
    files["report.json"] = (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()
    files["report.html"] = page(result, drawn, template=_TEMPLATE).encode()
    return files


def _rates(part: Result, axes: Any, _result: Result) -> None:
    """APCER of each species, BPCER, with intervals; the worst species is the red one."""
    bars = [(f"APCER {rate['species']}\nn = {rate['n']}", rate, "tab:orange") for rate in part["apcer"] if rate["n"]]
    if part["bpcer"]["n"]:
        bars.append((f"BPCER\nn = {part['bpcer']['n']}", part["bpcer"], "tab:blue"))
    for at, (_, rate, color) in enumerate(bars):
        low, high = rate["clopper_pearson"]
        worst = part["apcer_worst"] is not None and rate.get("species") == part["apcer_worst"]["species"]
        axes.plot([at, at], [low, high], color="tab:red" if worst else color, lw=6, alpha=0.45)
        axes.plot([at], [rate["rate"]], "o", color="tab:red" if worst else color)
    axes.set_xticks(range(len(bars)), [name for name, _, _ in bars], fontsize=8)
    axes.set(ylim=(-0.02, 1.02), ylabel="share of clips", xlim=(-0.5, max(len(bars), 1) - 0.5),
             title=f"Errors and their 95 % intervals, {part['part']} clips (red: worst attack)")  # fmt: skip
    axes.grid(alpha=0.3, axis="y")


def _times(part: Result, axes: Any, _result: Result) -> None:
    """When live clips were decided."""
    seconds = [ms / 1e3 for ms in part["time_to_decision"]["times_ms"]]
    shares = [(number + 1) / len(seconds) for number in range(len(seconds))]
    axes.step([0.0, *seconds], [0.0, *shares], where="post")
    axes.set(xlabel="seconds from the first frame", ylabel="share of live clips that passed", ylim=(0, 1.02),
             title=f"Time to the decision, {part['part']} clips, n = {len(seconds)}")  # fmt: skip
    axes.grid(alpha=0.3)
