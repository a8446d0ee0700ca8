"""Whether an Edge TPU holds its targets on LFW at the processor's thresholds, which are the ones in use.

python benchmarks/edgetpu_points.py --data DATA [--device usb:0] [--models FOLDER] [--write]

DATA as for lfw.py. Every compiled network of FOLDER's manifest runs on the device, all else on the processor, in one
process. --write puts [[operating_points.NAME_edgetpu]] into that manifest for each embedder that holds all its targets,
and takes away those of one that does not. Exit code 1, with the reason, if there is one that does not, or nothing to
measure with. Features are not kept: each run measures the device anew.
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

from lfw import ARCHIVE, EMBEDDERS, Photos, all_scores, extract, group_scores, labelled
from operating_points import point_at, write_points

from facesdk import Engine
from facesdk.errors import FaceSdkError, InputError
from facesdk.models import MANIFEST, EmbedderEntry, Manifest, load_manifest, models_folder


def unmeasured(manifest: Manifest, device: str) -> Engine:
    """The joint engine with the compiled networks on the Edge TPU, as if the operating points had been measured.

    AcceleratorError where Engine(runtime="edgetpu") has another reason to refuse the device than that they were not.
    """
    measured = patch("facesdk.accelerator._measured", lambda _entry: True)
    with patch("facesdk.engine.load_manifest", lambda: manifest), measured:
        return Engine("joint", runtime=f"edgetpu:{device}")


def points_of(photos: Photos, manifest: Manifest, entry: EmbedderEntry) -> list[dict]:
    """What the features come to at each of the processor's thresholds."""
    models = [manifest.models[name] for name in ("face_mesh", *entry.models)]
    ids = [(model.edgetpu or model).sha256[:16] for model in models]
    mated, _, _ = all_scores(photos.features[entry.name], photos.subjects, floor=1.0)
    groups = group_scores(photos, entry.name)
    return [
        point_at(p.threshold, target=p.target_fmr, mated=mated, groups=groups, models=ids)
        for p in entry.operating_points
    ]


def table(entries: Sequence[EmbedderEntry], measured: Mapping[str, list[dict]]) -> str:
    """A row for each target of each embedder, the processor's FNMR beside the accelerator's."""
    lines = [
        "| embedder | target FMR | threshold | false matches | allowed | 95 % bound | FNMR | processor's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        for point, own in zip(measured[entry.name], entry.operating_points, strict=True):
            target, count = point["target_fmr"], point["comparisons"]
            errors = f"{round(point['fmr'] * count):,} of {count:,} {point['group']}"
            lines.append(
                f"| {entry.name} | {target:.0e} | {point['threshold']:.5f} | {errors} "
                f"| {math.floor(target * count):,} | {point['fmr_bound']:.1e} "
                f"| {100 * point['fnmr']:.2f} % | {100 * own.fnmr:.2f} % |"
            )
    return "\n".join(lines)


def run(data: Path, folder: Path, *, device: str, write: bool) -> list[str]:
    """Measures, prints, writes; the embedders that do not hold their targets."""
    manifest = load_manifest(folder)
    entries = [manifest.embedder(name) for name in EMBEDDERS]
    entries = [entry for entry in entries if any(manifest.models[name].edgetpu for name in entry.models)]
    if not all(entry.operating_points for entry in entries):
        raise InputError("there is nothing to hold: measure the processor's operating points first, benchmarks/lfw.py")
    engine = unmeasured(manifest, device)
    photos = labelled(extract(engine, data / ARCHIVE), data, manifest)
    measured = {entry.name: points_of(photos, manifest, entry) for entry in entries}
    compiled = ", ".join(name for name, model in manifest.models.items() if model.edgetpu)
    print(f"LFW deep-funneled, faces found: {len(photos.paths):,}; {compiled} on {engine.runtime.version}")
    print(f"({platform.machine()}, {datetime.date.today()}).\n")
    print(table(entries, measured))
    failed = [name for name, points in measured.items() if any(p["fmr"] > p["target_fmr"] for p in points)]
    if write:
        kept = {f"{name}_edgetpu": [] if name in failed else points for name, points in measured.items()}
        write_points(folder / MANIFEST, kept)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every embedder with a compiled network holds its targets."""
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
        print(f"error: not every target is held by {', '.join(failed)}: no operating points", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
