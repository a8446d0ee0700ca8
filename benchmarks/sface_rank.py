"""What a smaller last layer costs SFace: FNMR at FMR 2e-5 on LFW for the ranks that its 7 x 7 x 1024 -> 128 may have.

python benchmarks/sface_rank.py --data DATA [--models .cache/models]

MODELS is the work folder of models/build/make.py: its environment reads the origin and quantizes. Every photo goes
through the int8 network in front of the last layer once; each candidate's last layers are then computed from that,
and compared on CHECKED photos with the candidate's own .tflite, which stays in WORK. Crops of people are kept in WORK,
a folder of the system's temporary ones, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TARGET = 2e-5
ALLOWED_LOSS = 0.001  # 0.1 point of FNMR
CHECKED = 50
# (channels kept in front of the 7 x 7, outputs of it that a last 1 x 1 makes 128 of); 0 leaves that side as it is.
CANDIDATES = (
    (0, 0), (32, 0), (48, 0), (64, 0), (96, 0), (128, 0), (192, 0), (256, 0), (320, 0), (384, 0), (400, 0), (416, 0),
    (448, 0), (0, 64), (0, 96), (384, 96), (512, 96),
)  # fmt: skip
# Added to the channels' covariance, as a share of its mean diagonal, so that what hardly varies counts for little.
RIDGE = 1e-3


def label(channels: int, outputs: int) -> str:
    """Name of a candidate and of its file."""
    return f"sface-c{channels or 1024}-o{outputs or 128}"


# --- in the environment of models/build ---


def _int8_rows(weights: np.ndarray) -> np.ndarray:
    """The weights as int8 with one scale a row holds them."""
    scale = np.maximum(np.abs(weights).reshape(len(weights), -1).max(axis=1), 1e-9) / 127
    scale = scale.reshape([-1] + [1] * (weights.ndim - 1))
    return np.round(weights / scale) * scale


def _symmetric_root(matrix: np.ndarray, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-12) ** power) @ vectors.T


def _in_front(kernel: np.ndarray, covariance: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(rank, 1, 1, I) and (O, 7, 7, rank): the kernel's channels through the rank that explains most of its output.

    Truncated SVD of kernel * covariance^(1/2), which is the best for inputs of that covariance; the second factor is
    then fitted again to the first as int8 will hold it.
    """
    outputs, height, width, inputs = kernel.shape
    unfolded = kernel.reshape(-1, inputs)
    right = np.linalg.svd(unfolded @ _symmetric_root(covariance, 0.5), full_matrices=False)[2]
    first = _int8_rows(right[:rank] @ _symmetric_root(covariance, -0.5))
    second = np.linalg.solve(first @ covariance @ first.T, first @ covariance @ unfolded.T).T
    return first[:, None, None, :], second.reshape(outputs, height, width, rank)


