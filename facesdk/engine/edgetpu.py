"""The Edge TPU: its library and devices, and sessions on it that have the processor's twin beside them.

Only networks with a compiled file in the manifest (`edgetpu`) run there, and only after probes were scored on both. Not
tested on the hardware: tests/delegate stands in for libedgetpu. docs/edge-tpu.md says what that covers.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk import _core, portraits
from facesdk.engine.networks import COMMON_MODELS, EmbedderEntry, Manifest, ModelEntry, load_model
from facesdk.engine.runtime import Runtime, _interpreter_session
from facesdk.errors import AcceleratorError, InputError

if TYPE_CHECKING:
    import mmap

    from facesdk.types import Frame

NAME = "edgetpu"
LIBRARY = "libedgetpu.so.1"
# Source: the options that tflite/edgetpu_delegate_for_custom_op_tflite_plugin.cc of google-coral/libedgetpu names.
DEVICE = re.compile(r"|(usb|pci)?(:\d{1,3})?")
# A USB Accelerator is 1a6e:089a until libedgetpu has loaded its firmware, then 18d1:9302. Source: Coral's udev rules.
USB_IDS, PCI_IDS = {("1a6e", "089a"), ("18d1", "9302")}, {("0x1ac1", "0x089a")}
# Lowest cosine of a probe's features to the processor's. TFLite's own kernels in the place of XNNPACK's, which only
# round differently, came to 0.9898 on the synthetic crop and 0.9959 on the portrait (both networks, x86-64).
MIN_COSINE = 0.98
PROBE_PORTRAIT = "obama_2012.jpg"
HINT = "docs/edge-tpu.md"


@dataclass(frozen=True)
class Device:
    """An Edge TPU: kind is "usb" or "pci", path the library's or the kernel's name for it."""

    kind: str
    path: str


class _ListedDevice(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("path", ctypes.c_char_p))


def attached(sysfs: Path = Path("/sys")) -> list[Device]:
    """Edge TPUs that the kernel sees, whether or not this process may use them."""
    found = []
    for kind, ids, names in (("usb", USB_IDS, ("idVendor", "idProduct")), ("pci", PCI_IDS, ("vendor", "device"))):
        for folder in sorted((sysfs / "bus" / kind / "devices").glob("*")):
            try:
                pair = tuple((folder / name).read_text().strip() for name in names)
            except (OSError, UnicodeDecodeError):
                continue  # an interface of a device has no ids of its own; a device may go while we look
            if pair in ids:
                found.append(Device(kind, str(folder)))
    return found


def _interpreter() -> tuple[Any, Any]:
    """(Interpreter, load_delegate) of the package that is there. Delegates cannot be given to LiteRT's C library."""
    try:
        from ai_edge_litert.interpreter import Interpreter, load_delegate
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter, load_delegate
        except ImportError as error:
            raise AcceleratorError(
                f"no interpreter that takes delegates is installed ({error}): pip install 'facesdk-unlock[litert]'"
            ) from error
    return Interpreter, load_delegate


