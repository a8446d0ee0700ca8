"""The list of networks that are not shipped (models/optional.toml), by the sha256 of the files that they come as."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from facesdk.digest import sha256
from facesdk.engine.networks import ModelEntry, models_folder
from facesdk.engine.optional.golden import SIDE
from facesdk.errors import InputError, ModelIntegrityError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CATALOGUE = "optional.toml"
_INPUT = {"name": "input", "dtype": "float32", "shape": [1, SIDE, SIDE, 3]}
_OUTPUT = {"name": "live", "dtype": "float32", "shape": [1, 1, 1, 3]}


@dataclass(frozen=True)
class Source:
    """A file as its authors published it."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Golden:
    """What a network answers to the picture of a seed: softmax of three classes, the second is live."""

    seed: int
    answer: tuple[float, float, float]


@dataclass(frozen=True)
class KnownNetwork:
    """One network of the list. scale: how many times the detector's box it sees. model: what is made of the source."""

    author: str
    source: Source
    scale: float
    golden: tuple[Golden, ...]
    model: ModelEntry

    @property
    def name(self) -> str:
        """As `facesdk models` has it."""
        return self.model.name


@cache
def catalogue(folder: Path | None = None) -> Mapping[str, KnownNetwork]:
    """The networks by name. ModelIntegrityError if the list cannot be read."""
    path = (folder or models_folder()) / CATALOGUE
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
        if data["format"] != 1:
            raise ValueError(f"format {data['format']} where 1 was expected")
        return {name: _entry(name, dict(entry)) for name, entry in data["networks"].items()}
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        hint = "install facesdk again"
        raise ModelIntegrityError(f"the list of optional models {path} cannot be read ({error}): {hint}") from error


def _entry(name: str, entry: dict[str, Any]) -> KnownNetwork:
    source = Source(**entry.pop("source"))
    golden = tuple(Golden(int(seed), (float(a), float(b), float(c))) for seed, a, b, c in entry.pop("golden"))
    author, scale = str(entry.pop("author")), float(entry.pop("scale"))
    model = ModelEntry(
        name=name, file=f"{name}.tflite", version=source.sha256[:8], mean=0.0, scale=1.0, input=_INPUT,
        outputs=(_OUTPUT,), packed=(), **entry,
    )  # fmt: skip
    return KnownNetwork(author, source, scale, golden, model)


def identify(data: bytes, *, shown: str) -> KnownNetwork:
    """The network that these bytes are the source of. InputError names what is known; shown: the file, for it."""
    digest = sha256(data).hex()
    for known in catalogue().values():
        if known.source.sha256 == digest:
            return known
    listed = "; ".join(
        f"{k.source.file} ({k.source.size} bytes, sha256 {k.source.sha256})" for k in catalogue().values()
    )
    raise InputError(
        f"{shown} is no network that this facesdk knows (sha256 {digest})",
        hint=f"known are {listed}; docs/optional-models.md says where they are",
    )


def named(name: str) -> KnownNetwork:
    """The network of this name; InputError names those there are."""
    if name not in catalogue():
        raise InputError(f"there is no optional model {name!r}, only {', '.join(catalogue())}")
    return catalogue()[name]
