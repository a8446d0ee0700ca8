"""Which runtime runs the models, and why: our executor with LiteRT beside it, LiteRT natively, or an interpreter."""

from __future__ import annotations

import importlib.util
import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from facesdk import _core
from facesdk.engine.networks import Manifest, ModelEntry, load_model
from facesdk.engine.threads import Later, checked_threads
from facesdk.errors import AcceleratorError, ForkedError, InputError, ModelIntegrityError

RUNTIMES = ("native", "litert-native", "litert", "tflite-runtime")
EDGE_TPU = "edgetpu"
# Of native/core/nn: raised when what it computes, or what it takes, changes.
EXECUTOR = "2"
# The C library of an ai-edge-litert wheel and its VERSION, put here by setup.py.
LITERT = Path(__file__).parents[1] / "_litert"

T = TypeVar("T")
NetworkMaker = Callable[[mmap.mmap], _core.Network]


@dataclass(frozen=True)
class Runtime:
    """A runtime that was chosen: name, version, the reason, and a function from a mapped model to a network."""

    name: str
    version: str
    reason: str
    make_network: NetworkMaker


def _version(package: str) -> str | None:
    """Version of an installed package by its metadata folder's name; importing importlib.metadata would cost 35 ms."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(next(iter(spec.submodule_search_locations))).parent.glob(f"{package}-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info").split("-")[1] if found else None


def native_variant() -> str:
    """The instruction set that our executor uses here, "" where it has but its definition, which is slow."""
    fastest = _core.native_variants()[0]
    return "" if fastest == "scalar" else fastest


def _native(threads: int) -> Runtime:
    """Our executor for the networks that it knows, to LiteRT's bits. The first of the others loads another runtime."""
    variant = native_variant()
    if not variant:
        raise AcceleratorError("this processor lacks AVX512-VNNI, which facesdk's own executor is written for")
    if not ((LITERT / "libLiteRt.so").is_file() or _version("ai_edge_litert") or _version("tflite_runtime")):
        raise AcceleratorError(f"this build of facesdk has no LiteRT library in {LITERT}, for networks of other kinds")
    crew = _core.Crew(threads)
    others = cache(lambda: _first(RUNTIMES[1:], threads, lambda _runtime: None)[0])

    def make(model: mmap.mmap) -> _core.Network:
        try:
            return _core.native_network(model, variant, crew)
        except _core.RuntimeFailure as refused:  # a network that it does not know
            try:
                return others().make_network(model)
            except AcceleratorError as error:
                raise AcceleratorError(f"{refused}; {error}") from error

    reason = f"facesdk's own executor ({variant}), and the next runtime for networks that it does not know"
    return Runtime("native", EXECUTOR, reason, make)


def _litert_native(threads: int) -> Runtime:
    try:
        version = (LITERT / "VERSION").read_text(encoding="ascii").strip()
        loaded = _core.LiteRtLibrary(str(LITERT / "libLiteRt.so"))
    except (OSError, UnicodeDecodeError) as error:
        raise AcceleratorError(
            f"this build of facesdk has no LiteRT library in {LITERT} ({error}): on x86-64 and aarch64 build it again "
            "with pip install, elsewhere pip install 'facesdk-unlock[tflite-runtime]'"
        ) from error
    except _core.RuntimeFailure as error:
        raise AcceleratorError(f"LiteRT {version} cannot be used natively: {error}") from error
    return Runtime(
        "litert-native", version, "the C library of ai-edge-litert that is part of facesdk",
        lambda model: _core.LiteRtNetwork(loaded, model, threads),
    )  # fmt: skip


