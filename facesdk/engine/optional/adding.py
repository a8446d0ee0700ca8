"""From a file that a user has got to a network that is kept: known, read, converted, tried, written."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from facesdk import _core
from facesdk.digest import sha256
from facesdk.engine.building.writer import write
from facesdk.engine.optional.catalogue import KnownNetwork, identify
from facesdk.engine.optional.golden import golden_crop, network_input
from facesdk.engine.optional.minifasnet import minifasnet
from facesdk.engine.optional.pth import MAX_FILE, read_state_dict
from facesdk.engine.optional.store import keep
from facesdk.engine.runtime import choose_runtime, network_of, run_native
from facesdk.errors import InputError, ModelIntegrityError

# Of each class's probability. Runtimes and processors differ in the sixth digit; a wrong order of colours or a division
# by 255 changes the first.
TOLERANCE = 1e-3


def add(files: Iterable[Path], folder: Path) -> list[tuple[KnownNetwork, Path]]:
    """Keep the networks of these files in a folder.

    Nothing is kept before all of the files are known, converted and tried.

    Args:
        files: as their authors published them.
        folder: where to; made where it is missing.

    Returns:
        For each file which network it is, and where it is kept now.

    Raises:
        InputError: a file cannot be read or is not known (it then says which are), or the folder cannot be written to.
        ModelIntegrityError: what was made of it is not what it must be, or answers otherwise than it must.
        AcceleratorError: no runtime can be used to try it.
    """
    made = [(known, converted(known, data)) for known, data in map(_source, files)]
    for known, model in made:
        _check_answers(known, model)
    return [(known, keep(folder, known.model.file, model)) for known, model in made]


def converted(known: KnownNetwork, data: bytes) -> bytes:
    """The .tflite file made of a source; the same bytes on every machine, else ModelIntegrityError."""
    model = write(minifasnet(known.name, read_state_dict(data)))
    found = sha256(model).hex()
    if found != known.model.sha256:
        raise ModelIntegrityError(
            f"{known.name} became sha256 {found} where {known.model.sha256} was expected, and is not kept",
            hint="please report this with the output of facesdk doctor",
        )
    return model


def _source(path: Path) -> tuple[KnownNetwork, bytes]:
    """A file's bytes and which network it is."""
    try:
        # Not waiting for the other end of a pipe that somebody put there.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f"{path} is not a regular file: give the .pth file itself")
            parts, rest = [], MAX_FILE + 1
            while rest and (part := file.read(rest)):
                parts.append(part)
                rest -= len(part)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its name and permissions") from error
    if not rest:
        raise InputError(f"{path} has more than {MAX_FILE} bytes, which no network has that this facesdk knows")
    data = b"".join(parts)
    return identify(data, shown=str(path)), data


def _check_answers(known: KnownNetwork, model: bytes) -> None:
    """ModelIntegrityError unless the network answers to each golden picture as its authors' code does."""
    runtime = choose_runtime()
    memory = mmap.mmap(-1, len(model))
    memory.write(model)
    network = network_of(runtime, known.model, memory)
    for golden in known.golden:
        if not agrees(network, golden.seed, golden.answer):
            raise ModelIntegrityError(
                f"{known.name} answers otherwise than its authors' code under {runtime.name} {runtime.version}, and is"
                " not kept",
                hint="please report this with the output of facesdk doctor",
            )


def agrees(network: _core.Network, seed: int, answer: Iterable[float]) -> bool:
    """Whether a network gives these probabilities for the picture of a seed, within TOLERANCE; NaN says no."""
    (found,) = run_native(network.run, network_input(golden_crop(seed)))
    return all(abs(float(value) - wanted) <= TOLERANCE for value, wanted in zip(found.ravel(), answer, strict=True))
