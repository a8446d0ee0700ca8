"""What the Edge TPU compiler would do with a file: the rules, the reading of the file, and files that lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesdk.cli import main
from facesdk.device.edgetpu_rules import CAPACITY, check
from facesdk.device.tflite_file import OPS, TYPES
from facesdk.engine.networks import models_folder
from facesdk.errors import FaceSdkError, InputError, ModelIntegrityError

BUILTIN, KIND, TYPE = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType
MODELS = ("blazeface_short_range", "face_mesh", "mobilefacenet", "sface")


def shipped(name: str) -> Path:
    return models_folder() / f"{name}.tflite"


class Graph:
    """A .tflite in the making; tensors are int8 with one scale unless said otherwise."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(self, shape: tuple[int, ...], *, kind: int = TYPE.INT8, data: np.ndarray | None = None, **more) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{len(self.graph.tensors)}", list(shape), kind, 0
        tensor.shapeSignature = more.get("signature")
        if more.get("scales", 1):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [more.get("scale", 0.5)] * more.get("scales", 1)
            tensor.quantization.zeroPoint = [3] * more.get("scales", 1)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, code: int, inputs: list[int], output: int, *, options: object = None, kind: int = 0, custom: str = ""):
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        entry.customCode = custom or None
        self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.graph.operators.append(operator)
        return self

    def save(self, path: Path) -> Path:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def options(kind: type, **values: int) -> object:
    made = kind()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_names_are_the_schema_s() -> None:
    for code, name in OPS.items():
        assert getattr(BUILTIN, name) == code
    for code, name in TYPES.items():
        assert getattr(TYPE, name.upper()) == code


