"""The manifest and the model files: size and sha256 checked, then those very bytes are given out.

Nothing else opens a model.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

from facesdk.digest import sha256
from facesdk.engine.operating_points import OperatingPoint, OperatingPoints, matrix_of
from facesdk.errors import InputError, ModelIntegrityError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = "manifest.toml"
COMMON_MODELS = ("blazeface_short_range", "face_mesh")


@dataclass(frozen=True)
class CompiledFile:
    """A model compiled for an Edge TPU, beside the file for the processor: `edgetpu = { file, size, sha256 }`."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelEntry:
    """One model of the manifest. Input element = (byte - mean) / scale before quantization.

    packed: (offset, size) of the large weights in the file, which XNNPACK keeps a repacked copy of.
    """

    name: str
    file: str
    version: str
    description: str
    size: int
    sha256: str
    origin: str
    licence: str
    mean: float
    scale: float
    input: dict[str, Any]
    outputs: tuple[dict[str, Any], ...]
    packed: tuple[tuple[int, int], ...]
    edgetpu: CompiledFile | None = None


@dataclass(frozen=True)
class EmbedderEntry:
    """One way to features: models whose unit vectors are joined, each with weight its share of the squared length.

    same_person: samples of one enrollment that score less are not taken for one person's.
    processor_points: measured with the models themselves. edgetpu_points: measured with their compiled files in their
    place ([[operating_points.NAME_edgetpu]]), for each target of processor_points, or none at all.
    """

    name: str
    models: tuple[str, ...]
    weights: tuple[float, ...]
    same_person: float
    processor_points: tuple[OperatingPoints, ...]
    edgetpu_points: tuple[OperatingPoints, ...] = ()

    @property
    def targets(self) -> tuple[float, ...]:
        """The target false match rates that there are points for, the highest first."""
        return tuple(sorted((points.target_fmr for points in self.processor_points), reverse=True))

    def point(self, target_fmr: float, *, samples: int, frames: int) -> OperatingPoint:
        """The point in use on the processor and the Edge TPU alike: the one with the higher threshold.

        Its figures are of the files that it was measured with. The other was measured at this threshold or a lower one:
        here it has no more false matches than there, so the target is held; its FNMR here is not known. InputError for
        a target without points.
        """
        found = [
            points.at(samples=samples, frames=frames)
            for points in (*self.processor_points, *self.edgetpu_points)
            if points.target_fmr == target_fmr
        ]
        if not found:
            listed = ", ".join(f"{target:g}" for target in self.targets) or "none"
            raise InputError(
                f"embedder {self.name!r} was not measured at FMR {target_fmr!r}: choose another target_fmr ({listed})"
            )
        return max(found, key=lambda point: point.threshold)


@dataclass(frozen=True)
class Manifest:
    """What is shipped."""

    folder: Path
    models: dict[str, ModelEntry]
    embedders: dict[str, EmbedderEntry]

    def embedder(self, name: str) -> EmbedderEntry:
        """The entry of an embedder; InputError names those there are."""
        if name not in self.embedders:
            raise InputError(f"embedder must be one of {', '.join(sorted(self.embedders))}, not {name!r}")
        return self.embedders[name]

    def model_ids(self, embedder: str) -> tuple[str, ...]:
        """sha256 of each model that has a part in an embedder's features: detector, mesh, networks."""
        return tuple(self.models[name].sha256 for name in (*COMMON_MODELS, *self.embedder(embedder).models))