class EdgeTpu:
    """The library, loaded, and the device that it is to use.

    device: "" (any), "usb", "pci", ":0", "usb:0", "pci:0" ... options: further ones of the library. InputError for
    another device; AcceleratorError if the library cannot be loaded, or lists no device.
    """

    def __init__(
        self, device: str = "", *, library: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        if not DEVICE.fullmatch(device):
            raise InputError(f"an Edge TPU is named usb, pci, :0, usb:0 or pci:0, not {device!r}")
        self._path = library = library or LIBRARY
        self._options = {**(options or {}), **({"device": device} if device else {})}
        self._interpreter, self._load_delegate = _interpreter()
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise AcceleratorError(f"{library} cannot be loaded ({error}): {HINT}") from error
        for symbol in ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"):
            if not hasattr(self._library, symbol):
                raise AcceleratorError(f"{library} has no {symbol}: it is no TFLite delegate")
        if not self.devices():
            raise AcceleratorError(self._no_device())

    def _no_device(self) -> str:
        if hidden := attached():
            return f"an Edge TPU is attached ({hidden[0].path}) but cannot be opened: permissions, {HINT}"
        return "no Edge TPU is attached"

    @property
    def version(self) -> str:
        """What the library says of itself, "unknown" if it does not."""
        if not hasattr(self._library, "edgetpu_version"):
            return "unknown"
        self._library.edgetpu_version.restype = ctypes.c_char_p
        return (self._library.edgetpu_version() or b"unknown").decode("utf-8", "replace")

    def devices(self) -> list[Device]:
        """What the library lists, or the kernel where the library has no list."""
        try:
            listing, freeing = self._library.edgetpu_list_devices, self._library.edgetpu_free_devices
        except AttributeError:
            return attached()
        listing.argtypes, listing.restype = [ctypes.POINTER(ctypes.c_size_t)], ctypes.POINTER(_ListedDevice)
        freeing.argtypes, freeing.restype = [ctypes.POINTER(_ListedDevice)], None
        count = ctypes.c_size_t(0)
        listed = listing(ctypes.byref(count))
        if not listed:
            return []
        try:
            entries = [listed[i] for i in range(min(count.value, 64))]
            return [Device("usb" if d.type else "pci", (d.path or b"").decode("utf-8", "replace")) for d in entries]
        finally:
            freeing(listed)

    def session(self, model: mmap.mmap, *, threads: int = 1) -> _core.Session:
        """A session of a model with this device's delegate; what it does not claim runs on the processor.

        AcceleratorError if the device cannot be opened or the model is not taken.
        """
        try:
            delegate = self._load_delegate(self._path, self._options)
        except (ValueError, OSError) as error:
            why = (
                str(error).partition("\n")[2].strip()
                or f"the library gives no reason; in use, or no permission? {HINT}"
            )
            raise AcceleratorError(f"the Edge TPU cannot be opened: {why}") from error
        make = partial(self._interpreter, experimental_delegates=[delegate])
        try:
            return _interpreter_session(make, model, threads)
        except _core.RuntimeFailure as error:
            raise AcceleratorError(f"the Edge TPU does not take the model: {error}") from error


class Placement:
    """Where an engine's networks run; `lost` says why the accelerator is no longer used, "" while it is."""

    def __init__(self, base: Runtime, accelerated: Runtime | None = None) -> None:
        self._base = base
        self._accelerated = accelerated
        self.lost = ""

    @property
    def runtime(self) -> Runtime:
        """What runs the networks now, and why."""
        if self._accelerated is None:
            return self._base
        if self.lost:
            return replace(self._base, reason=f"{NAME} was lost: {self.lost}; {self._base.reason}")
        return self._accelerated


def device_of(request: str) -> str | None:
    """The device in "edgetpu" or "edgetpu:DEVICE"; None where something else than an Edge TPU is asked for."""
    name, _, device = request.partition(":")
    return device if name == NAME else None


def accelerate(
    sessions: dict[str, _core.Session], manifest: Manifest, embedder: str, *, request: str, base: Runtime, threads: int
) -> tuple[dict[str, _core.Session], Placement]:
    """The sessions with those that an Edge TPU may run in their place, and where everything runs.

    request "auto": an Edge TPU is looked for if the manifest has a compiled model, what speaks against it goes into the
    reason, and when it fails later the processor takes over in the same frame. "edgetpu" or "edgetpu:DEVICE": every
    failure is an AcceleratorError. Any other request changes nothing.
    """
    device = device_of(request)
    entry = manifest.embedder(embedder)
    names = [name for name in entry.models if manifest.models[name].edgetpu is not None]
    if device is None and (request != "auto" or not names):
        return sessions, Placement(base)
    try:
        if not names:
            raise AcceleratorError(f"no model of {embedder} was compiled for the Edge TPU: {HINT}")
        tpu = EdgeTpu(device or "")
        chosen = {n: tpu.session(load_model(n, manifest, edgetpu=True), threads=threads) for n in names}
        verdict = _verify(sessions, chosen, manifest, entry=entry)
        if not (devices := tpu.devices()):
            raise AcceleratorError("the Edge TPU was unplugged while it was tried")
    except AcceleratorError as error:
        if device is not None:
            raise
        return sessions, Placement(replace(base, reason=f"{base.reason}; {NAME}: {error}"))
    reason = f"{', '.join(names)} on {devices[0].kind}, {verdict}; all else: {base.name} {base.version}"
    placement = Placement(base, replace(base, name=NAME, version=tpu.version, reason=reason))
    falls_back = device is None
    twins = {n: _with_twin(chosen[n], sessions[n], placement, falls_back=falls_back) for n in names}
    return {**sessions, **twins}, placement


def _with_twin(
    fast: _core.Session, twin: _core.Session, placement: Placement, *, falls_back: bool
) -> _core.Session:  # fmt: skip
    """A session that runs `fast`, and from its first failure on `twin`, beginning with that very input."""

    def run(array: Any, results: list[Any]) -> None:
        outputs = None
        if not placement.lost:
            try:
                outputs = fast.run(array)
            except _core.RuntimeFailure as error:
                if not falls_back:
                    raise _core.RuntimeFailure(f"the Edge TPU failed: {error}") from error
                placement.lost = str(error)
        for result, output in zip(results, outputs or twin.run(array), strict=True):
            result[...] = output

    return _core.PythonSession(twin.input_info, twin.output_infos, run)


def synthetic_crop() -> Frame:
    """A fixed crop, uint8 (112, 112, 3): waves of three lengths, so that every layer has something to do."""
    import numpy as np

    y, x = np.mgrid[0:112, 0:112]
    waves = [np.sin(x / 5.0) + np.cos(y / 9.0), np.sin((x + y) / 13.0), np.cos(x / 21.0) * np.sin(y / 7.0)]
    crop: Frame = np.round(127.5 + 60.0 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)
    return crop


def probes(sessions: Mapping[str, _core.Session]) -> list[Frame]:
    """The crops to compare on: a synthetic one, a bundled portrait, the same mirrored and darkened."""
    import numpy as np

    detector, mesh = (sessions[name] for name in COMMON_MODELS)
    pipeline = _core.Pipeline(detector, mesh, [])
    frame = portraits.load(PROBE_PORTRAIT)
    _, look = pipeline.detect_and_look(frame)
    crop = look[3] if look is not None else None
    if crop is None:
        raise AcceleratorError("the bundled portrait gave no probe")
    return [synthetic_crop(), crop, np.ascontiguousarray(crop[:, ::-1]), crop // 3]


def compare(fast: _core.Session, slow: _core.Session, crops: list[Frame], *, entry: ModelEntry) -> tuple[float, bool]:
    """Lowest cosine of the features of both sessions over the crops, and whether all features have equal bits."""
    import numpy as np

    lowest, identical = 1.0, True
    info = slow.input_info
    for crop in crops:
        values = (crop[None].astype(np.float64) - entry.mean) / entry.scale
        if info["dtype"] == "int8":
            values = np.clip(np.round(values / info["scale"]) + info["zero_point"], -128, 127)
        array = np.ascontiguousarray(values.astype(info["dtype"]))
        a, b = fast.run(array)[0], slow.run(array)[0]
        identical = identical and bool((a == b).all())
        zero = slow.output_infos[0]["zero_point"]
        a, b = (v.ravel().astype(np.float64) - zero for v in (a, b))
        length = float(np.linalg.norm(a) * np.linalg.norm(b))
        lowest = min(lowest, float(a @ b) / length if length > 0 else -1.0)
    return lowest, identical


def _tensors(session: _core.Session) -> list[tuple[Any, ...]]:
    infos = [session.input_info, *session.output_infos]
    return [tuple(info[key] for key in ("dtype", "shape", "scale", "zero_point")) for info in infos]


def _verify(
    sessions: Mapping[str, _core.Session], chosen: Mapping[str, _core.Session], manifest: Manifest, *,
    entry: EmbedderEntry,
) -> str:  # fmt: skip
    """What the probes showed, in words; AcceleratorError if the accelerator must not take part in decisions."""
    crops, same = probes(sessions), True
    for name, fast in chosen.items():
        slow = sessions[name]
        if _tensors(fast) != _tensors(slow):
            raise AcceleratorError(f"the compiled {name} has other tensors than its twin for the processor")
        try:
            cosine, identical = compare(fast, slow, crops, entry=manifest.models[name])
        except _core.RuntimeFailure as error:
            raise AcceleratorError(f"{name} failed on the probes: {error}") from error
        if not cosine >= MIN_COSINE:
            raise AcceleratorError(
                f"{name} disagrees with the processor: cosine {cosine:.3f} on the probes, {MIN_COSINE} was expected"
            )
        same = same and identical
    if same:
        return "equal to the processor on the probes to the last bit"
    if not _measured(entry):
        raise AcceleratorError(
            f"{entry.name} rounds differently from the processor, and no operating points were measured with it: {HINT}"
        )
    return "rounds differently from the processor, operating points measured"


def _measured(entry: EmbedderEntry) -> bool:
    """Whether the accelerator was measured to hold every target. The thresholds in use are then not below its own."""
    return bool(entry.edgetpu_points)
