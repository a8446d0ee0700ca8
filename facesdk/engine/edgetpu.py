"""The Edge TPU: its library and devices, and networks on it that have the processor's twin beside them.

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

from facesdk import _core
from facesdk.engine.networks import Manifest, load_model
from facesdk.engine.runtime import EDGE_TPU as NAME
from facesdk.engine.runtime import Placement, Runtime, device_of, interpreter_network
from facesdk.errors import AcceleratorError, InputError

if TYPE_CHECKING:
    import mmap


LIBRARY = "libedgetpu.so.1"
HINT = "docs/edge-tpu.md"
# Source: the options that tflite/edgetpu_delegate_for_custom_op_tflite_plugin.cc of google-coral/libedgetpu names.
DEVICE = re.compile(r"|(usb|pci)?(:\d{1,3})?")
# A USB Accelerator is 1a6e:089a until libedgetpu has loaded its firmware, then 18d1:9302. Source: Coral's udev rules.
USB_IDS, PCI_IDS = {("1a6e", "089a"), ("18d1", "9302")}, {("0x1ac1", "0x089a")}


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

    def network(self, model: mmap.mmap, *, threads: int = 1) -> _core.Network:
        """A network of a model with this device's delegate; what it does not claim runs on the processor.

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
            return interpreter_network(make, model, threads)
        except _core.RuntimeFailure as error:
            raise AcceleratorError(f"the Edge TPU does not take the model: {error}") from error


def accelerate(
    networks: dict[str, _core.Network], manifest: Manifest, embedder: str, *, request: str, base: Runtime, threads: int
) -> tuple[dict[str, _core.Network], Placement]:
    """The networks with those that an Edge TPU may run in their place, and where everything runs.

    request "auto": an Edge TPU is looked for if the manifest has a compiled model, what speaks against it goes into the
    reason, and when it fails later the processor takes over in the same frame. "edgetpu" or "edgetpu:DEVICE": every
    failure is an AcceleratorError. For what runtime.may_accelerate lets through.
    """
    device = device_of(request)
    entry = manifest.embedder(embedder)
    names = [name for name in entry.models if manifest.models[name].edgetpu is not None]
    from facesdk.engine.twin import verify, with_twin

    try:
        if not names:
            raise AcceleratorError(f"no model of {embedder} was compiled for the Edge TPU: {HINT}")
        tpu = EdgeTpu(device or "")
        chosen = {n: tpu.network(load_model(n, manifest, edgetpu=True), threads=threads) for n in names}
        verdict = verify(networks, chosen, manifest, entry=entry)
        if not (devices := tpu.devices()):
            raise AcceleratorError("the Edge TPU was unplugged while it was tried")
    except AcceleratorError as error:
        if device is not None:
            raise
        return networks, Placement(replace(base, reason=f"{base.reason}; {NAME}: {error}"))
    reason = f"{', '.join(names)} on {devices[0].kind}, {verdict}; all else: {base.name} {base.version}"
    placement = Placement(base, replace(base, name=NAME, version=tpu.version, reason=reason))
    falls_back = device is None
    twins = {n: with_twin(chosen[n], networks[n], placement, falls_back=falls_back) for n in names}
    return {**networks, **twins}, placement
