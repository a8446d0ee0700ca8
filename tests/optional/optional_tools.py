"""A .pth file made by hand, small networks of MiniFASNet's structure, and a list of networks that has them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slow_twin import classes

from facesdk.digest import sha256
from facesdk.engine.building.writer import write
from facesdk.engine.optional import catalogue as catalogue_module
from facesdk.engine.optional.catalogue import Golden, KnownNetwork, Source
from facesdk.engine.optional.golden import golden_crop, network_input
from facesdk.engine.optional.minifasnet import minifasnet

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
STORAGES = {np.dtype(np.float32): b"FloatStorage", np.dtype(np.int64): b"LongStorage"}


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """BININT."""
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    """A tuple."""
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str, array: np.ndarray, *, offset: int = 0, strides: tuple[int, ...] | None = None, count: int | None = None
) -> bytes:
    """What pickle writes for a tensor that has a storage of its own."""
    usual = tuple(s // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
    kind = STORAGES[array.dtype]
    storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cuda:0")
    storage += number(array.size if count is None else count) + b"NtQ"
    parts = storage + number(offset) + numbers(array.shape) + numbers(usual if strides is None else strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"\x89ccollections\nOrderedDict\n)RtR"


def sizes(little: bytes = b"\x88") -> bytes:
    """The pickle of the machine that wrote it."""
    return b"\x80\x02}q\x00(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + little + b"u."


def objects(items: bytes) -> bytes:
    """The pickle of a state_dict with these names and tensors."""
    return (
        b"\x80\x02ccollections\nOrderedDict\n)R("
        + items
        + b"u}"
        + text("_metadata")
        + b"ccollections\nOrderedDict\n)Rsb."
    )


def keys(names: list[str]) -> bytes:
    """The pickle of the storages' keys."""
    return b"\x80\x02]q\x00(" + b"".join(map(text, names)) + b"e."


def storage(array: np.ndarray) -> bytes:
    """One storage."""
    return struct.pack("<q", array.size) + array.astype(array.dtype.newbyteorder("<")).tobytes()


def legacy_pth(tensors: dict[str, np.ndarray]) -> bytes:
    """The file of a state_dict, as torch.save wrote it before version 1.6."""
    items = b"".join(text(name) + tensor(f"{i}", array) for i, (name, array) in enumerate(tensors.items()))
    names = sorted(f"{i}" for i in range(len(tensors)))
    stored = b"".join(storage(list(tensors.values())[int(name)]) for name in names)
    return MAGIC + PROTOCOL + sizes() + objects(items) + keys(names) + stored


class _Tensors(dict):
    """Random tensors by name; `scale` keeps what goes through the layers near one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def kernel(self, name: str, out: int, into: int, side: int = 1) -> None:
        values = self.rng.normal(size=(out, into, side, side)) / np.sqrt(into * side * side)
        self[f"module.{name}.weight"] = values.astype(np.float32)

    def norm(self, name: str, size: int) -> None:
        for part, values in (
            ("weight", self.rng.uniform(0.5, 1.5, size)), ("bias", self.rng.normal(0, 0.3, size)),
            ("running_mean", self.rng.normal(0, 0.3, size)), ("running_var", self.rng.uniform(0.5, 2, size)),
        ):  # fmt: skip
            self[f"module.{name}.{part}"] = values.astype(np.float32)
        self[f"module.{name}.num_batches_tracked"] = np.array(7, np.int64)

    def conv(self, name: str, out: int, into: int, side: int = 1, *, slopes: bool = True) -> None:
        self.kernel(f"{name}.conv", out, into, side)
        self.norm(f"{name}.bn", out)
        if slopes:
            self[f"module.{name}.prelu.weight"] = self.rng.uniform(-0.3, 1.2, out).astype(np.float32)

    def block(self, name: str, into: int, middle: int, out: int) -> None:
        self.conv(f"{name}.conv", middle, into)
        self.conv(f"{name}.conv_dw", middle, 1, 3)
        self.conv(f"{name}.project", out, middle, slopes=False)


def tiny(*, seed: int = 0, gate: bool = False, kernel: int = 2) -> dict[str, np.ndarray]:
    """A state_dict of MiniFASNet's structure with few channels, for pictures of 16 * kernel pixels."""
    made = _Tensors(seed)
    made.conv("conv1", 4, 3, 3)
    made[next(iter(made))] /= 128  # it reads 0..255
    made.conv("conv2_dw", 4, 1, 3)
    for (down, residual), into, out in zip(
        (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5")), (4, 6, 8), (6, 8, 6), strict=True
    ):
        made.block(down, into, 5, out)
        for index in range(2):
            made.block(f"{residual}.model.{index}", out, 3, out)
        if gate:
            name = f"{residual}.model.1.se_module"
            made.kernel(f"{name}.fc1", 2, out)
            made.norm(f"{name}.bn1", 2)
            made.kernel(f"{name}.fc2", out, 2)
            made.norm(f"{name}.bn2", out)
    made.conv("conv_6_sep", 10, 6)
    made.conv("conv_6_dw", 10, 1, kernel, slopes=False)
    made["module.linear.weight"] = made.rng.normal(0, 0.4, (7, 10)).astype(np.float32)
    made.norm("bn", 7)
    made["module.prob.weight"] = made.rng.normal(0, 0.5, (3, 7)).astype(np.float32)
    return dict(made)


def stand_ins(folder: Path) -> dict[str, KnownNetwork]:
    """The list with small networks in place of the real ones, whose .pth files are put into a folder."""
    found = {}
    for number, (name, known) in enumerate(catalogue_module.catalogue().items()):
        tensors = tiny(seed=number, gate=number == 1, kernel=5)
        data, model = legacy_pth(tensors), write(minifasnet(name, tensors))
        (folder / known.source.file).write_bytes(data)
        golden = [Golden(seed, answer_of(tensors, seed)) for seed in (1, 2, 3)]
        entry = replace(known.model, size=len(model), sha256=sha256(model).hex())
        source = Source(known.source.file, len(data), sha256(data).hex())
        found[name] = replace(known, source=source, golden=tuple(golden), model=entry)
    return found


def answer_of(tensors: dict[str, np.ndarray], seed: int) -> tuple[float, float, float]:
    """The slow twin's answer to a golden picture."""
    first, second, third = (float(p) for p in classes(tensors, network_input(golden_crop(seed))[0]))
    return first, second, third


def with_stand_ins(folder: Path, patch: pytest.MonkeyPatch) -> list[Path]:
    """Makes the list that of stand_ins for a test; the files to add."""
    folder.mkdir()
    found = stand_ins(folder)
    patch.setattr(catalogue_module, "catalogue", lambda: found)
    return sorted(folder.iterdir())