def models_folder() -> Path:
    """Where the shipped models lie: in the installed package, or in the checkout it was linked from."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "_models"
    return installed if (installed / MANIFEST).exists() else here.parent / "models"


@cache
def load_manifest(folder: Path | None = None) -> Manifest:
    """The manifest of the shipped models, or of another folder. ModelIntegrityError if it cannot be read."""
    folder = folder or models_folder()
    try:
        with open(folder / MANIFEST, "rb") as file:
            data = tomllib.load(file)
        return _parse(folder, data)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        hint = "install facesdk again"
        raise ModelIntegrityError(f"the model manifest {folder / MANIFEST} cannot be read ({error}): {hint}") from error


def _parse(folder: Path, data: dict[str, Any]) -> Manifest:
    if data["format"] != 1:
        raise ValueError(f"format {data['format']} where 1 was expected")
    models = {}
    for name, entry in data["models"].items():
        normalization = entry.pop("normalization")
        entry.pop("origin_sha256")
        entry["outputs"] = tuple(entry["outputs"])
        entry["packed"] = tuple((int(offset), int(size)) for offset, size in entry["packed"])
        if "edgetpu" in entry:
            entry["edgetpu"] = CompiledFile(**entry["edgetpu"])
        models[name] = ModelEntry(name=name, mean=normalization["mean"], scale=normalization["scale"], **entry)
    points = data.get("operating_points", {})
    embedders = {}
    for name, entry in data["embedders"].items():
        used = [models[model] for model in ("face_mesh", *entry["models"])]
        ids = tuple(m.sha256[:16] for m in used)
        compiled_ids = tuple((m.edgetpu or m).sha256[:16] for m in used)
        processor = _points(points.get(name, ()), ids)
        edgetpu = _complete(_points(points.get(f"{name}_edgetpu", ()), compiled_ids), processor)
        embedders[name] = EmbedderEntry(
            name, tuple(entry["models"]), tuple(entry["weights"]), float(entry["same_person"]), processor, edgetpu
        )
    return Manifest(folder, models, embedders)


def _points(listed: Iterable[dict[str, Any]], ids: tuple[str, ...]) -> tuple[OperatingPoints, ...]:
    """The points that were measured with these models."""
    ours = (entry for entry in listed if tuple(entry["models"]) == ids)
    return tuple(OperatingPoints(**{name: _frozen(value) for name, value in entry.items()}) for entry in ours)


def _frozen(value: Any) -> Any:
    if isinstance(value, str):
        return matrix_of(value)
    return tuple(tuple(v) if isinstance(v, list) else v for v in value) if isinstance(value, list) else value


def _complete(
    measured: tuple[OperatingPoints, ...], wanted: tuple[OperatingPoints, ...]
) -> tuple[OperatingPoints, ...]:
    """What was measured, if it has each of the wanted targets; else nothing."""
    return measured if {p.target_fmr for p in measured} >= {p.target_fmr for p in wanted} else ()


def load_model(name: str, manifest: Manifest | None = None, *, edgetpu: bool = False) -> mmap.mmap:
    """A private copy in memory of a model, after its size and sha256 were found to be the manifest's.

    edgetpu: its file for the Edge TPU, KeyError where there is none. ModelIntegrityError if size or sha256 differ. What
    happens to the file later does not reach the copy.
    """
    manifest = manifest or load_manifest()
    entry: ModelEntry | CompiledFile | None = manifest.models[name]
    if edgetpu:
        entry = manifest.models[name].edgetpu
    if entry is None:
        raise KeyError(f"{name} was not compiled for the Edge TPU")
    path = manifest.folder / entry.file
    hint = "install facesdk again"
    try:
        with open(path, "rb", buffering=0) as file:
            return checked_copy(file, entry, path=path, hint=hint)
    except OSError as error:
        raise ModelIntegrityError(f"model {path} cannot be read ({error.strerror}): {hint}") from error


def checked_copy(file: FileIO, entry: ModelEntry | CompiledFile, *, path: Path, hint: str) -> mmap.mmap:
    """A private copy in memory of an open file, found to have the entry's size and sha256; else ModelIntegrityError."""
    size = os.fstat(file.fileno()).st_size
    if size != entry.size:
        raise ModelIntegrityError(f"model {path} should have {entry.size} bytes and has {size}: {hint}")
    # Whole pages of its own, so that a network can give back those that its runtime has repacked. Shared ones
    # (Python's default) would stay allocated; taking them all at once costs a third of one fault a page.
    data = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
    view = memoryview(data)
    filled = 0
    while filled < size and (count := file.readinto(view[filled:])):
        filled += count
    found = sha256(view).hex()
    view.release()
    if found != entry.sha256:
        raise ModelIntegrityError(f"model {path} should have sha256 {entry.sha256} and has {found}: {hint}")
    return data