def _behind(kernel: np.ndarray, covariance: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(rank, 7, 7, I) and (O, 1, 1, rank): the kernel's outputs through their rank main directions."""
    outputs = kernel.shape[0]
    spread = np.einsum("oyxi,ij,pyxj->op", kernel, covariance, kernel, optimize=True)
    main = np.linalg.eigh(spread)[1][:, ::-1][:, :rank]
    first = np.einsum("or,oyxi->ryxi", main, kernel)
    return first, main.reshape(outputs, 1, 1, rank)


def _tail(last: object, mean: np.ndarray, covariance: np.ndarray, *, channels: int, outputs: int) -> list:
    """The last layer as one to three convolutions; what they lose on the mean input goes into the bias."""
    from dataclasses import replace

    kernel, parts = last.weights, []
    if channels:
        first, kernel = _in_front(kernel, covariance, channels)
        parts.append(first)
        covariance = first[:, 0, 0] @ covariance @ first[:, 0, 0].T
    parts += list(_behind(kernel, covariance, outputs)) if outputs else [kernel]
    whole = mean
    for part in parts:  # the means through the parts: (7, 7, I) -> (7, 7, r) -> (O,)
        whole = whole @ part[:, 0, 0].T if part.shape[1] == 1 else np.einsum("oyxi,yxi->o", part, whole)
    lost = np.einsum("oyxi,yxi->o", last.weights, mean) - whole
    nodes, source = [], last.source
    for index, part in enumerate(parts):
        end = index == len(parts) - 1
        bias = last.bias + lost if end else np.zeros(len(part))
        name = "features" if end else f"factor_{index}"
        nodes.append(replace(last, name=name, source=source, weights=part, bias=bias))
        source = name
    return nodes


def prepare(models: Path, work: Path) -> None:
    """Writes backbone.tflite, and for every candidate its .tflite and the integers of its last layers (.npz)."""
    sys.path.insert(0, str(ROOT / "models" / "build"))
    import tomllib
    from ai_edge_litert.interpreter import Interpreter
    from calibrate import crops, peaks, ranges
    from origins import read_sface
    from package import Network, activation_scale, write
    from rewrites import equalize, turn_slopes

    about = tomllib.loads((ROOT / "models" / "build" / "origins.toml").read_text())["models"]["sface"]
    network, samples = read_sface(models / "sface.origin"), crops()
    turn_slopes(network)
    equalize(network, peaks(network, samples), power=about["equalize"], bound=20.0)
    limits = ranges(network, samples, share=about["share"])
    last, front = network.nodes[-1], Network(network.name, network.size, network.nodes[:-1])
    (work / "backbone.tflite").write_bytes(write(front, limits))
    interpreter = Interpreter(model_content=write(front), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    seen = []
    for sample in samples:
        interpreter.set_tensor(source, (sample[None].astype(np.float32) - 128) / 128)
        interpreter.invoke()
        seen.append(interpreter.get_tensor(target)[0])
    inputs = np.stack(seen).astype(np.float64)
    mean = inputs.mean(axis=0)
    centred = (inputs - mean).reshape(-1, inputs.shape[-1])
    covariance = centred.T @ centred / len(centred)
    covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    for channels, outputs in CANDIDATES:
        nodes = _tail(last, mean, covariance, channels=channels, outputs=outputs)
        values, arrays = inputs, {}
        for node in nodes:
            flat = node.weights[:, 0, 0].T if node.weights.shape[1] == 1 else None
            values = (values @ flat if flat is not None else np.einsum("nyxi,oyxi->no", values, node.weights,
                                                                       optimize=True)) + node.bias  # fmt: skip
            if node.name != "features" or not (channels or outputs):  # all share the scale of the whole layer's output
                limits[node.name] = float(values.min()), float(values.max())
            arrays |= {f"{node.name}/weights": node.weights, f"{node.name}/bias": node.bias}
            arrays[f"{node.name}/scale"] = np.array(activation_scale(*limits[node.name]))
        arrays["input/scale"] = np.array(activation_scale(*limits[last.source]))
        name = label(channels, outputs)
        np.savez(work / f"{name}.npz", **arrays)
        (work / f"{name}.tflite").write_bytes(write(Network(name, network.size, network.nodes[:-1] + nodes), limits))


# --- in the environment of facesdk ---


def crop_photos(data: Path, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Names (n,) and uint8 crops (n, 112, 112, 3) of all photos with a face, made once."""
    from photo_sets import frames, labelled_face

    from facesdk import Engine

    stored = work / "crops.npz"
    if not stored.exists():
        engine, names, crops = Engine("sface"), [], []
        for name, frame in frames(data, "lfw"):
            sample = labelled_face(engine, frame, "lfw")
            if sample is not None:
                names.append(name)
                crops.append(sample.crop)
        np.savez(stored, names=np.array(names), crops=np.stack(crops))
    with np.load(stored) as found:
        return found["names"], found["crops"]


def all_scores(features: np.ndarray, subjects: np.ndarray, *, floor: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all mated pairs, of the non-mated pairs over `floor`, and the number of non-mated pairs."""
    _, person = np.unique(subjects, return_inverse=True)
    mated, tail, count = [], [], 0
    for start in range(0, len(features), 1024):
        block = features[start : start + 1024] @ features.T
        rows = np.arange(start, start + len(block))[:, None]
        later = np.arange(len(features))[None] > rows
        same = (person[start : start + 1024, None] == person[None]) & later
        other = ~same & later
        mated.append(block[same])
        count += int(other.sum())
        tail.append(block[other & (block > floor)])
    return np.concatenate(mated), np.sort(np.concatenate(tail))[::-1], count


def threshold_at(tail: np.ndarray, count: int, target: float) -> float:
    """The lowest threshold (score >= threshold matches) with a false match rate of at most target."""
    return float(np.nextafter(tail[int(target * count)], np.float32(2)))


def run(model: Path, crops: np.ndarray) -> np.ndarray:
    """int8 outputs (n, ...) of a .tflite for each crop."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    result = None
    for index, crop in enumerate(crops):
        interpreter.set_tensor(source, (crop[None].astype(np.int16) - 128).astype(np.int8))
        interpreter.invoke()
        output = interpreter.get_tensor(target)[0]
        result = np.empty((len(crops), *output.shape), np.int8) if result is None else result
        result[index] = output
    assert result is not None
    return result


def last_layers(arrays: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """int8 features (n, 128) from the int8 inputs of the last layers, as TFLite quantizes each of them."""
    names = [n for n in ("factor_0", "factor_1", "features") if f"{n}/weights" in arrays]
    parts = []
    for block in np.array_split(inputs, max(1, len(inputs) // 256)):
        values, (scale, zero) = block, arrays["input/scale"]
        for name in names:
            weights = arrays[f"{name}/weights"]
            rows = np.maximum(np.abs(weights).reshape(len(weights), -1).max(axis=1), 1e-9) / 127
            integers = np.round(weights / rows.reshape(-1, 1, 1, 1)).astype(np.float32)
            bias = np.round(arrays[f"{name}/bias"] / (rows * scale)).astype(np.float32)
            flat = integers.reshape(len(weights), -1).T
            shifted = (values.astype(np.float32) - np.float32(zero)).reshape(-1, len(flat))
            sums = (shifted @ flat + bias).reshape(len(values), *([7, 7] if len(shifted) > len(values) else []), -1)
            next_scale, next_zero = arrays[f"{name}/scale"]
            values = np.clip(np.round(sums * (rows * scale / next_scale)) + next_zero, -128, 127).astype(np.int8)
            scale, zero = next_scale, next_zero
        parts.append(values)
    return np.concatenate(parts).reshape(len(inputs), -1)


def measure(work: Path, names: np.ndarray, crops: np.ndarray) -> list[dict]:
    """One row a candidate: size, FNMR at TARGET over all pairs, how well the computed features are the file's."""

    from facesdk.device.edgetpu_rules import check

    subjects = np.array([n.split("/")[1] for n in names])
    inputs = run(work / "backbone.tflite", crops)
    rows = []
    for channels, outputs in CANDIDATES:
        name = label(channels, outputs)
        with np.load(work / f"{name}.npz") as stored:
            arrays = dict(stored)
        integers = last_layers(arrays, inputs)
        own = run(work / f"{name}.tflite", crops[:CHECKED]).reshape(-1, integers.shape[1])
        features = integers.astype(np.float32) - np.float32(arrays["features/scale"][1])
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        mated, tail, count = all_scores(features, subjects, floor=0.3)
        threshold = threshold_at(tail, count, TARGET)
        report = check(work / f"{name}.tflite")
        rows.append({
            "name": name, "size": (work / f"{name}.tflite").stat().st_size, "parameters": report["parameter_bytes"],
            "fits": report["fits"], "fnmr": float(np.mean(mated < threshold)), "threshold": threshold,
            "mated": len(mated), "non_mated": count,
            "steps_to_file": int(np.abs(own.astype(int) - integers[: len(own)]).max()),
        })  # fmt: skip
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """The table of docs/edge-tpu.md."""
    lines = [
        f"LFW, {rows[0]['mated']:,} mated and {rows[0]['non_mated']:,} non-mated pairs, one photo against one.",
        "",
        "| last layer | file | parameters | on-chip estimate fits | FNMR at FMR 2e-5 | loss, points |",
        "|---|---|---|---|---|---|",
    ]
    for row, (channels, outputs) in zip(rows, CANDIDATES, strict=True):
        parts = [f"1x1 1024 -> {channels}"] if channels else []
        parts.append(f"7x7 {channels or 1024} -> {outputs or 128}")
        parts += [f"1x1 {outputs} -> 128"] if outputs else []
        loss = row["fnmr"] - rows[0]["fnmr"]
        lines.append(
            f"| {', '.join(parts)} | {row['size'] / 1e6:.2f} MB | {row['parameters'] / 1e6:.2f} MB "
            f"| {'yes' if row['fits'] else 'no'} | {100 * row['fnmr']:.2f} % | {100 * loss:+.2f} |"
        )
    good = [r for r in rows[1:] if r["fits"] and r["fnmr"] - rows[0]["fnmr"] <= ALLOWED_LOSS]
    best = min(good, key=lambda r: r["size"], default=None)
    verdict = f"Accepted: {best['name']}, the smallest that loses no more." if best else "None is accepted."
    return "\n".join([*lines, "", f"At most {100 * ALLOWED_LOSS:.1f} point may be lost. {verdict}"])


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", type=Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "facesdk-sface-rank")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    if arguments.prepare:
        prepare(arguments.models, arguments.work)
        return 0
    if arguments.data is None:
        parser.error("--data is needed")
    names, crops = crop_photos(arguments.data, arguments.work)
    python = arguments.models / "env" / "bin" / "python"
    command = [str(python), __file__, "--prepare", "--models", str(arguments.models), "--work", str(arguments.work)]
    subprocess.run(command, check=True)
    print(table(measure(arguments.work, names, crops)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
