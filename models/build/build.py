"""Builds the shipped models from their origins and checks them. Run by make.py in its environment.

build.py ORIGINS OUT: ORIGINS holds NAME.origin for every model of origins.toml, OUT receives the .tflite files,
manifest.toml without operating points, and report.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tomllib
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from calibrate import crops, peaks, ranges
from origins import read_mobilefacenet, read_sface
from package import Network, write
from rewrites import equalize, equalize_linear, merge_tail, turn_slopes

HERE = Path(__file__).parent
UNCHANGED = ("blazeface_short_range", "face_mesh", "blazeface_full_range", "iris_landmark")
FLOAT_COSINE, INT8_COSINE = 0.9999, 0.99
MAX_TIME_RATIO = {"sface": 0.55, "mobilefacenet": 0.4}
SLOW_OPS = {"PRELU", "LEAKY_RELU", "RELU", "ABS", "QUANTIZE", "DEQUANTIZE"}


def _interpreter(model: bytes) -> Interpreter:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _features(model: bytes, samples: np.ndarray) -> np.ndarray:
    """(n, d) unit features of uint8 crops by one of our files, float or int8."""
    interpreter = _interpreter(model)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    result = []
    for sample in samples:
        shifted = sample[None].astype(np.int16) - 128
        data = shifted.astype(np.int8) if source["dtype"] == np.int8 else (shifted / 128).astype(np.float32)
        interpreter.set_tensor(source["index"], data)
        interpreter.invoke()
        values = interpreter.get_tensor(target["index"]).ravel().astype(np.float64) - target["quantization"][1]
        result.append(values / np.linalg.norm(values))
    return np.stack(result)


def _sface_origin(path: Path, samples: np.ndarray) -> np.ndarray:
    model = onnx.load(str(path))
    # The file lists its weights as inputs too; without that the runtime asks for them.
    kept = [i for i in model.graph.input if i.name == "data"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnxruntime.set_default_logger_severity(3)
    network = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result = np.stack(
        [network.run(None, {"data": s.transpose(2, 0, 1)[None].astype(np.float32)})[0].ravel() for s in samples]
    )
    return result / np.linalg.norm(result, axis=1, keepdims=True)


def _mobilefacenet_origin(path: Path, samples: np.ndarray) -> np.ndarray:
    interpreter = _interpreter(path.read_bytes())
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    result = []
    for sample in samples:
        pair = np.repeat(((sample.astype(np.float32) - 127.5) / 128)[None], 2, axis=0)
        interpreter.set_tensor(source, pair)
        interpreter.invoke()
        result.append(interpreter.get_tensor(target)[0])
    features = np.stack(result)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _ops(model: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Operators of a file by name, and those of them that XNNPACK leaves to TFLite's own kernels."""
    details = _interpreter(model)._get_ops_details()
    delegates = [op for op in details if op["op_name"] == "DELEGATE"]
    into = {int(i) for op in delegates for i in op["inputs"]}
    made = {int(i) for op in delegates for i in op["outputs"]}
    everything: dict[str, int] = {}
    outside: dict[str, int] = {}
    for op in details:
        if op["op_name"] == "DELEGATE":
            continue
        everything[op["op_name"]] = everything.get(op["op_name"], 0) + 1
        if int(op["outputs"][0]) in into - made:
            outside[op["op_name"]] = outside.get(op["op_name"], 0) + 1
    return everything, outside


def _times(models: dict[str, bytes], rounds: int) -> dict[str, float]:
    """Median milliseconds of one invoke of each model, one thread, taken in turns."""
    interpreters = {name: _interpreter(model) for name, model in models.items()}
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, interpreter in interpreters.items():
            interpreter.invoke()  # so that the measured one finds its own weights in the caches
            start = time.perf_counter()
            interpreter.invoke()
            taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: round(float(np.median(values)), 3) for name, values in taken.items()}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(f"error: {message}")


