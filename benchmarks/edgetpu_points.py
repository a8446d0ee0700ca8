"""The thresholds at which an Edge TPU holds the processor's targets on LFW; the higher of the two is the one in use.

python benchmarks/edgetpu_points.py --data DATA [--device usb:0] [--models FOLDER] [--write]

DATA as for lfw.py. Every compiled network of FOLDER's manifest runs on the device, all else on the processor, in one
process. The threshold of a target is the processor's where the device holds it there, else the lowest at which it does.
--write puts [[operating_points.NAME_edgetpu]] into that manifest for each embedder; one with a threshold more than 0.01
over the processor's loses those it had. Exit code 1, with the reason, if there is one, or nothing to measure with.
Features are not kept: each run measures the device anew.
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from lfw import ARCHIVE, EMBEDDERS, Photos, all_scores, extract, group_scores, labelled
from operating_points import lowest_threshold, point_at, write_points

from facesdk import Engine
from facesdk.errors import FaceSdkError, InputError
from facesdk.models import MANIFEST, EmbedderEntry, Manifest, load_manifest, models_folder

# A device further off is not taken for the same network. From the target 2e-5 to 1e-5 the thresholds rise by 0.03.
MAX_RISE = 0.01
Pair = tuple[dict, dict]  # what the accelerator comes to at the processor's threshold, and at the one for both


def unmeasured(manifest: Manifest, device: str) -> Engine:
    """The joint engine with the compiled networks on the Edge TPU, as if the operating points had been measured.

    AcceleratorError where Engine(runtime="edgetpu") has another reason to refuse the device than that they were not.
    """
    measured = patch("facesdk.accelerator._measured", lambda _entry: True)
    with patch("facesdk.engine.load_manifest", lambda: manifest), measured:
        return Engine("joint", runtime=f"edgetpu:{device}")


def points_of(photos: Photos, manifest: Manifest, entry: EmbedderEntry) -> list[Pair]:
    """For each target the counts at the processor's threshold, and at the lowest not below it that holds the target."""
    models = [manifest.models[name] for name in ("face_mesh", *entry.models)]
    ids = [(model.edgetpu or model).sha256[:16] for model in models]
    mated, _, _ = all_scores(photos.features[entry.name], photos.subjects, floor=1.0)
    groups, pairs = group_scores(photos, entry.name), []
    for own in entry.processor_points:
        at = partial(point_at, target=own.target_fmr, mated=mated, groups=groups, models=ids)
        point = there = at(own.threshold)
        if there["fmr"] > own.target_fmr:
            point = at(lowest_threshold(groups, own.target_fmr))
        pairs.append((there, point))
    return pairs


def table(entries: Sequence[EmbedderEntry], measured: Mapping[str, list[Pair]]) -> str:
    """A row for each target of each embedder."""
    lines = [
        "| embedder | target FMR | processor's threshold | its FNMR | false matches there "
        "| threshold | false matches | allowed | 95 % bound | FNMR |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        for own, (there, point) in zip(entry.processor_points, measured[entry.name], strict=True):
            count, target = point["comparisons"], own.target_fmr
            lines.append(
                f"| {entry.name} | {target:.0e} | {own.threshold:.5f} | {100 * own.fnmr:.2f} % "
                f"| {round(there['fmr'] * there['comparisons']):,} {there['group']} "
                f"| {point['threshold']:.5f} | {round(point['fmr'] * count):,} of {count:,} {point['group']} "
                f"| {math.floor(target * count):,} | {point['fmr_bound']:.1e} | {100 * point['fnmr']:.2f} % |"
            )
    return "\n".join(lines)


def run(data: Path, folder: Path, *, device: str, write: bool) -> list[str]:
    """Measures, prints, writes; the embedders with a threshold that would rise too far."""
    manifest = load_manifest(folder)
    entries = [manifest.embedder(name) for name in EMBEDDERS]
    entries = [entry for entry in entries if any(manifest.models[name].edgetpu for name in entry.models)]
    if not all(entry.processor_points for entry in entries):
        raise InputError("there is nothing to hold: measure the processor's operating points first, benchmarks/lfw.py")
    engine = unmeasured(manifest, device)
    photos = labelled(extract(engine, data / ARCHIVE), data, manifest)
    measured = {entry.name: points_of(photos, manifest, entry) for entry in entries}
    compiled = ", ".join(name for name, model in manifest.models.items() if model.edgetpu)
    print(f"LFW deep-funneled, faces found: {len(photos.paths):,}; {compiled} on {engine.runtime.version}")
    print(f"({platform.machine()}, {datetime.date.today()}).\n")
    print(table(entries, measured))
    points = {name: [point for _, point in pairs] for name, pairs in measured.items()}
    rises = {name: max(p["threshold"] - there["threshold"] for there, p in pairs) for name, pairs in measured.items()}
    failed = [name for name, rise in rises.items() if rise > MAX_RISE]
    if write:
        write_points(folder / MANIFEST, {f"{n}_edgetpu": [] if n in failed else p for n, p in points.items()})
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every embedder with a compiled network holds its targets at thresholds near the processor's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="", help="usb, pci, usb:0 ...; default: any")
    parser.add_argument("--models", type=Path, default=models_folder())
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    try:
        failed = run(given.data, given.models, device=given.device, write=given.write)
    except FaceSdkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if failed:
        names = ", ".join(failed)
        print(f"error: a threshold of {names} would have to rise by more than {MAX_RISE}: no points", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
