"""The Edge TPU's checked CPU twin: an accelerated network is used only where it gives what its twin gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facesdk import _core, portraits
from facesdk.engine.networks import COMMON_MODELS, EmbedderEntry, Manifest, ModelEntry
from facesdk.engine.runtime import Placement
from facesdk.errors import AcceleratorError

if TYPE_CHECKING:
    from facesdk.types import Frame


# Lowest cosine of a probe's features to the processor's. TFLite's own kernels in the place of XNNPACK's, which only
# round differently, came to 0.9898 on the synthetic crop and 0.9959 on the portrait (both networks, x86-64).
MIN_COSINE = 0.98


PROBE_PORTRAIT = "obama_2012.jpg"


def with_twin(
    fast: _core.Network, twin: _core.Network, placement: Placement, *, falls_back: bool
) -> _core.Network:  # fmt: skip
    """A network that runs `fast`, and from its first failure on `twin`, beginning with that very input."""

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

    return _core.PythonNetwork(twin.input_info, twin.output_infos, run)


def synthetic_crop() -> Frame:
    """A fixed crop, uint8 (112, 112, 3): waves of three lengths, so that every layer has something to do."""
    import numpy as np

    y, x = np.mgrid[0:112, 0:112]
    waves = [np.sin(x / 5.0) + np.cos(y / 9.0), np.sin((x + y) / 13.0), np.cos(x / 21.0) * np.sin(y / 7.0)]
    crop: Frame = np.round(127.5 + 60.0 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)
    return crop


def probes(networks: Mapping[str, _core.Network]) -> list[Frame]:
    """The crops to compare on: a synthetic one, a bundled portrait, the same mirrored and darkened."""
    import numpy as np

    detector, mesh = (networks[name] for name in COMMON_MODELS)
    pipeline = _core.Pipeline(detector, mesh, [])
    frame = portraits.load(PROBE_PORTRAIT)
    _, look = pipeline.detect_and_look(frame)
    crop = look[3] if look is not None else None
    if crop is None:
        raise AcceleratorError("the bundled portrait gave no probe")
    return [synthetic_crop(), crop, np.ascontiguousarray(crop[:, ::-1]), crop // 3]


def compare(fast: _core.Network, slow: _core.Network, crops: list[Frame], *, entry: ModelEntry) -> tuple[float, bool]:
    """Lowest cosine of the features of both networks over the crops, and whether all features have equal bits."""
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


def _tensors(network: _core.Network) -> list[tuple[Any, ...]]:
    infos = [network.input_info, *network.output_infos]
    return [tuple(info[key] for key in ("dtype", "shape", "scale", "zero_point")) for info in infos]


def verify(
    networks: Mapping[str, _core.Network], chosen: Mapping[str, _core.Network], manifest: Manifest, *,
    entry: EmbedderEntry,
) -> str:  # fmt: skip
    """What the probes showed, in words; AcceleratorError if the accelerator must not take part in decisions."""
    crops, same = probes(networks), True
    for name, fast in chosen.items():
        slow = networks[name]
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
    if not measured(entry):
        raise AcceleratorError(
            f"{entry.name} rounds differently from the processor, and no operating points were measured with it:"
            " docs/edge-tpu.md"
        )
    return "rounds differently from the processor, operating points measured"


def measured(entry: EmbedderEntry) -> bool:
    """Whether the accelerator was measured to hold every target. The thresholds in use are then not below its own."""
    return bool(entry.edgetpu_points)