def _describe(details: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    shape = [int(n) for n in details["shape"]]
    dtype = details["dtype"].__name__
    return {
        "name": details["name"],
        "dtype": dtype,
        "shape": shape,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def interpreter_network(interpreter_class: Any, model: mmap.mmap, threads: int) -> _core.Network:
    said = _core.KeptStderr()
    try:
        interpreter = interpreter_class(model_content=model[:], num_threads=threads)
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    except (RuntimeError, SystemError, ValueError) as error:
        raise _core.RuntimeFailure(f"the interpreter does not take the model: {error}") from error
    finally:
        del said  # shows what more than informs
    if len(inputs) != 1:
        raise _core.RuntimeFailure(f"a model with one input was expected, this has {len(inputs)}")
    source, targets = inputs[0]["index"], [output["index"] for output in outputs]

    def run(array: Any, results: list[Any]) -> None:
        try:
            interpreter.set_tensor(source, array)
            interpreter.invoke()
            for result, target in zip(results, targets, strict=True):
                result[...] = interpreter.get_tensor(target)
        except (RuntimeError, SystemError, ValueError) as error:
            raise _core.RuntimeFailure(f"the interpreter failed: {error}") from error

    return _core.PythonNetwork(_describe(inputs[0]), [_describe(output) for output in outputs], run)


def _litert(threads: int) -> Runtime:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise AcceleratorError(
            f"ai-edge-litert cannot be imported ({error}): pip install 'facesdk-unlock[litert]'"
        ) from error
    version = _version("ai_edge_litert") or "unknown"
    return Runtime(
        "litert", version, "the Python interpreter of ai-edge-litert",
        lambda model: interpreter_network(Interpreter, model, threads),
    )  # fmt: skip


def _tflite_runtime(threads: int) -> Runtime:
    version = _version("tflite_runtime")
    if version is None:
        raise AcceleratorError("tflite-runtime is not installed: pip install 'facesdk-unlock[tflite-runtime]'")
    if int((_version("numpy") or "0").split(".")[0]) >= 2:
        raise AcceleratorError(f"tflite-runtime {version} fails with numpy 2: pip install 'numpy<2'")
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise AcceleratorError(f"tflite-runtime {version} cannot be imported: {error}") from error
    return Runtime(
        "tflite-runtime", version, "the Python interpreter of tflite-runtime",
        lambda model: interpreter_network(Interpreter, model, threads),
    )  # fmt: skip


_MAKERS: dict[str, Callable[[int], Runtime]] = {
    "native": _native, "litert-native": _litert_native, "litert": _litert, "tflite-runtime": _tflite_runtime,
}  # fmt: skip


def open_runtime(name: str, use: Callable[[Runtime], T], *, threads: int | str = 1) -> tuple[Runtime, T]:
    """The runtime of this name and what `use` makes with it; for "auto" the first of RUNTIMES that loads and is usable.

    The reason names what was passed over. InputError for an unknown name or threads outside 1..16, AcceleratorError if
    none can be used.
    """
    count = checked_threads(threads)
    if not isinstance(name, str):
        raise InputError(f"runtime must be a name, auto, edgetpu or one of {', '.join(RUNTIMES)}, not {name!r}")
    if name != "auto":
        if name not in _MAKERS:
            raise InputError(f"runtime must be auto, edgetpu or one of {', '.join(RUNTIMES)}, not {name!r}")
        runtime = _MAKERS[name](count)
        return runtime, use(runtime)
    return _first(RUNTIMES, count, use)


def _first(names: Sequence[str], threads: int, use: Callable[[Runtime], T]) -> tuple[Runtime, T]:
    """The first of these that loads, and what `use` makes with it; AcceleratorError names why each was passed over."""
    passed_over: list[str] = []
    for candidate in names:
        try:
            runtime = _MAKERS[candidate](threads)
            made = use(runtime)
        except AcceleratorError as error:
            passed_over.append(f"{candidate}: {error}")
            continue
        return replace(runtime, reason="; ".join([runtime.reason, *passed_over])), made
    raise AcceleratorError(f"no runtime can be used ({'; '.join(passed_over)})")


def device_of(request: str) -> str | None:
    """The device in "edgetpu" or "edgetpu:DEVICE"; None where something else than an Edge TPU is asked for."""
    name, _, device = request.partition(":")
    return device if name == EDGE_TPU else None


def may_accelerate(request: str, models: Sequence[ModelEntry]) -> bool:
    """Whether to look for an Edge TPU: where it is asked for, and by "auto" where a model has a file for it."""
    return device_of(request) is not None or (request == "auto" and any(model.edgetpu is not None for model in models))


def choose_runtime(name: str = "auto", *, threads: int | str = 1) -> Runtime:
    """The runtime of this name, or for "auto" the first that loads; errors as open_runtime."""
    return open_runtime(name, lambda _runtime: None, threads=threads)[0]


class Placement:
    """Where an engine's networks run; `lost` says why the Edge TPU is no longer used, "" while it is."""

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
            return replace(self._base, reason=f"edgetpu was lost: {self.lost}; {self._base.reason}")
        return self._accelerated


def checked_network(runtime: Runtime, entry: ModelEntry, manifest: Manifest) -> _core.Network:
    """A network of one model whose tensors are those of the manifest."""
    return network_of(runtime, entry, load_model(entry.name, manifest))


def checked_networks(runtime: Runtime, names: Sequence[str], manifest: Manifest) -> dict[str, _core.Network]:
    """A network of each model, as checked_network makes it; numpy is loaded meanwhile, which its results come in."""
    makers = {name: partial(checked_network, runtime, manifest.models[name], manifest) for name in names}
    if "numpy" in sys.modules or runtime.name != "native":  # other runtimes load libraries, in the thread that asks
        return {name: make() for name, make in makers.items()}
    # A thread for each: every time that one lets go of the interpreter, it waits up to 5 ms for it.
    made = {name: Later(make) for name, make in makers.items()}
    try:
        import numpy  # noqa: F401
    finally:
        for later in made.values():
            later.wait()
    return {name: later.result() for name, later in made.items()}


def network_of(runtime: Runtime, entry: ModelEntry, model: mmap.mmap) -> _core.Network:
    """A network of these bytes, whose tensors are those of the entry; else ModelIntegrityError."""
    try:
        network = runtime.make_network(model)
        if isinstance(network, _core.LiteRtNetwork):
            network.release(entry.packed)
    except _core.RuntimeFailure as error:
        raise AcceleratorError(f"{runtime.name} cannot run the model {entry.name}: {error}") from error
    found = [network.input_info, *network.output_infos]
    for expected, came in zip([entry.input, *entry.outputs], found, strict=False):
        for key in ("name", "dtype", "shape"):
            if expected[key] != came[key]:
                raise ModelIntegrityError(
                    f"model {entry.name}: {key} is {came[key]!r} where the manifest says {expected[key]!r}"
                )
    if len(found) != 1 + len(entry.outputs):
        raise ModelIntegrityError(
            f"model {entry.name} has {len(found) - 1} outputs, the manifest says {len(entry.outputs)}"
        )
    return network


def run_native(call: Callable[..., T], *arguments: Any) -> T:
    """The native call's result, its errors as ours."""
    try:
        return call(*arguments)
    except _core.MadeBeforeFork as error:
        raise ForkedError(str(error)) from None
    except _core.RuntimeFailure as error:
        raise AcceleratorError(f"running a model failed: {error}") from error
    except ValueError as error:
        raise InputError(str(error)) from error