def _embedder(
    network: Network,
    origin: Path,
    reference: Callable[[Path, np.ndarray], np.ndarray],
    *,
    samples: np.ndarray,
    about: dict,
) -> tuple[bytes, dict[str, object]]:
    """The int8 file of a network and what was measured of it."""
    checked = samples[::3]
    plain = write(network)
    origin_features = reference(origin, checked)
    float_cosine = float((_features(plain, checked) * origin_features).sum(axis=1).min())
    _require(float_cosine >= FLOAT_COSINE, f"{network.name}: rebuilt float has cosine {float_cosine} to its origin")
    turned = turn_slopes(network)
    equalize(network, peaks(network, samples), power=about["equalize"], bound=20.0)
    if about.get("merge_tail"):
        merge_tail(network)
        equalize_linear(network, -2, peaks(network, samples), power=0.5, bound=20.0)
    model = write(network, ranges(network, samples, share=about["share"]))
    cosine = (_features(model, checked) * origin_features).sum(axis=1)
    _require(float(cosine.mean()) >= INT8_COSINE, f"{network.name}: int8 has mean cosine {cosine.mean()} to float")
    ops, outside = _ops(model)
    _require(not SLOW_OPS & ops.keys(), f"{network.name}: slow operators left: {SLOW_OPS & ops.keys()}")
    files = {"int8": model, "rebuilt float": plain}
    if origin.read_bytes()[4:8] == b"TFL3":
        files["origin"] = origin.read_bytes()
    times = _times(files, rounds=40)
    ratio = times["int8"] / times.get("origin", times["rebuilt float"])
    per_crop = times["int8"] / times["rebuilt float"]
    limit = MAX_TIME_RATIO[network.name]
    _require(ratio <= limit, f"{network.name}: int8 takes {ratio:.2f} x the float time, {limit} is the limit")
    report = {
        "crops": len(checked), "float_cosine_min": round(float_cosine, 6),
        "int8_cosine_mean": round(float(cosine.mean()), 5), "int8_cosine_min": round(float(cosine.min()), 5),
        "channels_turned": turned, "ops": ops, "ops_outside_xnnpack": outside,
        "invoke_ms": times, "time_ratio": round(ratio, 3), "time_ratio_to_rebuilt_float": round(per_crop, 3),
    }  # fmt: skip
    return model, report


def _tensor(details: dict) -> str:
    scale, zero = details["quantization"]
    shape = ", ".join(str(int(n)) for n in details["shape"])
    kind = np.dtype(details["dtype"]).name
    name = details["name"]
    what = f'name = "{name}", dtype = "{kind}", shape = [{shape}]'
    return f"{{ {what}, scale = {float(scale)!r}, zero_point = {int(zero)} }}"


def _packed(model: bytes) -> list[list[int]]:
    """[offset, size] of int8 weights of 32 KiB or more that convolutions read: a runtime may repack and forget them."""
    graph = schema.Model.GetRootAs(model, 0)
    subgraph = graph.Subgraphs(0)
    readers = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    ranges = []
    for index in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(index)
        if graph.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() not in readers:
            continue
        tensor = subgraph.Tensors(operator.Inputs(1))
        buffer = graph.Buffers(tensor.Buffer())
        if tensor.Type() == schema.TensorType.INT8 and buffer.DataLength() >= 32768:
            ranges.append([buffer._tab.Vector(buffer._tab.Offset(4)), buffer.DataLength()])
    return sorted(ranges)


def _manifest(config: dict, files: dict[str, bytes]) -> str:
    lines = [
        "# Written by models/build; the operating points by benchmarks/calibration.py. Do not edit by hand.",
        "format = 1",
    ]
    for name, model in files.items():
        about = config["models"][name]
        package = config["packages"][about["package"]]
        interpreter = _interpreter(model)
        (source,), targets = interpreter.get_input_details(), interpreter.get_output_details()
        norm = about["normalization"]
        lines += [
            "", f"[models.{name}]", f'file = "{name}.tflite"', f'version = "{about["version"]}"',
            f'description = "{about["description"]}"', f"size = {len(model)}",
            f'sha256 = "{hashlib.sha256(model).hexdigest()}"',
            f'origin = "{package["registry"]}: {about["package"]} {package["version"]}, {about["member"]}"',
            f'origin_sha256 = "{about["sha256"]}"', f'licence = "{about["licence"]}"',
            f"normalization = {{ mean = {norm['mean']}, scale = {norm['scale']} }}  # input = (byte - mean) / scale",
            f"packed = {_packed(model)}", f"input = {_tensor(source)}",
            "outputs = [", *(f"  {_tensor(t)}," for t in targets), "]",
        ]  # fmt: skip
    for name, about in config["embedders"].items():
        models = ", ".join(f'"{m}"' for m in about["models"])
        lines += ["", f"[embedders.{name}]", f"models = [{models}]", f"weights = {about['weights']}",
                  f"same_person = {about['same_person']}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(origins: Path, out: Path) -> None:
    """Builds everything into `out`; stops with a message if a check fails."""
    config = tomllib.loads((HERE / "origins.toml").read_text())
    samples = crops()
    files = {name: (origins / f"{name}.origin").read_bytes() for name in UNCHANGED}
    report: dict[str, object] = {}
    for name, read, reference in (
        ("sface", read_sface, _sface_origin), ("mobilefacenet", read_mobilefacenet, _mobilefacenet_origin)
    ):  # fmt: skip
        path = origins / f"{name}.origin"
        files[name], report[name] = _embedder(
            read(path), path, reference, samples=samples, about=config["models"][name]
        )
    for name, model in files.items():
        (out / f"{name}.tflite").write_bytes(model)
    (out / "manifest.toml").write_text(_manifest(config, files))
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
