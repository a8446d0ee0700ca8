"""The manifest and the model files: size and sha256 checked, then those very bytes are given out.

Nothing else opens a model.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from facesdk.errors import InputError, ModelIntegrityError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = "manifest.toml"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the comparison score and what was measured there (see models/README.md for the data).

    fmr_bound: 95 % upper bound of the false match rate in the worse of the groups; comparisons: non-mated ones of it.
    """

    target_fmr: float
    threshold: float
    group: str
    comparisons: int
    fmr: float
    fmr_bound: float
    fnmr: float


@dataclass(frozen=True)
class ModelEntry:
    """One model of the manifest. Input element = (byte - mean) / scale before quantization."""

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


@dataclass(frozen=True)
class EmbedderEntry:
    """One way to features: models whose unit vectors are joined, each with weight its share of the squared length."""

    name: str
    models: tuple[str, ...]
    weights: tuple[float, ...]
    operating_points: tuple[OperatingPoint, ...]


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
        """sha256 of each model an embedder uses, in order."""
        return tuple(self.models[name].sha256 for name in self.embedder(embedder).models)


def models_folder() -> Path:
    """Where the shipped models lie: in the installed package, or in the checkout it was linked from."""
    here = Path(__file__).resolve().parent
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
        models[name] = ModelEntry(name=name, mean=normalization["mean"], scale=normalization["scale"], **entry)
    points = data.get("operating_points", {})
    embedders = {}
    for name, entry in data["embedders"].items():
        listed = tuple(OperatingPoint(**point) for point in points.get(name, ()))
        embedders[name] = EmbedderEntry(name, tuple(entry["models"]), tuple(entry["weights"]), listed)
    return Manifest(folder, models, embedders)


def load_model(name: str, manifest: Manifest | None = None) -> mmap.mmap:
    """The bytes of a model, mapped, after their size and sha256 were found to be the manifest's.

    ModelIntegrityError if they are not. Mapped and not copied: once a runtime has packed the weights, the pages can be
    given back (release_model). Whoever may write into the installed file may as well write into the code that reads it.
    """
    manifest = manifest or load_manifest()
    entry = manifest.models[name]
    path = manifest.folder / entry.file
    hint = "install facesdk again"
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                raise ModelIntegrityError(f"model {path} should have {entry.size} bytes and has {size}: {hint}")
            data = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except OSError as error:
        raise ModelIntegrityError(f"model {path} cannot be read ({error.strerror}): {hint}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise ModelIntegrityError(f"model {path} should have sha256 {entry.sha256} and has {found}: {hint}")
    return data


def release_model(data: mmap.mmap) -> None:
    """Gives the mapped pages back to the system; what is read again later comes from the file's cache."""
    data.madvise(mmap.MADV_DONTNEED)
