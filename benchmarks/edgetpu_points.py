"""The thresholds at which an Edge TPU holds the processor's targets; the higher of the two is the one in use.

python benchmarks/edgetpu_points.py --data DATA [--device usb:0] [--models FOLDER] [--write]

DATA as for calibration.py, which measures here what it measures of the processor. Every compiled network of FOLDER's
manifest runs on the device, all else on the processor, in one process. --write puts
[[operating_points.NAME_edgetpu]] into that manifest for each embedder; one with a threshold more than 0.01 over the
processor's loses those it had. Exit code 1, with the reason, if there is one, or nothing to measure with. Features are
not kept: each run measures the device anew.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from calibration import EMBEDDERS, Calibration, table
from operating_points import write_points
from photo_sets import SETS, measured, photo_set

from facesdk import Engine
from facesdk.engine.networks import MANIFEST, EmbedderEntry, Manifest, load_manifest, models_folder
from facesdk.errors import FaceSdkError, InputError

# A device further off is not taken for the same network. From the target 2e-5 to 1e-5 the thresholds rise by 0.02.
MAX_RISE = 0.01


def unmeasured(manifest: Manifest, device: str) -> Engine:
    """The joint engine with the compiled networks on the Edge TPU, as if the operating points had been measured.

    AcceleratorError where Engine(runtime="edgetpu") has another reason to refuse the device than that they were not.
    """
    as_measured = patch("facesdk.engine.twin.measured", lambda _entry: True)
    with patch("facesdk.engine.engine.load_manifest", lambda: manifest), as_measured:
        return Engine("joint", runtime=f"edgetpu:{device}")


def rise_of(entry: EmbedderEntry, points: Sequence[dict]) -> float:
    """How far the device's thresholds lie above the processor's, at most, over all points that both have."""
    own = {points.target_fmr: points.thresholds for points in entry.processor_points}
    return max(
        there - here
        for point in points
        for row, own_row in zip(point["thresholds"], own[point["target_fmr"]], strict=True)
        for there, here in zip(row, own_row, strict=True)
    )


def run(data: Path, folder: Path, *, device: str, write: bool) -> list[str]:
    """Measures, prints, writes; the embedders with a threshold that would rise too far."""
    manifest = load_manifest(folder)
    entries = [manifest.embedder(name) for name in EMBEDDERS]
    entries = [entry for entry in entries if any(manifest.models[name].edgetpu for name in entry.models)]
    if not all(entry.processor_points for entry in entries):
        raise InputError("there is nothing to hold: measure the processor's points first, benchmarks/calibration.py")
    engine = unmeasured(manifest, device)
    sets = {name: photo_set(data, name, measured(engine, data, name)) for name in SETS}
    compiled = ", ".join(name for name, model in manifest.models.items() if model.edgetpu)
    print(f"{compiled} on {engine.runtime.version} ({platform.machine()}, {datetime.date.today()})\n")
    written, failed = {}, []
    for entry in entries:
        models = [manifest.models[name] for name in ("face_mesh", *entry.models)]
        points = Calibration(sets, entry.name, [(m.edgetpu or m).sha256[:16] for m in models]).points()
        rise = rise_of(entry, points)
        print(f"{table(entry.name, points)}\nabove the processor's by at most {rise:.3f}\n")
        if not rise <= MAX_RISE:
            failed.append(entry.name)
        written[f"{entry.name}_edgetpu"] = [] if entry.name in failed else points
    if write:
        write_points(folder / MANIFEST, written)
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
