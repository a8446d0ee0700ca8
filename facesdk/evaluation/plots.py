"""The plots of a report as PNG files' bytes: the same bytes for the same result and version of matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from facesdk.errors import InputError

Result = dict[str, Any]
_SIZE_IN, _DPI = (7.0, 4.2), 110
_LEAST = 1e-7  # of a rate on a logarithmic axis


def plots(result: Result) -> dict[str, bytes]:
    """Name to PNG: det, histogram, and discard where there is a curve. InputError without matplotlib."""
    drawn = {"det": png(_det, result), "histogram": png(_histogram, result)}
    if result["error_versus_discard"]["curves"]:
        drawn["discard"] = png(_discard, result)
    return drawn


def png(draw: Callable[[Any, Result], None], result: Result) -> bytes:
    """What draw(axes, result) draws. InputError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("a report needs matplotlib", hint="pip install 'facesdk-unlock[eval]'") from error
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot(), result)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _det(axes: Any, result: Result) -> None:
    """FNMR over FMR, both logarithmic, of everybody and of each group."""
    for group in result["one_to_one"]["groups"]:
        pairs = [(x, y) for x, y in zip(group["curve"]["fmr"], group["curve"]["fnmr"], strict=True) if x > 0 and y > 0]
        if pairs:
            name = group["group"] or "everybody"
            axes.plot(*zip(*pairs, strict=True), label=name, lw=2 if not group["group"] else 1)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="FMR, by picture",
        ylabel="FNMR, by picture",
        title="DET, one photo against one",
    )
    if axes.lines:
        axes.set_xlim(left=max(_LEAST, axes.get_xlim()[0]))
    else:
        axes.set(xlim=(_LEAST, 1), ylim=(_LEAST, 1))
        axes.text(0.5, 0.5, "no threshold has errors of both kinds", transform=axes.transAxes, ha="center")
    axes.grid(alpha=0.3, which="both")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _histogram(axes: Any, result: Result) -> None:
    """Shares of scores, logarithmic, so that the tails that decide can be seen."""
    everybody = result["one_to_one"]["groups"][0]
    shown = everybody["histogram"]
    for kind, color in (("non_mated", "tab:red"), ("mated", "tab:green")):
        total = sum(shown[kind])
        if total:
            shares = [count / total for count in shown[kind]]
            axes.stairs(
                shares, [*shown["lower_ends"], 1.0], fill=True, alpha=0.45, color=color, label=kind.replace("_", "-")
            )
    for rates in everybody["rates"]:
        if rates["chosen"] == "shipped":
            axes.axvline(rates["threshold"], color="k", lw=0.8, ls=":")
    axes.set(yscale="log", xlabel="comparison score (dotted: shipped thresholds)", ylabel="share of pairs",
             title="Scores, one photo against one")  # fmt: skip
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _discard(axes: Any, result: Result) -> None:
    found = result["error_versus_discard"]
    for curve in found["curves"]:
        axes.plot(curve["discarded"], curve["fnmr"], label=curve["measure"], lw=1.2)
    axes.set(xlabel="share of mated pairs discarded, the worst first", ylabel="FNMR of the rest",
             title=f"Error versus discard at threshold {found['threshold']:.4f}")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