@pytest.mark.parametrize("name", MODELS)
def test_reads_what_the_schema_reads(name) -> None:
    data = shipped(name).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph, codes = model.subgraphs[0], {v: k for k, v in vars(BUILTIN).items() if isinstance(v, int)}
    rows = check(shipped(name))["ops"]
    assert len(rows) == len(graph.operators)
    for row, op in zip(rows, graph.operators, strict=True):
        code = model.operatorCodes[op.opcodeIndex]
        assert row["name"] == codes[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for listed, indexes in ((row["inputs"], op.inputs), (row["outputs"], op.outputs)):
            tensors = [graph.tensors[i] for i in indexes if i >= 0]
            assert [t["name"] for t in listed] == [t.name.decode() for t in tensors]
            assert [t["shape"] for t in listed] == [tuple(t.shape) for t in tensors]
            assert [t["dtype"].upper() for t in listed] == [
                next(k for k, v in vars(TYPE).items() if v == t.type) for t in tensors
            ]
            sizes = [model.buffers[t.buffer].data for t in tensors]
            assert [t["bytes"] for t in listed] == [0 if d is None else len(d) for d in sizes]


def test_every_operator_of_mobilefacenet_maps_and_it_fits() -> None:
    report = check(shipped("mobilefacenet"))
    assert report["ok"]
    assert report["all_map"]
    assert report["on_edge_tpu"] == len(report["ops"]) == 130
    assert report["split_by"] == []
    assert 1_200_000 < report["parameter_bytes"] < report["size"] < CAPACITY


def test_sface_maps_but_does_not_fit() -> None:
    report = check(shipped("sface"))
    assert report["all_map"]
    assert not report["fits"]
    assert not report["ok"]
    last = report["ops"][-1]["inputs"][1]
    assert (last["shape"], last["bytes"]) == ((128, 7, 7, 1024), 6_422_528)


@pytest.mark.parametrize("name", ["blazeface_short_range", "face_mesh"])
def test_float_models_do_not_map(name) -> None:
    report = check(shipped(name))
    assert not report["ok"]
    assert report["on_edge_tpu"] == 0
    assert any("float32" in row["reason"] for row in report["ops"])


def one(code: int, path: Path, **more) -> dict:
    """The report's row of a graph of one operator, with inputs of the given shapes or tensors."""
    graph = Graph()
    inputs = [graph.tensor(s) if isinstance(s, tuple) else s(graph) for s in more.pop("inputs", [(1, 8, 8, 4)])]
    output = graph.tensor(more.pop("out", (1, 8, 8, 4)))
    (row,) = check(graph.op(code, inputs, output, **more).save(path / "one.tflite"))["ops"]
    return row


def constant(shape: tuple[int, ...], kind: int = TYPE.INT8, **more):
    dtype = {TYPE.INT8: np.int8, TYPE.INT32: np.int32}[kind]
    return lambda graph: graph.tensor(shape, kind=kind, data=np.zeros(shape, dtype), **more)


POOL, CONV = KIND.Pool2DOptions, KIND.Conv2DOptions
ALLOWED = {
    "relu": {"code": BUILTIN.RELU},
    "max pool": {"code": BUILTIN.MAX_POOL_2D, "options": schema.Pool2DOptionsT(), "kind": POOL},
    "maximum": {"code": BUILTIN.MAXIMUM, "inputs": [(1, 8, 8, 4), (1, 8, 8, 4)]},
    "mul by channels": {"code": BUILTIN.MUL, "inputs": [(1, 8, 8, 4), constant((1, 1, 1, 4))]},
    "prelu": {"code": BUILTIN.PRELU, "inputs": [(1, 8, 8, 4), constant((1, 1, 4))]},
    "conv": {
        "code": BUILTIN.CONV_2D,
        "inputs": [(1, 8, 8, 4), constant((4, 3, 3, 4), scales=4), constant((4,), TYPE.INT32)],
        "options": options(schema.Conv2DOptionsT, dilationWFactor=2, dilationHFactor=2), "kind": CONV,
    },
    "pad": {"code": BUILTIN.PAD, "inputs": [(1, 8, 8, 4), constant((4, 2), TYPE.INT32, scales=0)]},
    "uint8": {"code": BUILTIN.RELU, "inputs": [lambda g: g.tensor((1, 4), kind=TYPE.UINT8)]},
    "concatenation": {"code": BUILTIN.CONCATENATION, "inputs": [(1, 8, 8, 4)] * 3},
    "softmax": {"code": BUILTIN.SOFTMAX, "inputs": [(1, 1000)]},
}  # fmt: skip
REFUSED = {
    "leaky relu": ({"code": BUILTIN.LEAKY_RELU}, "not among the supported"),
    "float": ({"code": BUILTIN.RELU, "inputs": [lambda g: g.tensor((1, 4), kind=TYPE.FLOAT32)]}, "is float32"),
    "int16": ({"code": BUILTIN.RELU, "inputs": [lambda g: g.tensor((1, 4), kind=TYPE.INT16)]}, "is int16"),
    "no scale": ({"code": BUILTIN.RELU, "inputs": [lambda g: g.tensor((1, 4), scales=0)]}, "not quantized"),
    "open shape": ({"code": BUILTIN.RELU, "inputs": [lambda g: g.tensor((1, 4), signature=[-1, 4])]}, "no fixed shape"),
    "four dimensions": ({"code": BUILTIN.RELU, "inputs": [(2, 8, 8, 4)]}, "more than three dimensions"),
    "activation in pool": (
        {"code": BUILTIN.MAX_POOL_2D, "options": options(schema.Pool2DOptionsT, fusedActivationFunction=1),
         "kind": POOL}, "fused activation"),
    "activation in concatenation": (
        {"code": BUILTIN.CONCATENATION, "inputs": [(1, 8, 8, 4)] * 2, "kind": KIND.ConcatenationOptions,
         "options": options(schema.ConcatenationOptionsT, fusedActivationFunction=1)}, "fused activation"),
    "constant in concatenation": (
        {"code": BUILTIN.CONCATENATION, "inputs": [(1, 8, 8, 4), (1, 8, 8, 4), constant((1, 8, 8, 4))]},
        "two inputs only"),
    "unequal dilation": (
        {"code": BUILTIN.CONV_2D, "inputs": [(1, 8, 8, 4), constant((4, 3, 3, 4))], "kind": CONV,
         "options": options(schema.Conv2DOptionsT, dilationWFactor=2, dilationHFactor=1)}, "dilation"),
    "wide alpha": ({"code": BUILTIN.PRELU, "inputs": [(1, 8, 8, 4), constant((8, 8, 4))]}, "alpha"),
    "shuffled weights": (
        {"code": BUILTIN.FULLY_CONNECTED, "inputs": [(1, 8), constant((4, 8))], "kind": KIND.FullyConnectedOptions,
         "options": options(schema.FullyConnectedOptionsT, weightsFormat=1)}, "default format"),
    "long softmax": ({"code": BUILTIN.SOFTMAX, "inputs": [(1, 16001)]}, "at most 16,000"),
    "masks": (
        {"code": BUILTIN.STRIDED_SLICE, "kind": KIND.StridedSliceOptions,
         "options": options(schema.StridedSliceOptionsT, ellipsisMask=1)}, "masks"),
    "no input": ({"code": BUILTIN.RELU, "inputs": []}, "no input"),
    "custom": ({"code": BUILTIN.CUSTOM, "custom": "TFLite_Detection_PostProcess"}, "not among the supported"),
    "newer than we know": ({"code": 150}, "not among the supported"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(ALLOWED))
def test_published_rules_allow(tmp_path, case) -> None:
    values = dict(ALLOWED[case])
    row = one(values.pop("code"), tmp_path, **values)
    assert (row["maps"], row["reason"], row["runs_on"]) == (True, "", "Edge TPU")


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_published_rules_refuse(tmp_path, case) -> None:
    values, reason = dict(REFUSED[case][0]), REFUSED[case][1]
    row = one(values.pop("code"), tmp_path, **values)
    assert not row["maps"]
    assert reason in row["reason"]
    assert row["runs_on"] == "CPU"


def test_only_the_first_unbroken_part_runs_on_the_chip(tmp_path) -> None:
    graph = Graph()
    tensors = [graph.tensor((1, 8)) for _ in range(6)]
    kinds = (BUILTIN.ABS, BUILTIN.RELU, BUILTIN.TANH, BUILTIN.LEAKY_RELU, BUILTIN.RELU)
    for index, kind in enumerate(kinds):
        graph.op(kind, [tensors[index]], tensors[index + 1])
    report = check(graph.save(tmp_path / "split.tflite"))
    assert [row["runs_on"] for row in report["ops"]] == ["CPU", "Edge TPU", "Edge TPU", "CPU", "CPU"]
    assert [row["maps"] for row in report["ops"]] == [False, True, True, False, True]
    assert (report["split_by"], report["on_edge_tpu"], report["ok"]) == ([0, 3], 2, False)


def test_shared_weights_count_once_and_a_large_one_does_not_fit(tmp_path) -> None:
    graph = Graph()
    weights = graph.tensor((1000, 7000), data=np.zeros((1000, 7000), np.int8))
    for _ in range(2):
        graph.op(BUILTIN.FULLY_CONNECTED, [graph.tensor((1, 7000)), weights], graph.tensor((1, 1000)))
    report = check(graph.save(tmp_path / "large.tflite"))
    assert (report["parameter_bytes"], report["all_map"], report["fits"], report["ok"]) == (
        7_000_000,
        True,
        False,
        False,
    )


def test_a_compiled_file_is_seen_as_one(tmp_path) -> None:
    graph = Graph().op(BUILTIN.CUSTOM, [], 0, custom="edgetpu-custom-op")
    graph.tensor((1, 4))
    report = check(graph.save(tmp_path / "x_edgetpu.tflite"))
    assert report["compiled"]
    assert report["ok"]


# --- files that lie ---


def refused(path: Path, data: bytes, match: str = "is not a TFLite model") -> None:
    path.write_bytes(data)
    with pytest.raises(ModelIntegrityError, match=match):
        check(path)


@pytest.fixture(scope="module")
def small() -> bytes:
    """A whole small model of three operators."""
    import tempfile

    graph = Graph()
    source, weights = graph.tensor((1, 8, 8, 4)), constant((4, 3, 3, 4), scales=4)
    middle, end = graph.tensor((1, 8, 8, 4)), graph.tensor((1, 8, 8, 4))
    graph.op(BUILTIN.CONV_2D, [source, weights(graph)], middle, options=schema.Conv2DOptionsT(), kind=CONV)
    graph.op(BUILTIN.MAXIMUM, [middle, source], end)
    graph.op(BUILTIN.PRELU, [end, constant((1, 1, 4))(graph)], graph.tensor((1, 8, 8, 4)))
    with tempfile.TemporaryDirectory() as folder:
        return graph.save(Path(folder) / "m.tflite").read_bytes()


def test_not_models_are_refused(tmp_path, small) -> None:
    (tmp_path / "good").write_bytes(small)
    assert check(tmp_path / "good")["all_map"]
    for root in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00"):
        refused(tmp_path / "bad", root + small[4:])
    for data in (b"", b"TFL3", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04" + small[4:], small[:4] + b"TFL2" + small[8:]):
        refused(tmp_path / "bad", data)
    for size in range(0, len(small) - 8, 7):
        refused(tmp_path / "bad", small[:size])
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path)


def test_two_subgraphs_and_scales_that_are_no_numbers_are_refused(tmp_path) -> None:
    graph = Graph().op(BUILTIN.RELU, [0], 0)
    graph.tensor((1, 4), scale=float("nan"))
    refused(tmp_path / "bad", graph.save(tmp_path / "nan").read_bytes(), "scale is not a finite number")
    graph = Graph().op(BUILTIN.RELU, [0], 0)
    graph.tensor((1, 4))
    graph.model.subgraphs.append(graph.graph)
    refused(tmp_path / "bad", graph.save(tmp_path / "two").read_bytes(), "2 subgraphs")
    for indexes in ([7], [-2], [2**31 - 1], [0] * 257):
        graph = Graph().op(BUILTIN.RELU, indexes, 0)
        graph.tensor((1, 4))
        refused(tmp_path / "bad", graph.save(tmp_path / "x").read_bytes(), "tensors that are not there")


@settings(max_examples=600, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4])), max_size=6))
def test_changed_bytes_are_read_or_refused(tmp_path, small, changes) -> None:
    data = bytearray(small)
    for at, value, width in changes:
        at %= len(data) - 4
        data[at : at + width] = struct.pack("<I", value)[:width]
    path = tmp_path / "fuzz"
    path.write_bytes(data)
    try:
        report = check(path)
    except ModelIntegrityError:
        return
    json.dumps(report, allow_nan=False)


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(tmp_path, data) -> None:
    path = tmp_path / "fuzz"
    path.write_bytes(data[:4] + b"TFL3" + data[4:])
    try:
        check(path)
    except FaceSdkError:
        return


# --- the command ---


def test_command(capsys, tmp_path) -> None:
    assert main(["models", "check-edgetpu", str(shipped("mobilefacenet"))]) == 0
    text = capsys.readouterr().out
    assert "CONV_2D" in text
    assert "130 of 130 operators run on the Edge TPU" in text
    assert main(["models", "check-edgetpu", "--json", str(shipped("sface"))]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["all_map"]
    assert not report["fits"]
    assert main(["models", "check-edgetpu", str(shipped("face_mesh"))]) == 1
    assert "float32" in capsys.readouterr().out
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    assert main(["models", "check-edgetpu", str(tmp_path / "bad.tflite")]) == 6
    assert main(["models", "check-edgetpu", str(tmp_path / "nowhere")]) == 2
    assert main(["models", "--json", "check-edgetpu", str(shipped("mobilefacenet"))]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    with pytest.raises(SystemExit, match="2"):
        main(["models", "check-edgetpu"])
    assert main(["models"]) == 0
    assert "sha256" in capsys.readouterr().out
